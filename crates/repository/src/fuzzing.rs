//! Doors for the fuzz targets in `fuzz/`: bytes in, through the real parsers, under known keys.
//!
//! Built for tests and under `--cfg fuzzing` only. A door never parses by itself: it lets bytes
//! past encryption, where a fuzzer could not get, and asserts what every parser promises: no
//! panic, and what was read can be written and read again. It returns whether the bytes were
//! taken for whole, so that a test can tell that the seeds in `fuzz/seeds` still get there.

#[cfg(test)]
mod seeds;

use std::sync::LazyLock;

use bytes::Bytes;
use futures::FutureExt as _;
use lifeboat_model::{EntryKind, EntryPath, RepositoryId, SnapshotId};
use lifeboat_runtime::{SecretBytes, SeededEntropy};
use lifeboat_storage::{MemoryStore, ObjectKey, ObjectMeta};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chunk_index::ChunkIndex;
use crate::compress::{compress_frame, compress_wal};
use crate::content::Content;
use crate::format::commit::CommitV1;
use crate::format::index::{IndexPublic, IndexV1, IndexedPackV1};
use crate::format::manifest::{read_record, write_record};
use crate::format::pack::{
    DirectoryV1, FRAME_RAW_MAX, FinishedPack, Frame, FrameOpener, PackBuilder, PackKind,
    read_directory,
};
use crate::format::wal::{PlainFrame, WalHead, seal as seal_wal};
use crate::format::{HEADER_LEN, Kind, sealed};
use crate::index_catalog::index_needed_by;
use crate::keys::{KeyRing, KeySecret, RootSecret};
use crate::layout::{ObjectClass, SnapshotName};
use crate::ledger::RunRecord;
use crate::manifest::StoredEntry;
use crate::receipt::Receipt;
use crate::repository::Repository;
use crate::role::Role;
use crate::snapshot::Snapshot;
use crate::wal::WalPlace;
use crate::writer::pages::{
    BLOCK_LEN, BlockExtents, BlockPart, BlockPlan, PAGE_HASH_LEN, plan_block,
};

const REPOSITORY: RepositoryId = RepositoryId::from_bytes([1; 16]);

/// The keys that every door opens with, and that the seeds were sealed with.
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| root().key_ring());

fn root() -> RootSecret {
    RootSecret::generate(&SeededEntropy::new(1))
}

/// Opens an envelope of every kind: header, public part, body.
pub fn envelope(bytes: &[u8]) -> bool {
    let index = sealed::public(Kind::Index, bytes)
        .and_then(IndexPublic::from_bytes)
        .is_ok();
    let name = ObjectKey::new("snapshots/a").expect("it is a key");
    let commit = index_needed_by(&name, bytes).is_ok();
    let key = sealed::public(Kind::WrappedKey, bytes).is_ok();
    assert!(
        u8::from(index) + u8::from(commit) + u8::from(key) <= 1,
        "an object has one kind"
    );
    let metadata = KEYS.metadata();
    let opened = sealed::open::<IndexV1>(Kind::Index, REPOSITORY, metadata, bytes).is_ok()
        || sealed::open::<CommitV1>(Kind::Commit, REPOSITORY, metadata, bytes).is_ok()
        || sealed::open::<Vec<u8>>(Kind::WrappedKey, REPOSITORY, metadata, bytes).is_ok();
    opened && (index || commit || key)
}

/// Decompresses what an envelope sealed.
pub fn body(plain: &[u8]) -> bool {
    sealed::decompress_body(plain).is_ok()
}

/// Reads an index object's body and looks up everything that it says.
pub fn index(raw: &[u8]) -> bool {
    let Some(index) = reread::<IndexV1>(raw) else {
        return false;
    };
    let sound = index.packs.iter().all(IndexedPackV1::is_sound);
    if sound {
        look_up(&index);
    }
    sound
}

fn look_up(index: &IndexV1) {
    let mut known = ChunkIndex::default();
    for pack in &index.packs {
        known.add(pack);
    }
    for frame in index.packs.iter().flat_map(|pack| &pack.directory.frames) {
        for (id, _) in &frame.chunks {
            let id = lifeboat_model::ChunkId::from_bytes(*id);
            // A pack that is named twice counts once.
            let Some(place) = known.find(&id) else {
                continue;
            };
            let row = known.frame(place.frame);
            let pack = known.pack(row.pack);
            assert!(place.offset + place.len <= row.raw_len);
            assert!(row.raw_len <= FRAME_RAW_MAX);
            assert!(row.offset as usize >= HEADER_LEN);
            assert!(u64::from(row.offset + row.stored_len) <= pack.size);
        }
    }
}

/// Reads a commit record's body.
pub fn commit(raw: &[u8]) -> bool {
    let Some(record) = reread::<CommitV1>(raw) else {
        return false;
    };
    let id = SnapshotId::from_bytes([7; 32]);
    let Ok(snapshot) = Snapshot::from_stored(id, record) else {
        return false;
    };
    let stored = snapshot.to_stored();
    let again = Snapshot::from_stored(id, stored.clone()).expect("it was written just now");
    assert_eq!(written(&stored), written(&again.to_stored()));
    let name = snapshot.name();
    // Years before 0 have names that nothing lists; such a record is found nowhere.
    let listed = SnapshotName::parse(&name.key());
    assert!(listed.is_none_or(|listed| listed == name));
    true
}

/// Reads the records of a manifest.
pub fn manifest(mut bytes: &[u8]) -> bool {
    let mut any = false;
    while let Ok(Some((entry, content, taken))) = read_record(bytes) {
        let mut again = Vec::new();
        write_record(&entry, content.as_ref(), &mut again);
        let whole = Ok(Some((entry.clone(), content.clone(), again.len())));
        assert_eq!(read_record(&again), whole);
        if let (EntryKind::File { size }, Some(content)) = (&entry.kind, &content) {
            walk_blocks(content, *size);
        }
        StoredEntry { entry, content }.holes();
        bytes = &bytes[taken..];
        any = true;
    }
    any && bytes.is_empty()
}

/// Cuts a file into blocks as an incremental does that finds the first page of each changed.
fn walk_blocks(content: &Content, size: u64) {
    const PAGE: usize = 4096;
    const BLOCKS_MAX: usize = 16;
    let mut extents = BlockExtents::new(content);
    let mut left = size;
    for _ in 0..BLOCKS_MAX {
        let len = left.min(BLOCK_LEN as u64) as usize;
        left -= len as u64;
        let taken = extents.take(len);
        assert_eq!(
            taken.iter().map(|extent| extent.len).sum::<u64>(),
            len as u64
        );
        let before = vec![0; len.div_ceil(PAGE) * PAGE_HASH_LEN];
        let mut now = before.clone();
        now.first_mut().into_iter().for_each(|byte| *byte = 1);
        if let BlockPlan::Patch(parts) = plan_block(len, PAGE, &now, &before, &taken) {
            let part_len = |part: &BlockPart| match part {
                BlockPart::Old(extent) => extent.len,
                BlockPart::New(range) => range.len() as u64,
            };
            assert_eq!(parts.iter().map(part_len).sum::<u64>(), len as u64);
        }
    }
}

/// Opens a pack of either kind from its outside: header, footer, directory.
pub fn pack(bytes: &[u8]) -> bool {
    let kinds = [PackKind::Data, PackKind::Metadata];
    let opened = kinds.into_iter().filter(|kind| {
        let directory = read_directory(*kind, REPOSITORY, KEYS.metadata(), bytes);
        for salt in directory.iter().flat_map(|directory| &directory.origins) {
            let opener = FrameOpener::new(*kind, REPOSITORY, &KEYS, salt);
            opener.expect("these keys open both kinds").ok();
        }
        directory.is_ok()
    });
    opened.count() == 1
}

/// Reads a pack's directory that was decrypted.
pub fn directory(plain: &[u8]) -> bool {
    let Some(directory) = reread::<DirectoryV1>(plain) else {
        return false;
    };
    let salt = directory.origins.first().unwrap_or(&[0; 32]);
    DirectoryV1::read(plain, directory.frames_end(), salt).is_ok()
}

/// Opens one frame of a pack: five bytes say what the directory claims of it, the rest is sealed.
pub fn frame(bytes: &[u8]) -> bool {
    let Some((claims, plain)) = bytes.split_first_chunk::<5>() else {
        return false;
    };
    let [flags, raw_len @ ..] = *claims;
    let raw_len = u32::from_le_bytes(raw_len);
    let pack = sealed_pack(Frame {
        bytes: plain.to_vec(),
        raw_len,
        compressed: flags & 1 == 1,
        chunks: vec![([3; 32], raw_len)],
    });
    let sound = read_directory(pack.kind, REPOSITORY, KEYS.metadata(), &pack.bytes).is_ok();
    let salt = &pack.directory.origins[0];
    let opener = FrameOpener::new(pack.kind, REPOSITORY, &KEYS, salt);
    let opener = opener.expect("the key fits").expect("the salt is sound");
    let frame = &pack.directory.frames[0];
    let stored = pack.bytes[HEADER_LEN..HEADER_LEN + frame.stored_len as usize].to_vec();
    let Ok(opened) = opener.open(frame, stored) else {
        return false;
    };
    assert!(opened.len() <= FRAME_RAW_MAX as usize || opened.len() == plain.len());
    let again = compress_frame(opened.clone(), Vec::new());
    assert!(again.compressed || again.bytes == opened);
    sound
}

fn sealed_pack(frame: Frame) -> FinishedPack {
    let entropy = SeededEntropy::new(2);
    let builder = PackBuilder::new(PackKind::Metadata, REPOSITORY, &KEYS, &entropy);
    let mut builder = builder.expect("a root's keys may write");
    builder.push(frame);
    builder.finish()
}

/// Opens a WAL object from its outside: header, table, frames.
pub fn wal(bytes: &[u8]) -> bool {
    let Ok(head) = WalHead::parse(bytes, bytes.len() as u64) else {
        return false;
    };
    open_wal(&head, bytes).is_some()
}

/// Opens a WAL object of one frame: eight bytes say how long its content and the frame's are, the rest
/// is sealed.
pub fn wal_frame(bytes: &[u8]) -> bool {
    let Some((claims, plain)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    let claim = |at: usize| u32::from_le_bytes(claims[at..at + 4].try_into().expect("four bytes"));
    let frame = PlainFrame {
        bytes: plain.to_vec(),
        raw_len: claim(4),
    };
    let public = KEYS.content_public().expect("a root's keys may write");
    let key = public.encapsulate(REPOSITORY, &SeededEntropy::new(5));
    let sealed = seal_wal(REPOSITORY, &key, WAL_STEM, claim(0), &[frame]);
    let Ok(head) = WalHead::parse(&sealed, sealed.len() as u64) else {
        return false;
    };
    let Some(opened) = open_wal(&head, &sealed) else {
        return false;
    };
    assert_eq!(opened.len(), claim(4) as usize);
    let again = compress_wal(&opened);
    assert!(again.bytes.len() <= opened.len());
    true
}

/// What the seeds are called.
const WAL_STEM: &str = "wal/stem";

fn open_wal(head: &WalHead, bytes: &[u8]) -> Option<Vec<u8>> {
    let private = KEYS.content_private().expect("a root's keys may read");
    let key = private.decapsulate(REPOSITORY, head.salt())?;
    let opener = head.opener(REPOSITORY, &key, bytes, WAL_STEM);
    let mut raw = Vec::new();
    for (number, (frame, end)) in head.places().enumerate() {
        let start = end - frame.stored_len();
        assert!(end <= bytes.len() as u64);
        let sealed = &bytes[start as usize..end as usize];
        raw.extend(frame.open(&opener, number as u64, sealed).ok()?);
        assert!(raw.len() <= head.raw_len as usize);
    }
    Some(raw)
}

/// Reads the secrets that a wrapped key holds, as each role.
pub fn wrapped_secrets(bytes: &[u8]) -> bool {
    let roles = [Role::Auditor, Role::Pruner, Role::Writer, Role::Reader];
    let read = roles.into_iter().filter_map(|role| {
        let ring = KeyRing::from_bytes(role, bytes)?;
        let again = KeyRing::from_bytes(role, ring.to_bytes().expose());
        Some(again.is_some_and(|again| again.to_bytes().expose() == ring.to_bytes().expose()))
    });
    let read: Vec<bool> = read.collect();
    assert!(read.iter().all(|same| *same), "secrets change on the way");
    !read.is_empty()
}

/// Reads a key secret and a recovery code from text.
pub fn key_text(bytes: &[u8]) -> bool {
    let text = SecretBytes::new(bytes.to_vec());
    let key = KeySecret::from_text(&text, "writer key").map(|secret| {
        let again = KeySecret::from_text(&secret.to_text(), "writer key");
        let again = again.unwrap_or_else(|_| panic!("a key cannot read what it wrote"));
        assert_eq!(again.key, secret.key);
        assert!(again.secret.0 == secret.secret.0);
    });
    let code = RootSecret::from_recovery_code(&text).map(|root| {
        assert!(RootSecret::is_recovery_code(&text));
        let again = RootSecret::from_recovery_code(&root.recovery_code());
        let again = again.unwrap_or_else(|_| panic!("a root cannot read what it wrote"));
        assert_eq!(
            again.recovery_code().expose(),
            root.recovery_code().expose()
        );
    });
    key.is_ok() || code.is_ok()
}

/// Reads the name of an object, and a path in a snapshot.
pub fn name(bytes: &[u8]) -> bool {
    if let Ok(path) = EntryPath::new(bytes.to_vec()) {
        assert_eq!(EntryPath::new(path.as_bytes().to_vec()), Ok(path));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    ObjectKey::is_prefix(text);
    let Ok(key) = ObjectKey::new(text) else {
        return false;
    };
    ObjectClass::name_matches(&key, b"");
    let snapshot = SnapshotName::parse(&key);
    if let Some(name) = &snapshot {
        assert_eq!(name.key(), key);
        assert_eq!(ObjectClass::of(&key), ObjectClass::Snapshot);
    }
    let wal = WalPlace::parse(&ObjectMeta {
        key: key.clone(),
        size: 1,
    });
    if let Some((place, object)) = &wal {
        assert_eq!(place.key(object), key);
        assert_eq!(ObjectClass::of(&key), ObjectClass::Wal);
    }
    snapshot.is_some() || wal.is_some()
}

/// Reads the objects that are JSON.
///
/// The first byte says which of them the rest is; a zero byte parts one object from the next.
pub fn json(bytes: &[u8]) -> bool {
    let Some((which, text)) = bytes.split_first() else {
        return false;
    };
    let names: [&[&str]; 4] = [
        &["repo.json", "region.json"],
        &["receipts/home/1"],
        &["runs/prod/1.begin", "runs/prod/1.end"],
        &[
            "leases/0102030405060708/00000000",
            "tombstones/0102030405060708",
            "leases/0102030405060708/commit-00000000",
        ],
    ];
    let store = MemoryStore::new("fuzz");
    let names = names[usize::from(*which) % names.len()];
    for (name, object) in names.iter().zip(text.split(|byte| *byte == 0)) {
        let key = ObjectKey::new(*name).expect("the names above are keys");
        store.tamper(&key, Bytes::copy_from_slice(object));
    }
    let read = async {
        match names[0].split('/').next() {
            Some("receipts") => read_receipts(&store).await,
            Some("runs") => read_runs(&store).await,
            Some("leases") => crate::prune::read_everything(&store).await,
            _ => Repository::identify(&store).await.is_ok(),
        }
    };
    read.now_or_never().expect("a store in memory never waits")
}

async fn read_receipts(store: &MemoryStore) -> bool {
    let region = "home".parse().expect("it is a name");
    let read = Receipt::list(store, &region).await;
    let read = read.expect("damaged receipts count for nothing");
    for receipt in &read {
        let store = MemoryStore::new("again");
        receipt.write(&store).await.expect("memory takes it");
        let again = Receipt::list(&store, &receipt.region).await;
        assert_eq!(
            again.expect("memory gives it"),
            std::slice::from_ref(receipt)
        );
    }
    !read.is_empty()
}

async fn read_runs(store: &MemoryStore) -> bool {
    let environment = "prod".parse().expect("it is a name");
    let read = RunRecord::list(store, &environment).await;
    let read = read.expect("damaged entries are left out");
    for record in &read {
        let (begin, store) = (&record.begin, MemoryStore::new("again"));
        begin.write(&store).await.expect("memory takes it");
        if let Some(end) = &record.end {
            begin.write_end(&store, end).await.expect("memory takes it");
        }
        let again = RunRecord::list(&store, &begin.environment).await;
        assert_eq!(
            again.expect("memory gives it"),
            std::slice::from_ref(record)
        );
    }
    !read.is_empty()
}

/// Reads a body, writes it, and checks that the writing reads the same.
fn reread<T: Serialize + DeserializeOwned>(raw: &[u8]) -> Option<T> {
    let body: T = sealed::read_body(raw).ok()?;
    let bytes = written(&body);
    let again: T = sealed::read_body(&bytes).expect("it was written just now");
    assert!(written(&again) == bytes, "a body changes on the way");
    Some(body)
}

fn written<T: Serialize>(body: &T) -> Vec<u8> {
    postcard::to_allocvec(body).expect("our structs serialize into memory")
}

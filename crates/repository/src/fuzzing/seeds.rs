//! The seeds in `fuzz/seeds`: what a real, tiny repository holds, one file for each door and thing.
//!
//! `cargo xtask fuzz --write-seeds` writes them anew; a change of the stored format needs that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_model::{
    BackupKind, Entry, EntryKind, EntryPath, EnvironmentClass, IndexId, Metadata, PackId, RunId,
    SessionId, SourceKind, Tier, TombstoneId,
};
use lifeboat_runtime::{ComputePool, ManualClock, World};
use lifeboat_storage::ObjectStore;

use super::*;
use crate::layout::{INDEX, PACKS, SNAPSHOTS};
use crate::lease::LeaseRecord;
use crate::ledger::{Outcome, RunBegin, RunEnd, RunKind};
use crate::prune::Tombstone;
use crate::repository::{RegionMarker, to_json};
use crate::role::Role;
use crate::writer::{Layout, SnapshotDraft};

/// Takes bytes, and tells whether they were whole.
type Door = fn(&[u8]) -> bool;

/// Every door, by the name of its target and its folder of seeds.
const DOORS: &[(&str, Door)] = &[
    ("envelope", envelope),
    ("body", body),
    ("index", index),
    ("commit", commit),
    ("manifest", manifest),
    ("pack", pack),
    ("directory", directory),
    ("frame", frame),
    ("wal", wal),
    ("wal_frame", wal_frame),
    ("wrapped_secrets", wrapped_secrets),
    ("key_text", key_text),
    ("name", name),
    ("json", json),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

/// Also runs what once broke a parser: such inputs are kept among the seeds.
#[test]
fn every_door_takes_a_seed_of_its_own_and_no_seed_breaks_it() {
    for (name, door) in DOORS {
        let seeds = std::fs::read_dir(folder().join(name)).unwrap();
        let taken = seeds.filter(|seed| {
            let bytes = std::fs::read(seed.as_ref().unwrap().path()).unwrap();
            door(&bytes)
        });
        assert!(
            taken.count() > 0,
            "no seed of `{name}` is whole any more: run `cargo xtask fuzz --write-seeds`"
        );
    }
}

#[test]
#[ignore = "writes fuzz/seeds: run by `cargo xtask fuzz --write-seeds`"]
fn write_seeds() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let seeds = runtime.block_on(collect());
    for ((door, name), bytes) in seeds {
        let folder = folder().join(door);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

async fn collect() -> Seeds {
    let clock = Arc::new(ManualClock::new("2026-11-21T00:00:00Z".parse().unwrap()));
    let store = Arc::new(MemoryStore::new("home"));
    let repository = Repository {
        store: store.clone(),
        id: REPOSITORY,
        keys: KEYS.clone(),
        world: World {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(3)),
            pool: ComputePool::inline(),
        },
    };
    backup(&repository, 1).await;
    clock.advance(std::time::Duration::from_secs(60));
    backup(&repository, 2).await;
    let mut seeds = Seeds::new();
    objects(&repository, &mut seeds).await;
    texts(&repository, &mut seeds);
    logs(&mut seeds);
    documents(&repository, &mut seeds);
    seeds
}

/// A snapshot of one thing of each kind; of `round` 2, an incremental with a changed page.
async fn backup(repository: &Repository, round: u8) {
    let draft = SnapshotDraft {
        environment: "prod".parse().unwrap(),
        class: EnvironmentClass::Production,
        source: "shop".parse().unwrap(),
        source_kind: SourceKind::Files,
        tier: Tier::Daily,
        kind: BackupKind::Incremental,
        host: "host".to_owned(),
        program: "lifeboat".to_owned(),
        masked: false,
    };
    let mut writer = repository.snapshot_writer(draft).await.unwrap();
    for (path, kind) in [
        ("", EntryKind::Directory),
        ("fifo", EntryKind::Fifo),
        (
            "link",
            EntryKind::Symlink {
                target: b"text".to_vec(),
            },
        ),
    ] {
        writer.add(entry(path, kind)).await.unwrap();
    }
    let mut database = vec![1; 8 * 4096];
    database[5 * 4096] = round;
    let text = b"a text that zstd makes shorter, shorter, shorter, shorter, shorter".to_vec();
    let pages = Layout::Pages { page_size: 4096 };
    for (path, bytes, layout) in [
        ("shop.db", database, pages),
        ("text", text, Layout::Stream),
        ("zero", Vec::new(), Layout::Stream),
    ] {
        let size = bytes.len() as u64;
        let entry = entry(path, EntryKind::File { size });
        writer.begin_file(entry, layout).await.unwrap();
        writer.write(&bytes).await.unwrap();
        writer.end_file().await.unwrap();
    }
    if round == 2 {
        push(repository).await;
        writer.set_wal(lifeboat_model::WalRange {
            system: lifeboat_model::SystemId::new(7),
            timeline: lifeboat_model::Timeline::new(1),
            start: lifeboat_model::Lsn::new(0x200_0028),
            stop: lifeboat_model::Lsn::new(0x200_0100),
            segment_size: lifeboat_model::SegmentSize::DEFAULT,
            embedded: false,
        });
    }
    let now = repository.world.clock.now();
    writer.commit(now).await.unwrap();
}

/// The piece of a log that the second snapshot needs.
async fn push(repository: &Repository) {
    let place = WalPlace {
        environment: "prod".parse().unwrap(),
        source: "shop".parse().unwrap(),
        system: lifeboat_model::SystemId::new(7),
    };
    let draft = crate::wal::WalDraft {
        file: "000000010000000000000002".parse().unwrap(),
        piece: Some(0..256),
        newest_commit: None,
    };
    let none = crate::wal::WalListing::default();
    let put = repository.put_wal(&place, &draft, vec![1; 256].into(), &none);
    put.await.unwrap();
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind,
        metadata: Metadata {
            mode: 0o644,
            xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
            ..Metadata::default()
        },
    }
}

/// Every sealed object, as it lies in the store and opened.
async fn objects(repository: &Repository, seeds: &mut Seeds) {
    let (store, metadata) = (&repository.store, repository.keys.metadata());
    let mut put = |door, name: &str, bytes: Vec<u8>| {
        seeds.insert((door, name.to_owned()), bytes);
    };
    for (number, meta) in store.list("").await.unwrap().iter().enumerate() {
        let bytes = store.get(&meta.key).await.unwrap().to_vec();
        let (key, seed) = (meta.key.as_str(), number.to_string());
        if key.starts_with(INDEX) {
            let index: IndexV1 = sealed::open(Kind::Index, REPOSITORY, metadata, &bytes).unwrap();
            put("index", &seed, written(&index));
            put("body", &seed, body_of(&index));
            put("envelope", &seed, bytes);
        } else if key.starts_with(SNAPSHOTS) {
            let record: CommitV1 =
                sealed::open(Kind::Commit, REPOSITORY, metadata, &bytes).unwrap();
            put("commit", &seed, written(&record));
            put("body", &seed, body_of(&record));
            put("envelope", &seed, bytes);
            put("name", &seed, key.as_bytes().to_vec());
        } else if key.starts_with(PACKS) {
            pack_seeds(&seed, &bytes, &mut put);
            put("pack", &seed, bytes);
            put("name", &seed, key.as_bytes().to_vec());
        }
    }
}

/// The plain part of an envelope around `body`.
fn body_of<T: Serialize>(body: &T) -> Vec<u8> {
    let raw = written(body);
    let mut plain = (raw.len() as u32).to_le_bytes().to_vec();
    plain.extend(zstd::bulk::compress(&raw, 3).unwrap());
    plain
}

/// A pack's directory and frames; the frames of a metadata pack hold the manifest.
fn pack_seeds(seed: &str, pack: &[u8], put: &mut impl FnMut(&'static str, &str, Vec<u8>)) {
    let read = |kind| read_directory(kind, REPOSITORY, KEYS.metadata(), pack);
    let (kind, directory) = match read(PackKind::Data) {
        Ok(directory) => (PackKind::Data, directory),
        Err(_) => (PackKind::Metadata, read(PackKind::Metadata).unwrap()),
    };
    put("directory", seed, written(&directory));
    let opener = FrameOpener::new(kind, REPOSITORY, &KEYS, &directory.origins[0])
        .unwrap()
        .unwrap();
    let mut start = HEADER_LEN;
    for (number, frame) in directory.frames.iter().enumerate() {
        let stored = pack[start..start + frame.stored_len as usize].to_vec();
        start += frame.stored_len as usize;
        let raw = opener.open(frame, stored).unwrap();
        let again = compress_frame(raw.clone(), Vec::new());
        let claims = [u8::from(again.compressed)]
            .into_iter()
            .chain(again.raw_len.to_le_bytes());
        let name = format!("{seed}-{number}");
        put("frame", &name, claims.chain(again.bytes).collect());
        let mut at = 0;
        for (_, len) in &frame.chunks {
            let chunk = &raw[at..at + *len as usize];
            at += *len as usize;
            if kind == PackKind::Metadata && manifest(chunk) {
                put("manifest", &name, chunk.to_vec());
            }
        }
    }
}

/// A WAL object as it is stored, its frames by themselves, and names.
fn logs(seeds: &mut Seeds) {
    let text = b"a page of the log, a page of the log, a page of the log, a page of the log";
    let frames = [compress_wal(text), compress_wal(b"short")];
    let key = KEYS
        .content_public()
        .unwrap()
        .encapsulate(REPOSITORY, &SeededEntropy::new(6));
    let sealed = seal_wal(REPOSITORY, &key, WAL_STEM, 8192, &frames);
    seeds.insert(("wal", "object".to_owned()), sealed);
    for (name, frame) in ["compressed", "stored"].into_iter().zip(frames) {
        let claims = [8192_u32.to_le_bytes(), frame.raw_len.to_le_bytes()].concat();
        let bytes = [claims, frame.bytes].concat();
        seeds.insert(("wal_frame", name.to_owned()), bytes);
    }
    let folder = "wal/prod/shop/7301234567890123456/00000001";
    let (content, hash) = ("0c".repeat(16), "0a".repeat(32));
    for (name, file) in [
        ("wal-segment", "00000000/000000010000000000000001"),
        (
            "wal-piece",
            "00000000/000000010000000000000001-00000000-00002000",
        ),
        (
            "wal-history",
            "history/00000001.history-00000001-0000000003000150",
        ),
    ] {
        let key = format!("{folder}/{file}_1795230245678901_{content}_{hash}");
        seeds.insert(("name", name.to_owned()), key.into_bytes());
    }
}

fn texts(repository: &Repository, seeds: &mut Seeds) {
    let mut put = |door, name: &str, bytes: &[u8]| {
        seeds.insert((door, name.to_owned()), bytes.to_vec());
    };
    let secret = KeySecret::generate(&SeededEntropy::new(4));
    put("key_text", "key", secret.to_text().expose());
    put("key_text", "code", root().recovery_code().expose());
    for role in [Role::Auditor, Role::Pruner, Role::Writer, Role::Reader] {
        let secrets = repository.keys.narrowed(role).to_bytes();
        put("wrapped_secrets", &role.to_string(), secrets.expose());
    }
}

fn documents(repository: &Repository, seeds: &mut Seeds) {
    let mut put = |name: &str, which: u8, objects: &[Vec<u8>]| {
        let bytes = [vec![which], objects.join(&0)].concat();
        seeds.insert(("json", name.to_owned()), bytes);
    };
    let marker = RegionMarker {
        region: "home".parse().unwrap(),
        location: "eu".parse().unwrap(),
        repository: REPOSITORY,
    };
    let file = format!(
        "{{\"format\":1,\"repository\":\"{REPOSITORY}\",\"created\":\"2026-11-21T00:00:00Z\",\
         \"root_check\":\"0011223344556677\"}}"
    );
    put("repo", 0, &[file.into_bytes(), to_json(&marker)]);
    let now = repository.world.clock.now();
    put(
        "receipt",
        1,
        &[to_json(&Receipt {
            region: "home".parse().unwrap(),
            snapshot: SnapshotId::from_bytes([5; 32]),
            commit_record: "snapshots/prod/shop/a".to_owned(),
            received: now,
            index_objects: 1,
            packs: 2,
            wal_objects: 0,
            bytes: 3,
            closure: "00".to_owned(),
        })],
    );
    let run = RunId::from_bytes([6; RunId::LEN]);
    let begin = RunBegin {
        run,
        kind: RunKind::Backup,
        environment: "prod".parse().unwrap(),
        source: Some("shop".parse().unwrap()),
        began: now,
        host: "host".to_owned(),
        operator: "operator".to_owned(),
        tier: None,
        job: None,
    };
    let end = RunEnd {
        run,
        ended: now,
        outcome: Outcome::Done,
        facts: BTreeMap::from([("bytes".to_owned(), serde_json::json!([1, "two"]))]),
    };
    put("run", 2, &[to_json(&begin), to_json(&end)]);
    let lease = LeaseRecord {
        session: SessionId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
        work: RunKind::Backup,
        host: "host".to_owned(),
        process: 1,
        began: now,
        renewed: now,
        honours: vec![TombstoneId::from_bytes([9; 8])],
    };
    let tombstone = Tombstone {
        tombstone: TombstoneId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
        marked: now,
        index: vec![IndexId::from_bytes([1; 32])],
        packs: vec![PackId::from_bytes([2; 32])],
        wal: vec!["wal/prod/shop/7/00000001/00000000/a".to_owned()],
    };
    put("lease", 3, &[to_json(&lease), to_json(&tombstone)]);
}

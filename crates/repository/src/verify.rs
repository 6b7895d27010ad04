//! Verification: is what was stored still there, whole, and readable.

mod wal;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use lifeboat_model::{
    ChunkId, EntryPath, ErrorKind, PackId, RepositoryId, SnapshotId, error_chain,
};
use lifeboat_storage::{ObjectKey, ObjectMeta};
use serde::Serialize;

use crate::chunk_index::ChunkIndex;
use crate::error::{Flaw, RepositoryError};
use crate::format::HEADER_LEN;
use crate::format::index::IndexedPackV1;
use crate::format::pack::{DirectoryV1, FrameOpener, PackKind, read_directory};
use crate::index_catalog::{IndexCatalog, id_of};
use crate::keys::KeyRing;
use crate::layout::{self, INDEX, ObjectClass, PACKS, SNAPSHOTS, SnapshotName, TOMBSTONES};
use crate::manifest::ManifestReader;
use crate::repository::Repository;
use crate::role::Action;
use crate::snapshot::Snapshot;

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLevel {
    /// Names and sizes: every pack that an index names is there with its length.
    Quick,
    /// And every chunk of every snapshot can be found.
    Structure,
    /// And the packs whose turn it is are read: all of them once in `days`.
    Sample {
        /// Length of a whole rotation.
        days: u16,
        /// Days since 1970, which decides whose turn it is.
        today: u32,
    },
    /// And every byte is read and hashed; with the reader key every chunk is opened too.
    Full,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damage {
    /// The object's key.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

/// What a verification looked at and found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// Commit records read.
    pub snapshots: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read and hashed.
    pub bytes_read: u64,
    /// Chunks opened and compared with their id. 0 unless the reader key was at hand.
    pub chunks_opened: u64,
    /// WAL objects opened and compared with their names. 0 unless the reader key was at hand.
    pub wal_opened: u64,
    /// Everything that is wrong, sorted by object.
    pub damage: Vec<Damage>,
    /// The snapshots that cannot be restored in full, with some of the files concerned.
    pub affected: BTreeMap<SnapshotId, Vec<String>>,
}

/// Of each damaged snapshot, so many files are named.
const FILES_NAMED: usize = 20;
const READS_AT_ONCE: usize = 4;

/// How often to look again when a prune was at work meanwhile.
const TRIES: usize = 4;

/// A verification under way.
struct Verification<'a> {
    repository: &'a Repository,
    report: VerifyReport,
    /// Packs that are missing or damaged.
    bad_packs: BTreeSet<PackId>,
    /// Chunks known to be damaged within otherwise readable packs.
    bad_chunks: BTreeSet<ChunkId>,
    /// What the index objects say each pack holds, as a hash.
    directories: HashMap<PackId, blake3::Hash>,
}

impl Repository {
    /// Verifies the repository to the depth asked. Needs the auditor key; content is opened only
    /// with the reader key.
    ///
    /// Damage is part of the report, not an error.
    ///
    /// # Errors
    /// Fails if the store cannot be read at all.
    pub async fn verify(&self, level: VerifyLevel) -> Result<VerifyReport, RepositoryError> {
        // A prune beside it takes away what was listed a moment before: that is no damage.
        for _ in 1..TRIES {
            let before = self.landmarks().await?;
            let report = self.verify_once(level).await?;
            if report.damage.is_empty() || self.landmarks().await? == before {
                return Ok(report);
            }
        }
        self.verify_once(level).await
    }

    /// Lists what a prune changes.
    async fn landmarks(&self) -> Result<Vec<ObjectMeta>, RepositoryError> {
        let mut found = Vec::new();
        for prefix in [SNAPSHOTS, INDEX, TOMBSTONES] {
            found.extend(self.store.list(prefix).await?);
        }
        Ok(found)
    }

    async fn verify_once(&self, level: VerifyLevel) -> Result<VerifyReport, RepositoryError> {
        let mut verification = Verification {
            repository: self,
            report: VerifyReport::default(),
            bad_packs: BTreeSet::new(),
            bad_chunks: BTreeSet::new(),
            directories: HashMap::new(),
        };
        verification.run(level).await?;
        let mut report = verification.report;
        report.damage.sort();
        report.damage.dedup();
        Ok(report)
    }
}

impl Verification<'_> {
    async fn run(&mut self, level: VerifyLevel) -> Result<(), RepositoryError> {
        let store = &*self.repository.store;
        let names = Repository::snapshot_names(store, None, None).await?;
        let (packs, catalog) = self.check_index().await?;
        let index = index_of(&packs, |_| true);
        self.check_packs_listed(&index).await?;
        let mut snapshots = Vec::new();
        for name in &names {
            self.report.objects += 1;
            self.check_index_needed(name, &catalog).await?;
            match self.repository.snapshot(name).await {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => self.note_snapshot(name, &error)?,
            }
        }
        self.report.snapshots = snapshots.len() as u64;
        self.check_wal(&snapshots, level).await?;
        match level {
            VerifyLevel::Quick => return Ok(()),
            VerifyLevel::Structure => {}
            VerifyLevel::Sample { days, today } => {
                self.read_packs(&index, |id| is_due(id.as_bytes(), days, today))
                    .await?;
            }
            VerifyLevel::Full => self.read_packs(&index, |_| true).await?,
        }
        // A chunk that lies in two packs is whole as long as one of them is.
        let index = Arc::new(index_of(&packs, |id| !self.bad_packs.contains(id)));
        for snapshot in &snapshots {
            self.check_snapshot(&index, snapshot).await?;
        }
        Ok(())
    }

    fn note(&mut self, object: &impl std::fmt::Display, what: impl Into<String>) {
        self.report.damage.push(Damage {
            object: object.to_string(),
            what: what.into(),
        });
    }

    /// Turns an error about one object into damage; passes on what is no damage.
    fn note_error(
        &mut self,
        key: &ObjectKey,
        error: RepositoryError,
    ) -> Result<(), RepositoryError> {
        match error {
            RepositoryError::Corrupt { object, what } => self.note(&object, what),
            error @ RepositoryError::NewerFormat { .. } => self.note(key, error.to_string()),
            RepositoryError::Store(error) if error.kind == ErrorKind::NoRepository => {
                return Err(error.into());
            }
            // A bad sector must not hide what else is wrong.
            RepositoryError::Store(error) => {
                self.note(key, format!("it cannot be read: {}", error_chain(&error)));
            }
            other => return Err(other),
        }
        Ok(())
    }

    fn note_snapshot(
        &mut self,
        name: &SnapshotName,
        error: &RepositoryError,
    ) -> Result<(), RepositoryError> {
        self.note(&name.key(), error.to_string());
        self.report
            .affected
            .insert(name.id, vec!["the whole snapshot".to_owned()]);
        Ok(())
    }

    /// Reads and checks every index object; a damaged one is noted and left out.
    async fn check_index(&mut self) -> Result<(Vec<IndexedPackV1>, IndexCatalog), RepositoryError> {
        let repository = self.repository;
        let mut packs = Vec::new();
        let mut catalog = Vec::new();
        for meta in repository.store.list(INDEX).await? {
            self.report.objects += 1;
            let bytes = match repository.store.get(&meta.key).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.note_error(&meta.key, error.into())?;
                    continue;
                }
            };
            self.report.bytes_read += bytes.len() as u64;
            if ObjectClass::name_matches(&meta.key, &bytes) == Some(false) {
                self.note(&meta.key, "its bytes do not match its name");
                continue;
            }
            match repository.open_index_object(&bytes) {
                Ok((public, named)) => {
                    catalog.push((id_of(&meta.key)?, public));
                    for pack in named {
                        self.check_agreement(&meta.key, &pack);
                        packs.push(pack);
                    }
                }
                Err(flaw) => self.note_error(&meta.key, flaw.of(&meta.key))?,
            }
        }
        Ok((packs, IndexCatalog::new(catalog)))
    }

    /// Notes a snapshot whose index objects are not all there: its chunks cannot be found.
    async fn check_index_needed(
        &mut self,
        name: &SnapshotName,
        catalog: &IndexCatalog,
    ) -> Result<(), RepositoryError> {
        let key = name.key();
        let lacking = match self.repository.store.get(&key).await {
            Ok(bytes) => catalog.lacks_for(&key, &bytes),
            Err(error) => Err(error.into()),
        };
        match lacking {
            Ok(None) => {}
            Ok(Some(prefix)) => {
                let what = format!("it needs index object {prefix}…, which is missing");
                self.note(&key, what);
                let all = vec!["whatever that index object located".to_owned()];
                self.report.affected.insert(name.id, all);
            }
            // Reading the record itself reports what is wrong with it.
            Err(RepositoryError::Store(error)) if error.kind == ErrorKind::NoRepository => {
                return Err(error.into());
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Notes an index object that says of a pack what another one denies: whoever is read first would
    /// hide the other's chunks.
    fn check_agreement(&mut self, key: &ObjectKey, pack: &IndexedPackV1) {
        let id = PackId::from_bytes(pack.id);
        let hash = directory_hash(&pack.directory);
        if *self.directories.entry(id).or_insert(hash) != hash {
            let what = format!(
                "it contradicts another index object about pack {}",
                id.short()
            );
            self.note(key, what);
        }
    }

    /// Compares the packs that are there with those the index names.
    async fn check_packs_listed(&mut self, index: &ChunkIndex) -> Result<(), RepositoryError> {
        let listed = self.repository.store.list(PACKS).await?;
        let sizes: HashMap<_, _> = listed
            .iter()
            .map(|meta| (meta.key.as_str(), meta.size))
            .collect();
        self.report.objects += index.packs().len() as u64;
        for pack in index.packs() {
            let key = layout::pack(pack.id);
            let what = match sizes.get(key.as_str()) {
                Some(size) if *size == pack.size => continue,
                Some(size) => format!("it has {size} bytes instead of {}", pack.size),
                None => "it is missing".to_owned(),
            };
            self.note(&key, what);
            self.bad_packs.insert(pack.id);
        }
        Ok(())
    }

    /// Reads the packs that `wanted` picks and checks every byte.
    async fn read_packs(
        &mut self,
        index: &ChunkIndex,
        wanted: impl Fn(&PackId) -> bool,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let packs: Vec<_> = index
            .packs()
            .iter()
            .filter(|pack| wanted(&pack.id) && !self.bad_packs.contains(&pack.id))
            .map(|pack| (pack.id, pack.kind, self.directories[&pack.id]))
            .collect();
        let read =
            |(id, kind, listed)| async move { (id, read_pack(repository, id, kind, listed).await) };
        let mut reads = stream::iter(packs)
            .map(read)
            .buffer_unordered(READS_AT_ONCE);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(PackFindings { bytes, chunks, bad }) => {
                    self.report.bytes_read += bytes;
                    self.report.chunks_opened += chunks;
                    for (chunk, what) in bad {
                        self.note(&layout::pack(id), what);
                        self.bad_chunks.extend(chunk);
                    }
                }
                Err(error) => {
                    self.note_error(&layout::pack(id), error)?;
                    self.bad_packs.insert(id);
                }
            }
        }
        Ok(())
    }

    /// Checks that every chunk of a snapshot can be found in a pack that is not damaged.
    async fn check_snapshot(
        &mut self,
        index: &Arc<ChunkIndex>,
        snapshot: &Snapshot,
    ) -> Result<(), RepositoryError> {
        let mut manifest = ManifestReader::new(self.repository.clone(), index.clone(), snapshot);
        let mut files = Vec::new();
        loop {
            match manifest.next().await {
                Ok(Some(stored)) => {
                    let lost = stored
                        .chunks()
                        .find_map(|chunk| self.fault_of(index, &chunk));
                    if let Some(what) = lost {
                        files.push((stored.entry.path, what));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.note_snapshot(&snapshot.name(), &error)?;
                    return Ok(());
                }
            }
        }
        if files.is_empty() {
            return Ok(());
        }
        let object = snapshot.name().key();
        self.note(
            &object,
            format!("{} of its files cannot be restored", files.len()),
        );
        let named = files.iter().take(FILES_NAMED);
        let describe = |(path, what): &(EntryPath, &'static str)| format!("{path}: {what}");
        let affected = self.report.affected.entry(snapshot.id).or_default();
        affected.extend(named.map(describe));
        Ok(())
    }

    fn fault_of(&self, index: &ChunkIndex, chunk: &ChunkId) -> Option<&'static str> {
        if !index.contains(chunk) {
            return Some("a pack it needs is missing or damaged");
        }
        self.bad_chunks
            .contains(chunk)
            .then_some("a chunk of it is damaged")
    }
}

/// Spreads objects, by their hashes, evenly over the days of a rotation, the same way on every host.
fn is_due(hash: &[u8; 32], days: u16, today: u32) -> bool {
    let days = u32::from(days.max(1));
    let turn = u32::from_le_bytes(hash[..4].try_into().expect("32 bytes")) % days;
    turn == today % days
}

/// Makes the index of the packs that `wanted` picks.
fn index_of(packs: &[IndexedPackV1], wanted: impl Fn(&PackId) -> bool) -> ChunkIndex {
    let mut index = ChunkIndex::default();
    let picked = packs
        .iter()
        .filter(|pack| wanted(&PackId::from_bytes(pack.id)));
    picked.for_each(|pack| index.add(pack));
    index
}

/// Tells two directories apart.
fn directory_hash(directory: &DirectoryV1) -> blake3::Hash {
    blake3::hash(&postcard::to_allocvec(directory).expect("it serializes into memory"))
}

/// What reading one pack found.
struct PackFindings {
    bytes: u64,
    chunks: u64,
    bad: Vec<(Vec<ChunkId>, String)>,
}

async fn read_pack(
    repository: &Repository,
    id: PackId,
    kind: PackKind,
    listed: blake3::Hash,
) -> Result<PackFindings, RepositoryError> {
    let key = layout::pack(id);
    let bytes = repository.store.get(&key).await?;
    let opens = kind == PackKind::Metadata || repository.keys.role().may(Action::ReadContent);
    let id_key = opens.then(|| repository.chunk_key(kind)).transpose()?;
    let (keys, repository_id, shown) = (repository.keys.clone(), repository.id, key.clone());
    let job = repository.world.pool.run(move || {
        if ObjectClass::name_matches(&key, &bytes) == Some(false) {
            return Err(Flaw::damaged("its bytes do not match its name"));
        }
        let directory = read_directory(kind, repository_id, keys.metadata(), &bytes)?;
        if directory_hash(&directory) != listed {
            return Err(Flaw::damaged("its directory is not what the index says"));
        }
        let mut findings = PackFindings {
            bytes: bytes.len() as u64,
            chunks: 0,
            bad: Vec::new(),
        };
        let Some(id_key) = id_key else {
            return Ok(findings);
        };
        let openers = openers(kind, repository_id, &keys, &directory)?;
        let mut start = HEADER_LEN;
        for frame in &directory.frames {
            let end = start + frame.stored_len as usize;
            let ids = || {
                frame
                    .chunks
                    .iter()
                    .map(|(id, _)| ChunkId::from_bytes(*id))
                    .collect()
            };
            let opener = openers[frame.origin as usize].as_ref();
            let opener = opener.expect("those in use were recovered");
            match opener.open(frame, bytes[start..end].to_vec()) {
                Err(Flaw::Damaged(what)) => findings.bad.push((ids(), what)),
                Err(newer) => return Err(newer),
                Ok(raw) => {
                    let mut rest = raw.as_slice();
                    for (id, len) in &frame.chunks {
                        findings.chunks += 1;
                        let content = rest.split_off(..*len as usize).unwrap_or_default();
                        if blake3::keyed_hash(&id_key.0, content).as_bytes() != id {
                            let what = "a chunk has other content than its id says".to_owned();
                            findings.bad.push((vec![ChunkId::from_bytes(*id)], what));
                        }
                    }
                }
            }
            start = end;
        }
        Ok(findings)
    });
    job.await.map_err(|flaw| flaw.of(&shown))
}

/// Recovers the keys of all salts that a pack's frames were sealed under.
fn openers(
    kind: PackKind,
    repository: RepositoryId,
    keys: &KeyRing,
    directory: &DirectoryV1,
) -> Result<Vec<Option<FrameOpener>>, Flaw> {
    // A pack of moved frames has a salt of its own that encapsulates nothing and is never used.
    let used = |number: usize| directory.frames.iter().any(|f| f.origin as usize == number);
    let opener = |(number, salt): (usize, &[u8; 32])| {
        FrameOpener::new(kind, repository, keys, salt)
            .expect("asked for only with the key that opens this kind")
            .map(Some)
            .or_else(|flaw| if used(number) { Err(flaw) } else { Ok(None) })
    };
    directory.origins.iter().enumerate().map(opener).collect()
}

#[cfg(test)]
mod tests {
    use lifeboat_model::BackupKind;
    use lifeboat_runtime::{ComputePool, ManualClock, SeededEntropy, World};
    use lifeboat_storage::MemoryStore;

    use super::*;
    use crate::format::index::IndexPublic;
    use crate::{Layout, SnapshotDraft};

    /// A repository that holds one snapshot of one small file.
    async fn repository() -> Repository {
        let world = World {
            clock: Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)),
            entropy: Arc::new(SeededEntropy::new(1)),
            pool: ComputePool::inline(),
        };
        let store = Arc::new(MemoryStore::new("home"));
        let (region, location) = ("home".parse().unwrap(), "eu".parse().unwrap());
        let (repository, _) = Repository::create(store, region, location, world)
            .await
            .unwrap();
        let draft = SnapshotDraft {
            environment: "prod".parse().unwrap(),
            class: lifeboat_model::EnvironmentClass::Production,
            source: "config".parse().unwrap(),
            source_kind: lifeboat_model::SourceKind::Files,
            tier: lifeboat_model::Tier::Daily,
            kind: BackupKind::Full,
            host: String::new(),
            program: String::new(),
            masked: false,
        };
        let mut writer = repository.snapshot_writer(draft).await.unwrap();
        let entry = lifeboat_model::Entry {
            path: EntryPath::new("file").unwrap(),
            kind: lifeboat_model::EntryKind::File { size: 4 },
            metadata: lifeboat_model::Metadata::default(),
        };
        writer.begin_file(entry, Layout::Stream).await.unwrap();
        writer.write(b"data").await.unwrap();
        writer.end_file().await.unwrap();
        writer.commit(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        repository
    }

    /// Writes an index object that a stolen writer key could make: it moves the chunks of a pack.
    async fn forge_index(repository: &Repository) {
        let meta = repository.store.list(INDEX).await.unwrap().remove(0);
        let bytes = repository.store.get(&meta.key).await.unwrap();
        let mut packs = repository.open_index_object(&bytes).unwrap().1;
        for frame in packs.iter_mut().flat_map(|pack| &mut pack.directory.frames) {
            frame.compressed = !frame.compressed;
        }
        let public = IndexPublic::of(&packs);
        repository.write_index_object(&public, packs).await.unwrap();
    }

    #[tokio::test]
    async fn a_forged_index_object_is_noticed_at_every_level() {
        let repository = repository().await;
        let verify = async |level| repository.verify(level).await.unwrap().damage;
        assert_eq!(verify(VerifyLevel::Full).await, []);
        forge_index(&repository).await;
        for level in [
            VerifyLevel::Quick,
            VerifyLevel::Structure,
            VerifyLevel::Full,
        ] {
            let damage = verify(level).await;
            assert!(
                damage.iter().any(|d| d.what.contains("contradicts")),
                "{level:?} {damage:?}"
            );
        }
    }
}

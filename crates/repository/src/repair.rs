//! Repair: bringing back what a store has lost, from stores that still have it.
//!
//! Names are hashes, so a good copy proves itself, wherever it comes from. An index object that
//! nobody has any more is made anew from the packs' own directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_model::{ErrorKind, PackId, WalObject};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore};
use serde::Serialize;

use crate::error::RepositoryError;
use crate::format::index::{IndexPrefix, IndexPublic, IndexedPackV1, prefix_of};
use crate::format::pack::{PackKind, read_directory};
use crate::index_catalog::{IndexCatalog, id_of, index_needed_by};
use crate::layout::{self, INDEX, ObjectClass, SNAPSHOTS, WAL};
use crate::repository::Repository;
use crate::role::Action;
use crate::verify::{VerifyLevel, VerifyReport};
use crate::wal::{WalCatalog, wal_needed_by};

/// Bringing back an index object shows which packs are lost, and that of a pack nothing more.
const ROUNDS_MAX: usize = 3;

/// How often a good copy is put before a repair gives up.
const TRIES: usize = 5;

/// What a repair brought back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RepairReport {
    /// Objects brought back, with the store that had a good copy.
    pub repaired: BTreeMap<String, String>,
    /// Packs whose place in the index was made anew from their own directories.
    pub reindexed: u64,
    /// What is wrong still, by a last look at the same depth.
    pub left: VerifyReport,
}

impl Repository {
    /// Verifies to the depth asked and brings back what is lost or damaged. Needs the pruner key,
    /// and the right to delete at the store.
    ///
    /// With `dry_run` it looks for good copies and writes nothing.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written. What has no good copy is in the report.
    pub async fn repair(
        &self,
        level: VerifyLevel,
        sources: &[Arc<dyn ObjectStore>],
        dry_run: bool,
    ) -> Result<RepairReport, RepositoryError> {
        if !dry_run {
            self.require(Action::Prune)?;
        }
        let mut report = RepairReport::default();
        for _ in 0..ROUNDS_MAX {
            report.left = self.verify(level).await?;
            let mut wanted = self.wanted(&report.left, sources).await?;
            wanted.retain(|key| !report.repaired.contains_key(key.as_str()));
            let brought = self.fetch_all(&wanted, sources, dry_run).await?;
            let progress = !brought.is_empty();
            report.repaired.extend(brought);
            if dry_run || !progress {
                break;
            }
        }
        if !dry_run {
            report.reindexed = self.rebuild_index().await?;
            report.left = self.verify(level).await?;
        }
        Ok(report)
    }

    /// Brings objects that this store lacks, and of which only their owner can say that they belong here.
    /// Returns them with the store that had a good copy. What has arrived meanwhile is left as it is.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    pub async fn bring(
        &self,
        keys: &BTreeSet<ObjectKey>,
        sources: &[Arc<dyn ObjectStore>],
        dry_run: bool,
    ) -> Result<BTreeMap<String, String>, RepositoryError> {
        if !dry_run {
            self.require(Action::Prune)?;
        }
        let mut lacking = keys.clone();
        self.forget_whole(&mut lacking).await;
        self.fetch_all(&lacking, sources, dry_run).await
    }

    /// Puts good copies in the place of objects, as far as there are any. Returns where each is from.
    async fn fetch_all(
        &self,
        keys: &BTreeSet<ObjectKey>,
        sources: &[Arc<dyn ObjectStore>],
        dry_run: bool,
    ) -> Result<BTreeMap<String, String>, RepositoryError> {
        let mut brought = BTreeMap::new();
        for key in keys {
            let Some((bytes, from)) = good_copy(key, sources).await else {
                continue;
            };
            if !dry_run {
                // It is known to be useless, and the good copy is at hand.
                self.store.delete(key).await?;
                self.put_back(key, bytes).await?;
            }
            brought.insert(key.to_string(), from);
        }
        Ok(brought)
    }

    /// Takes out what is here and has the hash that its name tells.
    async fn forget_whole(&self, keys: &mut BTreeSet<ObjectKey>) {
        let mut whole = Vec::new();
        for key in keys.iter() {
            if let Ok(bytes) = self.store.get(key).await
                && ObjectClass::name_matches(key, &bytes) == Some(true)
            {
                whole.push(key.clone());
            }
        }
        keys.retain(|key| !whole.contains(key));
    }

    /// Puts a good copy in the place of what was deleted a moment ago, and does not give up at once: until
    /// it is there, nothing is.
    async fn put_back(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), RepositoryError> {
        for _ in 1..TRIES {
            match self.store.put(key, bytes.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => tracing::warn!(%error, "`{key}` could not be put back, trying again"),
            }
        }
        self.store.put(key, bytes).await?;
        Ok(())
    }

    /// Returns the objects to look for: those that are damaged or missing by their names, and the
    /// index objects that snapshots here need.
    async fn wanted(
        &self,
        found: &VerifyReport,
        sources: &[Arc<dyn ObjectStore>],
    ) -> Result<BTreeSet<ObjectKey>, RepositoryError> {
        let keys = found.damage.iter();
        let keys = keys.filter_map(|damage| ObjectKey::new(damage.object.as_str()).ok());
        let named_by_hash = |key: &ObjectKey| ObjectClass::name_matches(key, b"").is_some();
        let mut wanted: BTreeSet<ObjectKey> = keys.filter(named_by_hash).collect();
        // What is whole is not to be replaced: a snapshot is also told of because of its packs.
        self.forget_whole(&mut wanted).await;
        wanted.extend(self.lacking_wal(sources).await?);
        let lacking = self.lacking_index().await?;
        if !lacking.is_empty() {
            for source in sources {
                for meta in list(source, INDEX).await {
                    let prefix = id_of(&meta.key).map(|id| prefix_of(&id));
                    if prefix.is_ok_and(|prefix| lacking.contains(&prefix)) {
                        wanted.insert(meta.key);
                    }
                }
            }
        }
        Ok(wanted)
    }

    /// Returns the index objects that commit records here list, and that are neither here nor
    /// replaced.
    async fn lacking_index(&self) -> Result<BTreeSet<IndexPrefix>, RepositoryError> {
        let catalog = self.readable_catalog().await?;
        let mut lacking = BTreeSet::new();
        for meta in self.store.list(SNAPSHOTS).await? {
            // A record that cannot be read is told of by itself.
            let Ok(bytes) = self.store.get(&meta.key).await else {
                continue;
            };
            lacking.extend(index_needed_by(&meta.key, &bytes).unwrap_or_default());
        }
        lacking.retain(|prefix| !catalog.serves(prefix));
        Ok(lacking)
    }

    /// Returns the WAL objects that other stores have of segments that snapshots here lack.
    async fn lacking_wal(
        &self,
        sources: &[Arc<dyn ObjectStore>],
    ) -> Result<BTreeSet<ObjectKey>, RepositoryError> {
        let here = WalCatalog::read(&*self.store).await?;
        let mut lacking = Vec::new();
        for name in Self::snapshot_names(&*self.store, None, None).await? {
            // A record that cannot be read is told of by itself.
            let Ok(record) = self.store.get(&name.key()).await else {
                continue;
            };
            let needed = wal_needed_by(&name, &record).ok().flatten();
            lacking.extend(needed.filter(|(place, range)| here.lacks(place, *range).is_some()));
        }
        let mut wanted = BTreeSet::new();
        for source in sources.iter().filter(|_| !lacking.is_empty()) {
            let there = WalCatalog::of(&list(source, WAL).await);
            for (place, range) in &lacking {
                let held = |object: &WalObject| here.beside(place, object.file).contains(object);
                let needed = there.needed(place, *range).filter(|object| !held(object));
                wanted.extend(needed.map(|object| place.key(object)));
            }
        }
        Ok(wanted)
    }

    /// Reads the catalog, without the index objects that are damaged.
    async fn readable_catalog(&self) -> Result<IndexCatalog, RepositoryError> {
        let mut objects = Vec::new();
        for meta in self.store.list(INDEX).await? {
            let Ok(bytes) = self.store.get(&meta.key).await else {
                continue;
            };
            if let (Ok(id), Ok((public, _))) = (id_of(&meta.key), self.open_index_object(&bytes)) {
                objects.push((id, public));
            }
        }
        Ok(IndexCatalog::new(objects))
    }

    /// Indexes the packs that no index object names, if snapshots here need an index object that
    /// is nowhere to be had. Returns how many packs that were.
    async fn rebuild_index(&self) -> Result<u64, RepositoryError> {
        let lacking = self.lacking_index().await?;
        if lacking.is_empty() {
            return Ok(0);
        }
        let named = self.readable_catalog().await?.packs();
        let mut packs = Vec::new();
        for id in self.packs_there().await?.into_keys() {
            if !named.contains(&id) {
                packs.extend(self.describe_pack(id).await?);
            }
        }
        packs.sort_by_key(|pack| pack.id);
        let mut public = IndexPublic::of(&packs);
        // Whether the packs hold all that was in there is for the structure to tell.
        public.replaces = lacking.into_iter().collect();
        let count = packs.len() as u64;
        self.write_index_object(&public, packs).await?;
        Ok(count)
    }

    /// Reads what a pack says of itself; `None` if it is damaged.
    async fn describe_pack(&self, id: PackId) -> Result<Option<IndexedPackV1>, RepositoryError> {
        let key = layout::pack(id);
        let bytes = self.store.get(&key).await?;
        if ObjectClass::name_matches(&key, &bytes) == Some(false) {
            return Ok(None);
        }
        let metadata = self.keys.metadata();
        let described = [PackKind::Data, PackKind::Metadata]
            .into_iter()
            .find_map(|kind| {
                let directory = read_directory(kind, self.id, metadata, &bytes).ok()?;
                Some(IndexedPackV1 {
                    id: *id.as_bytes(),
                    size: bytes.len() as u64,
                    metadata: kind == PackKind::Metadata,
                    directory,
                })
            });
        Ok(described.filter(|pack| pack.directory.is_sound()))
    }
}

/// Looks for a copy whose bytes match its name. A store that fails is passed over.
async fn good_copy(key: &ObjectKey, sources: &[Arc<dyn ObjectStore>]) -> Option<(Bytes, String)> {
    for source in sources {
        match source.get(key).await {
            Ok(bytes) if ObjectClass::name_matches(key, &bytes) == Some(true) => {
                return Some((bytes, source.describe()));
            }
            Ok(_) => tracing::warn!("`{key}` is damaged in {}, too", source.describe()),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "`{key}` could not be looked for"),
        }
    }
    None
}

async fn list(source: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<ObjectMeta> {
    source.list(prefix).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "{} could not be listed", source.describe());
        Vec::new()
    })
}

//! What a region was seen to hold, which is all that a receipt may say.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_model::{RegionName, SnapshotId};
use lifeboat_storage::{ObjectKey, ObjectStore};

use crate::error::RepositoryError;
use crate::index_catalog::IndexCatalog;
use crate::layout::{self, SnapshotName};
use crate::receipt::Receipt;
use crate::wal::{WalCatalog, wal_needed_by};

/// What a region was seen to hold.
pub(crate) struct Closure {
    commits: BTreeMap<SnapshotId, u64>,
    index: IndexCatalog,
    wal: WalCatalog,
    index_objects: u64,
    packs: u64,
    bytes: u64,
    /// Over the names of all index objects and packs.
    hasher: blake3::Hasher,
}

impl Closure {
    /// Lists a region's index objects and checks that every pack they name is there, as long as it is
    /// at the source, if that has it.
    pub(crate) async fn of(
        store: &dyn ObjectStore,
        source: &BTreeMap<ObjectKey, u64>,
    ) -> Result<Self, RepositoryError> {
        let index = IndexCatalog::read(store).await?;
        let listed = store.list("").await?;
        let wal = WalCatalog::of(&listed);
        let sizes: BTreeMap<ObjectKey, u64> = listed
            .into_iter()
            .map(|meta| (meta.key, meta.size))
            .collect();
        let packs = index.packs();
        let keys: BTreeSet<ObjectKey> = packs
            .iter()
            .map(|pack| layout::pack(*pack))
            .chain(index.objects().map(layout::index))
            .collect();
        let mut bytes = 0;
        let mut hasher = blake3::Hasher::new();
        for key in &keys {
            let Some(size) = sizes.get(key) else {
                return Err(RepositoryError::corrupt(
                    key,
                    "it is missing from the replica",
                ));
            };
            if let Some(expected) = source.get(key).filter(|expected| *expected != size) {
                let what = format!("it has {size} bytes in the replica, {expected} at its source");
                return Err(RepositoryError::corrupt(key, what));
            }
            bytes += size;
            hasher.update(key.as_str().as_bytes()).update(b"\n");
        }
        let commits = sizes
            .iter()
            .filter_map(|(key, size)| Some((SnapshotName::parse(key)?.id, *size)))
            .collect();
        let (index_objects, packs) = (index.objects().count() as u64, packs.len() as u64);
        Ok(Self {
            commits,
            index,
            wal,
            index_objects,
            packs,
            bytes,
            hasher,
        })
    }

    /// Checks that every index object that existed when the snapshot was committed is here, or one
    /// that stands in for it, and every part of the log that it needs. Returns those parts.
    pub(crate) async fn check(
        &self,
        store: &dyn ObjectStore,
        name: &SnapshotName,
    ) -> Result<Vec<(ObjectKey, u64)>, RepositoryError> {
        let key = name.key();
        let record = store.get(&key).await?;
        if let Some(prefix) = self.index.lacks_for(&key, &record)? {
            let what = format!("it needs index object {prefix}…, which is missing");
            return Err(RepositoryError::corrupt(&key, what));
        }
        let Some((place, range)) = wal_needed_by(name, &record)? else {
            return Ok(Vec::new());
        };
        if let Some(segment) = self.wal.lacks(&place, range) {
            let what =
                format!("it needs WAL segment {segment}, which is not there as far as needed");
            return Err(RepositoryError::corrupt(&key, what));
        }
        let needed = self.wal.needed(&place, range);
        Ok(needed
            .map(|object| (place.key(object), object.stored_len))
            .collect())
    }

    pub(crate) fn receipt(
        &self,
        region: &RegionName,
        name: &SnapshotName,
        wal: &[(ObjectKey, u64)],
        received: jiff::Timestamp,
    ) -> Result<Receipt, RepositoryError> {
        let key = name.key();
        let Some(size) = self.commits.get(&name.id) else {
            return Err(RepositoryError::corrupt(
                &key,
                "it is missing from the replica",
            ));
        };
        let mut hasher = self.hasher.clone();
        for (key, _) in wal {
            hasher.update(key.as_str().as_bytes()).update(b"\n");
        }
        let wal_bytes: u64 = wal.iter().map(|(_, size)| size).sum();
        Ok(Receipt {
            region: region.clone(),
            snapshot: name.id,
            commit_record: key.to_string(),
            received,
            index_objects: self.index_objects,
            packs: self.packs,
            wal_objects: wal.len() as u64,
            bytes: self.bytes + size + wal_bytes,
            closure: hasher.finalize().to_hex().to_string(),
        })
    }
}

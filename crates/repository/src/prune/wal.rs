//! Pruning write-ahead logs. What may go is decided by policy; what a snapshot needs stays all the same.

use std::collections::BTreeSet;

use lifeboat_storage::ObjectKey;

use crate::error::RepositoryError;
use crate::layout::ObjectClass;
use crate::prune::roots::Roots;
use crate::prune::{Pruner, Tombstone};
use crate::wal::WalCatalog;

/// WAL objects with their lengths.
pub(super) type WalGarbage = Vec<(ObjectKey, u64)>;

impl Pruner<'_> {
    /// Returns those of `keys` that are there and that no root needs.
    ///
    /// A piece is not needed if a larger object that stays holds all of it.
    pub(super) async fn unneeded_wal(
        &self,
        keys: impl IntoIterator<Item = ObjectKey>,
        roots: &Roots,
    ) -> Result<WalGarbage, RepositoryError> {
        // Whoever can write can make up a list; of other objects it decides nothing.
        let is_wal = |key: &ObjectKey| ObjectClass::of(key) == ObjectClass::Wal;
        let doomed: BTreeSet<ObjectKey> = keys.into_iter().filter(is_wal).collect();
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let catalog = WalCatalog::read(&*self.repository.store).await?;
        let mut needed = BTreeSet::new();
        for (place, range) in roots.wal() {
            for object in catalog.needed(&place, range) {
                let beside = catalog.beside(&place, object.file).iter();
                let mut stays = beside.filter(|other| !doomed.contains(&place.key(other)));
                if !stays.any(|other| other.supersedes(object)) {
                    needed.insert(place.key(object));
                }
            }
        }
        let places = catalog.places();
        let there = places.flat_map(|(place, listing)| {
            let objects = listing.objects().iter();
            objects.map(|object| (place.key(object), object.stored_len))
        });
        let unneeded = |key: &ObjectKey| doomed.contains(key) && !needed.contains(key);
        Ok(there.filter(|(key, _)| unneeded(key)).collect())
    }

    /// Deletes what a tombstone names of write-ahead logs, after a second look at what is needed.
    pub(super) async fn sweep_wal(
        &mut self,
        tombstone: &Tombstone,
        roots: &Roots,
    ) -> Result<(), RepositoryError> {
        let garbage = self.unneeded_wal(tombstone.wal_keys(), roots).await?;
        for (key, size) in garbage {
            if self.delete(&key).await? {
                self.report.wal_objects += 1;
                self.report.wal_bytes += size;
            }
        }
        Ok(())
    }
}

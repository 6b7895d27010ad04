//! Extending the locks of what snapshots need, in stores that lock objects.
//!
//! An object is stored once and may serve for years; its lock ends a fixed time after it was put.
//! So whoever prunes a region extends the locks of everything that is still needed. Needs no key.

use std::collections::BTreeSet;

use lifeboat_storage::{ObjectKey, ObjectStore};

use crate::error::RepositoryError;
use crate::index_catalog::IndexCatalog;
use crate::layout::{self, ObjectClass};
use crate::prune::Tombstones;

/// Locks what snapshots need for the store's full term, and returns how many objects needed it.
///
/// # Errors
/// Fails if the store cannot be read, or refuses to extend a lock.
pub async fn protect(store: &dyn ObjectStore) -> Result<u64, RepositoryError> {
    let index = IndexCatalog::read(store).await?;
    let tombstones = Tombstones::read(store).await?;
    let doomed_packs: BTreeSet<_> = tombstones.packs().into_iter().collect();
    let doomed_index: BTreeSet<_> = tombstones.index().into_iter().collect();
    let packs = index.packs().into_iter();
    let packs = packs
        .filter(|id| !doomed_packs.contains(id))
        .map(layout::pack);
    let objects = index.objects().filter(|id| !doomed_index.contains(id));
    let mut keys: Vec<ObjectKey> = packs.chain(objects.map(layout::index)).collect();
    let listed = store.list("").await?;
    let stays = |key: &ObjectKey| {
        matches!(
            ObjectClass::of(key),
            ObjectClass::Repository
                | ObjectClass::Region
                | ObjectClass::Revocation
                | ObjectClass::Key
                | ObjectClass::Snapshot
        )
    };
    let there: BTreeSet<&ObjectKey> = listed.iter().map(|meta| &meta.key).collect();
    // A pack that is missing is for `verify` to tell.
    keys.retain(|key| there.contains(key));
    keys.extend(listed.iter().map(|meta| meta.key.clone()).filter(stays));
    Ok(store.protect(&keys).await?)
}

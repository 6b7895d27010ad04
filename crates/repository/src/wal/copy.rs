//! Copying new parts of a write-ahead log to another region, often and cheaply. Needs no key.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::{ErrorKind, WalHash, WalObject};
use lifeboat_runtime::MemoryBudget;
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use crate::error::RepositoryError;
use crate::replicate::copy_object;
use crate::repository::Repository;
use crate::wal::name::WalPlace;

/// Objects copied at the same time.
const COPIES_AT_ONCE: usize = 8;
/// Memory that objects on their way may take, bytes.
const BUDGET_BYTES: u64 = 128 << 20;

/// What was copied of a write-ahead log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WalCopied {
    /// Number of objects.
    pub objects: u64,
    /// Their lengths together, bytes.
    pub bytes: u64,
}

impl Repository {
    /// Copies what `to` lacks of one cluster's log, oldest first, of what `wanted` picks: so a region
    /// that keeps less is not given again what it has deleted.
    ///
    /// Lists that log alone, in both stores, and nothing else; takes no lease, because it refers to
    /// nothing, and passes over what a prune takes away before it is read. Pieces that another
    /// object holds are left out. Needs no key.
    ///
    /// # Errors
    /// Fails if a store fails, or an object is damaged at its source; what was copied stays.
    pub async fn copy_wal(
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        place: &WalPlace,
        wanted: impl Fn(&WalObject) -> bool,
    ) -> Result<WalCopied, RepositoryError> {
        let missing = Self::missing_wal(from, to, place, wanted).await?;
        let budget = MemoryBudget::new(BUDGET_BYTES);
        let copy = |object: WalObject| {
            let budget = &budget;
            async move {
                let permit = budget.take(object.stored_len).await;
                let copied = copy_object(from, to, &place.key(&object)).await;
                drop(permit);
                match copied {
                    Ok(()) => Ok(Some(object.stored_len)),
                    Err(RepositoryError::Store(error)) if error.kind == ErrorKind::NotFound => {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let copies = stream::iter(missing).map(copy);
        let done = copies.buffered(COPIES_AT_ONCE);
        done.try_fold(WalCopied::default(), |sum, copied| async move {
            Ok(WalCopied {
                objects: sum.objects + u64::from(copied.is_some()),
                bytes: sum.bytes + copied.unwrap_or(0),
            })
        })
        .await
    }

    /// Returns how much [`Repository::copy_wal`] would copy now.
    ///
    /// # Errors
    /// Fails if a store cannot be listed.
    pub async fn wal_pending(
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        place: &WalPlace,
        wanted: impl Fn(&WalObject) -> bool,
    ) -> Result<WalCopied, RepositoryError> {
        let missing = Self::missing_wal(from, to, place, wanted).await?;
        Ok(WalCopied {
            objects: missing.len() as u64,
            bytes: missing.iter().map(|object| object.stored_len).sum(),
        })
    }

    /// Lists what `to` lacks of one cluster's log, oldest first.
    async fn missing_wal(
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        place: &WalPlace,
        wanted: impl Fn(&WalObject) -> bool,
    ) -> Result<Vec<WalObject>, RepositoryError> {
        let there = Self::wal_listing(to, place).await?;
        let here = Self::wal_listing(from, place).await?;
        let known: BTreeSet<WalHash> = there.objects().iter().map(|object| object.hash).collect();
        let superseded = |object: &WalObject| {
            let mut others = here.of(object.file).iter().chain(there.of(object.file));
            others.any(|other| other.supersedes(object))
        };
        let missing = here.objects().iter().filter(|object| {
            !known.contains(&object.hash) && wanted(object) && !superseded(object)
        });
        Ok(missing.cloned().collect())
    }
}

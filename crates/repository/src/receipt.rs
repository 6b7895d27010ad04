//! Receipts: proof that a region holds everything a snapshot needs.

use jiff::Timestamp;
use lifeboat_model::{RegionName, SnapshotId};
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::layout::{self, RECEIPTS, SnapshotName};
use crate::repository::{put_new, to_json};

/// What a region was seen to hold, and when.
///
/// A commit record is written after the index objects that its chunks are in, so a copy that holds
/// the record and every index object listed after it, with all packs those name, holds the whole
/// closure. The stretch of a write-ahead log that it needs is told by the record's public part, and found
/// by names. That can be checked, and so can this, without any key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The region that holds it.
    pub region: RegionName,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The commit record's key.
    pub commit_record: String,
    /// When the region was seen to hold it.
    pub received: Timestamp,
    /// Number of index objects that were there.
    pub index_objects: u64,
    /// Number of packs that those name, all of them there.
    pub packs: u64,
    /// Number of WAL objects that the snapshot needs, all of them there.
    #[serde(default)]
    pub wal_objects: u64,
    /// Length of the commit record, index objects, packs and WAL objects together, bytes.
    pub bytes: u64,
    /// BLAKE3 over the sorted keys of those index objects, packs and WAL objects, one a line.
    pub closure: String,
}

impl Receipt {
    /// Writes the receipt into a store; one that is there already stays.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        put_new(
            store,
            &layout::receipt(&self.region, self.snapshot),
            to_json(self),
        )
        .await
    }

    /// Reads all receipts of a region that a store holds.
    ///
    /// # Errors
    /// Fails if the store cannot be read. A damaged receipt is logged and counts for nothing.
    pub async fn list(
        store: &dyn ObjectStore,
        region: &RegionName,
    ) -> Result<Vec<Receipt>, RepositoryError> {
        let mut found = Vec::new();
        for meta in store.list(&format!("{RECEIPTS}{region}/")).await? {
            let bytes = store.get(&meta.key).await?;
            match serde_json::from_slice(&bytes) {
                Ok(receipt) => found.push(receipt),
                // It proves nothing then, and the next replication writes no other of its name.
                Err(error) => tracing::warn!(%error, "receipt `{}` is damaged", meta.key),
            }
        }
        Ok(found)
    }

    /// Reports whether a store holds a receipt of each of these snapshots, by their names alone.
    ///
    /// # Errors
    /// Fails if the store cannot be listed.
    pub async fn are_there(
        store: &dyn ObjectStore,
        region: &RegionName,
        snapshots: &[SnapshotName],
    ) -> Result<bool, RepositoryError> {
        let listed = store.list(&format!("{RECEIPTS}{region}/")).await?;
        let mut keys = snapshots
            .iter()
            .map(|name| layout::receipt(region, name.id));
        let is_there = |key: ObjectKey| listed.binary_search_by(|meta| meta.key.cmp(&key)).is_ok();
        Ok(keys.all(is_there))
    }
}

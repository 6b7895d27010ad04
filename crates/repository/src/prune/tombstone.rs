//! Tombstones: lists of objects that are about to be deleted.
//!
//! Whoever reads one before looking at the index refers to nothing in it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lifeboat_model::{ErrorKind, IndexId, PackId, TombstoneId};
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::layout::{self, TOMBSTONES};
use crate::repository::{put_new, to_json};

/// What one prune is about to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) tombstone: TombstoneId,
    /// When it was written, for people.
    pub(crate) marked: Timestamp,
    /// Index objects that others stand in for.
    pub(crate) index: Vec<IndexId>,
    /// Packs that no snapshot needed.
    pub(crate) packs: Vec<PackId>,
    /// WAL objects that no snapshot needed, by their keys.
    #[serde(default)]
    pub(crate) wal: Vec<String>,
}

impl Tombstone {
    /// Returns the keys of the WAL objects it names.
    pub(crate) fn wal_keys(&self) -> impl Iterator<Item = ObjectKey> {
        let keys = self.wal.iter();
        keys.filter_map(|key| ObjectKey::new(key.as_str()).ok())
    }

    pub(crate) async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        put_new(store, &layout::tombstone(self.tombstone), to_json(self)).await
    }
}

/// The tombstones that stood in a store at one moment.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    pub(crate) known: Vec<Tombstone>,
    /// Those that cannot be read: nobody can promise anything about them, nor act on them.
    pub(crate) damaged: Vec<TombstoneId>,
}

impl Tombstones {
    /// Reads all tombstones of a store.
    pub(crate) async fn read(store: &dyn ObjectStore) -> Result<Self, RepositoryError> {
        let mut found = Self::default();
        for meta in store.list(TOMBSTONES).await? {
            let Ok(id) = meta.key.file_name().parse() else {
                continue;
            };
            let bytes = match store.get(&meta.key).await {
                Ok(bytes) => bytes,
                // Its prune has just finished.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            match serde_json::from_slice::<Tombstone>(&bytes) {
                Ok(tombstone) if tombstone.tombstone == id => found.known.push(tombstone),
                _ => found.damaged.push(id),
            }
        }
        Ok(found)
    }

    /// Returns all packs they name.
    pub(crate) fn packs(&self) -> BTreeSet<PackId> {
        let packs = self.known.iter().flat_map(|tombstone| &tombstone.packs);
        packs.copied().collect()
    }

    /// Returns all index objects they name.
    pub(crate) fn index(&self) -> BTreeSet<IndexId> {
        let index = self.known.iter().flat_map(|tombstone| &tombstone.index);
        index.copied().collect()
    }

    /// Returns all WAL objects they name.
    pub(crate) fn wal(&self) -> BTreeSet<ObjectKey> {
        let wal = self.known.iter().flat_map(Tombstone::wal_keys);
        wal.collect()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = TombstoneId> {
        self.known.iter().map(|tombstone| tombstone.tombstone)
    }
}

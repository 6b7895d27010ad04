//! The snapshots that must stay whole: those that exist, and those that a session may yet commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::{ChunkId, WalRange};
use lifeboat_storage::ObjectKey;

use crate::chunk_index::ChunkIndex;
use crate::error::RepositoryError;
use crate::format::index::IndexPrefix;
use crate::index_catalog::index_needed_by;
use crate::layout::SnapshotName;
use crate::prune::LiveWalk;
use crate::prune::sessions::read_sessions;
use crate::repository::{READS_AT_ONCE, Repository};
use crate::snapshot::Snapshot;
use crate::wal::{WalPlace, place_of};

/// One commit record.
pub(super) struct Root {
    pub(super) snapshot: Snapshot,
    /// The index objects it lists.
    index: Vec<IndexPrefix>,
}

/// Everything that keeps objects alive.
#[derive(Default)]
pub(super) struct Roots {
    committed: Vec<Root>,
    /// Records that a session wrote down, and may commit or not.
    intended: Vec<Root>,
}

impl Roots {
    /// Reads all commit records, and what sessions are about to commit.
    ///
    /// Fails if a record cannot be read: nobody could say then what it needs.
    pub(super) async fn read(repository: &Repository) -> Result<Self, RepositoryError> {
        let mut roots = Self::default();
        // Read first: what is committed meanwhile is then seen at least once.
        let mut sessions = read_sessions(&*repository.store).await?;
        // A session that has ended has committed all it will.
        sessions.retain(|_, session| !session.ended);
        for (id, session) in sessions {
            for (key, bytes) in session.records(&*repository.store, id).await? {
                // A record that cannot be read could not be restored either if it were committed.
                roots.intended.extend(root(repository, &key, &bytes).ok());
            }
        }
        let names = Repository::snapshot_names(&*repository.store, None, None).await?;
        let read = |name: &SnapshotName| {
            let key = name.key();
            async move {
                let bytes = repository.store.get(&key).await?;
                root(repository, &key, &bytes)
            }
        };
        let committed = stream::iter(&names).map(read).buffered(READS_AT_ONCE);
        roots.committed = committed.try_collect().await?;
        Ok(roots)
    }

    /// Leaves out snapshots that are to be deleted, and returns those that were there.
    pub(super) fn leave_out(&mut self, names: &[SnapshotName]) -> Vec<SnapshotName> {
        let named = |root: &Root| names.contains(&root.snapshot.name());
        let (gone, kept) = std::mem::take(&mut self.committed)
            .into_iter()
            .partition(named);
        self.committed = kept;
        let gone: Vec<Root> = gone;
        gone.iter().map(|root| root.snapshot.name()).collect()
    }

    /// Returns the names of all records, to tell whether others came.
    pub(super) fn names(&self) -> BTreeSet<ObjectKey> {
        self.all().map(|root| root.snapshot.name().key()).collect()
    }

    /// Returns the index objects that any of the records lists.
    pub(super) fn index(&self) -> BTreeSet<IndexPrefix> {
        self.all()
            .flat_map(|root| root.index.iter().copied())
            .collect()
    }

    /// Returns the stretches of write-ahead logs that any of the records needs.
    pub(super) fn wal(&self) -> impl Iterator<Item = (WalPlace, WalRange)> {
        self.all().filter_map(|root| {
            let range = root.snapshot.wal.filter(|range| !range.embedded)?;
            Some((place_of(&root.snapshot.name(), range), range))
        })
    }

    fn all(&self) -> impl Iterator<Item = &Root> {
        self.committed.iter().chain(&self.intended)
    }

    /// Names every chunk that is needed. `needs` answers whether the chunk can be found.
    ///
    /// Fails if a snapshot that exists lacks one: then its repository is damaged, and to delete
    /// anything could make it worse.
    pub(super) async fn walk(
        &self,
        repository: &Repository,
        index: Arc<ChunkIndex>,
        mut needs: impl FnMut(ChunkId) -> bool,
    ) -> Result<(), RepositoryError> {
        let mut walk = LiveWalk::new(repository, index);
        for root in &self.committed {
            let mut missing = None;
            let find = |chunk| {
                if !needs(chunk) {
                    missing.get_or_insert(chunk);
                }
            };
            walk.walk(&root.snapshot, find).await?;
            if let Some(chunk) = missing {
                let store = repository.store.describe();
                return Err(RepositoryError::MissingChunk { chunk, store });
            }
        }
        for root in &self.intended {
            let find = |chunk| {
                needs(chunk);
            };
            // A session that was fenced long ago may have left a record whose chunks are gone.
            match walk.walk(&root.snapshot, find).await {
                Ok(())
                | Err(RepositoryError::Corrupt { .. } | RepositoryError::MissingChunk { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn root(repository: &Repository, key: &ObjectKey, bytes: &[u8]) -> Result<Root, RepositoryError> {
    let name = SnapshotName::parse(key)
        .ok_or_else(|| RepositoryError::corrupt(key, "its name is no commit record's"))?;
    Ok(Root {
        snapshot: repository.open_commit(&name, bytes)?,
        index: index_needed_by(key, bytes)?,
    })
}

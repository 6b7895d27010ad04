//! The snapshot an incremental is compared with.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::{Entry, EntryPath};

use super::pages::{BlockExtents, PAGE_HASH_LEN};
use crate::chunk_index::ChunkIndex;
use crate::content::{ChunkRef, Content};
use crate::error::RepositoryError;
use crate::manifest::{ManifestReader, MetadataReader, StoredEntry};
use crate::repository::Repository;
use crate::snapshot::{Snapshot, nanoseconds};

/// A file that changed less than this before the parent began is read again: its time stamp could
/// not have told a later change apart.
const REST: Duration = Duration::from_secs(2);

/// Walks the parent's manifest in step with the source; both are in path order.
pub(super) struct Parent {
    snapshot: Snapshot,
    repository: Repository,
    index: Arc<ChunkIndex>,
    manifest: ManifestReader,
    ahead: Option<StoredEntry>,
    ended: bool,
}

impl Parent {
    pub(super) fn new(repository: Repository, index: Arc<ChunkIndex>, snapshot: Snapshot) -> Self {
        let manifest = ManifestReader::new(repository.clone(), index.clone(), &snapshot);
        Self {
            snapshot,
            repository,
            index,
            manifest,
            ahead: None,
            ended: false,
        }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes the same entry as the parent has it, if it can be taken over unread.
    pub(super) async fn take_unchanged(
        &mut self,
        entry: &Entry,
    ) -> Result<Option<StoredEntry>, RepositoryError> {
        let rested_until = rested_until(self.snapshot.started);
        self.find(&entry.path).await?;
        let Some(stored) = self.at(&entry.path) else {
            return Ok(None);
        };
        let (now, before) = (&entry.metadata, &stored.entry.metadata);
        let same = entry.kind == stored.entry.kind
            && now.mtime_ns == before.mtime_ns
            && now.ctime_ns == before.ctime_ns
            && now.inode == before.inode
            && now.ctime_ns < rested_until
            && now.mtime_ns < rested_until;
        // What the index lost must be read and stored again, not referred to.
        let stored_still = stored.content.as_ref().is_none_or(|have| self.holds(have));
        if same && stored_still {
            Ok(self.ahead.take())
        } else {
            Ok(None)
        }
    }

    /// Returns the parent's pages of a database file, if there are any of that page size.
    pub(super) async fn pages(
        &mut self,
        path: &EntryPath,
        page_size: u32,
    ) -> Result<Option<PagedParent>, RepositoryError> {
        self.find(path).await?;
        let Some(stored) = self.at(path) else {
            return Ok(None);
        };
        let Some(content) = stored.content.clone() else {
            return Ok(None);
        };
        let usable = content.pages.as_ref().is_some_and(|pages| {
            pages.page_size == page_size && pages.map.iter().all(|id| self.index.contains(id))
        });
        if !usable || !self.holds(&content) {
            return Ok(None);
        }
        let metadata = MetadataReader::new(self.repository.clone(), self.index.clone());
        Ok(PagedParent::new(content, metadata))
    }

    fn holds(&self, content: &Content) -> bool {
        content
            .chunks
            .iter()
            .all(|chunk| self.index.holds(&chunk.id, chunk.len))
    }

    /// Moves on to `path`, or to where it would be.
    async fn find(&mut self, path: &EntryPath) -> Result<(), RepositoryError> {
        loop {
            let behind = match &self.ahead {
                Some(stored) => stored.entry.path < *path,
                None => !self.ended,
            };
            if !behind {
                return Ok(());
            }
            self.ahead = self.manifest.next().await?;
            self.ended = self.ahead.is_none();
        }
    }

    /// Returns the entry of `path`, once it was found.
    fn at(&self, path: &EntryPath) -> Option<&StoredEntry> {
        self.ahead
            .as_ref()
            .filter(|stored| stored.entry.path == *path)
    }
}

/// Returns the last instant, in nanoseconds, at which a change was surely seen by a parent that
/// began then.
fn rested_until(began: Timestamp) -> i64 {
    nanoseconds(began).saturating_sub(REST.as_nanos() as i64)
}

/// A database file in the parent: its extents and page hashes, both read front to back.
pub(super) struct PagedParent {
    pub(super) chunks: Vec<ChunkRef>,
    pub(super) extents: BlockExtents,
    metadata: MetadataReader,
    map: std::vec::IntoIter<lifeboat_model::ChunkId>,
    hashes: Vec<u8>,
}

impl PagedParent {
    fn new(content: Content, metadata: MetadataReader) -> Option<Self> {
        let extents = BlockExtents::new(&content);
        let map = content.pages?.map.into_iter();
        Some(Self {
            chunks: content.chunks,
            extents,
            metadata,
            map,
            hashes: Vec::new(),
        })
    }

    /// Takes the next `len` bytes of page hashes, or what is left.
    pub(super) async fn take_hashes(&mut self, len: usize) -> Result<Vec<u8>, RepositoryError> {
        debug_assert_eq!(len % PAGE_HASH_LEN, 0);
        while self.hashes.len() < len {
            let Some(id) = self.map.next() else { break };
            self.hashes.extend(self.metadata.chunk(id).await?);
        }
        let rest = self.hashes.split_off(len.min(self.hashes.len()));
        Ok(std::mem::replace(&mut self.hashes, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_instant_that_a_record_can_hold_is_too_early_to_compare_with() {
        let earliest = Timestamp::from_nanosecond(i128::from(i64::MIN)).unwrap();
        assert_eq!(rested_until(earliest), i64::MIN);
        assert_eq!(
            rested_until(Timestamp::from_second(3).unwrap()),
            1_000_000_000
        );
    }
}

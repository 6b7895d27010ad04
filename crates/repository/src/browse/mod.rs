//! Looking into snapshots: entries front to back or one by one, two snapshots side by side, what
//! takes up the room, and content without restoring it.
//!
//! Everything here reads, in memory that does not grow with a snapshot, and needs any key; only
//! content needs the reader key. It never decides which snapshot is meant.

mod compare;
mod content;
mod usage;

use std::sync::Arc;

use lifeboat_model::ChunkId;

pub use self::compare::{Comparison, Pair};
pub use self::content::{ContentReader, OpenFile};
pub use self::usage::{ClassUsage, IndexUsage, PackUsage, SourceUsage, Usage, Waste};

use crate::chunk_index::ChunkIndex;
use crate::error::RepositoryError;
use crate::format::commit::ManifestChunkV1;
use crate::format::manifest::read_record;
use crate::manifest::{ManifestReader, MetadataReader, StoredEntry};
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// A repository with its index at hand, for looking into snapshots.
///
/// What was committed after it was made is not found: the snapshots to look into must be listed
/// before.
#[derive(Clone)]
pub struct Browser {
    repository: Repository,
    index: Arc<ChunkIndex>,
}

impl Repository {
    /// Loads the index in order to look into snapshots. Needs any key.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub async fn browse(&self) -> Result<Browser, RepositoryError> {
        Ok(Browser {
            repository: self.clone(),
            index: Arc::new(self.load_index().await?),
        })
    }
}

impl Browser {
    /// Reads the entries of a snapshot in path order.
    pub fn entries(&self, snapshot: &Snapshot) -> EntryReader {
        EntryReader {
            manifest: ManifestReader::new(self.repository.clone(), self.index.clone(), snapshot),
        }
    }

    /// Reads single entries of a snapshot by their places.
    pub fn records(&self, snapshot: &Snapshot) -> RecordReader {
        let mut start = 0;
        let chunks = snapshot.manifest.iter().map(|chunk| {
            let begin = start;
            start += u64::from(chunk.len);
            (begin, chunk.clone())
        });
        RecordReader {
            chunks: chunks.collect(),
            metadata: MetadataReader::new(self.repository.clone(), self.index.clone()),
            label: format!("the manifest of snapshot {}", snapshot.id.short()),
        }
    }

    /// Compares two snapshots entry by entry; without a first one, everything is new.
    pub fn compare(&self, before: Option<&Snapshot>, after: Option<&Snapshot>) -> Comparison {
        let entries = |snapshot| self.entries(snapshot);
        Comparison::new(before.map(entries), after.map(entries))
    }

    /// Reads content in pieces, keeping up to `cache_bytes_max` opened bytes. Needs the reader key.
    ///
    /// # Errors
    /// Fails if the repository was opened with a key that reads no content.
    pub fn content_reader(&self, cache_bytes_max: usize) -> Result<ContentReader, RepositoryError> {
        ContentReader::new(self.repository.clone(), self.index.clone(), cache_bytes_max)
    }
}

/// Where an entry's record lies in its manifest: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace(pub u64);

/// Reads the entries of one snapshot front to back, in bounded memory.
pub struct EntryReader {
    manifest: ManifestReader,
}

impl EntryReader {
    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    /// Fails if part of the manifest is missing or damaged.
    pub async fn next(&mut self) -> Result<Option<StoredEntry>, RepositoryError> {
        self.manifest.next().await
    }

    /// Returns the place of the record that [`EntryReader::next`] will read.
    pub fn place(&self) -> RecordPlace {
        RecordPlace(self.manifest.position())
    }
}

/// Reads entries again of which only the place was kept.
pub struct RecordReader {
    /// Each with the place of its first byte.
    chunks: Vec<(u64, ManifestChunkV1)>,
    metadata: MetadataReader,
    label: String,
}

impl RecordReader {
    /// Reads the entry at a place that [`EntryReader::place`] told.
    ///
    /// # Errors
    /// Fails if part of the manifest is missing or damaged, or no record begins there.
    pub async fn at(&mut self, place: RecordPlace) -> Result<StoredEntry, RepositoryError> {
        let after = self.chunks.partition_point(|(start, _)| *start <= place.0);
        let mut buffer = Vec::new();
        let mut skip = None;
        for (start, chunk) in &self.chunks[after.saturating_sub(1)..] {
            let bytes = self.metadata.chunk(ChunkId::from_bytes(chunk.id)).await?;
            buffer.extend_from_slice(&bytes);
            let skip = *skip.get_or_insert_with(|| (place.0 - start) as usize);
            let record = buffer.get(skip..).map(read_record);
            match record {
                Some(Ok(Some((entry, content, _)))) => return Ok(StoredEntry { entry, content }),
                Some(Ok(None)) => {}
                Some(Err(_)) | None => break,
            }
        }
        Err(RepositoryError::corrupt(
            &self.label,
            "a record cannot be read",
        ))
    }
}

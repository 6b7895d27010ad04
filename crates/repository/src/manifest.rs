//! Reading manifests: entries of a snapshot in path order, and metadata chunks in general.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use lifeboat_model::{ChunkId, Entry, EntryKind};

use crate::chunk_index::ChunkIndex;
use crate::content::{Content, ExtentSource};
use crate::error::RepositoryError;
use crate::fetch::{FetchError, Pieces, Wanted};
use crate::format::commit::ManifestChunkV1;
use crate::format::manifest::read_record;
use crate::format::pack::{FrameOpener, PackKind};
use crate::layout;
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// An entry of a snapshot with what its content is made of.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// The entry.
    pub entry: Entry,
    pub(crate) content: Option<Content>,
}

impl StoredEntry {
    /// Returns the ranges of the file that hold no data, as (offset, length).
    pub fn holes(&self) -> Vec<(u64, u64)> {
        let mut offset = 0;
        let mut holes = Vec::new();
        for extent in self.content.iter().flat_map(Content::extents) {
            if extent.source == ExtentSource::Hole {
                holes.push((offset, extent.len));
            }
            offset += extent.len;
        }
        holes
    }

    /// Returns the chunks of the file's content.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        self.content
            .iter()
            .flat_map(|content| content.chunks.iter().map(|chunk| chunk.id))
    }
}

/// How many opened frames of metadata packs are kept: manifests and page maps are read front to
/// back, two or three at a time.
const FRAMES_KEPT: usize = 8;

/// Reads metadata chunks one after the other.
pub(crate) struct MetadataReader {
    repository: Repository,
    index: Arc<ChunkIndex>,
    frames: VecDeque<(u32, Vec<u8>)>,
}

impl MetadataReader {
    pub(crate) fn new(repository: Repository, index: Arc<ChunkIndex>) -> Self {
        Self {
            repository,
            index,
            frames: VecDeque::new(),
        }
    }

    /// Reads one chunk, verified.
    pub(crate) async fn chunk(&mut self, id: ChunkId) -> Result<Vec<u8>, RepositoryError> {
        let repository = &self.repository;
        let Some(location) = self.index.find(&id) else {
            let store = repository.store.describe();
            return Err(RepositoryError::MissingChunk { chunk: id, store });
        };
        let frame = self.index.frame(location.frame);
        let key = layout::pack(self.index.pack(frame.pack).id);
        if !self
            .frames
            .iter()
            .any(|(number, _)| *number == location.frame)
        {
            let bytes = self.open(location.frame).await?;
            self.frames.push_front((location.frame, bytes));
            self.frames.truncate(FRAMES_KEPT);
        }
        let known = self
            .frames
            .iter()
            .find(|(number, _)| *number == location.frame);
        let bytes = &known.expect("it was put there above").1;
        let start = location.offset as usize;
        let content = bytes
            .get(start..start + location.len as usize)
            .ok_or_else(|| RepositoryError::corrupt(&key, "a chunk lies outside its frame"))?;
        let id_key = self.repository.chunk_key(PackKind::Metadata)?;
        if *blake3::keyed_hash(&id_key.0, content).as_bytes() != *id.as_bytes() {
            let what = format!("chunk {} has other content", id.short());
            return Err(RepositoryError::corrupt(&key, what));
        }
        Ok(content.to_vec())
    }

    async fn open(&self, frame: u32) -> Result<Vec<u8>, RepositoryError> {
        let repository = &self.repository;
        let row = self.index.frame(frame);
        let pack = self.index.pack(row.pack);
        let key = layout::pack(pack.id);
        let start = u64::from(row.offset);
        let range = start..start + u64::from(row.stored_len);
        let salt = self.index.salt(row.salt);
        let opener = FrameOpener::new(pack.kind, repository.id, &repository.keys, salt)?
            .map_err(|flaw| flaw.of(&key))?;
        let open = |sealed: Bytes| ready(opener.open(&row.as_stored(), sealed.to_vec()));
        repository.open_stored(&key, range, open).await
    }
}

/// Reads a manifest front to back, in bounded memory.
pub(crate) struct ManifestReader {
    metadata: MetadataReader,
    chunks: VecDeque<ManifestChunkV1>,
    buffer: Vec<u8>,
    taken: usize,
    /// Bytes of the manifest before the buffer.
    passed: u64,
    label: String,
}

impl ManifestReader {
    pub(crate) fn new(repository: Repository, index: Arc<ChunkIndex>, snapshot: &Snapshot) -> Self {
        Self {
            metadata: MetadataReader::new(repository, index),
            chunks: snapshot.manifest.iter().cloned().collect(),
            buffer: Vec::new(),
            taken: 0,
            passed: 0,
            label: format!("the manifest of snapshot {}", snapshot.id.short()),
        }
    }

    /// Returns the next entry, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredEntry>, RepositoryError> {
        loop {
            let record = read_record(&self.buffer[self.taken..]);
            match record.map_err(|_| self.damaged("a record cannot be read"))? {
                Some((entry, content, len)) => {
                    self.taken += len;
                    return Ok(Some(StoredEntry { entry, content }));
                }
                None => match self.chunks.pop_front() {
                    Some(chunk) => {
                        let bytes = self.metadata.chunk(ChunkId::from_bytes(chunk.id)).await?;
                        self.buffer.drain(..self.taken);
                        self.passed += self.taken as u64;
                        self.taken = 0;
                        self.buffer.extend_from_slice(&bytes);
                    }
                    None if self.taken == self.buffer.len() => return Ok(None),
                    None => return Err(self.damaged("it ends within a record")),
                },
            }
        }
    }

    /// Returns where in the manifest the next record begins.
    pub(crate) fn position(&self) -> u64 {
        self.passed + self.taken as u64
    }

    fn damaged(&self, what: &str) -> RepositoryError {
        RepositoryError::corrupt(&self.label, what)
    }
}

/// The entries of one snapshot with the index to fetch their content.
pub struct Manifest {
    repository: Repository,
    index: Arc<ChunkIndex>,
    /// Every entry in path order.
    pub entries: Vec<StoredEntry>,
}

impl Repository {
    /// Reads the manifest of a snapshot. Needs any key; fetching content needs the reader key.
    ///
    /// # Errors
    /// Fails if an object is missing or damaged.
    pub async fn manifest(&self, snapshot: &Snapshot) -> Result<Manifest, RepositoryError> {
        let index = Arc::new(self.load_index_to_read(snapshot).await?);
        let mut reader = ManifestReader::new(self.clone(), index.clone(), snapshot);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next().await? {
            entries.push(entry);
        }
        Ok(Manifest {
            repository: self.clone(),
            index,
            entries,
        })
    }
}

impl Manifest {
    /// Returns the length of all files together, bytes.
    pub fn total_bytes(&self) -> u64 {
        let size = |stored: &StoredEntry| match stored.entry.kind {
            EntryKind::File { size } => size,
            _ => 0,
        };
        // Holes cost nothing, so a sum of sizes need not fit.
        self.entries.iter().map(size).fold(0, u64::saturating_add)
    }

    /// Fetches the content of some files, each given as (the caller's number for it, number of the
    /// entry). The pieces carry the caller's numbers. Holes give no piece.
    ///
    /// # Errors
    /// Fails without the reader key; the stream fails where a chunk is in no index, or an object is
    /// missing or damaged.
    pub fn fetch<'a>(
        &'a self,
        files: impl IntoIterator<Item = (usize, usize)>,
    ) -> Result<impl Stream<Item = Result<Pieces, FetchError>> + 'a, RepositoryError> {
        // Asked first, so that the wrong key is told before anything is written anywhere.
        self.repository.keys.content_private()?;
        let mut wanted = Wanted::default();
        for (file, entry) in files {
            let content = self.entries[entry].content.as_ref();
            wanted.add_file(file, content, |_| true);
        }
        let window = stream::once(std::future::ready(wanted));
        Ok(self.repository.fetch(&self.index, window).fuse())
    }
}

//! Content without restoring it: any range of any file, through a small cache of opened frames.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lifeboat_model::ChunkId;
use tokio::sync::OnceCell;

use crate::chunk_index::{ChunkIndex, FrameRow};
use crate::content::{Content, Extent, ExtentSource};
use crate::error::RepositoryError;
use crate::format::pack::FrameOpener;
use crate::layout;
use crate::manifest::StoredEntry;
use crate::repository::Repository;

/// A file whose content can be read in pieces.
#[derive(Debug, Clone)]
pub struct OpenFile {
    size: u64,
    /// The runs of the file, each with the place of its first byte.
    runs: Vec<(u64, Extent)>,
    chunks: Vec<ChunkId>,
}

impl OpenFile {
    /// Prepares a stored file for reading; anything that has no content reads as empty.
    pub fn new(stored: &StoredEntry) -> Self {
        let mut size = 0;
        let mut runs = Vec::new();
        for extent in stored.content.iter().flat_map(Content::extents) {
            runs.push((size, extent));
            size += extent.len;
        }
        Self {
            size,
            runs,
            chunks: stored.chunks().collect(),
        }
    }

    /// Returns the file's length, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// An opened frame, with the chunks of it that were compared with their ids already.
struct OpenedFrame {
    bytes: Vec<u8>,
    /// First bytes of those chunks.
    verified: Mutex<HashSet<u32>>,
}

/// A frame that is opened once, however many readers want it at the same time.
type Slot = Arc<OnceCell<OpenedFrame>>;

/// The frames used last, newest first, up to a number of bytes.
#[derive(Default)]
struct FrameCache {
    slots: VecDeque<(u32, usize, Slot)>,
    bytes: usize,
}

impl FrameCache {
    /// Returns the slot of a frame and makes it the newest. What exceeds `max` goes, except this one.
    fn slot(&mut self, frame: u32, raw_len: usize, max: usize) -> Slot {
        let known = self.slots.iter().position(|(number, ..)| *number == frame);
        let entry = match known {
            Some(place) => self.slots.remove(place).expect("it was just found"),
            None => {
                self.bytes += raw_len;
                (frame, raw_len, Slot::default())
            }
        };
        let slot = entry.2.clone();
        self.slots.push_front(entry);
        while self.bytes > max && self.slots.len() > 1 {
            let (_, len, _) = self.slots.pop_back().expect("there is more than one");
            self.bytes -= len;
        }
        slot
    }
}

/// How many salts' keys are kept, so that neighbouring frames need no second one.
const OPENERS_KEPT: usize = 64;

/// Reads ranges of files, every chunk checked against its id.
pub struct ContentReader {
    repository: Repository,
    index: Arc<ChunkIndex>,
    cache_bytes_max: usize,
    cache: Mutex<FrameCache>,
    openers: Mutex<VecDeque<(u32, Arc<FrameOpener>)>>,
}

impl ContentReader {
    pub(super) fn new(
        repository: Repository,
        index: Arc<ChunkIndex>,
        cache_bytes_max: usize,
    ) -> Result<Self, RepositoryError> {
        // Asked first, so that the wrong key is told before anything is opened.
        repository.keys.content_private()?;
        Ok(Self {
            repository,
            index,
            cache_bytes_max,
            cache: Mutex::default(),
            openers: Mutex::default(),
        })
    }

    /// Reads up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Fails if what the range is made of is missing or damaged; never returns other bytes.
    pub async fn read(
        &self,
        file: &OpenFile,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, RepositoryError> {
        let end = offset.saturating_add(len as u64).min(file.size);
        let mut out = Vec::with_capacity(end.saturating_sub(offset) as usize);
        let first = file.runs.partition_point(|(start, _)| *start <= offset);
        for (start, extent) in &file.runs[first.saturating_sub(1)..] {
            if *start >= end {
                break;
            }
            let from = offset.saturating_sub(*start).min(extent.len);
            let to = (end - start).min(extent.len);
            match extent.source {
                ExtentSource::Hole => out.resize(out.len() + (to - from) as usize, 0),
                ExtentSource::Chunk { number, offset } => {
                    let chunk = file.chunks[number as usize];
                    let range = u64::from(offset) + from..u64::from(offset) + to;
                    self.read_chunk(chunk, range, &mut out).await?;
                }
            }
        }
        Ok(out)
    }

    /// Appends a range of a chunk's bytes.
    async fn read_chunk(
        &self,
        chunk: ChunkId,
        range: std::ops::Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), RepositoryError> {
        let Some(location) = self.index.find(&chunk) else {
            let store = self.repository.store.describe();
            return Err(RepositoryError::MissingChunk { chunk, store });
        };
        let row = self.index.frame(location.frame);
        let slot =
            lock(&self.cache).slot(location.frame, row.raw_len as usize, self.cache_bytes_max);
        let frame = slot.get_or_try_init(|| self.open(row)).await?;
        let key = || layout::pack(self.index.pack(row.pack).id);
        let start = location.offset as usize;
        let content = frame.bytes.get(start..start + location.len as usize);
        let content = content
            .ok_or_else(|| RepositoryError::corrupt(&key(), "a chunk lies outside its frame"))?;
        if !lock(&frame.verified).contains(&location.offset) {
            let kind = self.index.pack(row.pack).kind;
            let id_key = self.repository.chunk_key(kind)?;
            if *blake3::keyed_hash(&id_key.0, content).as_bytes() != *chunk.as_bytes() {
                let what = format!("chunk {} has other content", chunk.short());
                return Err(RepositoryError::corrupt(&key(), what));
            }
            lock(&frame.verified).insert(location.offset);
        }
        let wanted = content.get(range.start as usize..range.end as usize);
        let wanted = wanted
            .ok_or_else(|| RepositoryError::corrupt(&key(), "an extent lies outside its chunk"))?;
        out.extend_from_slice(wanted);
        Ok(())
    }

    async fn open(&self, row: FrameRow) -> Result<OpenedFrame, RepositoryError> {
        let key = layout::pack(self.index.pack(row.pack).id);
        let opener = self.opener(row)?;
        let start = u64::from(row.offset);
        let range = start..start + u64::from(row.stored_len);
        let open = |sealed: Bytes| {
            let opener = opener.clone();
            let open = move || opener.open(&row.as_stored(), sealed.to_vec());
            self.repository.world.pool.run(open)
        };
        Ok(OpenedFrame {
            bytes: self.repository.open_stored(&key, range, open).await?,
            verified: Mutex::default(),
        })
    }

    fn opener(&self, row: FrameRow) -> Result<Arc<FrameOpener>, RepositoryError> {
        let mut openers = lock(&self.openers);
        let known = openers.iter().find(|(salt, _)| *salt == row.salt);
        if let Some((_, opener)) = known {
            return Ok(opener.clone());
        }
        let pack = self.index.pack(row.pack);
        let (keys, salt) = (&self.repository.keys, self.index.salt(row.salt));
        let opener = FrameOpener::new(pack.kind, self.repository.id, keys, salt)?
            .map_err(|flaw| flaw.of(&layout::pack(pack.id)))?;
        let opener = Arc::new(opener);
        openers.push_front((row.salt, opener.clone()));
        openers.truncate(OPENERS_KEPT);
        Ok(opener)
    }
}

/// Locks what a panic elsewhere cannot have left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_the_frames_used_last_within_its_bytes() {
        let mut cache = FrameCache::default();
        for frame in [1, 2, 1, 3] {
            cache.slot(frame, 40, 100);
        }
        let kept: Vec<u32> = cache.slots.iter().map(|(number, ..)| *number).collect();
        assert_eq!((kept, cache.bytes), (vec![3, 1], 80));
        // One that is larger than the cache is used, and alone.
        cache.slot(4, 500, 100);
        assert_eq!((cache.slots.len(), cache.bytes), (1, 500));
    }
}

//! Fetching chunks: planned by pack, read in batches, opened in parallel, verified.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use lifeboat_model::ChunkId;
use tokio::sync::OnceCell;

use crate::chunk_index::{ChunkIndex, FrameRow};
use crate::content::{Content, ExtentSource};
use crate::crypto::SymmetricKey;
use crate::error::{Flaw, RepositoryError};
use crate::format::pack::FrameOpener;
use crate::layout;
use crate::repository::Repository;

/// Frames that lie next to each other are read in one request of up to this many bytes.
const READ_BYTES_MAX: u32 = 8 << 20;
/// A gap of unwanted bytes up to this long is read along, which is cheaper than a second request.
const GAP_BYTES_MAX: u32 = 256 << 10;
/// … and of up to this many bytes once they are opened: well-compressed frames are large inside.
const READ_RAW_MAX: u64 = 8 << 20;
/// How many such reads are under way or being opened at the same time.
const READS_AT_ONCE: usize = 4;

/// Where bytes of a chunk belong: `len` bytes from `chunk_offset` go to `offset` of `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The caller's number for a file.
    pub file: usize,
    /// First byte in the file.
    pub offset: u64,
    /// First byte in the chunk.
    pub chunk_offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// Verified bytes and where they belong.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The file and place in it.
    pub destination: Destination,
    /// Range of [`Pieces::bytes`].
    pub range: Range<usize>,
}

/// What one frame gave.
#[derive(Debug, Clone)]
pub struct Pieces {
    /// The frame's bytes, decompressed; every chunk that a piece lies in was checked against its id.
    pub bytes: Arc<Vec<u8>>,
    /// What to write where.
    pub pieces: Vec<Piece>,
}

/// Content that could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("the content of file {file} could not be fetched")]
pub struct FetchError {
    /// The caller's number for a file that needs it, the first of perhaps many.
    pub file: usize,
    /// Why.
    pub source: RepositoryError,
}

/// Chunks to fetch with all places each goes to.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    chunks: HashMap<ChunkId, Vec<Destination>>,
}

impl Wanted {
    pub(crate) fn add(&mut self, chunk: ChunkId, destination: Destination) {
        self.chunks.entry(chunk).or_default().push(destination);
    }

    /// Adds those extents of a file, by number, that `picked` wants; holes need no fetching. Returns
    /// how many bytes that is.
    pub(crate) fn add_file(
        &mut self,
        file: usize,
        content: Option<&Content>,
        mut picked: impl FnMut(usize) -> bool,
    ) -> u64 {
        let Some(content) = content else { return 0 };
        let mut offset = 0;
        let mut bytes = 0;
        for (extent_number, extent) in content.extents().enumerate() {
            if let ExtentSource::Chunk {
                number,
                offset: chunk_offset,
            } = extent.source
                && picked(extent_number)
            {
                let len = u32::try_from(extent.len).expect("covers() keeps extents within chunks");
                let chunk = content.chunks[number as usize].id;
                self.add(
                    chunk,
                    Destination {
                        file,
                        offset,
                        chunk_offset,
                        len,
                    },
                );
                bytes += extent.len;
            }
            offset += extent.len;
        }
        bytes
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }
}

/// A chunk within a frame.
#[derive(Debug)]
struct WantedChunk {
    id: ChunkId,
    range: Range<usize>,
    destinations: Vec<Destination>,
}

/// A frame with the chunks wanted of it.
#[derive(Debug)]
struct WantedFrame {
    row: FrameRow,
    chunks: Vec<WantedChunk>,
}

impl WantedFrame {
    /// Returns the caller's number for a file that the frame is read for.
    fn first_file(&self) -> usize {
        let wanted = self
            .chunks
            .first()
            .and_then(|chunk| chunk.destinations.first());
        wanted
            .expect("a frame is read for a chunk, a chunk for a file")
            .file
    }
}

/// Frames of one pack that one request reads.
#[derive(Debug)]
struct Read {
    pack: u32,
    range: Range<u32>,
    raw_len: u64,
    frames: Vec<WantedFrame>,
}

/// Groups the wanted chunks by frame, and frames by request, in the order they lie in the packs.
fn plan(index: &ChunkIndex, wanted: Wanted, store: &str) -> Result<Vec<Read>, FetchError> {
    let mut frames: HashMap<u32, WantedFrame> = HashMap::new();
    for (id, destinations) in wanted.chunks {
        let Some(location) = index.find(&id) else {
            let store = store.to_owned();
            return Err(FetchError {
                file: destinations[0].file,
                source: RepositoryError::MissingChunk { chunk: id, store },
            });
        };
        let row = index.frame(location.frame);
        let start = location.offset as usize;
        let range = start..start + location.len as usize;
        let frame = frames.entry(location.frame).or_insert_with(|| WantedFrame {
            row,
            chunks: Vec::new(),
        });
        frame.chunks.push(WantedChunk {
            id,
            range,
            destinations,
        });
    }
    let mut frames: Vec<_> = frames.into_values().collect();
    for frame in &mut frames {
        // As they lie in the frame, which is how the backup came upon the files: whoever writes them
        // again stays in one folder for as long as it can.
        frame.chunks.sort_by_key(|chunk| chunk.range.start);
    }
    frames.sort_by_key(|frame| (frame.row.pack, frame.row.offset));
    let mut reads: Vec<Read> = Vec::new();
    for frame in frames {
        let FrameRow {
            pack,
            offset,
            stored_len,
            ..
        } = frame.row;
        let end = offset + stored_len;
        match reads.last_mut() {
            Some(read)
                if read.pack == pack
                    && offset - read.range.end <= GAP_BYTES_MAX
                    && end - read.range.start <= READ_BYTES_MAX
                    && read.raw_len + u64::from(frame.row.raw_len) <= READ_RAW_MAX =>
            {
                read.raw_len += u64::from(frame.row.raw_len);
                read.range.end = end;
                read.frames.push(frame);
            }
            _ => reads.push(Read {
                pack,
                raw_len: u64::from(frame.row.raw_len),
                range: offset..end,
                frames: vec![frame],
            }),
        }
    }
    Ok(reads)
}

/// Keeps the openers of the salts that are met, so that each key is recovered once.
type Openers = HashMap<u32, Arc<OnceCell<Arc<FrameOpener>>>>;

/// More openers than this are not kept once nobody reads with them.
const OPENERS_KEPT: usize = 256;

/// Picks the openers that a read needs.
fn openers_of(openers: &mut Openers, read: &Read) -> Openers {
    if openers.len() > OPENERS_KEPT {
        openers.retain(|_, opener| Arc::strong_count(opener) > 1);
    }
    let mut opener = |salt| (salt, openers.entry(salt).or_default().clone());
    read.frames
        .iter()
        .map(|frame| opener(frame.row.salt))
        .collect()
}

impl Repository {
    /// Fetches chunks and gives their bytes piece by piece, each verified. Of the windows, each is
    /// planned on its own, and the next one while the last is still being read.
    ///
    /// Data chunks need the reader key, metadata chunks any key.
    pub(crate) fn fetch<'a>(
        &'a self,
        index: &'a ChunkIndex,
        windows: impl Stream<Item = Wanted> + 'a,
    ) -> impl Stream<Item = Result<Pieces, FetchError>> + 'a {
        let mut openers = Openers::new();
        let store = self.store.describe();
        let reads = move |wanted| match plan(index, wanted, &store) {
            Ok(reads) => stream::iter(reads.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        };
        let read_one = move |read: Result<Read, FetchError>| {
            let step = read.map(|read| {
                let needed = openers_of(&mut openers, &read);
                (read, needed)
            });
            async move {
                match step {
                    Ok((read, openers)) => self.read_frames(index, read, openers).await,
                    Err(error) => vec![Err(error)],
                }
            }
        };
        windows
            .flat_map(reads)
            .map(read_one)
            .buffered(READS_AT_ONCE)
            .flat_map(stream::iter)
    }

    async fn read_frames(
        &self,
        index: &ChunkIndex,
        read: Read,
        openers: Openers,
    ) -> Vec<Result<Pieces, FetchError>> {
        let file = read.frames[0].first_file();
        match self.try_read_frames(index, read, openers).await {
            Ok(frames) => frames,
            Err(source) => vec![Err(FetchError { file, source })],
        }
    }

    async fn try_read_frames(
        &self,
        index: &ChunkIndex,
        read: Read,
        openers: Openers,
    ) -> Result<Vec<Result<Pieces, FetchError>>, RepositoryError> {
        let pack = index.pack(read.pack);
        let key = layout::pack(pack.id);
        let range = u64::from(read.range.start)..u64::from(read.range.end);
        let bytes = self.read_stored(&key, range).await?;
        let id_key = self.chunk_key(pack.kind)?;
        let mut jobs = Vec::with_capacity(read.frames.len());
        for frame in read.frames {
            let recover = || async {
                let salt = index.salt(frame.row.salt);
                let opener = FrameOpener::new(pack.kind, self.id, &self.keys, salt)?;
                opener.map(Arc::new).map_err(|flaw| flaw.of(&key))
            };
            let opener = openers[&frame.row.salt].get_or_try_init(recover).await?;
            let start = (frame.row.offset - read.range.start) as usize;
            let sealed = bytes.slice(start..start + frame.row.stored_len as usize);
            let job = FrameJob {
                opener: opener.clone(),
                id_key: id_key.clone(),
                frame: Arc::new(frame),
            };
            jobs.push((self.world.pool.run(job.opening(sealed)), job));
        }
        drop(bytes);
        let mut opened = Vec::with_capacity(jobs.len());
        for (running, job) in jobs {
            let result = match running.await {
                Ok(pieces) => Ok(pieces),
                Err(flaw) => {
                    let open = |sealed| self.world.pool.run(job.opening(sealed));
                    self.open_elsewhere(&key, job.range(), flaw, open).await
                }
            };
            let file = job.frame.first_file();
            opened.push(result.map_err(|source| FetchError { file, source }));
        }
        Ok(opened)
    }
}

/// A frame to open and all that takes: it may be opened again, from other bytes.
struct FrameJob {
    opener: Arc<FrameOpener>,
    id_key: SymmetricKey,
    frame: Arc<WantedFrame>,
}

impl FrameJob {
    fn opening(&self, sealed: Bytes) -> impl FnOnce() -> Result<Pieces, Flaw> + Send + 'static {
        let (opener, id_key, frame) =
            (self.opener.clone(), self.id_key.clone(), self.frame.clone());
        move || open_frame(&opener, &id_key.0, &frame, &sealed)
    }

    /// Returns where the frame lies in its pack.
    fn range(&self) -> Range<u64> {
        let start = u64::from(self.frame.row.offset);
        start..start + u64::from(self.frame.row.stored_len)
    }
}

/// Opens one frame and checks every wanted chunk in it. Bytes to bytes.
fn open_frame(
    opener: &FrameOpener,
    id_key: &[u8; 32],
    wanted: &WantedFrame,
    sealed: &Bytes,
) -> Result<Pieces, Flaw> {
    let row = wanted.row;
    let bytes = opener.open(&row.as_stored(), sealed.to_vec())?;
    let mut pieces = Vec::new();
    for chunk in &wanted.chunks {
        let content = bytes.get(chunk.range.clone());
        let content = content.ok_or_else(|| Flaw::damaged("a chunk lies outside its frame"))?;
        if *blake3::keyed_hash(id_key, content).as_bytes() != *chunk.id.as_bytes() {
            return Err(Flaw::damaged(format!(
                "chunk {} has other content",
                chunk.id.short()
            )));
        }
        for &destination in &chunk.destinations {
            let start = chunk.range.start + destination.chunk_offset as usize;
            let range = start..start + destination.len as usize;
            if range.end > chunk.range.end {
                return Err(Flaw::damaged("an extent lies outside its chunk"));
            }
            pieces.push(Piece { destination, range });
        }
    }
    Ok(Pieces {
        bytes: Arc::new(bytes),
        pieces,
    })
}

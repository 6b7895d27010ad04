//! From a snapshot into a tree: content is fetched window by window, and written by a few threads.
//!
//! Owns the pipeline between the two; what is written where is decided by whoever feeds it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt as _};
use lifeboat_model::{Entry, EntryKind};
use lifeboat_repository::{Differing, FetchError, FileWindow, Pieces, SnapshotReader, StoredEntry};
use lifeboat_runtime::Progress;
use lifeboat_source_files::{FileProblem, FileSlot, TreeReport, TreeWriter};
use tokio::sync::{Semaphore, mpsc};

use crate::error::OperationError;
use crate::selection::Selection;

/// Files whose content is planned at once.
const WINDOW_FILES: usize = 4096;
/// … with so many different chunks, which bounds the plan of huge files.
const WINDOW_CHUNKS: usize = 16_384;
/// … and so many files of more than one chunk. A file of one chunk is made, written and closed in
/// one go, the others stay open until their last piece came: well below the usual limit of 1024
/// descriptors, though three windows may be under way.
const WINDOW_SPANNING: usize = 128;
/// Jobs that write at the same time; each writes what one frame gave, be it many small files.
const WRITERS: u32 = 2;
/// Frames that wait for a writer, so that reading goes on meanwhile.
const FRAMES_AHEAD: usize = 8;

/// A tree that is being written.
pub(crate) struct Tree {
    pub(crate) writer: TreeWriter,
    files: Mutex<HashMap<usize, Arc<File>>>,
}

/// A file whose content is on its way.
struct File {
    entry: Entry,
    state: Mutex<FileState>,
}

struct FileState {
    /// Made when the first piece comes.
    slot: Option<FileSlot>,
    /// Bytes that are still to come.
    missing: u64,
}

impl Tree {
    pub(crate) fn new(writer: TreeWriter) -> Arc<Self> {
        Arc::new(Self {
            writer,
            files: Mutex::default(),
        })
    }

    /// Gives the writer back, to be finished.
    pub(crate) fn into_writer(self: Arc<Self>) -> TreeWriter {
        let tree = Arc::into_inner(self);
        tree.expect("all jobs have ended").writer
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the file whose content could not be fetched.
    fn unreadable(&self, FetchError { file, source }: FetchError) -> OperationError {
        match self.files().get(&file) {
            Some(file) => OperationError::Unreadable {
                path: file.entry.path.clone(),
                source: Box::new(source),
            },
            None => source.into(),
        }
    }

    /// Writes what one frame gave, file by file. Blocks.
    fn write(&self, pieces: &Pieces) -> Result<u64, FileProblem> {
        let mut bytes = 0;
        for piece in &pieces.pieces {
            let number = piece.destination.file;
            let file = self.files().get(&number).cloned();
            let file = file.expect("a file waits until its last piece came");
            let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = match &mut state.slot {
                Some(slot) => slot,
                empty => empty.insert(self.writer.create_file(&file.entry)?),
            };
            slot.write_at(piece.destination.offset, &pieces.bytes[piece.range.clone()])?;
            let len = piece.range.len() as u64;
            bytes += len;
            state.missing -= len;
            if state.missing == 0 {
                let slot = state.slot.take().expect("it was made above");
                self.files().remove(&number);
                slot.finish(&file.entry)?;
            }
        }
        Ok(bytes)
    }
}

/// Takes files and hands their windows to the pipeline.
pub(crate) struct Feeder {
    tree: Arc<Tree>,
    windows: mpsc::Sender<FileWindow>,
    window: FileWindow,
    files: usize,
    spanning: usize,
    next: usize,
}

impl Feeder {
    pub(crate) fn writer(&self) -> &TreeWriter {
        &self.tree.writer
    }

    /// Takes a file. `rest` is what is missing of it, with the slot that has all else; without, the
    /// file is made when its content comes.
    pub(crate) async fn file(
        &mut self,
        stored: StoredEntry,
        rest: Option<(Differing, FileSlot)>,
    ) -> Result<(), OperationError> {
        let number = self.next;
        self.next += 1;
        let chunks = self.window.chunks();
        let (missing, slot) = match rest {
            Some((differing, slot)) => (
                self.window.add(number, &stored, Some(&differing)),
                Some(slot),
            ),
            None => (self.window.add(number, &stored, None), None),
        };
        if missing == 0 {
            let slot = match slot {
                Some(slot) => slot,
                None => self.writer().create_file(&stored.entry)?,
            };
            return Ok(slot.finish(&stored.entry)?);
        }
        let spans = slot.is_some() || self.window.chunks() > chunks + 1;
        let file = File {
            entry: stored.entry,
            state: Mutex::new(FileState { slot, missing }),
        };
        self.tree.files().insert(number, Arc::new(file));
        self.files += 1;
        self.spanning += usize::from(spans);
        if self.files >= WINDOW_FILES
            || self.spanning >= WINDOW_SPANNING
            || self.window.chunks() >= WINDOW_CHUNKS
        {
            self.flush().await;
        }
        Ok(())
    }

    async fn flush(&mut self) {
        let window = std::mem::take(&mut self.window);
        (self.files, self.spanning) = (0, 0);
        // If nobody takes it, the other end has failed and says why.
        self.windows.send(window).await.ok();
    }

    /// Hands over what is left.
    pub(crate) async fn end(mut self) {
        self.flush().await;
    }
}

/// Runs `feed`, and writes what it asks for until it has ended and all of it is written. Returns how
/// many bytes were fetched and written, and what `feed` returned.
pub(crate) async fn write_fed<T, F>(
    reader: &SnapshotReader,
    tree: &Arc<Tree>,
    progress: &dyn Progress,
    feed: impl FnOnce(Feeder) -> F,
) -> Result<(u64, T), OperationError>
where
    F: Future<Output = Result<T, OperationError>>,
{
    let (windows, queue) = mpsc::channel(1);
    let feeder = Feeder {
        tree: tree.clone(),
        windows,
        window: FileWindow::default(),
        files: 0,
        spanning: 0,
        next: 0,
    };
    let permits = Arc::new(Semaphore::new(WRITERS as usize));
    let written = write_windows(reader, tree, progress, queue, &permits);
    let result = futures::future::try_join(written, feed(feeder)).await;
    // Whatever happened, no job writes any more once this returns.
    let all = permits.acquire_many(WRITERS).await;
    drop(all.expect("nobody closes it"));
    result
}

/// Writes entries as they come in `selection` into a tree that is empty.
pub(crate) async fn write_selection(
    reader: &SnapshotReader,
    tree: &Arc<Tree>,
    progress: &dyn Progress,
    mut selection: Selection<'_>,
) -> Result<u64, OperationError> {
    let feed = |mut feeder: Feeder| async move {
        while let Some(stored) = selection.next().await? {
            match stored.entry.kind {
                EntryKind::File { .. } => feeder.file(stored, None).await?,
                _ => feeder.writer().add(&stored.entry)?,
            }
        }
        feeder.end().await;
        Ok(())
    };
    let (bytes, ()) = write_fed(reader, tree, progress, feed).await?;
    Ok(bytes)
}

async fn write_windows(
    reader: &SnapshotReader,
    tree: &Arc<Tree>,
    progress: &dyn Progress,
    queue: mpsc::Receiver<FileWindow>,
    permits: &Arc<Semaphore>,
) -> Result<u64, OperationError> {
    let windows = futures::stream::unfold(queue, |mut queue| async {
        let window = queue.recv().await?;
        Some((window, queue))
    });
    let mut stream = std::pin::pin!(reader.fetch(windows).fuse());
    let mut waiting: VecDeque<Pieces> = VecDeque::new();
    let mut jobs = FuturesUnordered::new();
    let (mut bytes, mut ended) = (0, false);
    loop {
        while jobs.len() < WRITERS as usize
            && let Some(pieces) = waiting.pop_front()
        {
            let permit = permits.clone().acquire_owned().await;
            let (permit, tree) = (permit.expect("nobody closes it"), tree.clone());
            jobs.push(tokio::task::spawn_blocking(move || {
                let written = tree.write(&pieces);
                drop(tree);
                drop(permit);
                written
            }));
        }
        tokio::select! {
            pieces = stream.next(), if !ended && waiting.len() < FRAMES_AHEAD => match pieces {
                Some(pieces) => {
                    waiting.push_back(pieces.map_err(|error| tree.unreadable(error))?);
                }
                None => ended = true,
            },
            Some(written) = jobs.next(), if !jobs.is_empty() => {
                let written = written.expect("writing does not panic")?;
                progress.advance(written);
                bytes += written;
            }
            else => return Ok(bytes),
        }
    }
}

/// What a whole tree came to.
pub(crate) struct Written {
    pub(crate) report: TreeReport,
    pub(crate) bytes: u64,
}

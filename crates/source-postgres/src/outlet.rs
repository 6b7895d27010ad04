//! The queue between the thread that reads a cluster and whoever stores it: bounded, and with
//! buffers that are used again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use lifeboat_model::Entry;
use tokio::sync::mpsc::Sender;

use crate::data_directory::Stop;
use crate::reader::{ClusterItem, ReadEnd};

/// How much of a file is handed over at a time: 128 pages.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Where the reading thread puts what it read.
pub(crate) struct Outlet {
    items: Sender<ClusterItem>,
    spare: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

impl Outlet {
    /// Makes an outlet with `buffers` buffers to spare.
    pub(crate) fn new(items: Sender<ClusterItem>, buffers: usize) -> Self {
        let (home, spare) = sync_channel(buffers);
        Self { items, spare, home }
    }

    pub(crate) fn entry(&self, entry: Entry) -> Result<(), Stop> {
        self.send(ClusterItem::Entry(entry))
    }

    pub(crate) fn begin_file(&self, entry: Entry, paged: bool) -> Result<(), Stop> {
        self.send(ClusterItem::File { entry, paged })
    }

    /// Returns a buffer of [`BLOCK_BYTES`] with anything in it.
    pub(crate) fn buffer(&self) -> Buffer {
        let bytes = self.spare.try_recv();
        Buffer {
            bytes: bytes.unwrap_or_else(|_| vec![0; BLOCK_BYTES]),
            len: BLOCK_BYTES,
            home: self.home.clone(),
        }
    }

    pub(crate) fn block(&self, mut buffer: Buffer, len: usize) -> Result<(), Stop> {
        buffer.len = len;
        self.send(ClusterItem::Block(Bytes::from_owner(buffer)))
    }

    pub(crate) fn end_file(&self) -> Result<(), Stop> {
        self.send(ClusterItem::FileEnd)
    }

    pub(crate) fn end(&self, end: ReadEnd) -> Result<(), Stop> {
        self.send(ClusterItem::End(Box::new(end)))
    }

    /// Hands over a whole file that is in memory.
    pub(crate) fn small_file(&self, entry: Entry, content: &[u8]) -> Result<(), Stop> {
        self.begin_file(entry, false)?;
        for part in content.chunks(BLOCK_BYTES) {
            self.send(ClusterItem::Block(Bytes::copy_from_slice(part)))?;
        }
        self.end_file()
    }

    fn send(&self, item: ClusterItem) -> Result<(), Stop> {
        self.items.blocking_send(item).map_err(|_| Stop::Abandoned)
    }
}

/// A block's memory, which goes back to its outlet once nobody looks at it.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    len: usize,
    home: SyncSender<Vec<u8>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Fails if enough are spare already, or the reader is done: then it is freed.
        self.home.try_send(std::mem::take(&mut self.bytes)).ok();
    }
}

/// Fills `buffer` from `offset` on and returns how many bytes there were: fewer only at the end.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

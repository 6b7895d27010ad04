//! The content of one regular file, holes kept apart from data.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use lifeboat_model::{EntryPath, Metadata};
use rustix::fs::{Advice, SeekFrom, Stat};
use rustix::io::Errno;

use crate::attributes::{AttributeReader, Attributes};
use crate::error::FileProblem;
use crate::stat::metadata_of;

/// Files from this size on are announced to the kernel as read from front to back.
const READAHEAD_FROM_BYTES: u64 = 1 << 20;

/// The next part of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes were put at the start of the buffer; never zero.
    Data(usize),
    /// So many bytes are zero and take no room in the source; never zero.
    Hole(u64),
    /// The content is complete.
    End,
}

/// Whether the file stood still while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Size and times are the same after the last byte as before the first.
    Stable,
    /// Somebody wrote to the file: what was read may mix two states.
    ChangedWhileReading,
}

/// Reads a regular file from front to back, up to the size it had when it was opened.
#[derive(Debug)]
pub struct ContentReader {
    file: File,
    path: EntryPath,
    stat: Stat,
    offset: u64,
    size: u64,
    /// End of the data that starts at or before `offset`; the whole file unless it has holes.
    data_end: u64,
    shrank: bool,
}

/// Returns what changes when somebody writes to a file.
fn stamp(stat: &Stat) -> impl PartialEq {
    (
        stat.st_size,
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    )
}

impl ContentReader {
    pub(crate) fn new(file: File, path: EntryPath, stat: Stat) -> ContentReader {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        let has_holes = blocks.saturating_mul(512) < size;
        if size >= READAHEAD_FROM_BYTES {
            // Advice only: a file system that does not take it reads as well without.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        }
        ContentReader {
            file,
            path,
            stat,
            offset: 0,
            size,
            data_end: if has_holes { 0 } else { size },
            shrank: false,
        }
    }

    /// Returns the size the file had when it was opened, bytes. The content is shorter if the file
    /// shrinks meanwhile.
    pub fn size_at_open(&self) -> u64 {
        self.size
    }

    /// Returns the file's metadata as it was when it was opened, without extended attributes.
    pub fn metadata(&self) -> Metadata {
        metadata_of(&self.stat)
    }

    /// Reads the file's extended attributes.
    ///
    /// # Errors
    /// Fails if the system cannot read them.
    pub fn xattrs(&self) -> Result<Attributes, FileProblem> {
        AttributeReader::new()
            .read_open(self.file.as_fd())
            .map_err(|error| FileProblem::new(&self.path, "read attributes of", error))
    }

    /// Returns how many bytes were handed out so far, holes included.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// Reads the next piece. `buffer` must not be empty.
    ///
    /// # Errors
    /// Fails if the system cannot read; the content is then incomplete and must not be used.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Piece, FileProblem> {
        debug_assert!(!buffer.is_empty(), "a read into nothing makes no progress");
        if self.shrank || self.offset >= self.size {
            return Ok(Piece::End);
        }
        if self.offset >= self.data_end
            && let Some(hole) = self.next_extent()?
        {
            self.offset += hole;
            return Ok(Piece::Hole(hole));
        }
        let room = usize::try_from(self.data_end - self.offset).unwrap_or(usize::MAX);
        let want = room.min(buffer.len());
        let got = loop {
            match self.file.read_at(&mut buffer[..want], self.offset) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                answer => break answer.map_err(|error| self.problem(error))?,
            }
        };
        if got == 0 {
            self.shrank = true;
            return Ok(Piece::End);
        }
        self.offset += got as u64;
        Ok(Piece::Data(got))
    }

    /// Fills `buffer` from `offset` on, wherever the reading stands; returns how many bytes there
    /// were, which are fewer only at the end of the file.
    ///
    /// # Errors
    /// Fails if the system cannot read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileProblem> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.problem(error)),
            }
        }
        Ok(filled)
    }

    /// Ends the reading and tells whether the file stood still.
    ///
    /// # Errors
    /// Fails if the file's state cannot be asked for.
    pub fn finish(self) -> Result<Stability, FileProblem> {
        let stat = rustix::fs::fstat(&self.file).map_err(|error| self.problem(error))?;
        if self.shrank || stamp(&stat) != stamp(&self.stat) {
            Ok(Stability::ChangedWhileReading)
        } else {
            Ok(Stability::Stable)
        }
    }

    /// Finds where data begins and ends next; returns the length of the hole before it, if any.
    fn next_extent(&mut self) -> Result<Option<u64>, FileProblem> {
        let size = self.size;
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.offset)) {
            Ok(data) => data.min(size),
            // No data follows, or the file got shorter than where we are.
            Err(Errno::NXIO) => size,
            // The file system knows no holes: all of it is data.
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => {
                self.data_end = size;
                return Ok(None);
            }
            Err(error) => return Err(self.problem(error)),
        };
        if data > self.offset {
            return Ok(Some(data - self.offset));
        }
        self.data_end = match rustix::fs::seek(&self.file, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(size),
            Err(_) => size,
        };
        Ok(None)
    }

    fn problem(&self, source: impl Into<std::io::Error>) -> FileProblem {
        FileProblem::new(&self.path, "read", source)
    }
}

//! Cuts a stream of bytes into batches of whole rows.

use std::fmt;

use lifeboat_model::{Diagnose, ErrorKind};

use super::{Face, TextFormat};

/// Whole rows of one table in a text format.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TextBatch {
    /// The rows.
    pub bytes: Vec<u8>,
    /// The number of the first row, counted from 0 in the table.
    pub first_row: u64,
    /// How many rows there are, counted by their ends alone.
    pub rows: u64,
}

// Rows may be production's: what prints says how many they are.

impl fmt::Debug for TextBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, bytes) = (self.rows, self.bytes.len());
        write!(
            f,
            "{rows} rows of {bytes} bytes from row {}",
            self.first_row
        )
    }
}

impl fmt::Debug for TextBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pending, row) = (self.pending.len(), self.next_row);
        write!(f, "{pending} bytes from row {row} on")
    }
}

/// A row has no end within the bytes that fit into memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row} is longer than {} MiB", TextBatches::ROW_BYTES_MAX >> 20)]
pub struct RowTooLong {
    /// The row, counted from 1.
    pub row: u64,
}

impl Diagnose for RowTooLong {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }

    fn hint(&self) -> Option<String> {
        Some("look for a quote that is never closed, or for another format than was named".into())
    }
}

/// Gathers chunks of a stream, cut anywhere, into batches.
pub struct TextBatches {
    format: TextFormat,
    pending: Vec<u8>,
    /// Length at which `pending` is worth looking at for whole rows.
    enough: usize,
    next_row: u64,
}

impl TextBatches {
    /// Size at which a batch is worth handing over, in bytes.
    pub const TARGET_BYTES: usize = 1 << 20;

    /// Longest row, in bytes: as long as PostgreSQL's longest value.
    pub const ROW_BYTES_MAX: usize = 1 << 30;

    /// Starts with nothing gathered.
    pub fn new(format: TextFormat) -> Self {
        Self {
            format,
            pending: Vec::with_capacity(Self::TARGET_BYTES + Self::TARGET_BYTES / 4),
            enough: Self::TARGET_BYTES,
            next_row: 0,
        }
    }

    /// Counts rows from `row`, as those of a stretch that begins there.
    #[must_use]
    pub fn from_row(mut self, row: u64) -> Self {
        self.next_row = row;
        self
    }

    /// Takes the next chunk, and returns a batch once enough rows are together.
    ///
    /// # Errors
    /// Fails if a row is longer than [`TextBatches::ROW_BYTES_MAX`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<TextBatch>, RowTooLong> {
        self.pending.extend_from_slice(chunk);
        if self.pending.len() < self.enough {
            return Ok(None);
        }
        let (end, rows) = self.format.face().whole_rows(&self.pending);
        if end == 0 {
            // Looking again after each chunk would take quadratic time.
            self.enough = self.pending.len() * 2;
            if self.pending.len() > Self::ROW_BYTES_MAX {
                let row = self.next_row + 1;
                return Err(RowTooLong { row });
            }
            return Ok(None);
        }
        self.enough = Self::TARGET_BYTES;
        let capacity = Self::TARGET_BYTES + Self::TARGET_BYTES / 4;
        let mut rest = Vec::with_capacity(capacity.max(self.pending.len() - end));
        rest.extend_from_slice(&self.pending[end..]);
        self.pending.truncate(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        let first_row = self.next_row;
        self.next_row += rows;
        Ok(Some(TextBatch {
            bytes,
            first_row,
            rows,
        }))
    }

    /// Returns what is left: the last rows, the very last of which may lack the end of its line.
    pub fn finish(&mut self) -> Option<TextBatch> {
        if self.pending.is_empty() {
            return None;
        }
        let (end, rows) = self.format.face().whole_rows(&self.pending);
        let cut_off = !self.pending[end..].trim_ascii().is_empty();
        Some(TextBatch {
            bytes: std::mem::take(&mut self.pending),
            first_row: self.next_row,
            rows: rows + u64::from(cut_off),
        })
    }
}

impl TextFormat {
    /// Returns the format's face.
    pub(crate) fn face(&self) -> &dyn Face {
        match self {
            Self::CopyText(face) => face,
            Self::Csv(face) => face,
            Self::JsonLines(face) => face,
        }
    }
}

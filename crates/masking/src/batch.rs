//! Row batches: typed cells over one arena, so that masking allocates per batch and not per cell.
//!
//! A batch is the unit of parallelism. A cell's bytes are a range of the arena, which also serves
//! faces that carry encoded text (a COPY stream): such a face pushes the encoded field as
//! [`Cell::Text`], asks [`crate::TablePlan::is_kept`] which columns no rule touches, and writes
//! those ranges back unchanged, byte for byte; only the others are decoded and encoded again.

use std::fmt;

/// One value.
#[derive(Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text, in whatever encoding the source declares (UTF-8 in practice).
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// Returns the bytes of text and blobs.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Cell::Text(bytes) | Cell::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Reports whether this is NULL or has no bytes.
    pub fn is_blank(self) -> bool {
        matches!(self, Cell::Null | Cell::Text([]) | Cell::Blob([]))
    }
}

/// A cell whose bytes stand in the arena.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Slot {
    Null,
    Integer(i64),
    Real(f64),
    Text { start: usize, len: usize },
    Blob { start: usize, len: usize },
}

/// Consecutive rows of one table.
#[derive(Clone, PartialEq)]
pub struct RowBatch {
    columns: usize,
    first_row: u64,
    pub(crate) slots: Vec<Slot>,
    pub(crate) arena: Vec<u8>,
}

impl RowBatch {
    /// Arena size at which a batch is worth handing over, in bytes.
    pub const TARGET_BYTES: usize = 1 << 20;

    /// Starts an empty batch of rows with `columns` cells; `first_row` counts from 0 in the table.
    pub fn new(columns: usize, first_row: u64) -> Self {
        Self {
            columns,
            first_row,
            slots: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// Starts a batch with room for what `like` holds.
    pub(crate) fn sized_like(like: &RowBatch) -> Self {
        let mut batch = Self::new(like.columns, like.first_row);
        batch.slots.reserve(like.slots.len());
        batch.arena.reserve(like.arena.len() + like.arena.len() / 4);
        batch
    }

    /// Starts again with no rows, the next of which is `first_row`.
    pub(crate) fn restart(&mut self, first_row: u64) {
        self.first_row = first_row;
        self.slots.clear();
        self.arena.clear();
    }

    /// Adds a row.
    ///
    /// # Panics
    /// Panics if the number of cells is not the batch's number of columns.
    pub fn push_row<'c>(&mut self, cells: impl IntoIterator<Item = Cell<'c>>) {
        let before = self.slots.len();
        for cell in cells {
            let slot = self.store(cell);
            self.slots.push(slot);
        }
        let pushed = self.slots.len() - before;
        assert_eq!(pushed, self.columns, "a row must have one cell per column");
    }

    /// Copies a cell's bytes into the arena.
    pub(crate) fn store(&mut self, cell: Cell<'_>) -> Slot {
        let start = self.arena.len();
        match cell {
            Cell::Null => Slot::Null,
            Cell::Integer(number) => Slot::Integer(number),
            Cell::Real(number) => Slot::Real(number),
            Cell::Text(bytes) => {
                self.arena.extend_from_slice(bytes);
                let len = bytes.len();
                Slot::Text { start, len }
            }
            Cell::Blob(bytes) => {
                self.arena.extend_from_slice(bytes);
                let len = bytes.len();
                Slot::Blob { start, len }
            }
        }
    }

    /// Returns how many cells a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the number of the first row, counted from 0 in the table.
    pub fn first_row(&self) -> u64 {
        self.first_row
    }

    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.slots.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Reports whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Reports whether the batch has reached its target size.
    pub fn is_full(&self) -> bool {
        let slots = self.slots.len() * size_of::<Slot>();
        self.arena.len() + slots >= Self::TARGET_BYTES
    }

    /// Iterates over the rows.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let columns = self.columns.max(1);
        self.slots.chunks_exact(columns).map(|slots| Row {
            slots,
            arena: &self.arena,
        })
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub(crate) slots: &'a [Slot],
    pub(crate) arena: &'a [u8],
}

impl<'a> Row<'a> {
    /// Returns the cell of column `index`.
    ///
    /// # Panics
    /// Panics if the row has no such column.
    pub fn cell(self, index: usize) -> Cell<'a> {
        match self.slots[index] {
            Slot::Null => Cell::Null,
            Slot::Integer(number) => Cell::Integer(number),
            Slot::Real(number) => Cell::Real(number),
            Slot::Text { start, len } => Cell::Text(&self.arena[start..start + len]),
            Slot::Blob { start, len } => Cell::Blob(&self.arena[start..start + len]),
        }
    }

    /// Iterates over the cells in column order.
    pub fn cells(self) -> impl Iterator<Item = Cell<'a>> {
        (0..self.slots.len()).map(move |index| self.cell(index))
    }
}

// Values may be production's: what prints for whoever debugs says their kinds and lengths alone.

impl fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("NULL"),
            Cell::Integer(_) => f.write_str("whole number"),
            Cell::Real(_) => f.write_str("fraction"),
            Cell::Text(bytes) => write!(f, "text of {} bytes", bytes.len()),
            Cell::Blob(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cells()).finish()
    }
}

impl fmt::Debug for RowBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rows()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_went_in() {
        let row = [
            Cell::Null,
            Cell::Integer(-1),
            Cell::Real(0.5),
            Cell::Text(b""),
            Cell::Blob(b"\0\n\\NZ"),
        ];
        let mut batch = RowBatch::new(5, 0);
        batch.push_row(row);
        batch.push_row(row);
        let printed = format!("{batch:?}");
        let kinds = "[NULL, whole number, fraction, text of 0 bytes, 5 bytes]";
        assert_eq!(printed, format!("[{kinds}, {kinds}]"));
        assert_eq!(batch.len(), 2);
        for found in batch.rows() {
            assert!(found.cells().eq(row));
        }
    }
}

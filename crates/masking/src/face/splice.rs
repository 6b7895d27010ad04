//! Masks the rows of a text batch: fields that no rule masks are copied with all that lies between
//! them, byte for byte and in one piece where they stand together.

use super::{Decoded, Face, Field, Fields, TextBatch};
use crate::batch::{Row, RowBatch, Slot};
use crate::mask::parse_signed;
use crate::plan::{ColumnPlan, MaskError, TablePlan};
use crate::schema::ColumnType;
use crate::verify::Observer;

/// Masks one batch. Buffers are reused for every row of it.
pub(super) struct Splicer<'p, F> {
    table: &'p TablePlan,
    face: &'p F,
    readings: Vec<Reading>,
    /// Whether what a column's mask makes is a document, in a format that nests documents.
    documents: Vec<bool>,
    /// Whether some column that a rule looks at holds bytes, which are decoded in any case.
    decodes: bool,
    after: RowBatch,
    /// Whether the column's field is replaced in this row.
    replaced: Vec<bool>,
}

/// How the text of a column is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    Text,
    Integer,
    Real,
    Bytes,
    /// The source declares no type, and the column's masks want numbers.
    Number,
}

impl Reading {
    fn of(column: &ColumnPlan) -> Self {
        match column.ty {
            ColumnType::Text => Self::Text,
            ColumnType::Integer => Self::Integer,
            ColumnType::Real => Self::Real,
            ColumnType::Blob => Self::Bytes,
            ColumnType::Any if column.actions().any(|bound| bound.wants_number()) => Self::Number,
            ColumnType::Any => Self::Text,
        }
    }
}

impl<'p, F: Face> Splicer<'p, F> {
    pub(super) fn new(table: &'p TablePlan, face: &'p F) -> Self {
        let columns = table.columns.len();
        let mut after = RowBatch::new(columns, 0);
        after.slots.resize(columns, Slot::Null);
        let readings: Vec<Reading> = table.columns.iter().map(Reading::of).collect();
        let is_document = |column: &ColumnPlan| column.actions().any(|bound| bound.mask.is_json());
        let mut looked_at = readings.iter().zip(&table.looked_at);
        Self {
            table,
            face,
            decodes: looked_at.any(|(reading, looked_at)| *looked_at && *reading == Reading::Bytes),
            readings,
            documents: table.columns.iter().map(is_document).collect(),
            after,
            replaced: vec![false; columns],
        }
    }

    /// Masks all rows of `batch`, and returns the masked bytes and the number of rows.
    pub(super) fn mask(
        &mut self,
        batch: &TextBatch,
        mut observer: Option<&mut Observer>,
    ) -> Result<(Vec<u8>, u64), MaskError> {
        let bytes = &batch.bytes;
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
        let mut row = Fields::default();
        let mut slots = vec![Slot::Null; self.table.columns.len()];
        let mut decoded = Vec::new();
        let (mut start, mut rows) = (0, 0);
        while start < bytes.len() {
            let number = batch.first_row + rows;
            self.split(bytes, start, number, &mut row)?;
            if row.empty {
                out.extend_from_slice(&bytes[start..row.end]);
            } else {
                slots.fill(Slot::Null);
                let arena = if row.plain && !self.decodes {
                    let line = &bytes[start..row.end];
                    self.read_in_place(line, start, &row, &mut slots);
                    line
                } else {
                    decoded.clear();
                    self.read(bytes, &row, number, &mut slots, &mut decoded)?;
                    &decoded
                };
                let slots = &slots;
                let before = Row { slots, arena };
                self.mask_row(before, number)?;
                if let Some(observer) = observer.as_deref_mut() {
                    observer.row(self.table, before, only_row(&self.after));
                }
                self.write(bytes, start, &row, &mut out);
                rows += 1;
            }
            start = row.end;
        }
        if let Some(observer) = observer {
            observer.rows(rows, rows);
        }
        Ok((out, rows))
    }

    /// Reads all fields of the rows from `start` on, as they stand in a finished copy, until `rows`
    /// is full by `bytes_max`; returns where the next row starts.
    pub(super) fn read_rows(
        &mut self,
        bytes: &[u8],
        mut start: usize,
        bytes_max: usize,
        rows: &mut RowBatch,
    ) -> Result<usize, MaskError> {
        let columns = self.table.columns.len();
        let mut row = Fields::default();
        while start < bytes.len() && rows.arena.len() < bytes_max {
            let number = rows.first_row() + rows.len() as u64;
            self.split(bytes, start, number, &mut row)?;
            let row_start = std::mem::replace(&mut start, row.end);
            if row.empty {
                continue;
            }
            let first = rows.slots.len();
            rows.slots.resize(first + columns, Slot::Null);
            let (slots, arena) = (&mut rows.slots[first..], &mut rows.arena);
            if row.plain {
                self.copy_row(bytes, row_start, &row, slots, arena);
                continue;
            }
            for field in &row.fields {
                slots[field.column] = self.slot(bytes, *field, false, number, arena)?;
            }
        }
        Ok(start)
    }

    /// Takes over a row whose fields stand for themselves in one piece, and not field by field.
    #[inline]
    fn copy_row(
        &self,
        bytes: &[u8],
        row_start: usize,
        row: &Fields,
        slots: &mut [Slot],
        arena: &mut Vec<u8>,
    ) {
        let base = arena.len();
        arena.extend_from_slice(&bytes[row_start..row.end]);
        for Field { column, start, end } in &row.fields {
            slots[*column] = match self.readings[*column] {
                Reading::Text => Slot::Text {
                    start: base + start - row_start,
                    len: end - start,
                },
                Reading::Bytes => {
                    let start_of_copy = arena.len();
                    arena.extend_from_slice(&bytes[*start..*end]);
                    bytea(start_of_copy, arena)
                }
                reading => number_in(reading, &bytes[*start..*end]).unwrap_or(Slot::Text {
                    start: base + start - row_start,
                    len: end - start,
                }),
            };
        }
    }

    #[inline]
    fn split(
        &self,
        bytes: &[u8],
        start: usize,
        number: u64,
        into: &mut Fields,
    ) -> Result<(), MaskError> {
        let split = self.face.split(bytes, start, into);
        split.map_err(|why| self.table.malformed("*", number, why))
    }

    /// Reads the fields that a rule looks at where they stand, in `line`, which starts at `line_start`.
    #[inline]
    fn read_in_place(&self, line: &[u8], line_start: usize, row: &Fields, slots: &mut [Slot]) {
        for Field { column, start, end } in &row.fields {
            if self.table.looked_at[*column] {
                let (start, len) = (start - line_start, end - start);
                let text = &line[start..start + len];
                let number = number_in(self.readings[*column], text);
                slots[*column] = number.unwrap_or(Slot::Text { start, len });
            }
        }
    }

    /// Decodes the fields that a rule looks at.
    #[inline]
    fn read(
        &self,
        bytes: &[u8],
        row: &Fields,
        number: u64,
        slots: &mut [Slot],
        decoded: &mut Vec<u8>,
    ) -> Result<(), MaskError> {
        for field in &row.fields {
            if self.table.looked_at[field.column] {
                slots[field.column] = self.slot(bytes, *field, row.plain, number, decoded)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn slot(
        &self,
        bytes: &[u8],
        field: Field,
        plain: bool,
        number: u64,
        arena: &mut Vec<u8>,
    ) -> Result<Slot, MaskError> {
        let Field { column, .. } = field;
        let raw = &bytes[field.start..field.end];
        let start = arena.len();
        if plain {
            arena.extend_from_slice(raw);
            return Ok(typed(self.readings[column], start, arena));
        }
        let decoded = self.face.decode(raw, arena).map_err(|why| {
            let name = &self.table.columns[column].name;
            self.table.malformed(name, number, why)
        })?;
        Ok(match decoded {
            Decoded::Null => Slot::Null,
            Decoded::Integer(number) => Slot::Integer(number),
            Decoded::Real(number) => Slot::Real(number),
            Decoded::Text => typed(self.readings[column], start, arena),
        })
    }

    fn mask_row(&mut self, before: Row<'_>, number: u64) -> Result<(), MaskError> {
        // The slots of masked columns are all written, and nobody reads those of others.
        self.after.arena.clear();
        for &at in &self.table.masked {
            self.replaced[at] = self
                .table
                .mask_cell(at, before, number, 0, &mut self.after)?;
            if !self.replaced[at] {
                // Whoever looks at the masked row sees what is kept.
                self.after.slots[at] = self.after.store(before.cell(at));
            }
        }
        Ok(())
    }

    /// Appends the masked row: kept stretches as they are, masked fields encoded.
    #[inline]
    fn write(&self, bytes: &[u8], start: usize, row: &Fields, out: &mut Vec<u8>) {
        let after = only_row(&self.after);
        let mut from = start;
        let mut left_out = row.left_out.iter().peekable();
        for field in &row.fields {
            while let Some((at, end)) = left_out.next_if(|(at, _)| *at < field.start) {
                out.extend_from_slice(&bytes[from..*at]);
                from = *end;
            }
            if !self.replaced[field.column] {
                continue;
            }
            out.extend_from_slice(&bytes[from..field.start]);
            let raw = &bytes[field.start..field.end];
            let as_is = self.documents[field.column];
            let face = self.face;
            face.encode(after.cell(field.column), raw, as_is, out);
            from = field.end;
        }
        for (at, end) in left_out {
            out.extend_from_slice(&bytes[from..*at]);
            from = *end;
        }
        out.extend_from_slice(&bytes[from..row.end]);
    }
}

fn only_row(batch: &RowBatch) -> Row<'_> {
    Row {
        slots: &batch.slots,
        arena: &batch.arena,
    }
}

/// Reads the text at the end of `arena` as the column's type demands; what is no such value stays
/// text, and the mask will say so.
#[inline]
fn typed(reading: Reading, start: usize, arena: &mut Vec<u8>) -> Slot {
    let text = &arena[start..];
    let len = text.len();
    match reading {
        Reading::Text => None,
        Reading::Bytes => return bytea(start, arena),
        number => number_in(number, text),
    }
    .unwrap_or(Slot::Text { start, len })
}

/// Reads a text as the number that a column's type demands.
#[inline]
fn number_in(reading: Reading, text: &[u8]) -> Option<Slot> {
    match reading {
        Reading::Integer => parse_signed(text).map(Slot::Integer),
        Reading::Real => real(text),
        Reading::Number => parse_signed(text).map(Slot::Integer).or_else(|| real(text)),
        Reading::Text | Reading::Bytes => None,
    }
}

fn real(text: &[u8]) -> Option<Slot> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(Slot::Real(number))
}

/// Turns the hex form of a bytea, `\x6a6f`, into its bytes, in place.
fn bytea(start: usize, arena: &mut Vec<u8>) -> Slot {
    let len = arena.len() - start;
    let hex = arena[start..].strip_prefix(b"\\x");
    let decoded: Option<Vec<u8>> = hex.filter(|hex| hex.len() % 2 == 0).and_then(|hex| {
        let pairs = hex.chunks_exact(2);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        pairs
            .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
            .collect()
    });
    let Some(decoded) = decoded else {
        return Slot::Text { start, len };
    };
    arena.truncate(start);
    arena.extend_from_slice(&decoded);
    let len = decoded.len();
    Slot::Blob { start, len }
}

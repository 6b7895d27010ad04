//! Faces: the text forms in which rows come and go, COPY text, CSV and JSON Lines.
//!
//! A face takes rows apart, decodes the fields that a rule looks at and encodes what masks made. All
//! else is copied byte for byte. Faces are bytes in, bytes out: [`TextBatches`] cuts a stream into
//! batches of whole rows, [`TextMasker`] masks them on the current rayon pool, the caller does the
//! reading and writing.

mod batches;
mod copy_text;
mod csv;
mod json_lines;
mod masker;
mod splice;

use std::borrow::Cow;

use lifeboat_model::ErrorKind;

pub use batches::{RowTooLong, TextBatch, TextBatches};
pub use copy_text::CopyText;
pub use csv::Csv;
pub use json_lines::JsonLines;
pub use masker::TextMasker;

use crate::batch::Cell;

/// The text form of a table's rows.
#[derive(Debug, Clone)]
pub enum TextFormat {
    /// What PostgreSQL's `COPY .. TO STDOUT` writes.
    CopyText(CopyText),
    /// Comma-separated values, without the header.
    Csv(Csv),
    /// One JSON object a line.
    JsonLines(JsonLines),
}

/// Where a field stands in the bytes of a row, its quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Position of its column among the table's.
    pub(crate) column: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One row taken apart. Reused for many rows.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The fields in the order they stand.
    pub(crate) fields: Vec<Field>,
    /// Where the row ends, the end of its line included.
    pub(crate) end: usize,
    /// Whether every field is text that stands for itself, so that none needs decoding.
    pub(crate) plain: bool,
    /// Whether it is no row: an empty line, or the mark that ends the data.
    pub(crate) empty: bool,
    /// Where members stand that no rule names and that policy leaves out.
    pub(crate) left_out: Vec<(usize, usize)>,
}

/// What a field's bytes say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Decoded {
    Null,
    /// Text, appended to the buffer.
    Text,
    Integer(i64),
    Real(f64),
}

/// Why bytes are no row that may pass. Holds none of them.
#[derive(Debug, Clone)]
pub(crate) struct Malformed {
    pub(crate) reason: Cow<'static, str>,
    /// Bytes that are not in their format are corrupt; what rules do not cover is refused.
    pub(crate) kind: ErrorKind,
}

impl Malformed {
    /// Bytes that are not in their format.
    const fn new(reason: &'static str) -> Self {
        Self {
            reason: Cow::Borrowed(reason),
            kind: ErrorKind::Corrupt,
        }
    }
}

impl From<&'static str> for Malformed {
    fn from(reason: &'static str) -> Self {
        Self::new(reason)
    }
}

impl From<String> for Malformed {
    fn from(reason: String) -> Self {
        Self {
            reason: reason.into(),
            kind: ErrorKind::Corrupt,
        }
    }
}

/// What a text format must be able to do.
pub(crate) trait Face: Send + Sync {
    /// Returns where the last whole row in `bytes` ends, and how many rows stand before that.
    fn whole_rows(&self, bytes: &[u8]) -> (usize, u64);

    /// Takes apart the row that starts at `start`, the last of which may lack the end of its line.
    fn split(&self, bytes: &[u8], start: usize, into: &mut Fields) -> Result<(), Malformed>;

    /// Reads a field; text is appended to `out`.
    fn decode(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<Decoded, Malformed>;

    /// Writes a masked value in the place of `raw`.
    ///
    /// `as_is` says that a text is in the field's own notation already: a document in a document.
    fn encode(&self, cell: Cell<'_>, raw: &[u8], as_is: bool, out: &mut Vec<u8>);
}

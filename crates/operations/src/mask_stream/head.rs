//! How a stream of rows begins.

use std::io::Read;
use std::path::Path;

use lifeboat_masking::{Csv, RuleSet};

use super::StreamFormat;
use super::io::failed_to_read;
use crate::error::OperationError;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest header, in bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// How a stream begins.
pub(super) struct Head {
    /// The names of its columns.
    pub(super) columns: Vec<String>,
    /// The header as it was written.
    pub(super) header: Vec<u8>,
    /// What was read beyond it.
    pub(super) ahead: Vec<u8>,
}

impl Head {
    /// Reads the head of a stream, and no more than a chunk beyond it. `place` is how messages name it.
    pub(super) fn read(
        format: &StreamFormat,
        place: &Path,
        rules: &RuleSet,
        table: &str,
        source: &mut dyn Read,
    ) -> Result<Self, OperationError> {
        if *format == StreamFormat::JsonLines {
            return Ok(Self {
                columns: rules.columns(table).map(str::to_owned).collect(),
                header: Vec::new(),
                ahead: Vec::new(),
            });
        }
        let mut read = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut ended = false;
        let (columns, len) = loop {
            if let Some(header) = Csv::header(&read) {
                break header;
            }
            let len = source.read(&mut chunk);
            let len = len.map_err(|error| failed_to_read(place, error))?;
            if len == 0 && !read.is_empty() && !ended {
                // The export of an empty table may end with its header.
                ended = true;
                read.push(b'\n');
                continue;
            }
            if len == 0 || read.len() > HEADER_BYTES_MAX {
                return Err(no_header(place));
            }
            read.extend_from_slice(&chunk[..len]);
        };
        refuse_other_delimiter(&columns, place)?;
        refuse_twice(&columns, place)?;
        let ahead = read.split_off(len);
        if ended {
            read.pop();
        }
        Ok(Self {
            columns,
            header: read,
            ahead,
        })
    }

    /// Refuses a first row that names none of the columns that the rules know: it is a row like the
    /// others, and what stands in it must be in no copy and in no message.
    pub(super) fn refuse_rows(
        &self,
        place: &Path,
        rules: &RuleSet,
        table: &str,
    ) -> Result<(), OperationError> {
        let known = |column: &String| rules.columns(table).any(|known| known == column);
        if self.header.is_empty() || self.columns.iter().any(known) {
            return Ok(());
        }
        Err(OperationError::Refused {
            message: format!(
                "the first row of `{}` names none of the columns that the rules have for `{table}`",
                place.display()
            ),
            hint: "its first row must name the columns, separated by commas".to_owned(),
        })
    }
}

/// Says that a file of CSV has no header.
pub(crate) fn no_header(place: &Path) -> OperationError {
    not_csv(place, "it has no header that ends".to_owned())
}

/// Refuses a header that is one column by the format, and several by another one: all of a row would be
/// one value.
pub(crate) fn refuse_other_delimiter(
    columns: &[String],
    place: &Path,
) -> Result<(), OperationError> {
    let [only] = columns else {
        return Ok(());
    };
    match only.find([';', '\t', '|']) {
        None => Ok(()),
        Some(at) => Err(OperationError::Malformed {
            path: place.to_owned(),
            format: "CSV",
            what: format!(
                "`{}` seems to part its columns",
                only[at..=at].escape_default()
            ),
            hint: "export it with commas between the columns",
        }),
    }
}

/// Refuses a header that has a name twice. It may be no header at all, so what stands in it is not
/// shown.
pub(crate) fn refuse_twice(columns: &[String], place: &Path) -> Result<(), OperationError> {
    let before = |n: usize| columns[..n].iter().position(|name| *name == columns[n]);
    let mut twice = (0..columns.len()).filter_map(|n| Some((before(n)?, n)));
    match twice.next() {
        None => Ok(()),
        Some((first, second)) => {
            let (first, second) = (first + 1, second + 1);
            let what = format!("its header has a name twice, as columns {first} and {second}");
            Err(not_csv(place, what))
        }
    }
}

/// Refuses a header in which numbers or what detectors know stand: a row like the others, whose values
/// would become the names of columns.
pub(crate) fn refuse_values(columns: &[String], place: &Path) -> Result<(), OperationError> {
    let is_value = |text: &String| {
        text.trim().parse::<f64>().is_ok() || !lifeboat_masking::detect(text.as_bytes()).is_empty()
    };
    match columns.iter().position(is_value) {
        None => Ok(()),
        Some(at) => {
            let what = format!("its first row looks like data, by column {}", at + 1);
            Err(not_csv(place, what))
        }
    }
}

fn not_csv(place: &Path, what: String) -> OperationError {
    OperationError::Malformed {
        path: place.to_owned(),
        format: "CSV",
        what,
        hint: "its first row must name the columns, each by a name of its own",
    }
}

//! CSV as RFC 4180 has it: fields between commas, quotes around what holds a comma, a quote or a line
//! end, a quote inside quotes doubled, lines ended by LF or CRLF.
//!
//! A field without quotes that equals the NULL text (empty, if not said otherwise) is NULL; with
//! quotes it is text. A quote within a field that does not start with one is an ordinary character.

use memchr::{memchr, memchr2, memchr3};

use super::{Decoded, Face, Field, Fields, Malformed};
use crate::batch::Cell;
use crate::mask::push_signed;

/// Comma-separated values.
#[derive(Debug, Clone)]
pub struct Csv {
    columns: usize,
    null: Vec<u8>,
}

const UNCLOSED: Malformed = Malformed::new("a quoted field has no closing quote");

/// One field as it stands.
struct Scanned {
    end: usize,
    /// Where the next field starts, or the next row.
    next: usize,
    last_of_row: bool,
}

impl Csv {
    /// Rows of `columns` fields, in which `null` stands for NULL.
    pub fn new(columns: usize, null: &str) -> Self {
        Self {
            columns,
            null: null.as_bytes().to_vec(),
        }
    }

    /// Reads the names in the header, the first row of `bytes`, and returns them with its length, or
    /// `None` if the row does not end within `bytes`.
    ///
    /// A byte order mark is no part of the first name.
    pub fn header(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let mark = b"\xef\xbb\xbf";
        let mut at = if bytes.starts_with(mark) {
            mark.len()
        } else {
            0
        };
        let mut names = Vec::new();
        loop {
            let field = scan(bytes, at)?;
            if field.next > bytes.len() || field.last_of_row && field.next == field.end {
                return None;
            }
            let mut name = Vec::new();
            unquote(&bytes[at..field.end], &mut name).ok()?;
            names.push(String::from_utf8_lossy(&name).into_owned());
            at = field.next;
            if field.last_of_row {
                return Some((names, at));
            }
        }
    }
}

/// Finds the end of the field that starts at `start`; `None` if a quote is not closed.
///
/// At the end of the bytes a field ends too; its row then has no line end, and `next` is its end.
#[inline]
fn scan(bytes: &[u8], start: usize) -> Option<Scanned> {
    let mut from = start;
    if bytes.get(start) == Some(&b'"') {
        from += 1;
        loop {
            from += memchr(b'"', &bytes[from..])? + 1;
            if bytes.get(from) != Some(&b'"') {
                break;
            }
            from += 1;
        }
    }
    // Behind the closing quote there should be nothing, but what is there belongs to the field.
    let Some(found) = memchr2(b',', b'\n', &bytes[from..]) else {
        return Some(Scanned {
            end: bytes.len(),
            next: bytes.len(),
            last_of_row: true,
        });
    };
    let at = from + found;
    let last_of_row = bytes[at] == b'\n';
    let carriage_return = last_of_row && at > from && bytes[at - 1] == b'\r';
    Some(Scanned {
        end: at - usize::from(carriage_return),
        next: at + 1,
        last_of_row,
    })
}

/// Appends what a field says; true if it stood in quotes.
fn unquote(raw: &[u8], out: &mut Vec<u8>) -> Result<bool, Malformed> {
    let Some(mut rest) = raw.strip_prefix(b"\"") else {
        out.extend_from_slice(raw);
        return Ok(false);
    };
    loop {
        let at = memchr(b'"', rest).ok_or(UNCLOSED)?;
        out.extend_from_slice(&rest[..at]);
        match &rest[at + 1..] {
            [] => return Ok(true),
            [b'"', after @ ..] => {
                out.push(b'"');
                rest = after;
            }
            _ => return Err("there is text behind the closing quote of a field".into()),
        }
    }
}

impl Face for Csv {
    fn whole_rows(&self, bytes: &[u8]) -> (usize, u64) {
        let (mut at, mut end, mut rows) = (0, 0, 0);
        let mut row_start = 0;
        while let Some(field) = scan(bytes, at) {
            if field.last_of_row {
                if field.next == field.end {
                    break;
                }
                let empty_line = field.end == row_start && self.columns > 1;
                rows += u64::from(!empty_line);
                end = field.next;
                row_start = end;
            }
            at = field.next;
        }
        (end, rows)
    }

    #[inline]
    fn split(&self, bytes: &[u8], start: usize, into: &mut Fields) -> Result<(), Malformed> {
        into.fields.clear();
        into.empty = false;
        let mut at = start;
        loop {
            let field = scan(bytes, at).ok_or(UNCLOSED)?;
            into.fields.push(Field {
                column: into.fields.len(),
                start: at,
                end: field.end,
            });
            at = field.next;
            if field.last_of_row {
                into.end = at;
                break;
            }
        }
        let found = into.fields.len();
        if found == self.columns {
            return Ok(());
        }
        if found == 1 && into.fields[0].end == start {
            into.fields.clear();
            into.empty = true;
            return Ok(());
        }
        let columns = self.columns;
        Err(format!("the row has {found} fields and the header {columns}").into())
    }

    #[inline]
    fn decode(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<Decoded, Malformed> {
        if raw == self.null {
            return Ok(Decoded::Null);
        }
        unquote(raw, out)?;
        Ok(Decoded::Text)
    }

    #[inline]
    fn encode(&self, cell: Cell<'_>, raw: &[u8], _: bool, out: &mut Vec<u8>) {
        let start = out.len();
        match cell {
            Cell::Null => return out.extend_from_slice(&self.null),
            Cell::Integer(number) => push_signed(number, out),
            Cell::Real(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Cell::Text(text) | Cell::Blob(text) => {
                let plain = raw.first() != Some(&b'"')
                    && memchr3(b'"', b',', b'\n', text).is_none()
                    && memchr(b'\r', text).is_none();
                if !plain {
                    return push_quoted(text, out);
                }
                out.extend_from_slice(text);
            }
        }
        if out[start..] == self.null {
            out.truncate(start);
            push_quoted(&self.null, out);
        }
    }
}

/// Appends a field in quotes.
fn push_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(bytes: &[u8], columns: usize) -> Result<Vec<Option<Vec<u8>>>, String> {
        let face = Csv::new(columns, "");
        let mut fields = Fields::default();
        let failed = |error: Malformed| error.reason.into_owned();
        face.split(bytes, 0, &mut fields).map_err(failed)?;
        let read = |field: &Field| {
            let mut out = Vec::new();
            let decoded = face.decode(&bytes[field.start..field.end], &mut out);
            Ok(match decoded.map_err(failed)? {
                Decoded::Null => None,
                _ => Some(out),
            })
        };
        fields.fields.iter().map(read).collect()
    }

    fn text(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn quotes_commas_and_line_ends_are_read() {
        let read = row(b"a,\"b,\"\"c\"\"\r\nd\",,\"\",e\"f\r\n", 5).unwrap();
        assert_eq!(
            read,
            [
                text("a"),
                text("b,\"c\"\r\nd"),
                None,
                text(""),
                text("e\"f")
            ]
        );
        assert_eq!(row(b"\r\n", 2).unwrap(), []);
        assert_eq!(row(b"a,b", 2).unwrap(), [text("a"), text("b")]);
        assert!(row(b"\"a,b\n", 2).unwrap_err().contains("no closing quote"));
        assert!(
            row(b"\"a\"x,b\n", 2)
                .unwrap_err()
                .contains("behind the closing")
        );
        let short = row(b"secret\n", 2).unwrap_err();
        assert_eq!(short, "the row has 1 fields and the header 2");
    }

    #[test]
    fn a_header_needs_its_line_end() {
        let (names, len) = Csv::header(b"\xef\xbb\xbfid,\"full, name\"\r\n1,x\n").unwrap();
        assert_eq!(
            (names, len),
            (vec!["id".to_owned(), "full, name".to_owned()], 20)
        );
        assert_eq!(Csv::header(b"id,name"), None);
        assert_eq!(Csv::header(b"id,\"na"), None);
    }

    #[test]
    fn whole_rows_do_not_end_inside_quotes() {
        let face = Csv::new(2, "");
        assert_eq!(face.whole_rows(b"a,b\n\n\"c\n\",d\n\"e\n"), (12, 2));
        assert_eq!(face.whole_rows(b"a,b"), (0, 0));
    }

    proptest! {
        #[test]
        fn every_row_comes_back_and_the_csv_crate_agrees(
            values in proptest::collection::vec(proptest::option::of(any::<Vec<u8>>()), 2..6),
            crlf: bool,
        ) {
            let face = Csv::new(values.len(), "");
            let mut line = Vec::new();
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    line.push(b',');
                }
                let cell = value.as_deref().map_or(Cell::Null, Cell::Text);
                face.encode(cell, b"", false, &mut line);
            }
            line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            prop_assert_eq!(face.whole_rows(&line), (line.len(), 1));
            prop_assert_eq!(&row(&line, values.len()).unwrap(), &values);
            let mut peer = csv::ReaderBuilder::new().has_headers(false).from_reader(&line[..]);
            let record = peer.byte_records().next().unwrap().unwrap();
            let blank = |value: &Option<Vec<u8>>| value.clone().unwrap_or_default();
            prop_assert!(record.iter().eq(values.iter().map(blank)));
        }

        #[test]
        fn what_the_csv_crate_writes_is_read(values in proptest::collection::vec(any::<Vec<u8>>(), 2..6)) {
            let mut peer = csv::Writer::from_writer(Vec::new());
            peer.write_record(&values).unwrap();
            let line = peer.into_inner().unwrap();
            let read = row(&line, values.len()).unwrap();
            prop_assert!(read.into_iter().map(Option::unwrap_or_default).eq(values));
        }
    }
}

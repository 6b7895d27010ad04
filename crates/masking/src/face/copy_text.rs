//! COPY text, the format of PostgreSQL's `COPY .. TO STDOUT` and of plain dumps.
//!
//! A row is a line, fields stand between tabs, `\N` is NULL, and a backslash escapes what would be
//! taken for structure. Written is what the server writes; read is all that the server reads:
//! `\b \f \n \r \t \v`, one to three octal digits, `\x` with one or two hex digits, and a backslash
//! before any other byte, a line feed included (PostgreSQL 15 documentation, COPY, "Text Format").

use memchr::{memchr, memchr_iter, memrchr};

use super::{Decoded, Face, Field, Fields, Malformed};
use crate::batch::Cell;
use crate::mask::push_signed;

/// COPY text in the default form: tabs between fields, `\N` for NULL.
#[derive(Debug, Clone, Copy)]
pub struct CopyText {
    columns: usize,
}

/// The mark that ends the data in a file.
const END_OF_DATA: &[u8] = b"\\.";

const NULL: &[u8] = b"\\N";

impl CopyText {
    /// Rows of `columns` fields.
    pub fn new(columns: usize) -> Self {
        Self { columns }
    }

    /// Appends the bytes that a field which is not NULL stands for.
    ///
    /// Every input has a meaning; a last backslash with nothing behind it has none, as the server has it.
    pub fn decode(raw: &[u8], out: &mut Vec<u8>) {
        let mut rest = raw;
        while let Some(at) = memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            if rest.is_empty() {
                return;
            }
            let (byte, used) = unescape(rest);
            out.push(byte);
            rest = &rest[used..];
        }
        out.extend_from_slice(rest);
    }

    /// Appends `value` as the server would write it.
    pub fn encode(value: &[u8], out: &mut Vec<u8>) {
        let mut rest = value;
        if !has_escapes(value) {
            return out.extend_from_slice(value);
        }
        while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&[b'\\', escape_letter(rest[at])]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }
}

/// Returns the byte that an escape stands for, and how much of what follows the backslash it takes.
fn unescape(rest: &[u8]) -> (u8, usize) {
    match rest {
        [b'b', ..] => (0x08, 1),
        [b'f', ..] => (0x0c, 1),
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'v', ..] => (0x0b, 1),
        [b'0'..=b'7', ..] => {
            let digits = rest.iter().take(3).take_while(|byte| is_octal(**byte));
            // The server keeps the low eight bits of `\777`.
            let fold = |(value, len): (u32, usize), digit: &u8| {
                (value * 8 + u32::from(digit - b'0'), len + 1)
            };
            let (value, len) = digits.fold((0, 0), fold);
            (value as u8, len)
        }
        [b'x', digit, ..] if digit.is_ascii_hexdigit() => {
            let digits = rest[1..].iter().take(2).map_while(|byte| hex_value(*byte));
            let (value, len) =
                digits.fold((0, 1), |(value, len), digit| (value << 4 | digit, len + 1));
            (value, len)
        }
        [other, ..] => (*other, 1),
        [] => unreachable!("something stands behind the backslash"),
    }
}

fn is_octal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Reports whether a byte of `value` needs an escape, eight bytes at a time.
#[inline]
fn has_escapes(value: &[u8]) -> bool {
    let Some(last) = value.last_chunk::<8>() else {
        return value.iter().any(|byte| needs_escape(*byte));
    };
    // The last eight may have been looked at in part.
    let (words, _) = value.as_chunks::<8>();
    let mut words = words.iter().chain([last]);
    words.any(|word| {
        let word = u64::from_le_bytes(*word);
        // Bytes up to 0x7f carry into their top bit from 0x08 on, and from 0x0e on.
        let low = word & LOW_BITS;
        let control = (low + 0x7878_7878_7878_7878) & !(low + 0x7272_7272_7272_7272);
        let backslash = zero_bytes(word ^ 0x5c5c_5c5c_5c5c_5c5c);
        control & !word & !LOW_BITS | backslash != 0
    })
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte == b'\\' || matches!(byte, 0x08..=0x0d)
}

fn escape_letter(byte: u8) -> u8 {
    match byte {
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x0b => b'v',
        other => other,
    }
}

/// Finds backslashes, tabs and line feeds, and a few control characters that look like them.
///
/// Fields are short, so that calling a search for each costs more than looking at eight bytes at once.
struct Marks<'a> {
    bytes: &'a [u8],
    /// Where the word starts whose marks are left.
    word_at: usize,
    /// The top bit of each byte of the word that is a mark.
    found: u64,
    next_word: usize,
}

const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// Returns the top bit of each byte of `word` that is zero, and nothing else.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)
}

impl<'a> Marks<'a> {
    #[inline]
    fn new(bytes: &'a [u8], start: usize) -> Self {
        Self {
            bytes,
            word_at: start,
            found: 0,
            next_word: start,
        }
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self.bytes.get(self.next_word..).unwrap_or_default();
            let word = match rest.first_chunk::<8>() {
                Some(word) => u64::from_le_bytes(*word),
                None if rest.is_empty() => return None,
                None => {
                    // Bytes that pad the last word are no marks.
                    let mut padded = [b'.'; 8];
                    padded[..rest.len()].copy_from_slice(rest);
                    u64::from_le_bytes(padded)
                }
            };
            // Backspace, tab, line feed and vertical tab differ in their two low bits only.
            let control = (word & !0x0303_0303_0303_0303) ^ 0x0808_0808_0808_0808;
            let backslash = word ^ 0x5c5c_5c5c_5c5c_5c5c;
            self.found = zero_bytes(control) | zero_bytes(backslash);
            self.word_at = self.next_word;
            self.next_word += 8;
        }
        let byte = self.found.trailing_zeros() / 8;
        self.found &= self.found - 1;
        Some(self.word_at + byte as usize)
    }

    /// Passes over all marks before `at`.
    #[inline]
    fn skip_to(&mut self, at: usize) {
        let passed = at.saturating_sub(self.word_at);
        if passed < 8 {
            self.found &= u64::MAX << (passed * 8);
        } else {
            self.found = 0;
            self.next_word = self.next_word.max(at);
        }
    }
}

/// Reports whether the byte at `at` is escaped: an odd number of backslashes stands before it.
fn is_escaped(bytes: &[u8], start: usize, at: usize) -> bool {
    let before = bytes[start..at].iter().rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 1
}

impl Face for CopyText {
    fn whole_rows(&self, bytes: &[u8]) -> (usize, u64) {
        let mut end = bytes.len();
        loop {
            let Some(at) = memrchr(b'\n', &bytes[..end]) else {
                return (0, 0);
            };
            end = at;
            if !is_escaped(bytes, 0, at) {
                break;
            }
        }
        let end = end + 1;
        let whole = &bytes[..end];
        let mut rows = memchr_iter(b'\n', whole).count() as u64;
        // The server escapes line feeds with a letter, so this is rare.
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&whole[from..], b"\\\n") {
            let at = from + found + 1;
            rows -= u64::from(is_escaped(whole, 0, at));
            from = at;
        }
        // The end mark is no row.
        let marked = whole == b"\\.\n" || whole.ends_with(b"\n\\.\n");
        (end, rows - u64::from(marked))
    }

    #[inline]
    fn split(&self, bytes: &[u8], start: usize, into: &mut Fields) -> Result<(), Malformed> {
        into.fields.clear();
        into.empty = false;
        into.plain = true;
        let mut field_start = start;
        into.end = bytes.len();
        let mut end = bytes.len();
        let mut marks = Marks::new(bytes, start);
        while let Some(at) = marks.next() {
            match bytes[at] {
                b'\\' => {
                    // What follows a backslash is no structure, whatever it is.
                    into.plain = false;
                    marks.skip_to(at + 2);
                }
                b'\t' => {
                    into.push(field_start, at);
                    field_start = at + 1;
                }
                b'\n' => {
                    into.end = at + 1;
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        // A value of these two bytes would have its backslash escaped.
        if !into.plain && &bytes[start..end] == END_OF_DATA {
            if into.end < bytes.len() {
                return Err("there are rows behind the end mark `\\.`".into());
            }
            into.fields.clear();
            into.empty = true;
            return Ok(());
        }
        into.push(field_start, end);
        if into.fields.len() == self.columns {
            return Ok(());
        }
        let (found, columns) = (into.fields.len(), self.columns);
        Err(format!("the row has {found} fields and the table {columns} columns").into())
    }

    #[inline]
    fn decode(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<Decoded, Malformed> {
        if raw == NULL {
            return Ok(Decoded::Null);
        }
        CopyText::decode(raw, out);
        Ok(Decoded::Text)
    }

    #[inline]
    fn encode(&self, cell: Cell<'_>, _: &[u8], _: bool, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => out.extend_from_slice(NULL),
            Cell::Integer(number) => push_signed(number, out),
            Cell::Real(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Cell::Text(text) => CopyText::encode(text, out),
            Cell::Blob(bytes) => {
                // A bytea in hex form, whose own backslash is escaped.
                out.extend_from_slice(b"\\\\x");
                crate::mask::push_hex(bytes, bytes.len() * 2, out);
            }
        }
    }
}

impl Fields {
    #[inline]
    fn push(&mut self, start: usize, end: usize) {
        let column = self.fields.len();
        self.fields.push(Field { column, start, end });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        CopyText::decode(raw, &mut out);
        out
    }

    fn fields(bytes: &[u8], columns: usize) -> Result<Vec<&[u8]>, String> {
        let mut row = Fields::default();
        let face = CopyText::new(columns);
        face.split(bytes, 0, &mut row)
            .map_err(|error| error.reason.into_owned())?;
        let fields = row.fields.iter();
        Ok(fields.map(|field| &bytes[field.start..field.end]).collect())
    }

    #[test]
    fn every_escape_of_the_server_is_read() {
        for (raw, value) in [
            (&b"a\\tb\\nc\\\\d"[..], &b"a\tb\nc\\d"[..]),
            (b"\\b\\f\\r\\v", b"\x08\x0c\r\x0b"),
            (b"\\101\\7\\0", b"A\x07\0"),
            (b"\\1019\\789", b"A9\x0789"),
            (b"\\777", b"\xff"),
            (b"\\x41\\x4z\\xz", b"A\x04zxz"),
            (b"\\q\\.\\N", b"q.N"),
            (b"a\\\tb\\\nc", b"a\tb\nc"),
            (b"end\\", b"end"),
        ] {
            assert_eq!(decoded(raw), value, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn what_needs_an_escape_is_seen_at_every_place() {
        for len in 1..=20 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut value = vec![b'a'; len];
                    value[at] = byte;
                    assert_eq!(
                        has_escapes(&value),
                        needs_escape(byte),
                        "{byte} at {at} of {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_are_taken_apart_at_tabs_that_are_not_escaped() {
        assert_eq!(fields(b"a\t\\N\t\n", 3).unwrap(), [&b"a"[..], b"\\N", b""]);
        assert_eq!(
            fields(b"a\\\tb\tc\\\nd", 2).unwrap(),
            [&b"a\\\tb"[..], b"c\\\nd"]
        );
        assert_eq!(fields(b"a\\\\\tb", 2).unwrap(), [&b"a\\\\"[..], b"b"]);
        assert_eq!(fields(b"\n", 1).unwrap(), [b""]);
        assert_eq!(fields(b"\\.\n", 2).unwrap(), [] as [&[u8]; 0]);
        assert_eq!(
            fields(b"1234567\\\tb\tc", 2).unwrap(),
            [&b"1234567\\\tb"[..], b"c"]
        );
        assert!(fields(b"\\.\na\tb\n", 2).is_err());
        let short = fields(b"secret\n", 2).unwrap_err();
        assert_eq!(short, "the row has 1 fields and the table 2 columns");
    }

    #[test]
    fn whole_rows_end_at_the_last_line_feed_that_is_not_escaped() {
        let face = CopyText::new(1);
        assert_eq!(face.whole_rows(b"a\nb\nc"), (4, 2));
        assert_eq!(face.whole_rows(b"a\nb\\\n"), (2, 1));
        assert_eq!(face.whole_rows(b"a\\\nb\nc\\\\\nd"), (9, 2));
        assert_eq!(face.whole_rows(b"a\n\\.\n"), (5, 1));
        assert_eq!(face.whole_rows(b"a\\\n"), (0, 0));
        assert_eq!(face.whole_rows(b"abc"), (0, 0));
    }

    proptest! {
        #[test]
        fn every_byte_string_comes_back(value: Vec<u8>) {
            let mut raw = Vec::new();
            CopyText::encode(&value, &mut raw);
            prop_assert_eq!(decoded(&raw), value);
            prop_assert!(raw != NULL && !raw.contains(&b'\t') && !raw.contains(&b'\n'));
        }

        #[test]
        fn every_row_comes_back(values: Vec<Option<Vec<u8>>>) {
            prop_assume!(!values.is_empty());
            let face = CopyText::new(values.len());
            let mut line = Vec::new();
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    line.push(b'\t');
                }
                let cell = value.as_deref().map_or(Cell::Null, Cell::Text);
                face.encode(cell, b"", false, &mut line);
            }
            line.push(b'\n');
            prop_assert_eq!(face.whole_rows(&line), (line.len(), 1));
            for (raw, value) in fields(&line, values.len()).unwrap().iter().zip(&values) {
                let mut out = Vec::new();
                let read = Face::decode(&face, raw, &mut out).unwrap();
                match value {
                    None => prop_assert_eq!(read, Decoded::Null),
                    Some(value) => prop_assert_eq!(&out, value),
                }
            }
        }
    }
}

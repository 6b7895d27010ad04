//! JSON Lines: each line an object, each of its members a field.
//!
//! Members may come in any order and may lack; what no rule masks stays byte for byte, numbers and
//! escapes included. A text is decoded for its mask; numbers and truth values are handed on as
//! numbers; objects and arrays as their JSON text.

use std::borrow::Cow;
use std::collections::HashMap;

use lifeboat_model::ErrorKind;
use memchr::{memchr_iter, memchr2, memrchr};

use super::{Decoded, Face, Field, Fields, Malformed};
use crate::batch::Cell;
use crate::mask::push_signed;
use crate::plan::TablePlan;
use crate::rules::Unlisted;

/// JSON Lines with the members of one table.
#[derive(Debug, Clone)]
pub struct JsonLines {
    columns: HashMap<Vec<u8>, usize>,
    unlisted: Unlisted,
}

const NOT_AN_OBJECT: Malformed = Malformed::new("the line is not one JSON object");
const UNLISTED: Malformed = Malformed {
    reason: Cow::Borrowed("the object has a member that no rule names"),
    kind: ErrorKind::Refused,
};
const TWICE: Malformed = Malformed::new("the object has a member twice");

/// Deepest nesting of a value.
const DEPTH_MAX: usize = 128;

impl JsonLines {
    /// Members are the columns of `table`; `unlisted` decides about all others.
    pub fn new(table: &TablePlan, unlisted: Unlisted) -> Self {
        let names = table.columns().enumerate();
        let columns = names.map(|(at, (name, _))| (name.as_bytes().to_vec(), at));
        Self {
            columns: columns.collect(),
            unlisted,
        }
    }

    /// Returns the column of a member's name, which stands in quotes.
    fn column(&self, quoted: &[u8]) -> Result<Option<usize>, Malformed> {
        let name = &quoted[1..quoted.len() - 1];
        if !name.contains(&b'\\') {
            return Ok(self.columns.get(name).copied());
        }
        let name: String = serde_json::from_slice(quoted).map_err(|_| NOT_AN_OBJECT)?;
        Ok(self.columns.get(name.as_bytes()).copied())
    }

    /// Takes a member apart, and returns where it ends if it has to be left out.
    fn member(
        &self,
        cursor: &mut Cursor<'_>,
        into: &mut Fields,
    ) -> Result<Option<usize>, Malformed> {
        let name = cursor.string()?;
        cursor.expect(b':')?;
        let (start, end) = cursor.value()?;
        match (self.column(name)?, self.unlisted) {
            (Some(column), _) => {
                if into.fields.iter().any(|field| field.column == column) {
                    // Readers differ in which of the two they take.
                    return Err(TWICE);
                }
                into.fields.push(Field { column, start, end });
                Ok(None)
            }
            (None, Unlisted::Error) => Err(UNLISTED),
            // Its name may be a value as well: `{"maria@post.de": true}`.
            (None, Unlisted::Null | Unlisted::Redact) => Ok(Some(end)),
        }
    }
}

impl Face for JsonLines {
    fn whole_rows(&self, bytes: &[u8]) -> (usize, u64) {
        let Some(at) = memrchr(b'\n', bytes) else {
            return (0, 0);
        };
        let whole = &bytes[..=at];
        let mut start = 0;
        let rows = memchr_iter(b'\n', whole).filter(|end| {
            let line = &whole[start..*end];
            start = end + 1;
            !line.trim_ascii().is_empty()
        });
        (whole.len(), rows.count() as u64)
    }

    fn split(&self, bytes: &[u8], start: usize, into: &mut Fields) -> Result<(), Malformed> {
        into.fields.clear();
        into.left_out.clear();
        let found = memchr::memchr(b'\n', &bytes[start..]);
        let end = found.map_or(bytes.len(), |at| start + at);
        into.end = found.map_or(end, |_| end + 1);
        into.empty = bytes[start..end].trim_ascii().is_empty();
        if into.empty {
            return Ok(());
        }
        let mut cursor = Cursor {
            bytes: &bytes[..end],
            at: start,
        };
        cursor.expect(b'{')?;
        if cursor.peek() == Some(b'}') {
            cursor.at += 1;
        } else {
            let mut is_first = true;
            loop {
                let from = cursor.at;
                let left_out = self.member(&mut cursor, into)?;
                let next = cursor.next();
                match left_out {
                    None => is_first = false,
                    // One comma goes with it: that before it, or that behind it.
                    Some(end) if !is_first => into.left_out.push((from - 1, end)),
                    Some(_) if next == Some(b',') => into.left_out.push((from, cursor.at)),
                    Some(end) => into.left_out.push((from, end)),
                }
                match next {
                    Some(b',') => {}
                    Some(b'}') => break,
                    _ => return Err(NOT_AN_OBJECT),
                }
            }
        }
        match cursor.peek() {
            None => Ok(()),
            Some(_) => Err(NOT_AN_OBJECT),
        }
    }

    fn decode(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<Decoded, Malformed> {
        let malformed = || Malformed::new("the value is not valid JSON");
        match raw {
            b"null" => return Ok(Decoded::Null),
            b"true" => return Ok(Decoded::Integer(1)),
            b"false" => return Ok(Decoded::Integer(0)),
            [b'"', inner @ .., b'"']
                if !inner.iter().any(|byte| *byte == b'\\' || *byte < 0x20) =>
            {
                out.extend_from_slice(inner);
                return Ok(Decoded::Text);
            }
            [b'"', ..] => {
                let text: String = serde_json::from_slice(raw).map_err(|_| malformed())?;
                out.extend_from_slice(text.as_bytes());
                return Ok(Decoded::Text);
            }
            [b'{' | b'[', ..] => {
                out.extend_from_slice(raw);
                return Ok(Decoded::Text);
            }
            _ => {}
        }
        let number: serde_json::Number = serde_json::from_slice(raw).map_err(|_| malformed())?;
        match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Decoded::Integer(whole)),
            (None, Some(real)) => Ok(Decoded::Real(real)),
            (None, None) => Err(malformed()),
        }
    }

    fn encode(&self, cell: Cell<'_>, raw: &[u8], as_is: bool, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Integer(flag @ (0 | 1)) if matches!(raw, b"true" | b"false") => {
                out.extend_from_slice(if flag == 1 { b"true" } else { b"false" });
            }
            Cell::Integer(number) => push_signed(number, out),
            Cell::Real(number) if number.is_finite() => {
                out.extend_from_slice(number.to_string().as_bytes());
            }
            Cell::Real(_) => out.extend_from_slice(b"null"),
            Cell::Text(text) | Cell::Blob(text) => {
                if as_is && matches!(raw.first(), Some(b'{' | b'[')) {
                    out.extend_from_slice(text);
                } else {
                    push_string(text, out);
                }
            }
        }
    }
}

/// Appends a text in quotes, with the escapes that JSON demands.
fn push_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let plain = |byte: &u8| *byte >= 0x20 && *byte < 0x80 && *byte != b'"' && *byte != b'\\';
    if text.iter().all(plain) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Reads JSON far enough to know where values end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Returns the next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.next() == Some(byte) {
            return Ok(());
        }
        Err(NOT_AN_OBJECT)
    }

    /// Takes a string, and returns it with its quotes.
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        if self.peek() != Some(b'"') {
            return Err(NOT_AN_OBJECT);
        }
        let start = self.at;
        self.at += 1;
        loop {
            let found = memchr2(b'"', b'\\', &self.bytes[self.at..]).ok_or(NOT_AN_OBJECT)?;
            self.at += found + 1;
            if self.bytes[self.at - 1] == b'"' {
                return Ok(&self.bytes[start..self.at]);
            }
            self.at += 1;
            if self.at > self.bytes.len() {
                return Err(NOT_AN_OBJECT);
            }
        }
    }

    /// Takes a value, and returns where it stands. Brackets are counted; whether all else is JSON is
    /// found out by whoever decodes it.
    fn value(&mut self) -> Result<(usize, usize), Malformed> {
        let first = self.peek().ok_or(NOT_AN_OBJECT)?;
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.nested()?,
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                let rest = &self.bytes[start..];
                let len = rest.iter().position(ends).unwrap_or(rest.len());
                // A kept value is copied, so it must be one: free text has no place here.
                let valid = serde_json::from_slice::<serde_json::Value>(&rest[..len]).is_ok();
                if !valid {
                    return Err(NOT_AN_OBJECT);
                }
                self.at += len;
            }
        }
        Ok((start, self.at))
    }

    fn nested(&mut self) -> Result<(), Malformed> {
        let mut open = Vec::new();
        loop {
            match self.peek().ok_or(NOT_AN_OBJECT)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                close @ (b'}' | b']') if open.pop() != Some(close) => return Err(NOT_AN_OBJECT),
                _ => {}
            }
            self.at += 1;
            if open.is_empty() {
                return Ok(());
            }
            if open.len() > DEPTH_MAX {
                return Err("a value is nested too deeply".into());
            }
        }
    }
}

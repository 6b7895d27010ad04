//! `array`, `hstore` and `composite`: values that PostgreSQL writes as text with values in it.
//!
//! Each is taken apart, its items are masked one by one, and it is written anew with quotes around
//! whatever needs them (PostgreSQL 15 documentation, "Array Input and Output Syntax", "hstore" and
//! "Composite Type Input and Output Syntax").

use std::sync::Arc;

use lifeboat_document::Value;

use super::{
    Binder, Bound, Context, Distinct, Fault, Identity, Made, Mask, Options, Parts, Reuse, Traits,
    parse_signed, push_signed, text_of,
};
use crate::batch::Cell;
use crate::rules::{Choice, Unlisted, unlisted};

/// What becomes of one item: `None` keeps it.
type Item = Option<Bound>;

/// An array literal, however deep; every item is masked alike.
#[derive(Debug)]
struct Array {
    items: Choice,
    bound: Item,
}

/// A set of keys with values; keys stay.
#[derive(Debug)]
struct Hstore {
    keys: Vec<(String, Choice)>,
    unlisted: Unlisted,
    bound: Vec<(String, Item)>,
}

/// A row literal; fields are masked by place.
#[derive(Debug)]
struct Composite {
    fields: Vec<Choice>,
    bound: Vec<Item>,
}

const TRAITS: Traits = Traits {
    reuse: Reuse::Leak,
    // A value of kept items stays; its masked items are checked one by one.
    identity: Identity::Open,
    ..Traits::text(Distinct::Few, None)
};

pub(super) fn array(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let Some(node) = options.reader.node("items") else {
        let hint = "for instance `{ mask = \"array\", items = \"email\" }`";
        options.reader.missing("items", hint);
        return None;
    };
    let items = options.nested.choice(node, "the items")?;
    Options::done(Array { items, bound: None })
}

pub(super) fn hstore(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let unlisted = match options.reader.node("unlisted") {
        Some(_) => unlisted(options.reader)?,
        None => Unlisted::Error,
    };
    let Some(table) = options.reader.table("keys") else {
        let hint = "for instance `keys = { phone = \"phone\", size = \"keep\" }`";
        options.reader.missing("keys", hint);
        return None;
    };
    let mut keys = Vec::new();
    for (key, node) in &table.entries {
        let what = format!("key `{}`", key.name);
        keys.push((key.name.clone(), options.nested.choice(node, &what)?));
    }
    Options::done(Hstore {
        keys,
        unlisted,
        bound: Vec::new(),
    })
}

pub(super) fn composite(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let Some(Value::Array(items)) = options.reader.node("fields").map(|node| &node.value) else {
        let hint = "one for each, for instance `fields = [\"keep\", \"email\"]`";
        options.reader.missing("fields", hint);
        return None;
    };
    let mut fields = Vec::new();
    for (n, node) in items.iter().enumerate() {
        fields.push(options.nested.choice(node, &format!("field {}", n + 1))?);
    }
    Options::done(Composite {
        fields,
        bound: Vec::new(),
    })
}

/// Masks one item; text that is a number is read as one where its mask wants numbers.
fn masked(item: &Item, text: &[u8], cx: &Context<'_>, made: &mut Vec<u8>) -> Result<bool, Fault> {
    made.clear();
    let Some(bound) = item else {
        made.extend_from_slice(text);
        return Ok(true);
    };
    let number = parse_signed(text).filter(|_| bound.wants_number());
    let cell = number.map_or(Cell::Text(text), Cell::Integer);
    match bound.apply(cell, cx.row, made)? {
        Made::Null => return Ok(false),
        Made::Text | Made::Blob => {}
        Made::Integer(number) => push_signed(number, made),
        Made::Real(number) => made.extend_from_slice(number.to_string().as_bytes()),
    }
    Ok(true)
}

/// Reads a literal from left to right.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads what stands in quotes, whose first is taken already. `doubled` says that two quotes are
    /// one, too.
    fn quoted(&mut self, doubled: bool, into: &mut Vec<u8>) -> Option<()> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' if doubled && self.take(b"\"") => into.push(b'"'),
                b'"' => return Some(()),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    into.push(*escaped);
                    self.rest = rest;
                }
                other => into.push(*other),
            }
        }
    }

    /// Reads up to one of `ends`; a backslash takes the next byte as it is.
    fn bare(&mut self, ends: &[u8], into: &mut Vec<u8>) -> Option<()> {
        while let Some((first, rest)) = self.rest.split_first() {
            if ends.contains(first) {
                break;
            }
            self.rest = rest;
            if *first == b'\\' {
                let (escaped, rest) = self.rest.split_first()?;
                into.push(*escaped);
                self.rest = rest;
            } else {
                into.push(*first);
            }
        }
        Some(())
    }
}

fn push_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

const NOT_AN_ARRAY: Fault = Fault::new("the value is no array such as `{a,b}`");
const NOT_AN_HSTORE: Fault = Fault::new("the value is no hstore such as `\"a\"=>\"b\"`");
const NOT_A_ROW: Fault =
    Fault::new("the value is no row such as `(a,b)` of as many fields as named");

/// Deepest nesting of arrays: PostgreSQL's.
const DEPTH_MAX: usize = 6;

/// Takes an item, `None` for NULL, and where what replaces it goes.
pub(crate) type VisitItem<'v> = dyn FnMut(Option<&[u8]>, &mut Vec<u8>) -> Result<(), Fault> + 'v;
/// Takes a key and its value, `None` for NULL.
pub(crate) type VisitPair<'v> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Fault> + 'v;
/// Takes the place of a field and its text, `None` for NULL.
pub(crate) type VisitField<'v> = dyn FnMut(usize, Option<&[u8]>) -> Result<(), Fault> + 'v;

/// Calls `visit` with each item of an array, `None` for NULL, and copies what lies between.
pub(crate) fn each_item(
    literal: &[u8],
    out: &mut Vec<u8>,
    visit: &mut VisitItem<'_>,
) -> Result<(), Fault> {
    let mut cursor = Cursor { rest: literal };
    if literal.starts_with(b"[") {
        // Bounds, as in `[0:1]={a,b}`.
        let end = literal
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(NOT_AN_ARRAY)?;
        let bounds = &literal[..=end];
        if !bounds.iter().all(|byte| b"0123456789[]:+-=".contains(byte)) {
            return Err(NOT_AN_ARRAY);
        }
        out.extend_from_slice(bounds);
        cursor.rest = &literal[end + 1..];
    }
    let mut depth = 0;
    let mut text = Vec::new();
    loop {
        cursor.blanks();
        if cursor.take(b"{") {
            depth += 1;
            out.push(b'{');
            if depth > DEPTH_MAX {
                return Err(NOT_AN_ARRAY);
            }
            cursor.blanks();
            if !cursor.rest.starts_with(b"}") {
                continue;
            }
        } else {
            text.clear();
            if depth == 0 {
                return Err(NOT_AN_ARRAY);
            }
            if cursor.take(b"\"") {
                cursor.quoted(false, &mut text).ok_or(NOT_AN_ARRAY)?;
                visit(Some(&text), out)?;
            } else {
                cursor.bare(b",{}\"", &mut text).ok_or(NOT_AN_ARRAY)?;
                match text.trim_ascii() {
                    [] => return Err(NOT_AN_ARRAY),
                    null if null.eq_ignore_ascii_case(b"null") => visit(None, out)?,
                    item => visit(Some(item), out)?,
                }
            }
        }
        loop {
            cursor.blanks();
            if !cursor.take(b"}") {
                break;
            }
            out.push(b'}');
            depth -= 1;
            if depth == 0 {
                let done = cursor.rest.trim_ascii().is_empty();
                return if done { Ok(()) } else { Err(NOT_AN_ARRAY) };
            }
        }
        if !cursor.take(b",") {
            return Err(NOT_AN_ARRAY);
        }
        out.push(b',');
    }
}

impl Mask for Array {
    fn traits(&self) -> Traits {
        TRAITS
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let mut made = Vec::new();
        each_item(text_of(input)?.as_bytes(), out, &mut |item, out| {
            match item {
                Some(text) if masked(&self.bound, text, cx, &mut made)? => push_quoted(&made, out),
                _ => out.extend_from_slice(b"NULL"),
            }
            Ok(())
        })?;
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        Ok(Some(Arc::new(Self {
            items: self.items.clone(),
            bound: binder.inside(&self.items, "items")?,
        })))
    }

    fn kept_inside(&self) -> Vec<String> {
        match self.bound {
            None => vec!["items".to_owned()],
            Some(_) => Vec::new(),
        }
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }
}

impl Parts for Array {
    fn each(&self, value: &[u8], visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>)) {
        let read = each_item(value, &mut Vec::new(), &mut |item, _| {
            if let Some(item) = item {
                visit(Cell::Text(item), self.bound.as_ref());
            }
            Ok(())
        });
        if read.is_err() {
            visit(Cell::Text(value), None);
        }
    }
}

/// Calls `visit` with each key and its value, `None` for NULL.
pub(crate) fn each_pair(literal: &[u8], visit: &mut VisitPair<'_>) -> Result<(), Fault> {
    let mut cursor = Cursor { rest: literal };
    let (mut key, mut value) = (Vec::new(), Vec::new());
    cursor.blanks();
    while !cursor.rest.is_empty() {
        key.clear();
        value.clear();
        let read = |cursor: &mut Cursor<'_>, into: &mut Vec<u8>, ends: &[u8]| {
            cursor.blanks();
            let quoted = cursor.take(b"\"");
            let read = if quoted {
                cursor.quoted(false, into)
            } else {
                cursor.bare(ends, into)
            };
            read.map(|()| quoted).ok_or(NOT_AN_HSTORE)
        };
        read(&mut cursor, &mut key, b"= \t\n,")?;
        cursor.blanks();
        if !cursor.take(b"=>") || key.is_empty() {
            return Err(NOT_AN_HSTORE);
        }
        let quoted = read(&mut cursor, &mut value, b", \t\n")?;
        let null = !quoted && value.eq_ignore_ascii_case(b"null");
        visit(&key, (!null).then_some(&value))?;
        cursor.blanks();
        if !cursor.take(b",") && !cursor.rest.is_empty() {
            return Err(NOT_AN_HSTORE);
        }
        cursor.blanks();
    }
    Ok(())
}

impl Hstore {
    fn item(&self, key: &[u8]) -> Option<&Item> {
        let mut bound = self.bound.iter();
        let found = bound.find(|(name, _)| name.as_bytes() == key);
        found.map(|(_, item)| item)
    }
}

impl Mask for Hstore {
    fn traits(&self) -> Traits {
        TRAITS
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let mut made = Vec::new();
        let start = out.len();
        each_pair(text_of(input)?.as_bytes(), &mut |key, value| {
            let item = self.item(key);
            if item.is_none() && self.unlisted == Unlisted::Error {
                // Keys may be personal themselves, so the message names none.
                return Err(Fault::new(
                    "the hstore has a key that the rule does not name",
                ));
            }
            if out.len() > start {
                out.extend_from_slice(b", ");
            }
            push_quoted(key, out);
            out.extend_from_slice(b"=>");
            match (item, value) {
                (Some(item), Some(text)) if masked(item, text, cx, &mut made)? => {
                    push_quoted(&made, out);
                }
                (None, Some(_)) if self.unlisted == Unlisted::Redact => {
                    push_quoted(b"[redacted]", out);
                }
                _ => out.extend_from_slice(b"NULL"),
            }
            Ok(())
        })?;
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let bind = |(key, choice): &(String, Choice)| {
            Ok((key.clone(), binder.inside(choice, &format!("key {key}"))?))
        };
        let bound: Result<_, String> = self.keys.iter().map(bind).collect();
        Ok(Some(Arc::new(Self {
            keys: self.keys.clone(),
            unlisted: self.unlisted,
            bound: bound?,
        })))
    }

    fn kept_inside(&self) -> Vec<String> {
        let kept = self.bound.iter().filter(|(_, item)| item.is_none());
        kept.map(|(key, _)| key.clone()).collect()
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }
}

impl Parts for Hstore {
    fn each(&self, value: &[u8], visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>)) {
        let read = each_pair(value, &mut |key, value| {
            visit(Cell::Text(key), None);
            if let Some(value) = value {
                visit(Cell::Text(value), self.item(key).and_then(Option::as_ref));
            }
            Ok(())
        });
        if read.is_err() {
            visit(Cell::Text(value), None);
        }
    }
}

/// Calls `visit` with the place of each field and its text, `None` for NULL, and returns how many
/// there are.
pub(crate) fn each_field(literal: &[u8], visit: &mut VisitField<'_>) -> Result<usize, Fault> {
    let mut cursor = Cursor { rest: literal };
    cursor.blanks();
    if !cursor.take(b"(") {
        return Err(NOT_A_ROW);
    }
    let mut text = Vec::new();
    let mut count = 0;
    loop {
        text.clear();
        let null = matches!(cursor.rest.first(), Some(b',' | b')'));
        while !matches!(cursor.rest.first(), Some(b',' | b')')) {
            // Quoted and bare stretches may stand side by side.
            let read = if cursor.take(b"\"") {
                cursor.quoted(true, &mut text)
            } else {
                cursor.bare(b",)\"", &mut text)
            };
            read.filter(|()| !cursor.rest.is_empty()).ok_or(NOT_A_ROW)?;
        }
        visit(count, (!null).then_some(&text))?;
        count += 1;
        if cursor.take(b")") {
            let done = cursor.rest.trim_ascii().is_empty();
            return if done { Ok(count) } else { Err(NOT_A_ROW) };
        }
        cursor.take(b",");
    }
}

impl Mask for Composite {
    fn traits(&self) -> Traits {
        TRAITS
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let mut made = Vec::new();
        out.push(b'(');
        let count = each_field(text_of(input)?.as_bytes(), &mut |n, text| {
            if n > 0 {
                out.push(b',');
            }
            let item = self.bound.get(n).ok_or(NOT_A_ROW)?;
            match text {
                Some(text) if masked(item, text, cx, &mut made)? => push_quoted(&made, out),
                _ => {}
            }
            Ok(())
        })?;
        if count != self.bound.len() {
            return Err(NOT_A_ROW);
        }
        out.push(b')');
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let numbered = self.fields.iter().enumerate();
        let bound: Result<_, String> = numbered
            .map(|(n, choice)| binder.inside(choice, &format!("field {}", n + 1)))
            .collect();
        Ok(Some(Arc::new(Self {
            fields: self.fields.clone(),
            bound: bound?,
        })))
    }

    fn kept_inside(&self) -> Vec<String> {
        let kept = self
            .bound
            .iter()
            .enumerate()
            .filter(|(_, item)| item.is_none());
        kept.map(|(n, _)| format!("field {}", n + 1)).collect()
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }
}

impl Parts for Composite {
    fn each(&self, value: &[u8], visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>)) {
        let read = each_field(value, &mut |n, text| {
            if let Some(text) = text {
                visit(Cell::Text(text), self.bound.get(n).and_then(Option::as_ref));
            }
            Ok(())
        });
        if read.is_err() {
            visit(Cell::Text(value), None);
        }
    }
}

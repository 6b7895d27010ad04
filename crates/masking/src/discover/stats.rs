//! Counts over the values of one column.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher as _;

use serde_json::Value;

use crate::batch::Cell;
use crate::detect::{HitKind, NameLike, detect, name_like};

/// Different values that are told apart; beyond, there are just many.
const DISTINCT_MAX: usize = 2_000;
/// Longest part of a text that is looked at, in bytes.
const TEXT_MAX: usize = 4_096;
/// Paths of documents that are followed, and how deep.
const PATHS_MAX: usize = 64;
const DEPTH_MAX: usize = 6;

/// What a value has the form of, whatever it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Date,
    Uuid,
    Url,
    Mac,
    Document,
    /// Hex or base64 digits, too many to be a number or a word.
    Digest,
    /// Digits, perhaps with signs between them.
    Digits,
    /// A number written as one.
    Number,
}

/// What the values of a column look like.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnStats {
    /// Values that are neither NULL nor empty.
    pub(super) values: u64,
    pub(super) nulls: u64,
    /// Values that are one find from end to end.
    pub(super) whole: BTreeMap<HitKind, u64>,
    /// Values that hold a find among other text.
    pub(super) inside: u64,
    pub(super) forms: BTreeMap<Form, u64>,
    pub(super) first_names: u64,
    pub(super) last_names: u64,
    pub(super) full_names: u64,
    /// Values of more than three words.
    pub(super) prose: u64,
    pub(super) lowest: Option<i64>,
    pub(super) highest: Option<i64>,
    pub(super) longest: usize,
    /// Keyed anew in each run, so that they say nothing of the values.
    distinct: HashSet<u64>,
    hasher: std::hash::RandomState,
    /// What stands below each path of a document.
    pub(super) paths: BTreeMap<String, ColumnStats>,
    /// Whether some path could not be followed, or should not be written down.
    pub(super) paths_incomplete: bool,
}

impl ColumnStats {
    /// Counts one value.
    pub(super) fn observe(&mut self, cell: Cell<'_>) {
        if cell.is_blank() {
            self.nulls += 1;
            return;
        }
        self.values += 1;
        match cell {
            Cell::Null => {}
            Cell::Integer(number) => self.integer(number),
            Cell::Real(number) => {
                self.note(number.to_bits().to_le_bytes().as_slice());
                *self.forms.entry(Form::Number).or_default() += 1;
            }
            Cell::Text(text) | Cell::Blob(text) => self.text(&text[..text.len().min(TEXT_MAX)]),
        }
    }

    fn integer(&mut self, number: i64) {
        self.note(&number.to_le_bytes());
        *self.forms.entry(Form::Number).or_default() += 1;
        self.lowest = Some(self.lowest.map_or(number, |lowest| lowest.min(number)));
        self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
        let text = number.to_string();
        // Only check digits make a bare number speak for itself.
        if detect(text.as_bytes())
            .iter()
            .any(|hit| hit.kind == HitKind::Card)
        {
            *self.whole.entry(HitKind::Card).or_default() += 1;
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.note(text);
        let text = text.trim_ascii();
        self.longest = self.longest.max(text.len());
        let hits = detect(text);
        match &hits[..] {
            // A phone with its extension, an address with its name in front.
            [hit] if hit.range.len() * 5 >= text.len() * 4 => {
                *self.whole.entry(hit.kind).or_default() += 1;
            }
            [] => {}
            _ => self.inside += 1,
        }
        match name_like(text) {
            Some(NameLike::First) => self.first_names += 1,
            Some(NameLike::Last) => self.last_names += 1,
            Some(NameLike::Full) => self.full_names += 1,
            None => {}
        }
        let words = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| word.len() > 1);
        self.prose += u64::from(words.count() > 3);
        let document = serde_json::from_slice::<Value>(text).ok();
        let document = document.filter(|value| value.is_object() || value.is_array());
        if let Some(form) = form_of(text, document.is_some()) {
            *self.forms.entry(form).or_default() += 1;
        }
        if let Some(document) = document {
            self.document(&document, "$", 0);
        }
    }

    fn document(&mut self, value: &Value, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            self.paths_incomplete = true;
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if is_plain(name) {
                        self.document(member, &format!("{path}.{name}"), depth + 1);
                    } else {
                        self.paths_incomplete = true;
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.document(item, &format!("{path}[*]"), depth + 1);
                }
            }
            Value::Null => {}
            leaf => {
                if self.paths.len() == PATHS_MAX && !self.paths.contains_key(path) {
                    self.paths_incomplete = true;
                    return;
                }
                let stats = self.paths.entry(path.to_owned()).or_default();
                match leaf {
                    Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                        (Some(number), _) => stats.observe(Cell::Integer(number)),
                        (None, number) => stats.observe(Cell::Real(number.unwrap_or_default())),
                    },
                    Value::Bool(flag) => stats.observe(Cell::Integer(i64::from(*flag))),
                    Value::String(text) => stats.observe(Cell::Text(text.as_bytes())),
                    _ => {}
                }
            }
        }
    }

    fn note(&mut self, value: &[u8]) {
        if self.distinct.len() < DISTINCT_MAX {
            self.distinct.insert(self.hasher.hash_one(value));
        }
    }

    /// Returns which share of the values `count` is.
    pub(super) fn share(&self, count: u64) -> f64 {
        if self.values == 0 {
            return 0.0;
        }
        count as f64 / self.values as f64
    }

    /// Returns which share of the values has a form.
    pub(super) fn share_of(&self, form: Form) -> f64 {
        self.share(self.forms.get(&form).copied().unwrap_or(0))
    }

    /// Returns how many different values there are, up to a bound.
    pub(super) fn distinct(&self) -> usize {
        self.distinct.len()
    }

    /// Reports whether the same few values come again and again.
    pub(super) fn has_few_values(&self) -> bool {
        let distinct = self.distinct() as u64;
        distinct <= 50 && self.values >= 20 && distinct * 5 <= self.values
    }
}

/// Reports whether a member's name is one that a programmer wrote: it goes into a proposal.
fn is_plain(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && name.bytes().filter(u8::is_ascii_digit).count() <= 2
}

fn form_of(text: &[u8], is_document: bool) -> Option<Form> {
    let all = |is: fn(&u8) -> bool| text.iter().all(is);
    if is_document {
        return Some(Form::Document);
    }
    if is_uuid(text) {
        return Some(Form::Uuid);
    }
    if is_date(text) {
        return Some(Form::Date);
    }
    if text.starts_with(b"http://") || text.starts_with(b"https://") {
        return Some(Form::Url);
    }
    if text.len() == 17
        && text.iter().enumerate().all(|(n, byte)| {
            if n % 3 == 2 {
                b":-".contains(byte)
            } else {
                byte.is_ascii_hexdigit()
            }
        })
    {
        return Some(Form::Mac);
    }
    if std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok()) && text.len() < 16 {
        return Some(Form::Number);
    }
    if all(|byte| byte.is_ascii_digit() || b" -./".contains(byte)) {
        return Some(Form::Digits);
    }
    let long = text.len() >= 24 && text.iter().any(u8::is_ascii_digit);
    let digest = long && all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-.$".contains(byte));
    digest.then_some(Form::Digest)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(n, byte)| match n {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2024-05-31`, `31.05.2024` or `5/31/2024`, with or without a time behind it.
fn is_date(text: &[u8]) -> bool {
    let date = text
        .split(|byte| b" T".contains(byte))
        .next()
        .unwrap_or_default();
    let Some(sign) = date.iter().find(|byte| !byte.is_ascii_digit()) else {
        return false;
    };
    let parts: Vec<&[u8]> = date.split(|byte| byte == sign).collect();
    b"-./".contains(sign)
        && parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
        && (parts[0].len() == 4 || parts[2].len() == 4)
        && date.len() <= 10
}

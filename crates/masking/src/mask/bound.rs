//! A mask bound to its domain's key: what the engine calls for a value.

use std::sync::Arc;

use super::decimal::signed;
use super::{Fault, Identity, Mask, Traits};
use crate::batch::{Cell, Row, Slot};
use crate::detect::HitKind;
use crate::key::{Digest, DomainKey, MaskKey};
use crate::rules::{Choice, MaskRule, Normalize, RuleSet};
use crate::schema::ColumnType;

/// The kind of value a mask made; text and blobs stand at the end of the output buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Made {
    Null,
    Integer(i64),
    Real(f64),
    Text,
    Blob,
}

/// The row a value belongs to.
#[derive(Clone, Copy)]
pub(crate) struct RowContext<'a> {
    /// The original row.
    pub(crate) original: Row<'a>,
    /// The masked row as far as it is made; ranges point into the output buffer.
    pub(crate) masked: &'a [Slot],
    /// The row's number in the table.
    pub(crate) number: u64,
}

/// What a mask sees besides the value.
pub(crate) struct Context<'a> {
    pub(crate) key: &'a DomainKey,
    pub(crate) normalize: Normalize,
    pub(crate) row: RowContext<'a>,
    /// Counts up while outputs equal the original.
    pub(crate) attempt: u8,
}

impl Context<'_> {
    /// Returns the digest of `cell`: equal values of one domain have equal ones, in any type.
    #[inline]
    pub(crate) fn digest(&self, cell: Cell<'_>) -> Digest {
        self.normalized(cell, |bytes| self.key.digest(bytes, self.attempt))
    }

    /// Returns a 256-bit digest of `cell`.
    pub(crate) fn long_digest(&self, cell: Cell<'_>) -> [u8; 32] {
        if self.attempt > 0 {
            return self.key.widened(&self.digest(cell));
        }
        self.normalized(cell, |bytes| self.key.long_digest(bytes))
    }

    /// Calls `hash` with the bytes that stand for a value.
    #[inline]
    fn normalized<T>(&self, cell: Cell<'_>, hash: impl FnOnce(&[u8]) -> T) -> T {
        match cell {
            Cell::Null => hash(&[]),
            Cell::Integer(number) => hash(signed(number, &mut [0; 20])),
            Cell::Real(number) => hash(number.to_string().as_bytes()),
            Cell::Text(bytes) | Cell::Blob(bytes) => {
                if self.normalize == Normalize::default() {
                    hash(bytes)
                } else if bytes.is_ascii() && bytes.len() <= SMALL {
                    hash(ascii(self.normalize, bytes, &mut [0; SMALL]))
                } else {
                    hash(&unicode(self.normalize, bytes))
                }
            }
        }
    }
}

/// Longest value that is evened out without allocation, in bytes.
const SMALL: usize = 128;

fn ascii<'b>(normalize: Normalize, bytes: &[u8], buffer: &'b mut [u8; SMALL]) -> &'b [u8] {
    let bytes = if normalize.trim {
        bytes.trim_ascii()
    } else {
        bytes
    };
    let mut len = 0;
    for &byte in bytes {
        if normalize.digits && !byte.is_ascii_digit() {
            continue;
        }
        buffer[len] = if normalize.lower {
            byte.to_ascii_lowercase()
        } else {
            byte
        };
        len += 1;
    }
    &buffer[..len]
}

fn unicode(normalize: Normalize, bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut text = if normalize.trim { text.trim() } else { &text }.to_owned();
    if normalize.lower {
        text = text.to_lowercase();
    }
    if normalize.digits {
        text.retain(|c| c.is_ascii_digit());
    }
    text.into_bytes()
}

/// A mask with the key of its domain. The key is derived from a label: `domain X`, or the place of
/// a mask written in place, such as `customers.street`.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// What rules call the mask.
    name: &'static str,
    pub(crate) mask: Arc<dyn Mask>,
    key: DomainKey,
    normalize: Normalize,
    traits: Traits,
    hit_kind: Option<HitKind>,
    makes_null: bool,
}

impl Bound {
    /// Binds a mask that looks nothing up.
    pub(crate) fn constant(rule: &MaskRule, key: &MaskKey, label: &str) -> Self {
        let key = key.domain(label);
        Self {
            name: rule.name,
            traits: rule.mask.traits(),
            hit_kind: rule.mask.hit_kind(),
            makes_null: rule.mask.makes_null(),
            mask: rule.mask.keyed(&key).unwrap_or_else(|| rule.mask.clone()),
            normalize: rule.normalize,
            key,
        }
    }

    /// Returns what rules call the mask.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what is true of every output.
    pub(crate) fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Returns what kind of find in a text the mask replaces.
    pub(crate) fn hit_kind(&self) -> Option<HitKind> {
        self.hit_kind
    }

    /// Reports whether the mask makes numbers only, so that text which is one must be read as one.
    pub(crate) fn wants_number(&self) -> bool {
        !self.traits.types.contains(&ColumnType::Text)
    }

    /// Masks `input`; NULL stays NULL, and empty stays empty.
    pub(crate) fn apply(
        &self,
        input: Cell<'_>,
        row: RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Made, Fault> {
        let mut cx = Context {
            key: &self.key,
            normalize: self.normalize,
            row,
            attempt: 0,
        };
        match input {
            Cell::Null => return Ok(Made::Null),
            Cell::Text([]) if !self.makes_null => return Ok(Made::Text),
            Cell::Blob([]) if !self.makes_null => return Ok(Made::Blob),
            Cell::Text(text) if self.mask.lets_pass(input) => {
                out.extend_from_slice(text);
                return Ok(Made::Text);
            }
            _ => {}
        }
        loop {
            let start = out.len();
            let made = self.mask.apply(input, &cx, out)?;
            if self.traits.identity != Identity::Never || !same(input, made, &out[start..]) {
                return Ok(made);
            }
            out.truncate(start);
            if cx.attempt == 32 {
                return Err(Fault::new("no value differs from the original"));
            }
            cx.attempt += 1;
        }
    }

    /// Masks text inside a larger value.
    pub(crate) fn splice(
        &self,
        text: &[u8],
        row: RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match self.apply(Cell::Text(text), row, out)? {
            Made::Text | Made::Blob | Made::Null => Ok(()),
            _ => Err(Fault::new("a mask of numbers cannot replace text")),
        }
    }
}

/// Reports whether a masked value is the original, whatever the case of its letters.
pub(crate) fn same(input: Cell<'_>, made: Made, out: &[u8]) -> bool {
    match (input, made) {
        (Cell::Null, Made::Null) => true,
        (Cell::Integer(a), Made::Integer(b)) => a == b,
        (Cell::Real(a), Made::Real(b)) => a.to_bits() == b.to_bits(),
        (Cell::Text(a) | Cell::Blob(a), Made::Text | Made::Blob) => {
            a.trim_ascii().eq_ignore_ascii_case(out.trim_ascii())
        }
        _ => false,
    }
}

/// Looks up what masks name: domains, and columns of their row.
pub(crate) struct Binder<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) key: &'a MaskKey,
    /// The place of the rule, such as `customers.email`.
    pub(crate) place: String,
    /// Position of a column in the row.
    pub(crate) position: &'a dyn Fn(&str) -> Option<usize>,
    /// Whether a column of the row is masked in all cases and by no template.
    pub(crate) masked: &'a dyn Fn(&str) -> bool,
    /// Whether the value stands inside another one, a JSON document or a text.
    pub(crate) inside: bool,
}

impl Binder<'_> {
    /// Binds a mask written in place.
    pub(crate) fn rule(&self, rule: &MaskRule) -> Result<Bound, String> {
        let label = rule.mask.label(&self.place);
        self.labelled(rule, label.as_deref().unwrap_or(&self.place))
    }

    /// Binds a domain.
    pub(crate) fn domain(&self, name: &str) -> Result<Bound, String> {
        let domain = self.rules.domain(name);
        let domain = domain.ok_or_else(|| format!("there is no domain `{name}`"))?;
        self.labelled(&domain.rule, &format!("domain {name}"))
    }

    /// Binds a choice inside another value; `None` keeps it.
    pub(crate) fn inside(&self, choice: &Choice, path: &str) -> Result<Option<Bound>, String> {
        let inner = Binder {
            place: format!("{} {path}", self.place),
            inside: true,
            ..*self
        };
        match choice {
            Choice::Keep(_) => Ok(None),
            Choice::Mask(rule) => inner.rule(rule).map(Some),
            Choice::Domain(name) => inner.domain(name).map(Some),
            Choice::References(..) => {
                Err("a value inside another names its domain, not a column".to_owned())
            }
        }
    }

    fn labelled(&self, rule: &MaskRule, label: &str) -> Result<Bound, String> {
        let bound = rule.mask.bind(self)?;
        let mask = bound.unwrap_or_else(|| rule.mask.clone());
        let rule = MaskRule {
            mask,
            ..rule.clone()
        };
        Ok(Bound::constant(&rule, self.key, label))
    }
}

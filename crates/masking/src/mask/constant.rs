//! Masks whose outputs say nothing: `null`, `const`, `redact` and `dict`.

use std::sync::Arc;

use lifeboat_document::Value;

use super::{Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, TEXT, Traits};
use crate::batch::Cell;
use crate::schema::ColumnType;

const ALL: &[ColumnType] = &[
    ColumnType::Integer,
    ColumnType::Real,
    ColumnType::Text,
    ColumnType::Blob,
];

/// What `redact` writes.
pub(crate) const REDACTED: &str = "[redacted]";

#[derive(Debug)]
struct Null;

/// Returns what empties a value by policy.
pub(crate) fn null_mask() -> Arc<dyn Mask> {
    Arc::new(Null)
}

pub(super) fn null(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Null)
}

impl Mask for Null {
    fn traits(&self) -> Traits {
        Traits {
            types: ALL,
            distinct: Distinct::Null,
            max_len: Some(0),
            reuse: Reuse::Leak,
            identity: Identity::Open,
        }
    }

    fn apply(&self, _: Cell<'_>, _: &Context<'_>, _: &mut Vec<u8>) -> Result<Made, Fault> {
        Ok(Made::Null)
    }

    fn makes_null(&self) -> bool {
        true
    }
}

#[derive(Debug)]
enum Const {
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
}

pub(super) fn constant(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let Some(node) = options.reader.node("value") else {
        let hint = "for instance `{ mask = \"const\", value = \"x\" }`";
        options.reader.missing("value", hint);
        return None;
    };
    Options::done(match &node.value {
        Value::Integer(number) => Const::Integer(*number),
        Value::Float(number) => Const::Real(*number),
        Value::String(text) => Const::Text(text.clone().into_bytes()),
        Value::Boolean(value) => Const::Integer(i64::from(*value)),
        _ => {
            let message = "`value` must be a number or a text";
            options.reader.reject("value", message, None);
            return None;
        }
    })
}

/// Returns what stands in for a value that policy redacts.
pub(crate) fn redact() -> Arc<dyn Mask> {
    Arc::new(Const::Text(REDACTED.into()))
}

pub(super) fn redacted(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Some(redact())
}

impl Mask for Const {
    fn traits(&self) -> Traits {
        Traits {
            types: match self {
                Self::Integer(_) => &[ColumnType::Integer, ColumnType::Real],
                Self::Real(_) => &[ColumnType::Real],
                Self::Text(_) => TEXT,
            },
            distinct: Distinct::Few,
            max_len: match self {
                Self::Text(text) => Some(text.len()),
                _ => Some(0),
            },
            reuse: Reuse::Leak,
            identity: Identity::Open,
        }
    }

    fn apply(&self, _: Cell<'_>, _: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        Ok(match self {
            Self::Integer(number) => Made::Integer(*number),
            Self::Real(number) => Made::Real(*number),
            Self::Text(text) => {
                out.extend_from_slice(text);
                Made::Text
            }
        })
    }
}

/// One of the values a rule lists, chosen by the original.
#[derive(Debug)]
struct Dict(Vec<String>);

pub(super) fn dict(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let values = options.reader.strings("values").unwrap_or_default();
    if values.is_empty() {
        let hint = "for instance `values = [\"red\", \"green\"]`";
        options.reader.missing("values", hint);
        return None;
    }
    Options::done(Dict(values))
}

impl Mask for Dict {
    fn traits(&self) -> Traits {
        Traits {
            max_len: self.0.iter().map(String::len).max(),
            reuse: Reuse::Overlaps,
            identity: Identity::Open,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let chosen = cx.digest(input).below(self.0.len() as u64);
        out.extend_from_slice(self.0[chosen as usize].as_bytes());
        Ok(Made::Text)
    }
}

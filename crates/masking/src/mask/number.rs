//! Masks that blur: `noise`, `bucket` and `generalize`.

use std::sync::Arc;

use super::{Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits, text_of};
use crate::batch::Cell;
use crate::schema::ColumnType;

const NUMBERS: &[ColumnType] = &[ColumnType::Integer, ColumnType::Real];

const BLURRED: Traits = Traits {
    types: NUMBERS,
    distinct: Distinct::Few,
    max_len: Some(0),
    reuse: Reuse::Overlaps,
    identity: Identity::Open,
};

/// Scales a number by a factor that belongs to its value.
#[derive(Debug)]
struct Noise {
    /// Largest change, as a share of the value.
    ratio: f64,
}

pub(super) fn noise(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let ratio = options.positive("ratio", "for instance `ratio = 0.1` for up to 10 %")?;
    if ratio >= 1.0 {
        let hint = "0.1 changes values by up to 10 %".to_owned();
        options
            .reader
            .reject("ratio", "`ratio` must be below 1", Some(hint));
        return None;
    }
    Options::done(Noise { ratio })
}

impl Mask for Noise {
    fn traits(&self) -> Traits {
        BLURRED
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, _: &mut Vec<u8>) -> Result<Made, Fault> {
        // 53 bits give every double between -1 and 1 its chance.
        let unit = (cx.digest(input).first() >> 11) as f64 / (1_u64 << 53) as f64;
        let factor = 1.0 + (unit * 2.0 - 1.0) * self.ratio;
        match input {
            Cell::Integer(number) => Ok(Made::Integer((number as f64 * factor).round() as i64)),
            Cell::Real(number) => Ok(Made::Real(number * factor)),
            _ => Err(Fault::new("the value is not a number")),
        }
    }
}

/// Rounds a number down to a multiple.
#[derive(Debug)]
struct Bucket {
    size: i64,
}

pub(super) fn bucket(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    if options.reader.node("size").is_none() {
        let hint = "for instance `size = 10` for 0, 10, 20 ..";
        options.reader.missing("size", hint);
        return None;
    }
    let size = options.integer("size", 2..=i64::MAX, 2)?;
    Options::done(Bucket { size })
}

impl Mask for Bucket {
    fn traits(&self) -> Traits {
        BLURRED
    }

    fn apply(&self, input: Cell<'_>, _: &Context<'_>, _: &mut Vec<u8>) -> Result<Made, Fault> {
        let size = self.size;
        match input {
            Cell::Integer(number) => Ok(Made::Integer(
                number
                    .div_euclid(size)
                    .checked_mul(size)
                    .unwrap_or(i64::MIN),
            )),
            Cell::Real(number) => {
                let size = size as f64;
                Ok(Made::Real((number / size).floor() * size))
            }
            _ => Err(Fault::new("the value is not a number")),
        }
    }
}

/// Keeps the first characters of a text and hides the others: `10115` becomes `10***`.
#[derive(Debug)]
struct Generalize {
    keep: usize,
}

pub(super) fn generalize(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let keep = options.integer("keep", 0..=8, 2)? as usize;
    Options::done(Generalize { keep })
}

impl Mask for Generalize {
    fn traits(&self) -> Traits {
        Traits {
            identity: Identity::Open,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, input: Cell<'_>, _: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?;
        let count = text.chars().count();
        // A text no longer than what is kept would survive whole.
        let keep = self.keep.min(count.saturating_sub(1));
        for (n, c) in text.chars().enumerate() {
            let shown = if n < keep { c } else { '*' };
            out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(Made::Text)
    }
}

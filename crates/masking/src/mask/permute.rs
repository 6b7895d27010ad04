//! Masks for ids: one to one, so that keys stay keys.

use std::sync::Arc;

use super::{
    Alphabet, Context, Distinct, Fault, Identity, Made, Mask, Options, Permutation, Reuse, Traits,
    text_of,
};
use crate::batch::Cell;
use crate::schema::ColumnType;

/// Whole numbers within a declared range.
#[derive(Debug)]
struct PermuteInt {
    min: i64,
    size: u128,
    permutation: Permutation,
}

pub(super) fn permute_int(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let min = options.integer("min", i64::MIN..=i64::MAX, 0)?;
    let max = options.integer("max", i64::MIN..=i64::MAX, i64::MAX)?;
    if max <= min {
        let hint = "the range must hold every id of the column".to_owned();
        options
            .reader
            .reject("max", format!("`max` is not above {min}"), Some(hint));
        return None;
    }
    let size = (i128::from(max) - i128::from(min) + 1) as u128;
    let permutation = Permutation::new(size);
    Options::done(PermuteInt {
        min,
        size,
        permutation,
    })
}

impl Mask for PermuteInt {
    fn traits(&self) -> Traits {
        Traits {
            types: &[ColumnType::Integer],
            distinct: Distinct::Injective,
            max_len: Some(0),
            reuse: Reuse::Overlaps,
            identity: Identity::Chance(1.0 / self.size as f64),
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, _: &mut Vec<u8>) -> Result<Made, Fault> {
        let Cell::Integer(number) = input else {
            return Err(Fault::new("the value is not an integer"));
        };
        let offset = i128::from(number) - i128::from(self.min);
        if offset < 0 || offset as u128 >= self.size {
            return Err(Fault::new(
                "the id is outside the range of `permute_int`; widen `min` and `max`",
            ));
        }
        let image = self
            .permutation
            .image(cx.key.permutation(), 0, offset as u64);
        Ok(Made::Integer(
            (i128::from(self.min) + i128::from(image)) as i64,
        ))
    }

    fn redraws(&self) -> Option<Alphabet> {
        Some(Alphabet::Digits)
    }
}

/// Ids in text: letters and signs stay, the digits are permuted among all numbers as long.
#[derive(Debug)]
struct PermuteId;

pub(super) fn permute_id(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(PermuteId)
}

impl Mask for PermuteId {
    fn traits(&self) -> Traits {
        Traits {
            reuse: Reuse::Overlaps,
            identity: Identity::OfForm(Alphabet::Digits),
            ..Traits::text(Distinct::Injective, None)
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?.as_bytes();
        let digits = text.iter().filter(|byte| byte.is_ascii_digit());
        let (count, number) = digits.fold((0_u32, 0_u64), |(count, number), digit| {
            let number = number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'));
            (count + 1, number)
        });
        if !(1..=18).contains(&count) {
            return Err(Fault::new(
                "the id has no digits to permute, or more than 18; use `hash` or `uuid`",
            ));
        }
        let size = 10_u64.pow(count);
        let permutation = Permutation::new(u128::from(size));
        let mut image = permutation.image(cx.key.permutation(), u64::from(count), number);
        let start = out.len();
        out.extend_from_slice(text);
        let places = out[start..].iter_mut().rev();
        for digit in places.filter(|byte| byte.is_ascii_digit()) {
            *digit = b'0' + (image % 10) as u8;
            image /= 10;
        }
        Ok(Made::Text)
    }
    fn redraws(&self) -> Option<Alphabet> {
        Some(Alphabet::Digits)
    }
}

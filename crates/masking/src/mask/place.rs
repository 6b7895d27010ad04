//! Places and companies.

use std::sync::Arc;

use super::{Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits, push_decimal};
use crate::batch::Cell;
use crate::words;

const fn listed(max_len: usize) -> Traits {
    Traits {
        reuse: Reuse::Listed(words::is_listed),
        ..Traits::text(Distinct::Few, Some(max_len))
    }
}

/// A company named after people who bear common surnames.
#[derive(Debug)]
struct Company;

pub(super) fn company(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Company)
}

impl Mask for Company {
    fn traits(&self) -> Traits {
        Traits {
            // Real surnames make these companies, so a coincidence proves nothing.
            reuse: Reuse::Overlaps,
            ..Traits::text(Distinct::Few, Some(64))
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        words::push_company(&mut cx.digest(input).draws(), out);
        Ok(Made::Text)
    }
}

/// A street with house number, and with `full` a city behind it.
#[derive(Debug)]
struct Address {
    full: bool,
}

pub(super) fn address(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let full = options.flag("full");
    Options::done(Address { full })
}

impl Mask for Address {
    fn traits(&self) -> Traits {
        listed(if self.full { 60 } else { 30 })
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let mut draws = cx.digest(input).draws();
        words::push_street(&mut draws, out);
        if self.full {
            out.extend_from_slice(b", ");
            push_decimal(10_000 + draws.below(90_000), out);
            out.push(b' ');
            words::push_city(&mut draws, out);
        }
        Ok(Made::Text)
    }
}

#[derive(Debug)]
struct City;

pub(super) fn city(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(City)
}

impl Mask for City {
    fn traits(&self) -> Traits {
        listed(16)
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        words::push_city(&mut cx.digest(input).draws(), out);
        Ok(Made::Text)
    }
}

/// Keeps the format of a postcode: digits become digits, letters letters of the same case.
#[derive(Debug)]
struct Postcode;

pub(super) fn postcode(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Postcode)
}

impl Mask for Postcode {
    fn traits(&self) -> Traits {
        Traits {
            // Postcodes are few: another row's code comes up soon.
            reuse: Reuse::Overlaps,
            identity: Identity::Never,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = super::text_of(input)?;
        let mut draws = cx.digest(input).draws();
        let mut changed = false;
        for c in text.chars() {
            let made = match c {
                '0'..='9' => draws.digit(),
                'a'..='z' => draws.letter().to_ascii_lowercase(),
                c if c.is_alphabetic() => draws.letter(),
                c if c.is_ascii() => {
                    out.push(c as u8);
                    continue;
                }
                _ => b'-',
            };
            changed = true;
            out.push(made);
        }
        if !changed {
            // Signs alone: nothing of a postcode to keep.
            out.push(draws.digit());
        }
        Ok(Made::Text)
    }
}

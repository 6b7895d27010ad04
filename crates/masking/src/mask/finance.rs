//! Numbers with check digits: cards, IBANs and social security numbers.

use std::sync::Arc;

use super::{
    Context, Distinct, Fault, Made, Mask, Options, Traits, push_decimal, push_padded, text_of,
    utf8_of,
};
use crate::batch::Cell;
use crate::detect::{HitKind, TEST_BINS, iban_check_digits, luhn_check_digit, synthetic_bank};
use crate::key::Draws;

/// A card number as long and as grouped as the original, from the published test range nearest to
/// its brand, with a right Luhn digit.
#[derive(Debug)]
struct Card;

pub(super) fn card(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Card)
}

impl Mask for Card {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Few, None)
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?;
        let mut draws = cx.digest(input).draws();
        let count = text.bytes().filter(u8::is_ascii_digit).count();
        // What is no card number comes out as one of 16 digits.
        let like_card = (12..=19).contains(&count) && is_grouped_digits(text);
        let count = if like_card { count } else { 16 };
        let mut digits = [0; 19];
        let digits = &mut digits[..count];
        let first = text.bytes().find(u8::is_ascii_digit);
        digits[..6].copy_from_slice(TEST_BINS[brand(first)]);
        draws.fill(&mut digits[6..]);
        digits[count - 1] = luhn_check_digit(digits[..count - 1].iter().copied());
        if like_card {
            refill(text, digits, out);
        } else {
            out.extend_from_slice(digits);
        }
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Card)
    }
}

fn brand(first: Option<u8>) -> usize {
    match first {
        Some(b'5' | b'2') => 1,
        Some(b'3') => 2,
        Some(b'6') => 3,
        _ => 0,
    }
}

fn is_grouped_digits(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.all(|byte| byte.is_ascii_digit() || byte == b' ' || byte == b'-')
}

/// Writes `digits` in the places of the digits of `text`.
fn refill(text: &str, digits: &[u8], out: &mut Vec<u8>) {
    let mut next = digits.iter();
    out.extend(text.bytes().map(|byte| match byte {
        b'0'..=b'9' => next.next().copied().unwrap_or(b'0'),
        other => other,
    }));
}

/// An IBAN of the same country, length and grouping at a bank that does not exist, with right check
/// digits.
#[derive(Debug)]
struct Iban;

pub(super) fn iban(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Iban)
}

/// What stands in for the form of a value that is no IBAN.
const GERMAN: &[u8] = b"DE00000000000000000000";

impl Mask for Iban {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Few, Some(64))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = utf8_of(input)?;
        let (form, count) = match iban_len(text) {
            Some(count) => (text, count),
            None => (GERMAN, GERMAN.len()),
        };
        let mut compact = [0; 34];
        let compact = &mut compact[..count];
        if count == form.len() {
            compact.copy_from_slice(form);
        } else {
            let characters = form.iter().filter(|byte| **byte != b' ');
            let places = compact.iter_mut().zip(characters);
            places.for_each(|(place, byte)| *place = *byte);
        }
        replace_account(compact, &mut cx.digest(input).draws());
        if count == form.len() {
            out.extend_from_slice(compact);
            return Ok(Made::Text);
        }
        let mut next = compact.iter();
        out.extend(form.iter().map(|byte| {
            if *byte == b' ' {
                return b' ';
            }
            *next
                .next()
                .expect("one character for each that is no blank")
        }));
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Iban)
    }
}

/// Replaces bank and account of an IBAN without blanks, and its check digits.
fn replace_account(compact: &mut [u8], draws: &mut Draws) {
    compact[..2].make_ascii_uppercase();
    for (n, byte) in compact[4..8].iter_mut().enumerate() {
        *byte = synthetic_bank(n, *byte);
    }
    let mut digits = [0; 34 - 8];
    let digits = &mut digits[..compact.len() - 8];
    draws.fill(digits);
    for (byte, digit) in compact[8..].iter_mut().zip(digits) {
        *byte = if byte.is_ascii_digit() {
            *digit
        } else {
            draws.letter()
        };
    }
    let check = iban_check_digits(&compact[..2], &compact[4..]);
    compact[2..4].copy_from_slice(&check);
}

/// Returns how many characters that are no blanks an IBAN has, if the text looks like one.
fn iban_len(text: &[u8]) -> Option<usize> {
    if let [a, b, c, d, account @ ..] = text
        && (11..=30).contains(&account.len())
        && a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
        && c.is_ascii_digit()
        && d.is_ascii_digit()
        && account.iter().all(u8::is_ascii_alphanumeric)
    {
        return Some(text.len());
    }
    let mut len = 0;
    for byte in text {
        let fits = match len {
            0 | 1 => byte.is_ascii_alphabetic(),
            2 | 3 => byte.is_ascii_digit() || *byte == b' ',
            _ => byte.is_ascii_alphanumeric() || *byte == b' ',
        };
        if !fits {
            return None;
        }
        len += usize::from(*byte != b' ');
    }
    ((15..=34).contains(&len) && text.len() <= 64).then_some(len)
}

/// A number with an area of 9xx and a group that is no taxpayer's either: well-formed, never given
/// out.
#[derive(Debug)]
struct Ssn;

pub(super) fn ssn(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Ssn)
}

impl Mask for Ssn {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Few, Some(11))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?;
        let mut draws = cx.digest(input).draws();
        let plain = text.len() == 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        let dash = if plain { &b""[..] } else { b"-" };
        push_decimal(900 + draws.below(100), out);
        out.extend_from_slice(dash);
        push_padded(1 + draws.below(49), 2, out);
        out.extend_from_slice(dash);
        push_padded(1 + draws.below(9999), 4, out);
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Ssn)
    }
}

/// The masks for finds in text, where rules name no domain.
pub(super) fn any_card() -> Arc<dyn Mask> {
    Arc::new(Card)
}

/// See [`any_card`].
pub(super) fn any_iban() -> Arc<dyn Mask> {
    Arc::new(Iban)
}

/// See [`any_card`].
pub(super) fn any_ssn() -> Arc<dyn Mask> {
    Arc::new(Ssn)
}

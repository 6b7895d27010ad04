//! E-mail addresses and phone numbers that reach nobody.

use std::sync::Arc;

use super::{Context, Distinct, Fault, Made, Mask, Options, Reuse, Traits, text_of, utf8_of};
use crate::batch::Cell;
use crate::detect::{HitKind, country_code_len};
use crate::key::{Digest, Draws};
use crate::words::{FIRST_NAME_MAX, Locale, PersonName, SURNAME_MAX};

/// Domains that RFC 2606 keeps from everybody.
const DOMAINS: [&[u8]; 3] = [b"@example.com", b"@example.net", b"@example.org"];

/// `clara.harrowick7k2m@example.net`; with `unique` the part before the at sign ends in 60 bits of
/// the keyed hash, which with the name tells 2^79 addresses apart.
#[derive(Debug)]
struct Email {
    unique: bool,
}

const SUFFIX: usize = 4;
pub(super) const UNIQUE_SUFFIX: usize = 12;

pub(super) fn email(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let unique = options.flag("unique");
    Options::done(Email { unique })
}

impl Email {
    fn suffix_len(&self) -> usize {
        if self.unique { UNIQUE_SUFFIX } else { SUFFIX }
    }
}

impl Mask for Email {
    fn traits(&self) -> Traits {
        // 7 bits of first names and 11 of surnames, 5 per character of the suffix.
        let bits = 18.0 + 5.0 * self.suffix_len() as f64;
        let max_len = FIRST_NAME_MAX + 1 + SURNAME_MAX + self.suffix_len() + 12;
        Traits {
            reuse: Reuse::Leak,
            ..Traits::text(Distinct::Bits(bits), Some(max_len))
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        utf8_of(input)?;
        push_email(&cx.digest(input), self.suffix_len(), Locale::En, out);
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Email)
    }
}

/// Appends an address whose user is the name that belongs to `digest`, and a suffix.
///
/// The name takes the first word of the digest, the suffix up to 60 bits of the second.
pub(super) fn push_email(digest: &Digest, suffix_len: usize, locale: Locale, out: &mut Vec<u8>) {
    const BASE32: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut draws = digest.draws();
    let name = PersonName::draw(locale, &mut draws);
    let start = out.len();
    name.push_first(out);
    out.push(b'.');
    name.push_surname(out);
    out[start..].make_ascii_lowercase();
    let bits = digest.second();
    let suffix: [u8; UNIQUE_SUFFIX] =
        std::array::from_fn(|n| BASE32[(bits >> (5 * n) & 31) as usize]);
    out.extend_from_slice(&suffix[..suffix_len]);
    out.extend_from_slice(DOMAINS[draws.below(3) as usize]);
}

/// After so many attempts it is sure that nothing of a number is drawn: `0`, or a country's code alone.
const NOTHING_DRAWN: u8 = 8;

/// A phone number in the same format that nobody can have.
///
/// North American numbers get 555-01xx, set aside for fiction in every area; in all other plans the
/// national part starts with 00, which no plan gives out. Without `keep_country` the country code
/// becomes that of no country, 999. Letters become `x`: they may be a name.
#[derive(Debug)]
struct Phone {
    keep_country: bool,
}

pub(super) fn phone(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let keep_country = options.flag("keep_country");
    Options::done(Phone { keep_country })
}

impl Mask for Phone {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Few, None)
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let bytes = utf8_of(input)?;
        let is_ascii = bytes.is_ascii();
        let mut digits = [0_u8; 32];
        let mut count = 0;
        let found = bytes.iter().filter(|byte| byte.is_ascii_digit());
        for byte in found.take(digits.len()) {
            digits[count] = *byte;
            count += 1;
        }
        let digits = &mut digits[..count];
        let plus = match bytes.first() {
            Some(first) if first.is_ascii_graphic() => *first == b'+',
            _ => text_of(input)?.trim_start().starts_with('+'),
        };
        self.replace(plus, digits, &mut cx.digest(input).draws());
        let mut next = digits.iter();
        if is_ascii {
            out.extend(bytes.iter().map(|byte| match byte {
                b'0'..=b'9' => next.next().copied().unwrap_or(b'0'),
                byte if byte.is_ascii_alphabetic() => b'x',
                other => *other,
            }));
        } else {
            out.extend(text_of(input)?.chars().map(|c| match c {
                // Digits beyond any phone number are not kept.
                '0'..='9' => next.next().copied().unwrap_or(b'0'),
                c if c.is_alphabetic() || !c.is_ascii() => b'x',
                other => other as u8,
            }));
        }
        // What would come out unchanged.
        if count == 0 && !text_of(input)?.chars().any(char::is_alphabetic) {
            out.push(b'0');
        } else if let (NOTHING_DRAWN.., Some(last)) = (cx.attempt, out.last_mut()) {
            *last = match *last {
                b'0' => b'1',
                b'x' => b'y',
                _ => b'0',
            };
        }
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Phone)
    }
}

impl Phone {
    fn replace(&self, plus: bool, digits: &mut [u8], draws: &mut Draws) {
        let prefix = if plus {
            0
        } else if digits.starts_with(b"00") && !digits.starts_with(b"000") {
            2
        } else {
            return replace_national(digits, draws);
        };
        let number = &mut digits[prefix..];
        let code_len = country_code_len(number);
        if number.first() == Some(&b'1') && number.len() == 11 && self.keep_country {
            return fictional_nanp(&mut number[1..], draws);
        }
        if !self.keep_country {
            let code_len = number.len().min(3);
            number[..code_len].fill(b'9');
            return unassigned(&mut number[code_len..], draws);
        }
        unassigned(&mut number[code_len..], draws);
    }
}

fn replace_national(digits: &mut [u8], draws: &mut Draws) {
    match digits.len() {
        10 if digits[0] >= b'2' => fictional_nanp(digits, draws),
        11 if digits[0] == b'1' => fictional_nanp(&mut digits[1..], draws),
        // The trunk zero and the two that nobody has.
        _ => {
            let zeros = digits.len().min(3);
            digits[..zeros].fill(b'0');
            draws.fill(&mut digits[zeros..]);
        }
    }
}

fn fictional_nanp(ten: &mut [u8], draws: &mut Draws) {
    ten[0] = b'2' + draws.below(8) as u8;
    draws.fill(&mut ten[1..3]);
    ten[3..8].copy_from_slice(b"55501");
    draws.fill(&mut ten[8..]);
}

fn unassigned(national: &mut [u8], draws: &mut Draws) {
    let zeros = national.len().min(2);
    national[..zeros].fill(b'0');
    draws.fill(&mut national[zeros..]);
}

/// The mask for addresses found in text, where rules name no domain.
pub(super) fn any_email() -> Arc<dyn Mask> {
    Arc::new(Email { unique: false })
}

/// The mask for numbers found in text, where rules name no domain.
pub(super) fn any_phone() -> Arc<dyn Mask> {
    Arc::new(Phone { keep_country: true })
}

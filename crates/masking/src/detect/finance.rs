//! IBANs and payment cards: check digits and reserved ranges.

use super::{Hit, HitKind, stands_alone};

/// Prefixes that payment services publish for tests; our `card` mask uses them.
pub(crate) const TEST_BINS: [&[u8; 6]; 4] = [b"424242", b"555555", b"378282", b"601111"];

/// Returns the digit that makes `digits` pass the Luhn check (ISO/IEC 7812-1).
pub(crate) fn luhn_check_digit(digits: impl DoubleEndedIterator<Item = u8>) -> u8 {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let value = u32::from(digit - b'0') << u32::from(n % 2 == 0);
            value / 10 + value % 10
        })
        .sum();
    b'0' + ((10 - sum % 10) % 10) as u8
}

/// Reports whether `digits` are a card number: known prefix, its length, right check digit.
pub(super) fn is_card(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    known_prefix(digits) && luhn_check_digit(body.iter().copied()) == *check
}

fn known_prefix(digits: &[u8]) -> bool {
    let len = digits.len();
    if len < 13 {
        return false;
    }
    let four = digits[..4]
        .iter()
        .fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    match four {
        // Cards of 13 digits are no longer issued, and every tenth EAN would pass for one.
        4000..=4999 => matches!(len, 16 | 19),
        5100..=5599 | 2221..=2720 => len == 16,
        3400..=3499 | 3700..=3799 => len == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => len == 14,
        6011 | 6440..=6599 | 3528..=3589 | 6200..=6299 => (16..=19).contains(&len),
        5000 | 5600..=5899 | 6300..=6399 | 6700..=6799 => (13..=19).contains(&len),
        _ => false,
    }
}

/// Reports whether a card number is from a test range.
pub(super) fn is_test_card(digits: &[u8]) -> bool {
    TEST_BINS.iter().any(|bin| digits.starts_with(*bin))
}

/// Returns the check digits of an IBAN from its country and account part (ISO 7064, MOD 97-10).
pub(crate) fn iban_check_digits(country: &[u8], account: &[u8]) -> [u8; 2] {
    let rest = appended(appended(appended(0, account), country), b"00");
    let check = 98 - rest % 97;
    [b'0' + (check / 10) as u8, b'0' + (check % 10) as u8]
}

/// Writes characters behind a number, which is kept small modulo 97.
///
/// Four digits at a time: each step waits for the one before it.
fn appended(number: u64, characters: &[u8]) -> u64 {
    let (fours, rest) = characters.as_chunks::<4>();
    let number = fours.iter().fold(number, |number, four| {
        if !four.iter().all(u8::is_ascii_digit) {
            return four.iter().fold(number, append);
        }
        let [a, b, c, d] = four.map(|digit| u64::from(digit - b'0'));
        small(number) * 10_000 + (a * 10 + b) * 100 + (c * 10 + d)
    });
    rest.iter().fold(number, append)
}

fn append(number: u64, character: &u8) -> u64 {
    match character {
        b'0'..=b'9' => small(number) * 10 + u64::from(character - b'0'),
        _ => small(number) * 100 + u64::from(character.to_ascii_uppercase() - b'A') + 10,
    }
}

/// Dividing is slow, so it waits until four more digits might not fit.
fn small(number: u64) -> u64 {
    if number > u64::MAX / 20_000 {
        return number % 97;
    }
    number
}

/// How long the IBANs of some countries are; others may have 15 to 34 characters.
fn iban_length(country: &[u8]) -> Option<usize> {
    Some(match country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"NL" => 18,
        b"AT" | b"LU" | b"LT" | b"EE" => 20,
        b"CH" | b"LI" | b"LV" | b"HR" => 21,
        b"DE" | b"GB" | b"IE" | b"BG" => 22,
        b"ES" | b"SE" | b"CZ" | b"SK" | b"RO" => 24,
        b"PT" => 25,
        b"FR" | b"IT" | b"MC" | b"GR" => 27,
        b"PL" | b"HU" | b"CY" => 28,
        b"MT" => 31,
        _ => return None,
    })
}

pub(super) fn find_ibans(text: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(u8::is_ascii_uppercase) {
        at += found;
        match text[at..] {
            [_, b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9', ..] => match iban_at(text, at) {
                Some(hit) => {
                    at = hit.range.end;
                    hits.push(hit);
                }
                None => at += 2,
            },
            _ => at += 1,
        }
    }
}

pub(super) fn iban_at(text: &[u8], start: usize) -> Option<Hit> {
    let mut compact = [0; 34];
    let mut ends = [0; 34];
    let mut len = 0;
    let mut spaces = 0;
    for (n, &byte) in text[start..].iter().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' if len < 34 => {
                compact[len] = byte;
                ends[len] = start + n + 1;
                len += 1;
                spaces = 0;
            }
            b' ' | b'-' if spaces == 0 => spaces = 1,
            _ => break,
        }
    }
    let valid = |len: usize| {
        let range = start..ends[len - 1];
        let rest = || appended(appended(0, &compact[4..len]), &compact[..4]) % 97;
        (stands_alone(text, &range) && rest() == 1).then_some(range)
    };
    let range = match iban_length(&compact[..2]) {
        Some(fixed) if len >= fixed => valid(fixed)?,
        Some(_) => return None,
        None => (15..=len).rev().find_map(valid)?,
    };
    let bank = &compact[4..8];
    Some(Hit {
        kind: HitKind::Iban,
        range,
        synthetic: is_synthetic_bank(bank),
    })
}

/// Returns the character of a bank code that no bank has, at place `n` of it.
///
/// Our `iban` mask starts the account part with `0000`, and with `TEST` where letters belong.
pub(crate) fn synthetic_bank(n: usize, original: u8) -> u8 {
    if original.is_ascii_digit() {
        b'0'
    } else {
        b"TEST"[n % 4]
    }
}

fn is_synthetic_bank(bank: &[u8]) -> bool {
    let mut characters = bank.iter().enumerate();
    characters.all(|(n, byte)| synthetic_bank(n, *byte) == *byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_match_published_examples() {
        assert_eq!(luhn_check_digit(b"411111111111111".iter().copied()), b'1');
        assert_eq!(luhn_check_digit(b"37828224631000".iter().copied()), b'5');
        assert_eq!(&iban_check_digits(b"DE", b"370400440532013000"), b"89");
        assert_eq!(&iban_check_digits(b"GB", b"NWBK60161331926819"), b"29");
    }

    #[test]
    fn a_number_is_kept_small_however_long_it_is() {
        for text in [
            "0",
            "98765",
            "370400440532013000131400",
            "NWBK60161331926819GB29",
            "99999999999999999999ZZZZ9999ZZ",
        ] {
            let digits: String = text
                .chars()
                .map(|c| c.to_digit(36).unwrap().to_string())
                .collect();
            let rest = digits
                .bytes()
                .fold(0, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97);
            assert_eq!(appended(0, text.as_bytes()) % 97, rest, "{text}");
        }
    }

    #[test]
    fn a_card_needs_its_prefix_and_length() {
        assert!(is_card(b"4111111111111111"));
        assert!(!is_card(b"411111111111116"), "15 digits are no Visa");
        assert!(!is_card(b"9111111111111110"));
    }
}

//! Numbers that states give to people, where check digits or a rare form tell them from other numbers.
//!
//! Left out is what one in a hundred of other numbers would pass for: bare digits with one check digit,
//! such as a Polish PESEL, a Dutch BSN or a Turkish kimlik.

use super::number::Phrase;
use super::{Hit, HitKind, stands_alone};
use crate::signs::Signs;

/// Judges digits with signs between them; `None` if they are no such number.
pub(super) fn judge(phrase: &Phrase<'_>) -> Option<bool> {
    let digits = phrase.digits();
    let valid = match (digits.len(), phrase.groups()) {
        (13 | 14, [3, 4, 4, 2] | [13]) => is_swiss(digits),
        (15, [15] | [1, 2, 2, 2, 3, 3, 2] | [13, 2]) => is_french(digits),
        (11, [3, 3, 3, 2]) => phrase.text[11] == b'-' && is_brazilian(digits),
        (11, [11]) => is_german(digits) || is_norwegian(digits) || is_belgian(digits),
        (11, [2, 2, 2, 3, 2]) => is_belgian(digits),
        (11, [2, 3, 3, 3]) => is_german(digits),
        (11, [6, 5]) => is_norwegian(digits),
        (10, [6, 4]) if phrase.separated_by(b"-+") => is_swedish(digits),
        (12, [8, 4]) if phrase.separated_by(b"-+") => is_swedish(&digits[2..]),
        (10, [6, 4]) if phrase.separated_by(b"/") => is_czech(digits),
        (9, [3, 3, 3]) if phrase.separated_by(b" -") => is_canadian(digits),
        (12, [4, 4, 4]) if phrase.separated_by(b" -") => is_indian(digits),
        (13, [6, 7]) if phrase.separated_by(b"-") => is_korean(digits),
        (18, [18]) => is_chinese(digits, digits[17]),
        _ => false,
    };
    valid.then_some(false)
}

/// Reports whether a text may hold a number with letters in it.
///
/// All have a capital, but for Chinese ones with a small `x` behind 17 digits, and Finnish ones with a
/// dash and digits alone.
pub(super) fn may_be_there(signs: &Signs) -> bool {
    signs.has_upper()
        || signs.dashes() > 0 && signs.digits() >= 9
        || signs.has_lower() && signs.digits() >= 17
}

/// Finds numbers with letters in them.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0;
    while at < text.len() {
        if !text[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let len = text[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
            .count();
        let word = &text[at..at + len];
        let word = word.strip_suffix(b"-").unwrap_or(word);
        // All of them are short, and most of their signs are digits.
        let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
        if word.len() == 2 {
            if let Some((end, synthetic)) = spaced_british(text, at) {
                hits.push(hit(at..end, synthetic));
            }
        } else if (9..=18).contains(&word.len()) && digits >= 6 {
            let range = at..at + word.len();
            let found = with_letters(word).filter(|_| stands_alone(text, &range));
            hits.extend(found.map(|synthetic| hit(range, synthetic)));
        }
        at += len;
    }
}

fn hit(range: std::ops::Range<usize>, synthetic: bool) -> Hit {
    Hit {
        kind: HitKind::NationalId,
        range,
        synthetic,
    }
}

fn with_letters(word: &[u8]) -> Option<bool> {
    match word.len() {
        9 if is_spanish(word) => Some(false),
        10 if word[8] == b'-' => {
            let mut joined = [0; 9];
            joined[..8].copy_from_slice(&word[..8]);
            joined[8] = word[9];
            is_spanish(&joined).then_some(false)
        }
        9 => british(word),
        11 if is_finnish(word) => Some(false),
        16 if is_italian(word) => Some(false),
        18 if all_digits(&word[..17]) && word[17].eq_ignore_ascii_case(&b'X') => {
            is_chinese(word, b'X').then_some(false)
        }
        _ => None,
    }
}

fn all_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn value(digit: u8) -> u64 {
    u64::from(digit - b'0')
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + value(*digit))
}

/// Adds up digits, each with its weight.
fn weighted(digits: &[u8], weights: impl IntoIterator<Item = u64>) -> u64 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| value(*digit) * weight)
        .sum()
}

/// Month and day of the calendar.
fn is_day(month: &[u8], day: &[u8]) -> bool {
    (1..=12).contains(&number(month)) && (1..=31).contains(&number(day))
}

fn luhn(digits: &[u8]) -> bool {
    digits.split_last().is_some_and(|(check, body)| {
        super::finance::luhn_check_digit(body.iter().copied()) == *check
    })
}

/// AHV number: 756 and the check digit of an EAN.
fn is_swiss(digits: &[u8]) -> bool {
    digits.len() == 13
        && digits.starts_with(b"756")
        && weighted(digits, [1, 3].into_iter().cycle()).is_multiple_of(10)
}

/// NIR: sex, year, month, place and 97 minus the rest.
fn is_french(digits: &[u8]) -> bool {
    matches!(digits[0], b'1' | b'2')
        && ((1..=12).contains(&number(&digits[3..5])) || (20..=42).contains(&number(&digits[3..5])))
        && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
}

/// CPF: two check digits modulo 11.
fn is_brazilian(digits: &[u8]) -> bool {
    let check = |len: usize| {
        let sum = weighted(&digits[..len], (2..=len as u64 + 1).rev());
        (sum * 10 % 11) % 10 == value(digits[len])
    };
    digits.iter().any(|digit| *digit != digits[0]) && check(9) && check(10)
}

/// Tax id: of the first ten digits exactly one comes two or three times, and ISO 7064 MOD 11,10.
fn is_german(digits: &[u8]) -> bool {
    let mut counts = [0; 10];
    digits[..10]
        .iter()
        .for_each(|digit| counts[value(*digit) as usize] += 1);
    let again: Vec<_> = counts.iter().filter(|count| **count > 1).collect();
    let product = digits[..10].iter().fold(10, |product, digit| {
        let sum = (value(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    digits[0] != b'0' && matches!(again[..], [2 | 3]) && (11 - product) % 10 == value(digits[10])
}

/// Fødselsnummer: a day, and two check digits modulo 11.
fn is_norwegian(digits: &[u8]) -> bool {
    is_day(&digits[2..4], &digits[..2])
        && weighted(digits, [3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// National number: a day, and 97 minus the rest; births from 2000 on count with a 2 in front.
fn is_belgian(digits: &[u8]) -> bool {
    let check = number(&digits[9..]);
    let body = number(&digits[..9]);
    is_day(&digits[2..4], &digits[4..6])
        && [body, body + 2_000_000_000]
            .iter()
            .any(|body| 97 - body % 97 == check)
}

fn is_swedish(digits: &[u8]) -> bool {
    is_day(&digits[2..4], &digits[4..6]) && luhn(digits)
}

/// Rodné číslo: women's months count from 51, and all ten digits are a multiple of 11.
fn is_czech(digits: &[u8]) -> bool {
    let month = number(&digits[2..4]) % 50;
    (1..=12).contains(&(month % 20))
        && (1..=31).contains(&number(&digits[4..6]))
        && number(digits).is_multiple_of(11)
}

fn is_canadian(digits: &[u8]) -> bool {
    !matches!(digits[0], b'0' | b'8') && luhn(digits)
}

/// Aadhaar: the check digit of Verhoeff.
fn is_indian(digits: &[u8]) -> bool {
    const MULTIPLY: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let check = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0, |check, (n, digit)| {
            let permuted = (0..n % 8).fold(value(*digit) as u8, |at, _| PERMUTE[usize::from(at)]);
            MULTIPLY[usize::from(check)][usize::from(permuted)]
        });
    digits[0] >= b'2' && check == 0
}

fn is_korean(digits: &[u8]) -> bool {
    let sum = weighted(&digits[..12], [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    is_day(&digits[2..4], &digits[4..6]) && (11 - sum % 11) % 10 == value(digits[12])
}

/// Resident id: a day, and ISO 7064 MOD 11-2.
fn is_chinese(word: &[u8], check: u8) -> bool {
    const CHECKS: &[u8; 11] = b"10X98765432";
    let sum = weighted(
        &word[..17],
        [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
    );
    matches!(&word[6..8], b"19" | b"20")
        && is_day(&word[10..12], &word[12..14])
        && CHECKS[(sum % 11) as usize] == check
}

/// DNI and NIE: a letter by the rest of 23.
fn is_spanish(word: &[u8]) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let first = match word[0] {
        digit @ b'0'..=b'9' => digit,
        b'X' => b'0',
        b'Y' => b'1',
        b'Z' => b'2',
        _ => return false,
    };
    all_digits(&word[1..8])
        && LETTERS[((value(first) * 10_000_000 + number(&word[1..8])) % 23) as usize] == word[8]
}

/// National insurance number: no check digit, but letters that are rarely together. `ZZ` is nobody's.
fn british(word: &[u8]) -> Option<bool> {
    const NEVER: [&[u8]; 6] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN"];
    let (letters, rest) = word.split_at(2);
    let possible = letters
        .iter()
        .all(|letter| letter.is_ascii_uppercase() && !b"DFIQUV".contains(letter))
        && letters[1] != b'O'
        && !NEVER.contains(&letters);
    (possible && all_digits(&rest[..6]) && (b'A'..=b'D').contains(&rest[6])
        || letters == b"ZZ" && all_digits(&rest[..6]) && rest[6].is_ascii_uppercase())
    .then_some(letters == b"ZZ")
}

/// `AB 12 34 56 C` or `AB 123456 C`
fn spaced_british(text: &[u8], at: usize) -> Option<(usize, bool)> {
    [&[2, 5, 8, 11][..], &[2, 9]]
        .into_iter()
        .find_map(|blanks| {
            let end = at + 9 + blanks.len();
            let written = text.get(at..end)?;
            let in_place = |(n, byte): (usize, &u8)| blanks.contains(&n) == (*byte == b' ');
            if !written.iter().enumerate().all(in_place) || !stands_alone(text, &(at..end)) {
                return None;
            }
            let joined: Vec<u8> = written
                .iter()
                .copied()
                .filter(|byte| *byte != b' ')
                .collect();
            Some((end, british(&joined)?))
        })
}

/// Henkilötunnus: a day, a sign for the century, a number, and a sign by the rest of 31.
fn is_finnish(word: &[u8]) -> bool {
    const SIGNS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let digits = all_digits(&word[..6]) && all_digits(&word[7..10]);
    digits
        && b"-ABCDEFUVWXY".contains(&word[6])
        && is_day(&word[2..4], &word[..2])
        && SIGNS[((number(&word[..6]) * 1_000 + number(&word[7..10])) % 31) as usize] == word[10]
}

/// Codice fiscale: letters and digits in their places, and a letter over all of them.
fn is_italian(word: &[u8]) -> bool {
    const ODD: [u64; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let in_place = word.iter().enumerate().all(|(n, byte)| match n {
        0..=5 | 8 | 11 | 15 => byte.is_ascii_uppercase(),
        // People who would share one have letters in place of digits.
        _ => byte.is_ascii_digit() || b"LMNPQRSTUV".contains(byte),
    });
    if !in_place {
        return false;
    }
    let sum: u64 = word[..15]
        .iter()
        .enumerate()
        .map(|(n, byte)| {
            let at = if byte.is_ascii_digit() {
                byte - b'0'
            } else {
                byte - b'A'
            };
            if n % 2 == 0 {
                ODD[usize::from(at)]
            } else {
                u64::from(at)
            }
        })
        .sum();
    b'A' + (sum % 26) as u8 == word[15]
}

#[cfg(test)]
mod tests {
    use super::super::{HitKind, detect};

    #[test]
    fn published_examples_are_found_and_their_neighbours_are_not() {
        for (real, other) in [
            ("12345678Z", "12345678A"),
            ("X1234567L", "X1234567M"),
            ("RSSMRA85T10A562S", "RSSMRA85T10A562T"),
            ("756.9217.0769.85", "756.9217.0769.86"),
            ("111.444.777-35", "111.444.777-36"),
            ("131052-308T", "131052-308U"),
            ("811228-9874", "811228-9875"),
            ("193 456 787", "193 456 788"),
            ("2341 2341 2346", "2341 2341 2347"),
            ("11010519491231002X", "110105194912310021"),
            ("86095742719", "86095742718"),
            ("85.07.30-033.28", "85.07.30-033.29"),
        ] {
            let kinds = |text: &str| {
                let hits = detect(text.as_bytes());
                hits.iter().map(|hit| hit.kind).collect::<Vec<_>>()
            };
            assert_eq!(
                kinds(&format!("id {real} here")),
                [HitKind::NationalId],
                "{real}"
            );
            assert!(
                !kinds(&format!("id {other} here")).contains(&HitKind::NationalId),
                "{other}"
            );
        }
    }
}

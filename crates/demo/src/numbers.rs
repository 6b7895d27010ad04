//! Numbers with check digits: payment cards and IBANs.

use rand::RngExt;

/// Card prefixes in the ranges of real issuers; none belongs to a published test number.
const CARD_PREFIXES: [&str; 10] = [
    "414718", "448562", "455673", "491761", "402946", "522184", "534817", "541363", "517652",
    "223816",
];

/// Draws a 16-digit card number whose Luhn sum holds.
pub(crate) fn card(rng: &mut impl RngExt) -> String {
    let mut number = String::with_capacity(16);
    number.push_str(CARD_PREFIXES[rng.random_range(0..CARD_PREFIXES.len())]);
    for _ in 0..9 {
        number.push(digit(rng));
    }
    // With a zero appended every earlier digit has its final position, so the sum of the whole
    // tells the digit that is missing to the next ten.
    let missing = (10 - luhn_sum(&format!("{number}0")) % 10) % 10;
    number.push(char::from(b'0' + missing as u8));
    number
}

/// Returns the Luhn sum (ISO/IEC 7812-1, annex B); a valid number's is divisible by ten.
fn luhn_sum(number: &str) -> u32 {
    let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0'));
    digits
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum()
}

/// Draws an IBAN for `country` whose account part follows `pattern`; [`fill`] explains patterns.
pub(crate) fn iban(rng: &mut impl RngExt, country: &str, pattern: &str) -> String {
    let account = fill(rng, pattern);
    let check = 98 - iban_remainder(&format!("{country}00{account}"));
    format!("{country}{check:02}{account}")
}

/// Returns the remainder of ISO 13616 (mod 97-10); a valid IBAN's is 1.
fn iban_remainder(iban: &str) -> u32 {
    let (head, account) = iban.split_at(4);
    let mut remainder = 0;
    for byte in account.bytes().chain(head.bytes()) {
        remainder = match byte {
            b'0'..=b'9' => remainder * 10 + u32::from(byte - b'0'),
            _ => remainder * 100 + u32::from(byte - b'A') + 10,
        } % 97;
    }
    remainder
}

/// Fills a pattern: `#` becomes a digit, `^` one from 2 to 9, `@` a capital letter; all
/// else stays.
pub(crate) fn fill(rng: &mut impl RngExt, pattern: &str) -> String {
    pattern
        .chars()
        .map(|symbol| match symbol {
            '#' => digit(rng),
            '^' => char::from(b'2' + rng.random_range(0..8_u8)),
            '@' => char::from(b'A' + rng.random_range(0..26_u8)),
            other => other,
        })
        .collect()
}

fn digit(rng: &mut impl RngExt) -> char {
    char::from(b'0' + rng.random_range(0..10_u8))
}

/// Reports whether a card number's Luhn sum holds.
#[cfg(test)]
pub(crate) fn is_card(number: &str) -> bool {
    number.len() == 16
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && luhn_sum(number).is_multiple_of(10)
}

/// Reports whether an IBAN's check digits hold.
#[cfg(test)]
pub(crate) fn is_iban(iban: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    iban.len() > 14 && iban.bytes().all(sound) && iban_remainder(iban) == 1
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn the_checks_know_published_examples() {
        // The examples of the ISO 13616 registry and of the card schemes' test pages.
        for iban in ["DE89370400440532013000", "GB82WEST12345698765432"] {
            assert!(is_iban(iban), "{iban}");
        }
        assert!(!is_iban("DE88370400440532013000"));
        assert!(is_card("4111111111111111"));
        assert!(!is_card("4111111111111112"));
    }

    #[test]
    fn drawn_numbers_pass_their_checks() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        for _ in 0..2_000 {
            let card = card(&mut rng);
            assert!(is_card(&card), "{card}");
            let iban = iban(&mut rng, "NL", "@@@@##########");
            assert!(is_iban(&iban), "{iban}");
        }
    }
}

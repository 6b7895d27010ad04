//! Detectors: personal and secret values recognised by their own form.
//!
//! Owns recognition in plain text and the judgement whether a find is synthetic, that is, from a
//! range reserved for examples, tests or fiction, as our own masks make it. A production value
//! that stands in such a range is invisible here; the value reuse gate finds those.

mod finance;
mod name;
mod national;
mod network;
mod number;
mod phone;
#[cfg(test)]
mod plainly;
mod secret;

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use finance::{TEST_BINS, iban_check_digits, luhn_check_digit, synthetic_bank};
pub(crate) use name::{NameLike, name_like};
pub(crate) use phone::country_code_len;

use crate::signs::Signs;

/// What a detector found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitKind {
    /// An e-mail address.
    Email,
    /// A payment card number with a known prefix and a right Luhn digit.
    Card,
    /// An IBAN with right check digits.
    Iban,
    /// A phone number in international or grouped form.
    Phone,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A US social security number.
    Ssn,
    /// A JSON web token.
    Jwt,
    /// A key or token of a cloud or code service, or a private key.
    CloudKey,
    /// A number that a state gives to a person, with right check digits.
    NationalId,
    /// Names of people, judged over a whole column and never found in a single text.
    Name,
}

impl HitKind {
    /// All kinds with their names.
    const NAMES: [(HitKind, &'static str); 10] = [
        (HitKind::Email, "email"),
        (HitKind::Card, "card"),
        (HitKind::Iban, "iban"),
        (HitKind::Phone, "phone"),
        (HitKind::Ip, "ip"),
        (HitKind::Ssn, "ssn"),
        (HitKind::Jwt, "jwt"),
        (HitKind::CloudKey, "cloud_key"),
        (HitKind::NationalId, "national_id"),
        (HitKind::Name, "name"),
    ];

    /// Returns the name used in rules and reports.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(kind, _)| *kind == self)
            .map_or("unknown", |(_, name)| name)
    }
}

impl FromStr for HitKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(_, name)| *name).collect();
            format!("`{text}` is no detector; there are {}", names.join(", "))
        })
    }
}

/// One find in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub kind: HitKind,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// Whether it is from a range reserved for examples, tests or fiction.
    pub synthetic: bool,
}

/// Finds everything in `text`, in order and without overlaps.
pub fn detect(text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    detect_into(text, &Signs::of(text), &mut hits);
    hits
}

/// Puts everything that is found in `text` into `hits`, instead of what is there.
///
/// The signs rule out most kinds for most texts, and cost less than one search.
pub(crate) fn detect_into(text: &[u8], signs: &Signs, hits: &mut Vec<Hit>) {
    hits.clear();
    if signs.digits() >= NUMBER_DIGITS_MIN && number::is_timestamp(text) {
        return;
    }
    secret::find(text, signs, hits);
    if signs.digits() >= 2 && signs.has_upper() && text.len() >= IBAN_MIN {
        finance::find_ibans(text, hits);
    }
    if signs.has_colon() {
        network::find_ipv6(text, hits);
    }
    if signs.digits() >= NATIONAL_DIGITS_MIN && national::may_be_there(signs) {
        national::find(text, hits);
    }
    if signs.digits() >= NUMBER_DIGITS_MIN {
        number::find(text, hits);
    }
    if hits.len() > 1 {
        drop_overlaps(hits);
    }
}

/// Where finds overlap, the one that starts first and reaches farthest is the real one.
fn drop_overlaps(hits: &mut Vec<Hit>) {
    hits.sort_by_key(|hit| (hit.range.start, usize::MAX - hit.range.end));
    let mut end = 0;
    hits.retain(|hit| {
        let free = hit.range.start >= end;
        if free {
            end = hit.range.end;
        }
        free
    });
}

/// Shortest IBAN: country and check digits, two of each, and 11 more.
const IBAN_MIN: usize = 15;
/// Fewest digits of a number that a state gives to a person and writes with letters: `AB123456C`.
const NATIONAL_DIGITS_MIN: usize = 6;
/// Fewest digits of what is written with separators: an IPv4 address such as `10.1.2.3`.
const NUMBER_DIGITS_MIN: usize = 5;

/// Reports whether no letter or digit stands directly before and after `range`.
fn stands_alone(text: &[u8], range: &Range<usize>) -> bool {
    let joined = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let before = range.start.checked_sub(1).and_then(|at| text.get(at));
    !joined(before) && !joined(text.get(range.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(HitKind, &str, bool)> {
        detect(text.as_bytes())
            .into_iter()
            .map(|hit| (hit.kind, &text[hit.range], hit.synthetic))
            .collect()
    }

    #[test]
    fn personal_values_are_found_in_running_text() {
        let found = kinds(
            "Call Maria (+49 30 1234567) or mail maria.k@web.de, card 4111 1111 1111 1111, \
             IBAN DE89 3704 0044 0532 0130 00; host 10.20.30.40 and 2a02:8108::17, SSN 123-45-6789.",
        );
        assert_eq!(
            found,
            [
                (HitKind::Phone, "+49 30 1234567", false),
                (HitKind::Email, "maria.k@web.de", false),
                (HitKind::Card, "4111 1111 1111 1111", false),
                (HitKind::Iban, "DE89 3704 0044 0532 0130 00", false),
                (HitKind::Ip, "10.20.30.40", false),
                (HitKind::Ip, "2a02:8108::17", false),
                (HitKind::Ssn, "123-45-6789", false),
            ]
        );
    }

    #[test]
    fn phones_are_found_as_people_write_them() {
        for text in [
            "+49 (0)30 123456-78",
            "+4915112345678",
            "0049 151 1234567",
            "(212) 736-5000",
            "212-736-5000",
            "1-212-736-5000",
            "030 / 1234567",
            "0171 2345678",
            "+1 (212) 736.5000",
        ] {
            let found = kinds(text);
            assert!(
                matches!(found[..], [(HitKind::Phone, _, false)]),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn secrets_are_found() {
        // Put together here so that no scanner of source code takes them for real.
        let aws = ["AKIA", "IOSFODNN7EXAMPLQ"].concat();
        let github = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
        let jwt = [
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJzdWIiOiIxMjM0NTY3ODkwIn0",
            "c2lnbmF0dXJlLXZhbHVl",
        ]
        .join(".");
        for (secret, kind) in [
            (aws, HitKind::CloudKey),
            (github, HitKind::CloudKey),
            (jwt, HitKind::Jwt),
        ] {
            let text = format!("token={secret};");
            assert_eq!(kinds(&text), [(kind, secret.as_str(), false)]);
        }
    }

    #[test]
    fn numbers_of_daily_life_are_not_personal() {
        for text in [
            "ORD-2024-000123",
            "order 1000234567 of 2024-05-12 10:33:22",
            "2024-05-12T10:33:22.123456+02:00",
            "2024-05-12 10:33:22+00:00",
            "550e8400-e29b-41d4-a716-446655440000",
            "12345678-1234-1234-1234-123456789012",
            "version 1.2.3.4 and v10.20.30.40",
            "release 2024.05.12",
            "4111 1111 1111 1112",
            "1234567890123456",
            "DE00 3704 0044 0532 0130 00",
            "total 1 299,00 EUR, 12 x 34.50",
            "10:33:22 00:1b:44:11:3a:b7",
            "someone @ home, a@b, @handle, user@localhost",
            "::1 and std::vec::Vec",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "000-12-3456 666-12-3456 123-00-4567",
            "1700000000 1700000000000",
            "05/12/2024 12.05.2024 00:00",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }

    #[test]
    fn reserved_ranges_are_recognised() {
        for text in [
            "jo@example.com",
            "jo@mail.example.org",
            "jo@x.test",
            "4242 4242 4242 4242",
            "192.0.2.17",
            "198.51.100.1",
            "2001:db8::17",
            "912-34-5678",
            "+49 00 1234567",
            "(212) 555-0142",
            "+1 212-555-0142",
            "000 1234567",
        ] {
            let found = kinds(text);
            assert!(matches!(found[..], [(_, _, true)]), "{text}: {found:?}");
        }
    }
}

//! Detection without its short cuts: every detector at every byte. What `detect` finds must be this.

use proptest::prelude::*;

use super::{Hit, HitKind, detect, drop_overlaps, finance, national, network, number, secret};

fn detect_plainly(text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for at in 0..text.len() {
        let rest = &text[at..];
        if rest[0] == b'@' {
            hits.extend(secret::email(text, at));
        }
        let anchors = secret::ANCHORS.iter();
        if anchors
            .clone()
            .any(|(anchor, _)| rest.starts_with(anchor.as_bytes()))
        {
            hits.extend(secret::token_at(text, at));
        }
        if rest.starts_with(secret::PRIVATE_KEY) {
            hits.extend(secret::private_key(text, at));
        }
    }
    let mut at = 0;
    while at + 4 <= text.len() {
        let start = &text[at..at + 4];
        let looks = start[..2].iter().all(u8::is_ascii_uppercase)
            && start[2..].iter().all(u8::is_ascii_digit);
        let found = if looks {
            finance::iban_at(text, at)
        } else {
            None
        };
        at = found
            .as_ref()
            .map_or(at + if looks { 2 } else { 1 }, |hit| hit.range.end);
        hits.extend(found);
    }
    ipv6(text, &mut hits);
    national::find(text, &mut hits);
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| byte.is_ascii_digit()) {
        let range = number::phrase_range(text, at, at + found);
        if number::alone(text, &range) {
            hits.extend(number::classify(text, range.clone()));
        }
        at = range.end;
    }
    drop_overlaps(&mut hits);
    hits
}

fn ipv6(text: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0;
    for token in text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b':') {
        let start = at;
        at += token.len() + 1;
        let colons = token.iter().filter(|byte| **byte == b':').count();
        if token.len() < 6 || colons < 2 {
            continue;
        }
        let stripped = token
            .strip_suffix(b":")
            .filter(|rest| !rest.ends_with(b":"));
        let token = stripped.unwrap_or(token);
        let parsed = std::str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse().ok());
        let Some(address) = parsed.filter(|_| !token.ends_with(b"::")) else {
            continue;
        };
        hits.push(Hit {
            kind: HitKind::Ip,
            range: start..start + token.len(),
            synthetic: network::is_documentation(address),
        });
    }
}

/// Values that detectors know, and pieces of them.
const PIECES: &[&str] = &[
    "maria.k@web.de",
    "@",
    "a@b",
    "@example.org",
    "é@ü.de",
    ".",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2lnbmF0dXJl",
    "eyJ",
    "AKIA",
    "IOSFODNN7EXAMPLQ",
    "ghp_",
    "0123456789abcdefghijABCDEFGHIJ012345",
    "xoxb-",
    "-----BEGIN ",
    "PRIVATE KEY-----",
    "\n",
    "sk_live_",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "GB",
    "29",
    "NWBK",
    "4111 1111 1111 1111",
    "4111111111111111",
    "+49 171 2345678",
    "+49",
    "(212) 736-5000",
    "030/1234567",
    "0",
    "84.133.7.19",
    "1.2.3.4",
    "10.2.3.4",
    "2a02:8108::17",
    "fe80::1",
    "::",
    ":",
    "1:2:3:4:5:6:7:8",
    "a",
    "é",
    "123-45-6789",
    "86095742719",
    "12345678Z",
    "X1234567L",
    "RSSMRA85T10A562S",
    "131052-308T",
    "010190-1018",
    "11010519491231002X",
    "11010519491231002x",
    "AB 12 34 56 C",
    "AB123456C",
    "2024-05-12",
    "2024-05-12 10:33:22",
    "2024-05-12 10:33:22.123456+02",
    "+02:00",
    "-08",
    "811228-9874",
    " ",
    "-",
    "_",
    "/",
    ",",
    "x",
    "Z",
    "7",
    "12",
    "985 58 964",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_short_cut_changes_what_is_found(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..7),
        any: Vec<u8>,
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut text = pieces.concat().into_bytes();
        prop_assert_eq!(detect(&text), detect_plainly(&text), "{}", text.escape_ascii());
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = byte;
            prop_assert_eq!(detect(&text), detect_plainly(&text), "{}", text.escape_ascii());
        }
        prop_assert_eq!(detect(&any), detect_plainly(&any));
    }
}

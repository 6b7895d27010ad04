//! E-mail addresses, tokens and keys: found by a fixed part, then grown to both sides.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{Hit, HitKind, stands_alone};

/// A fixed part, and the fewest characters that follow it.
const ANCHORS: [(&str, usize); 22] = [
    ("@", 0),
    ("eyJ", 0),
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk_live_", 16),
    ("AIza", 30),
    ("npm_", 30),
    ("hf_", 30),
    ("pypi-", 40),
    ("SG.", 40),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("sk-ant-", 30),
    ("dop_v1_", 40),
    ("-----BEGIN ", 0),
];

static SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::new(ANCHORS.map(|(anchor, _)| anchor)).expect("a few short words make a search")
});

pub(super) fn find(text: &[u8], hits: &mut Vec<Hit>) {
    for found in SEARCH.find_iter(text) {
        let (anchor, follow) = ANCHORS[found.pattern().as_usize()];
        let hit = match anchor {
            "@" => email(text, found.start()),
            "eyJ" => jwt(text, found.start()),
            "-----BEGIN " => private_key(text, found.start()),
            _ => token(text, found.start(), found.end(), follow),
        };
        hits.extend(hit);
    }
}

fn email(text: &[u8], at: usize) -> Option<Hit> {
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&*+/=?^_`{|}~-".contains(byte);
    // Letters beyond ASCII are legal on both sides and common in names.
    let start = at - run_back(&text[..at], |byte| local(byte) || !byte.is_ascii());
    let host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte) || !byte.is_ascii();
    let after = &text[at + 1..];
    let len = after.iter().take_while(|byte| host(byte)).count();
    let domain = trim_end(&after[..len]);
    let start = start
        + text[start..at]
            .iter()
            .take_while(|byte| **byte == b'.')
            .count();
    let dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let top = &domain[dot + 1..];
    let top_ok = top.len() >= 2 && !top.iter().any(u8::is_ascii_digit);
    if start == at || dot == 0 || !top_ok {
        return None;
    }
    Some(Hit {
        kind: HitKind::Email,
        range: start..at + 1 + domain.len(),
        synthetic: reserved_domain(domain),
    })
}

fn trim_end(domain: &[u8]) -> &[u8] {
    let keep = domain.iter().rposition(|byte| !b".-".contains(byte));
    &domain[..keep.map_or(0, |at| at + 1)]
}

/// Reports whether a domain is reserved by RFC 2606 or 6761.
fn reserved_domain(domain: &[u8]) -> bool {
    let domain = domain.to_ascii_lowercase();
    let names = [
        "example.com",
        "example.net",
        "example.org",
        "example",
        "test",
        "invalid",
    ];
    names.iter().any(|name| {
        let before = domain.strip_suffix(name.as_bytes());
        before.is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
    })
}

fn run_back(text: &[u8], belongs: impl Fn(&u8) -> bool) -> usize {
    text.iter().rev().take_while(|byte| belongs(byte)).count()
}

fn base64url(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(byte)
}

/// Three parts of base64url, the first two of them JSON objects.
fn jwt(text: &[u8], start: usize) -> Option<Hit> {
    let len = text[start..]
        .iter()
        .take_while(|byte| base64url(byte) || **byte == b'.')
        .count();
    let parts: Vec<&[u8]> = text[start..start + len]
        .split(|byte| *byte == b'.')
        .collect();
    let [header, payload, signature, ..] = parts[..] else {
        return None;
    };
    let long = header.len() >= 10 && payload.len() >= 4 && signature.len() >= 10;
    let end = start + header.len() + payload.len() + signature.len() + 2;
    let range = start..end;
    (long && payload.starts_with(b"eyJ") && stands_alone(text, &range)).then_some(Hit {
        kind: HitKind::Jwt,
        range,
        synthetic: false,
    })
}

fn token(text: &[u8], start: usize, follow_at: usize, follow: usize) -> Option<Hit> {
    let len = text[follow_at..]
        .iter()
        .take_while(|byte| base64url(byte) || **byte == b'.')
        .count();
    // The dot that ends a sentence is none of it.
    let len = len - usize::from(text[follow_at..follow_at + len].ends_with(b"."));
    let range = start..follow_at + len;
    (len >= follow && stands_alone(text, &range)).then_some(Hit {
        kind: HitKind::CloudKey,
        range,
        synthetic: false,
    })
}

fn private_key(text: &[u8], start: usize) -> Option<Hit> {
    let line_len = text[start..].iter().position(|byte| *byte == b'\n');
    let line = &text[start..start + line_len.unwrap_or(text.len() - start)];
    let private = line.windows(11).any(|window| window == b"PRIVATE KEY");
    // The key reaches to its own end mark; without one, to the end of the text.
    let end_mark = b"-----END ";
    let end = text[start..]
        .windows(end_mark.len())
        .position(|window| window == end_mark)
        .map_or(text.len(), |at| start + at + end_mark.len());
    private.then_some(Hit {
        kind: HitKind::CloudKey,
        range: start..end,
        synthetic: false,
    })
}

//! E-mail addresses, tokens and keys: found by a fixed part, then grown to both sides.

use memchr::{memchr, memchr_iter, memmem};

use super::{Hit, HitKind, stands_alone};
use crate::signs::Signs;

/// Fixed parts that keys and tokens start with, and the fewest characters that follow.
pub(super) const ANCHORS: [(&str, usize); 20] = [
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
];

/// Whether an anchor starts with a byte.
const STARTS_ANCHOR: [bool; 256] = {
    let mut starts = [false; 256];
    let mut n = 0;
    while n < ANCHORS.len() {
        starts[ANCHORS[n].0.as_bytes()[0] as usize] = true;
        n += 1;
    }
    starts
};

pub(super) const PRIVATE_KEY: &[u8] = b"-----BEGIN ";

/// Shortest run of letters, digits, `-`, `_` and `.` that holds a secret: a prefix of four characters
/// with sixteen behind it.
const SECRET_MIN: usize = 20;

pub(super) fn find(text: &[u8], signs: &Signs, hits: &mut Vec<Hit>) {
    if signs.has_at() {
        hits.extend(memchr_iter(b'@', text).filter_map(|at| email(text, at)));
    }
    // An anchor has a capital, a dash or an underscore.
    let anchors = signs.has_upper() || signs.dashes() > 0 || memchr(b'_', text).is_some();
    if signs.longest() >= SECRET_MIN && anchors {
        find_tokens(text, hits);
    }
    if signs.dashes() >= 5 {
        let keys = memmem::find_iter(text, PRIVATE_KEY);
        hits.extend(keys.filter_map(|at| private_key(text, at)));
    }
}

/// Looks at each place where a token may start: it stands alone, so no letter or digit is before it.
fn find_tokens(text: &[u8], hits: &mut Vec<Hit>) {
    let mut joined = false;
    for (at, byte) in text.iter().enumerate() {
        if STARTS_ANCHOR[usize::from(*byte)] && !joined {
            hits.extend(token_at(text, at));
        }
        joined = byte.is_ascii_alphanumeric();
    }
}

pub(super) fn token_at(text: &[u8], at: usize) -> Option<Hit> {
    let rest = &text[at..];
    let mut anchors = ANCHORS.iter();
    let (anchor, follow) = anchors.find(|(anchor, _)| {
        rest[0] == anchor.as_bytes()[0] && rest.starts_with(anchor.as_bytes())
    })?;
    match *anchor {
        "eyJ" => jwt(text, at),
        _ => token(text, at, at + anchor.len(), *follow),
    }
}

/// Letters beyond ASCII are legal on both sides of an address and common in names.
const LOCAL: [bool; 256] = address_bytes(b".!#$%&*+/=?^_`{|}~-");
const HOST: [bool; 256] = address_bytes(b".-");

const fn address_bytes(others: &[u8]) -> [bool; 256] {
    let mut belongs = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        belongs[byte] = byte >= 0x80 || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut n = 0;
    while n < others.len() {
        belongs[others[n] as usize] = true;
        n += 1;
    }
    belongs
}

pub(super) fn email(text: &[u8], at: usize) -> Option<Hit> {
    let local = text[..at].iter().rev();
    let local = local.take_while(|byte| LOCAL[usize::from(**byte)]).count();
    let dots = text[at - local..at].iter();
    let start = at - local + dots.take_while(|byte| **byte == b'.').count();
    let after = &text[at + 1..];
    let len = after.iter().take_while(|byte| HOST[usize::from(**byte)]);
    let domain = trim_end(&after[..len.count()]);
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
    let names: [&[u8]; 6] = [
        b"example.com",
        b"example.net",
        b"example.org",
        b"example",
        b"test",
        b"invalid",
    ];
    names.iter().any(|name| {
        domain.len().checked_sub(name.len()).is_some_and(|before| {
            domain[before..].eq_ignore_ascii_case(name)
                && (before == 0 || domain[before - 1] == b'.')
        })
    })
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
    let mut parts = text[start..start + len].split(|byte| *byte == b'.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
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

pub(super) fn private_key(text: &[u8], start: usize) -> Option<Hit> {
    let line_len = memchr(b'\n', &text[start..]);
    let line = &text[start..start + line_len.unwrap_or(text.len() - start)];
    let private = memmem::find(line, b"PRIVATE KEY").is_some();
    // The key reaches to its own end mark; without one, to the end of the text.
    let end_mark = b"-----END ";
    let end =
        memmem::find(&text[start..], end_mark).map_or(text.len(), |at| start + at + end_mark.len());
    private.then_some(Hit {
        kind: HitKind::CloudKey,
        range: start..end,
        synthetic: false,
    })
}

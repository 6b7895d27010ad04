//! IP addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::{memchr, memmem};

use super::{Hit, HitKind};

/// Judges four dotted numbers; `None` if they are no address of a host.
pub(super) fn ipv4(text: &[u8]) -> Option<bool> {
    let address: Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    let [a, b, c, _] = address.octets();
    // Four single digits are a version far more often than an address.
    let version = address.octets().iter().all(|octet| *octet < 10);
    if version || address.is_unspecified() || address.is_loopback() || address.is_broadcast() {
        return None;
    }
    // RFC 5737.
    Some(matches!(
        [a, b, c],
        [192, 0, 2] | [198, 51, 100] | [203, 0, 113]
    ))
}

pub(super) fn find_ipv6(text: &[u8], hits: &mut Vec<Hit>) {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b':';
    let mut from = 0;
    while let Some(colon) = memchr(b':', &text[from..]) {
        let colon = from + colon;
        let before = text[from..colon].iter().rev();
        let start = colon - before.take_while(|byte| belongs(byte)).count();
        let len = text[start..].iter().take_while(|byte| belongs(byte));
        from = start + len.count();
        let token = &text[start..from];
        let token = token
            .strip_suffix(b":")
            .filter(|rest| !rest.ends_with(b":"))
            .unwrap_or(token);
        // The shortest that matter are `fe80::1`; `::1` and `std::vec` are not among them.
        if let Some(address) = ipv6(token).filter(|_| from - start >= 6) {
            hits.push(Hit {
                kind: HitKind::Ip,
                range: start..start + token.len(),
                synthetic: is_documentation(address),
            });
        }
    }
}

fn ipv6(token: &[u8]) -> Option<Ipv6Addr> {
    // A network has no host, and words with colons have the form of one: `fe80::`.
    let colons = token.iter().filter(|byte| **byte == b':').count();
    let shortened = memmem::find(token, b"::").is_some();
    if !(shortened || colons == 7) || token.ends_with(b"::") {
        return None;
    }
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// RFC 3849.
pub(super) fn is_documentation(address: Ipv6Addr) -> bool {
    address.segments()[..2] == [0x2001, 0x0db8]
}

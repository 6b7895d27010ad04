//! IP addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

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
    let mut at = 0;
    while at < text.len() {
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b':';
        let len = text[at..].iter().take_while(|byte| belongs(byte)).count();
        let token = &text[at..at + len];
        // The shortest that matter are `fe80::1`; `::1` and `std::vec` are not among them.
        if len >= 6 && token.iter().filter(|byte| **byte == b':').count() >= 2 {
            let token = token
                .strip_suffix(b":")
                .filter(|rest| !rest.ends_with(b":"))
                .unwrap_or(token);
            let parsed = std::str::from_utf8(token)
                .ok()
                .and_then(|text| text.parse().ok());
            // A network has no host, and words with colons have the form of one: `fe80::`.
            if let Some(address) = parsed
                && !token.ends_with(b"::")
            {
                hits.push(Hit {
                    kind: HitKind::Ip,
                    range: at..at + token.len(),
                    synthetic: is_documentation(address),
                });
            }
        }
        at += len.max(1);
    }
}

/// RFC 3849.
fn is_documentation(address: Ipv6Addr) -> bool {
    address.segments()[..2] == [0x2001, 0x0db8]
}

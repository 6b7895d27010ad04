//! Addresses of machines: documentation ranges only.

use std::sync::Arc;

use super::token::push_hex;
use super::{Context, Distinct, Fault, Made, Mask, Options, Reuse, Traits, push_decimal, text_of};
use crate::batch::Cell;
use crate::detect::HitKind;

/// IPv4 in the three networks of RFC 5737, IPv6 in that of RFC 3849.
#[derive(Debug)]
struct Ip;

pub(super) fn ip(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Ip)
}

impl Mask for Ip {
    fn traits(&self) -> Traits {
        Traits {
            reuse: Reuse::Overlaps,
            ..Traits::text(Distinct::Few, Some(39))
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let text = text_of(input)?;
        let mut draws = cx.digest(input).draws();
        if !text.contains(':') {
            const NETS: [&[u8]; 3] = [b"192.0.2.", b"198.51.100.", b"203.0.113."];
            out.extend_from_slice(NETS[draws.below(3) as usize]);
            push_decimal(draws.below(254) + 1, out);
            return Ok(Made::Text);
        }
        out.extend_from_slice(b"2001:db8");
        for _ in 0..6 {
            out.push(b':');
            push_hex(&(draws.below(1 << 16) as u16).to_be_bytes(), 4, out);
        }
        Ok(Made::Text)
    }

    fn hit_kind(&self) -> Option<HitKind> {
        Some(HitKind::Ip)
    }
}

/// A locally administered address, which no maker gives out.
#[derive(Debug)]
struct Mac;

pub(super) fn mac(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Mac)
}

impl Mask for Mac {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Bits(40.0), Some(17))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let separator = if text_of(input)?.contains('-') {
            b'-'
        } else {
            b':'
        };
        out.extend_from_slice(b"02");
        for byte in &cx.digest(input).bytes()[..5] {
            out.push(separator);
            push_hex(&[*byte], 2, out);
        }
        Ok(Made::Text)
    }
}

/// A path at example.com; nothing of the original, whose path and query may name people.
#[derive(Debug)]
struct Url;

pub(super) fn url(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Url)
}

impl Mask for Url {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Bits(128.0), Some(20 + 32))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        text_of(input)?;
        out.extend_from_slice(b"https://example.com/");
        push_hex(&cx.digest(input).bytes(), 32, out);
        Ok(Made::Text)
    }
}

/// The mask for addresses found in text, where rules name no domain.
pub(super) fn any_ip() -> Arc<dyn Mask> {
    Arc::new(Ip)
}

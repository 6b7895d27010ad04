//! Masks that make opaque tokens: `hash`, `uuid` and `random`.

use std::sync::Arc;

use super::{Context, Distinct, Fault, Made, Mask, Options, Traits};
use crate::batch::Cell;

/// Hex digits of a keyed hash.
#[derive(Debug)]
struct Hash {
    digits: usize,
    /// Whether each row gets its own, whatever the value.
    by_row: bool,
}

pub(super) fn hash(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let digits = options.integer("length", 8..=64, 32)? as usize;
    let by_row = false;
    Options::done(Hash { digits, by_row })
}

/// `random` is hash by row: repeatable runs, but equal values do not mask alike.
pub(super) fn random(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let digits = options.integer("length", 8..=64, 32)? as usize;
    let by_row = true;
    Options::done(Hash { digits, by_row })
}

impl Mask for Hash {
    fn traits(&self) -> Traits {
        let bits = self.digits as f64 * 4.0;
        Traits::text(Distinct::Bits(bits), Some(self.digits))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let digest = if self.by_row {
            let mut salted = [0; 24];
            salted[..16].copy_from_slice(&cx.digest(input).bytes());
            salted[16..].copy_from_slice(&cx.row.number.to_le_bytes());
            cx.key.widened(&cx.key.digest(&salted, cx.attempt))
        } else {
            cx.long_digest(input)
        };
        push_hex(&digest, self.digits, out);
        Ok(Made::Text)
    }
}

/// A version 8 UUID, the version for values a program makes by its own rule (RFC 9562).
#[derive(Debug)]
struct Uuid;

pub(super) fn uuid(_: &Options<'_>) -> Option<Arc<dyn Mask>> {
    Options::done(Uuid)
}

impl Mask for Uuid {
    fn traits(&self) -> Traits {
        Traits::text(Distinct::Bits(122.0), Some(36))
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let mut bytes = cx.digest(input).bytes();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        for (n, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
            if n > 0 {
                out.push(b'-');
            }
            push_hex(&bytes[range.clone()], range.len() * 2, out);
        }
        Ok(Made::Text)
    }
}

/// Appends the first `digits` hex digits of `bytes`.
pub(crate) fn push_hex(bytes: &[u8], digits: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(nibbles.take(digits).map(|nibble| HEX[usize::from(nibble)]));
}

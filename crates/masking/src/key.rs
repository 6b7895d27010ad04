//! The masking key: where every pseudonym comes from. Owns derivation; never fetches a secret.

use std::fmt;

use lifeboat_model::{Diagnose, ErrorKind};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::sip::{SipKey, WideHash};

/// The secret cannot serve as a masking key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is shorter than 32 bytes.
    #[error("the masking key has {found} bytes and needs at least {needed}", needed = MaskKey::MIN_LEN)]
    TooShort {
        /// How many bytes it has.
        found: usize,
    },
    /// The scope is neither `snapshot:<id>` nor `stable:<name>`.
    #[error("`{0}` is not a masking scope")]
    Scope(String),
}

impl Diagnose for KeyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooShort { .. } => {
                "make one with `openssl rand -hex 32` and store it where `key` points".to_owned()
            }
            Self::Scope(_) => "write `snapshot:<id>` or `stable:<name>`".to_owned(),
        })
    }
}

/// The root of all pseudonyms of one masked copy.
///
/// The scope enters the derivation: with `snapshot:<id>` no two copies share a pseudonym, with
/// `stable:<name>` every refresh of one environment gives the same ones.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MaskKey([u8; 32]);

impl MaskKey {
    /// Fewest bytes a secret must have.
    pub const MIN_LEN: usize = 32;

    /// Derives the key of `scope` (`snapshot:<id>` or `stable:<name>`) from a secret.
    ///
    /// # Errors
    /// Fails if the secret is too short or the scope has another form.
    pub fn new(secret: &[u8], scope: &str) -> Result<Self, KeyError> {
        let named = ["snapshot:", "stable:"].iter().any(|kind| {
            scope
                .strip_prefix(kind)
                .is_some_and(|rest| !rest.is_empty())
        });
        if !named {
            return Err(KeyError::Scope(scope.to_owned()));
        }
        if secret.len() < Self::MIN_LEN {
            let found = secret.len();
            return Err(KeyError::TooShort { found });
        }
        let mut root = blake3::derive_key("lifeboat masking 2026-11 root", secret);
        let key = Self(*blake3::keyed_hash(&root, scope.as_bytes()).as_bytes());
        root.zeroize();
        Ok(key)
    }

    /// Returns a short public fingerprint: the same key and scope give the same one.
    pub fn key_id(&self) -> String {
        let id = blake3::derive_key("lifeboat masking 2026-11 key id", &self.0);
        id[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Derives the key of a domain.
    pub(crate) fn domain(&self, name: &str) -> DomainKey {
        let mut material = self.0.to_vec();
        material.extend_from_slice(name.as_bytes());
        let bytes = blake3::derive_key("lifeboat masking 2026-11 domain", &material);
        material.zeroize();
        DomainKey::new(bytes)
    }

    /// Derives the key under which originals are remembered for leak verification.
    pub(crate) fn originals(&self) -> SipKey {
        let mut bytes = blake3::derive_key("lifeboat masking 2026-11 originals", &self.0);
        let key = SipKey::new(first_16(&bytes));
        bytes.zeroize();
        key
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The keys of one domain: columns that share it mask equal values alike.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct DomainKey {
    /// For long hashes.
    bytes: [u8; 32],
    /// For pseudonyms.
    pseudonym: SipKey,
    /// For permutations.
    permutation: SipKey,
}

impl DomainKey {
    fn new(bytes: [u8; 32]) -> Self {
        let sip = |context| {
            let mut derived = blake3::derive_key(context, &bytes);
            let key = SipKey::new(first_16(&derived));
            derived.zeroize();
            key
        };
        Self {
            bytes,
            pseudonym: sip("lifeboat masking 2026-11 pseudonym"),
            permutation: sip("lifeboat masking 2026-11 permutation"),
        }
    }

    /// Returns the keyed hash of a normalised value; another one for each attempt.
    #[inline]
    pub(crate) fn digest(&self, value: &[u8], attempt: u8) -> Digest {
        let first = Digest::Hash(self.pseudonym.wide(value));
        if attempt == 0 {
            return first;
        }
        let mut again = [attempt; 17];
        again[..16].copy_from_slice(&first.bytes());
        Digest::Hash(self.pseudonym.wide(&again))
    }

    /// Returns 256 bits of a digest, for values longer than itself.
    pub(crate) fn widened(&self, digest: &Digest) -> [u8; 32] {
        *blake3::keyed_hash(&self.bytes, &digest.bytes()).as_bytes()
    }

    /// Returns the keyed BLAKE3 of a normalised value.
    pub(crate) fn long_digest(&self, value: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.bytes, value).as_bytes()
    }

    /// Returns 32 bytes to key another cipher with.
    pub(crate) fn derived(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.bytes)
    }

    /// Returns the key for permutations.
    pub(crate) fn permutation(&self) -> &SipKey {
        &self.permutation
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// 128 pseudo-random bits that belong to one value in one domain.
#[derive(Clone, Copy)]
pub(crate) enum Digest {
    /// Of a value.
    Hash(WideHash),
    /// Given as they are.
    Words([u64; 2]),
}

impl Digest {
    /// Returns the first 64 bits.
    #[inline]
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Hash(hash) => hash.low(),
            Self::Words([first, _]) => *first,
        }
    }

    /// Returns the other 64 bits.
    #[inline]
    pub(crate) fn second(&self) -> u64 {
        match self {
            Self::Hash(hash) => hash.high(),
            Self::Words([_, second]) => *second,
        }
    }

    /// Returns the bits as bytes.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.first().to_le_bytes());
        bytes[8..].copy_from_slice(&self.second().to_le_bytes());
        bytes
    }

    /// Returns the digest with both halves made, for draws without end.
    pub(crate) fn whole(self) -> Self {
        Self::Words([self.first(), self.second()])
    }

    /// Returns the draws that belong to the value, of which there is no end.
    #[inline]
    pub(crate) fn draws(&self) -> Draws {
        Draws {
            fraction: self.first(),
            bits: 64,
            refills: 0,
            digest: *self,
        }
    }

    /// Returns one number below `size`, for masks that need no more than that.
    #[inline]
    pub(crate) fn below(&self, size: u64) -> u64 {
        scale(self.first(), size)
    }
}

/// Maps a uniform word onto `0..size`.
#[inline]
pub(crate) fn scale(word: u64, size: u64) -> u64 {
    // The high half of the product is below `size`.
    ((u128::from(word) * u128::from(size)) >> 64) as u64
}

/// Uniform numbers out of a digest.
///
/// A word is read as a fraction between 0 and 1. Multiplied by a size, its whole part is a number
/// below the size and its rest the next fraction, so that one word serves several draws. The words
/// are the two of the digest, then SplitMix64 seeded by both (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
pub(crate) struct Draws {
    fraction: u64,
    /// Random bits left in the fraction.
    bits: u32,
    refills: u64,
    digest: Digest,
}

impl Draws {
    /// Bits that a fraction keeps beyond those of a draw: no number is likelier than another by more
    /// than one part in two to this power.
    const SPARE: u32 = 16;

    /// Returns a number below `size`.
    #[inline]
    pub(crate) fn below(&mut self, size: u64) -> u64 {
        let needed = u64::BITS - size.leading_zeros();
        if self.bits < needed + Self::SPARE {
            self.refill();
        }
        let product = u128::from(self.fraction) * u128::from(size);
        self.fraction = product as u64;
        self.bits = self.bits.saturating_sub(needed);
        (product >> 64) as u64
    }

    fn refill(&mut self) {
        self.bits = 64;
        let second = self.digest.second();
        self.fraction = match self.refills {
            0 => second,
            n => split_mix(
                (self.digest.first() ^ second.rotate_left(32)).wrapping_add(n.wrapping_mul(GAMMA)),
            ),
        };
        self.refills += 1;
    }

    /// Fills `digits` with decimal digits as ASCII.
    #[inline]
    pub(crate) fn fill(&mut self, digits: &mut [u8]) {
        for chunk in digits.chunks_mut(8) {
            let number = self.below(POWERS[chunk.len()]) as u32;
            let eight = eight_digits(number);
            chunk.copy_from_slice(&eight[8 - chunk.len()..]);
        }
    }

    /// Returns a decimal digit as ASCII.
    #[inline]
    pub(crate) fn digit(&mut self) -> u8 {
        b'0' + self.below(10) as u8
    }

    /// Returns an upper case letter.
    #[inline]
    pub(crate) fn letter(&mut self) -> u8 {
        b'A' + self.below(26) as u8
    }
}

const POWERS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// Two decimal digits each, as ASCII.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Returns the digits of a number below 10^8, zeros in front.
#[inline]
fn eight_digits(number: u32) -> [u8; 8] {
    let (high, low) = (number / 10_000, number % 10_000);
    let pairs = [high / 100, high % 100, low / 100, low % 100];
    let [[a, b], [c, d], [e, f], [g, h]] = pairs.map(|pair| PAIRS[pair as usize]);
    [a, b, c, d, e, f, g, h]
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn first_16(bytes: &[u8; 32]) -> &[u8; 16] {
    bytes.first_chunk().expect("32 bytes hold 16")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn a_short_secret_or_another_scope_is_refused() {
        let short = MaskKey::new(&SECRET[1..], "stable:qa").unwrap_err();
        assert_eq!(short, KeyError::TooShort { found: 31 });
        for bad in ["", "qa", "stable:", "snapshot"] {
            assert!(matches!(
                MaskKey::new(&SECRET, bad),
                Err(KeyError::Scope(_))
            ));
        }
    }

    #[test]
    fn draws_are_uniform_over_their_sizes() {
        let key = MaskKey::new(&SECRET, "stable:qa").unwrap().domain("x");
        let mut counts = [[0_u32; 10]; 24];
        for n in 0..20_000_u32 {
            let mut draws = key.digest(&n.to_le_bytes(), 0).draws();
            let mut digits = [0; 20];
            draws.fill(&mut digits);
            let singles = std::iter::repeat_with(|| draws.digit()).take(4);
            for (place, digit) in digits.into_iter().chain(singles).enumerate() {
                counts[place][usize::from(digit - b'0')] += 1;
            }
        }
        // Each count is about 2000 with a deviation of 42.
        for count in counts.as_flattened() {
            assert!((1750..2250).contains(count), "{counts:?}");
        }
    }

    #[test]
    fn scopes_and_domains_separate_pseudonyms_and_nothing_prints() {
        let a = MaskKey::new(&SECRET, "stable:qa").unwrap();
        let b = MaskKey::new(&SECRET, "stable:dev").unwrap();
        assert_ne!(a.key_id(), b.key_id());
        let digests = [
            a.domain("x").digest(b"v", 0).bytes(),
            a.domain("y").digest(b"v", 0).bytes(),
            b.domain("x").digest(b"v", 0).bytes(),
            a.domain("x").digest(b"v", 1).bytes(),
        ];
        for (n, one) in digests.iter().enumerate() {
            assert!(!digests[..n].contains(one));
        }
        assert_eq!(format!("{a:?} {:?}", a.domain("x")), "*** ***");
    }
}

//! The masking key: where every pseudonym comes from. Owns derivation; never fetches a secret.

use std::fmt;

use lifeboat_model::{Diagnose, ErrorKind};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::sip::SipKey;

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

/// The key of one domain: columns that share it mask equal values alike.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct DomainKey {
    bytes: [u8; 32],
    sip: SipKey,
}

impl DomainKey {
    fn new(bytes: [u8; 32]) -> Self {
        let mut sip = blake3::derive_key("lifeboat masking 2026-11 permutation", &bytes);
        let key = Self {
            bytes,
            sip: SipKey::new(first_16(&sip)),
        };
        sip.zeroize();
        key
    }

    /// Returns the keyed hash of a normalised value.
    pub(crate) fn digest(&self, value: &[u8], attempt: u8) -> Digest {
        if attempt == 0 {
            return Digest(*blake3::keyed_hash(&self.bytes, value).as_bytes());
        }
        let first = blake3::keyed_hash(&self.bytes, value);
        let mut again = *first.as_bytes();
        again[0] ^= attempt;
        Digest(*blake3::keyed_hash(&self.bytes, &again).as_bytes())
    }

    /// Returns the key for permutations.
    pub(crate) fn sip(&self) -> &SipKey {
        &self.sip
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// 256 pseudo-random bits that belong to one value in one domain.
#[derive(Clone, Copy)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// Returns the `lane`-th of four independent words.
    pub(crate) fn word(&self, lane: usize) -> u64 {
        let at = (lane % 4) * 8;
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    /// Maps a word onto `0..size` by multiply-shift.
    pub(crate) fn below(&self, lane: usize, size: u64) -> u64 {
        scale(self.word(lane), size)
    }

    /// Returns an endless stream of words, for values that need more than four.
    pub(crate) fn stream(&self) -> WordStream {
        WordStream {
            state: self.word(0) ^ self.word(1).rotate_left(32),
        }
    }
}

/// Maps a uniform word onto `0..size`.
pub(crate) fn scale(word: u64, size: u64) -> u64 {
    // The high half of the product is below `size`.
    ((u128::from(word) * u128::from(size)) >> 64) as u64
}

/// SplitMix64 over a digest: uniform words for filling digits and picking words.
pub(crate) struct WordStream {
    state: u64,
}

impl WordStream {
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `size`.
    pub(crate) fn below(&mut self, size: u64) -> u64 {
        scale(self.next(), size)
    }

    /// Returns a decimal digit as ASCII.
    pub(crate) fn digit(&mut self) -> u8 {
        b'0' + self.below(10) as u8
    }
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
    fn scopes_and_domains_separate_pseudonyms_and_nothing_prints() {
        let a = MaskKey::new(&SECRET, "stable:qa").unwrap();
        let b = MaskKey::new(&SECRET, "stable:dev").unwrap();
        assert_ne!(a.key_id(), b.key_id());
        let digests = [
            a.domain("x").digest(b"v", 0).0,
            a.domain("y").digest(b"v", 0).0,
            b.domain("x").digest(b"v", 0).0,
            a.domain("x").digest(b"v", 1).0,
        ];
        for (n, one) in digests.iter().enumerate() {
            assert!(!digests[..n].contains(one));
        }
        assert_eq!(format!("{a:?} {:?}", a.domain("x")), "*** ***");
    }
}

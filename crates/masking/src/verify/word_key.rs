//! Keyed hashes of words, and of runs of words out of theirs.
//!
//! What is hashed here never leaves memory and names nobody: the set of originals. So a fast mixer
//! serves, with secret words in every step, and not a function made to stand attacks. It multiplies
//! 64 bits by 64 and adds both halves of the product, as wyhash does (Wang Yi, 2019).

use zeroize::ZeroizeOnDrop;

use crate::sip::SipKey;

/// Bytes that must stand behind a text whose words are hashed.
pub(super) const PADDING: [u8; 8] = [0; 8];

/// An odd number whose bits are spread: the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The key.
#[derive(Clone, ZeroizeOnDrop)]
pub(super) struct WordKey([u64; 5]);

impl std::fmt::Debug for WordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl WordKey {
    pub(super) fn new(key: &SipKey) -> Self {
        Self(std::array::from_fn(|n| key.hash_word(n as u64)))
    }

    /// Hashes the word from `start` to `end` of a text with [`PADDING`] behind it.
    #[inline]
    pub(super) fn word(&self, padded: &[u8], start: usize, end: usize) -> u64 {
        let [a, b, c, d, _] = self.0;
        let mut start = start;
        // A length must not cancel out against a byte.
        let mut hash = a.wrapping_add(((end - start) as u64).wrapping_mul(GAMMA));
        while end - start > 16 {
            hash = fold(load(padded, start) ^ hash, load(padded, start + 8) ^ b);
            start += 16;
        }
        let (low, high) = match end - start {
            len @ 0..=8 => (load(padded, start) & mask(len), 0),
            len => (load(padded, start), load(padded, start + 8) & mask(len - 8)),
        };
        let hash = fold(low ^ hash, high ^ c);
        fold(hash ^ b, d)
    }

    /// Hashes a run of words with one more word behind it, from the hashes of both.
    #[inline]
    pub(super) fn join(&self, run: u64, word: u64) -> u64 {
        let [.., d, e] = self.0;
        fold(run ^ d, word ^ e)
    }
}

#[inline]
fn load(padded: &[u8], at: usize) -> u64 {
    let word = padded[at..].first_chunk();
    u64::from_le_bytes(*word.expect("padding stands behind every text"))
}

/// Returns the bits of the first `len` bytes, of at most eight.
#[inline]
fn mask(len: usize) -> u64 {
    u64::MAX.checked_shr(64 - 8 * len as u32).unwrap_or(0)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key() -> WordKey {
        WordKey::new(&SipKey::new(&[9; 16]))
    }

    fn hash(word: &[u8]) -> u64 {
        let padded = [b"..", word, b"behind it", &PADDING].concat();
        key().word(&padded, 2, 2 + word.len())
    }

    #[test]
    fn words_that_differ_in_a_bit_or_in_length_hash_apart() {
        let mut seen = HashSet::new();
        for len in 0..70 {
            let mut word = vec![0; len];
            assert!(seen.insert(hash(&word)), "{len} zeros");
            for bit in 0..len * 8 {
                word[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(hash(&word)), "{len} bytes, bit {bit}");
                word[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(seen.len(), 70 + 8 * (0..70).sum::<usize>());
    }

    #[test]
    fn a_hash_depends_on_the_word_alone_and_spreads_over_all_bits() {
        let (mut ones, words) = ([0_u32; 64], 20_000);
        for n in 0..words {
            let word = format!("user{n}");
            assert_eq!(
                key().word(format!("{word}\0\0\0\0\0\0\0\0").as_bytes(), 0, word.len()),
                hash(word.as_bytes())
            );
            let hash = hash(word.as_bytes());
            (0..64).for_each(|bit| ones[bit] += (hash >> bit & 1) as u32);
        }
        for count in ones {
            assert!((9_600..10_400).contains(&count), "{ones:?}");
        }
    }

    #[test]
    fn runs_of_other_words_or_another_order_hash_apart() {
        let key = key();
        let [a, b, c] = [hash(b"maria"), hash(b"anna"), hash(b"schmidt")];
        let all = [
            a,
            b,
            key.join(a, b),
            key.join(b, a),
            key.join(key.join(a, b), c),
            key.join(a, key.join(b, c)),
        ];
        assert_eq!(HashSet::from(all).len(), all.len());
    }
}

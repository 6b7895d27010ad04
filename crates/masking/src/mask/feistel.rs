//! A keyed permutation of `0..size`: a balanced Feistel network with cycle walking.
//!
//! The network permutes the next even power of two; a result outside the range is permuted again
//! until it falls inside, which keeps the map one to one (Black and Rogaway, "Ciphers with
//! arbitrary finite domains", 2002). The power is below four times the size, so four walks are the
//! expected worst.

use crate::sip::SipKey;

/// A permutation of `0..size` under a key given with each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permutation {
    size: u128,
    half_bits: u32,
}

impl Permutation {
    const ROUNDS: u64 = 10;

    /// Permutes `0..size`; `size` is 1 to 2^64.
    pub(crate) fn new(size: u128) -> Self {
        let bits = 128 - size.saturating_sub(1).leading_zeros();
        Self {
            size,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// Returns the image of `value`, which must be below the size.
    ///
    /// `tweak`, below 2^24, chooses among independent permutations.
    pub(crate) fn image(self, key: &SipKey, tweak: u64, value: u64) -> u64 {
        let mut at = value;
        loop {
            at = self.network(key, tweak, at);
            if u128::from(at) < self.size {
                return at;
            }
        }
    }

    fn network(self, key: &SipKey, tweak: u64, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..Self::ROUNDS {
            // A half has at most 32 bits, so half, round and tweak share one word.
            let word = right | round << 32 | tweak << 40;
            (left, right) = (right, left ^ key.hash_word(word) & mask);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_small_range_is_permuted_onto_itself(size in 1_u64..3000, key: [u8; 16], tweak in 0_u64..40) {
            let permutation = Permutation::new(u128::from(size));
            let key = SipKey::new(&key);
            let mut seen = vec![false; size as usize];
            for value in 0..size {
                let image = permutation.image(&key, tweak, value);
                prop_assert!(image < size);
                prop_assert!(!std::mem::replace(&mut seen[image as usize], true));
            }
        }

        #[test]
        fn large_ranges_stay_in_range(size in 1_u128..=1 << 64, value: u64, key: [u8; 16]) {
            let value = (u128::from(value) % size) as u64;
            let image = Permutation::new(size).image(&SipKey::new(&key), 0, value);
            prop_assert!(u128::from(image) < size);
        }
    }

    #[test]
    fn neighbours_do_not_stay_neighbours() {
        let permutation = Permutation::new(1_000_000);
        let key = SipKey::new(&[3; 16]);
        let images: Vec<u64> = (0..1000).map(|n| permutation.image(&key, 0, n)).collect();
        let close = images
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) < 1000);
        assert!(close.count() < 20);
    }
}

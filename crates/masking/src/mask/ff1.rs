//! FF1, the format-preserving cipher of NIST SP 800-38G, with AES-256 and no tweak.
//!
//! Numerals are held in machine words: a half has at most 60 bits, so that any string up to
//! [`Ff1::len_max`] needs no big numbers. Strings must be as long as the standard's revision demands,
//! such that there are at least a million of them.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::key::DomainKey;

/// The cipher under one key and for one radix.
#[derive(Clone)]
pub(crate) struct Ff1 {
    cipher: Aes256,
    radix: u64,
}

impl std::fmt::Debug for Ff1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Fewest strings there must be of a length.
const DOMAIN_MIN: u128 = 1_000_000;

impl Ff1 {
    /// Derives the cipher of a domain; `radix` is 2 to 36.
    pub(crate) fn new(key: &DomainKey, radix: u64) -> Self {
        Self::with_key(&key.derived("lifeboat masking 2026-11 ff1"), radix)
    }

    fn with_key(key: &[u8; 32], radix: u64) -> Self {
        Self {
            cipher: Aes256::new(&Array::from(*key)),
            radix,
        }
    }

    /// Returns the fewest numerals that can be encrypted.
    pub(crate) fn len_min(radix: u64) -> usize {
        let mut domain = 1;
        let mut len = 0;
        while domain < DOMAIN_MIN {
            domain *= u128::from(radix);
            len += 1;
        }
        len
    }

    /// Returns the most numerals that can be encrypted.
    pub(crate) fn len_max(radix: u64) -> usize {
        let mut half = 0;
        let mut domain = u128::from(radix);
        while domain < 1 << 60 {
            domain *= u128::from(radix);
            half += 1;
        }
        2 * half
    }

    /// Encrypts numerals, each below the radix, in place.
    ///
    /// Their number must be within [`Ff1::len_min`] and [`Ff1::len_max`].
    pub(crate) fn encrypt(&self, numerals: &mut [u8]) {
        let len = numerals.len();
        let split = len / 2;
        let sizes = [self.power(split), self.power(len - split)];
        let (mut a, mut b) = (
            self.number(&numerals[..split]),
            self.number(&numerals[split..]),
        );
        // Bytes of a half, and of the number that is added to it (steps 3 and 4).
        let half_bytes = (u64::BITS - (sizes[1] - 1).leading_zeros()).div_ceil(8) as usize;
        let sum_bytes = 4 * half_bytes.div_ceil(4) + 4;
        let first = self.first_block(len, split);
        for round in 0..10_u8 {
            let size = sizes[usize::from(round % 2)];
            let sum = self.round(first, round, b, half_bytes, sum_bytes);
            let c = ((u128::from(a) + sum % u128::from(size)) % u128::from(size)) as u64;
            (a, b) = (b, c);
        }
        self.write(a, &mut numerals[..split]);
        self.write(b, &mut numerals[split..]);
    }

    /// Encrypts the block P of step 5, which is the same in all rounds.
    fn first_block(&self, len: usize, split: usize) -> [u8; 16] {
        let mut block = [0; 16];
        block[..3].copy_from_slice(&[1, 2, 1]);
        block[3..6].copy_from_slice(&(self.radix as u32).to_be_bytes()[1..]);
        block[6] = 10;
        block[7] = split as u8;
        block[8..12].copy_from_slice(&(len as u32).to_be_bytes());
        self.block(block)
    }

    /// Returns the number y of steps 6 i to iv. A half of at most 60 bits needs one block more, and
    /// twelve bytes of it.
    fn round(&self, first: [u8; 16], round: u8, b: u64, half_bytes: usize, take: usize) -> u128 {
        let mut block = [0; 16];
        block[15 - half_bytes] = round;
        block[16 - half_bytes..].copy_from_slice(&b.to_be_bytes()[8 - half_bytes..]);
        block
            .iter_mut()
            .zip(first)
            .for_each(|(byte, first)| *byte ^= first);
        u128::from_be_bytes(self.block(block)) >> (128 - 8 * take)
    }

    fn block(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = Array::from(block);
        self.cipher.encrypt_block(&mut block);
        block.into()
    }

    fn power(&self, len: usize) -> u64 {
        (0..len).fold(1, |power, _| power * self.radix)
    }

    fn number(&self, numerals: &[u8]) -> u64 {
        numerals.iter().fold(0, |number, numeral| {
            number * self.radix + u64::from(*numeral)
        })
    }

    fn write(&self, mut number: u64, numerals: &mut [u8]) {
        for numeral in numerals.iter_mut().rev() {
            *numeral = (number % self.radix) as u8;
            number /= self.radix;
        }
    }
}

#[cfg(test)]
mod tests {
    use fpe::ff1::{FF1, FlexibleNumeralString};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_samples_hold() {
        // NIST, "FF1 samples", sample 7: AES-256, no tweak.
        let key = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf,
            0x4f, 0x3c, 0xef, 0x43, 0x59, 0xd8, 0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f,
            0x04, 0xfc, 0x6a, 0x94,
        ];
        let mut numerals: Vec<u8> = (0..10).collect();
        Ff1::with_key(&key, 10).encrypt(&mut numerals);
        assert_eq!(numerals, [6, 6, 5, 7, 6, 6, 7, 0, 0, 9]);
    }

    #[test]
    fn lengths_follow_from_the_radix() {
        assert_eq!((Ff1::len_min(10), Ff1::len_max(10)), (6, 36));
        assert_eq!((Ff1::len_min(36), Ff1::len_max(36)), (4, 22));
    }

    proptest! {
        #[test]
        fn another_implementation_agrees(
            key: [u8; 32],
            radix in prop_oneof![Just(10_u64), Just(36)],
            seed in proptest::collection::vec(any::<u8>(), 36),
            len in 0_usize..40,
        ) {
            let len = len.clamp(Ff1::len_min(radix), Ff1::len_max(radix));
            let plain: Vec<u8> = seed[..len].iter().map(|n| n % radix as u8).collect();
            let mut ours = plain.clone();
            Ff1::with_key(&key, radix).encrypt(&mut ours);
            let peer = FF1::<Aes256>::new(&key, radix as u32).unwrap();
            let numerals = FlexibleNumeralString::from(plain.iter().map(|n| u16::from(*n)).collect::<Vec<_>>());
            let theirs: Vec<u16> = peer.encrypt(&[], &numerals).unwrap().into();
            prop_assert!(ours.iter().map(|n| u16::from(*n)).eq(theirs));
        }
    }
}

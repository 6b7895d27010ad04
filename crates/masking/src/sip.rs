//! SipHash-2-4: the fast keyed function behind pseudonyms, permutations and the set of originals.
//!
//! A pseudo-random function with a 128-bit key (Aumasson and Bernstein, "SipHash: a fast short-input
//! PRF", 2012). The key is derived by BLAKE3, so it is never weaker than the secret it stands under.
//! On a value of 20 bytes it takes a quarter of what a keyed BLAKE3 takes.

use zeroize::ZeroizeOnDrop;

/// A SipHash-2-4 key.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct SipKey(u64, u64);

impl std::fmt::Debug for SipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl SipKey {
    pub(crate) fn new(bytes: &[u8; 16]) -> Self {
        let (low, high) = bytes.split_at(8);
        Self(word(low), word(high))
    }

    /// Hashes `bytes` to 64 bits.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut state = self.absorbed(bytes, 0);
        state[2] ^= 0xff;
        squeeze(&mut state)
    }

    /// Hashes `bytes` to 128 bits.
    #[inline]
    pub(crate) fn wide(&self, bytes: &[u8]) -> WideHash {
        let mut state = self.absorbed(bytes, 0xee);
        state[2] ^= 0xee;
        let low = squeeze(&mut state);
        state[1] ^= 0xdd;
        WideHash { low, state }
    }

    /// Maps a word to 64 bits, as a round of a permutation needs it.
    ///
    /// The rounds are those of SipHash-2-4; its last word, which keeps inputs of different lengths apart,
    /// is left out, since all inputs here have one length.
    #[inline]
    pub(crate) fn hash_word(&self, word: u64) -> u64 {
        let mut state = self.start(0);
        absorb(&mut state, word);
        state[2] ^= 0xff;
        squeeze(&mut state)
    }

    #[inline]
    fn start(&self, width: u64) -> [u64; 4] {
        [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d ^ width,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]
    }

    #[inline]
    fn absorbed(&self, bytes: &[u8], width: u64) -> [u64; 4] {
        let mut state = self.start(width);
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            absorb(&mut state, u64::from_le_bytes(*chunk));
        }
        absorb(&mut state, last(rest, bytes));
        state
    }
}

/// 128 bits, of which the high ones are only made if somebody asks for them.
#[derive(Clone, Copy)]
pub(crate) struct WideHash {
    low: u64,
    state: [u64; 4],
}

impl WideHash {
    /// Returns the low 64 bits.
    #[inline]
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    /// Returns the high 64 bits.
    #[inline]
    pub(crate) fn high(&self) -> u64 {
        let mut state = self.state;
        squeeze(&mut state)
    }
}

/// Returns the last word: what is left of the input, `rest`, below its length.
#[inline]
fn last(rest: &[u8], bytes: &[u8]) -> u64 {
    let word = match bytes.last_chunk::<8>() {
        // Those of the eight that were absorbed already are shifted out.
        Some(eight) => u64::from_le_bytes(*eight)
            .checked_shr(64 - 8 * rest.len() as u32)
            .unwrap_or(0),
        None => rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    word | (bytes.len() as u64) << 56
}

#[inline]
fn squeeze(state: &mut [u64; 4]) -> u64 {
    for _ in 0..4 {
        round(state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("callers pass eight bytes"))
}

#[inline]
fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_vectors_hold() {
        // From the SipHash paper's reference code: key 00..0f, message 00, 01, 02 ...
        let key = SipKey::new(&std::array::from_fn(|n| n as u8));
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(key.hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash(&message), 0xa129_ca61_49be_45e5);
        let wide = key.wide(&[]);
        let wide = [wide.low(), wide.high()].map(u64::to_le_bytes).concat();
        assert_eq!(
            wide,
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93
            ]
        );
    }
}

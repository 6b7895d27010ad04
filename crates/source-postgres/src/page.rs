//! Pages of relations: their checksum and the position of the log that they are as new as.
//!
//! The checksum is that of PostgreSQL's `src/include/storage/checksum_impl.h`: 32 FNV-like sums run
//! side by side over every 32nd word, which is what lets the compiler use vector instructions.

use lifeboat_model::Lsn;

/// Length of a page, bytes. Servers built for another length are refused.
pub const PAGE_BYTES: usize = 8192;

/// One page.
pub type Page = [u8; PAGE_BYTES];

const LANES: usize = 32;
const ROW_BYTES: usize = LANES * 4;
const PRIME: u32 = 16_777_619;

/// Where each sum begins: random numbers that are part of the format.
const OFFSETS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// Where the checksum stands in a page's header, and how long it is.
const CHECKSUM_AT: usize = 8;
/// Where the header says how far the free space reaches; zero in a page never used.
const UPPER_AT: usize = 14;

/// What a page's checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageVerdict {
    /// The page was added to its file and never used: all zero, without a checksum.
    New,
    /// The checksum is right.
    Sound,
    /// The page is not what the server wrote, or half of it is older than the other.
    Damaged,
}

/// Judges the page that is number `block` of its relation.
pub fn judge(page: &Page, block: u32) -> PageVerdict {
    if page[UPPER_AT..UPPER_AT + 2] == [0, 0] {
        // The header of a used page cannot say so; anything else in it is damage.
        return if page.iter().all(|byte| *byte == 0) {
            PageVerdict::New
        } else {
            PageVerdict::Damaged
        };
    }
    let stored = u16::from_ne_bytes([page[CHECKSUM_AT], page[CHECKSUM_AT + 1]]);
    if stored == checksum(page, block) {
        PageVerdict::Sound
    } else {
        PageVerdict::Damaged
    }
}

/// Returns the position after the log's record that changed the page last.
pub fn lsn(page: &Page) -> Lsn {
    let half = |at: usize| {
        let bytes = page[at..].first_chunk().expect("a page is longer");
        u64::from(u32::from_ne_bytes(*bytes))
    };
    Lsn::new(half(0) << 32 | half(4))
}

/// Computes the checksum of the page that is number `block` of its relation.
pub fn checksum(page: &Page, block: u32) -> u16 {
    let (rows, _) = page.as_chunks::<ROW_BYTES>();
    let mut sums = OFFSETS;
    // The field itself counts as zero. It lies in the first row.
    let mut first = rows[0];
    first[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    mix(&mut sums, &first);
    for row in &rows[1..] {
        mix(&mut sums, row);
    }
    mix(&mut sums, &[0; ROW_BYTES]);
    mix(&mut sums, &[0; ROW_BYTES]);
    let folded = sums.iter().fold(block, |folded, sum| folded ^ sum);
    let reduced = folded % u32::from(u16::MAX) + 1;
    u16::try_from(reduced).expect("the remainder is below 65535")
}

#[inline(always)]
fn mix(sums: &mut [u32; LANES], row: &[u8; ROW_BYTES]) {
    let (words, _) = row.as_chunks::<4>();
    for (sum, word) in sums.iter_mut().zip(words) {
        let mixed = *sum ^ u32::from_ne_bytes(*word);
        *sum = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word, as slow as can be.
    fn by_definition(page: &Page, block: u32) -> u16 {
        let mut page = *page;
        page[8] = 0;
        page[9] = 0;
        let mut folded = block;
        for (lane, offset) in OFFSETS.iter().enumerate() {
            let mut sum = *offset;
            let words = (0..64).map(|row| {
                let at = (row * LANES + lane) * 4;
                u32::from_ne_bytes(page[at..at + 4].try_into().unwrap())
            });
            for word in words.chain([0, 0]) {
                let mixed = sum ^ word;
                sum = mixed.wrapping_mul(16_777_619) ^ (mixed >> 17);
            }
            folded ^= sum;
        }
        (folded % 65_535 + 1) as u16
    }

    fn sealed(seed: u64, block: u32) -> Page {
        let mut page = [0; PAGE_BYTES];
        let mut state = seed | 1;
        for byte in &mut page {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        page[UPPER_AT] = 1;
        let sum = checksum(&page, block).to_ne_bytes();
        page[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum);
        page
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_defined_one(seed: u64, block: u32) {
            let page = sealed(seed, block);
            prop_assert_eq!(checksum(&page, block), by_definition(&page, block));
            prop_assert_eq!(judge(&page, block), PageVerdict::Sound);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut page = sealed(1, 7);
        let mut unseen = 0;
        for at in 0..PAGE_BYTES * 8 {
            let flip = 1_u8 << (at % 8);
            page[at / 8] ^= flip;
            unseen += u32::from(judge(&page, 7) != PageVerdict::Damaged);
            page[at / 8] ^= flip;
        }
        // A sum of 16 bits misses one flip in 65536 by chance; this page has as many bits.
        assert!(unseen <= 4, "{unseen} flipped bits went unseen");
    }

    #[test]
    fn a_page_in_another_page_s_place_is_seen() {
        let page = sealed(1, 7);
        assert_eq!(judge(&page, 8), PageVerdict::Damaged);
    }

    #[test]
    fn only_a_page_of_zeros_is_new() {
        let mut page = [0; PAGE_BYTES];
        assert_eq!(judge(&page, 3), PageVerdict::New);
        page[5000] = 1;
        assert_eq!(judge(&page, 3), PageVerdict::Damaged);
    }
}

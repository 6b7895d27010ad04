//! Cutting streams into chunks by content.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// Sizes of chunks, bytes. A file below the minimum is one chunk.
pub(crate) const CHUNK_MIN: usize = 512 << 10;
const CHUNK_AVG: usize = 1 << 20;
pub(crate) const CHUNK_MAX: usize = 4 << 20;

/// Manifests are cut smaller: they are small, and change in a few places.
const MANIFEST_MIN: usize = 16 << 10;
const MANIFEST_AVG: usize = 64 << 10;
const MANIFEST_MAX: usize = 256 << 10;

/// Cuts a stream at places its content decides, so that an insertion moves no cut after it.
///
/// The seed comes from the repository's id key: chunk sizes reveal nothing to who lacks it.
///
/// Bytes go into [`Cutter::room`] and lie there until their chunk is complete, so that a file is
/// read to where it is cut. After [`Cutter::next_left`] said that nothing is left, a cutter is ready
/// for the next stream.
pub(crate) struct Cutter {
    min: usize,
    avg: usize,
    max: usize,
    gear: Gear,
    /// Bytes without a cut so far are those in `start..end`; what follows is room.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// With fewer bytes than this a cut is not looked for: most looks would be in vain.
    worth_a_look: usize,
}

/// FastCDC's tables, made once.
struct Gear {
    masks: (u64, u64),
    tables: (Cow<'static, [u64]>, Cow<'static, [u64]>),
}

impl Cutter {
    pub(crate) fn for_content(seed: u64) -> Self {
        Self::new(seed, CHUNK_MIN, CHUNK_AVG, CHUNK_MAX)
    }

    pub(crate) fn for_manifest(seed: u64) -> Self {
        Self::new(seed, MANIFEST_MIN, MANIFEST_AVG, MANIFEST_MAX)
    }

    fn new(seed: u64, min: usize, avg: usize, max: usize) -> Self {
        Self {
            min,
            avg,
            max,
            gear: Gear {
                masks: select_masks(avg, Normalization::Level1),
                tables: get_gear_with_seed(seed),
            },
            buffer: Vec::new(),
            start: 0,
            end: 0,
            worth_a_look: 2 * avg,
        }
    }

    /// Returns room for the next bytes, never none. Every chunk that is complete must have been
    /// taken before.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            // Longer than the longest chunk, so that what is moved to the front is the smaller part.
            self.buffer = vec![0; 2 * self.max];
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// Takes the first `len` bytes of the room as the stream's next.
    pub(crate) fn filled(&mut self, len: usize) {
        self.end += len;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// Takes as many of `bytes` as there is room for and returns the rest.
    pub(crate) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.room();
        let (now, later) = bytes.split_at(bytes.len().min(room.len()));
        room[..now.len()].copy_from_slice(now);
        self.filled(now.len());
        later
    }

    /// Returns the next chunk whose end is certain.
    pub(crate) fn next_complete(&mut self) -> Option<&[u8]> {
        let uncut = self.end - self.start;
        if uncut < self.worth_a_look {
            return None;
        }
        let len = self.first_cut();
        if len == uncut && uncut < self.max {
            self.worth_a_look = (2 * uncut).min(self.max);
            return None;
        }
        Some(self.take(len))
    }

    /// Returns the next of the chunks that are left when the stream has ended.
    pub(crate) fn next_left(&mut self) -> Option<&[u8]> {
        match self.end - self.start {
            0 => {
                (self.start, self.end) = (0, 0);
                None
            }
            // Most files are small: nothing is to be looked for in them.
            len if len <= self.min => Some(self.take(len)),
            _ => {
                let len = self.first_cut();
                Some(self.take(len))
            }
        }
    }

    fn take(&mut self, len: usize) -> &[u8] {
        let start = self.start;
        self.start += len;
        self.worth_a_look = 2 * self.avg;
        &self.buffer[start..self.start]
    }

    /// Returns the length of the first chunk, if the stream ended where the bytes do.
    fn first_cut(&self) -> usize {
        let Gear { masks, tables } = &self.gear;
        let ((small, large), (gear, gear_shifted)) = (*masks, tables);
        let bytes = &self.buffer[self.start..self.end];
        let (min, avg, max) = (self.min, self.avg, self.max);
        // The shifted masks and table let FastCDC roll two bytes at a time.
        let (small_shifted, large_shifted) = (small << 1, large << 1);
        cut_gear(
            bytes,
            min,
            avg,
            max,
            small,
            large,
            small_shifted,
            large_shifted,
            gear,
            gear_shifted,
        )
        .1
    }
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;

    use fastcdc::v2020::FastCDC;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cuts(cutter: &mut Cutter, bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        for mut rest in bytes.chunks(step) {
            while !rest.is_empty() {
                rest = cutter.fill(rest);
                chunks.extend(from_fn(|| cutter.next_complete().map(<[u8]>::to_vec)));
            }
        }
        chunks.extend(from_fn(|| cutter.next_left().map(<[u8]>::to_vec)));
        chunks
    }

    #[test]
    fn cuts_are_where_the_library_makes_them() {
        let bytes = noise(3 << 20);
        let whole = FastCDC::with_level_and_seed(
            &bytes,
            MANIFEST_MIN,
            MANIFEST_AVG,
            MANIFEST_MAX,
            Normalization::Level1,
            7,
        );
        let expected: Vec<_> = whole
            .map(|chunk| bytes[chunk.offset..chunk.offset + chunk.length].to_vec())
            .collect();
        assert_eq!(cuts(&mut Cutter::for_manifest(7), &bytes, 10_000), expected);
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrive() {
        let bytes = noise(3 << 20);
        let mut cutter = Cutter::for_manifest(7);
        let chunks = cuts(&mut cutter, &bytes, 1000);
        assert!(chunks.len() > 10);
        assert_eq!(chunks.concat(), bytes);
        assert_eq!(cuts(&mut cutter, &bytes, 777_777), chunks);
    }

    #[test]
    fn bytes_without_a_place_to_cut_make_chunks_of_the_longest_kind() {
        let zeros = vec![0; 3 * MANIFEST_MAX + 5];
        let chunks = cuts(&mut Cutter::for_manifest(7), &zeros, 50_000);
        let lens: Vec<_> = chunks.iter().map(Vec::len).collect();
        assert_eq!(lens, [MANIFEST_MAX, MANIFEST_MAX, MANIFEST_MAX, 5]);
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let mut bytes = noise(3 << 20);
        let before = cuts(&mut Cutter::for_manifest(7), &bytes, 1 << 20);
        bytes.insert(100, 1);
        let after = cuts(&mut Cutter::for_manifest(7), &bytes, 1 << 20);
        let changed = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(changed <= 2, "{changed} chunks changed");
    }
}

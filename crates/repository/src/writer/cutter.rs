//! Cutting streams into chunks by content.

use fastcdc::v2020::{FastCDC, Normalization};

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
pub(crate) struct Cutter {
    seed: u64,
    min: usize,
    avg: usize,
    max: usize,
    buffer: Vec<u8>,
}

impl Cutter {
    pub(crate) fn for_content(seed: u64) -> Self {
        Self {
            seed,
            min: CHUNK_MIN,
            avg: CHUNK_AVG,
            max: CHUNK_MAX,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn for_manifest(seed: u64) -> Self {
        Self {
            seed,
            min: MANIFEST_MIN,
            avg: MANIFEST_AVG,
            max: MANIFEST_MAX,
            buffer: Vec::new(),
        }
    }

    /// Takes more bytes and hands every chunk that is complete to `give`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(bytes);
        // Cutting needs a longest chunk ahead of it; waiting for two saves moving bytes around.
        if self.buffer.len() >= 2 * self.max {
            self.cut(false, &mut give);
        }
    }

    /// Ends the stream and hands over what is left.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(&[u8])) {
        self.cut(true, &mut give);
        self.buffer.clear();
    }

    fn cut(&mut self, end: bool, give: &mut impl FnMut(&[u8])) {
        if end && self.buffer.len() <= self.min {
            // Most files are small: they need no cutter.
            if !self.buffer.is_empty() {
                give(&self.buffer);
            }
            return;
        }
        let mut taken = 0;
        let rest = |taken: usize| self.buffer.len() - taken;
        let cutter = FastCDC::with_level_and_seed(
            &self.buffer,
            self.min,
            self.avg,
            self.max,
            Normalization::Level1,
            self.seed,
        );
        while rest(taken) > 0 && (end || rest(taken) >= self.max) {
            let (_, cut) = cutter.cut(taken, rest(taken));
            give(&self.buffer[taken..cut]);
            taken = cut;
        }
        self.buffer.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cuts(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::for_manifest(7);
        let mut chunks = Vec::new();
        for part in bytes.chunks(step) {
            cutter.push(part, |chunk| chunks.push(chunk.to_vec()));
        }
        cutter.finish(|chunk| chunks.push(chunk.to_vec()));
        chunks
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrive() {
        let bytes = noise(3 << 20);
        let chunks = cuts(&bytes, 1000);
        assert!(chunks.len() > 10);
        assert_eq!(chunks.concat(), bytes);
        assert_eq!(cuts(&bytes, 777_777), chunks);
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let mut bytes = noise(3 << 20);
        let before = cuts(&bytes, 1 << 20);
        bytes.insert(100, 1);
        let after = cuts(&bytes, 1 << 20);
        let changed = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(changed <= 2, "{changed} chunks changed");
    }
}

//! Compression of frames: zstd where it helps, nothing where it does not.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

use crate::format::pack::Frame;
use crate::format::wal::PlainFrame;

/// Compression is what a backup spends most of its time with. Level 2, but with shorter matches and a
/// table that stays in the processor's cache: on database pages 5 % smaller than level 3 at the speed of
/// level 2, on text 1 % smaller than level 2 and no slower.
const LEVEL: i32 = 2;
const PARAMETERS: [CParameter; 3] = [
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::MinMatch(5),
    CParameter::HashLog(16),
];

/// Segments of a write-ahead log are compressed while the database goes on, and kept for long.
const WAL_LEVEL: i32 = 3;

thread_local! {
    static CODEC: RefCell<Codec> = RefCell::new(Codec::new(LEVEL, &PARAMETERS));
    static WAL_CODEC: RefCell<Codec> = RefCell::new(Codec::new(WAL_LEVEL, &[]));
}

/// One thread's compressor, with the buffers it works in: fresh ones for every frame would cost more
/// page faults than they hold bytes worth compressing.
struct Codec {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    compressed: Vec<u8>,
    decoded: Vec<u8>,
}

impl Codec {
    fn new(level: i32, parameters: &[CParameter]) -> Self {
        let mut compressor = Compressor::new(level).expect("the level is one of zstd's");
        for parameter in parameters {
            let set = compressor.set_parameter(*parameter);
            set.expect("the parameters are within zstd's bounds");
        }
        Self {
            compressor,
            decompressor: Decompressor::new().expect("no dictionary is involved"),
            compressed: Vec::new(),
            decoded: Vec::new(),
        }
    }

    /// Returns `raw` compressed if that is worth it and decodes to the same bytes again.
    fn compress(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        self.compressed.clear();
        self.compressed
            .reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let len = self
            .compressor
            .compress_to_buffer(raw, &mut self.compressed)
            .ok()?;
        if len >= raw.len() - raw.len() / 32 {
            return None;
        }
        self.decoded.clear();
        self.decoded.reserve(raw.len());
        self.decompressor
            .decompress_to_buffer(&self.compressed, &mut self.decoded)
            .ok()?;
        (self.decoded == raw).then(|| self.compressed.clone())
    }
}

/// Compresses chunks that lie one after the other in `raw` into a frame.
///
/// What does not shrink by a thirty-second is stored as it is, so that a restore need not
/// decompress it. The result is decoded and compared before anyone may store it: compressor and
/// memory faults have corrupted other tools' backups silently.
pub(crate) fn compress_frame(raw: Vec<u8>, chunks: Vec<([u8; 32], u32)>) -> Frame {
    let raw_len = u32::try_from(raw.len()).expect("frames are small");
    let compressed = CODEC.with_borrow_mut(|codec| codec.compress(&raw));
    let is_compressed = compressed.is_some();
    Frame {
        bytes: compressed.unwrap_or(raw),
        raw_len,
        compressed: is_compressed,
        chunks,
    }
}

/// Compresses a frame of a write-ahead log, or leaves it as it is; what comes out is shorter only if it
/// is compressed. It was decoded and compared, too.
pub(crate) fn compress_wal(raw: &[u8]) -> PlainFrame {
    let raw_len = u32::try_from(raw.len()).expect("frames are small");
    let compressed = WAL_CODEC.with_borrow_mut(|codec| codec.compress(raw));
    let bytes = compressed.unwrap_or_else(|| raw.to_vec());
    PlainFrame { bytes, raw_len }
}

/// What one zstd block gives at most (RFC 8878, 3.1.1.2.4), and the fewest bytes it takes itself.
const BLOCK_RAW_MAX: usize = 128 << 10;
const BLOCK_STORED_MIN: usize = 4;

/// Decompresses what is said to have `raw_len` bytes; `None` if it has not.
///
/// A length that so few bytes cannot hold is refused before memory is taken for it.
pub(crate) fn decompress(compressed: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    if raw_len / BLOCK_RAW_MAX > compressed.len() / BLOCK_STORED_MIN {
        return None;
    }
    let raw = zstd::bulk::decompress(compressed, raw_len).ok()?;
    (raw.len() == raw_len).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shrinks_and_noise_is_left_alone() {
        let text = b"lifeboat ".repeat(1000);
        assert!(compress_frame(text.clone(), vec![]).bytes.len() < 200);
        let noise: Vec<u8> = (0_u32..300)
            .flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes())
            .collect();
        let frame = compress_frame(noise.clone(), vec![]);
        assert!(!frame.compressed && frame.bytes == noise);
        assert!(!compress_frame(Vec::new(), vec![]).compressed);
    }

    #[test]
    fn only_the_length_that_was_compressed_is_believed() {
        let zeros = vec![0; 32 << 20];
        let frame = compress_frame(zeros.clone(), vec![]);
        assert!(decompress(&frame.bytes, zeros.len()) == Some(zeros.clone()));
        assert!(decompress(&frame.bytes, zeros.len() + 1).is_none());
        assert!(decompress(&frame.bytes, zeros.len() - 1).is_none());
        assert!(decompress(&frame.bytes[..20], zeros.len()).is_none());
    }
}

//! Compression of frames: zstd where it helps, nothing where it does not.

use std::cell::RefCell;

use crate::format::pack::Frame;

/// zstd's default level: on database pages and source trees, higher levels cost several times the
/// CPU for a few percent.
const LEVEL: i32 = 3;

thread_local! {
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
        zstd::bulk::Compressor::new(LEVEL).expect("the level is one of zstd's"),
    );
}

/// Compresses chunks that lie one after the other in `raw` into a frame.
///
/// What does not shrink by a thirty-second is stored as it is, so that a restore need not
/// decompress it. The result is decoded and compared before anyone may store it: compressor and
/// memory faults have corrupted other tools' backups silently.
pub(crate) fn compress_frame(raw: Vec<u8>, chunks: Vec<([u8; 32], u32)>) -> Frame {
    let raw_len = u32::try_from(raw.len()).expect("frames are small");
    let compressed = COMPRESSOR
        .with_borrow_mut(|compressor| compressor.compress(&raw))
        .ok()
        .filter(|compressed| compressed.len() < raw.len() - raw.len() / 32)
        .filter(|compressed| {
            zstd::bulk::decompress(compressed, raw.len()).is_ok_and(|decoded| decoded == raw)
        });
    match compressed {
        Some(bytes) => Frame {
            bytes,
            raw_len,
            compressed: true,
            chunks,
        },
        None => Frame {
            bytes: raw,
            raw_len,
            compressed: false,
            chunks,
        },
    }
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

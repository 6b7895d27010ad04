//! Index objects: which pack holds which chunk, and where.
//!
//! The public part lists the packs (32 bytes each), so that a replicator without any key knows
//! what must be there before the index may be.

use lifeboat_model::PackId;
use serde::{Deserialize, Serialize};

use crate::error::Flaw;
use crate::format::pack::{DirectoryV1, FrameV1};

/// The sealed body of an index object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexV1 {
    pub(crate) packs: Vec<IndexedPackV1>,
}

/// One pack as an index knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexedPackV1 {
    pub(crate) id: [u8; 32],
    /// Length of the pack object, bytes.
    pub(crate) size: u64,
    /// Metadata pack, else data pack.
    pub(crate) metadata: bool,
    pub(crate) directory: DirectoryV1,
}

impl IndexedPackV1 {
    /// Reports whether the pack's numbers agree with each other: places in it are 32-bit numbers.
    pub(crate) fn is_sound(&self) -> bool {
        let frames = &self.directory.frames;
        self.size <= u64::from(u32::MAX)
            && self.directory.frames_end() <= self.size
            && frames.iter().all(FrameV1::is_sound)
    }
}

/// Writes the public part.
pub(crate) fn public_part(packs: &[IndexedPackV1]) -> Vec<u8> {
    packs.iter().flat_map(|pack| pack.id).collect()
}

/// Reads the public part.
pub(crate) fn packs_of(public: &[u8]) -> Result<Vec<PackId>, Flaw> {
    let ids = public.chunks_exact(32);
    if !ids.remainder().is_empty() {
        return Err(Flaw::damaged("its list of packs is cut short"));
    }
    Ok(ids
        .map(|id| PackId::from_bytes(id.try_into().expect("chunks of 32")))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_reach_beyond_their_pack_are_not_sound() {
        let frame = |stored_len| FrameV1 {
            stored_len,
            raw_len: 0,
            compressed: false,
            chunks: Vec::new(),
        };
        let mut pack = IndexedPackV1 {
            id: [1; 32],
            size: 1000,
            metadata: false,
            directory: DirectoryV1 {
                frames: vec![frame(500), frame(452)],
            },
        };
        assert!(pack.is_sound());
        pack.size = 999;
        assert!(!pack.is_sound(), "the last frame ends beyond the pack");
        // Two of these wrap around in 32 bits, and the pack would seem to hold them.
        pack.directory.frames = vec![frame(u32::MAX), frame(u32::MAX)];
        assert!(!pack.is_sound());
    }
}

//! Index objects: which pack holds which chunk, and where.
//!
//! The public part lists the packs, so that a replicator without any key knows what must be there
//! before the index may be; and the index objects that this one stands in for, so that a commit
//! record that names one of those is known to be served.

use lifeboat_model::{ChunkId, IndexId, PackId};
use serde::{Deserialize, Serialize};

use crate::error::Flaw;
use crate::format::pack::{DirectoryV1, PackKind};

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
    pub(crate) fn kind(&self) -> PackKind {
        if self.metadata {
            PackKind::Metadata
        } else {
            PackKind::Data
        }
    }

    /// Returns the ids of all chunks in the pack.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        let chunks = self.directory.frames.iter().flat_map(|frame| &frame.chunks);
        chunks.map(|(id, _)| ChunkId::from_bytes(*id))
    }

    /// Reports whether the pack's numbers agree with each other: places in it are 32-bit numbers.
    pub(crate) fn is_sound(&self) -> bool {
        self.size <= u64::from(u32::MAX)
            && self.directory.frames_end() <= self.size
            && self.directory.is_sound()
    }
}

/// The first bytes of an index object's name: enough to tell them apart.
pub(crate) type IndexPrefix = [u8; 8];

/// Returns the prefix of an index object's name.
pub(crate) fn prefix_of(id: &IndexId) -> IndexPrefix {
    id.as_bytes()[..8].try_into().expect("an id has 32 bytes")
}

/// What anyone can read of an index object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexPublic {
    /// The packs it names, in the order of its body.
    pub(crate) packs: Vec<PackId>,
    /// Index objects that were written together with this one: it serves what it replaces only as
    /// long as these are served too.
    pub(crate) needs: Vec<IndexPrefix>,
    /// Index objects that this one and those it needs stand in for.
    pub(crate) replaces: Vec<IndexPrefix>,
}

impl IndexPublic {
    /// Describes an index object with these packs that replaces no other.
    pub(crate) fn of(packs: &[IndexedPackV1]) -> Self {
        let packs = packs.iter().map(|pack| PackId::from_bytes(pack.id));
        Self {
            packs: packs.collect(),
            ..Self::default()
        }
    }

    /// Writes it: number of packs and of needed objects, u32 each; ids; prefixes; prefixes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).expect("an index object names few");
        let mut bytes = count(self.packs.len()).to_le_bytes().to_vec();
        bytes.extend(count(self.needs.len()).to_le_bytes());
        bytes.extend(self.packs.iter().flat_map(|pack| pack.as_bytes()));
        bytes.extend(self.needs.iter().chain(&self.replaces).flatten());
        bytes
    }

    /// Reads what [`IndexPublic::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw> {
        let cut = || Flaw::damaged("its public part is cut short");
        let (packs, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        let (needs, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let split = |rest: &'_ [u8], count: &[u8; 4], len: usize| {
            let len = (u32::from_le_bytes(*count) as usize).checked_mul(len);
            len.filter(|len| *len <= rest.len()).ok_or_else(cut)
        };
        let (packs, rest) = rest.split_at(split(rest, packs, 32)?);
        let (needs, replaces) = rest.split_at(split(rest, needs, 8)?);
        if !replaces.len().is_multiple_of(8) {
            return Err(cut());
        }
        let pack = |id: &[u8]| PackId::from_bytes(id.try_into().expect("chunks of 32"));
        let prefix = |prefix: &[u8]| prefix.try_into().expect("chunks of 8");
        Ok(Self {
            packs: packs.chunks_exact(32).map(pack).collect(),
            needs: needs.chunks_exact(8).map(prefix).collect(),
            replaces: replaces.chunks_exact(8).map(prefix).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::pack::FrameV1;

    #[test]
    fn frames_that_reach_beyond_their_pack_are_not_sound() {
        let frame = |stored_len| FrameV1 {
            stored_len,
            raw_len: 0,
            compressed: false,
            origin: 0,
            number: 0,
            chunks: Vec::new(),
        };
        let mut pack = IndexedPackV1 {
            id: [1; 32],
            size: 1000,
            metadata: false,
            directory: DirectoryV1 {
                origins: vec![[0; 32]],
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

    proptest! {
        #[test]
        fn a_public_part_reads_back(
            packs: Vec<[u8; 32]>,
            needs: Vec<[u8; 8]>,
            replaces: Vec<[u8; 8]>,
        ) {
            let packs = packs.into_iter().map(PackId::from_bytes).collect();
            let public = IndexPublic { packs, needs, replaces };
            prop_assert_eq!(IndexPublic::from_bytes(&public.to_bytes()), Ok(public));
        }

        #[test]
        fn no_bytes_make_the_public_part_panic(bytes: Vec<u8>) {
            let _ = IndexPublic::from_bytes(&bytes);
        }
    }
}

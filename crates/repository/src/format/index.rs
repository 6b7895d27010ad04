//! Index objects: which pack holds which chunk, and where.
//!
//! The public part lists the packs (32 bytes each), so that a replicator without any key knows
//! what must be there before the index may be.

use lifeboat_model::PackId;
use serde::{Deserialize, Serialize};

use crate::error::Flaw;
use crate::format::pack::DirectoryV1;

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

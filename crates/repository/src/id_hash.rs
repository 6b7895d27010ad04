//! Hash tables keyed by ids.
//!
//! Ids are hashes under secret keys, or random: their own bits spread them over a table as well as
//! any hash function would, and nobody can choose them so that they collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map keyed by ids, or by parts of at least eight bytes of them.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A set of ids.
pub(crate) type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// Takes the first eight bytes of an id for its hash.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // An array announces its length before its bytes; that is the same for all keys.
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _len: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use lifeboat_model::ChunkId;

    use super::*;

    #[test]
    fn ids_that_differ_have_different_hashes() {
        let build = BuildHasherDefault::<IdHasher>::default();
        let hashes: HashSet<u64> = (0_u32..1000)
            .map(|n| ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()))
            .flat_map(|id| [build.hash_one(id), build.hash_one(&id.as_bytes()[16..])])
            .collect();
        assert_eq!(hashes.len(), 2000);
    }
}

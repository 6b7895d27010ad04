//! What snapshots need: every chunk that a manifest names, and the manifest itself.

use std::collections::HashMap;
use std::sync::Arc;

use lifeboat_model::ChunkId;

use crate::chunk_index::ChunkIndex;
use crate::error::RepositoryError;
use crate::format::manifest::read_record;
use crate::manifest::MetadataReader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// What is left over of a record at the end of a chunk is remembered up to this length.
const CARRY_MAX: usize = 256 << 10;

/// Walks the manifests of many snapshots, each part that they share only once.
///
/// Manifests are cut where their content says, so two that differ in a few files share most of
/// their chunks. A chunk that was read before, following the same left-over of a record, names the
/// same chunks again and leaves the same over.
pub(crate) struct LiveWalk {
    metadata: MetadataReader,
    seen: HashMap<(ChunkId, blake3::Hash), Vec<u8>>,
}

impl LiveWalk {
    pub(crate) fn new(repository: &Repository, index: Arc<ChunkIndex>) -> Self {
        Self {
            metadata: MetadataReader::new(repository.clone(), index),
            seen: HashMap::new(),
        }
    }

    /// Names every chunk that a snapshot needs and that no snapshot walked before was seen to need.
    pub(crate) async fn walk(
        &mut self,
        snapshot: &Snapshot,
        mut needs: impl FnMut(ChunkId),
    ) -> Result<(), RepositoryError> {
        let mut carry: Vec<u8> = Vec::new();
        for chunk in &snapshot.manifest {
            let id = ChunkId::from_bytes(chunk.id);
            needs(id);
            let place = (id, blake3::hash(&carry));
            if let Some(left_over) = self.seen.get(&place) {
                carry.clone_from(left_over);
                continue;
            }
            carry.extend(self.metadata.chunk(id).await?);
            let taken = name_chunks(&carry, &mut needs).ok_or_else(|| damaged(snapshot))?;
            carry.drain(..taken);
            if carry.len() <= CARRY_MAX {
                self.seen.insert(place, carry.clone());
            }
        }
        if carry.is_empty() {
            Ok(())
        } else {
            Err(damaged(snapshot))
        }
    }
}

/// Names the chunks of all whole records in `bytes` and returns their length; `None` if one is
/// damaged.
fn name_chunks(bytes: &[u8], needs: &mut impl FnMut(ChunkId)) -> Option<usize> {
    let mut taken = 0;
    while let Some((_, content, len)) = read_record(&bytes[taken..]).ok()? {
        taken += len;
        let Some(content) = content else { continue };
        content.chunks.iter().for_each(|chunk| needs(chunk.id));
        let pages = content.pages.into_iter().flat_map(|pages| pages.map);
        pages.for_each(&mut *needs);
    }
    Some(taken)
}

fn damaged(snapshot: &Snapshot) -> RepositoryError {
    let what = "its manifest cannot be read";
    RepositoryError::corrupt(&snapshot.name().key(), what)
}

//! What anyone can see of the index, without a key: its objects, the packs they name, and the objects
//! they stand in for.
//!
//! A commit record lists the index objects that existed when it was written. Pruning replaces them
//! by others, which say so; this is where the two are brought together.

use std::collections::{BTreeSet, HashSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::{IndexId, PackId};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore};

use crate::error::RepositoryError;
use crate::format::commit::CommitPublic;
use crate::format::index::{IndexPrefix, IndexPublic, prefix_of};
use crate::format::{Kind, sealed};
use crate::index_store::until_settled;
use crate::layout::INDEX;
use crate::repository::READS_AT_ONCE;

/// The public parts of all index objects of a store.
#[derive(Debug, Default)]
pub struct IndexCatalog {
    objects: Vec<(IndexId, IndexPublic)>,
    /// Prefixes of objects that are there, or that others that are there stand in for.
    served: HashSet<IndexPrefix>,
}

impl IndexCatalog {
    /// Reads the catalog of a store.
    ///
    /// # Errors
    /// Fails if the store cannot be read or an index object is damaged.
    pub async fn read(store: &dyn ObjectStore) -> Result<Self, RepositoryError> {
        until_settled(|| Self::read_once(store)).await
    }

    async fn read_once(store: &dyn ObjectStore) -> Result<Self, RepositoryError> {
        let listed = store.list(INDEX).await?;
        let read = |meta: ObjectMeta| async move {
            let bytes = store.get(&meta.key).await?;
            let public = sealed::public(Kind::Index, &bytes).map_err(|flaw| flaw.of(&meta.key))?;
            let public = IndexPublic::from_bytes(public).map_err(|flaw| flaw.of(&meta.key))?;
            Ok::<_, RepositoryError>((id_of(&meta.key)?, public))
        };
        let objects = stream::iter(listed).map(read).buffered(READS_AT_ONCE);
        Ok(Self::new(objects.try_collect().await?))
    }

    pub(crate) fn new(objects: Vec<(IndexId, IndexPublic)>) -> Self {
        let mut served: HashSet<_> = objects.iter().map(|(id, _)| prefix_of(id)).collect();
        loop {
            let before = served.len();
            for (_, public) in &objects {
                if public.needs.iter().all(|needed| served.contains(needed)) {
                    served.extend(&public.replaces);
                }
            }
            // What one object replaces may be what another one needs.
            if served.len() == before {
                return Self { objects, served };
            }
        }
    }

    /// Returns the index objects that are there.
    pub fn objects(&self) -> impl Iterator<Item = IndexId> {
        self.objects.iter().map(|(id, _)| *id)
    }

    /// Returns every pack that an index object names.
    pub fn packs(&self) -> BTreeSet<PackId> {
        let packs = self.objects.iter().flat_map(|(_, public)| &public.packs);
        packs.copied().collect()
    }

    /// Reports whether an index object is there, or others that stand in for it.
    pub(crate) fn serves(&self, prefix: &IndexPrefix) -> bool {
        self.served.contains(prefix)
    }

    /// Returns the start of the name of an index object that a snapshot needs and that is neither
    /// there nor replaced, if there is one: the snapshot cannot be restored then.
    ///
    /// # Errors
    /// Fails if the bytes are no commit record.
    pub fn lacks_for(
        &self,
        key: &ObjectKey,
        record: &[u8],
    ) -> Result<Option<String>, RepositoryError> {
        let needed = index_needed_by(key, record)?;
        let lost = needed.iter().find(|prefix| !self.serves(prefix));
        Ok(lost.map(hex::encode))
    }
}

/// Reads an index object's id from its name.
pub(crate) fn id_of(key: &ObjectKey) -> Result<IndexId, RepositoryError> {
    let id = key.file_name().parse();
    id.map_err(|_| RepositoryError::corrupt(key, "its name is no id"))
}

/// Returns the prefixes of all index objects that existed when a snapshot was committed.
pub(crate) fn index_needed_by(
    key: &ObjectKey,
    record: &[u8],
) -> Result<Vec<IndexPrefix>, RepositoryError> {
    let public = CommitPublic::of(record).map_err(|flaw| flaw.of(key))?;
    Ok(public.index)
}

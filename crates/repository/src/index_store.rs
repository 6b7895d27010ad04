//! Reading index objects, and which of the packs they name may be used.

use std::collections::{BTreeSet, HashMap};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::{ErrorKind, IndexId, PackId};
use lifeboat_storage::ObjectMeta;

use crate::chunk_index::ChunkIndex;
use crate::error::{Flaw, RepositoryError};
use crate::format::index::{IndexPublic, IndexV1, IndexedPackV1, prefix_of};
use crate::format::{Kind, sealed};
use crate::index_catalog::{IndexCatalog, id_of, index_needed_by};
use crate::layout::{INDEX, PACKS};
use crate::prune::Tombstones;
use crate::repository::{READS_AT_ONCE, Repository};
use crate::snapshot::Snapshot;

/// An index object, opened.
#[derive(Debug)]
pub(crate) struct IndexObject {
    pub(crate) id: IndexId,
    pub(crate) public: IndexPublic,
    pub(crate) packs: Vec<IndexedPackV1>,
}

impl Repository {
    /// Loads the index of what is there. Needs any key.
    ///
    /// Packs that the store has lost or cut are left out. What is about to be deleted is used only where
    /// there is nothing else.
    ///
    /// Commit records that a caller relies on must be listed before: an index never names less than
    /// the records that existed when it was read.
    pub(crate) async fn load_index(&self) -> Result<ChunkIndex, RepositoryError> {
        let doomed = Tombstones::read(&*self.store).await?.packs();
        let objects = self.index_objects().await?;
        let sizes = self.packs_there().await?;
        Ok(self.index_of(&objects, &sizes, &doomed))
    }

    /// Loads the index for reading content, and for nothing that refers to it: it names packs that the
    /// store has lost or cut as well, where no whole one has a chunk. Another region may have them, and
    /// if none has, a read fails with the pack's name. Index objects that the snapshot needs and the
    /// store has lost are read from another region, too.
    pub(crate) async fn load_index_to_read(
        &self,
        snapshot: &Snapshot,
    ) -> Result<ChunkIndex, RepositoryError> {
        let doomed = Tombstones::read(&*self.store).await?.packs();
        let objects = self.index_objects().await?;
        let elsewhere = self.index_objects_elsewhere(snapshot, &objects).await?;
        let sizes = self.packs_there().await?;
        let mut index = self.index_of(&objects, &sizes, &doomed);
        // What is known already stays as it is.
        let all = objects.iter().chain(&elsewhere);
        let all = all.flat_map(|object| &object.packs);
        all.for_each(|pack| index.add(pack));
        Ok(index)
    }

    /// Reads what other regions have of the index, if one of the objects that a snapshot needs is not
    /// `here` and nothing that is stands in for it.
    ///
    /// All of it, as what is needed may lie there in objects that stand in for others.
    async fn index_objects_elsewhere(
        &self,
        snapshot: &Snapshot,
        here: &[IndexObject],
    ) -> Result<Vec<IndexObject>, RepositoryError> {
        let Some(regions) = self.store.as_failover() else {
            return Ok(Vec::new());
        };
        let key = snapshot.name().key();
        let mut lacking = index_needed_by(&key, &self.store.get(&key).await?)?;
        let known = here.iter().map(|object| (object.id, object.public.clone()));
        let catalog = IndexCatalog::new(known.collect());
        lacking.retain(|prefix| !catalog.serves(prefix));
        let mut found = Vec::new();
        if lacking.is_empty() {
            return Ok(found);
        }
        for meta in regions.list_told(INDEX).await? {
            let id = id_of(&meta.key)?;
            if here.iter().any(|object| object.id == id) {
                continue;
            }
            if lacking.contains(&prefix_of(&id)) && regions.is_lacking(&meta.key) {
                regions.note_damage(&regions.members()[0], &meta.key, "it is missing");
            }
            match self.read_index_object(meta).await {
                Ok(object) => found.push(object),
                // Whether it was needed shows when a chunk cannot be found.
                Err(error) => tracing::warn!("a part of the index is left out: {error}"),
            }
        }
        Ok(found)
    }

    /// Loads the index for a session that honours these tombstones: it holds nothing of what they
    /// name, so that chunks in there are stored again.
    pub(crate) async fn load_index_without(
        &self,
        tombstones: &Tombstones,
    ) -> Result<(ChunkIndex, Vec<IndexId>), RepositoryError> {
        let (index, packs) = (tombstones.index(), tombstones.packs());
        let mut objects = self.index_objects().await?;
        objects.retain(|object| !index.contains(&object.id));
        for object in &mut objects {
            object
                .packs
                .retain(|pack| !packs.contains(&PackId::from_bytes(pack.id)));
        }
        let sizes = self.packs_there().await?;
        let ids = objects.iter().map(|object| object.id).collect();
        Ok((self.index_of(&objects, &sizes, &BTreeSet::new()), ids))
    }

    /// Makes an index of the packs that are there whole; those in `last` only where no other pack
    /// has a chunk.
    pub(crate) fn index_of(
        &self,
        objects: &[IndexObject],
        sizes: &HashMap<PackId, u64>,
        last: &BTreeSet<PackId>,
    ) -> ChunkIndex {
        let mut index = ChunkIndex::default();
        let mut late = Vec::new();
        let mut lost = BTreeSet::new();
        for pack in objects.iter().flat_map(|object| &object.packs) {
            let id = PackId::from_bytes(pack.id);
            match sizes.get(&id) {
                Some(size) if *size == pack.size && last.contains(&id) => late.push(pack),
                Some(size) if *size == pack.size => index.add(pack),
                _ => {
                    lost.insert(id);
                }
            }
        }
        late.into_iter().for_each(|pack| index.add(pack));
        if !lost.is_empty() {
            let (count, store) = (lost.len(), self.store.describe());
            tracing::warn!("{count} packs are missing or cut in `{store}`: run `lifeboat verify`");
        }
        index
    }

    /// Lists the packs that are there, with their lengths.
    pub(crate) async fn packs_there(&self) -> Result<HashMap<PackId, u64>, RepositoryError> {
        let listed = self.store.list(PACKS).await?;
        let pack = |meta: ObjectMeta| Some((meta.key.file_name().parse().ok()?, meta.size));
        Ok(listed.into_iter().filter_map(pack).collect())
    }

    /// Reads all index objects.
    pub(crate) async fn index_objects(&self) -> Result<Vec<IndexObject>, RepositoryError> {
        until_settled(|| self.read_index_objects()).await
    }

    async fn read_index_objects(&self) -> Result<Vec<IndexObject>, RepositoryError> {
        let listed = self.store.list(INDEX).await?;
        stream::iter(listed)
            .map(|meta| self.read_index_object(meta))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn read_index_object(&self, meta: ObjectMeta) -> Result<IndexObject, RepositoryError> {
        let bytes = self.store.get(&meta.key).await?;
        let id = id_of(&meta.key)?;
        let (public, packs) = self
            .open_index_object(&bytes)
            .map_err(|flaw| flaw.of(&meta.key))?;
        Ok(IndexObject { id, public, packs })
    }

    /// Opens an index object: what anyone can read of it, and its packs.
    pub(crate) fn open_index_object(
        &self,
        bytes: &[u8],
    ) -> Result<(IndexPublic, Vec<IndexedPackV1>), Flaw> {
        let index: IndexV1 = sealed::open(Kind::Index, self.id, self.keys.metadata(), bytes)?;
        let public = IndexPublic::from_bytes(sealed::public(Kind::Index, bytes)?)?;
        // Who has no key goes by the public part, so the two must not differ.
        let named = IndexPublic::of(&index.packs).packs == public.packs;
        if named && index.packs.iter().all(IndexedPackV1::is_sound) {
            Ok((public, index.packs))
        } else {
            Err(Flaw::damaged("its numbers do not agree"))
        }
    }

    /// Writes an index object.
    pub(crate) async fn write_index_object(
        &self,
        public: &IndexPublic,
        packs: Vec<IndexedPackV1>,
    ) -> Result<(IndexId, u64), RepositoryError> {
        let bytes = sealed::seal(
            Kind::Index,
            self.id,
            self.keys.metadata(),
            &*self.world.entropy,
            &public.to_bytes(),
            &IndexV1 { packs },
        );
        let id = IndexId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let len = bytes.len() as u64;
        crate::repository::put_new(&*self.store, &crate::layout::index(id), bytes).await?;
        Ok((id, len))
    }
}

/// How often a listing is read again because an object in it has vanished.
const TRIES: usize = 5;

/// Reads again what a prune beside it made incomplete: an object vanishes only after those that stand in
/// for it are there.
pub(crate) async fn until_settled<T, F: Future<Output = Result<T, RepositoryError>>>(
    read: impl Fn() -> F,
) -> Result<T, RepositoryError> {
    for _ in 1..TRIES {
        match read().await {
            Err(RepositoryError::Store(error)) if error.kind == ErrorKind::NotFound => {}
            other => return other,
        }
    }
    read().await
}

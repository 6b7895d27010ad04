//! Marking: what is needed of a pack moves to another one, still sealed; then the rest is marked.
//!
//! Frames are copied as they lie there, so this needs no key that opens content. Nothing is deleted
//! here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lifeboat_model::{IndexId, PackId, TombstoneId};
use lifeboat_storage::ObjectKey;

use crate::error::RepositoryError;
use crate::format::HEADER_LEN;
use crate::format::index::{IndexPrefix, IndexPublic, IndexedPackV1, prefix_of};
use crate::format::pack::{PackBuilder, PackKind};
use crate::index_store::IndexObject;
use crate::layout::{self, ObjectClass};
use crate::prune::garbage::{Garbage, Rewrite};
use crate::prune::roots::Roots;
use crate::prune::{Pruner, Tombstone};
use crate::writer::PACK_LEN;

/// An index object names at most so many packs.
const INDEX_PACKS_MAX: usize = 256;

/// The records that were seen when something was marked.
pub(super) type Seen = BTreeSet<ObjectKey>;

impl Pruner<'_> {
    /// Moves what is needed out of the way and marks the rest. Returns what was marked, and what
    /// was seen to be needed by then; `None` if there is nothing to do.
    pub(super) async fn mark(&mut self) -> Result<Option<(Tombstone, Seen)>, RepositoryError> {
        let roots = Roots::read(self.repository).await?;
        let garbage = self.find_garbage(&roots).await?;
        let wal = self.options.wal.clone();
        let wal = self.unneeded_wal(wal, &roots).await?;
        if garbage.is_empty() && wal.is_empty() {
            return Ok(None);
        }
        let (moved, unmoved) = self.repack(&garbage.rewrite).await?;
        let mut packs: BTreeSet<PackId> = garbage.packs().map(|(id, _)| id).collect();
        packs.retain(|id| !unmoved.contains(id));
        self.replace_index(&garbage, &packs, moved, &roots).await?;
        let tombstone = Tombstone {
            tombstone: TombstoneId::from_bytes(self.repository.world.entropy.bytes()),
            marked: self.repository.world.clock.now(),
            index: garbage.index.iter().map(|object| object.id).collect(),
            packs: packs.into_iter().collect(),
            wal: wal.into_iter().map(|(key, _)| key.to_string()).collect(),
        };
        tombstone.write(&*self.repository.store).await?;
        Ok(Some((tombstone, roots.names())))
    }

    /// Copies the frames that are needed into new packs. Returns those, and the packs that were left
    /// as they are because they are damaged.
    async fn repack(
        &mut self,
        rewrite: &[Rewrite],
    ) -> Result<(Vec<IndexedPackV1>, BTreeSet<PackId>), RepositoryError> {
        let mut builders: BTreeMap<PackKind, PackBuilder> = BTreeMap::new();
        let (mut moved, mut unmoved) = (Vec::new(), BTreeSet::new());
        for Rewrite { pack, live } in rewrite {
            self.renew().await?;
            let id = PackId::from_bytes(pack.id);
            let key = layout::pack(id);
            let bytes = self.repository.store.get(&key).await?;
            if ObjectClass::name_matches(&key, &bytes) == Some(false) {
                // Some of its frames may be whole: they are worth more than the space.
                self.report.damaged.push(key.to_string());
                unmoved.insert(id);
                continue;
            }
            let kind = pack.kind();
            let mut start = HEADER_LEN;
            for (frame, live) in pack.directory.frames.iter().zip(live) {
                let end = start + frame.stored_len as usize;
                if *live {
                    let builder = builders.entry(kind).or_insert_with(|| self.new_pack(kind));
                    builder.push_moved(&pack.directory, frame, &bytes[start..end]);
                }
                start = end;
            }
            self.report.repacked += 1;
            if builders
                .get(&kind)
                .is_some_and(|pack| pack.len() >= PACK_LEN)
            {
                let full = builders.remove(&kind).expect("it was looked at above");
                moved.push(self.write_pack(full).await?);
            }
        }
        for last in builders.into_values() {
            moved.push(self.write_pack(last).await?);
        }
        Ok((moved, unmoved))
    }

    fn new_pack(&self, kind: PackKind) -> PackBuilder {
        let (id, metadata) = (self.repository.id, self.repository.keys.metadata());
        PackBuilder::for_moved_frames(kind, id, metadata, &*self.repository.world.entropy)
    }

    async fn write_pack(&mut self, builder: PackBuilder) -> Result<IndexedPackV1, RepositoryError> {
        let pack = builder.finish();
        let size = pack.bytes.len() as u64;
        let key = layout::pack(pack.id);
        self.repository
            .store
            .put(&key, Bytes::from(pack.bytes))
            .await?;
        self.report.bytes_repacked += size;
        Ok(IndexedPackV1 {
            id: *pack.id.as_bytes(),
            size,
            metadata: pack.kind == PackKind::Metadata,
            directory: pack.directory,
        })
    }

    /// Writes index objects that name what stays of those to be replaced, and the packs that were
    /// written.
    async fn replace_index(
        &mut self,
        garbage: &Garbage,
        going: &BTreeSet<PackId>,
        moved: Vec<IndexedPackV1>,
        roots: &Roots,
    ) -> Result<(), RepositoryError> {
        if garbage.index.is_empty() {
            return Ok(());
        }
        let staying = garbage.index.iter().flat_map(|object| &object.packs);
        let staying = staying.filter(|pack| !going.contains(&PackId::from_bytes(pack.id)));
        let mut packs: BTreeMap<[u8; 32], IndexedPackV1> =
            staying.map(|pack| (pack.id, pack.clone())).collect();
        packs.extend(moved.into_iter().map(|pack| (pack.id, pack)));
        let mut packs: Vec<IndexedPackV1> = packs.into_values().collect();
        let mut written: Vec<IndexId> = Vec::new();
        while packs.len() > INDEX_PACKS_MAX {
            let part = packs.split_off(packs.len() - INDEX_PACKS_MAX);
            let public = IndexPublic::of(&part);
            written.push(self.repository.write_index_object(&public, part).await?.0);
        }
        let mut head = IndexPublic::of(&packs);
        let mut listed = roots.index();
        listed.extend(&garbage.needed_index);
        let (needs, replaces) = stand_in(&garbage.index, &written, &listed);
        (head.needs, head.replaces) = (needs, replaces);
        self.repository.write_index_object(&head, packs).await?;
        Ok(())
    }
}

/// Says what an index object written last, after `written`, needs and replaces.
///
/// What the replaced objects replaced themselves is carried on as long as a commit record lists it, or
/// an index object needs it.
fn stand_in(
    replaced: &[IndexObject],
    written: &[IndexId],
    listed: &BTreeSet<IndexPrefix>,
) -> (Vec<IndexPrefix>, Vec<IndexPrefix>) {
    let mut replaces: BTreeSet<IndexPrefix> = BTreeSet::new();
    let mut needs: BTreeSet<IndexPrefix> = written.iter().map(prefix_of).collect();
    for object in replaced {
        replaces.insert(prefix_of(&object.id));
        let carried = object.public.replaces.iter();
        replaces.extend(carried.filter(|prefix| listed.contains(*prefix)));
        needs.extend(&object.public.needs);
    }
    needs.retain(|prefix| !replaces.contains(prefix));
    (needs.into_iter().collect(), replaces.into_iter().collect())
}

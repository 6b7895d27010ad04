//! What nobody needs, and what is worth rewriting. Decides, and changes nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use lifeboat_model::{ChunkId, PackId};

use crate::error::RepositoryError;
use crate::format::HEADER_LEN;
use crate::format::index::{IndexPrefix, IndexedPackV1};
use crate::format::pack::PackKind;
use crate::index_store::IndexObject;
use crate::layout;
use crate::prune::roots::Roots;
use crate::prune::{Pruner, Tombstones};

/// A pack is rewritten once more than this share of its frames is garbage: one part in so many.
const GARBAGE_SHARE: u64 = 4;
/// Packs below this length are joined, bytes …
const SMALL_PACK_LEN: u64 = 4 << 20;
/// … once there are so many of a kind.
const SMALL_PACKS_MIN: usize = 8;
/// Index objects that name fewer packs than this are joined …
const SMALL_INDEX_PACKS: usize = 32;
/// … once there are so many of them.
const SMALL_INDEX_MIN: usize = 16;

/// A pack of which some frames are needed.
pub(super) struct Rewrite {
    pub(super) pack: IndexedPackV1,
    /// For each frame, whether it is needed.
    pub(super) live: Vec<bool>,
}

/// What a prune found that can go.
#[derive(Default)]
pub(super) struct Garbage {
    /// Packs with nothing in them that is needed, with their lengths.
    pub(super) dead: BTreeMap<PackId, u64>,
    /// Packs to write anew without their garbage.
    pub(super) rewrite: Vec<Rewrite>,
    /// Length of what is needed of those, bytes.
    pub(super) live_bytes: u64,
    /// Index objects that name any of these packs, or are to be joined.
    pub(super) index: Vec<IndexObject>,
    /// Index objects that others need.
    pub(super) needed_index: BTreeSet<IndexPrefix>,
}

impl Garbage {
    pub(super) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.rewrite.is_empty() && self.index.is_empty()
    }

    /// Returns every pack that would go, with its length.
    pub(super) fn packs(&self) -> impl Iterator<Item = (PackId, u64)> {
        let rewritten = self.rewrite.iter();
        let rewritten = rewritten.map(|r| (PackId::from_bytes(r.pack.id), r.pack.size));
        self.dead
            .iter()
            .map(|(id, size)| (*id, *size))
            .chain(rewritten)
    }
}

/// How much of a pack is needed.
struct Usage {
    kind: PackKind,
    size: u64,
    live: Vec<bool>,
    live_bytes: u64,
    frame_bytes: u64,
}

impl Usage {
    fn of(pack: &IndexedPackV1, live: Vec<bool>) -> Self {
        let lens = || {
            pack.directory
                .frames
                .iter()
                .map(|f| u64::from(f.stored_len))
        };
        let alive = lens().zip(&live).filter(|(_, live)| **live);
        Self {
            kind: pack.kind(),
            size: pack.size,
            live_bytes: alive.map(|(len, _)| len).sum(),
            frame_bytes: lens().sum(),
            live,
        }
    }
}

impl Pruner<'_> {
    /// Finds what no root needs.
    pub(super) async fn find_garbage(&self, roots: &Roots) -> Result<Garbage, RepositoryError> {
        let repository = self.repository;
        // What another prune marked is not counted on, and is its to delete.
        let doomed = Tombstones::read(&*repository.store).await?.packs();
        // Listed before the index is read, a pack that is in no index object is nobody's: its session
        // has died, or lives and is waited for before the pack is deleted.
        let mut listed = repository.packs_there().await?;
        let objects = repository.index_objects().await?;
        let sizes = repository.packs_there().await?;
        refuse_contradictions(&objects)?;
        let index = Arc::new(repository.index_of(&objects, &sizes, &doomed));
        let mut needed: HashSet<ChunkId> = HashSet::new();
        let needs = |chunk| {
            needed.insert(chunk);
            index.contains(&chunk)
        };
        roots.walk(repository, index.clone(), needs).await?;
        let usage = self.usage(&objects, &sizes, &needed).await?;
        listed.retain(|id, _| !doomed.contains(id));
        Ok(sort_out(objects, &listed, &usage, &doomed))
    }

    /// Tells which frames of each pack are needed.
    ///
    /// A chunk may be in several packs. All of them count as needed, because who prunes cannot see
    /// whether a pack holds what an index object claims. Only of frames that are the same byte for
    /// byte, as a prune that died leaves them, one is enough.
    async fn usage(
        &self,
        objects: &[IndexObject],
        sizes: &HashMap<PackId, u64>,
        needed: &HashSet<ChunkId>,
    ) -> Result<HashMap<PackId, Usage>, RepositoryError> {
        let mut usage: HashMap<PackId, Usage> = HashMap::new();
        let mut holders: HashMap<([u8; 32], u32, u32), (PackId, u64)> = HashMap::new();
        for pack in objects.iter().flat_map(|object| &object.packs) {
            let id = PackId::from_bytes(pack.id);
            if usage.contains_key(&id) || sizes.get(&id) != Some(&pack.size) {
                continue;
            }
            let mut live = Vec::new();
            let mut start = HEADER_LEN as u64;
            for frame in &pack.directory.frames {
                let mut chunks = frame.chunks.iter();
                let mut wanted = chunks.any(|(id, _)| needed.contains(&ChunkId::from_bytes(*id)));
                if wanted {
                    let salt = pack.directory.origins[frame.origin as usize];
                    match holders.entry((salt, frame.number, frame.stored_len)) {
                        Entry::Vacant(place) => {
                            place.insert((id, start));
                        }
                        Entry::Occupied(other) => {
                            let (twin, at) = *other.get();
                            wanted = !self
                                .same_bytes((id, start), (twin, at), frame.stored_len)
                                .await?;
                        }
                    }
                }
                live.push(wanted);
                start += u64::from(frame.stored_len);
            }
            usage.insert(id, Usage::of(pack, live));
        }
        Ok(usage)
    }

    /// Compares two places in packs.
    async fn same_bytes(
        &self,
        one: (PackId, u64),
        other: (PackId, u64),
        len: u32,
    ) -> Result<bool, RepositoryError> {
        let read = async |(id, start): (PackId, u64)| {
            let range = start..start + u64::from(len);
            self.repository.read_stored(&layout::pack(id), range).await
        };
        Ok(read(one).await? == read(other).await?)
    }
}

/// Refuses to decide by index objects of which one must be wrong.
fn refuse_contradictions(objects: &[IndexObject]) -> Result<(), RepositoryError> {
    let mut known: HashMap<[u8; 32], &IndexedPackV1> = HashMap::new();
    for object in objects {
        for pack in &object.packs {
            let first = *known.entry(pack.id).or_insert(pack);
            if first.directory != pack.directory || first.size != pack.size {
                let id = PackId::from_bytes(pack.id).short();
                let what = format!("it contradicts another index object about pack {id}");
                return Err(RepositoryError::corrupt(&layout::index(object.id), what));
            }
        }
    }
    Ok(())
}

/// Decides what goes and what is rewritten.
fn sort_out(
    objects: Vec<IndexObject>,
    listed: &HashMap<PackId, u64>,
    usage: &HashMap<PackId, Usage>,
    doomed: &BTreeSet<PackId>,
) -> Garbage {
    let mut garbage = Garbage::default();
    let needs = objects.iter().flat_map(|object| &object.public.needs);
    garbage.needed_index = needs.copied().collect();
    let named: BTreeMap<PackId, &IndexedPackV1> = objects
        .iter()
        .flat_map(|object| &object.packs)
        .map(|pack| (PackId::from_bytes(pack.id), pack))
        .collect();
    let orphans = listed.iter().filter(|(id, _)| !named.contains_key(id));
    garbage.dead.extend(orphans.map(|(id, size)| (*id, *size)));
    let crowded = crowded_kinds(usage.values());
    for (id, pack) in named.iter().filter(|(id, _)| !doomed.contains(*id)) {
        match usage.get(id) {
            Some(usage) if usage.live_bytes == 0 => {
                garbage.dead.insert(*id, usage.size);
            }
            Some(usage) if is_worth_rewriting(usage, &crowded) => {
                garbage.live_bytes += usage.live_bytes;
                let (pack, live) = ((*pack).clone(), usage.live.clone());
                garbage.rewrite.push(Rewrite { pack, live });
            }
            Some(_) => {}
            // It is lost, or cut, or empty, and nobody needs it: the index can forget it.
            None => {
                garbage
                    .dead
                    .insert(*id, listed.get(id).copied().unwrap_or(0));
            }
        }
    }
    let going: BTreeSet<PackId> = garbage.packs().map(|(id, _)| id).collect();
    garbage.index = index_to_replace(objects, &going);
    garbage
}

/// Returns the kinds of which there are so many small packs that they are joined.
fn crowded_kinds<'a>(usage: impl Iterator<Item = &'a Usage>) -> Vec<PackKind> {
    let mut small: BTreeMap<PackKind, usize> = BTreeMap::new();
    for usage in usage.filter(|usage| usage.live_bytes > 0 && usage.size < SMALL_PACK_LEN) {
        *small.entry(usage.kind).or_default() += 1;
    }
    small.retain(|_, count| *count >= SMALL_PACKS_MIN);
    small.into_keys().collect()
}

fn is_worth_rewriting(usage: &Usage, crowded: &[PackKind]) -> bool {
    let garbage = usage.frame_bytes - usage.live_bytes;
    garbage > usage.frame_bytes / GARBAGE_SHARE
        || usage.size < SMALL_PACK_LEN && crowded.contains(&usage.kind)
}

/// Returns the index objects that name a pack that goes, and small ones if there are many.
fn index_to_replace(objects: Vec<IndexObject>, going: &BTreeSet<PackId>) -> Vec<IndexObject> {
    let small = |object: &IndexObject| object.packs.len() < SMALL_INDEX_PACKS;
    let joins = objects.iter().filter(|object| small(object)).count() >= SMALL_INDEX_MIN;
    let touched = |object: &IndexObject| {
        let mut packs = object.packs.iter();
        packs.any(|pack| going.contains(&PackId::from_bytes(pack.id)))
    };
    let mut objects = objects;
    objects.retain(|object| touched(object) || joins && small(object));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(size: u64, live: u64) -> Usage {
        Usage {
            kind: PackKind::Data,
            size,
            live: Vec::new(),
            live_bytes: live,
            frame_bytes: size,
        }
    }

    #[test]
    fn a_pack_is_rewritten_for_its_garbage_or_to_be_joined() {
        let big = 16 << 20;
        assert!(!is_worth_rewriting(&usage(big, big), &[]));
        assert!(!is_worth_rewriting(&usage(big, big - big / 4), &[]));
        assert!(is_worth_rewriting(&usage(big, big / 2), &[]));
        let small = usage(1 << 20, 1 << 20);
        assert!(!is_worth_rewriting(&small, &[]));
        assert!(is_worth_rewriting(&small, &[PackKind::Data]));
        assert!(!is_worth_rewriting(&small, &[PackKind::Metadata]));
    }

    #[test]
    fn few_small_packs_are_left_alone_and_many_are_joined() {
        let few: Vec<Usage> = (1..SMALL_PACKS_MIN).map(|_| usage(1000, 1000)).collect();
        assert_eq!(crowded_kinds(few.iter()), []);
        let many: Vec<Usage> = (0..SMALL_PACKS_MIN).map(|_| usage(1000, 1000)).collect();
        assert_eq!(crowded_kinds(many.iter()), [PackKind::Data]);
        let dead: Vec<Usage> = (0..SMALL_PACKS_MIN).map(|_| usage(1000, 0)).collect();
        assert_eq!(crowded_kinds(dead.iter()), [], "dead ones are not joined");
    }
}

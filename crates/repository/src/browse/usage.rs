//! What takes up the room: objects by class, packs by kind, sources, and what nobody needs any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lifeboat_model::{ChunkId, EnvironmentName, SnapshotId, SourceName, error_chain};
use serde::Serialize;

use crate::browse::Browser;
use crate::chunk_index::ChunkIndex;
use crate::error::RepositoryError;
use crate::format::pack::PackKind;
use crate::layout::{self, ObjectClass};
use crate::listing::Listing;
use crate::prune::LiveWalk;
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// How a repository's room is used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Objects and their lengths together, by class.
    pub objects: BTreeMap<String, ClassUsage>,
    /// Packs of content.
    pub data: PackUsage,
    /// Packs of manifests and page maps.
    pub metadata: PackUsage,
    /// The sources with snapshots.
    pub sources: Vec<SourceUsage>,
    /// What no snapshot needs. Too high where a snapshot could not be read.
    pub waste: Waste,
    /// What the index takes.
    pub index: IndexUsage,
    /// Snapshots that could not be read, and why: what they need counts as waste.
    pub unreadable: BTreeMap<SnapshotId, String>,
}

/// The objects of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClassUsage {
    /// How many there are.
    pub count: u64,
    /// Their lengths together, bytes.
    pub bytes: u64,
}

/// The packs of one kind that the index knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PackUsage {
    /// Number of packs.
    pub packs: u64,
    /// Number of frames in them.
    pub frames: u64,
    /// Lengths of the frames once opened, bytes.
    pub raw_bytes: u64,
    /// Lengths of the frames as they are stored, bytes.
    pub stored_bytes: u64,
}

/// What the snapshots of one source need.
#[derive(Debug, Clone, Serialize)]
pub struct SourceUsage {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// Number of its snapshots.
    pub snapshots: u64,
    /// Bytes that restoring each of them would write, together.
    pub restored_bytes: u64,
    /// Bytes of the different chunks that they need, before compression.
    pub raw_bytes: u64,
    /// Of those, bytes of chunks that no other source needs.
    pub own_raw_bytes: u64,
    /// What those take in packs: what would be gained if this source were forgotten. Estimated by
    /// their share of each frame.
    pub own_stored_bytes: u64,
}

/// What no snapshot needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waste {
    /// Packs that no index object names: left over from interrupted backups.
    pub stray_packs: u64,
    /// Their lengths together, bytes.
    pub stray_bytes: u64,
    /// Frames of which no snapshot needs any chunk.
    pub unused_frames: u64,
    /// Their stored lengths together, bytes.
    pub unused_bytes: u64,
    /// Unneeded shares of frames that are needed in part, bytes. Estimated.
    pub partly_unused_bytes: u64,
}

/// What the index takes in memory while it is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IndexUsage {
    /// Number of chunks.
    pub chunks: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of memory for each chunk.
    pub memory_bytes_per_chunk: u64,
}

impl Usage {
    /// Returns the lengths of all objects together, bytes.
    pub fn total_bytes(&self) -> u64 {
        self.objects.values().map(|class| class.bytes).sum()
    }
}

/// Half an id, as the index has it.
type ShortId = [u8; 16];

/// A chunk that some snapshot needs.
struct Needed {
    /// Number of the only source that needs it; `None` if several do.
    owner: Option<u16>,
    frame: u32,
    len: u32,
}

/// Walks all snapshots and notes what they need.
struct Walk {
    index: Arc<ChunkIndex>,
    needed: HashMap<ShortId, Needed>,
    /// Raw bytes needed of each frame.
    used: Vec<u64>,
    usage: Usage,
    /// Which chunks the source that is being walked needs.
    of_source: HashSet<ShortId>,
}

impl Browser {
    /// Measures how the repository's room is used. Reads every manifest of `listing`, which must be
    /// of the whole repository, and takes about 60 bytes of memory for each chunk.
    ///
    /// # Errors
    /// Fails if the store cannot be listed. A snapshot that cannot be read is noted.
    pub async fn usage(&self, listing: &Listing) -> Result<Usage, RepositoryError> {
        let mut walk = Walk {
            needed: HashMap::new(),
            used: vec![0; self.index.frames().len()],
            index: self.index.clone(),
            usage: Usage::default(),
            of_source: HashSet::new(),
        };
        for damaged in &listing.damaged {
            let what = damaged.what.clone();
            walk.usage.unreadable.insert(damaged.name.id, what);
        }
        let mut sources: BTreeMap<_, Vec<&Snapshot>> = BTreeMap::new();
        for snapshot in &listing.snapshots {
            let name = (snapshot.environment.clone(), snapshot.source.clone());
            sources.entry(name).or_default().push(snapshot);
        }
        for (number, (_, snapshots)) in sources.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            walk.source(self, number, snapshots).await?;
        }
        walk.finish(&self.repository).await
    }
}

impl Walk {
    async fn source(
        &mut self,
        browser: &Browser,
        number: u16,
        snapshots: &[&Snapshot],
    ) -> Result<(), RepositoryError> {
        self.of_source.clear();
        let mut source = SourceUsage {
            environment: snapshots[0].environment.clone(),
            source: snapshots[0].source.clone(),
            snapshots: snapshots.len() as u64,
            restored_bytes: 0,
            raw_bytes: 0,
            own_raw_bytes: 0,
            own_stored_bytes: 0,
        };
        // Parts of manifests that the snapshots of a source share are read once.
        let mut live = LiveWalk::new(&browser.repository, browser.index.clone());
        for snapshot in snapshots {
            source.restored_bytes += snapshot.totals.bytes;
            let need = |chunk| self.need(&chunk, number, &mut source);
            match live.walk(snapshot, need).await {
                Err(RepositoryError::Store(error))
                    if error.kind == lifeboat_model::ErrorKind::NoRepository =>
                {
                    return Err(error.into());
                }
                Err(error) => {
                    let what = error_chain(&error);
                    self.usage.unreadable.insert(snapshot.id, what);
                }
                Ok(()) => {}
            }
        }
        self.usage.sources.push(source);
        Ok(())
    }

    /// Notes that a source needs a chunk.
    fn need(&mut self, chunk: &ChunkId, owner: u16, source: &mut SourceUsage) {
        let id: ShortId = chunk.as_bytes()[..16]
            .try_into()
            .expect("an id has 32 bytes");
        let Some(location) = self.index.find(chunk) else {
            return; // Lost: `verify` says so.
        };
        if !self.of_source.insert(id) {
            return;
        }
        source.raw_bytes += u64::from(location.len);
        match self.needed.get_mut(&id) {
            Some(known) => known.owner = known.owner.filter(|one| *one == owner),
            None => {
                self.used[location.frame as usize] += u64::from(location.len);
                let (frame, len) = (location.frame, location.len);
                let owner = Some(owner);
                self.needed.insert(id, Needed { owner, frame, len });
            }
        }
    }

    async fn finish(mut self, repository: &Repository) -> Result<Usage, RepositoryError> {
        self.count_own();
        self.count_frames();
        self.count_objects(repository).await?;
        let chunks = self.index.chunk_count() as u64;
        let memory_bytes = self.index.memory_bytes() as u64;
        self.usage.index = IndexUsage {
            chunks,
            memory_bytes,
            memory_bytes_per_chunk: memory_bytes.checked_div(chunks).unwrap_or(0),
        };
        Ok(self.usage)
    }

    fn count_own(&mut self) {
        for chunk in self.needed.values() {
            let Some(owner) = chunk.owner else { continue };
            let Some(source) = self.usage.sources.get_mut(usize::from(owner)) else {
                continue;
            };
            let frame = self.index.frame(chunk.frame);
            source.own_raw_bytes += u64::from(chunk.len);
            let share = u64::from(frame.stored_len) * u64::from(chunk.len);
            source.own_stored_bytes += share.checked_div(u64::from(frame.raw_len)).unwrap_or(0);
        }
    }

    fn count_frames(&mut self) {
        let Usage {
            data,
            metadata,
            waste,
            ..
        } = &mut self.usage;
        for pack in self.index.packs() {
            match pack.kind {
                PackKind::Data => data.packs += 1,
                PackKind::Metadata => metadata.packs += 1,
            }
        }
        for (frame, used) in self.index.frames().iter().zip(&self.used) {
            let packs = match self.index.pack(frame.pack).kind {
                PackKind::Data => &mut *data,
                PackKind::Metadata => &mut *metadata,
            };
            let (stored, raw) = (u64::from(frame.stored_len), u64::from(frame.raw_len));
            packs.frames += 1;
            packs.raw_bytes += raw;
            packs.stored_bytes += stored;
            if *used == 0 {
                waste.unused_frames += 1;
                waste.unused_bytes += stored;
            } else {
                let unused = stored * raw.saturating_sub(*used);
                waste.partly_unused_bytes += unused.checked_div(raw).unwrap_or(0);
            }
        }
    }

    async fn count_objects(&mut self, repository: &Repository) -> Result<(), RepositoryError> {
        let rows = self.index.packs().iter();
        let known: HashSet<_> = rows.map(|pack| layout::pack(pack.id)).collect();
        for meta in repository.store.list("").await? {
            let class = ObjectClass::of(&meta.key);
            let entry = self.usage.objects.entry(class_name(class).to_owned());
            let entry = entry.or_default();
            entry.count += 1;
            entry.bytes += meta.size;
            if class == ObjectClass::Pack && !known.contains(&meta.key) {
                self.usage.waste.stray_packs += 1;
                self.usage.waste.stray_bytes += meta.size;
            }
        }
        Ok(())
    }
}

fn class_name(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Repository | ObjectClass::Region => "description",
        ObjectClass::Key | ObjectClass::Revocation => "keys",
        ObjectClass::Pack => "packs",
        ObjectClass::Index => "index",
        ObjectClass::Wal => "wal",
        ObjectClass::Run => "ledger",
        ObjectClass::Snapshot => "snapshots",
        ObjectClass::Receipt => "receipts",
        ObjectClass::Lease | ObjectClass::Tombstone => "leases",
        _ => "other",
    }
}

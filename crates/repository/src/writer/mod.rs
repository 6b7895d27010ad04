//! Writing a snapshot: entries and bytes in, a commit record out.

mod cutter;
mod paged;
pub(crate) mod pages;
mod parent;
mod pipeline;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_model::{
    BackupKind, ChunkId, Entry, EntryKind, EntryPath, EnvironmentClass, EnvironmentName, IndexId,
    Metadata, SnapshotId, SourceKind, SourceName, Tier, WalRange,
};
use lifeboat_storage::ObjectKey;

use crate::content::{ChunkRef, Content, Extent, ExtentSource};
use crate::error::RepositoryError;
use crate::format::commit::{CommitPublic, ManifestChunkV1, WalRangeV1};
use crate::format::manifest::write_record;
use crate::format::{Kind, sealed};
use crate::layout::{SnapshotName, truncate_instant};
use crate::lease::Lease;
use crate::ledger::RunKind;
use crate::prune::Tombstones;
use crate::repository::{Repository, snapshot_id};
use crate::snapshot::{Snapshot, Totals};
use crate::wal::{first_lacking, place_of};
use cutter::Cutter;
use paged::PagedFile;
use pages::PAGE_HASHES_LABEL;
use parent::Parent;
pub(crate) use pipeline::PACK_LEN;
use pipeline::Pipeline;

/// Entries that may wait for the chunk ids of an earlier one.
const PENDING_MAX: usize = 4096;

/// What is known of a snapshot before its first byte is read.
#[derive(Debug, Clone)]
pub struct SnapshotDraft {
    /// The environment it belongs to.
    pub environment: EnvironmentName,
    /// What that environment is for.
    pub class: EnvironmentClass,
    /// The source it is taken of.
    pub source: SourceName,
    /// What kind of source that is.
    pub source_kind: SourceKind,
    /// The tier it is taken for.
    pub tier: Tier,
    /// Whether it may build on the parent.
    pub kind: BackupKind,
    /// The host that takes it.
    pub host: String,
    /// The program and version that take it.
    pub program: String,
    /// Whether the content went through masking and the leak gates.
    pub masked: bool,
}

/// How a file's bytes are cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Ordinary files: where the content says.
    Stream,
    /// Database files: blocks of whole pages, increments page by page.
    Pages {
        /// Length of a page, bytes; a power of two up to 65536.
        page_size: u32,
    },
}

/// A file whose chunks do not all have their ids yet.
struct Pending {
    entry: Entry,
    content: Option<Content>,
    /// Chunks that still have no id.
    awaiting: usize,
    closed: bool,
    /// Its source could not be read to the end: it leaves no record.
    abandoned: bool,
}

/// The file being written.
struct OpenFile {
    bytes: u64,
    shape: Shape,
}

enum Shape {
    Stream {
        cutter: Box<Cutter>,
        extents: Vec<Extent>,
        has_holes: bool,
    },
    Pages(Box<PagedFile>),
}

/// Takes a source's entries in path order and makes a snapshot of them.
///
/// Nothing of it exists for others until [`SnapshotWriter::commit`] returns; dropping the writer
/// leaves at most unreferenced packs behind.
pub struct SnapshotWriter {
    repository: Repository,
    draft: SnapshotDraft,
    lease: Lease,
    started: Timestamp,
    parent: Option<Parent>,
    pipeline: Pipeline,
    pending: VecDeque<Pending>,
    /// Number of the first pending entry; slots name entries by number.
    pending_start: u64,
    /// For each chunk on its way: the entry and the place in its table.
    slots: VecDeque<(u64, u32)>,
    open: Option<OpenFile>,
    manifest: Vec<ManifestChunkV1>,
    manifest_cutter: Cutter,
    /// The manifest record being written.
    record: Vec<u8>,
    /// The cutter of the file before, for the next: its buffer is large.
    idle_cutter: Option<Box<Cutter>>,
    /// For the check that entries come in path order, in builds that have it.
    last_path: Option<EntryPath>,
    totals: Totals,
    facts: BTreeMap<String, String>,
    skipped: Vec<(EntryPath, String)>,
    wal: Option<WalRange>,
    /// Parts of logs that a prune had marked when the snapshot was begun.
    doomed_wal: BTreeSet<ObjectKey>,
    /// Index objects that existed when the snapshot was begun.
    index_objects: Vec<IndexId>,
    chunk_seed: u64,
    page_key: [u8; 32],
}

impl Repository {
    /// Starts a snapshot. Needs the writer key.
    ///
    /// An incremental is compared with the newest snapshot of the same environment and source; if
    /// there is none, everything is read.
    ///
    /// # Errors
    /// Fails if the key cannot write, or the index or the parent cannot be read.
    pub async fn snapshot_writer(
        &self,
        draft: SnapshotDraft,
    ) -> Result<SnapshotWriter, RepositoryError> {
        let id_key = self.keys.id("back up")?;
        let seed = id_key.for_object("lifeboat v1 chunk cuts", &[0; 32]).0;
        let chunk_seed = u64::from_le_bytes(seed[..8].try_into().expect("32 bytes"));
        let page_key = id_key.for_object(PAGE_HASHES_LABEL, &[0; 32]).0;
        let mut lease = self.lease(RunKind::Backup, &draft.host).await?;
        // The lease is there before the tombstones are read, and they are honoured before the index is.
        let tombstones = Tombstones::read(&*self.store).await?;
        lease.honour(tombstones.ids()).await?;
        // Commit records are listed before the index is loaded, so that whatever the parent needs
        // is in the index.
        let parent = match draft.kind {
            BackupKind::Full => None,
            // Nobody can say what a damaged one names: then nothing that is stored is built on.
            BackupKind::Incremental if !tombstones.damaged.is_empty() => None,
            BackupKind::Incremental => self.usable_parent(&draft).await?,
        };
        let (index, index_objects) = if tombstones.damaged.is_empty() {
            self.load_index_without(&tombstones).await?
        } else {
            tracing::warn!("a tombstone is damaged: everything is stored anew, until a prune");
            Default::default()
        };
        let index = Arc::new(index);
        let parent = parent.map(|snapshot| Parent::new(self.clone(), index.clone(), snapshot));
        Ok(SnapshotWriter {
            started: self.world.clock.now(),
            parent,
            pipeline: Pipeline::new(self.clone(), index)?,
            pending: VecDeque::new(),
            pending_start: 0,
            slots: VecDeque::new(),
            open: None,
            manifest: Vec::new(),
            manifest_cutter: Cutter::for_manifest(chunk_seed),
            record: Vec::new(),
            idle_cutter: None,
            last_path: None,
            totals: Totals::default(),
            facts: BTreeMap::new(),
            skipped: Vec::new(),
            wal: None,
            doomed_wal: tombstones.wal(),
            index_objects,
            chunk_seed,
            page_key,
            repository: self.clone(),
            draft,
            lease,
        })
    }

    /// Returns the newest snapshot of a source unless it is damaged: then everything is read, which
    /// is slower and safe.
    async fn usable_parent(
        &self,
        draft: &SnapshotDraft,
    ) -> Result<Option<Snapshot>, RepositoryError> {
        match self.newest(&draft.environment, &draft.source).await {
            Err(error @ RepositoryError::Corrupt { .. }) => {
                tracing::warn!(%error, "the newest snapshot is damaged: everything is read");
                Ok(None)
            }
            other => other,
        }
    }

    /// Returns the newest snapshot of a source, by the moment it holds.
    ///
    /// # Errors
    /// Fails if the store cannot be read or the record is damaged.
    pub async fn newest(
        &self,
        environment: &EnvironmentName,
        source: &SourceName,
    ) -> Result<Option<Snapshot>, RepositoryError> {
        let names = Self::snapshot_names(&*self.store, Some(environment), Some(source)).await?;
        match names.iter().max_by_key(|name| (name.instant, name.id)) {
            Some(name) => Ok(Some(self.snapshot(name).await?)),
            None => Ok(None),
        }
    }
}

impl SnapshotWriter {
    /// Returns the repository that is written to.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the snapshot this one is compared with.
    pub fn parent(&self) -> Option<SnapshotId> {
        self.parent.as_ref().map(|parent| parent.snapshot().id)
    }

    /// Adds an entry from the parent if it is the same there and its content is still stored.
    ///
    /// The same means: kind, size, mtime, ctime and inode agree, and the entry had rested for a while
    /// when the parent was taken. Its extended attributes come from the parent too, since a change of
    /// them moves ctime. Returns whether it was added; if not, the entry has to be read.
    ///
    /// # Errors
    /// Fails if the parent's manifest cannot be read.
    pub async fn reuse(&mut self, entry: &Entry) -> Result<bool, RepositoryError> {
        let Some(parent) = &mut self.parent else {
            return Ok(false);
        };
        let found = parent.take_unchanged(entry).await;
        let Some(stored) = self.unless_damaged(found)? else {
            return Ok(false);
        };
        let mut same = stored.entry;
        same.metadata = Metadata {
            xattrs: same.metadata.xattrs,
            ..entry.metadata.clone()
        };
        self.push_pending(same, stored.content, true);
        self.emit_ready().await?;
        Ok(true)
    }

    /// Adds an entry that has no content.
    ///
    /// # Errors
    /// Fails if earlier bytes could not be stored.
    pub async fn add(&mut self, entry: Entry) -> Result<(), RepositoryError> {
        debug_assert!(!matches!(entry.kind, EntryKind::File { .. }));
        self.push_pending(entry, None, true);
        self.emit_ready().await
    }

    /// Begins a file; its bytes follow through [`SnapshotWriter::write`].
    ///
    /// # Errors
    /// Fails if the parent's manifest or page map cannot be read.
    pub async fn begin_file(
        &mut self,
        entry: Entry,
        layout: Layout,
    ) -> Result<(), RepositoryError> {
        let shape = match layout {
            Layout::Stream => Shape::Stream {
                cutter: match self.idle_cutter.take() {
                    Some(cutter) => cutter,
                    None => Box::new(Cutter::for_content(self.chunk_seed)),
                },
                extents: Vec::new(),
                has_holes: false,
            },
            Layout::Pages { page_size } => {
                let found = match &mut self.parent {
                    Some(parent) => parent.pages(&entry.path, page_size).await,
                    None => Ok(None),
                };
                let parent = self.unless_damaged(found)?;
                Shape::Pages(Box::new(PagedFile::new(page_size, parent)))
            }
        };
        self.push_pending(entry, Some(Content::default()), false);
        self.open = Some(OpenFile { bytes: 0, shape });
        Ok(())
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// Fails if bytes could not be stored; the snapshot cannot be committed then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), RepositoryError> {
        let mut open = self.open.take().expect("a file was begun");
        self.count(&mut open, bytes.len());
        match &mut open.shape {
            Shape::Stream {
                cutter, extents, ..
            } => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    rest = cutter.fill(rest);
                    self.push_complete(cutter, extents).await?;
                }
            }
            Shape::Pages(file) => self.push_pages(file, bytes).await?,
        }
        self.open = Some(open);
        self.emit_ready().await
    }

    /// Returns room for the next bytes of a file of [`Layout::Stream`], never none: what is read
    /// there, and given to [`SnapshotWriter::filled`], is not copied once more.
    pub fn room(&mut self) -> &mut [u8] {
        match self.open.as_mut().map(|open| &mut open.shape) {
            Some(Shape::Stream { cutter, .. }) => cutter.room(),
            _ => unreachable!("a stream was begun"),
        }
    }

    /// Takes the first `len` bytes of [`SnapshotWriter::room`] as the next of the file.
    ///
    /// # Errors
    /// Fails as [`SnapshotWriter::write`] does.
    pub async fn filled(&mut self, len: usize) -> Result<(), RepositoryError> {
        let mut open = self.open.take().expect("a file was begun");
        self.count(&mut open, len);
        match &mut open.shape {
            Shape::Stream {
                cutter, extents, ..
            } => {
                cutter.filled(len);
                self.push_complete(cutter, extents).await?;
            }
            Shape::Pages(_) => unreachable!("only streams have room"),
        }
        self.open = Some(open);
        self.emit_ready().await
    }

    fn count(&mut self, open: &mut OpenFile, len: usize) {
        open.bytes += len as u64;
        self.totals.bytes_read += len as u64;
    }

    /// Notes that the next `len` bytes of the file are a hole: zeros that take no space.
    ///
    /// # Errors
    /// Fails if bytes could not be stored.
    pub async fn hole(&mut self, len: u64) -> Result<(), RepositoryError> {
        let mut open = self.open.take().expect("a file was begun");
        open.bytes += len;
        match &mut open.shape {
            Shape::Stream {
                cutter,
                extents,
                has_holes,
            } => {
                // What came before the hole ends here, so that extents stay in order.
                self.push_left(cutter, extents).await?;
                extents.push(Extent {
                    source: ExtentSource::Hole,
                    len,
                });
                *has_holes = true;
            }
            Shape::Pages(_) => unreachable!("database files are read without holes"),
        }
        self.open = Some(open);
        Ok(())
    }

    /// Ends the file. Its size is what was written, whatever its entry said before.
    ///
    /// # Errors
    /// Fails if bytes could not be stored.
    pub async fn end_file(&mut self) -> Result<(), RepositoryError> {
        let open = self.open.take().expect("a file was begun");
        let (extents, pages) = match open.shape {
            Shape::Stream {
                mut cutter,
                mut extents,
                has_holes,
            } => {
                self.push_left(&mut cutter, &mut extents).await?;
                self.idle_cutter = Some(cutter);
                (has_holes.then_some(extents), None)
            }
            Shape::Pages(mut file) => self.finish_pages(&mut file).await?,
        };
        let pending = self.pending.back_mut().expect("the file is pending");
        pending.entry.kind = EntryKind::File { size: open.bytes };
        pending.closed = true;
        let content = pending.content.as_mut().expect("a file has content");
        content.extents = extents;
        content.pages = pages;
        self.emit_ready().await
    }

    /// Drops the file being written: its source could not be read to the end.
    ///
    /// What was stored of it stays in the packs, where other files may share it.
    pub fn abandon_file(&mut self) {
        self.open = None;
        let number = self.pending_start + self.pending.len() as u64 - 1;
        let on_their_way = self
            .slots
            .iter()
            .filter(|(entry, _)| *entry == number)
            .count();
        let pending = self.pending.back_mut().expect("a file was begun");
        // A chunk number that was reserved for pages still to come is never sent now.
        pending.awaiting = on_their_way;
        pending.closed = true;
        pending.abandoned = true;
    }

    /// Notes an item that could not be read. The snapshot is incomplete and says so.
    pub fn skip(&mut self, path: EntryPath, reason: impl Into<String>) {
        self.skipped.push((path, reason.into()));
    }

    /// Notes what the source said about this state, as JSON.
    pub fn fact(&mut self, name: impl Into<String>, json: impl Into<String>) {
        self.facts.insert(name.into(), json.into());
    }

    /// Notes which stretch of a write-ahead log it takes to make the snapshot consistent.
    ///
    /// Unless the snapshot holds it itself, it must be durable in the repository before the commit, which
    /// fails otherwise; a region that lacks any of it gets no receipt; and prune keeps it as long as the
    /// snapshot.
    pub fn set_wal(&mut self, range: WalRange) {
        self.wal = Some(range);
    }

    /// Ends the session without a snapshot.
    ///
    /// # Errors
    /// Fails if the store cannot be written; the session is taken for dead later then.
    pub async fn abandon(self) -> Result<(), RepositoryError> {
        self.lease.release().await
    }

    /// Makes the snapshot exist: packs, then index, then the commit record.
    ///
    /// `instant` is the moment whose state was read.
    ///
    /// # Errors
    /// Fails if anything could not be stored; then there is no snapshot.
    pub async fn commit(mut self, instant: Timestamp) -> Result<Snapshot, RepositoryError> {
        debug_assert!(self.open.is_none());
        self.wal.map_or(Ok(()), check_range)?;
        // A session that was fenced must not name packs in an index that prune may have deleted.
        self.lease.check_fence().await?;
        self.pipeline.resolve_all().await?;
        self.emit_ready().await?;
        debug_assert!(self.pending.is_empty());
        while let Some(chunk) = self.manifest_cutter.next_left() {
            let id = self.pipeline.store_metadata(chunk).await?;
            self.manifest.push(manifest_chunk(id, chunk));
        }
        self.pipeline.finish().await?;
        (self.totals.bytes_new, self.totals.bytes_stored) = self.pipeline.bytes();
        let index_objects = [self.pipeline.index_objects(), &self.index_objects].concat();
        let repository = &self.repository;
        let mut snapshot = Snapshot {
            id: SnapshotId::from_bytes([0; 32]),
            parent: self.parent(),
            environment: self.draft.environment,
            class: self.draft.class,
            source: self.draft.source,
            source_kind: self.draft.source_kind,
            tier: self.draft.tier,
            kind: self.draft.kind,
            instant: truncate_instant(instant),
            started: self.started,
            finished: repository.world.clock.now(),
            host: self.draft.host,
            program: self.draft.program,
            masked: self.draft.masked,
            totals: self.totals,
            facts: self.facts,
            skipped: self.skipped,
            wal: self.wal,
            manifest: self.manifest,
        };
        let bytes = sealed::seal(
            Kind::Commit,
            repository.id,
            repository.keys.metadata(),
            &*repository.world.entropy,
            &CommitPublic::new(index_objects, self.wal).to_bytes(),
            &snapshot.to_stored(),
        );
        snapshot.id = snapshot_id(&bytes);
        if let Some(range) = self.wal.filter(|range| !range.embedded) {
            check_wal(repository, &snapshot.name(), range, &self.doomed_wal).await?;
        }
        self.lease
            .commit(vec![(snapshot.name().key(), bytes.into())])
            .await?;
        if let Err(error) = self.lease.release().await {
            tracing::warn!(%error, "the end of this backup's lease was not recorded");
        }
        Ok(snapshot)
    }

    /// Passes on what the parent gave, and gives the parent up if it turns out to be damaged.
    fn unless_damaged<T>(
        &mut self,
        found: Result<Option<T>, RepositoryError>,
    ) -> Result<Option<T>, RepositoryError> {
        match found {
            Err(
                error @ (RepositoryError::Corrupt { .. } | RepositoryError::MissingChunk { .. }),
            ) => {
                tracing::warn!(%error, "the newest snapshot is damaged: everything is read");
                self.parent = None;
                Ok(None)
            }
            other => other,
        }
    }

    fn push_pending(&mut self, entry: Entry, content: Option<Content>, closed: bool) {
        debug_assert!(
            self.last_path
                .as_ref()
                .is_none_or(|last| *last < entry.path),
            "entries come in path order"
        );
        if cfg!(debug_assertions) {
            self.last_path = Some(entry.path.clone());
        }
        self.pending.push_back(Pending {
            entry,
            content,
            awaiting: 0,
            closed,
            abandoned: false,
        });
    }

    /// Gives a chunk of the file being written to the pipeline and returns its number.
    async fn push_chunk(&mut self, chunk: &[u8]) -> Result<u32, RepositoryError> {
        let number = self.reserve_chunk(chunk.len());
        self.send_chunk(number, chunk).await?;
        Ok(number)
    }

    /// Keeps a place in the file's chunk table for a chunk that comes later.
    fn reserve_chunk(&mut self, len: usize) -> u32 {
        let pending = self.pending.back_mut().expect("the file is pending");
        let content = pending.content.as_mut().expect("a file has content");
        let unknown = ChunkId::from_bytes([0; 32]);
        content.chunks.push(ChunkRef {
            id: unknown,
            len: len as u32,
        });
        pending.awaiting += 1;
        content.chunks.len() as u32 - 1
    }

    async fn send_chunk(&mut self, number: u32, chunk: &[u8]) -> Result<(), RepositoryError> {
        let entry = self.pending_start + self.pending.len() as u64 - 1;
        self.slots.push_back((entry, number));
        self.pipeline.push(chunk).await
    }

    /// Gives the chunks that are complete to the pipeline.
    async fn push_complete(
        &mut self,
        cutter: &mut Cutter,
        extents: &mut Vec<Extent>,
    ) -> Result<(), RepositoryError> {
        while let Some(chunk) = cutter.next_complete() {
            extents.push(self.push_stream_chunk(chunk).await?);
        }
        Ok(())
    }

    /// Gives all chunks that are left to the pipeline.
    async fn push_left(
        &mut self,
        cutter: &mut Cutter,
        extents: &mut Vec<Extent>,
    ) -> Result<(), RepositoryError> {
        while let Some(chunk) = cutter.next_left() {
            extents.push(self.push_stream_chunk(chunk).await?);
        }
        Ok(())
    }

    async fn push_stream_chunk(&mut self, chunk: &[u8]) -> Result<Extent, RepositoryError> {
        let number = self.push_chunk(chunk).await?;
        Ok(Extent {
            source: ExtentSource::Chunk { number, offset: 0 },
            len: chunk.len() as u64,
        })
    }

    /// Fills in the ids that are known by now and writes the entries that are complete.
    async fn emit_ready(&mut self) -> Result<(), RepositoryError> {
        self.lease.renew().await?;
        if self.pending.len() > PENDING_MAX {
            self.pipeline.resolve_all().await?;
        }
        for chunk in self.pipeline.take_resolved() {
            let (entry, number) = self.slots.pop_front().expect("every chunk has its slot");
            let pending = &mut self.pending[(entry - self.pending_start) as usize];
            pending.content.as_mut().expect("a file has content").chunks[number as usize] = chunk;
            pending.awaiting -= 1;
        }
        while let Some(first) = self
            .pending
            .pop_front_if(|first| first.closed && first.awaiting == 0)
        {
            self.pending_start += 1;
            if !first.abandoned {
                self.write_entry(&first.entry, first.content.as_ref())
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_entry(
        &mut self,
        entry: &Entry,
        content: Option<&Content>,
    ) -> Result<(), RepositoryError> {
        self.totals.entries += 1;
        if let EntryKind::File { size } = entry.kind {
            self.totals.bytes += size;
        }
        self.record.clear();
        write_record(entry, content, &mut self.record);
        let mut rest = self.record.as_slice();
        while !rest.is_empty() {
            rest = self.manifest_cutter.fill(rest);
            while let Some(chunk) = self.manifest_cutter.next_complete() {
                let id = self.pipeline.store_metadata(chunk).await?;
                self.manifest.push(manifest_chunk(id, chunk));
            }
        }
        Ok(())
    }
}

/// Refuses a stretch of the log that no reader would believe.
fn check_range(range: WalRange) -> Result<(), RepositoryError> {
    let WalRange { start, stop, .. } = range;
    let readable = WalRangeV1::of(range).to_model().map(|_| ());
    readable.ok_or(RepositoryError::WalRange { start, stop })
}

/// Refuses a commit that would refer to parts of a log that are not there.
///
/// Those that were marked when this session began do not count: it honours their tombstone, so their
/// prune does not wait for it. Of what is marked later it does.
async fn check_wal(
    repository: &Repository,
    name: &SnapshotName,
    range: WalRange,
    doomed: &BTreeSet<ObjectKey>,
) -> Result<(), RepositoryError> {
    let store = &*repository.store;
    match first_lacking(store, &place_of(name, range), range, doomed).await? {
        None => Ok(()),
        Some(segment) => Err(RepositoryError::WalMissing {
            segment,
            system: range.system,
            store: store.describe(),
        }),
    }
}

fn manifest_chunk(id: ChunkId, chunk: &[u8]) -> ManifestChunkV1 {
    ManifestChunkV1 {
        id: *id.as_bytes(),
        len: chunk.len() as u32,
    }
}

//! From chunks to durable packs: hash, look up, compress, seal, upload.
//!
//! Batches of chunks flow through in order with a bounded number in each stage:
//!
//! ```text
//! batch -> hash (pool) -> known already? -> frame -> compress (pool) -> seal into pack -> upload
//! ```
//! The index object that names a pack is written after the pack is durable, never before.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_model::{ChunkId, IndexId};
use lifeboat_runtime::Answer;
use tokio::task::JoinHandle;

use crate::chunk_index::{ChunkIndex, ShortId, short};
use crate::compress::compress_frame;
use crate::content::ChunkRef;
use crate::crypto::SymmetricKey;
use crate::error::RepositoryError;
use crate::format::index::{IndexPublic, IndexedPackV1};
use crate::format::pack::{Frame, PackBuilder, PackKind};
use crate::id_hash::IdSet;
use crate::layout;
use crate::repository::Repository;

/// A batch is hashed as one job, and becomes one frame if most of it is new.
pub(crate) const BATCH_LEN: usize = 1 << 20;
/// New chunks of batches that were mostly known wait for each other up to this length.
const LEFTOVER_LEN: usize = 512 << 10;
/// Metadata frames are smaller: they are read one at a time.
const METADATA_FRAME_LEN: usize = 256 << 10;
/// A pack is uploaded once it has this length: large requests, yet little to hold in memory.
pub(crate) const PACK_LEN: usize = 16 << 20;
/// How much longer than that a pack may get by its last frame and its directory.
const PACK_OVERSHOOT: usize = 6 << 20;
/// Packs being uploaded at the same time.
const UPLOADS_MAX: usize = 2;
/// An index object is written every so many packs, so that an interrupted first backup goes on
/// where it stopped instead of starting over.
const INDEX_EVERY_PACKS: usize = 64;

/// Chunks that lie one after the other, with their lengths.
type Batch = (Vec<u8>, Vec<u32>);

/// A pack on its way: in the end what the index says of it, and its buffer if that is free again.
type Upload = JoinHandle<Result<(IndexedPackV1, Option<Vec<u8>>), RepositoryError>>;

/// Turns chunks into packs. Results come in the order chunks were given.
pub(crate) struct Pipeline {
    repository: Repository,
    index: Arc<ChunkIndex>,
    data_key: SymmetricKey,
    metadata_key: SymmetricKey,
    batch: Batch,
    hashing: VecDeque<Answer<(Batch, Vec<ChunkId>)>>,
    compressing: VecDeque<(PackKind, Answer<Frame>)>,
    /// Chunks of this session that the index does not know yet.
    claimed: HashMap<PackKind, IdSet<ShortId>>,
    frames: HashMap<PackKind, FrameDraft>,
    packs: HashMap<PackKind, PackBuilder>,
    uploads: VecDeque<Upload>,
    /// Buffers of data packs that are durable, for the next ones. Freed and taken anew, they would
    /// leave the allocator with room for several times as many.
    idle_buffers: Vec<Vec<u8>>,
    uploaded: Vec<IndexedPackV1>,
    resolved: Vec<ChunkRef>,
    /// Index objects written so far.
    index_objects: Vec<IndexId>,
    bytes_new: u64,
    bytes_stored: u64,
}

/// Chunks collected for a frame.
#[derive(Default)]
struct FrameDraft {
    raw: Vec<u8>,
    chunks: Vec<([u8; 32], u32)>,
}

impl FrameDraft {
    fn push(&mut self, id: &ChunkId, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.chunks.push((*id.as_bytes(), bytes.len() as u32));
    }
}

impl Pipeline {
    pub(crate) fn new(
        repository: Repository,
        index: Arc<ChunkIndex>,
    ) -> Result<Self, RepositoryError> {
        Ok(Self {
            data_key: repository.chunk_key(PackKind::Data)?,
            metadata_key: repository.chunk_key(PackKind::Metadata)?,
            repository,
            index,
            batch: Batch::default(),
            hashing: VecDeque::new(),
            compressing: VecDeque::new(),
            claimed: HashMap::new(),
            frames: HashMap::new(),
            packs: HashMap::new(),
            uploads: VecDeque::new(),
            idle_buffers: Vec::new(),
            uploaded: Vec::new(),
            resolved: Vec::new(),
            index_objects: Vec::new(),
            bytes_new: 0,
            bytes_stored: 0,
        })
    }

    /// Returns the bytes of new chunks so far, and of the objects written for them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_new, self.bytes_stored)
    }

    /// Takes one content chunk. Its reference comes out of [`Pipeline::take_resolved`] later.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), RepositoryError> {
        // A small chunk in one frame with a large one would keep it from being pruned, and would have
        // to be read with it.
        if self.batch.0.len() + chunk.len() > BATCH_LEN {
            self.send_batch().await?;
        }
        if self.batch.0.capacity() == 0 {
            self.batch.0.reserve(BATCH_LEN.max(chunk.len()));
        }
        self.batch.0.extend_from_slice(chunk);
        self.batch
            .1
            .push(u32::try_from(chunk.len()).expect("chunks are small"));
        if self.batch.0.len() >= BATCH_LEN {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// Takes the references of chunks whose ids are known by now, in the order given.
    pub(crate) fn take_resolved(&mut self) -> Vec<ChunkRef> {
        mem::take(&mut self.resolved)
    }

    /// Stores one metadata chunk (part of a manifest or page map).
    pub(crate) async fn store_metadata(
        &mut self,
        chunk: &[u8],
    ) -> Result<ChunkId, RepositoryError> {
        let id = ChunkId::from_bytes(*blake3::keyed_hash(&self.metadata_key.0, chunk).as_bytes());
        if self.claim(PackKind::Metadata, id) {
            self.bytes_new += chunk.len() as u64;
            let frame = self.frames.entry(PackKind::Metadata).or_default();
            frame.push(&id, chunk);
            if frame.raw.len() >= METADATA_FRAME_LEN {
                let frame = mem::take(frame);
                self.send_frame(PackKind::Metadata, frame).await?;
            }
        }
        Ok(id)
    }

    /// Resolves every content chunk given so far.
    pub(crate) async fn resolve_all(&mut self) -> Result<(), RepositoryError> {
        self.send_batch().await?;
        while let Some(answer) = self.hashing.pop_front() {
            self.absorb(answer).await?;
        }
        Ok(())
    }

    /// Makes everything durable: packs first, then the index objects that name them.
    pub(crate) async fn finish(&mut self) -> Result<(), RepositoryError> {
        self.resolve_all().await?;
        for kind in [PackKind::Data, PackKind::Metadata] {
            if let Some(frame) = self
                .frames
                .remove(&kind)
                .filter(|frame| !frame.raw.is_empty())
            {
                self.send_frame(kind, frame).await?;
            }
        }
        while let Some((kind, answer)) = self.compressing.pop_front() {
            self.append(kind, answer.await).await?;
        }
        for kind in [PackKind::Data, PackKind::Metadata] {
            if let Some(pack) = self.packs.remove(&kind) {
                self.upload(pack).await?;
            }
        }
        while let Some(upload) = self.uploads.pop_front() {
            self.settle(upload).await?;
        }
        self.write_index().await
    }

    /// Returns whether the chunk is new and claims it for this session.
    fn claim(&mut self, kind: PackKind, id: ChunkId) -> bool {
        !self.index.contains(&id) && self.claimed.entry(kind).or_default().insert(short(&id))
    }

    /// Jobs that may wait in a stage: one for each thread, and two ready to follow. Each holds a
    /// batch, so this bounds memory as well.
    fn stage_len(&self) -> usize {
        self.repository.world.pool.width() + 2
    }

    async fn send_batch(&mut self) -> Result<(), RepositoryError> {
        if self.batch.1.is_empty() {
            return Ok(());
        }
        let batch = mem::take(&mut self.batch);
        let key = self.data_key.clone();
        self.hashing
            .push_back(self.repository.world.pool.run(move || {
                let ids = hash_batch(&batch, &key.0);
                (batch, ids)
            }));
        while self.hashing.len() > self.stage_len() {
            let answer = self.hashing.pop_front().expect("it is longer than zero");
            self.absorb(answer).await?;
        }
        Ok(())
    }

    async fn absorb(
        &mut self,
        answer: Answer<(Batch, Vec<ChunkId>)>,
    ) -> Result<(), RepositoryError> {
        let ((raw, lens), ids) = answer.await;
        let news: Vec<bool> = ids
            .iter()
            .map(|id| self.claim(PackKind::Data, *id))
            .collect();
        let new_len: usize = lens
            .iter()
            .zip(&news)
            .filter(|(_, new)| **new)
            .map(|(len, _)| *len as usize)
            .sum();
        self.bytes_new += new_len as u64;
        self.resolved.extend(
            ids.iter()
                .zip(&lens)
                .map(|(id, len)| ChunkRef { id: *id, len: *len }),
        );
        if new_len == raw.len() && new_len >= LEFTOVER_LEN {
            let chunks = ids
                .iter()
                .zip(&lens)
                .map(|(id, len)| (*id.as_bytes(), *len))
                .collect();
            return self
                .send_frame(PackKind::Data, FrameDraft { raw, chunks })
                .await;
        }
        let frame = self.frames.entry(PackKind::Data).or_default();
        let mut start = 0;
        for ((id, len), new) in ids.iter().zip(&lens).zip(news) {
            let end = start + *len as usize;
            if new {
                frame.push(id, &raw[start..end]);
            }
            start = end;
        }
        if frame.raw.len() >= LEFTOVER_LEN {
            let frame = mem::take(frame);
            self.send_frame(PackKind::Data, frame).await?;
        }
        Ok(())
    }

    async fn send_frame(
        &mut self,
        kind: PackKind,
        frame: FrameDraft,
    ) -> Result<(), RepositoryError> {
        let FrameDraft { raw, chunks } = frame;
        let job = self
            .repository
            .world
            .pool
            .run(move || compress_frame(raw, chunks));
        self.compressing.push_back((kind, job));
        while self.compressing.len() > self.stage_len() {
            let (kind, answer) = self
                .compressing
                .pop_front()
                .expect("it is longer than zero");
            self.append(kind, answer.await).await?;
        }
        Ok(())
    }

    async fn append(&mut self, kind: PackKind, frame: Frame) -> Result<(), RepositoryError> {
        let repository = &self.repository;
        let mut pack = match self.packs.remove(&kind) {
            Some(pack) => pack,
            None => {
                let entropy = &*repository.world.entropy;
                let pack = PackBuilder::new(kind, repository.id, &repository.keys, entropy)?;
                match kind {
                    PackKind::Data => {
                        let fresh = || Vec::with_capacity(PACK_LEN + PACK_OVERSHOOT);
                        pack.in_buffer(self.idle_buffers.pop().unwrap_or_else(fresh))
                    }
                    // Manifests seldom fill a pack.
                    PackKind::Metadata => pack,
                }
            }
        };
        pack.push(frame);
        if pack.len() >= PACK_LEN {
            return self.upload(pack).await;
        }
        self.packs.insert(kind, pack);
        Ok(())
    }

    async fn upload(&mut self, pack: PackBuilder) -> Result<(), RepositoryError> {
        let store = self.repository.store.clone();
        let finishing = self.repository.world.pool.run(move || pack.finish());
        self.uploads.push_back(tokio::spawn(async move {
            let pack = finishing.await;
            let body = Bytes::from(pack.bytes);
            let indexed = IndexedPackV1 {
                id: *pack.id.as_bytes(),
                size: body.len() as u64,
                metadata: pack.kind == PackKind::Metadata,
                directory: pack.directory,
            };
            store.put(&layout::pack(pack.id), body.clone()).await?;
            // A store in memory keeps the bytes.
            let is_free = pack.kind == PackKind::Data && body.is_unique();
            Ok((indexed, is_free.then(|| Vec::from(body))))
        }));
        while self.uploads.len() > UPLOADS_MAX {
            let upload = self.uploads.pop_front().expect("it is longer than zero");
            self.settle(upload).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, upload: Upload) -> Result<(), RepositoryError> {
        let (pack, buffer) = upload
            .await
            .expect("an upload neither panics nor is cancelled")?;
        self.idle_buffers.extend(buffer);
        self.bytes_stored += pack.size;
        self.uploaded.push(pack);
        if self.uploaded.len() >= INDEX_EVERY_PACKS {
            self.write_index().await?;
        }
        Ok(())
    }

    /// Writes an index object for the packs that are durable and in none yet.
    async fn write_index(&mut self) -> Result<(), RepositoryError> {
        if self.uploaded.is_empty() {
            return Ok(());
        }
        let repository = &self.repository;
        let packs = mem::take(&mut self.uploaded);
        let public = IndexPublic::of(&packs);
        let (id, len) = repository.write_index_object(&public, packs).await?;
        self.bytes_stored += len;
        self.index_objects.push(id);
        Ok(())
    }

    /// Returns the index objects written for this snapshot.
    pub(crate) fn index_objects(&self) -> &[IndexId] {
        &self.index_objects
    }
}

/// Hashes every chunk of a batch. Bytes to bytes.
fn hash_batch((raw, lens): &Batch, key: &[u8; 32]) -> Vec<ChunkId> {
    let mut rest = raw.as_slice();
    let mut ids = Vec::with_capacity(lens.len());
    for len in lens {
        let (chunk, after) = rest.split_at(*len as usize);
        ids.push(ChunkId::from_bytes(
            *blake3::keyed_hash(key, chunk).as_bytes(),
        ));
        rest = after;
    }
    ids
}

impl Repository {
    /// Returns the key under which ids of chunks of this kind are made.
    ///
    /// The two kinds have different ids for the same bytes, so that content can never be deduplicated
    /// into a metadata pack, which more roles can read. Metadata ids derive from the metadata key:
    /// an auditor can check manifests.
    pub(crate) fn chunk_key(&self, kind: PackKind) -> Result<SymmetricKey, RepositoryError> {
        let derive = |key: &SymmetricKey, label| key.for_object(label, &[0; 32]);
        Ok(match kind {
            PackKind::Data => derive(
                self.keys.id("read or store chunks")?,
                "lifeboat v1 data chunks",
            ),
            PackKind::Metadata => derive(self.keys.metadata(), "lifeboat v1 metadata chunks"),
        })
    }
}

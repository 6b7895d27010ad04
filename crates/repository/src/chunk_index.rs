//! The index in memory: from chunk id to the frame that holds it.

use std::collections::hash_map::Entry;

use lifeboat_model::{ChunkId, PackId};

use crate::format::HEADER_LEN;
use crate::format::index::IndexedPackV1;
use crate::format::pack::{FrameV1, PackKind};
use crate::id_hash::IdMap;

/// Half an id tells chunks apart: 128 bits make an accidental clash less likely than a meteorite,
/// and whatever is read is checked against the whole id anyway.
pub(crate) type ShortId = [u8; 16];

pub(crate) fn short(id: &ChunkId) -> ShortId {
    id.as_bytes()[..16].try_into().expect("an id has 32 bytes")
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Location {
    /// Number of the frame in [`ChunkIndex::frame`].
    pub(crate) frame: u32,
    /// First byte in the frame's raw bytes.
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// A frame as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameRow {
    /// Number of the pack in [`ChunkIndex::pack`].
    pub(crate) pack: u32,
    /// Its number in the pack that it was sealed for.
    pub(crate) number: u32,
    /// Number of the salt it was sealed under, in [`ChunkIndex::salt`].
    pub(crate) salt: u32,
    /// First byte in the pack.
    pub(crate) offset: u32,
    pub(crate) stored_len: u32,
    pub(crate) raw_len: u32,
    pub(crate) compressed: bool,
}

impl FrameRow {
    /// Returns what a directory would say of the frame, except for its chunks.
    pub(crate) fn as_stored(&self) -> FrameV1 {
        FrameV1 {
            stored_len: self.stored_len,
            raw_len: self.raw_len,
            compressed: self.compressed,
            origin: 0,
            number: self.number,
            chunks: Vec::new(),
        }
    }
}

/// A pack as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackRow {
    pub(crate) id: PackId,
    pub(crate) size: u64,
    pub(crate) kind: PackKind,
}

/// All chunks of a repository: 28 bytes a chunk and 28 a frame, plus the table's slack.
#[derive(Debug, Default)]
pub(crate) struct ChunkIndex {
    chunks: IdMap<ShortId, Location>,
    frames: Vec<FrameRow>,
    packs: Vec<PackRow>,
    salts: Vec<[u8; 32]>,
    known_packs: IdMap<PackId, u32>,
}

impl ChunkIndex {
    /// Adds a pack; one that is known already changes nothing.
    pub(crate) fn add(&mut self, pack: &IndexedPackV1) {
        let id = PackId::from_bytes(pack.id);
        let row = self.packs.len() as u32;
        match self.known_packs.entry(id) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(row),
        };
        self.packs.push(PackRow {
            id,
            size: pack.size,
            kind: pack.kind(),
        });
        let salts = self.salts.len() as u32;
        self.salts.extend_from_slice(&pack.directory.origins);
        let mut offset = HEADER_LEN as u32;
        for frame in &pack.directory.frames {
            let frame_row = self.frames.len() as u32;
            self.frames.push(FrameRow {
                pack: row,
                number: frame.number,
                salt: salts + frame.origin,
                offset,
                stored_len: frame.stored_len,
                raw_len: frame.raw_len,
                compressed: frame.compressed,
            });
            let mut inner = 0;
            for (chunk, len) in &frame.chunks {
                let location = Location {
                    frame: frame_row,
                    offset: inner,
                    len: *len,
                };
                self.chunks
                    .entry(short(&ChunkId::from_bytes(*chunk)))
                    .or_insert(location);
                inner += len;
            }
            offset += frame.stored_len;
        }
    }

    pub(crate) fn find(&self, id: &ChunkId) -> Option<Location> {
        self.chunks.get(&short(id)).copied()
    }

    /// Reports whether a chunk of this id and length is stored.
    pub(crate) fn holds(&self, id: &ChunkId, len: u32) -> bool {
        self.find(id).is_some_and(|location| location.len == len)
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(&short(id))
    }

    pub(crate) fn frame(&self, number: u32) -> FrameRow {
        self.frames[number as usize]
    }

    pub(crate) fn pack(&self, number: u32) -> PackRow {
        self.packs[number as usize]
    }

    /// Returns the salt of this number.
    pub(crate) fn salt(&self, number: u32) -> &[u8; 32] {
        &self.salts[number as usize]
    }

    pub(crate) fn packs(&self) -> &[PackRow] {
        &self.packs
    }

    pub(crate) fn frames(&self) -> &[FrameRow] {
        &self.frames
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Returns the memory that the tables take, bytes: what is reserved, not only what is filled.
    pub(crate) fn memory_bytes(&self) -> usize {
        // A hash table keeps a byte of its own for each place.
        let place = size_of::<(ShortId, Location)>() + 1;
        let pack = size_of::<PackRow>() + size_of::<(PackId, u32)>() + 1;
        // Tables are filled to seven eighths at most.
        self.chunks.capacity() * place * 8 / 7
            + self.frames.capacity() * size_of::<FrameRow>()
            + self.packs.capacity() * pack
    }
}

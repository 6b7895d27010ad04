//! What a file's bytes are made of: chunks, holes, and the page map of databases.

use lifeboat_model::ChunkId;

/// One chunk as a manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) id: ChunkId,
    pub(crate) len: u32,
}

/// Where an extent's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtentSource {
    /// Zeros that need no storage.
    Hole,
    /// Part of a chunk: its number in [`Content::chunks`] and the first byte in it.
    Chunk { number: u32, offset: u32 },
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) source: ExtentSource,
    pub(crate) len: u64,
}

/// Hashes of a database file's pages, kept in metadata chunks, so that the next incremental can
/// tell which pages changed without being able to read the old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageMap {
    pub(crate) page_size: u32,
    pub(crate) map: Vec<ChunkId>,
}

/// The content of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) chunks: Vec<ChunkRef>,
    /// `None` when the chunks in order are the content.
    pub(crate) extents: Option<Vec<Extent>>,
    pub(crate) pages: Option<PageMap>,
}

impl Content {
    /// Iterates over the runs of the file in order, holes included.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> {
        let whole = self.extents.is_none().then(|| {
            self.chunks
                .iter()
                .enumerate()
                .map(|(number, chunk)| Extent {
                    source: ExtentSource::Chunk {
                        number: number as u32,
                        offset: 0,
                    },
                    len: u64::from(chunk.len),
                })
        });
        whole
            .into_iter()
            .flatten()
            .chain(self.extents.iter().flatten().copied())
    }

    /// Reports whether the runs lie within their chunks and make up exactly `size` bytes.
    pub(crate) fn covers(&self, size: u64) -> bool {
        let mut total = 0_u64;
        for extent in self.extents() {
            if let ExtentSource::Chunk { number, offset } = extent.source {
                let Some(chunk) = self.chunks.get(number as usize) else {
                    return false;
                };
                let end = u64::from(offset).checked_add(extent.len);
                if end.is_none_or(|end| end > u64::from(chunk.len)) {
                    return false;
                }
            }
            match total.checked_add(extent.len) {
                Some(sum) => total = sum,
                None => return false,
            }
        }
        total == size
    }
}

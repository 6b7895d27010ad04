//! Database files: blocks in, whole chunks or patches of pages out.
//!
//! What to do with a block is decided in `pages`; here it is done.

use std::collections::BTreeMap;
use std::mem;

use lifeboat_model::ChunkId;

use super::SnapshotWriter;
use super::pages::{
    BLOCK_LEN, BlockPart, BlockPlan, MAP_CHUNK_PAGES, PAGE_HASH_LEN, page_hashes, plan_block,
};
use super::parent::PagedParent;
use crate::content::{Extent, ExtentSource, PageMap};
use crate::error::RepositoryError;

/// The database file being written.
pub(super) struct PagedFile {
    page_size: usize,
    block: Vec<u8>,
    /// Pages that changed, collected into a chunk; its number was reserved at the first of them.
    patch: Vec<u8>,
    patch_number: u32,
    hashes: Vec<u8>,
    map: Vec<ChunkId>,
    extents: Vec<Extent>,
    /// Numbers of the parent's chunks in this file's own table.
    renumbered: BTreeMap<u32, u32>,
    parent: Option<PagedParent>,
}

impl SnapshotWriter {
    /// Takes the next bytes of a database file.
    pub(super) async fn push_pages(
        &mut self,
        file: &mut PagedFile,
        bytes: &[u8],
    ) -> Result<(), RepositoryError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK_LEN - file.block.len()));
            file.block.extend_from_slice(now);
            rest = later;
            if file.block.len() == BLOCK_LEN {
                self.push_block(file).await?;
            }
        }
        Ok(())
    }

    /// Ends a database file and returns its extents and page map.
    pub(super) async fn finish_pages(
        &mut self,
        file: &mut PagedFile,
    ) -> Result<(Option<Vec<Extent>>, Option<PageMap>), RepositoryError> {
        if !file.block.is_empty() {
            self.push_block(file).await?;
        }
        self.flush_patch(file).await?;
        self.flush_hashes(file).await?;
        let map = PageMap {
            page_size: file.page_size as u32,
            map: mem::take(&mut file.map),
        };
        let extents = Some(mem::take(&mut file.extents)).filter(|list| !list.is_empty());
        Ok((extents, Some(map)))
    }

    /// Stores what is new in the block that was read, and empties it.
    async fn push_block(&mut self, file: &mut PagedFile) -> Result<(), RepositoryError> {
        let block = mem::take(&mut file.block);
        let hashes = page_hashes(&block, file.page_size, &self.page_key);
        let plan = match &mut file.parent {
            Some(parent) => {
                let extents = parent.extents.take(block.len());
                let before = parent.take_hashes(hashes.len()).await?;
                plan_block(block.len(), file.page_size, &hashes, &before, &extents)
            }
            None => BlockPlan::Whole,
        };
        match plan {
            BlockPlan::Whole => {
                let number = self.push_chunk(&block).await?;
                let source = ExtentSource::Chunk { number, offset: 0 };
                file.push_extent(Extent {
                    source,
                    len: block.len() as u64,
                });
            }
            BlockPlan::Keep(extents) => {
                for extent in extents {
                    self.keep_extent(file, extent);
                }
            }
            BlockPlan::Patch(parts) => {
                for part in parts {
                    match part {
                        BlockPart::Old(extent) => self.keep_extent(file, extent),
                        BlockPart::New(range) => self.patch(file, &block[range]).await?,
                    }
                }
            }
        }
        file.block = block;
        file.block.clear();
        file.hashes.extend_from_slice(&hashes);
        while file.hashes.len() >= MAP_CHUNK_PAGES * PAGE_HASH_LEN {
            let rest = file.hashes.split_off(MAP_CHUNK_PAGES * PAGE_HASH_LEN);
            file.map
                .push(self.pipeline.store_metadata(&file.hashes).await?);
            file.hashes = rest;
        }
        Ok(())
    }

    /// Refers to bytes that a chunk of the parent holds.
    fn keep_extent(&mut self, file: &mut PagedFile, extent: Extent) {
        let ExtentSource::Chunk { number, offset } = extent.source else {
            return file.push_extent(extent);
        };
        let parent = file
            .parent
            .as_ref()
            .expect("only a parent's extents are kept");
        let number = *file.renumbered.entry(number).or_insert_with(|| {
            let pending = self.pending.back_mut().expect("the file is pending");
            let content = pending.content.as_mut().expect("a file has content");
            content.chunks.push(parent.chunks[number as usize]);
            content.chunks.len() as u32 - 1
        });
        file.push_extent(Extent {
            source: ExtentSource::Chunk { number, offset },
            len: extent.len,
        });
    }

    /// Adds changed pages to the patch chunk.
    async fn patch(&mut self, file: &mut PagedFile, bytes: &[u8]) -> Result<(), RepositoryError> {
        if file.patch.len() + bytes.len() > BLOCK_LEN {
            self.flush_patch(file).await?;
        }
        if file.patch.is_empty() {
            file.patch_number = self.reserve_chunk(0);
        }
        let offset = file.patch.len() as u32;
        file.patch.extend_from_slice(bytes);
        let source = ExtentSource::Chunk {
            number: file.patch_number,
            offset,
        };
        file.push_extent(Extent {
            source,
            len: bytes.len() as u64,
        });
        Ok(())
    }

    async fn flush_patch(&mut self, file: &mut PagedFile) -> Result<(), RepositoryError> {
        if file.patch.is_empty() {
            return Ok(());
        }
        let patch = mem::take(&mut file.patch);
        self.send_chunk(file.patch_number, &patch).await
    }

    async fn flush_hashes(&mut self, file: &mut PagedFile) -> Result<(), RepositoryError> {
        if !file.hashes.is_empty() {
            file.map
                .push(self.pipeline.store_metadata(&file.hashes).await?);
            file.hashes.clear();
        }
        Ok(())
    }
}

impl PagedFile {
    pub(super) fn new(page_size: u32, parent: Option<PagedParent>) -> Self {
        Self {
            page_size: page_size as usize,
            block: Vec::with_capacity(BLOCK_LEN),
            patch: Vec::new(),
            patch_number: 0,
            hashes: Vec::new(),
            map: Vec::new(),
            extents: Vec::new(),
            renumbered: BTreeMap::new(),
            parent,
        }
    }

    /// Adds an extent, joined to the last one where it continues it.
    fn push_extent(&mut self, extent: Extent) {
        if let (Some(last), ExtentSource::Chunk { number, offset }) =
            (self.extents.last_mut(), extent.source)
            && let ExtentSource::Chunk {
                number: last_number,
                offset: last_offset,
            } = last.source
            && number == last_number
            && u64::from(last_offset) + last.len == u64::from(offset)
        {
            last.len += extent.len;
            return;
        }
        self.extents.push(extent);
    }
}

//! Page-grain increments of databases: which pages of a block changed, and what to store.
//!
//! A database file is read in blocks of a mebibyte. A full backup stores each block as one chunk.
//! An incremental compares the hashes of its pages with the parent's and stores the changed ones
//! only, collected into chunks of their own; the block then consists of extents of old and new
//! chunks. A block that is mostly new, or in too many parts, is stored whole again, so that a
//! restore never depends on a long chain.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::content::{Content, Extent, ExtentSource};

/// Length of a block, bytes; a multiple of every page size that databases use.
pub(crate) const BLOCK_LEN: usize = 1 << 20;
/// Bytes of a page's hash: 96 bits, so that among 2^40 changed pages none is missed by accident,
/// and the next full backup compares whole chunk ids anyway.
pub(crate) const PAGE_HASH_LEN: usize = 12;
/// What the key of page hashes is derived for.
pub(crate) const PAGE_HASHES_LABEL: &str = "lifeboat v1 page hashes";
/// Hashes in one chunk of a page map: small enough that one changed page costs little.
pub(crate) const MAP_CHUNK_PAGES: usize = 256;
/// A block in more parts than this is stored whole.
const PARTS_MAX: usize = 96;
/// A block whose parts come from more chunks than this is stored whole: each is a read of its own.
const CHUNKS_MAX: usize = 8;

/// Hashes the pages of a block one after the other.
pub(crate) fn page_hashes(block: &[u8], page_size: usize, key: &[u8; 32]) -> Vec<u8> {
    let mut hashes = Vec::with_capacity(block.len().div_ceil(page_size) * PAGE_HASH_LEN);
    for page in block.chunks(page_size) {
        hashes.extend_from_slice(&blake3::keyed_hash(key, page).as_bytes()[..PAGE_HASH_LEN]);
    }
    hashes
}

/// What to do with a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BlockPlan {
    /// Nothing changed: the parent's extents serve again.
    Keep(Vec<Extent>),
    /// Store these byte ranges of the block; everything else is in the parent's extents. The parts
    /// are in order and cover the block.
    Patch(Vec<BlockPart>),
    /// Store the block as one chunk.
    Whole,
}

/// A run of a block's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BlockPart {
    /// Bytes the parent's chunks hold.
    Old(Extent),
    /// Bytes of the block that have to be stored.
    New(Range<usize>),
}

/// Decides about one block.
///
/// `hashes` are those of its pages now, `before` the parent's for the same pages, and `extents`
/// the parent's for the same byte range, all of them.
pub(crate) fn plan_block(
    block_len: usize,
    page_size: usize,
    hashes: &[u8],
    before: &[u8],
    extents: &[Extent],
) -> BlockPlan {
    let covered: u64 = extents.iter().map(|extent| extent.len).sum();
    if covered != block_len as u64 || before.len() != hashes.len() {
        return BlockPlan::Whole;
    }
    let changed = changed_ranges(block_len, page_size, hashes, before);
    if changed.is_empty() {
        return BlockPlan::Keep(extents.to_vec());
    }
    let changed_len: usize = changed.iter().map(Range::len).sum();
    let parts = overlay(extents, &changed);
    if changed_len * 2 > block_len || parts.len() > PARTS_MAX || chunks_of(&parts) > CHUNKS_MAX {
        return BlockPlan::Whole;
    }
    BlockPlan::Patch(parts)
}

/// Counts the chunks that a block would be made of; all that is new goes into one.
fn chunks_of(parts: &[BlockPart]) -> usize {
    let old = parts.iter().filter_map(|part| match part {
        BlockPart::Old(Extent {
            source: ExtentSource::Chunk { number, .. },
            ..
        }) => Some(*number),
        _ => None,
    });
    old.collect::<BTreeSet<u32>>().len() + 1
}

/// Returns the byte ranges of pages whose hashes differ, neighbours joined.
fn changed_ranges(
    block_len: usize,
    page_size: usize,
    hashes: &[u8],
    before: &[u8],
) -> Vec<Range<usize>> {
    let pairs = hashes
        .chunks_exact(PAGE_HASH_LEN)
        .zip(before.chunks_exact(PAGE_HASH_LEN));
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (page, _) in pairs.enumerate().filter(|(_, (now, before))| now != before) {
        let start = page * page_size;
        let end = (start + page_size).min(block_len);
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// Lays `changed` over `extents`: the parts of the block in order.
fn overlay(extents: &[Extent], changed: &[Range<usize>]) -> Vec<BlockPart> {
    let mut parts = Vec::new();
    let mut cursor = 0;
    for range in changed {
        for old in slice(extents, cursor..range.start) {
            parts.push(BlockPart::Old(old));
        }
        parts.push(BlockPart::New(range.clone()));
        cursor = range.end;
    }
    let end = extents.iter().map(|extent| extent.len).sum::<u64>() as usize;
    parts.extend(slice(extents, cursor..end).into_iter().map(BlockPart::Old));
    parts
}

/// Returns the extents of the byte range `range`, the outer ones cut.
pub(crate) fn slice(extents: &[Extent], range: Range<usize>) -> Vec<Extent> {
    let mut found = Vec::new();
    let mut start = 0_u64;
    let wanted = range.start as u64..range.end as u64;
    for extent in extents {
        let end = start + extent.len;
        let from = start.max(wanted.start);
        let to = end.min(wanted.end);
        if from < to {
            let skipped = (from - start) as u32;
            let source = match extent.source {
                ExtentSource::Hole => ExtentSource::Hole,
                ExtentSource::Chunk { number, offset } => ExtentSource::Chunk {
                    number,
                    offset: offset + skipped,
                },
            };
            found.push(Extent {
                source,
                len: to - from,
            });
        }
        start = end;
    }
    found
}

/// Walks a file's extents block by block.
pub(crate) struct BlockExtents {
    extents: std::vec::IntoIter<Extent>,
    rest: Option<Extent>,
}

impl BlockExtents {
    pub(crate) fn new(content: &Content) -> Self {
        Self {
            extents: content.extents().collect::<Vec<_>>().into_iter(),
            rest: None,
        }
    }

    /// Takes the extents of the next `len` bytes, or of what is left.
    pub(crate) fn take(&mut self, len: usize) -> Vec<Extent> {
        let mut taken = Vec::new();
        let mut missing = len as u64;
        while missing > 0 {
            let Some(extent) = self.rest.take().or_else(|| self.extents.next()) else {
                break;
            };
            let here = extent.len.min(missing) as usize;
            let whole = [extent];
            taken.extend(slice(&whole, 0..here));
            if (here as u64) < extent.len {
                self.rest = slice(&whole, here..extent.len as usize).pop();
            }
            missing -= here as u64;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [5; 32];
    const PAGE: usize = 4096;

    fn chunk(number: u32, offset: u32, len: u64) -> Extent {
        Extent {
            source: ExtentSource::Chunk { number, offset },
            len,
        }
    }

    fn plan(before: &[u8], now: &[u8], extents: &[Extent]) -> BlockPlan {
        let hashes = |block| page_hashes(block, PAGE, &KEY);
        plan_block(now.len(), PAGE, &hashes(now), &hashes(before), extents)
    }

    #[test]
    fn one_changed_page_costs_one_page() {
        let before = vec![1; 64 * PAGE];
        let mut now = before.clone();
        now[10 * PAGE] = 2;
        let BlockPlan::Patch(parts) = plan(&before, &now, &[chunk(0, 0, 64 * PAGE as u64)]) else {
            panic!("expected a patch")
        };
        assert_eq!(
            parts,
            [
                BlockPart::Old(chunk(0, 0, 10 * PAGE as u64)),
                BlockPart::New(10 * PAGE..11 * PAGE),
                BlockPart::Old(chunk(0, 11 * PAGE as u32, 53 * PAGE as u64)),
            ]
        );
    }

    #[test]
    fn unchanged_blocks_keep_their_extents() {
        let block = vec![1; 8 * PAGE];
        let extents = [
            chunk(3, 0, 4 * PAGE as u64),
            chunk(9, 4096, 4 * PAGE as u64),
        ];
        assert_eq!(
            plan(&block, &block, &extents),
            BlockPlan::Keep(extents.to_vec())
        );
    }

    #[test]
    fn blocks_that_are_mostly_new_grown_or_in_shreds_are_stored_whole() {
        let before = vec![1; 64 * PAGE];
        let whole = [chunk(0, 0, 64 * PAGE as u64)];
        let mut mostly = before.clone();
        mostly[..20 * PAGE].fill(2);
        assert_eq!(plan(&before, &mostly, &whole), BlockPlan::Whole);
        let mut shreds = before.clone();
        (0..10).for_each(|n| shreds[n * 6 * PAGE] = 2);
        assert_eq!(plan(&before, &shreds, &whole), BlockPlan::Whole);
        assert_eq!(plan(&before, &vec![1; 65 * PAGE], &whole), BlockPlan::Whole);
    }

    #[test]
    fn extents_are_taken_block_by_block_wherever_they_end() {
        let content = Content {
            chunks: vec![],
            extents: Some(vec![chunk(0, 0, 10), chunk(1, 5, 10)]),
            pages: None,
        };
        let mut blocks = BlockExtents::new(&content);
        assert_eq!(blocks.take(8), [chunk(0, 0, 8)]);
        assert_eq!(blocks.take(8), [chunk(0, 8, 2), chunk(1, 5, 6)]);
        assert_eq!(blocks.take(8), [chunk(1, 11, 4)]);
        assert_eq!(blocks.take(8), []);
    }
}

//! Reading a snapshot front to back in bounded memory: entries one by one, content window by window.
//!
//! Owns no decision about where bytes go; must never hold more of a manifest than one window.

use std::sync::Arc;

use futures::stream::{Stream, StreamExt as _};

use crate::chunk_index::ChunkIndex;
use crate::content::ExtentSource;
use crate::crypto::SymmetricKey;
use crate::error::RepositoryError;
use crate::fetch::{FetchError, Pieces, Wanted};
use crate::format::pack::PackKind;
use crate::manifest::{ManifestReader, MetadataReader, StoredEntry};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::writer::pages::{MAP_CHUNK_PAGES, PAGE_HASH_LEN, PAGE_HASHES_LABEL, page_hashes};

/// Longest run of zeros that is compared with a file at a time, bytes.
const ZEROS_LEN: u64 = 256 << 10;

/// A snapshot whose entries and content can be read, any number of times.
pub struct SnapshotReader {
    repository: Repository,
    index: Arc<ChunkIndex>,
    snapshot: Snapshot,
}

/// The entries of a snapshot in path order.
pub struct Entries(ManifestReader);

impl Entries {
    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    /// Fails if an object is missing or damaged.
    pub async fn next(&mut self) -> Result<Option<StoredEntry>, RepositoryError> {
        self.0.next().await
    }
}

/// Files whose content is fetched together: what is planned at once, and so what is held in memory.
#[derive(Debug, Default)]
pub struct FileWindow {
    wanted: Wanted,
}

impl FileWindow {
    /// Adds a file under the caller's number for it, or of it only what `missing` names. Returns how
    /// many bytes will come; holes do not.
    pub fn add(&mut self, number: usize, stored: &StoredEntry, missing: Option<&Differing>) -> u64 {
        let content = stored.content.as_ref();
        match missing {
            None => self.wanted.add_file(number, content, |_| true),
            Some(differing) => self.wanted.add_file(number, content, |extent| {
                differing.extents.binary_search(&extent).is_ok()
            }),
        }
    }

    /// Returns how many different chunks were asked for.
    pub fn chunks(&self) -> usize {
        self.wanted.chunks()
    }
}

impl Repository {
    /// Opens a snapshot for reading. Needs any key; fetching content needs the reader key.
    ///
    /// # Errors
    /// Fails if an index object is missing or damaged.
    pub async fn snapshot_reader(
        &self,
        snapshot: &Snapshot,
    ) -> Result<SnapshotReader, RepositoryError> {
        Ok(SnapshotReader {
            repository: self.clone(),
            index: Arc::new(self.load_index_to_read(snapshot).await?),
            snapshot: snapshot.clone(),
        })
    }
}

impl SnapshotReader {
    /// Starts to read the entries.
    pub fn entries(&self) -> Entries {
        let (repository, index) = (self.repository.clone(), self.index.clone());
        Entries(ManifestReader::new(repository, index, &self.snapshot))
    }

    /// Reports whether the key opens content, so that the wrong one is told before anything is
    /// written anywhere.
    ///
    /// # Errors
    /// Fails if it does not.
    pub fn can_read_content(&self) -> Result<(), RepositoryError> {
        self.repository.keys.content_private().map(drop)
    }

    /// Fetches the content of files, one window after the other; all pieces of a window come before
    /// those of the next, which is read ahead meanwhile. The pieces carry the caller's numbers.
    ///
    /// The stream fails where a chunk is in no index, or an object is missing or damaged.
    pub fn fetch<'a>(
        &'a self,
        windows: impl Stream<Item = FileWindow> + 'a,
    ) -> impl Stream<Item = Result<Pieces, FetchError>> + 'a {
        let wanted = windows.map(|window| window.wanted);
        self.repository.fetch(&self.index, wanted)
    }

    /// Returns what reads the hashes of pages, file after file.
    ///
    /// # Errors
    /// Fails if the key does not name chunks.
    pub fn page_maps(&self) -> Result<PageMaps, RepositoryError> {
        let id_key = self.repository.keys.id("compare pages")?;
        Ok(PageMaps {
            metadata: MetadataReader::new(self.repository.clone(), self.index.clone()),
            key: id_key.for_object(PAGE_HASHES_LABEL, &[0; 32]).0,
        })
    }

    /// Returns what tells whether a local file has the content of a stored one.
    ///
    /// # Errors
    /// Fails if the key does not name chunks.
    pub fn content_check(&self) -> Result<ContentCheck, RepositoryError> {
        let key = self.repository.chunk_key(PackKind::Data)?;
        Ok(ContentCheck { key })
    }
}

/// Compares local bytes with stored content without fetching any of it: a chunk's id is the keyed
/// hash of its bytes.
#[derive(Clone)]
pub struct ContentCheck {
    key: SymmetricKey,
}

/// Reads the hashes of pages, best in the order of the manifest: each metadata frame is then opened
/// once.
pub struct PageMaps {
    metadata: MetadataReader,
    key: [u8; 32],
}

impl PageMaps {
    /// Reads the hashes of a file's pages; `None` if it is no database file.
    ///
    /// # Errors
    /// Fails if the page map is missing or damaged.
    pub async fn of(
        &mut self,
        stored: &StoredEntry,
    ) -> Result<Option<PageHashes>, RepositoryError> {
        let content = stored.content.as_ref();
        let Some(pages) = content.and_then(|content| content.pages.as_ref()) else {
            return Ok(None);
        };
        let mut hashes = Vec::with_capacity(pages.map.len() * MAP_CHUNK_PAGES * PAGE_HASH_LEN);
        for id in &pages.map {
            hashes.extend(self.metadata.chunk(*id).await?);
        }
        Ok(Some(PageHashes {
            page_size: pages.page_size,
            hashes,
            key: self.key,
        }))
    }
}

/// The hashes of a stored database file's pages.
#[derive(Clone)]
pub struct PageHashes {
    page_size: u32,
    hashes: Vec<u8>,
    key: [u8; 32],
}

impl PageHashes {
    /// Reports whether `bytes`, whole pages but for the file's end, are the stored ones at `offset`.
    fn are_those_at(&self, offset: u64, bytes: &[u8]) -> bool {
        let page_size = u64::from(self.page_size);
        if !offset.is_multiple_of(page_size) {
            return false;
        }
        let start = (offset / page_size) as usize * PAGE_HASH_LEN;
        let found = page_hashes(bytes, self.page_size as usize, &self.key);
        self.hashes.get(start..start + found.len()) == Some(&found)
    }
}

/// The parts of a file that differ from what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differing {
    /// Numbers of extents, ascending.
    extents: Vec<usize>,
    /// How many extents the file has.
    of: usize,
}

impl Differing {
    /// Reports whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Reports whether no part is the same.
    pub fn is_everything(&self) -> bool {
        self.extents.len() == self.of
    }
}

impl ContentCheck {
    /// Compares a file with what is stored under `stored`, page by page if `pages` are known.
    ///
    /// `read` puts the file's bytes at an offset into the buffer and returns how many there were.
    /// What is equal is given to `same` with its offset, in order, read once; holes are not. Without
    /// `pages`, parts that share a chunk with others cannot be told by its id and count as different.
    ///
    /// # Errors
    /// Fails as `read` and `same` do.
    pub fn differing<E>(
        &self,
        stored: &StoredEntry,
        pages: Option<&PageHashes>,
        buffer: &mut Vec<u8>,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
        mut same: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Differing, E> {
        let mut differing = Differing::default();
        let Some(content) = &stored.content else {
            return Ok(differing);
        };
        let mut offset = 0;
        for (number, extent) in content.extents().enumerate() {
            let equal = match extent.source {
                ExtentSource::Hole => zeros(offset, extent.len, buffer, &mut read)?,
                ExtentSource::Chunk { number, offset: at } => {
                    let chunk = content.chunks[number as usize];
                    let whole = at == 0 && u64::from(chunk.len) == extent.len;
                    buffer.resize(extent.len as usize, 0);
                    let equal = (whole || pages.is_some())
                        && read(offset, buffer)? == buffer.len()
                        && match pages {
                            Some(pages) => pages.are_those_at(offset, buffer),
                            None => {
                                *blake3::keyed_hash(&self.key.0, buffer).as_bytes()
                                    == *chunk.id.as_bytes()
                            }
                        };
                    if equal {
                        same(offset, buffer)?;
                    }
                    equal
                }
            };
            if !equal {
                differing.extents.push(number);
            }
            offset += extent.len;
            differing.of += 1;
        }
        Ok(differing)
    }
}

/// Reports whether so many bytes of a file are zeros.
fn zeros<E>(
    start: u64,
    len: u64,
    buffer: &mut Vec<u8>,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<bool, E> {
    let mut offset = start;
    while offset < start + len {
        let now = (start + len - offset).min(ZEROS_LEN);
        buffer.resize(now as usize, 0);
        if read(offset, buffer)? != buffer.len() || buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += now;
    }
    Ok(true)
}

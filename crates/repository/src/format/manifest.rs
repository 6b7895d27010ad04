//! Manifest entries: one record for each thing in a source, in path order.
//!
//! A manifest is a stream of records, each `length, u32 LE | postcard`, cut into chunks by content,
//! so that two snapshots of a source share the parts where nothing changed.

use std::mem;

use lifeboat_model::{ChunkId, Entry, EntryKind, EntryPath, Metadata};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::content::{ChunkRef, Content, Extent, ExtentSource, PageMap};
use crate::error::Flaw;

/// No record is larger; a parser must not believe more.
const RECORD_LEN_MAX: usize = 1 << 30;

#[derive(Debug, Serialize, Deserialize)]
struct RecordV1<'a> {
    #[serde(borrow)]
    path: Bytes<'a>,
    kind: KindV1<'a>,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    #[serde(borrow)]
    xattrs: Vec<(Bytes<'a>, Bytes<'a>)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum KindV1<'a> {
    Directory,
    File {
        size: u64,
        content: ContentV1,
    },
    Symlink {
        #[serde(borrow)]
        target: Bytes<'a>,
    },
    Hardlink {
        #[serde(borrow)]
        first: Bytes<'a>,
    },
    Fifo,
    Socket,
    Device {
        block: bool,
        number: u64,
    },
}

/// Bytes that stay where they are: written as one piece, read as a part of the record.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Of all sequences of `u8`, serde reads a borrowed slice as one piece.
        <&'a [u8]>::deserialize(deserializer).map(Bytes)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ContentV1 {
    chunks: Vec<ChunkV1>,
    /// Empty when the chunks in order are the content.
    extents: Vec<ExtentV1>,
    pages: Option<PagesV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChunkV1 {
    id: [u8; 32],
    len: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct ExtentV1 {
    /// 0 for a hole, else the number of the chunk plus one.
    source: u32,
    offset: u32,
    len: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct PagesV1 {
    page_size: u32,
    map: Vec<[u8; 32]>,
}

/// Appends one record to `out`.
pub(crate) fn write_record(entry: &Entry, content: Option<&Content>, out: &mut Vec<u8>) {
    let Entry {
        path,
        kind,
        metadata,
    } = entry;
    let record = RecordV1 {
        path: Bytes(path.as_bytes()),
        kind: kind_to_stored(kind, content),
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime_ns: metadata.mtime_ns,
        ctime_ns: metadata.ctime_ns,
        inode: metadata.inode,
        xattrs: metadata
            .xattrs
            .iter()
            .map(|(name, value)| (Bytes(name), Bytes(value)))
            .collect(),
    };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    *out = postcard::to_extend(&record, mem::take(out)).expect("our structs serialize into memory");
    let len = u32::try_from(out.len() - start - 4).expect("a record is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// Takes the first whole record off `bytes`; `None` if there is no whole one yet.
///
/// Returns the entry, its content if it is a file, and the number of bytes taken.
pub(crate) fn read_record(bytes: &[u8]) -> Result<Option<(Entry, Option<Content>, usize)>, Flaw> {
    let Some((len, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*len) as usize;
    if len > RECORD_LEN_MAX {
        return Err(broken());
    }
    let Some(record) = rest.get(..len) else {
        return Ok(None);
    };
    let (record, left) = postcard::take_from_bytes::<RecordV1>(record).map_err(|_| broken())?;
    if !left.is_empty() {
        return Err(broken());
    }
    let (kind, content) = kind_from_stored(record.kind)?;
    let metadata = Metadata {
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        mtime_ns: record.mtime_ns,
        ctime_ns: record.ctime_ns,
        inode: record.inode,
        xattrs: record
            .xattrs
            .into_iter()
            .map(|(name, value)| (name.0.to_vec(), value.0.to_vec()))
            .collect(),
    };
    let path = EntryPath::new(record.path.0).map_err(|_| broken())?;
    Ok(Some((
        Entry {
            path,
            kind,
            metadata,
        },
        content,
        4 + len,
    )))
}

fn broken() -> Flaw {
    Flaw::damaged("a manifest record cannot be read")
}

fn kind_to_stored<'a>(kind: &'a EntryKind, content: Option<&Content>) -> KindV1<'a> {
    match kind {
        EntryKind::Directory => KindV1::Directory,
        EntryKind::File { size } => {
            let content = content.expect("a file is added with its content");
            KindV1::File {
                size: *size,
                content: content_to_stored(content),
            }
        }
        EntryKind::Symlink { target } => KindV1::Symlink {
            target: Bytes(target),
        },
        EntryKind::Hardlink { first } => KindV1::Hardlink {
            first: Bytes(first.as_bytes()),
        },
        EntryKind::Fifo => KindV1::Fifo,
        EntryKind::Socket => KindV1::Socket,
        EntryKind::Device { block, number } => KindV1::Device {
            block: *block,
            number: *number,
        },
    }
}

fn kind_from_stored(kind: KindV1<'_>) -> Result<(EntryKind, Option<Content>), Flaw> {
    Ok(match kind {
        KindV1::Directory => (EntryKind::Directory, None),
        KindV1::File { size, content } => (
            EntryKind::File { size },
            Some(content_from_stored(content, size)?),
        ),
        KindV1::Symlink { target } => {
            let target = target.0.to_vec();
            (EntryKind::Symlink { target }, None)
        }
        KindV1::Hardlink { first } => {
            let first = EntryPath::new(first.0).map_err(|_| broken())?;
            (EntryKind::Hardlink { first }, None)
        }
        KindV1::Fifo => (EntryKind::Fifo, None),
        KindV1::Socket => (EntryKind::Socket, None),
        KindV1::Device { block, number } => (EntryKind::Device { block, number }, None),
    })
}

fn content_to_stored(content: &Content) -> ContentV1 {
    let chunk = |chunk: &ChunkRef| ChunkV1 {
        id: *chunk.id.as_bytes(),
        len: chunk.len,
    };
    let extent = |extent: &Extent| match extent.source {
        ExtentSource::Hole => ExtentV1 {
            source: 0,
            offset: 0,
            len: extent.len,
        },
        ExtentSource::Chunk { number, offset } => ExtentV1 {
            source: number + 1,
            offset,
            len: extent.len,
        },
    };
    ContentV1 {
        chunks: content.chunks.iter().map(chunk).collect(),
        extents: content.extents.iter().flatten().map(extent).collect(),
        pages: content.pages.as_ref().map(|pages| PagesV1 {
            page_size: pages.page_size,
            map: pages.map.iter().map(|id| *id.as_bytes()).collect(),
        }),
    }
}

fn content_from_stored(content: ContentV1, size: u64) -> Result<Content, Flaw> {
    let chunks: Vec<_> = content
        .chunks
        .into_iter()
        .map(|chunk| ChunkRef {
            id: ChunkId::from_bytes(chunk.id),
            len: chunk.len,
        })
        .collect();
    let extent = |extent: ExtentV1| {
        let source = match extent.source.checked_sub(1) {
            None => ExtentSource::Hole,
            Some(number) => ExtentSource::Chunk {
                number,
                offset: extent.offset,
            },
        };
        Extent {
            source,
            len: extent.len,
        }
    };
    let extents: Vec<_> = content.extents.into_iter().map(extent).collect();
    let content = Content {
        chunks,
        extents: (!extents.is_empty()).then_some(extents),
        pages: content.pages.map(|pages| PageMap {
            page_size: pages.page_size,
            map: pages.map.into_iter().map(ChunkId::from_bytes).collect(),
        }),
    };
    if content.covers(size) {
        Ok(content)
    } else {
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_round_trips_and_waits_for_its_last_byte() {
        let content = Content {
            chunks: vec![ChunkRef {
                id: ChunkId::from_bytes([1; 32]),
                len: 10,
            }],
            extents: Some(vec![
                Extent {
                    source: ExtentSource::Hole,
                    len: 5,
                },
                Extent {
                    source: ExtentSource::Chunk {
                        number: 0,
                        offset: 2,
                    },
                    len: 8,
                },
            ]),
            pages: Some(PageMap {
                page_size: 4096,
                map: vec![ChunkId::from_bytes([2; 32])],
            }),
        };
        let entry = Entry {
            path: EntryPath::new(*b"a/\xff").unwrap(),
            kind: EntryKind::File { size: 13 },
            metadata: Metadata {
                mode: 0o644,
                mtime_ns: -5,
                ..Metadata::default()
            },
        };
        let mut bytes = Vec::new();
        write_record(&entry, Some(&content), &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(read_record(&bytes[..cut]), Ok(None));
        }
        assert_eq!(
            read_record(&bytes),
            Ok(Some((entry, Some(content), bytes.len())))
        );
    }

    #[test]
    fn content_that_does_not_cover_its_file_is_damage() {
        let content = Content {
            chunks: vec![],
            extents: None,
            pages: None,
        };
        let entry = Entry {
            path: EntryPath::new("a").unwrap(),
            kind: EntryKind::File { size: 1 },
            metadata: Metadata::default(),
        };
        let mut bytes = Vec::new();
        write_record(&entry, Some(&content), &mut bytes);
        assert!(read_record(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_record(&bytes);
            let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
            framed.extend(bytes);
            let _ = read_record(&framed);
        }
    }
}

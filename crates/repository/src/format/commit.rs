//! Commit records: the one object that makes a snapshot exist.

use std::collections::BTreeSet;

use lifeboat_model::{IndexId, Lsn, SegmentSize, SystemId, Timeline, WalRange};
use serde::{Deserialize, Serialize};

use crate::error::Flaw;
use crate::format::index::{IndexPrefix, prefix_of};
use crate::format::{Kind, sealed};

/// At most so many segments lie between a backup's start and its stop: 16 TiB of log at 16 MiB each.
const SEGMENTS_MAX: u64 = 1 << 20;

/// The sealed body of a commit record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommitV1 {
    pub(crate) environment: String,
    pub(crate) class: String,
    pub(crate) source: String,
    pub(crate) source_kind: String,
    pub(crate) tier: String,
    pub(crate) kind: String,
    /// The moment whose state the snapshot holds, milliseconds since 1970 UTC.
    pub(crate) instant_ms: i64,
    /// When reading began; files changed later than a little before this are read again next time.
    pub(crate) started_ns: i64,
    /// When the record was written.
    pub(crate) finished_ms: i64,
    pub(crate) parent: Option<[u8; 32]>,
    pub(crate) host: String,
    pub(crate) program: String,
    /// Whether the content went through masking and its gates.
    pub(crate) masked: bool,
    /// Chunks of the manifest, in order.
    pub(crate) manifest: Vec<ManifestChunkV1>,
    pub(crate) totals: TotalsV1,
    /// What the source said about this state, as JSON by name: a fingerprint, the newest commit.
    pub(crate) facts: Vec<(String, String)>,
    /// Items that could not be read; such a snapshot is incomplete and says so.
    pub(crate) skipped: Vec<(Vec<u8>, String)>,
    /// The stretch of a write-ahead log that it takes to make it consistent.
    pub(crate) wal: Option<WalRangeV1>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalRangeV1 {
    pub(crate) system: u64,
    pub(crate) timeline: u32,
    pub(crate) start: u64,
    pub(crate) stop: u64,
    pub(crate) segment_size: u32,
    pub(crate) embedded: bool,
}

impl WalRangeV1 {
    pub(crate) fn of(range: WalRange) -> Self {
        Self {
            system: range.system.get(),
            timeline: range.timeline.get(),
            start: range.start.get(),
            stop: range.stop.get(),
            segment_size: range.segment_size.bytes(),
            embedded: range.embedded,
        }
    }

    /// Reads a range, or returns `None` if it cannot be one: a parser must not believe that more
    /// segments lie in between than a backup can have waited for.
    pub(crate) fn to_model(self) -> Option<WalRange> {
        let segment_size = SegmentSize::new(self.segment_size)?;
        let len = self.stop.checked_sub(self.start)?;
        (len / u64::from(self.segment_size) < SEGMENTS_MAX).then_some(WalRange {
            system: SystemId::new(self.system),
            timeline: Timeline::new(self.timeline),
            start: Lsn::new(self.start),
            stop: Lsn::new(self.stop),
            segment_size,
            embedded: self.embedded,
        })
    }
}

/// What can be read of a commit record without a key: which other objects its snapshot needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitPublic {
    /// Starts of the names of all index objects that existed at the commit, sorted.
    pub(crate) index: Vec<IndexPrefix>,
    /// The stretch of the log that lies beside the packs.
    pub(crate) wal: Option<WalRangeV1>,
}

impl CommitPublic {
    pub(crate) fn new(index: impl IntoIterator<Item = IndexId>, wal: Option<WalRange>) -> Self {
        let index: BTreeSet<IndexPrefix> = index.into_iter().map(|id| prefix_of(&id)).collect();
        Self {
            index: index.into_iter().collect(),
            wal: wal.filter(|range| !range.embedded).map(WalRangeV1::of),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("it serializes into memory")
    }

    /// Reads the public part of a commit record, given as it lies in the store.
    pub(crate) fn of(record: &[u8]) -> Result<Self, Flaw> {
        let unreadable = || Flaw::damaged("its list of needed objects cannot be read");
        let public = sealed::public(Kind::Commit, record)?;
        let (read, rest) = postcard::take_from_bytes::<Self>(public).map_err(|_| unreadable())?;
        let sound = rest.is_empty() && read.wal.is_none_or(|wal| wal.to_model().is_some());
        sound.then_some(read).ok_or_else(unreadable)
    }

    /// Returns the stretch of the log that lies beside the packs.
    pub(crate) fn wal(&self) -> Option<WalRange> {
        self.wal.and_then(WalRangeV1::to_model)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ManifestChunkV1 {
    pub(crate) id: [u8; 32],
    pub(crate) len: u32,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct TotalsV1 {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_new: u64,
    pub(crate) bytes_stored: u64,
}

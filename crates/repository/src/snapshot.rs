//! Snapshots as the rest of the program sees them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_model::{
    BackupKind, EntryPath, EnvironmentClass, EnvironmentName, SnapshotId, SourceKind, SourceName,
    Tier, WalRange,
};
use serde::Serialize;

use crate::error::Flaw;
use crate::format::commit::{CommitV1, ManifestChunkV1, TotalsV1, WalRangeV1};
use crate::layout::SnapshotName;

/// A committed snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// BLAKE3 of the commit record.
    pub id: SnapshotId,
    /// The environment it belongs to.
    pub environment: EnvironmentName,
    /// What that environment was for when the snapshot was taken.
    pub class: EnvironmentClass,
    /// The source it was taken of.
    pub source: SourceName,
    /// What kind of source that is.
    pub source_kind: SourceKind,
    /// The tier it was taken for.
    pub tier: Tier,
    /// Whether it built on a parent.
    pub kind: BackupKind,
    /// The moment whose state it holds.
    pub instant: Timestamp,
    /// When reading began.
    pub started: Timestamp,
    /// When it was committed.
    pub finished: Timestamp,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// The host that took it.
    pub host: String,
    /// The program and version that took it.
    pub program: String,
    /// Whether its content went through masking and the leak gates.
    pub masked: bool,
    /// Counts and sizes.
    pub totals: Totals,
    /// What the source said about this state, as JSON by name.
    pub facts: BTreeMap<String, String>,
    /// Items that could not be read, with the reason. Empty for a whole snapshot.
    pub skipped: Vec<(EntryPath, String)>,
    /// The stretch of a write-ahead log that it takes to make it consistent; `None` if it is so by
    /// itself.
    pub wal: Option<WalRange>,
    pub(crate) manifest: Vec<ManifestChunkV1>,
}

/// Counts and sizes of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes a restore writes: the sizes of all files together.
    pub bytes: u64,
    /// Bytes that had to be read from the source.
    pub bytes_read: u64,
    /// Bytes of chunks that the repository did not hold before.
    pub bytes_new: u64,
    /// Bytes of the objects written for this snapshot, the commit record left out.
    pub bytes_stored: u64,
}

impl Snapshot {
    /// Returns the name of the commit record.
    pub fn name(&self) -> SnapshotName {
        SnapshotName {
            environment: self.environment.clone(),
            source: self.source.clone(),
            instant: self.instant,
            id: self.id,
        }
    }

    /// Returns the length of its manifest, bytes.
    pub fn manifest_bytes(&self) -> u64 {
        self.manifest.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    pub(crate) fn to_stored(&self) -> CommitV1 {
        let totals = self.totals;
        CommitV1 {
            environment: self.environment.to_string(),
            class: self.class.to_string(),
            source: self.source.to_string(),
            source_kind: self.source_kind.to_string(),
            tier: self.tier.to_string(),
            kind: self.kind.to_string(),
            instant_ms: self.instant.as_millisecond(),
            started_ns: nanoseconds(self.started),
            finished_ms: self.finished.as_millisecond(),
            parent: self.parent.map(|id| *id.as_bytes()),
            host: self.host.clone(),
            program: self.program.clone(),
            masked: self.masked,
            manifest: self.manifest.clone(),
            totals: TotalsV1 {
                entries: totals.entries,
                bytes: totals.bytes,
                bytes_read: totals.bytes_read,
                bytes_new: totals.bytes_new,
                bytes_stored: totals.bytes_stored,
            },
            facts: self.facts.clone().into_iter().collect(),
            skipped: self
                .skipped
                .iter()
                .map(|(path, reason)| (path.as_bytes().to_vec(), reason.clone()))
                .collect(),
            wal: self.wal.map(WalRangeV1::of),
        }
    }

    /// Reads a stored record; `id` is the hash of its bytes.
    pub(crate) fn from_stored(id: SnapshotId, record: CommitV1) -> Result<Self, Flaw> {
        fn word<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Flaw> {
            text.parse()
                .map_err(|_| Flaw::damaged(format!("its {what} cannot be read")))
        }
        let time = |ms: i64| {
            Timestamp::from_millisecond(ms).map_err(|_| Flaw::damaged("an instant is out of range"))
        };
        let path = |bytes: Vec<u8>| {
            EntryPath::new(bytes).map_err(|_| Flaw::damaged("a skipped path is no path"))
        };
        Ok(Self {
            id,
            environment: word(&record.environment, "environment")?,
            class: word(&record.class, "class")?,
            source: word(&record.source, "source")?,
            source_kind: word(&record.source_kind, "source kind")?,
            tier: word(&record.tier, "tier")?,
            kind: word(&record.kind, "kind")?,
            instant: time(record.instant_ms)?,
            started: Timestamp::from_nanosecond(i128::from(record.started_ns))
                .map_err(|_| Flaw::damaged("an instant is out of range"))?,
            finished: time(record.finished_ms)?,
            parent: record.parent.map(SnapshotId::from_bytes),
            host: record.host,
            program: record.program,
            masked: record.masked,
            totals: Totals {
                entries: record.totals.entries,
                bytes: record.totals.bytes,
                bytes_read: record.totals.bytes_read,
                bytes_new: record.totals.bytes_new,
                bytes_stored: record.totals.bytes_stored,
            },
            facts: record.facts.into_iter().collect(),
            skipped: record
                .skipped
                .into_iter()
                .map(|(bytes, reason)| Ok((path(bytes)?, reason)))
                .collect::<Result<_, Flaw>>()?,
            wal: match record.wal.map(WalRangeV1::to_model) {
                Some(None) => return Err(Flaw::damaged("its range of the log is none")),
                range => range.flatten(),
            },
            manifest: record.manifest,
        })
    }
}

/// Returns an instant in nanoseconds since 1970; the years 1677 to 2262 fit.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

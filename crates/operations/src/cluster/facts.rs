//! What a snapshot of a cluster knows of it besides its files.

use std::path::PathBuf;

use jiff::Timestamp;
use lifeboat_model::{Lsn, SegmentSize, SystemId, Timeline};
use lifeboat_repository::{Snapshot, SnapshotWriter};
use lifeboat_source_postgres::{BackupEnd, ReadStats, ServerFacts};
use serde::{Deserialize, Serialize};

/// Name of the fact that holds [`ClusterFacts`].
pub const CLUSTER_FACT: &str = "postgres.cluster";

/// Damaged pages that a snapshot lists; the rest is counted.
const LISTED_MAX: usize = 100;

/// What was true of a cluster when it was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// `server_version_num`: 150010.
    pub version: u32,
    /// The cluster.
    pub system: SystemId,
    /// Layout of the system catalogs.
    pub catalog_version: u32,
    /// The timeline from start to stop.
    pub timeline: Timeline,
    /// Where recovery begins.
    pub start: Lsn,
    /// How far it must at least go.
    pub stop: Lsn,
    /// When the backup was started, by the server's clock.
    pub started: Timestamp,
    /// When it was stopped.
    pub stopped: Timestamp,
    /// Length of a segment of the log.
    pub segment_size: SegmentSize,
    /// Length of a page, bytes.
    pub page_bytes: u32,
    /// Whether pages carry checksums.
    pub checksums: bool,
    /// Whether it was taken from a standby.
    pub standby: bool,
    /// The role that `initdb` made: it exists in every cluster, and may do all.
    pub bootstrap_role: String,
    /// Its tablespaces.
    pub tablespaces: Vec<TablespaceFacts>,
    /// Pages whose checksum was looked at.
    pub pages_verified: u64,
    /// How many of them are damaged, in the server's own files.
    pub pages_damaged: u64,
    /// The first of these.
    pub damaged: Vec<DamagedPage>,
}

/// A tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablespaceFacts {
    /// Its number, which is the name of its link.
    pub oid: u32,
    /// The folder that it lies in.
    pub location: PathBuf,
}

/// A page that was damaged in the server's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file, as the snapshot names it.
    pub file: String,
    /// The number of the page in its relation.
    pub block: u32,
}

/// From where to where a backup went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) timeline: Timeline,
    pub(crate) start: Lsn,
    pub(crate) stop: Lsn,
    pub(crate) started: Timestamp,
    pub(crate) stopped: Timestamp,
}

impl ClusterFacts {
    /// Collects what a server said that sent its files: their pages were not looked at.
    pub(crate) fn of_stream(server: &ServerFacts, span: Span) -> Self {
        Self::with_stats(server, span, &ReadStats::default())
    }

    /// Collects what the server and the reading said.
    pub(crate) fn new(server: &ServerFacts, end: &BackupEnd, stats: &ReadStats) -> Self {
        let span = Span {
            timeline: end.timeline,
            start: end.start,
            stop: end.stop,
            started: end.started,
            stopped: end.stopped,
        };
        Self::with_stats(server, span, stats)
    }

    fn with_stats(server: &ServerFacts, span: Span, stats: &ReadStats) -> Self {
        let damaged = stats.problems.iter().take(LISTED_MAX);
        Self {
            version: server.version,
            system: server.system_id,
            catalog_version: server.catalog_version,
            timeline: span.timeline,
            start: span.start,
            stop: span.stop,
            started: span.started,
            stopped: span.stopped,
            segment_size: server.segment_size,
            page_bytes: server.page_bytes,
            checksums: server.checksums,
            standby: server.in_recovery,
            bootstrap_role: server.bootstrap_role.clone(),
            tablespaces: server
                .tablespaces
                .iter()
                .map(|one| TablespaceFacts {
                    oid: one.oid,
                    location: one.location.clone(),
                })
                .collect(),
            pages_verified: stats.pages_verified,
            pages_damaged: stats.damaged_pages,
            damaged: damaged
                .map(|page| DamagedPage {
                    file: page.path.to_string(),
                    block: page.block,
                })
                .collect(),
        }
    }

    /// Writes them into a snapshot.
    pub(crate) fn note(&self, writer: &mut SnapshotWriter) {
        let text = serde_json::to_string(self).expect("facts serialize");
        writer.fact(CLUSTER_FACT, text);
    }

    /// Reads them from a snapshot; `None` if it has none, or none that can be read.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        serde_json::from_str(snapshot.facts.get(CLUSTER_FACT)?).ok()
    }
}

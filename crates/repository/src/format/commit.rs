//! Commit records: the one object that makes a snapshot exist.

use serde::{Deserialize, Serialize};

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

//! The vocabulary of Lifeboat: ids, names, tiers, objectives, entries, verdicts and problems.
//!
//! Every other crate speaks these words. This crate does no I/O, reads no clock and knows no
//! environment variable; `docs/glossary.md` explains the words for people.

mod bucket;
mod entry;
mod error;
mod id;
mod name;
mod objective;
mod problem;
mod recovery;
mod tier;
mod verdict;
mod wal;
mod wal_object;

pub use bucket::{BucketUrl, InvalidBucketUrl, LockMode, LockTerms};
pub use entry::{Entry, EntryKind, EntryPath, InvalidPath, Metadata, Span};
pub use error::{Diagnose, ErrorKind, error_chain};
pub use id::{
    ChunkId, IndexId, InvalidId, KeyId, PackId, RepositoryId, RunId, SessionId, SnapshotId,
    TombstoneId, WalContentId, WalHash,
};
pub use name::{EnvironmentName, InvalidName, Location, RegionName, SourceName};
pub use objective::{Objectives, Rpo, Rto, human_duration};
pub use problem::{Problem, Problems, Severity};
pub use recovery::{RecoveryTarget, WalRange};
pub use tier::{BackupKind, EnvironmentClass, SourceKind, Tier, UnknownWord};
pub use verdict::Verdict;
pub use wal::{InvalidWalName, Lsn, Segment, SegmentSize, SystemId, Timeline, WalFileName};
pub use wal_object::{Branch, WalObject};

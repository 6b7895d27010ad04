//! What can be recovered from snapshots and a write-ahead log, which snapshot to begin with, and
//! what of the log may go.
//!
//! Everything is told by names: which segments are there, how far the last one reaches, where
//! timelines branched off. Nothing here opens a file, so the host that backs up, which can read none
//! of it, comes to the same answers as the one that restores.

mod archive;
mod choose;
mod coverage;
mod retention;

pub use archive::{SnapshotWal, WalArchive};
pub use choose::{Chosen, NotRecoverable, RecoveryRequest, Unreachable, choose};
pub use coverage::{Coverage, Gap, Interval, coverage};
pub use retention::{WalDecision, WalKeep, WalReason, decide_wal, window_bases};

#[cfg(test)]
mod tests;

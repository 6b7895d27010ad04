//! The write-ahead log as bytes: page headers, records, timeline histories.
//!
//! Everything here reads bytes that somebody else wrote, so nothing here trusts them: no panic, no
//! allocation by a length that was read.

mod history;
mod page;
mod record;

pub use history::{HistoryError, HistoryLine, TimelineHistory};
pub use page::{
    BlockSize, PageHeader, SegmentFacts, SegmentHeader, WalFlaw, WalMagic, check_segment,
};
pub use record::{Committed, RecordScanner, RestorePoint, ScanEnd, Scanned, scan_segment};

//! Decisions without I/O: retention, recovery points, due times, residency, class rules, objectives.
//!
//! Everything here is a pure function from facts to a decision with its reason. This crate opens
//! no file, reads no clock and starts nothing: whoever calls it acts, and can print the decision
//! instead of acting.

mod blackout;
mod bucket_region;
mod class;
mod cron;
mod job;
mod objective;
mod residency;
mod retention;
mod timetable;
mod turn;
mod wal;
mod word;

pub use blackout::{Blackout, InvalidBlackout};
pub use bucket_region::{Placement, place_bucket};
pub use class::{RawDataRefusal, may_restore};
pub use cron::{CronTime, InvalidCron};
pub use job::{Action, Job, Missed, Overlap, Schedule};
pub use objective::{Judgement, Measured, judge};
pub use residency::{Residency, ResidencyRefusal};
pub use retention::{Decision, Keep, Period, Reason, decide};
pub use timetable::{Due, Planned, Remark, Timetable};
pub use turn::{Attempt, Ended, Turn};
pub use wal::{
    Chosen, Coverage, Gap, Interval, NotRecoverable, RecoveryRequest, SnapshotWal, Unreachable,
    WalArchive, WalDecision, WalKeep, WalReason, choose, coverage, decide_wal, window_bases,
};
pub use word::UnknownWord;

//! How PostgreSQL is read and put back: connections, base backups, the write-ahead log, recovery,
//! scratch clusters.
//!
//! This crate never knows a repository, a policy or a schedule: it hands out entries and bytes, and
//! takes them.

pub mod connect;
pub mod conninfo;
mod control;
mod error;
pub mod heartbeat;
pub mod page;
pub mod replication;
mod rules;
pub mod wal;

pub use control::{ClusterState, ControlFile, ControlProblem, SharedLimits};
pub use error::{PostgresError, ServerAnswer};

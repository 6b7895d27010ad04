//! How PostgreSQL is read and put back: connections, base backups, the write-ahead log, recovery,
//! scratch clusters.
//!
//! This crate never knows a repository, a policy or a schedule: it hands out entries and bytes, and
//! takes them.

mod account;
mod backup;
pub mod checks;
pub mod connect;
pub mod conninfo;
mod control;
mod data_directory;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod heartbeat;
mod installation;
mod label;
mod listening;
mod log_end;
pub mod logical;
mod outlet;
pub mod page;
mod reader;
mod recovery_settings;
pub mod replication;
mod restore;
mod rules;
mod scratch_cluster;
mod scratch_settings;
mod server_time;
mod start;
pub mod wal;
mod watchdog;

pub use backup::{
    ArchiverStatus, BackupEnd, BackupOptions, BaseBackup, CheckpointPace, KeepWal, ServerFacts,
    switch_wal,
};
pub use control::{ClusterState, ControlFile, ControlProblem, SharedLimits};
pub use data_directory::{DataDirectory, RunningServer, Tablespace};
pub use error::{PostgresError, ServerAnswer};
pub use installation::ServerPrograms;
pub use label::{BackupLabel, parse_tablespace_map};
pub use listening::Listening;
pub use log_end::{log_end, log_timeline};
pub use reader::{
    ClusterItem, ClusterReader, PageChecks, PageProblem, ReadEnd, ReadStats, RecoveryFiles,
};
pub use recovery_settings::{
    Archiving, RecoverySettings, RecoveryTarget, StandbySource, TargetAction, TargetEdge,
    TimelineChoice,
};
pub use restore::{RecoveryParts, TargetMode, check_target, finish_restore, map_tablespaces};
pub use scratch_cluster::{ScratchCluster, ScratchOptions, ScratchPhase, ScratchStatus, StopMode};
pub use scratch_settings::Preload;
pub use server_time::server_time;
pub use start::{StartedWhen, start_server};

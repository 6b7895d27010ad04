//! What Lifeboat does, one file per verb.
//!
//! Each verb decides first and acts then: a plan is a value that can be printed; executing it does
//! the I/O and returns a report. This crate never parses arguments and never prints.

mod backup;
mod browse;
mod cluster;
mod delta;
mod discover;
mod error;
mod files;
mod follow;
mod init;
mod job;
mod key;
mod keys;
mod lease;
mod ledger;
mod mask;
mod mask_stream;
mod place;
mod preview;
mod prune;
mod refresh;
mod region;
mod repair;
mod replicate;
mod rescue;
mod restore;
mod restore_database;
mod restore_target;
mod rules;
mod sampled;
mod sampled_files;
mod sampled_server;
mod scratch;
mod select;
mod selection;
mod session;
mod sqlite;
mod staging;
mod status;
mod synth;
mod tree;
mod verify;
mod wal;

pub use backup::{BackupPlan, BackupReport};
pub use browse::{
    Change, DiffEntry, DiffSummary, EntryView, FindSummary, FoundVersion, LookIn, RegionHolding,
    SkippedItem, SnapshotRef, SnapshotReport, StatsReport, TableChange, View, diff, find,
    list_entries, show, stats, table_changes,
};
pub use cluster::{
    CLUSTER_FACT, ClusterFacts, ClusterRestore, DamagedPage, FetchCommand, IsolatedCluster,
    LogAccess, Recovery, TablespaceFacts, ThenDo, cluster_database, server_programs,
};
pub use delta::{Changes, Delta, DeltaReport};
pub use discover::{discover, discover_source, write_rules};
pub use error::OperationError;
pub use follow::Followed;
pub use init::{InitPlan, InitReport};
pub use job::OpenJob;
pub use key::{
    DamagedKey, KeyCreatePlan, KeyCreateReport, KeyEntry, KeyExport, KeyListing, KeyRequest,
    KeyRevokePlan, KeyRevokeReport, RevokedRegion, Unreached,
};
pub use lease::HeldLease;
pub use ledger::{Facts, Run};
pub use mask::{MaskReport, MaskTask, MaskedDatabase};
pub use mask_stream::{StreamFormat, StreamPlace, StreamRequest, StreamTask};
pub use place::{DamagedCopy, Opened, ReadFrom, StoreOpener};
pub use preview::{PreviewTable, check_source, preview};
pub use prune::{PruneDecision, PrunePlan, PruneRun};
pub use refresh::{CopyOf, Preflight, RefreshPhase, RefreshPlan, RefreshReport};
pub use region::{KeyCheck, RegionCheck, SourceCheck, check_keys, check_regions, check_sources};
pub use repair::{RepairPlan, RepairRun};
pub use replicate::{ReplicatePlan, ReplicateReport};
pub use rescue::{Rescue, RescueRequest};
pub use restore::{RestorePlan, RestoreReport, RestoreRequest};
pub use scratch::Scratch;
pub use select::RestorePoint;
pub use session::Session;
pub use sqlite::{FINGERPRINT_FACT, NEWEST_COMMIT_FACT};
pub use status::{
    DamagedStatus, EnvironmentStatus, RegionStatus, SourceStatus, TierStatus, status,
};
pub use synth::{SynthReport, SynthRequest, synth};
pub use verify::{VerifyPlan, VerifyRun};
pub use wal::{
    ClusterLog, Expected, MissingLog, ReceiveOptions, Received, Recoverable, ServerPosition,
    WalFetch, WalFetchRequest, WalFrom, WalPruneDecision, WalPush, WalPushReport, WalPushRequest,
    WalRegionStatus, WalSource, WalStatus,
};

pub use lifeboat_document::parse_duration;

//! What Lifeboat does, one file per verb.
//!
//! Each verb decides first and acts then: a plan is a value that can be printed; executing it does
//! the I/O and returns a report. This crate never parses arguments and never prints.

mod backup;
mod error;
mod files;
mod init;
mod job;
mod keys;
mod ledger;
mod mask;
mod place;
mod refresh;
mod region;
mod replicate;
mod rescue;
mod restore;
mod scratch;
mod select;
mod session;
mod sqlite;
mod status;
mod verify;

pub use backup::{BackupPlan, BackupReport};
pub use error::OperationError;
pub use init::{InitPlan, InitReport};
pub use job::OpenJob;
pub use ledger::{Facts, Run};
pub use mask::{MaskReport, MaskTask, MaskedDatabase};
pub use place::{Opened, StoreOpener};
pub use refresh::{RefreshPlan, RefreshReport};
pub use region::{KeyCheck, RegionCheck, SourceCheck, check_keys, check_regions, check_sources};
pub use replicate::{ReplicatePlan, ReplicateReport};
pub use rescue::Rescue;
pub use restore::{RestorePlan, RestoreReport, RestoreRequest};
pub use scratch::Scratch;
pub use select::RestorePoint;
pub use session::Session;
pub use sqlite::{FINGERPRINT_FACT, NEWEST_COMMIT_FACT};
pub use status::{EnvironmentStatus, RegionStatus, SourceStatus, TierStatus, status};
pub use verify::{VerifyPlan, VerifyRun};

//! The write-ahead log of a cluster in the repository: pushed by the server, received from it,
//! fetched by a recovery, and told about.
//!
//! Owns which regions a file of the log goes to and when it counts as kept. Never decides what can be
//! recovered (`policy` does), nor what a page of the log means (`source-postgres` does).

mod archive;
mod expected;
mod fetch;
mod incoming;
mod missing;
mod prune;
mod push;
mod receive;
mod region_log;
mod resume;
mod spool;
mod status;

pub use expected::Expected;
pub use fetch::{WalFetch, WalFetchRequest, WalFrom, WalSource};
pub(crate) use missing::lacking_objects;
pub(crate) use prune::Logs;
pub use receive::{ReceiveOptions, Received};
pub(crate) use spool::write_whole;
pub(crate) use status::newest_recoverable;

pub use prune::WalPruneDecision;

pub use push::{WalPush, WalPushReport, WalPushRequest};
pub use status::{ClusterLog, MissingLog, Recoverable, ServerPosition, WalRegionStatus, WalStatus};

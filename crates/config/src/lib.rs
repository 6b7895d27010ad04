//! Layered configuration: lifeboat.toml, environment overrides, schedules, with the origin of each value.
//!
//! [`Config::load`] reads the files of a project, lays environment variables and flags on top,
//! and checks the whole: schema, rules between values, security, advice. It reports every problem
//! at once. It reads no file but those of the project's configuration, and fetches no secret.

mod check;
mod cluster;
mod config;
mod explain;
mod job;
mod keys;
mod layers;
mod load;
mod lookup;
mod origins;
mod paths;
mod place;
mod read;
mod refresh;
mod schedule;
mod templates;

pub use config::{
    Cluster, Config, DatabaseTarget, Environment, FolderTarget, NamedSchedule, ReadFrom, Refresh,
    RefreshTarget, Region, ReplicationSlot, Source, SourceId, SourceSpec, WalKeeping,
};
pub use explain::{Explanation, UnknownKey};
pub use keys::{KeyRefs, Located};
pub use load::Loaded;
pub use lookup::UnknownName;
pub use place::{BucketEncryption, BucketPlace, Place};
pub use schedule::parse_schedule;
pub use templates::starter_files;

//! The ledger: the intent of every run before it begins, its outcome after it ended.
//!
//! A run that never reported its end is a visible gap, not a silence. Entries are plain JSON that an
//! operator can read with any tool: no content and no secrets, though the text of an error may name
//! a path.

use std::collections::BTreeMap;

use futures::stream::TryStreamExt as _;
use jiff::Timestamp;
use lifeboat_model::{EnvironmentName, RunId, SourceName, Tier};
use lifeboat_storage::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::repository::{put_new, to_json};
use crate::run_name::RunName;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Takes a snapshot.
    Backup,
    /// Puts one back.
    Restore,
    /// Copies to another region.
    Replicate,
    /// Rehearses a recovery.
    Drill,
    /// Makes a masked copy for another environment.
    Refresh,
    /// Checks what is stored.
    Verify,
    /// Deletes what is no longer to be kept.
    Prune,
    /// Brings back what was lost from another region.
    Repair,
    /// Carries out a job of a schedule; what it does is in runs of their own.
    Job,
}

impl RunKind {
    /// Reports whether a run of this kind only reads the region it works on.
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Restore | Self::Verify)
    }
}

impl std::fmt::Display for RunKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Replicate => "replicate",
            Self::Drill => "drill",
            Self::Refresh => "refresh",
            Self::Verify => "verify",
            Self::Prune => "prune",
            Self::Repair => "repair",
            Self::Job => "job",
        })
    }
}

/// The job that a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunJob {
    /// Its name in the environment's schedule.
    pub name: String,
    /// The job's own run, if this one is a part of its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The occurrence that the job runs for; `None` if a person asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrence: Option<Timestamp>,
    /// How many occurrences before that one were missed.
    #[serde(default)]
    pub missed: u32,
}

/// The intent of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBegin {
    /// The run.
    pub run: RunId,
    /// What it does.
    pub kind: RunKind,
    /// The environment it does it for.
    pub environment: EnvironmentName,
    /// The source, if it is about one.
    pub source: Option<SourceName>,
    /// When it began.
    pub began: Timestamp,
    /// The host it runs on.
    pub host: String,
    /// Who asked for it.
    pub operator: String,
    /// The tier it counts for, if it is a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The job it is for, if a schedule asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RunJob>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was asked.
    Done,
    /// It did, but some items failed.
    Incomplete,
    /// It could not do it.
    Failed,
    /// It left it to another run that does the same.
    Skipped,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What it measured or what went wrong; never content.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A run as the ledger shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    /// Its intent.
    pub begin: RunBegin,
    /// Its outcome; `None` while it runs, or if it died.
    pub end: Option<RunEnd>,
}

impl RunBegin {
    /// Returns the name that the ledger keeps this run under.
    pub fn name(&self) -> RunName {
        // What is a part of a job's work is no run of the job.
        let job = self.job.as_ref().filter(|_| self.kind == RunKind::Job);
        RunName::new(
            self.environment.clone(),
            self.began,
            self.run,
            job.map(|job| job.name.as_str()),
        )
    }

    /// Writes the intent. Do this before anything else.
    ///
    /// # Errors
    /// Fails if the store cannot be written; then the run must not begin.
    pub async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        put_new(store, &self.name().begin_key(), to_json(self)).await
    }

    /// Writes the outcome, unless one was written before: the first one stands.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn write_end(
        &self,
        store: &dyn ObjectStore,
        end: &RunEnd,
    ) -> Result<(), RepositoryError> {
        put_new(store, &self.name().end_key(), to_json(end)).await
    }
}

impl RunRecord {
    /// Reads the ledger of an environment, oldest first. Needs no key.
    ///
    /// Reads all of it: where the newest runs will do, list [`RunName`]s and read those.
    ///
    /// # Errors
    /// Fails if the store cannot be read. A damaged entry is logged and left out.
    pub async fn list(
        store: &dyn ObjectStore,
        environment: &EnvironmentName,
    ) -> Result<Vec<RunRecord>, RepositoryError> {
        let names = RunName::newest_first(store, environment).await?;
        RunName::read_all(store, names.into_iter().rev())
            .try_collect()
            .await
    }
}

//! The ledger: the intent of every run before it begins, its outcome after it ended.
//!
//! A run that never reported its end is a visible gap, not a silence. Entries are plain JSON that an
//! operator can read with any tool: no content and no secrets, though the text of an error may name
//! a path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_model::{EnvironmentName, RunId, SourceName};
use lifeboat_storage::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::layout::{self, RUNS};
use crate::repository::{put_new, to_json};

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
        })
    }
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
    /// Writes the intent. Do this before anything else.
    ///
    /// # Errors
    /// Fails if the store cannot be written; then the run must not begin.
    pub async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        let key = layout::run(&self.environment, self.began, self.run, "begin");
        put_new(store, &key, to_json(self)).await
    }

    /// Writes the outcome.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn write_end(
        &self,
        store: &dyn ObjectStore,
        end: &RunEnd,
    ) -> Result<(), RepositoryError> {
        let key = layout::run(&self.environment, self.began, self.run, "end");
        put_new(store, &key, to_json(end)).await
    }
}

impl RunRecord {
    /// Reads the ledger of an environment, oldest first. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read. A damaged entry is logged and left out.
    pub async fn list(
        store: &dyn ObjectStore,
        environment: &EnvironmentName,
    ) -> Result<Vec<RunRecord>, RepositoryError> {
        let mut begins = Vec::new();
        let mut ends = BTreeMap::new();
        for meta in store.list(&format!("{RUNS}{environment}/")).await? {
            let bytes = store.get(&meta.key).await?;
            // One damaged entry must not hide the others.
            let damaged = |error| tracing::warn!(%error, "ledger entry `{}` is damaged", meta.key);
            if meta.key.as_str().ends_with(".begin") {
                begins.extend(
                    serde_json::from_slice::<RunBegin>(&bytes)
                        .map_err(damaged)
                        .ok(),
                );
            } else if let Ok(end) = serde_json::from_slice::<RunEnd>(&bytes).map_err(damaged) {
                ends.insert(end.run, end);
            }
        }
        let record = |begin: RunBegin| RunRecord {
            end: ends.remove(&begin.run),
            begin,
        };
        Ok(begins.into_iter().map(record).collect())
    }
}

//! Taking a snapshot of a source.

use std::path::Path;

use jiff::Timestamp;
use lifeboat_config::{Environment, Source, SourceSpec};
use lifeboat_model::{
    BackupKind, EnvironmentName, RegionName, RunId, SnapshotId, SourceKind, SourceName, Tier,
};
use lifeboat_policy::may_restore;
use lifeboat_repository::{Outcome, Role, Snapshot, SnapshotDraft, SnapshotWriter};
use lifeboat_runtime::Stopwatch;
use serde::Serialize;

use crate::cluster::read_cluster;
use crate::error::OperationError;
use crate::files::read_folder;
use crate::ledger::Facts;
use crate::place::Opened;
use crate::scratch::Scratch;
use crate::session::Session;
use crate::sqlite::{Observe, read_database, take_copy};

/// What a backup will do.
#[derive(Debug, Clone, Serialize)]
pub struct BackupPlan {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// What kind of source it is.
    pub source_kind: SourceKind,
    /// The file or folder that is read, or how the cluster is connected to.
    pub path: String,
    /// The region it goes to.
    pub region: RegionName,
    /// The tier it counts for.
    pub tier: Tier,
    /// Whether it builds on the newest snapshot.
    pub kind: BackupKind,
}

/// What a backup did.
#[derive(Debug, Clone, Serialize)]
pub struct BackupReport {
    /// The run in the ledger.
    pub run: RunId,
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// The snapshot it made.
    pub snapshot: SnapshotId,
    /// The tier it counts for.
    pub tier: Tier,
    /// Whether it built on a parent.
    pub kind: BackupKind,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// The moment whose state it holds.
    pub instant: Timestamp,
    /// Number of files, folders and other entries.
    pub entries: u64,
    /// Length of all files together.
    pub bytes: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Bytes of new chunks before compression.
    pub bytes_new: u64,
    /// Bytes written to the region.
    pub bytes_stored: u64,
    /// Items that could not be read.
    pub skipped: Vec<String>,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Plans a backup of each source of an environment, or of one.
    ///
    /// # Errors
    /// Fails if the source does not exist or the environment has none.
    pub fn plan_backup(
        &self,
        environment: &Environment,
        source: Option<&str>,
        tier: Tier,
        kind: Option<BackupKind>,
    ) -> Result<Vec<BackupPlan>, OperationError> {
        let sources: Vec<&Source> = match source {
            Some(name) => vec![environment.source(name)?],
            None => environment.sources.values().collect(),
        };
        if sources.is_empty() {
            return Err(OperationError::NotConfigured {
                environment: environment.name.to_string(),
                what: "source to back up".to_owned(),
                hint: format!(
                    "add `[source.NAME]` to environments/{}.toml",
                    environment.name
                ),
            });
        }
        for source in &sources {
            self.refuse_raw_production(environment, source)?;
        }
        let plan = |source: &Source| BackupPlan {
            environment: environment.name.clone(),
            source: source.name.clone(),
            source_kind: source.spec.kind(),
            path: source.place(),
            region: environment.home.clone(),
            tier,
            kind: kind.unwrap_or(tier.default_kind()),
        };
        Ok(sources.into_iter().map(plan).collect())
    }

    /// Refuses a source outside production that is, holds or lies in one of production, through
    /// whatever links: its backup would be raw production data of another class.
    fn refuse_raw_production(
        &self,
        environment: &Environment,
        source: &Source,
    ) -> Result<(), OperationError> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let Some(here) = source.path.as_deref().map(real) else {
            return Ok(());
        };
        let others = self.config.environments.values().filter(|other| {
            other.class.holds_personal_data() && !environment.class.holds_personal_data()
        });
        let mut raw = others.flat_map(|other| other.sources.values().map(move |s| (other, s)));
        let overlapping = raw.find(|(_, theirs)| {
            let there = theirs.path.as_deref().map(real);
            there.is_some_and(|there| here.starts_with(&there) || there.starts_with(&here))
        });
        match overlapping {
            Some((other, _)) => Ok(may_restore(other.class, environment.class, false)?),
            None => Ok(()),
        }
    }

    /// Takes the snapshot that a plan describes.
    ///
    /// # Errors
    /// Fails if the source cannot be read as a whole, or anything cannot be stored; then there is no
    /// snapshot. Single files that cannot be read are in the report instead.
    pub async fn backup(&self, plan: &BackupPlan) -> Result<BackupReport, OperationError> {
        let environment = self.config.environment(plan.environment.as_str())?;
        let home = self.open_region_for(environment, &plan.region).await?;
        let source = environment.source(plan.source.as_str())?;
        let run = self
            .begin_backup(&home, environment, &source.name, plan.tier)
            .await?;
        let watch = Stopwatch::start(&*self.world.clock);
        let id = run.id();
        let taken = self
            .take_snapshot(plan, environment, source, &home, id)
            .await;
        let result = taken.map(|snapshot| report(&snapshot, id, watch.elapsed().as_secs_f64()));
        run.end(self, result, |report| {
            let outcome = if report.skipped.is_empty() {
                Outcome::Done
            } else {
                Outcome::Incomplete
            };
            (
                outcome,
                Facts::from([
                    ("snapshot".to_owned(), report.snapshot.to_string().into()),
                    ("tier".to_owned(), report.tier.as_str().into()),
                    ("kind".to_owned(), report.kind.as_str().into()),
                    ("bytes_stored".to_owned(), report.bytes_stored.into()),
                    ("secs".to_owned(), report.secs.into()),
                ]),
            )
        })
        .await
    }

    async fn take_snapshot(
        &self,
        plan: &BackupPlan,
        environment: &Environment,
        source: &Source,
        home: &Opened,
        run: RunId,
    ) -> Result<Snapshot, OperationError> {
        let repository = self
            .open_repository(environment, home, Role::Writer)
            .await?;
        let draft = SnapshotDraft {
            environment: environment.name.clone(),
            class: environment.class,
            source: source.name.clone(),
            source_kind: source.spec.kind(),
            tier: plan.tier,
            kind: plan.kind,
            host: self.host.clone(),
            program: self.program.clone(),
            masked: false,
        };
        let mut writer = repository.snapshot_writer(draft).await?;
        match self
            .read_source(environment, source, run, &mut writer)
            .await
        {
            Ok(instant) => Ok(writer.commit(instant).await?),
            Err(error) => {
                end_without_snapshot(writer).await;
                Err(error)
            }
        }
    }

    /// Reads a source into a snapshot and returns the moment whose state was read.
    async fn read_source(
        &self,
        environment: &Environment,
        source: &Source,
        run: RunId,
        writer: &mut SnapshotWriter,
    ) -> Result<Timestamp, OperationError> {
        let progress = &*self.progress;
        // Taken before the first byte is read: the state is at least as new as this.
        let instant = self.world.clock.now();
        let path = || source.path.as_deref().expect("what is a file has a path");
        match &source.spec {
            SourceSpec::Files { include, exclude } => {
                progress.phase(&format!("backing up {}", source.name), 0);
                read_folder(path(), include, exclude, writer, progress).await?;
            }
            SourceSpec::Postgres(_) => {
                return read_cluster(self, environment, source, run, writer).await;
            }
            SourceSpec::Sqlite {
                newest_commit,
                fingerprint,
                ..
            } => {
                let database = path();
                progress.phase(&format!("copying {}", source.name), 0);
                let scratch = self.scratch(run)?;
                let copy = take_copy(database, scratch.path())?;
                progress.phase(&format!("backing up {}", source.name), copy.bytes());
                let observe = Observe {
                    fingerprint: *fingerprint,
                    newest_commit: newest_commit.as_deref(),
                };
                let (path, page_size) = (copy.path(), copy.page_size());
                read_database(path, page_size, database, observe, writer, progress).await?;
            }
        }
        Ok(instant)
    }

    /// Creates a private folder for what a run needs on disk and nobody else may see.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn scratch(&self, run: RunId) -> Result<Scratch, OperationError> {
        Scratch::create(
            &self.config.root.join(".lifeboat").join("scratch"),
            &run.to_string(),
        )
    }
}

/// Ends a session whose source could not be read; that is the error to tell, not this one.
pub(crate) async fn end_without_snapshot(writer: SnapshotWriter) {
    if let Err(error) = writer.abandon().await {
        tracing::warn!(%error, "the end of this backup's lease was not recorded");
    }
}

pub(crate) fn report(snapshot: &Snapshot, run: RunId, secs: f64) -> BackupReport {
    let totals = snapshot.totals;
    BackupReport {
        run,
        environment: snapshot.environment.clone(),
        source: snapshot.source.clone(),
        snapshot: snapshot.id,
        tier: snapshot.tier,
        kind: snapshot.kind,
        parent: snapshot.parent,
        instant: snapshot.instant,
        entries: totals.entries,
        bytes: totals.bytes,
        bytes_read: totals.bytes_read,
        bytes_new: totals.bytes_new,
        bytes_stored: totals.bytes_stored,
        skipped: snapshot
            .skipped
            .iter()
            .map(|(path, why)| format!("{path}: {why}"))
            .collect(),
        secs,
    }
}

//! Refreshing an environment: a snapshot of production, masked, judged, stored and published.
//!
//! Production is not touched: the snapshot is restored from the repository, so every refresh also
//! shows that a backup can be restored. What does not pass every leak gate goes nowhere.

use std::path::{Path, PathBuf};

use lifeboat_config::{Environment, Refresh};
use lifeboat_masking::Masked;
use lifeboat_model::{BackupKind, RegionName, RunId, SnapshotId, SourceKind, Tier};
use lifeboat_policy::may_restore;
use lifeboat_repository::{Outcome, Repository, Role, RunKind, Snapshot, SnapshotDraft};
use lifeboat_runtime::Stopwatch;
use lifeboat_source_files::PathFilter;
use lifeboat_source_sqlite::publish;
use serde::Serialize;

use crate::backup::end_without_snapshot;
use crate::error::OperationError;
use crate::ledger::Facts;
use crate::mask::{MaskReport, MaskTask, MaskedDatabase, gate_verdicts};
use crate::place::Opened;
use crate::restore::{Onto, restore_snapshot};
use crate::scratch::Scratch;
use crate::select::RestorePoint;
use crate::session::Session;
use crate::sqlite::{Observe, read_database};

/// What a refresh will do.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshPlan {
    /// The environment that gets the copy.
    pub environment: String,
    /// Where the data comes from.
    pub from: String,
    /// The snapshot that is masked.
    pub snapshot: SnapshotId,
    /// The moment whose state it holds.
    pub instant: jiff::Timestamp,
    /// The region it is read from.
    pub region: RegionName,
    /// The masking rules.
    pub rules: PathBuf,
    /// The database that is replaced.
    pub target: PathBuf,
    /// How many earlier copies stay.
    pub keep_previous: u32,
    #[serde(skip)]
    record: Snapshot,
}

/// What a refresh did.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshReport {
    /// The run in the ledger.
    pub run: RunId,
    /// The environment that got the copy.
    pub environment: String,
    /// Where the data came from.
    pub from: String,
    /// The snapshot that was masked.
    pub snapshot: SnapshotId,
    /// The masked snapshot in the repository; `None` if a gate did not pass.
    pub masked_snapshot: Option<SnapshotId>,
    /// The database that was published; `None` if a gate did not pass.
    pub published: Option<PathBuf>,
    /// Earlier copies that stay, newest first.
    pub previous: Vec<PathBuf>,
    /// Rows, gates and times.
    #[serde(flatten)]
    pub mask: MaskReport,
    /// Time for restoring the snapshot, seconds.
    pub restore_secs: f64,
    /// Time for storing and publishing the copy, seconds.
    pub publish_secs: f64,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Plans a refresh.
    ///
    /// # Errors
    /// Fails if the environment has no `[refresh]`, its origin no snapshot, or policy refuses.
    pub async fn plan_refresh(
        &self,
        environment: &Environment,
    ) -> Result<RefreshPlan, OperationError> {
        let refresh = refresh_of(environment)?;
        let (origin, source) = self.config.source(&refresh.from)?;
        let opened = self.open_region(&origin.home).await?;
        let repository = self.open_repository(origin, &opened, Role::Reader).await?;
        let record = RestorePoint::Latest
            .find(
                &repository,
                &origin.name,
                &source.name,
                self.world.clock.now(),
            )
            .await?;
        if record.source_kind != SourceKind::Sqlite {
            return Err(OperationError::Usage {
                message: format!("`{}` is no database, so it cannot be masked", refresh.from),
                hint: "let `from` name a source of kind `sqlite`".to_owned(),
            });
        }
        // The copy will be masked; anything else stops here.
        may_restore(record.class, environment.class, true)?;
        Ok(RefreshPlan {
            environment: environment.name.to_string(),
            from: refresh.from.to_string(),
            snapshot: record.id,
            instant: record.instant,
            region: origin.home.clone(),
            rules: refresh.rules.clone(),
            target: refresh.target.clone(),
            keep_previous: refresh.keep_previous,
            record,
        })
    }

    /// Carries out a refresh. If a gate does not pass, nothing is published and the report says why.
    ///
    /// # Errors
    /// Fails if any step cannot be done; the environment keeps what it had.
    pub async fn refresh(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
    ) -> Result<RefreshReport, OperationError> {
        let home = self.open_region_for(environment, &environment.home).await?;
        let run = self
            .begin_run(&home, RunKind::Refresh, environment, None)
            .await?;
        let result = self
            .mask_and_publish(environment, plan, &home, run.id())
            .await;
        run.end(self, result, |report| {
            let outcome = if report.published.is_some() {
                Outcome::Done
            } else {
                Outcome::Failed
            };
            let json = serde_json::json!({
                "from": report.from,
                "snapshot": report.snapshot,
                "masked_snapshot": report.masked_snapshot,
                "rows": report.mask.rows,
                "verdict": report.mask.leak_report.verdict(),
                "gates": gate_verdicts(&report.mask.leak_report),
                "manifest": report.mask.leak_report.manifest(),
                "secs": report.secs,
            });
            (
                outcome,
                serde_json::from_value::<Facts>(json).expect("it is an object"),
            )
        })
        .await
    }

    async fn mask_and_publish(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
        home: &Opened,
        run: RunId,
    ) -> Result<RefreshReport, OperationError> {
        let watch = Stopwatch::start(&*self.world.clock);
        let scratch = self.scratch(run)?;
        let original = scratch.path().join("original.sqlite");
        self.restore_original(plan, &original).await?;
        let restore_secs = watch.elapsed().as_secs_f64();
        // The copy is made beside its target, so that publishing it is one rename.
        let beside = beside(&plan.target, run)?;
        let copy = beside.path().join("masked.sqlite");
        let task = MaskTask::prepare(self, &plan.rules, &original, &plan.snapshot.to_string())?;
        let (mask, released) = task.run(self, &copy)?;
        let before_publish = watch.elapsed().as_secs_f64();
        let mut report = RefreshReport {
            run,
            environment: environment.name.to_string(),
            from: plan.from.clone(),
            snapshot: plan.snapshot,
            masked_snapshot: None,
            published: None,
            previous: Vec::new(),
            mask,
            restore_secs,
            publish_secs: 0.0,
            secs: 0.0,
        };
        if let Ok(masked) = released {
            let repository = self
                .open_repository(environment, home, Role::Writer)
                .await?;
            let stored = self
                .store_masked(&repository, environment, plan, &masked)
                .await?;
            report.masked_snapshot = Some(stored);
            let keep = plan.keep_previous as usize;
            report.previous = publish_masked(masked, &plan.target, keep)?;
            report.published = Some(plan.target.clone());
        }
        drop(beside);
        report.secs = watch.elapsed().as_secs_f64();
        report.publish_secs = report.secs - before_publish;
        Ok(report)
    }

    async fn restore_original(&self, plan: &RefreshPlan, to: &Path) -> Result<(), OperationError> {
        let origin = self.config.environment(plan.record.environment.as_str())?;
        let opened = self.open_region(&plan.region).await?;
        let repository = self.open_repository(origin, &opened, Role::Reader).await?;
        let onto = Onto {
            region: &plan.region,
            target: to,
            filter: &PathFilter::new(&[])?,
            delta: None,
            cluster: None,
        };
        restore_snapshot(&repository, &plan.record, &onto, self).await?;
        Ok(())
    }

    /// Keeps the masked copy in the repository, from where it can be restored any number of times.
    async fn store_masked(
        &self,
        repository: &Repository,
        environment: &Environment,
        plan: &RefreshPlan,
        masked: &Masked<MaskedDatabase>,
    ) -> Result<SnapshotId, OperationError> {
        let draft = SnapshotDraft {
            environment: environment.name.clone(),
            class: environment.class,
            source: plan.record.source.clone(),
            source_kind: SourceKind::Sqlite,
            tier: Tier::OnDemand,
            kind: BackupKind::Full,
            host: self.host.clone(),
            program: self.program.clone(),
            masked: true,
        };
        let mut writer = repository.snapshot_writer(draft).await?;
        let MaskedDatabase { path, page_size } = masked.as_ref();
        let observe = Observe {
            fingerprint: true,
            newest_commit: None,
        };
        let progress = &*self.progress;
        let (page_size, origin) = (*page_size, &plan.target);
        let read = read_database(path, page_size, origin, observe, &mut writer, progress);
        if let Err(error) = read.await {
            end_without_snapshot(writer).await;
            return Err(error);
        }
        writer.fact("masked.from", serde_json::json!(plan.snapshot).to_string());
        Ok(writer.commit(plan.instant).await?.id)
    }
}

fn refresh_of(environment: &Environment) -> Result<&Refresh, OperationError> {
    environment
        .refresh
        .as_ref()
        .ok_or_else(|| OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "`[refresh]`".to_owned(),
            hint: format!(
                "add `[refresh]` with `from`, `rules` and `target` to environments/{}.toml",
                environment.name
            ),
        })
}

fn beside(target: &Path, run: RunId) -> Result<Scratch, OperationError> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| OperationError::io("create the folder", folder, error))?;
    }
    Scratch::beside(target, ".refreshing", &run.to_string())
}

/// Puts a masked database in the place of the old one. Takes only what the gates have released.
fn publish_masked(
    masked: Masked<MaskedDatabase>,
    target: &Path,
    keep_previous: usize,
) -> Result<Vec<PathBuf>, OperationError> {
    Ok(publish(&masked.into_inner().path, target, keep_previous)?.previous)
}

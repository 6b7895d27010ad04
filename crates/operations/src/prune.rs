//! Deleting what is no longer to be kept, region by region.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_config::Environment;
use lifeboat_model::{EnvironmentName, RegionName, RunId, SessionId, SnapshotId, SourceName, Tier};
use lifeboat_policy::{Decision, Keep, decide};
use lifeboat_repository::{Outcome, PruneOptions, PruneReport, Role, RunKind, Snapshot, protect};
use lifeboat_runtime::Stopwatch;
use serde::Serialize;

use crate::error::OperationError;
use crate::ledger::Facts;
use crate::session::Session;
use crate::wal::{Logs, WalPruneDecision};

/// What a prune will do in one region.
#[derive(Debug, Clone, Serialize)]
pub struct PrunePlan {
    /// The environment whose snapshots are decided about.
    pub environment: EnvironmentName,
    /// The region.
    pub region: RegionName,
    /// What becomes of each snapshot, newest first within each source.
    pub decisions: Vec<PruneDecision>,
    /// What becomes of the logs of clusters.
    pub logs: Vec<WalPruneDecision>,
    /// What would be deleted besides, and how much room that makes.
    pub foreseen: PruneReport,
    #[serde(skip)]
    options: PruneOptions,
}

/// What becomes of one snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct PruneDecision {
    /// The source it is of.
    pub source: SourceName,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The moment whose state it holds.
    pub instant: jiff::Timestamp,
    /// The tier it was taken for.
    pub tier: Tier,
    /// Whether it stays.
    pub keep: bool,
    /// Why.
    pub reason: String,
}

/// What a prune did in one region.
#[derive(Debug, Clone, Serialize)]
pub struct PruneRun {
    /// The run in the ledger.
    pub run: RunId,
    /// The environment whose snapshots were decided about.
    pub environment: EnvironmentName,
    /// The region.
    pub region: RegionName,
    /// Snapshots that stay.
    pub kept: u64,
    /// What was deleted.
    #[serde(flatten)]
    pub report: PruneReport,
    /// Objects that snapshots need and whose locks were extended, in a region that locks.
    pub locks_extended: u64,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Plans a prune of one region: decides about each snapshot of an environment, and looks for
    /// what nobody needs. `fence` are sessions known to be dead.
    ///
    /// # Errors
    /// Fails if the region cannot be read, or a snapshot in it is damaged: then nobody can say what
    /// it needs.
    pub async fn plan_prune(
        &self,
        environment: &Environment,
        region: &RegionName,
        fence: Vec<SessionId>,
    ) -> Result<PrunePlan, OperationError> {
        let opened = self.open_region(region).await?;
        let repository = self
            .open_repository(environment, &opened, Role::Pruner)
            .await?;
        let snapshots = repository.snapshots(Some(&environment.name), None).await?;
        let now = self.world.clock.now();
        let logs = Logs::list(&repository, environment, &snapshots, now).await?;
        let keep = environment.retention_in(self.config.region(region.as_str())?);
        let mut decisions = self.decide_all(environment, &keep, &snapshots);
        spare(&mut decisions, &logs.bases(&snapshots));
        let going = decisions.iter().filter(|decision| !decision.keep);
        let going: BTreeSet<SnapshotId> = going.map(|decision| decision.snapshot).collect();
        let named = snapshots.iter().filter(|one| going.contains(&one.id));
        let (wal, log_decisions) = logs.decide(&snapshots, &going);
        let options = PruneOptions {
            delete: named.map(Snapshot::name).collect(),
            wal,
            fence,
            host: self.host.clone(),
            dry_run: false,
        };
        let dry_run = PruneOptions {
            dry_run: true,
            ..options.clone()
        };
        Ok(PrunePlan {
            environment: environment.name.clone(),
            region: region.clone(),
            decisions,
            logs: log_decisions,
            foreseen: repository.prune(&dry_run).await?,
            options,
        })
    }

    /// Decides about the snapshots of each source on its own.
    fn decide_all(
        &self,
        environment: &Environment,
        keep: &Keep,
        snapshots: &[Snapshot],
    ) -> Vec<PruneDecision> {
        let mut sources: BTreeMap<&SourceName, Vec<&Snapshot>> = BTreeMap::new();
        for snapshot in snapshots {
            sources.entry(&snapshot.source).or_default().push(snapshot);
        }
        let zone = environment.zone();
        let now = self.world.clock.now();
        let decide_one = |snapshots: &Vec<&Snapshot>| {
            let facts: Vec<_> = snapshots
                .iter()
                .map(|s| (s.id, s.instant, s.tier))
                .collect();
            let decided = decide(&facts, keep, now, &zone);
            describe(&decided, snapshots)
        };
        sources.values().flat_map(decide_one).collect()
    }

    /// Carries out a prune.
    ///
    /// # Errors
    /// Fails if another prune is at work there, or the region fails; what is left is garbage for the
    /// next run.
    pub async fn prune(
        &self,
        environment: &Environment,
        plan: &PrunePlan,
    ) -> Result<PruneRun, OperationError> {
        let opened = self.open_region(&plan.region).await?;
        let repository = self
            .open_repository(environment, &opened, Role::Pruner)
            .await?;
        let run = self
            .begin_run(&opened, RunKind::Prune, environment, None)
            .await?;
        let watch = Stopwatch::start(&*self.world.clock);
        self.progress.phase(&format!("pruning {}", plan.region), 0);
        let id = run.id();
        let work = async {
            let report = repository.prune(&plan.options).await?;
            let locks_extended = protect(&*opened.store).await?;
            Ok::<_, OperationError>((report, locks_extended))
        };
        let result = work.await.map(|(report, locks_extended)| PruneRun {
            locks_extended,
            run: id,
            environment: plan.environment.clone(),
            region: plan.region.clone(),
            kept: plan.decisions.iter().filter(|one| one.keep).count() as u64,
            report,
            secs: watch.elapsed().as_secs_f64(),
        });
        run.end(self, result, |run| {
            let outcome = if run.report.locked.is_empty() && run.report.damaged.is_empty() {
                Outcome::Done
            } else {
                Outcome::Incomplete
            };
            let facts = Facts::from([
                ("snapshots".to_owned(), run.report.snapshots.into()),
                ("kept".to_owned(), run.kept.into()),
                ("bytes".to_owned(), run.report.bytes.into()),
                ("bytes_waiting".to_owned(), run.report.bytes_waiting.into()),
                ("secs".to_owned(), run.secs.into()),
            ]);
            (outcome, facts)
        })
        .await
    }
}

/// Keeps the snapshots that the window of points in time begins with.
fn spare(decisions: &mut [PruneDecision], bases: &BTreeSet<SnapshotId>) {
    let going = decisions.iter_mut().filter(|decision| !decision.keep);
    for decision in going.filter(|decision| bases.contains(&decision.snapshot)) {
        decision.keep = true;
        "any moment of the point-in-time window is reached from it"
            .clone_into(&mut decision.reason);
    }
}

/// Pairs decisions with their snapshots, and spares the newest one that is complete.
fn describe(decided: &[Decision], snapshots: &[&Snapshot]) -> Vec<PruneDecision> {
    let find = |id: SnapshotId| snapshots.iter().find(|snapshot| snapshot.id == id);
    let mut newest_complete = true;
    let decision = |decision: &Decision| {
        let snapshot = find(decision.id)?;
        let spared = snapshot.skipped.is_empty() && std::mem::take(&mut newest_complete);
        let (keep, reason) = match decision.keep {
            false if spared => (true, "newest complete one".to_owned()),
            keep => (keep, decision.reason.to_string()),
        };
        Some(PruneDecision {
            source: snapshot.source.clone(),
            snapshot: snapshot.id,
            instant: snapshot.instant,
            tier: snapshot.tier,
            keep,
            reason,
        })
    };
    decided.iter().filter_map(decision).collect()
}

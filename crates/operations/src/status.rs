//! Where an environment stands: backups per tier, regions, drills, refreshes, runs that never ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{
    BackupKind, EnvironmentClass, EnvironmentName, Objectives, RegionName, RunId, SnapshotId,
    SourceName, Tier,
};
use lifeboat_repository::{Receipt, Repository, Role, RunKind, RunRecord, Snapshot};
use serde::Serialize;

use crate::error::OperationError;
use crate::session::Session;

/// One environment at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentStatus {
    /// The environment.
    pub environment: EnvironmentName,
    /// What it is for.
    pub class: EnvironmentClass,
    /// Its targets.
    pub objectives: Objectives,
    /// Its sources.
    pub sources: Vec<SourceStatus>,
    /// The regions its backups are in.
    pub regions: Vec<RegionStatus>,
    /// The newest drill that ended, as the ledger has it.
    pub last_drill: Option<RunRecord>,
    /// The newest refresh that ended.
    pub last_refresh: Option<RunRecord>,
    /// Runs that began and never reported an end: still going, or dead.
    pub unfinished: Vec<(RunKind, RunId, Timestamp)>,
}

/// One source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceStatus {
    /// The source.
    pub source: SourceName,
    /// Number of snapshots.
    pub snapshots: u64,
    /// The newest snapshot of each tier that has one.
    pub tiers: Vec<TierStatus>,
    /// Time since the state of the newest snapshot, seconds: what a loss of the source now costs.
    pub exposure_secs: Option<f64>,
}

/// The newest snapshot of a tier.
#[derive(Debug, Clone, Serialize)]
pub struct TierStatus {
    /// The tier.
    pub tier: Tier,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether it built on a parent.
    pub kind: BackupKind,
    /// The moment whose state it holds.
    pub instant: Timestamp,
    /// Whether every item could be read.
    pub complete: bool,
}

/// One region of an environment.
#[derive(Debug, Clone, Serialize)]
pub struct RegionStatus {
    /// The region.
    pub region: RegionName,
    /// Whether it is the environment's home.
    pub home: bool,
    /// Why it cannot be reached, if so.
    pub fault: Option<String>,
    /// Snapshots of the home that this region has no receipt for; 0 for the home.
    pub behind: u64,
    /// Time since the state of the newest snapshot that the region is known to hold, seconds: what a
    /// loss of every other region now costs.
    pub exposure_secs: Option<f64>,
}

/// Looks at one environment. Needs the auditor key.
///
/// # Errors
/// Fails if the home region cannot be read; faults of replicas are part of the status.
pub async fn status(
    session: &Session,
    environment: &Environment,
) -> Result<EnvironmentStatus, OperationError> {
    let now = session.world.clock.now();
    let home = session.open_region(&environment.home).await?;
    let repository = session
        .open_repository(environment, &home, Role::Auditor)
        .await?;
    let snapshots = repository.snapshots(Some(&environment.name), None).await?;
    let runs = all_runs(session, environment).await?;
    let mut regions = vec![RegionStatus {
        region: environment.home.clone(),
        home: true,
        fault: None,
        behind: 0,
        exposure_secs: snapshots
            .iter()
            .map(|snapshot| age(now, snapshot.instant))
            .reduce(f64::min),
    }];
    for region in &environment.replicas {
        regions.push(replica_status(session, region, &snapshots, now).await);
    }
    let names: BTreeSet<&SourceName> = environment
        .sources
        .keys()
        .chain(snapshots.iter().map(|snapshot| &snapshot.source))
        .collect();
    let last = |kind| {
        runs.iter()
            .rev()
            .find(|run| run.begin.kind == kind && run.end.is_some())
            .cloned()
    };
    let unfinished = runs
        .iter()
        .filter(|run| run.end.is_none())
        .map(|run| (run.begin.kind, run.begin.run, run.begin.began))
        .collect();
    Ok(EnvironmentStatus {
        environment: environment.name.clone(),
        class: environment.class,
        objectives: environment.objectives,
        sources: names
            .into_iter()
            .map(|name| source_status(name, &snapshots, now))
            .collect(),
        regions,
        last_drill: last(RunKind::Drill),
        last_refresh: last(RunKind::Refresh),
        unfinished,
    })
}

/// Reads the ledgers of all regions that can be reached: a drill of a lost region, say, was recorded
/// in another one.
async fn all_runs(
    session: &Session,
    environment: &Environment,
) -> Result<Vec<RunRecord>, OperationError> {
    let mut runs: BTreeMap<(Timestamp, RunId), RunRecord> = BTreeMap::new();
    for region in session.regions_of(environment) {
        let Ok(opened) = session.open_region(region).await else {
            continue;
        };
        for run in RunRecord::list(&*opened.store, &environment.name).await? {
            let known = runs
                .entry((run.begin.began, run.begin.run))
                .or_insert_with(|| run.clone());
            known.end = known.end.take().or(run.end);
        }
    }
    Ok(runs.into_values().collect())
}

fn source_status(name: &SourceName, snapshots: &[Snapshot], now: Timestamp) -> SourceStatus {
    let own: Vec<&Snapshot> = snapshots
        .iter()
        .filter(|snapshot| snapshot.source == *name)
        .collect();
    let newest_of = |tier: &Tier| own.iter().rev().find(|snapshot| snapshot.tier == *tier);
    let tiers = Tier::ALL
        .iter()
        .filter_map(newest_of)
        .map(|snapshot| TierStatus {
            tier: snapshot.tier,
            snapshot: snapshot.id,
            kind: snapshot.kind,
            instant: snapshot.instant,
            complete: snapshot.skipped.is_empty(),
        });
    SourceStatus {
        source: name.clone(),
        snapshots: own.len() as u64,
        tiers: tiers.collect(),
        exposure_secs: own.last().map(|snapshot| age(now, snapshot.instant)),
    }
}

async fn replica_status(
    session: &Session,
    region: &RegionName,
    snapshots: &[Snapshot],
    now: Timestamp,
) -> RegionStatus {
    let receipts = async {
        let opened = session.open_region(region).await?;
        let names = Repository::snapshot_names(&*opened.store, None, None).await?;
        let receipts = Receipt::list(&*opened.store, region).await?;
        // A receipt counts as long as the commit record it speaks of is still there.
        let held: BTreeSet<SnapshotId> = names.into_iter().map(|name| name.id).collect();
        let ids = receipts.into_iter().map(|receipt| receipt.snapshot);
        Ok::<BTreeSet<SnapshotId>, OperationError>(ids.filter(|id| held.contains(id)).collect())
    };
    let (held, fault) = match receipts.await {
        Ok(held) => (held, None),
        Err(error) => (BTreeSet::new(), Some(error.to_string())),
    };
    let received = snapshots
        .iter()
        .filter(|snapshot| held.contains(&snapshot.id));
    RegionStatus {
        region: region.clone(),
        home: false,
        fault,
        behind: snapshots
            .iter()
            .filter(|snapshot| !held.contains(&snapshot.id))
            .count() as u64,
        exposure_secs: received
            .map(|snapshot| age(now, snapshot.instant))
            .reduce(f64::min),
    }
}

fn age(now: Timestamp, instant: Timestamp) -> f64 {
    now.duration_since(instant).as_secs_f64().max(0.0)
}

//! Where an environment stands: backups per tier, regions, drills, refreshes, runs that never ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{
    BackupKind, EnvironmentClass, EnvironmentName, Objectives, RegionName, RunId, SnapshotId,
    SourceName, Tier, error_chain,
};
use lifeboat_repository::{
    DamagedSnapshot, Listing, Outcome, Receipt, Replication, Repository, Role, RunKind, RunRecord,
    Snapshot, SnapshotName,
};
use serde::Serialize;

use crate::error::OperationError;
use crate::session::Session;
use crate::wal::newest_recoverable;

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
    /// Snapshots whose commit record cannot be read where they were looked for.
    pub damaged: Vec<DamagedStatus>,
    /// The regions its backups are in.
    pub regions: Vec<RegionStatus>,
    /// The newest drill that ended, as the ledger has it.
    pub last_drill: Option<RunRecord>,
    /// The newest refresh that ended.
    pub last_refresh: Option<RunRecord>,
    /// The newest run of each kind and source, and of each job, where it failed.
    pub failed: Vec<RunRecord>,
    /// The newest run of each kind and source, and of each job, where it never reported an end: going
    /// on, or dead.
    pub unfinished: Vec<RunRecord>,
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

/// A snapshot whose commit record cannot be read.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedStatus {
    /// The source, as the record's name says.
    pub source: SourceName,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The moment whose state it holds, as the record's name says.
    pub instant: Timestamp,
    /// What is wrong with the record.
    pub what: String,
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
    /// Snapshots that it lists and that are newer than the newest of their source at home. A prune
    /// deletes no newest snapshot, so the home has lost them. 0 if the home cannot be asked.
    pub lost_at_home: u64,
    /// Time since the newest state that the region is known to hold, by a snapshot or by the log of a
    /// cluster, seconds, of the source where it is longest: what a loss of everything else now costs. `None`: everything.
    pub exposure_secs: Option<f64>,
    /// By how much that state is older than the newest one at home, seconds, of the source where it is
    /// most. `None`: it holds nothing of a source, or the home cannot be asked.
    pub lag_secs: Option<f64>,
    /// Length of what a replication would bring from the home, bytes, the ledger left aside. `None`
    /// if one of the two cannot be asked.
    pub pending_bytes: Option<u64>,
    /// The newest state that the region is known to hold of each source.
    #[serde(skip)]
    newest: BTreeMap<SourceName, Timestamp>,
}

/// Looks at one environment. Needs the auditor key.
///
/// If the home cannot be read, the first replica that can tells what there is.
///
/// # Errors
/// Fails if no region can be read, or no key opens it; other faults are part of the status.
pub async fn status(
    session: &Session,
    environment: &Environment,
) -> Result<EnvironmentStatus, OperationError> {
    let now = session.world.clock.now();
    let (told_by, Listing { snapshots, damaged }) = known_snapshots(session, environment).await?;
    let at_home = (told_by == environment.home).then(|| newest_names(&snapshots, &damaged));
    let runs = all_runs(session, environment).await?;
    let sources: BTreeSet<&SourceName> = environment
        .sources
        .keys()
        .chain(snapshots.iter().map(|snapshot| &snapshot.source))
        .collect();
    let mut regions = Vec::new();
    for region in environment.regions() {
        let known = (&sources, &snapshots[..], at_home.as_ref());
        regions.push(region_status(session, environment, region, known, now).await);
    }
    tell_lags(&mut regions, &sources);
    let last = |kind| {
        runs.iter()
            .rev()
            .find(|run| run.begin.kind == kind && run.end.is_some())
            .cloned()
    };
    Ok(EnvironmentStatus {
        environment: environment.name.clone(),
        class: environment.class,
        objectives: environment.objectives,
        sources: sources
            .iter()
            .map(|name| source_status(name, &snapshots, now))
            .collect(),
        damaged: damaged.into_iter().map(damaged_status).collect(),
        regions,
        last_drill: last(RunKind::Drill),
        last_refresh: last(RunKind::Refresh),
        failed: newest_of_each(&runs)
            .filter(|run| outcome(run) == Some(Outcome::Failed))
            .collect(),
        unfinished: newest_of_each(&runs)
            .filter(|run| run.end.is_none())
            .collect(),
    })
}

fn damaged_status(damaged: DamagedSnapshot) -> DamagedStatus {
    DamagedStatus {
        source: damaged.name.source,
        snapshot: damaged.name.id,
        instant: damaged.name.instant,
        what: damaged.what,
    }
}

fn outcome(run: &RunRecord) -> Option<Outcome> {
    run.end.as_ref().map(|end| end.outcome)
}

/// Returns the newest run of each kind and source, and of each job: what came later makes up for
/// what came before, unless it left the work to another run.
fn newest_of_each(runs: &[RunRecord]) -> impl Iterator<Item = RunRecord> {
    let mut newest = BTreeMap::new();
    for run in runs {
        let begin = &run.begin;
        let job = begin.job.as_ref().filter(|_| begin.kind == RunKind::Job);
        let of = (begin.kind, begin.source.clone(), job.map(|job| &job.name));
        if outcome(run) != Some(Outcome::Skipped) {
            newest.insert(of, run.clone());
        }
    }
    newest.into_values()
}

/// Counts the snapshots of an environment that are newer than the newest of their source at home.
fn newer_than(
    at_home: &BTreeMap<SourceName, Timestamp>,
    environment: &Environment,
    names: &[SnapshotName],
) -> u64 {
    let newer = |name: &&SnapshotName| {
        let newest = at_home.get(&name.source);
        name.environment == environment.name && newest.is_none_or(|newest| *newest < name.instant)
    };
    names.iter().filter(newer).count() as u64
}

/// Lists the home again; `None` if it cannot be asked.
async fn newest_at_home(
    session: &Session,
    environment: &Environment,
) -> Option<BTreeMap<SourceName, Timestamp>> {
    let listed = async {
        let opened = session.open_region(&environment.home).await?;
        let names = Repository::snapshot_names(&*opened.store, Some(&environment.name), None);
        Ok::<_, OperationError>(newest_of(names.await?))
    };
    let listed = listed.await.inspect_err(|error| {
        tracing::info!("the home cannot be asked again: {}", error_chain(error));
    });
    listed.ok()
}

/// Returns the newest snapshot of each source, those with a damaged commit record included.
fn newest_names(
    snapshots: &[Snapshot],
    damaged: &[DamagedSnapshot],
) -> BTreeMap<SourceName, Timestamp> {
    let readable = snapshots.iter().map(Snapshot::name);
    newest_of(readable.chain(damaged.iter().map(|one| one.name.clone())))
}

fn newest_of(names: impl IntoIterator<Item = SnapshotName>) -> BTreeMap<SourceName, Timestamp> {
    let mut newest = BTreeMap::new();
    for name in names {
        let known = newest.entry(name.source).or_insert(name.instant);
        *known = name.instant.max(*known);
    }
    newest
}

/// Lists the snapshots of the home, or of the first region that can be read, which is returned.
async fn known_snapshots(
    session: &Session,
    environment: &Environment,
) -> Result<(RegionName, Listing), OperationError> {
    let mut first_failure = None;
    for region in environment.regions() {
        let read = async {
            let opened = session.open_region(region).await?;
            let repository = session
                .open_repository(environment, &opened, Role::Auditor)
                .await?;
            Ok::<_, OperationError>(repository.listing(Some(&environment.name), None).await?)
        };
        match read.await {
            Ok(listing) => return Ok((region.clone(), listing)),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.expect("an environment has a home region"))
}

/// Reads the ledgers of all regions that can be reached: a drill of a lost region, say, was recorded
/// in another one.
async fn all_runs(
    session: &Session,
    environment: &Environment,
) -> Result<Vec<RunRecord>, OperationError> {
    let mut runs: BTreeMap<(Timestamp, RunId), RunRecord> = BTreeMap::new();
    for region in environment.regions() {
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

async fn region_status(
    session: &Session,
    environment: &Environment,
    region: &RegionName,
    (sources, snapshots, at_home): (
        &BTreeSet<&SourceName>,
        &[Snapshot],
        Option<&BTreeMap<SourceName, Timestamp>>,
    ),
    now: Timestamp,
) -> RegionStatus {
    let home = *region == environment.home;
    let held = async {
        let opened = session.open_region(region).await?;
        let names = Repository::snapshot_names(&*opened.store, None, None).await?;
        let committed: BTreeSet<SnapshotId> = names.iter().map(|name| name.id).collect();
        if home {
            return Ok((committed, 0));
        }
        let mut lost_at_home = at_home.map_or(0, |home| newer_than(home, environment, &names));
        if lost_at_home > 0 {
            // A backup and its replication may have come between the two listings.
            let home = newest_at_home(session, environment).await;
            lost_at_home = home.map_or(0, |home| newer_than(&home, environment, &names));
        }
        // A receipt counts as long as the commit record it speaks of is still there.
        let receipts = Receipt::list(&*opened.store, region).await?;
        let ids = receipts.into_iter().map(|receipt| receipt.snapshot);
        let held = ids.filter(|id| committed.contains(id)).collect();
        Ok::<_, OperationError>((held, lost_at_home))
    };
    let ((held, lost_at_home), fault) = match held.await {
        Ok(held) => (held, None),
        Err(error) => ((BTreeSet::new(), 0), Some(error.to_string())),
    };
    let logs = logs_of_region(session, environment, region, (snapshots, &held)).await;
    let (logs, fault) = match logs {
        Ok(logs) => (logs, fault),
        Err(error) => (BTreeMap::new(), fault.or(Some(error.to_string()))),
    };
    let newest = sources.iter().filter_map(|source| {
        let own = snapshots
            .iter()
            .filter(|one| one.source == **source && held.contains(&one.id));
        let by_log = logs.get(*source).copied();
        let newest = own.map(|snapshot| snapshot.instant).chain(by_log).max();
        Some(((*source).clone(), newest?))
    });
    let newest: BTreeMap<SourceName, Timestamp> = newest.collect();
    // The source that would lose most decides; one without any snapshot would lose everything.
    let exposures = sources.iter().map(|source| newest.get(*source));
    let exposures: Option<Vec<&Timestamp>> = exposures.collect();
    let oldest = exposures.and_then(|all| all.into_iter().min());
    RegionStatus {
        region: region.clone(),
        home,
        behind: snapshots
            .iter()
            .filter(|snapshot| !held.contains(&snapshot.id))
            .count() as u64,
        lost_at_home,
        exposure_secs: oldest.map(|instant| age(now, *instant)),
        lag_secs: None,
        pending_bytes: match (home, &fault) {
            (true, _) => Some(0),
            (false, None) => pending_bytes(session, environment, region).await,
            (false, Some(_)) => None,
        },
        fault,
        newest,
    }
}

/// Returns how much a replication would bring; `None` if that cannot be found out now.
async fn pending_bytes(
    session: &Session,
    environment: &Environment,
    region: &RegionName,
) -> Option<u64> {
    let looked = async {
        let from = session.open_region(&environment.home).await?;
        let to = session.open_region(region).await?;
        let found = Replication::plan(&*from.store, &*to.store).await?;
        Ok::<_, OperationError>(found.pending_bytes())
    };
    let looked = looked.await.inspect_err(|error| {
        tracing::info!("what `{region}` lacks is not known: {}", error_chain(error));
    });
    looked.ok()
}

/// Compares what each region holds with what the home does.
fn tell_lags(regions: &mut [RegionStatus], sources: &BTreeSet<&SourceName>) {
    let home = regions
        .iter()
        .find(|region| region.home && region.fault.is_none());
    let Some(home) = home.map(|home| home.newest.clone()) else {
        return;
    };
    for region in regions {
        let lags = sources
            .iter()
            .filter_map(|source| home.get_key_value(*source));
        let lags = lags.map(|(source, at_home)| {
            let here = region.newest.get(source)?;
            Some(age(*at_home, *here))
        });
        let lags: Option<Vec<f64>> = lags.collect();
        region.lag_secs = lags.map(|lags| lags.into_iter().fold(0.0, f64::max));
    }
}

/// Returns, for each cluster, the newest moment that a region's log leads to.
async fn logs_of_region(
    session: &Session,
    environment: &Environment,
    region: &RegionName,
    (snapshots, held): (&[Snapshot], &BTreeSet<SnapshotId>),
) -> Result<BTreeMap<SourceName, Timestamp>, OperationError> {
    let held = snapshots
        .iter()
        .filter(|snapshot| held.contains(&snapshot.id));
    let held: Vec<&Snapshot> = held.filter(|snapshot| snapshot.wal.is_some()).collect();
    let sources: BTreeSet<&SourceName> = held.iter().map(|snapshot| &snapshot.source).collect();
    let mut newest = BTreeMap::new();
    if sources.is_empty() {
        return Ok(newest);
    }
    let opened = session.open_region(region).await?;
    for source in sources {
        let found = newest_recoverable(&*opened.store, &environment.name, source, &held).await?;
        newest.extend(found.map(|at| (source.clone(), at)));
    }
    Ok(newest)
}

fn age(now: Timestamp, instant: Timestamp) -> f64 {
    now.duration_since(instant).as_secs_f64().max(0.0)
}

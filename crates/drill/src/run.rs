//! Running a drill.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::{Environment, Source};
use lifeboat_model::{Objectives, RegionName, RunId, SourceKind, Verdict};
use lifeboat_operations::{
    ClusterRestore, OperationError, ReadFrom, RestorePlan, RestorePoint, RestoreRequest, Session,
};
use lifeboat_policy::{Measured, judge};
use lifeboat_repository::{Outcome, RunKind};
use lifeboat_runtime::Clock;
use serde::Serialize;

use crate::checks::{self, Check};
use crate::cluster;
use crate::evidence::DrillReport;
use crate::phases::PhaseClock;
use crate::scenario::{OnlyRegion, Scenario};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct DrillRequest {
    /// What is pretended to be lost.
    pub scenario: Scenario,
    /// The source, or the environment's first database if none is named.
    pub source: Option<String>,
    /// The region that serves, or the one the scenario leaves.
    pub region: Option<String>,
}

/// What a drill will do.
#[derive(Debug, Clone, Serialize)]
pub struct DrillPlan {
    /// What is pretended to be lost.
    pub scenario: Scenario,
    /// The environment.
    pub environment: String,
    /// The source.
    pub source: String,
    /// The region that serves.
    pub region: RegionName,
    /// Whether what other regions have besides serves as well, as in a restore that names none.
    #[serde(skip)]
    pub anywhere: bool,
    /// Regions that are denied to the drill.
    pub denied: Vec<RegionName>,
}

/// Decides what a drill will do.
///
/// # Errors
/// Fails if there is nothing to recover or no region to recover it from.
pub fn plan_drill(
    session: &Session,
    environment: &Environment,
    request: &DrillRequest,
) -> Result<DrillPlan, OperationError> {
    let source = match &request.source {
        Some(name) => environment.source(name)?,
        None => default_source(environment)?,
    };
    let region = match (&request.region, request.scenario) {
        (Some(name), _) => session.config.region(name)?.name.clone(),
        (None, Scenario::Latest) => environment.home.clone(),
        (None, Scenario::RegionLoss) => match environment.replicas.first() {
            Some(region) => region.clone(),
            None => {
                return Err(OperationError::NotConfigured {
                    environment: environment.name.to_string(),
                    what: "second region to recover from".to_owned(),
                    hint: "add `replicas = [\"…\"]` to it".to_owned(),
                });
            }
        },
    };
    if request.scenario == Scenario::RegionLoss && region == environment.home {
        return Err(OperationError::Usage {
            message: format!("`{region}` is the region that is pretended to be lost"),
            hint: "leave `--region` out, or name a replica".to_owned(),
        });
    }
    let denied = match request.scenario {
        Scenario::Latest => Vec::new(),
        Scenario::RegionLoss => session
            .config
            .regions
            .keys()
            .filter(|name| **name != region)
            .cloned()
            .collect(),
    };
    Ok(DrillPlan {
        scenario: request.scenario,
        environment: environment.name.to_string(),
        source: source.name.to_string(),
        region,
        anywhere: request.region.is_none() && request.scenario == Scenario::Latest,
        denied,
    })
}

/// A database proves more than a folder, so one is drilled unless somebody asks otherwise.
fn default_source(environment: &Environment) -> Result<&Source, OperationError> {
    let sources = || environment.sources.values();
    let database = sources().find(|source| source.spec.kind() != SourceKind::Files);
    database
        .or(sources().next())
        .ok_or_else(|| OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "source to recover".to_owned(),
            hint: format!(
                "add `[source.NAME]` to environments/{}.toml",
                environment.name
            ),
        })
}

/// Runs a drill: restores for real, checks, judges, cleans up.
///
/// # Errors
/// Fails if the restore does; a failed check or a missed objective is in the report.
pub async fn run_drill(
    session: &Session,
    environment: &Environment,
    plan: &DrillPlan,
) -> Result<DrillReport, OperationError> {
    let mut session = session.clone();
    if plan.scenario == Scenario::RegionLoss {
        let inner = session.stores.clone();
        session.stores = Arc::new(OnlyRegion {
            region: plan.region.clone(),
            inner,
        });
    }
    let source = environment.source(&plan.source)?;
    let ledger = session.open_region_for(environment, &plan.region).await?;
    let run = session
        .begin_run(&ledger, RunKind::Drill, environment, Some(&source.name))
        .await?;
    let result = recover(&session, environment, source, plan, run.id()).await;
    run.end(&session, result, |report| {
        let outcome = match report.verdict {
            Verdict::Pass => Outcome::Done,
            Verdict::NotVerified => Outcome::Incomplete,
            Verdict::Fail => Outcome::Failed,
        };
        (outcome, facts(report))
    })
    .await
}

/// What the ledger keeps of a drill: enough for trends and for `status`.
fn facts(report: &DrillReport) -> BTreeMap<String, serde_json::Value> {
    let json = serde_json::json!({
        "scenario": report.scenario,
        "region": report.region,
        "snapshot": report.snapshot,
        "rto_secs": report.rto_secs,
        "rto_target_secs": report.rto_target_secs,
        "rpo_secs": report.rpo_secs,
        "rpo_target_secs": report.rpo_target_secs,
        "verdict": report.verdict,
    });
    serde_json::from_value(json).expect("it is an object")
}

/// What the timed part of a drill gave.
struct Recovered {
    plan: RestorePlan,
    phases: Vec<crate::phases::Phase>,
    checks: Vec<Check>,
    bytes: u64,
    newest: Option<Timestamp>,
    rto: Duration,
}

async fn recover(
    session: &Session,
    environment: &Environment,
    source: &Source,
    plan: &DrillPlan,
    run: RunId,
) -> Result<DrillReport, OperationError> {
    let scratch = session.scratch(run)?;
    let place = scratch.path().to_owned();
    // The fault is assumed at the moment recovery is declared.
    let declared = session.world.clock.now();
    let recovered = recover_timed(session, environment, source, plan, (&place, declared)).await?;
    drop(scratch);
    let cleaned_up = !place.exists();
    Ok(report(
        session,
        environment,
        source,
        plan,
        (run, declared, cleaned_up),
        recovered,
    ))
}

async fn recover_timed(
    session: &Session,
    environment: &Environment,
    source: &Source,
    plan: &DrillPlan,
    (place, declared): (&Path, Timestamp),
) -> Result<Recovered, OperationError> {
    let clock: &dyn Clock = &*session.world.clock;
    let mut phases = PhaseClock::start(clock);
    phases.not_measured("detect the fault");
    let target = target_in(place, source);
    let request = RestoreRequest {
        source: source.name.as_str(),
        point: &RestorePoint::Latest,
        from: match plan.anywhere {
            true => ReadFrom::Anywhere,
            false => ReadFrom::Region(&plan.region),
        },
        target: &target,
        into: environment.class,
        paths: &[],
        delta: None,
        // The server of a drill reaches nothing: what it replays is brought along.
        cluster: &ClusterRestore::default(),
    };
    let restore = session.plan_restore(environment, &request).await?;
    phases.end("select the recovery point");
    let restored = session.restore(environment, &restore).await?;
    phases.end_after(
        "first byte",
        Duration::from_secs_f64(restored.first_byte_secs),
    );
    phases.end("restore the data");
    let snapshot = restore.record();
    let mut checks = checks::common(&restored, snapshot);
    let mut newest = None;
    if source.spec.kind() == SourceKind::Sqlite {
        checks.push(checks::engine_opens(&target));
        phases.end("open the engine");
        let (found, check) = checks::newest_commit_in(&target, source, snapshot);
        newest = found;
        checks.push(check);
        checks.extend(checks::sqlite(&target, source, snapshot));
    }
    if let Some(cluster) = source.cluster() {
        let recovered = cluster::Recovered::start(session, source, snapshot, &target).await?;
        checks.push(recovered.opened());
        phases.end("open the engine");
        let (found, check) = recovered.newest_commit(declared + CLOCK_TOLERANCE).await;
        newest = found;
        checks.push(check);
        checks.extend(recovered.check(cluster).await);
        // Before anything is removed from under it.
        recovered.stop().await?;
    }
    phases.end("check the data");
    let rto = phases.elapsed();
    phases.not_measured("cut the service over");
    let phases = phases.finish();
    Ok(Recovered {
        plan: restore,
        phases,
        checks,
        bytes: restored.bytes,
        newest,
        rto,
    })
}

fn target_in(place: &Path, source: &Source) -> PathBuf {
    place
        .join("restored")
        .with_extension(match source.spec.kind() {
            SourceKind::Sqlite => "sqlite",
            SourceKind::Files | SourceKind::PostgresDump => "tree",
            SourceKind::Postgres => "cluster",
        })
}

/// Clocks of two hosts that differ by no more than this agree.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// Returns the time between the newest transaction and the fault.
///
/// A transaction from after the fault means that clocks disagree: then nothing was measured.
fn work_lost(newest: Timestamp, declared: Timestamp) -> Option<Duration> {
    let between = declared.duration_since(newest);
    match Duration::try_from(between) {
        Ok(lost) => Some(lost),
        Err(_) => (between.unsigned_abs() <= CLOCK_TOLERANCE).then_some(Duration::ZERO),
    }
}

fn report(
    session: &Session,
    environment: &Environment,
    source: &Source,
    plan: &DrillPlan,
    (drill, declared, cleaned_up): (RunId, Timestamp, bool),
    recovered: Recovered,
) -> DrillReport {
    // A folder has no transactions, so an RPO can be neither measured nor judged on one.
    let judged = match source.spec.kind() {
        SourceKind::Sqlite | SourceKind::Postgres => environment.objectives,
        SourceKind::Files | SourceKind::PostgresDump => Objectives {
            rpo: None,
            ..environment.objectives
        },
    };
    let rpo = recovered
        .newest
        .and_then(|newest| work_lost(newest, declared));
    let judgement = judge(
        &judged,
        Measured {
            rto: Some(recovered.rto),
            rpo,
        },
    );
    let checks_verdict = Verdict::all(recovered.checks.iter().map(|check| check.verdict));
    let objectives = [judgement.rto, judgement.rpo].into_iter().flatten();
    let secs = |limit: Duration| limit.as_secs_f64();
    DrillReport {
        drill,
        scenario: plan.scenario,
        environment: environment.name.clone(),
        source: source.name.clone(),
        source_kind: source.spec.kind(),
        region: recovered.plan.region.clone(),
        denied: plan.denied.clone(),
        snapshot: recovered.plan.snapshot,
        instant: recovered.plan.instant,
        declared,
        operator: session.operator.clone(),
        host: session.host.clone(),
        phases: recovered.phases,
        bytes: recovered.bytes,
        rto_secs: secs(recovered.rto),
        rto_target_secs: judged.rto.map(|rto| secs(rto.limit())),
        rto_verdict: judgement.rto,
        rpo_secs: rpo.map(secs),
        rpo_target_secs: judged.rpo.map(|rpo| secs(rpo.limit())),
        rpo_verdict: judgement.rpo,
        checks_verdict,
        verdict: Verdict::all(objectives.chain([checks_verdict])),
        checks: recovered.checks,
        isolation: "restored into a private scratch folder; neither production nor any region's \
                    snapshots were written to"
            .to_owned(),
        cleaned_up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_from_after_the_fault_measures_nothing() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let fault = at("2026-11-21T03:00:00Z");
        let lost = work_lost(at("2026-11-21T02:59:50Z"), fault);
        assert_eq!(lost, Some(Duration::from_secs(10)));
        assert_eq!(
            work_lost(at("2026-11-21T03:00:00.5Z"), fault),
            Some(Duration::ZERO)
        );
        assert_eq!(
            work_lost(at("2026-11-21T03:05:00Z"), fault),
            None,
            "a clock is 5 minutes off"
        );
    }
}

//! `lifeboat replicate`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lifeboat_config::Environment;
use lifeboat_model::RegionName;
use lifeboat_operations::{Followed, OperationError, ReplicatePlan, ReplicateReport, Session};
use lifeboat_repository::CopyLimits;
use lifeboat_runtime::Throttle;
use tokio::sync::oneshot;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Replicate {
        environment,
        to,
        bandwidth,
        transfers,
        continuous,
        every,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let limits = CopyLimits {
        at_once: usize::from(*transfers),
        throttle: bandwidth.map(Throttle::new),
        ..CopyLimits::default()
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let targets = match to.as_deref() {
        Some(name) => vec![session.config.region(name)?.name.clone()],
        None => environment.replicas.clone(),
    };
    if targets.is_empty() {
        return Err(OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "region to copy to".to_owned(),
            hint: "add `replicas = [\"…\"]` to it, or name one with `--to`".to_owned(),
        });
    }
    if *continuous {
        return follow(args, &session, environment, &targets, (&limits, *every)).await;
    }
    let mut outcomes = Vec::new();
    if *dry_run {
        for to in &targets {
            let plan = session.plan_replicate(environment, to).await;
            outcomes.push(plan.map(|plan| (table::value(&plan), would(&plan))));
        }
    } else {
        let copied = session.replicate_all(environment, &targets, limits).await;
        let told = |report| (table::value(&report), did(&report));
        outcomes.extend(copied.into_iter().map(|one| one.map(told)));
    }
    Ok(tell(args, &targets, outcomes))
}

/// Shows what came of each region. One that failed makes the outcome incomplete; if all did, the
/// first says why.
fn tell(
    args: &Args,
    targets: &[RegionName],
    outcomes: Vec<Result<(serde_json::Value, String), OperationError>>,
) -> Exit {
    let (mut done, mut documents, mut failed) = (Vec::new(), Vec::new(), None);
    for (target, outcome) in targets.iter().zip(outcomes) {
        match outcome {
            Ok((document, line)) => {
                documents.push(document);
                done.push(line);
            }
            Err(error) => {
                let error_document = fail::document(&error);
                documents.push(serde_json::json!({ "to": target, "error": error_document }));
                failed = failed.or(Some(fail::print(&error)));
            }
        }
    }
    table::plan(args.json, &documents, &done);
    match failed {
        Some(_) if !done.is_empty() => Exit::INCOMPLETE,
        Some(failed) => failed,
        None => Exit::DONE,
    }
}

/// Who waits to be asked to stop.
static STOP: Mutex<Option<oneshot::Sender<()>>> = Mutex::new(None);

/// Asks a replication that goes on until then to stop. Returns whether there is one.
pub(crate) fn stop() -> bool {
    let waiting = STOP.lock().unwrap_or_else(PoisonError::into_inner).take();
    waiting.is_some_and(|waiting| waiting.send(()).is_ok())
}

async fn follow(
    args: &Args,
    session: &Session,
    environment: &Environment,
    targets: &[RegionName],
    limits: (&CopyLimits, Duration),
) -> Result<Exit, OperationError> {
    let (stop, stopped) = oneshot::channel();
    *STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
    let stopped = async { stopped.await.unwrap_or_default() };
    let said: Mutex<BTreeMap<RegionName, Option<String>>> = Mutex::default();
    let tell = |turn: &[Followed]| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        for one in turn {
            let before = said.insert(one.to.clone(), one.fault.clone());
            // Silence means that nothing was to be done.
            if one.objects == 0 && before.as_ref() == Some(&one.fault) {
                continue;
            }
            table::line(&match args.json {
                true => table::value(one).to_string(),
                false => stands(one),
            });
        }
    };
    let last = session.replicate_continuously(environment, targets, limits, stopped, &tell);
    let complete = last.await?.iter().all(|one| one.fault.is_none());
    Ok(if complete {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    })
}

/// Says how a region that is followed stands.
fn stands(one: &Followed) -> String {
    let lag = one.lag_secs.map_or_else(
        || "lacks something".to_owned(),
        |secs| format!("holds all of {} ago", table::secs(secs)),
    );
    let pending = one.pending_bytes.map_or_else(
        || ", nobody knows how much is to go".to_owned(),
        |bytes| format!(", {} of logs to go", table::bytes(bytes)),
    );
    let fault = one
        .fault
        .as_ref()
        .map(|why| format!("{pending}; BEHIND: {why}"));
    format!(
        "{}: {}, {} copied; {lag}{}",
        one.to,
        table::counted(one.objects, "object"),
        table::bytes(one.bytes),
        fault.unwrap_or_default(),
    )
}

fn would(plan: &ReplicatePlan) -> String {
    format!(
        "would copy {} objects, {}, from {} to {}; {} are there; what it has is {}",
        plan.objects,
        table::bytes(plan.bytes),
        plan.from,
        plan.to,
        plan.present,
        behind(plan.lag_secs),
    )
}

fn did(report: &ReplicateReport) -> String {
    format!(
        "{} -> {}: {} objects, {} copied in {}; {} were there; receipts for all {} snapshots, {} new; \
         what it has is {}",
        report.from,
        report.to,
        report.objects,
        table::bytes(report.bytes),
        table::secs(report.secs),
        report.present,
        report.receipts,
        report.receipts_new.len(),
        behind(report.lag_secs),
    )
}

/// Says how old the newest state is that a region is known to hold.
fn behind(lag_secs: Option<f64>) -> String {
    lag_secs.map_or_else(
        || "nothing yet".to_owned(),
        |secs| format!("{} old", table::secs(secs)),
    )
}

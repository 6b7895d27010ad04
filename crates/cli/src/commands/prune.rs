//! `lifeboat prune`.

use lifeboat_operations::{OperationError, PruneDecision, PrunePlan, PruneRun, WalPruneDecision};

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Prune {
        environment,
        region,
        fence,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let regions = match region {
        Some(name) => vec![session.config.region(name)?.name.clone()],
        None => environment.regions().cloned().collect(),
    };
    // Each region is pruned on its own; one that fails keeps none of the others from it.
    let (mut plans, mut runs, mut failed) = (Vec::new(), Vec::new(), None);
    let mut documents = Vec::new();
    for region in &regions {
        let pruned = async {
            let plan = session
                .plan_prune(environment, region, fence.clone())
                .await?;
            if *dry_run {
                documents.push(table::value(&plan));
            } else {
                let run = session.prune(environment, &plan).await?;
                documents.push(table::value(&run));
                runs.push(run);
            }
            plans.push(plan);
            Ok::<_, OperationError>(())
        };
        if let Err(error) = pruned.await {
            let document = fail::document(&error);
            documents.push(serde_json::json!({ "region": region, "error": document }));
            failed = failed.or(Some(fail::print(&error)));
        }
    }
    match (args.json, *dry_run) {
        (true, _) => table::json(&documents),
        (false, true) => plans.iter().for_each(show_plan),
        (false, false) => runs.iter().for_each(show),
    }
    let left = |run: &PruneRun| !run.report.locked.is_empty() || !run.report.damaged.is_empty();
    let incomplete = runs.iter().any(left).then_some(Exit::INCOMPLETE);
    Ok(failed.or(incomplete).unwrap_or(Exit::DONE))
}

fn show_plan(plan: &PrunePlan) {
    table::line(&format!("{} in region {}:", plan.environment, plan.region));
    let row = |one: &PruneDecision| {
        vec![
            one.snapshot.short().to_string(),
            one.source.to_string(),
            format!("{:.0}", one.instant),
            one.tier.to_string(),
            if one.keep { "keep" } else { "DELETE" }.to_owned(),
            one.reason.clone(),
        ]
    };
    let header = [
        "snapshot", "source", "state of", "tier", "decision", "reason",
    ];
    table::print(&header, plan.decisions.iter().map(row));
    plan.logs.iter().for_each(show_log);
    let report = &plan.foreseen;
    table::line(&format!(
        "would delete {} and {} ({}); {} would be rewritten, writing {}",
        table::counted(
            plan.decisions.iter().filter(|one| !one.keep).count() as u64,
            "snapshot"
        ),
        table::counted(report.packs, "pack"),
        table::bytes(report.bytes),
        report.repacked,
        table::bytes(report.bytes_repacked),
    ));
    table::line("nothing was changed");
}

/// Says what becomes of a cluster's log.
fn show_log(log: &WalPruneDecision) {
    let count = |reasons: &std::collections::BTreeMap<String, u64>| reasons.values().sum::<u64>();
    table::line(&format!(
        "log of {} (cluster {}): {} kept, {} ({}) would be deleted",
        log.source,
        log.system,
        table::counted(count(&log.kept), "object"),
        table::counted(count(&log.going), "object"),
        table::bytes(log.going_bytes),
    ));
    for (verb, reasons) in [("keep", &log.kept), ("DELETE", &log.going)] {
        for (reason, objects) in reasons {
            table::line(&format!("  {verb} {objects}: {reason}"));
        }
    }
}

fn show(run: &PruneRun) {
    let report = &run.report;
    table::line(&format!(
        "{}: {} deleted, {} kept; {} deleted ({}), {} rewritten ({} written) in {}",
        run.region,
        table::counted(report.snapshots, "snapshot"),
        run.kept,
        table::counted(report.packs, "pack"),
        table::bytes(report.bytes),
        report.repacked,
        table::bytes(report.bytes_repacked),
        table::secs(run.secs),
    ));
    if !report.waiting_for.is_empty() {
        table::line(&format!(
            "  {} ({}) marked, to be deleted by a later prune, once these have ended:",
            table::counted(report.packs_waiting, "pack"),
            table::bytes(report.bytes_waiting),
        ));
        for session in &report.waiting_for {
            table::line(&format!("    {session}"));
        }
    }
    for session in &report.fenced {
        table::line(&format!("  taken for dead: {session}"));
    }
    for object in &report.locked {
        table::line(&format!("  locked, or no right to delete: {object}"));
    }
    for object in &report.damaged {
        table::line(&format!(
            "  DAMAGED {object}: left as it is; run `lifeboat repair`"
        ));
    }
}

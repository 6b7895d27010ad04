//! `lifeboat backup`.

use lifeboat_model::BackupKind;
use lifeboat_operations::{BackupPlan, BackupReport, OperationError};

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Backup {
        environment,
        source,
        tier,
        full,
        incremental,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let kind = match (full, incremental) {
        (true, _) => Some(BackupKind::Full),
        (_, true) => Some(BackupKind::Incremental),
        _ => None,
    };
    let plans = session.plan_backup(environment, source.as_deref(), *tier, kind)?;
    if *dry_run {
        table::plan(
            args.json,
            &plans,
            &plans.iter().map(would).collect::<Vec<_>>(),
        );
        return Ok(Exit::DONE);
    }
    // A source that fails keeps none of the others from being backed up.
    let (mut reports, mut documents) = (Vec::new(), Vec::new());
    let mut failed = None;
    for plan in &plans {
        match session.backup(plan).await {
            Ok(report) => {
                documents.push(table::value(&report));
                reports.push(report);
            }
            Err(error) => {
                documents.push(serde_json::json!({
                    "environment": plan.environment,
                    "source": plan.source,
                    "error": fail::document(&error),
                }));
                fail::print_line(&format!(
                    "{}/{} was not backed up:",
                    plan.environment, plan.source
                ));
                failed = failed.or(Some(fail::print(&error)));
            }
        }
    }
    if args.json {
        table::json(&documents);
    } else if !reports.is_empty() {
        show(&reports);
    }
    let whole = reports.iter().all(|report| report.skipped.is_empty());
    let incomplete = (!whole).then_some(Exit::INCOMPLETE);
    Ok(failed.or(incomplete).unwrap_or(Exit::DONE))
}

fn would(plan: &BackupPlan) -> String {
    format!(
        "would back up {}/{} ({}, {}) from {} to region {}",
        plan.environment, plan.source, plan.tier, plan.kind, plan.path, plan.region
    )
}

/// Prints what backups did.
pub(super) fn show(reports: &[BackupReport]) {
    let row = |report: &BackupReport| {
        vec![
            format!("{}/{}", report.environment, report.source),
            report.tier.to_string(),
            report.kind.to_string(),
            report.snapshot.short(),
            table::bytes(report.bytes),
            table::bytes(report.bytes_stored),
            table::secs(report.secs),
        ]
    };
    let header = [
        "source", "tier", "kind", "snapshot", "size", "stored", "took",
    ];
    table::print(&header, reports.iter().map(row));
    for report in reports.iter().filter(|report| !report.skipped.is_empty()) {
        table::line(&format!(
            "{} of {} missing or in doubt:",
            table::counted(report.skipped.len() as u64, "item"),
            report.source
        ));
        for item in &report.skipped {
            table::line(&format!("  {item}"));
        }
    }
}

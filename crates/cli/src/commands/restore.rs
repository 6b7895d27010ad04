//! `lifeboat restore`.

use lifeboat_operations::{OperationError, RestoreReport, RestoreRequest};

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Restore {
        environment,
        source,
        to,
        at,
        path,
        region,
        into,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let region = match region {
        Some(name) => &session.config.region(name)?.name,
        None => &environment.home,
    };
    let target = std::path::absolute(to).map_err(|source| OperationError::Io {
        op: "find",
        path: to.clone(),
        source,
    })?;
    let class = into.unwrap_or(environment.class);
    let request = RestoreRequest {
        source,
        point: at,
        region,
        target: &target,
        into: class,
        paths: path,
    };
    let plan = session.plan_restore(environment, &request).await?;
    if *dry_run {
        table::json(&plan);
        return Ok(Exit::DONE);
    }
    let report = session.restore(environment, &plan).await?;
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    Ok(if report.not_restored.is_empty() {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    })
}

fn show(report: &RestoreReport) {
    table::line(&format!(
        "restored snapshot {} (state of {:.0}) from {} to {}: {} entries, {} in {}, every byte checked",
        report.snapshot.short(),
        report.instant,
        report.region,
        report.target.display(),
        report.entries,
        table::bytes(report.bytes),
        table::secs(report.secs),
    ));
    for item in &report.not_restored {
        table::line(&format!("  not restored: {item}"));
    }
}

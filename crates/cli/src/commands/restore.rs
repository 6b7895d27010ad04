//! `lifeboat restore`.

use std::str::FromStr;

use lifeboat_model::InvalidName;
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
        rescue,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let target = std::path::absolute(to).map_err(|source| OperationError::Io {
        op: "find",
        path: to.clone(),
        source,
    })?;
    if let Some((folder, key)) = rescue.places() {
        let names = (parsed(environment)?, parsed(source)?);
        let session = setup::session_without_project(args);
        let rescue = session.rescue(folder, key).await?;
        let names = (&names.0, &names.1);
        return Ok(finish(
            args,
            &rescue.restore(&session, names, at, &target, path).await?,
        ));
    }
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let region = match region {
        Some(name) => &session.config.region(name)?.name,
        None => &environment.home,
    };
    let request = RestoreRequest {
        source,
        point: at,
        region,
        target: &target,
        into: into.unwrap_or(environment.class),
        paths: path,
    };
    let plan = session.plan_restore(environment, &request).await?;
    if *dry_run {
        let line = format!(
            "would restore snapshot {} of {}/{} (state of {:.0}) from region {} to {}: {}",
            plan.snapshot.short(),
            plan.environment,
            plan.source,
            plan.instant,
            plan.region,
            plan.target.display(),
            table::bytes(plan.bytes),
        );
        table::plan(args.json, &plan, &[line]);
        return Ok(Exit::DONE);
    }
    Ok(finish(args, &session.restore(environment, &plan).await?))
}

/// Reads a name of the command line.
fn parsed<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, OperationError> {
    text.parse()
        .map_err(|error: InvalidName| OperationError::Usage {
            message: error.to_string(),
            hint: "`lifeboat snapshots` lists the names".to_owned(),
        })
}

fn finish(args: &Args, report: &RestoreReport) -> Exit {
    if args.json {
        table::json(report);
    } else {
        show(report);
    }
    if report.not_restored.is_empty() {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    }
}

fn show(report: &RestoreReport) {
    table::line(&format!(
        "restored snapshot {} (state of {:.0}) from {} to {}: {}, {} in {}, every byte checked",
        report.snapshot.short(),
        report.instant,
        report.region,
        report.target.display(),
        table::counted(report.entries, "item"),
        table::bytes(report.bytes),
        table::secs(report.secs),
    ));
    for item in &report.not_restored {
        table::line(&format!("  INCOMPLETE: {item}"));
    }
}

//! `lifeboat refresh`.

use lifeboat_operations::{OperationError, RefreshReport};

use super::mask;
use crate::args::Args;
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(
    args: &Args,
    environment: &str,
    dry_run: bool,
) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let plan = session.plan_refresh(environment).await?;
    if dry_run {
        let line = format!(
            "would mask snapshot {} of {} (state of {:.0}, from region {}) by {} and publish it as {}",
            plan.snapshot.short(),
            plan.from,
            plan.instant,
            plan.region,
            plan.rules.display(),
            plan.target.display(),
        );
        table::plan(args.json, &plan, &[line]);
        return Ok(Exit::DONE);
    }
    let report = session.refresh(environment, &plan).await?;
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    let verdict = report.mask.leak_report.verdict();
    Ok(Exit::of_verdict(verdict, Exit::REFUSED).refuse_unverified())
}

fn show(report: &RefreshReport) {
    mask::show(&report.mask);
    match &report.published {
        Some(target) => table::line(&format!(
            "{}: {} rows of {} masked and published as {} in {}",
            report.environment,
            report.mask.rows,
            report.from,
            target.display(),
            table::secs(report.secs),
        )),
        None => fail::print_line(&format!(
            "error: nothing was published: a leak gate did not pass; {} keeps what it had",
            report.environment
        )),
    }
}

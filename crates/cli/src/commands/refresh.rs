//! `lifeboat refresh`.

use lifeboat_operations::{
    CopyOf, OperationError, Preflight, RefreshPhase, RefreshPlan, RefreshReport,
};

use super::{leak_report, mask};
use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Refresh {
        environment,
        masked,
        report: file,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command")
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let copy = match masked {
        Some(point) => CopyOf::Masked(point.clone()),
        None => CopyOf::Newest,
    };
    let plan = session.plan_refresh(environment, copy).await?;
    if *dry_run {
        let preflight = session.preflight_refresh(environment, &plan).await?;
        show_plan(args.json, &plan, &preflight);
        return Ok(Exit::DONE);
    }
    if let Some(file) = file {
        leak_report::can_write(file)?;
    }
    let report = session.refresh(environment, &plan).await?;
    if let (Some(file), Some(mask)) = (file, &report.mask) {
        let view = leak_report::view(&report.from, &report.environment, mask);
        leak_report::write(&session, &mask.leak_report, &view, file)?;
    }
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    let Some(mask) = &report.mask else {
        return Ok(Exit::DONE);
    };
    let verdict = mask.leak_report.verdict();
    Ok(Exit::of_verdict(verdict, Exit::REFUSED).refuse_unverified())
}

/// Shows what would be done, what was looked at already, and what only the run can tell.
fn show_plan(as_json: bool, plan: &RefreshPlan, preflight: &Preflight) {
    let steps = plan.steps.iter().map(|step| format!("would {step}"));
    let checked = preflight.checked.iter();
    let checked = checked.map(|what| format!("checked: {what}"));
    let left = preflight.left_to_run.iter();
    let left = left.map(|what| format!("not checked: {what}"));
    let lines: Vec<_> = steps.chain(checked).chain(left).collect();
    let mut document = table::value(plan);
    document["preflight"] = table::value(preflight);
    table::plan(as_json, &document, &lines);
}

fn show(report: &RefreshReport) {
    if let Some(mask) = &report.mask {
        mask::show(mask);
    }
    let row = |phase: &RefreshPhase| vec![phase.name.to_owned(), table::secs(phase.secs)];
    table::print(&["phase", "time"], report.phases.iter().map(row));
    for line in &report.left_out {
        table::line(&format!("left out: {line}"));
    }
    let environment = &report.environment;
    match &report.published {
        Some(target) if report.mask.is_some() => table::line(&format!(
            "{environment}: {} rows of {}, state of {:.0}, masked and published as {target} in {}",
            report.rows(),
            report.from,
            report.instant,
            table::secs(report.secs)
        )),
        Some(target) => table::line(&format!(
            "{environment}: the masked copy, state of {:.0}, was published as {target} in {}",
            report.instant,
            table::secs(report.secs)
        )),
        None => fail::print_line(&format!(
            "error: nothing was published: {} did not pass; {environment} keeps what it had",
            report.open_gates().join(", ")
        )),
    }
}

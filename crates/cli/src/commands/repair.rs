//! `lifeboat repair`.

use lifeboat_operations::{OperationError, RepairPlan, RepairRun};

use crate::args::{Args, Command};
use crate::commands::verify::{level_of, show_gone};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Repair {
        environment,
        region,
        from,
        level,
        dry_run,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let region = match region {
        Some(name) => session.config.region(name)?.name.clone(),
        None => environment.home.clone(),
    };
    let level = level_of(*level, 1, &session);
    let plan = session.plan_repair(environment, &region, from.as_deref(), level, *dry_run)?;
    let run = session.repair(environment, &plan).await?;
    if args.json {
        table::json(&run);
    } else {
        show(&plan, &run);
    }
    // After a dry run, what could be brought back is damaged still.
    let sound = run.report.left.damage.is_empty();
    Ok(match (sound, run.gone.is_empty()) {
        (false, _) => Exit::INTEGRITY,
        (true, false) => Exit::INCOMPLETE,
        (true, true) => Exit::DONE,
    })
}

fn show(plan: &RepairPlan, run: &RepairRun) {
    let report = &run.report;
    let done = if plan.dry_run {
        "would be brought back"
    } else {
        "brought back"
    };
    table::line(&format!(
        "{}: {} {done} in {}",
        run.region,
        table::counted(report.repaired.len() as u64, "object"),
        table::secs(run.secs),
    ));
    for (object, from) in &report.repaired {
        table::line(&format!("  {object} from {from}"));
    }
    if report.reindexed > 0 {
        table::line(&format!(
            "  the index of {} was made anew",
            table::counted(report.reindexed, "pack")
        ));
    }
    for region in &run.unreachable {
        table::line(&format!("  not asked: {region}"));
    }
    show_gone(&run.gone);
    if plan.dry_run {
        return table::line("nothing was changed");
    }
    if report.left.damage.is_empty() {
        return table::line("  nothing is damaged now");
    }
    for damage in &report.left.damage {
        table::line(&format!(
            "  STILL DAMAGED {}: {}",
            damage.object, damage.what
        ));
    }
    for snapshot in report.left.affected.keys() {
        table::line(&format!("  snapshot {} is affected", snapshot.short()));
    }
    table::line(
        "  hint: no region that was asked has a good copy; `lifeboat backup` stores anew what the sources \
         still have; a `lifeboat prune` after that forgets what no snapshot needs",
    );
}

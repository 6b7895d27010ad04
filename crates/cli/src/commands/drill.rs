//! `lifeboat drill`.

use lifeboat_drill::{Check, DrillReport, DrillRequest, Phase, plan_drill, run_drill};
use lifeboat_model::Verdict;
use lifeboat_operations::OperationError;

use crate::args::{Args, Command, DrillCommand};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Drill {
        command:
            DrillCommand::Run {
                environment,
                source,
                scenario,
                region,
                dry_run,
            },
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let request = DrillRequest {
        scenario: *scenario,
        source: source.clone(),
        region: region.clone(),
    };
    let plan = plan_drill(&session, environment, &request)?;
    if *dry_run {
        let denied: String = plan
            .denied
            .iter()
            .map(|region| format!(", region {region} taken for lost"))
            .collect();
        let line = format!(
            "would rehearse {}: restore {}/{} from region {}{denied} into a scratch folder and check it",
            plan.scenario, plan.environment, plan.source, plan.region,
        );
        table::plan(args.json, &plan, &[line]);
        return Ok(Exit::DONE);
    }
    let report = run_drill(&session, environment, &plan).await?;
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    Ok(exit_of(&report))
}

/// Damage outweighs a missed objective, and that outweighs a gap.
pub(super) fn exit_of(report: &DrillReport) -> Exit {
    let objectives = || {
        [report.rto_verdict, report.rpo_verdict]
            .into_iter()
            .flatten()
    };
    if report.checks_verdict == Verdict::Fail {
        Exit::INTEGRITY
    } else if objectives().any(|verdict| verdict == Verdict::Fail) {
        Exit::OBJECTIVE_MISSED
    } else {
        Exit::of_verdict(report.verdict, Exit::FAILED)
    }
}

fn show(report: &DrillReport) {
    table::line(&format!(
        "drill {}: {} of {}/{} from {}, snapshot {} (state of {:.0})",
        report.drill,
        report.scenario,
        report.environment,
        report.source,
        report.region,
        report.snapshot.short(),
        report.instant,
    ));
    let phase = |phase: &Phase| vec![phase.name.to_owned(), table::measured(phase.secs)];
    table::print(&["phase", "took"], report.phases.iter().map(phase));
    let check = |check: &Check| {
        vec![
            check.name.clone(),
            check.verdict.to_string(),
            check.detail.clone(),
        ]
    };
    table::print(
        &["check", "verdict", "found"],
        report.checks.iter().map(check),
    );
    let objective = |name: &str, measured, target: Option<f64>, verdict: Option<Verdict>| {
        vec![
            name.to_owned(),
            table::measured(measured),
            target.map_or_else(|| "none".to_owned(), table::secs),
            verdict.map_or_else(|| "not judged".to_owned(), |verdict| verdict.to_string()),
        ]
    };
    let objectives = [
        objective(
            "RTO",
            Some(report.rto_secs),
            report.rto_target_secs,
            report.rto_verdict,
        ),
        objective(
            "RPO",
            report.rpo_secs,
            report.rpo_target_secs,
            report.rpo_verdict,
        ),
    ];
    table::print(&["objective", "measured", "target", "verdict"], objectives);
    table::line(&format!("verdict: {}", report.verdict));
}

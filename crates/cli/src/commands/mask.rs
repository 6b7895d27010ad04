//! `lifeboat mask`.

use std::path::Path;

use lifeboat_masking::Gate;
use lifeboat_model::Verdict;
use lifeboat_operations::{MaskReport, MaskTask, OperationError};

use super::leak_report;
use crate::args::Args;
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) fn run(
    args: &Args,
    rules: &Path,
    input: &Path,
    output: &Path,
    report_file: Option<&Path>,
) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let scope = format!("{}", session.world.clock.now());
    let task = MaskTask::prepare(&session, &rooted(rules)?, input, &scope)?;
    show_warnings(&task);
    let (report, written) = task.run_into(&session, output)?;
    if let Some(file) = report_file {
        let place = |path: &Path| path.display().to_string();
        let view = leak_report::view(&place(input), &place(output), &report);
        leak_report::write(&session, &report.leak_report, &view, file)?;
    }
    let verdict = report.leak_report.verdict();
    if args.json {
        table::json(&report);
    } else {
        show(&report);
    }
    if !written {
        fail::print_line("error: nothing was written: a leak gate did not pass");
    } else if !args.json {
        let (rows, secs) = (report.rows, report.mask_secs + report.verify_secs);
        let place = output.display();
        table::line(&format!(
            "{rows} rows masked into {place} in {}",
            table::secs(secs)
        ));
    }
    Ok(Exit::of_verdict(verdict, Exit::REFUSED).refuse_unverified())
}

pub(super) fn check(args: &Args, rules: &Path, input: &Path) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let task = MaskTask::prepare(&session, &rooted(rules)?, input, "check")?;
    show_warnings(&task);
    if args.json {
        table::json(&serde_json::json!({
            "rules": rules,
            "input": input,
            "covered": true,
            "warnings": fail::problem_list(&task.warnings),
        }));
    } else {
        table::line(&format!(
            "{} covers every column of {}",
            rules.display(),
            input.display()
        ));
    }
    Ok(Exit::DONE)
}

pub(super) fn rooted(path: &Path) -> Result<std::path::PathBuf, OperationError> {
    std::path::absolute(path).map_err(|source| OperationError::Io {
        op: "find",
        path: path.to_owned(),
        source,
    })
}

fn show_warnings(task: &MaskTask) {
    if !task.warnings.is_empty() {
        fail::print_problems(&task.warnings);
    }
}

/// Prints the gates of a masked copy, and what they cannot speak of.
pub(super) fn show(report: &MaskReport) {
    let gates = report.leak_report.gates();
    let row = |gate: &Gate| {
        vec![
            gate.name.to_owned(),
            verdict(gate),
            gate.checked.to_string(),
        ]
    };
    table::print(&["gate", "verdict", "checked"], gates.iter().map(row));
    let bad = |gate: &&Gate| matches!(gate.verdict, Some(Verdict::Fail | Verdict::NotVerified));
    for gate in gates.iter().filter(bad) {
        table::line(&format!("  {}: {}", gate.name, gate.note));
        for finding in &gate.findings {
            table::line(&format!(
                "    {}.{}: {} x {}",
                finding.table, finding.column, finding.count, finding.kind
            ));
        }
    }
    if !report.kept.is_empty() {
        table::line(&format!("kept as they are: {}", report.kept.join(", ")));
    }
}

/// Returns a gate's verdict as people read it.
pub(super) fn verdict(gate: &Gate) -> String {
    gate.verdict.map_or_else(
        || "nothing to look for".to_owned(),
        |verdict| verdict.to_string(),
    )
}

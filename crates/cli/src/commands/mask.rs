//! `lifeboat mask`.

use std::path::Path;

use lifeboat_masking::Gate;
use lifeboat_model::{Problems, Verdict};
use lifeboat_operations::{
    MaskReport, MaskTask, OperationError, Session, StreamFormat, StreamPlace, StreamRequest,
    StreamTask, check_source,
};

use super::leak_report;
use crate::args::{Args, MaskCommand, MaskFormat};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) fn run(args: &Args, command: &MaskCommand) -> Result<Exit, OperationError> {
    let MaskCommand::Run {
        rules,
        input,
        output,
        format,
        table,
        null,
        report,
    } = command
    else {
        unreachable!("dispatched by command")
    };
    let (from, to) = (place(input), place(output));
    let named = StreamFormat::of_name(&from, null).or_else(|| StreamFormat::of_name(&to, null));
    let stream = match format {
        Some(MaskFormat::Sqlite) => None,
        Some(MaskFormat::Csv) => Some(StreamFormat::Csv { null: null.clone() }),
        Some(MaskFormat::Jsonl) => Some(StreamFormat::JsonLines),
        None => named,
    };
    let report = report.as_deref();
    let Some(format) = stream else {
        if from == StreamPlace::Standard || to == StreamPlace::Standard {
            return Err(OperationError::Usage {
                message: "the names do not say what the rows stand in".to_owned(),
                hint: "add `--format csv` or `--format jsonl`; a SQLite database needs `--input` \
                       and `--output`"
                    .to_owned(),
            });
        }
        return database(args, rules, input, output, report);
    };
    let request = StreamRequest {
        rules: rooted(rules)?,
        table: table.clone(),
        format,
        input: from,
        output: to,
    };
    self::stream(args, request, report)
}

fn place(path: &Path) -> StreamPlace {
    if path == Path::new("-") {
        StreamPlace::Standard
    } else {
        StreamPlace::File(path.to_owned())
    }
}

/// Masks a SQLite database into a new one.
fn database(
    args: &Args,
    rules: &Path,
    input: &Path,
    output: &Path,
    report_file: Option<&Path>,
) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let scope = format!("{}", session.world.clock.now());
    let task = MaskTask::prepare(&session, &rooted(rules)?, input, &scope)?;
    show_warnings(&task.warnings);
    let (report, released) = task.run_into(&session, output)?;
    let done = Done {
        input: &StreamPlace::File(input.to_owned()),
        output: &StreamPlace::File(output.to_owned()),
        report: &report,
        released,
    };
    finish(args, &session, &done, report_file)
}

/// Masks CSV or JSON Lines, with or without a project.
fn stream(
    args: &Args,
    request: StreamRequest,
    report_file: Option<&Path>,
) -> Result<Exit, OperationError> {
    let (input, output) = (request.input.clone(), request.output.clone());
    if args.json && output == StreamPlace::Standard {
        return Err(OperationError::Usage {
            message: "masked rows and a JSON document cannot both go to standard output".to_owned(),
            hint: "write the leak report with `--report FILE`, or the rows with `--output FILE`"
                .to_owned(),
        });
    }
    let in_project = setup::project_root(args.project.as_deref())
        .join("lifeboat.toml")
        .is_file();
    let session = if in_project {
        setup::session(args)?
    } else {
        setup::session_without_project(args)
    };
    let scope = format!("{}", session.world.clock.now());
    let task = StreamTask::prepare(&session, request, &scope)?;
    show_warnings(&task.warnings);
    let (report, released) = task.run(&session)?;
    let done = Done {
        input: &input,
        output: &output,
        report: &report,
        released,
    };
    finish(args, &session, &done, report_file)
}

/// What came of masking.
struct Done<'a> {
    input: &'a StreamPlace,
    output: &'a StreamPlace,
    report: &'a MaskReport,
    released: bool,
}

/// Shows what came of masking. Where the rows went to standard output, only what went wrong is told.
fn finish(
    args: &Args,
    session: &Session,
    done: &Done<'_>,
    report_file: Option<&Path>,
) -> Result<Exit, OperationError> {
    let Done {
        input,
        output,
        report,
        released,
    } = *done;
    if let Some(file) = report_file {
        let place = |place: &StreamPlace| place.shown().display().to_string();
        let view = leak_report::view(&place(input), &place(output), report);
        leak_report::write(session, &report.leak_report, &view, file)?;
    }
    let verdict = report.leak_report.verdict();
    match output {
        StreamPlace::Standard if !released => {
            for line in open_gates(report) {
                fail::print_line(&line);
            }
            fail::print_line("error: the output must not be used: a leak gate did not pass");
        }
        StreamPlace::Standard => {}
        StreamPlace::File(output) => {
            if args.json {
                table::json(report);
            } else {
                show(report);
            }
            if !released {
                fail::print_line("error: nothing was written: a leak gate did not pass");
            } else if !args.json {
                let (rows, secs) = (report.rows, report.mask_secs + report.verify_secs);
                let place = output.display();
                table::line(&format!(
                    "{rows} rows masked into {place} in {}",
                    table::secs(secs)
                ));
            }
        }
    }
    Ok(Exit::of_verdict(verdict, Exit::REFUSED).refuse_unverified())
}

pub(super) async fn check(args: &Args, command: &MaskCommand) -> Result<Exit, OperationError> {
    let MaskCommand::Check {
        rules,
        input,
        source,
    } = command
    else {
        unreachable!("dispatched by command")
    };
    let session = setup::session(args)?;
    let (covered, warnings) = match (input, source) {
        (Some(input), _) => {
            let task = MaskTask::prepare(&session, &rooted(rules)?, input, "check")?;
            show_warnings(&task.warnings);
            let warnings = fail::problem_list(&task.warnings);
            (input.display().to_string(), warnings)
        }
        (None, Some(source)) => {
            check_source(&session, &rooted(rules)?, source).await?;
            (source.to_string(), serde_json::json!([]))
        }
        (None, None) => unreachable!("one of them is required"),
    };
    if args.json {
        table::json(&serde_json::json!({
            "rules": rules,
            "input": covered,
            "covered": true,
            "warnings": warnings,
        }));
    } else {
        table::line(&format!(
            "{} covers every column of {covered}",
            rules.display()
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

fn show_warnings(warnings: &Problems) {
    if !warnings.is_empty() {
        fail::print_problems(warnings);
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
    for line in open_gates(report) {
        table::line(&line);
    }
    if !report.kept.is_empty() {
        table::line(&format!("kept as they are: {}", report.kept.join(", ")));
    }
}

/// Says what gates found that did not pass, a line each.
fn open_gates(report: &MaskReport) -> Vec<String> {
    let bad = |gate: &&Gate| matches!(gate.verdict, Some(Verdict::Fail | Verdict::NotVerified));
    let mut lines = Vec::new();
    for gate in report.leak_report.gates().iter().filter(bad) {
        lines.push(format!("  {}: {}", gate.name, gate.note));
        lines.extend(gate.findings.iter().map(|finding| {
            format!(
                "    {}.{}: {} x {}",
                finding.table, finding.column, finding.count, finding.kind
            )
        }));
    }
    lines
}

/// Returns a gate's verdict as people read it.
pub(super) fn verdict(gate: &Gate) -> String {
    gate.verdict.map_or_else(
        || "nothing to look for".to_owned(),
        |verdict| verdict.to_string(),
    )
}

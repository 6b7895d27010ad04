//! `lifeboat mask discover`, `preview`, `synth` and `schema`.

use std::io::IsTerminal as _;

use lifeboat_masking::{ColumnClass, Outcome, RULES_SCHEMA, RowCounts};
use lifeboat_operations::{
    OperationError, PreviewTable, SynthRequest, discover as propose, discover_source,
    preview as mask_some, synth as make, write_rules,
};

use super::mask::rooted;
use crate::args::{Args, MaskCommand};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn discover(args: &Args, command: &MaskCommand) -> Result<Exit, OperationError> {
    let MaskCommand::Discover { input, source, out } = command else {
        unreachable!("the caller looked");
    };
    let discovery = match (input, source) {
        (Some(input), _) => propose(input)?,
        (None, Some(source)) => discover_source(&setup::session(args)?, source).await?,
        (None, None) => unreachable!("one of them is required"),
    };
    if let Some(file) = out {
        write_rules(&discovery, file)?;
    }
    let counts = [Outcome::Personal, Outcome::Clean, Outcome::Unknown]
        .map(|outcome| (outcome, discovery.count(outcome)));
    if args.json {
        table::json(&discovery);
        return Ok(Exit::DONE);
    }
    if out.is_none() {
        table::line(discovery.rules().trim_end());
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    fail::print_line(&format!("columns: {}", told.join(", ")));
    if discovery.count(Outcome::Unknown) > 0 {
        fail::print_line(
            "hint: columns that say \"decide\" need a rule before `mask check` passes",
        );
    }
    Ok(Exit::DONE)
}

pub(super) fn preview(args: &Args, command: &MaskCommand) -> Result<Exit, OperationError> {
    let MaskCommand::Preview {
        rules,
        input,
        table,
        rows,
    } = command
    else {
        unreachable!("the caller looked");
    };
    if args.json || !std::io::stdout().is_terminal() {
        return Err(OperationError::Refused {
            message: "a preview shows production data, and stdout is no terminal".to_owned(),
            hint: "run it in a terminal, without `--json` and without a pipe or a file behind it"
                .to_owned(),
        });
    }
    let session = setup::session(args)?;
    let tables = mask_some(
        &session,
        &rooted(rules)?,
        input,
        table.as_deref(),
        usize::from(*rows),
    )?;
    if tables.is_empty() {
        table::line("there are no rows");
    }
    tables.iter().for_each(show);
    Ok(Exit::DONE)
}

/// Shows a table upright, since rows are wider than terminals: a line for each column of each row.
fn show(preview: &PreviewTable) {
    let class = |class: ColumnClass| match class {
        ColumnClass::Kept => "kept",
        ColumnClass::Masked => "masked",
        ColumnClass::Mixed => "kept or masked",
        ColumnClass::Inherited => "follows its key",
        ColumnClass::Policy => "by policy",
    };
    let mut lines = Vec::new();
    for row in &preview.rows {
        for ((name, how), (before, after)) in preview.columns.iter().zip(row) {
            lines.push(vec![
                name.clone(),
                before.clone(),
                after.clone(),
                class(*how).to_owned(),
            ]);
        }
        lines.push(vec![String::new(); 4]);
    }
    lines.pop();
    table::line(&preview.name);
    table::print(&["column", "before", "after", "rule"], lines);
}

pub(super) fn synth(args: &Args, command: &MaskCommand) -> Result<Exit, OperationError> {
    let MaskCommand::Synth {
        rules,
        schema,
        row_counts,
        seed,
        table,
        out,
    } = command
    else {
        unreachable!("the caller looked");
    };
    let mut rows = RowCounts::default();
    for count in row_counts {
        match &count.table {
            Some(table) => {
                rows.of.insert(table.clone(), count.rows);
            }
            None => rows.each = count.rows,
        }
    }
    let request = SynthRequest {
        rules: rules.clone(),
        schema: schema.clone(),
        rows,
        seed: *seed,
        table: table.clone(),
        out: out.clone(),
    };
    // It reads no production and needs no key, so it needs no project either.
    let session = setup::session_without_project(args);
    let report = make(&session, &request)?;
    if args.json {
        table::json(&report);
        return Ok(Exit::DONE);
    }
    let rows = report
        .tables
        .iter()
        .map(|(name, rows)| vec![name.clone(), rows.to_string()]);
    table::print(&["table", "rows"], rows);
    table::line(&format!(
        "{} made in {}: {}",
        table::counted(report.rows, "row"),
        table::secs(report.secs),
        out.display()
    ));
    Ok(Exit::DONE)
}

pub(super) fn schema() -> Result<Exit, OperationError> {
    table::line(RULES_SCHEMA.trim_end());
    Ok(Exit::DONE)
}

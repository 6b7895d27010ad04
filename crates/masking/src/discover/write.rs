//! Writes a proposal as a rule file: sorted, each column once, each with what speaks for it.

use super::{DiscoveredColumn, Discovery, Outcome};
use crate::rules::written;

pub(super) fn rules(discovery: &Discovery) -> String {
    let mut text = head(discovery);
    for (name, mask) in &discovery.domains {
        text.push_str(&format!("\n[domain.{}]\n{mask}\n", written::key(name)));
    }
    let mut rest = &discovery.columns[..];
    while let Some(first) = rest.first() {
        let len = rest
            .iter()
            .take_while(|column| column.table == first.table)
            .count();
        table(&rest[..len], &mut text);
        rest = &rest[len..];
    }
    text
}

fn head(discovery: &Discovery) -> String {
    let count = |outcome| discovery.count(outcome);
    let (personal, clean, unknown) = (
        count(Outcome::Personal),
        count(Outcome::Clean),
        count(Outcome::Unknown),
    );
    format!(
        "# Proposed by `lifeboat mask discover` from a schema and a sample of its rows. No value of them is here.\n\
         # Columns: {personal} personal, {clean} clean, {unknown} unknown. Percentages say how sure that is.\n\
         # Read every line. A column that says \"decide\" is refused until somebody has written a rule for it.\n\
         version = 1\n\n\
         [policy]\n\
         unlisted = \"error\"\n\
         key = \"env:MASK_KEY\"\n\
         scope = \"snapshot\"\n"
    )
}

fn table(columns: &[DiscoveredColumn], text: &mut String) {
    let name = written::key(&columns[0].table);
    let kept: Vec<_> = columns.iter().filter(|column| is_kept(column)).collect();
    if !kept.is_empty() {
        text.push_str(&format!("\n[table.{name}]\nkeep = [\n"));
        for column in kept {
            let line = format!("{},", written::string(&column.column));
            text.push_str(&format!("  {line}  # {}\n", why(column)));
        }
        text.push_str("]\n");
    }
    let ruled: Vec<_> = columns
        .iter()
        .filter(|column| !is_kept(column) && column.paths.is_empty())
        .collect();
    if !ruled.is_empty() {
        text.push_str(&format!("\n[table.{name}.columns]\n"));
        for column in ruled {
            let line = format!("{} = {}", written::key(&column.column), column.rule);
            text.push_str(&format!("{line}  # {}\n", why(column)));
        }
    }
    for column in columns.iter().filter(|column| !column.paths.is_empty()) {
        let place = format!("table.{name}.columns.{}", written::key(&column.column));
        text.push_str(&format!(
            "\n# {}. What no path names is removed.\n[{place}]\nmask = \"json\"\nunlisted = \"redact\"\n\n[{place}.paths]\n",
            why(column)
        ));
        for (path, rule) in &column.paths {
            text.push_str(&format!("{} = {rule}\n", written::string(path)));
        }
    }
}

fn is_kept(column: &DiscoveredColumn) -> bool {
    column.rule == "\"keep\""
}

fn why(column: &DiscoveredColumn) -> String {
    let clues: Vec<String> = column.clues.iter().map(ToString::to_string).collect();
    let clues = if clues.is_empty() {
        "nothing speaks for anything".to_owned()
    } else {
        clues.join(", ")
    };
    format!("{} {} %: {clues}", column.outcome, column.confidence)
}

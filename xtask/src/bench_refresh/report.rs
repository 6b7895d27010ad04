//! The results as a page of Markdown.

use std::fmt::Write as _;

use super::{Copied, Tool};
use crate::bench::measure::{Cost, median, middle};

/// What the page is made of.
pub(super) struct Facts<'a> {
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) server: String,
    pub(super) customers: u32,
    pub(super) runs: u32,
    pub(super) results: Vec<(Tool, Vec<Copied>)>,
    pub(super) phases: &'a [(String, f64)],
    pub(super) notes: Vec<String>,
}

/// What a masked refresh may take of another tool's time.
const fn target(of: Tool) -> Option<f64> {
    match of {
        Tool::Masked => None,
        Tool::Unmasked => Some(1.1),
        Tool::DumpRestore => Some(0.7),
        Tool::PgCopyDb => Some(1.0),
    }
}

pub(super) fn page(facts: &Facts<'_>) -> String {
    let mut page = String::new();
    let mut line = |text: &str| writeln!(page, "{text}").expect("a String takes everything");
    line(&format!(
        "# A staging refresh beside other ways to copy a database, {}\n",
        facts.date
    ));
    line(&format!(
        "{}; PostgreSQL {}, one server as source and target. {} customers in 15 columns and as many \
         orders, with keys and indexes; 11 of the customers' columns are masked. Medians of {} rounds, \
         the tools taking turns. Memory is that of the tool, not of the server.\n",
        facts.machine, facts.server, facts.customers, facts.runs
    ));
    line(&format!(
        "    cargo xtask bench-refresh --customers {} --runs {}\n",
        facts.customers, facts.runs
    ));
    line(
        "| | wall, s | the tool's CPU, s | the server's CPU, s | memory, MB | the masked refresh's time is this part of it | wanted |",
    );
    line("|---|---|---|---|---|---|---|");
    let masked = facts.results.iter().find(|(tool, _)| *tool == Tool::Masked);
    let masked = masked.map_or(0.0, |(_, copies)| of_tool(copies).wall_secs);
    for (tool, copies) in facts
        .results
        .iter()
        .filter(|(_, copies)| !copies.is_empty())
    {
        let cost = of_tool(copies);
        let server = middle(copies.iter().map(|copy| copy.server_cpu_secs).collect());
        let (ratio, wanted) = match target(*tool) {
            Some(wanted) => (
                format!("{:.2}", masked / cost.wall_secs),
                format!("{wanted}"),
            ),
            None => (String::new(), String::new()),
        };
        line(&format!(
            "| {} | {:.1} | {:.1} | {server:.1} | {:.0} | {ratio} | {wanted} |",
            tool.name(),
            cost.wall_secs,
            cost.cpu_secs,
            cost.rss_mb
        ));
    }
    line("\nWhere the last masked refresh spent its time:\n\n| phase | s |\n|---|---|");
    for (name, secs) in facts.phases {
        line(&format!("| {name} | {secs:.1} |"));
    }
    for note in &facts.notes {
        line(&format!("\n{note}"));
    }
    page
}

fn of_tool(copies: &[Copied]) -> Cost {
    let costs: Vec<Cost> = copies.iter().map(|copy| copy.tool).collect();
    median(&costs)
}

//! The results as a page of Markdown: figures, ratios, and which targets were met.

use std::fmt::Write as _;

use super::tools::Tool;
use crate::bench::limits::Limit;
use crate::bench::measure::{Cost, median, middle};

/// What costs time, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Full,
    Incremental,
    Restore,
    Delta,
    Push,
    Fetch,
}

impl Step {
    const ALL: [Step; 6] = [
        Step::Full,
        Step::Incremental,
        Step::Restore,
        Step::Delta,
        Step::Push,
        Step::Fetch,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Full => "full",
            Step::Incremental => "incremental",
            Step::Restore => "restore",
            Step::Delta => "delta restore",
            Step::Push => "WAL push",
            Step::Fetch => "WAL fetch",
        }
    }
}

/// What takes room, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// What the repository holds after the full backup, the log apart.
    Full,
    /// What the incremental backup added to that.
    Growth,
    /// What the pushed segments take.
    Log,
}

impl Size {
    const ALL: [Size; 3] = [Size::Full, Size::Growth, Size::Log];

    fn name(self) -> &'static str {
        match self {
            Size::Full => "repository after the full",
            Size::Growth => "growth by the incremental",
            Size::Log => "pushed WAL",
        }
    }
}

/// All rounds of one tool.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    costs: [Vec<Cost>; 6],
    bytes: [Vec<f64>; 3],
}

impl Rounds {
    pub(super) fn took(&mut self, step: Step, cost: Cost) {
        self.costs[step as usize].push(cost);
    }

    pub(super) fn stored(&mut self, size: Size, bytes: f64) {
        self.bytes[size as usize].push(bytes);
    }
}

/// The medians of one tool.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) tool: Tool,
    version: String,
    costs: [Cost; 6],
    sizes_mb: [f64; 3],
}

impl Row {
    pub(super) fn new(tool: Tool, version: String, rounds: &Rounds) -> Self {
        Self {
            tool,
            version,
            costs: rounds.costs.each_ref().map(|costs| median(costs)),
            sizes_mb: rounds.bytes.each_ref().map(|all| middle(all.clone()) / 1e6),
        }
    }

    fn cost(&self, step: Step) -> Cost {
        self.costs[step as usize]
    }

    fn size_mb(&self, size: Size) -> f64 {
        self.sizes_mb[size as usize]
    }
}

/// What the page says besides the figures.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) date: String,
    pub(super) machine: String,
    /// The server's version and the cluster's size.
    pub(super) cluster: String,
    /// What was written between full and incremental.
    pub(super) change: String,
    pub(super) segments: usize,
    pub(super) runs: u32,
    pub(super) notes: Vec<String>,
    pub(super) limits: Vec<Limit>,
    /// The commands of one round, tool by tool.
    pub(super) commands: Vec<String>,
}

/// Writes the page.
pub(super) fn page(facts: &Facts, rows: &[Row]) -> String {
    let mut page = String::new();
    head(&mut page, facts);
    figures(&mut page, facts, rows);
    ratios(&mut page, rows);
    targets(&mut page, rows);
    limits(&mut page, facts);
    page
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn head(page: &mut String, facts: &Facts) {
    let text = format!(
        "# {}: PostgreSQL, beside pgBackRest\n\n{}. Rounds: {}, given as medians; in each every tool does a \
         step before any does the next, and the order turns. Repositories are new, the page cache is warm. \
         Absolute times on such machines are noise: compare within this run.\n\nThe cluster: {}. Between full \
         and incremental: {}; both incrementals are of the same server at rest. WAL: {} filled segments, the \
         same for all, one call of the command for each in order, as the server does it; they wait in the \
         queue from the start, so tools that work ahead can.\n",
        facts.date, facts.machine, facts.runs, facts.cluster, facts.change, facts.segments
    );
    line(page, &text);
    for note in &facts.notes {
        line(page, &format!("- {note}"));
    }
    line(
        page,
        "\nMemory is that of a tool's largest process; CPU includes what it does in the background, but \
         neither the server nor the archive command that the server runs during a backup. Made by `cargo xtask bench-postgres`.",
    );
}

/// Writes a table of the steps of a cluster, and one of the segments of its log.
fn figures(page: &mut String, facts: &Facts, rows: &[Row]) {
    line(page, "\n## Figures: wall s / CPU s / MB of memory\n");
    let [full, incremental, restore, delta, ..] = Step::ALL;
    heading(page, &[full, incremental, restore, delta].map(Step::name));
    for row in rows {
        let cells = [full, incremental, restore, delta].map(|step| {
            let cost = row.cost(step);
            format!(
                "{:.2} / {:.1} / {:.0}",
                cost.wall_secs, cost.cpu_secs, cost.rss_mb
            )
        });
        let (name, version, settings) = (row.tool.name(), &row.version, row.tool.settings());
        cells_after(page, &format!("{name} {version} ({settings})"), &cells);
    }
    line(page, "\n## WAL, each segment: wall ms / CPU ms\n");
    heading(page, &[Step::Push, Step::Fetch].map(Step::name));
    for row in rows {
        let cells = [Step::Push, Step::Fetch].map(|step| {
            let (cost, per_ms) = (row.cost(step), 1000.0 / facts.segments.max(1) as f64);
            format!(
                "{:.1} / {:.1}",
                cost.wall_secs * per_ms,
                cost.cpu_secs * per_ms
            )
        });
        cells_after(page, row.tool.name(), &cells);
    }
    line(page, "\n## Sizes, MB\n");
    heading(page, &Size::ALL.map(Size::name));
    for row in rows {
        let cells = Size::ALL.map(|size| format!("{:.1}", row.size_mb(size)));
        cells_after(page, row.tool.name(), &cells);
    }
}

fn heading(page: &mut String, columns: &[&str]) {
    line(page, &format!("| | {} |", columns.join(" | ")));
    line(page, &format!("|---{}|", "|---".repeat(columns.len())));
}

fn cells_after(page: &mut String, name: &str, cells: &[String]) {
    line(page, &format!("| {name} | {} |", cells.join(" | ")));
}

/// Lifeboat's figure divided by each peer's: below 1 is better.
fn ratios(page: &mut String, rows: &[Row]) {
    let Some((own, peers)) = own_and_peers(rows) else {
        return;
    };
    line(
        page,
        "\n## Lifeboat divided by each peer: wall / CPU, and sizes; below 1 is better\n",
    );
    let columns = Step::ALL.map(Step::name).into_iter();
    let columns: Vec<&str> = columns.chain(Size::ALL.map(Size::name)).collect();
    heading(page, &columns);
    for peer in peers {
        let of = |own: f64, peer: f64| format!("{:.2}", own / peer.max(1e-9));
        let costs = Step::ALL.map(|step| {
            let (own, peer) = (own.cost(step), peer.cost(step));
            let wall = of(own.wall_secs, peer.wall_secs);
            format!("{wall} / {}", of(own.cpu_secs, peer.cpu_secs))
        });
        let sizes = Size::ALL.map(|size| of(own.size_mb(size), peer.size_mb(size)));
        let cells: Vec<String> = costs.into_iter().chain(sizes).collect();
        cells_after(page, peer.tool.name(), &cells);
    }
}

fn own_and_peers(rows: &[Row]) -> Option<(&Row, Vec<&Row>)> {
    let own = rows.iter().find(|row| row.tool == Tool::Lifeboat)?;
    let peers = rows.iter().filter(|row| row.tool != Tool::Lifeboat);
    let peers: Vec<_> = peers.collect();
    (!peers.is_empty()).then_some((own, peers))
}

/// A step may take so much of the time of the quickest peer …
const TIME_RATIO_MAX: f64 = 0.8;
/// … and store no more than the smallest.
const SIZE_RATIO_MAX: f64 = 1.0;

fn targets(page: &mut String, rows: &[Row]) {
    let Some((own, peers)) = own_and_peers(rows) else {
        return;
    };
    let text = format!(
        "\n## Targets: at most {TIME_RATIO_MAX} of the quickest peer's time and {SIZE_RATIO_MAX:.1} of the \
         smallest one's size\n"
    );
    line(page, &text);
    let mut target = |what: &str, unit: &str, max: f64, figure: &dyn Fn(&Row) -> f64| {
        let best = peers
            .iter()
            .min_by(|a, b| figure(a).total_cmp(&figure(b)))
            .expect("there is a peer");
        let (have, need) = (figure(own), figure(best));
        let met = if have <= need * max { "met" } else { "missed" };
        let text = format!(
            "- {what}: **{met}**, {:.2}: {have:.2} {unit}; {} has {need:.2} {unit}",
            have / need.max(1e-9),
            best.tool.name(),
        );
        line(page, &text);
    };
    for step in Step::ALL {
        let wall = |row: &Row| row.cost(step).wall_secs;
        target(step.name(), "s", TIME_RATIO_MAX, &wall);
    }
    for size in Size::ALL {
        let bytes = |row: &Row| row.size_mb(size);
        target(size.name(), "MB", SIZE_RATIO_MAX, &bytes);
    }
}

fn limits(page: &mut String, facts: &Facts) {
    line(page, "\n## What the machine does, in the same run\n");
    line(page, "| | |\n|---|---|");
    for (what, figure) in &facts.limits {
        line(page, &format!("| {what} | {figure} |"));
    }
    line(page, "\n## Commands\n\n```text");
    for command in &facts.commands {
        let _ = writeln!(page, "{command}");
    }
    line(page, "```");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tool that takes `secs` for each step and `mb` for each size, in both of its rounds.
    fn row(tool: Tool, secs: f64, mb: f64) -> Row {
        let mut rounds = Rounds::default();
        for step in [Step::ALL, Step::ALL].concat() {
            let cost = Cost {
                wall_secs: secs,
                cpu_secs: secs * 2.0,
                rss_mb: 100.0,
            };
            rounds.took(step, cost);
        }
        for size in Size::ALL {
            rounds.stored(size, mb * 1e6);
        }
        Row::new(tool, "1.0".to_owned(), &rounds)
    }

    fn page_of(rows: &[Row]) -> String {
        let facts = Facts {
            date: "2026-11-21".to_owned(),
            machine: "2 cores".to_owned(),
            cluster: "PostgreSQL 15".to_owned(),
            change: "10 transactions".to_owned(),
            segments: 10,
            runs: 2,
            notes: vec!["a note".to_owned()],
            limits: vec![("`cp`".to_owned(), "1 ms".to_owned())],
            commands: vec!["lifeboat init".to_owned()],
        };
        page(&facts, rows)
    }

    #[test]
    fn targets_are_four_fifths_of_the_time_and_no_more_room_than_the_best_peer() {
        let page = page_of(&[
            row(Tool::Lifeboat, 8.0, 100.0),
            row(Tool::PgBackRest, 10.0, 100.0),
            row(Tool::PgBackRestEncrypted, 12.0, 120.0),
        ]);
        let met = "- full: **met**, 0.80: 8.00 s; pgbackrest has 10.00 s";
        assert!(page.contains(met), "{page}");
        let same = "repository after the full: **met**, 1.00";
        assert!(page.contains(same), "{page}");
        let page = page_of(&[
            row(Tool::Lifeboat, 8.1, 100.1),
            row(Tool::PgBackRest, 10.0, 100.0),
        ]);
        assert_eq!(page.matches("**missed**").count(), 9, "{page}");
    }

    #[test]
    fn segments_are_figured_one_by_one() {
        let page = page_of(&[row(Tool::PgBackRest, 0.5, 3.0)]);
        assert!(
            page.contains("| pgbackrest | 50.0 / 100.0 | 50.0 / 100.0 |"),
            "{page}"
        );
        assert!(page.contains("| pgbackrest | 3.0 | 3.0 | 3.0 |"), "{page}");
    }

    #[test]
    fn without_lifeboat_there_is_nothing_to_compare() {
        let page = page_of(&[row(Tool::PgBackRest, 0.5, 3.0)]);
        assert!(
            !page.contains("Targets") && !page.contains("divided"),
            "{page}"
        );
        for part in [
            "- a note\n",
            "| `cp` | 1 ms |",
            "```text\nlifeboat init\n```",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }
}

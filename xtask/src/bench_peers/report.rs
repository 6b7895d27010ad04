//! The results as a page of Markdown: figures, ratios, and which targets were met.

use std::fmt::Write as _;

use super::peers::{Step, Tool};
use super::tree::Change;
use crate::bench::measure::{Cost, median, middle};

/// All rounds of one tool.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) backups: [Vec<Cost>; 3],
    pub(super) restores: Vec<Cost>,
    /// Length of all files of the repository after the first backup.
    pub(super) first_bytes: Vec<f64>,
    /// What the changed backup added.
    pub(super) growth_bytes: Vec<f64>,
}

/// The medians of one tool.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) tool: Tool,
    pub(super) version: String,
    pub(super) backups: [Cost; 3],
    pub(super) restore: Cost,
    pub(super) size_mb: f64,
    pub(super) growth_mb: f64,
}

impl Row {
    pub(super) fn new(tool: Tool, version: String, rounds: &Rounds) -> Self {
        Self {
            tool,
            version,
            backups: rounds.backups.each_ref().map(|costs| median(costs)),
            restore: median(&rounds.restores),
            size_mb: middle(rounds.first_bytes.clone()) / 1e6,
            growth_mb: middle(rounds.growth_bytes.clone()) / 1e6,
        }
    }
}

/// What the page says besides the figures.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) tree: String,
    pub(super) change: Change,
    pub(super) files: usize,
    pub(super) runs: u32,
    pub(super) notes: Vec<String>,
    /// Name and figure of each limit of the machine.
    pub(super) limits: Vec<(String, String)>,
    /// The commands of one round, tool by tool.
    pub(super) commands: Vec<String>,
}

/// Writes the page.
pub(super) fn page(facts: &Facts, rows: &[Row]) -> String {
    let mut page = String::new();
    head(&mut page, facts);
    figures(&mut page, rows);
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
    let share = 100.0 * facts.change.files as f64 / facts.files.max(1) as f64;
    let text = format!(
        "# {}: beside peers\n\n{}. Rounds: {}, given as medians; in each every tool does a step before any \
         does the next, and the order turns. Repositories are new, the page cache is warm. Absolute times \
         on such machines are noise: compare within this run.\n\nThe tree: {}. Changed: {} files \
         ({share:.1} %), which hold {:.1} MB, a few bytes in each.\n",
        facts.date,
        facts.machine,
        facts.runs,
        facts.tree,
        facts.change.files,
        facts.change.bytes_of_files as f64 / 1e6
    );
    line(page, &text);
    for note in &facts.notes {
        line(page, &format!("- {note}"));
    }
    line(
        page,
        "\nMemory is that of a tool's largest process. Made by `cargo xtask bench-peers`.",
    );
}

fn figures(page: &mut String, rows: &[Row]) {
    line(page, "\n## Figures: wall s / CPU s / MB of memory\n");
    line(
        page,
        "| | first | unchanged | changed | restore | repository MB | growth MB |",
    );
    line(page, "|---|---|---|---|---|---|---|");
    let cost = |cost: Cost| {
        let Cost {
            wall_secs,
            cpu_secs,
            rss_mb,
        } = cost;
        format!("{wall_secs:.2} / {cpu_secs:.1} / {rss_mb:.0}")
    };
    for row in rows {
        let [first, unchanged, changed] = row.backups.map(cost);
        let text = format!(
            "| {} {} ({}) | {first} | {unchanged} | {changed} | {} | {:.1} | {:.1} |",
            row.tool.name(),
            row.version,
            row.tool.settings(),
            cost(row.restore),
            row.size_mb,
            row.growth_mb
        );
        line(page, &text);
    }
}

/// Lifeboat's figure divided by each peer's: below 1 is better.
fn ratios(page: &mut String, rows: &[Row]) {
    let Some((own, peers)) = own_and_peers(rows) else {
        return;
    };
    line(
        page,
        "\n## Lifeboat divided by each peer: wall / CPU; below 1 is better\n",
    );
    line(
        page,
        "| | first | unchanged | changed | restore | repository | growth |",
    );
    line(page, "|---|---|---|---|---|---|---|");
    let of = |own: f64, peer: f64| own / peer.max(1e-9);
    let cost = |own: Cost, peer: Cost| {
        let wall = of(own.wall_secs, peer.wall_secs);
        format!("{wall:.2} / {:.2}", of(own.cpu_secs, peer.cpu_secs))
    };
    for peer in peers {
        let backups = [0, 1, 2].map(|step| cost(own.backups[step], peer.backups[step]));
        let text = format!(
            "| {} | {} | {} | {:.2} | {:.2} |",
            peer.tool.name(),
            backups.join(" | "),
            cost(own.restore, peer.restore),
            of(own.size_mb, peer.size_mb),
            of(own.growth_mb, peer.growth_mb)
        );
        line(page, &text);
    }
}

fn own_and_peers(rows: &[Row]) -> Option<(&Row, Vec<&Row>)> {
    let own = rows.iter().find(|row| row.tool == Tool::Lifeboat)?;
    let peers: Vec<_> = rows
        .iter()
        .filter(|row| row.tool != Tool::Lifeboat)
        .collect();
    (!peers.is_empty()).then_some((own, peers))
}

/// A figure in which Lifeboat is to be ahead of every peer.
struct Target {
    what: &'static str,
    unit: &'static str,
    figure: fn(&Row) -> f64,
    /// Equal is good enough, and who stores without encryption does not count.
    size: bool,
}

const TARGETS: &[Target] = &[
    Target {
        what: "first backup, wall",
        unit: "s",
        figure: |row| row.backups[Step::First as usize].wall_secs,
        size: false,
    },
    Target {
        what: "unchanged backup, wall",
        unit: "s",
        figure: |row| row.backups[Step::Unchanged as usize].wall_secs,
        size: false,
    },
    Target {
        what: "changed backup, wall",
        unit: "s",
        figure: |row| row.backups[Step::Changed as usize].wall_secs,
        size: false,
    },
    Target {
        what: "changed backup, growth",
        unit: "MB",
        figure: |row| row.growth_mb,
        size: true,
    },
    Target {
        what: "restore, wall",
        unit: "s",
        figure: |row| row.restore.wall_secs,
        size: false,
    },
    Target {
        what: "restore, CPU",
        unit: "s",
        figure: |row| row.restore.cpu_secs,
        size: false,
    },
    Target {
        what: "repository",
        unit: "MB",
        figure: |row| row.size_mb,
        size: true,
    },
];

fn targets(page: &mut String, rows: &[Row]) {
    let Some((own, peers)) = own_and_peers(rows) else {
        return;
    };
    line(page, "\n## Targets: ahead of every peer\n");
    for target in TARGETS {
        let counted = peers
            .iter()
            .filter(|peer| !target.size || peer.tool.is_encrypted());
        let best = counted.min_by(|a, b| (target.figure)(a).total_cmp(&(target.figure)(b)));
        let Some(best) = best else { continue };
        let (have, need) = ((target.figure)(own), (target.figure)(best));
        let met = have < need || (target.size && have <= need);
        let text = format!(
            "- {}: **{}**, {have:.2} {unit}; the best peer, {}, has {need:.2} {unit}",
            target.what,
            if met { "met" } else { "missed" },
            best.tool.name(),
            unit = target.unit,
        );
        line(page, &text);
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

    fn row(tool: Tool, secs: f64, size_mb: f64) -> Row {
        let cost = Cost {
            wall_secs: secs,
            cpu_secs: secs,
            rss_mb: 100.0,
        };
        Row {
            tool,
            version: "1".to_owned(),
            backups: [cost; 3],
            restore: cost,
            size_mb,
            growth_mb: 1.0,
        }
    }

    fn text(rows: &[Row]) -> String {
        let mut page = String::new();
        ratios(&mut page, rows);
        targets(&mut page, rows);
        page
    }

    #[test]
    fn the_best_peer_decides_what_is_met() {
        let page = text(&[
            row(Tool::Lifeboat, 2.0, 10.0),
            row(Tool::Restic, 4.0, 20.0),
            row(Tool::Borg, 1.0, 30.0),
        ]);
        assert!(
            page.contains("first backup, wall: **missed**, 2.00 s; the best peer, borg"),
            "{page}"
        );
        assert!(
            page.contains("repository: **met**, 10.00 MB; the best peer, restic"),
            "{page}"
        );
        assert!(page.contains("| restic | 0.50 / 0.50 |"), "{page}");
    }

    #[test]
    fn who_does_not_encrypt_sets_no_size() {
        let page = text(&[
            row(Tool::Lifeboat, 2.0, 10.0),
            row(Tool::Restic, 1.0, 20.0),
            row(Tool::Conserve, 1.0, 5.0),
        ]);
        assert!(page.contains("repository: **met**"), "{page}");
    }

    #[test]
    fn without_peers_there_is_nothing_to_compare() {
        assert_eq!(text(&[row(Tool::Lifeboat, 2.0, 10.0)]), "");
    }
}

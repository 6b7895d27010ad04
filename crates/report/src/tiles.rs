//! The head line: one tile for each promise, with its verdict.

use lifeboat_drill::DrillReport;
use lifeboat_model::Verdict;
use lifeboat_operations::{BackupReport, ReplicateReport};
use maud::{Markup, html};

use crate::figure::{
    counted, human_bytes, human_count, human_secs, plural, secs_or_not_measured, short_count,
};
use crate::story::{MaskingView, Story};
use crate::verdict::{badge_or, severity};

struct Tile {
    label: &'static str,
    verdict: Option<Verdict>,
    figure: Markup,
    note: String,
}

/// Shows a tile for each part that the story has.
pub(crate) fn row(story: &Story<'_>) -> Markup {
    let tiles: Vec<Tile> = [
        backup(story.backups),
        second_region(story.replications),
        masking(story.masking),
        objective(story.drills, "Recovery time", rto),
        objective(story.drills, "Recovery point", rpo),
    ]
    .into_iter()
    .flatten()
    .collect();
    html! {
        @if !tiles.is_empty() {
            ul.tiles aria-label="Verdicts" {
                @for tile in &tiles {
                    li {
                        p.label { (tile.label) }
                        p.figure { (tile.figure) }
                        p.note { (tile.note) }
                        (badge_or(tile.verdict, "no target"))
                    }
                }
            }
        }
    }
}

fn backup(backups: &[BackupReport]) -> Option<Tile> {
    let skipped: usize = backups.iter().map(|backup| backup.skipped.len()).sum();
    let stored = backups.iter().map(|backup| backup.bytes_stored).sum();
    let read = backups.iter().map(|backup| backup.bytes_read).sum();
    (!backups.is_empty()).then(|| Tile {
        label: "Backup",
        // What was skipped is missing from a restore, whatever else went well.
        verdict: Some(Verdict::from_passed(skipped == 0)),
        figure: amount(backups.len() as u64, "snapshot"),
        note: match skipped {
            0 => format!("{} read, {} stored", human_bytes(read), human_bytes(stored)),
            _ => format!("{} could not be read", counted(skipped as u64, "item")),
        },
    })
}

fn second_region(replications: &[ReplicateReport]) -> Option<Tile> {
    let newest = replications.last()?;
    let proven = replications.iter().map(|copy| match copy.receipts {
        // A copy without a receipt may be whole, but nothing proves it.
        0 => Verdict::NotVerified,
        _ => Verdict::Pass,
    });
    Some(Tile {
        label: "Second region",
        verdict: Some(Verdict::all(proven)),
        figure: html! { (newest.to) },
        note: format!("{} whole there", counted(newest.receipts, "snapshot")),
    })
}

fn masking(masking: &[MaskingView]) -> Option<Tile> {
    // A gate that had nothing to look for is neither passed nor part of the count.
    let gates = || {
        let gates = masking.iter().flat_map(|view| &view.gates);
        gates.filter_map(|gate| gate.verdict)
    };
    let passed = gates().filter(|verdict| *verdict == Verdict::Pass).count();
    let rows = masking.iter().map(|view| view.rows).sum();
    (!masking.is_empty()).then(|| Tile {
        label: "Masking",
        verdict: Some(Verdict::all(masking.iter().map(|view| view.verdict))),
        figure: amount(rows, "row"),
        note: format!(
            "{passed} of {} passed",
            counted(gates().count() as u64, "gate")
        ),
    })
}

/// Shows a count large and what is counted small.
fn amount(count: u64, one: &str) -> Markup {
    html! { span title=(human_count(count)) { (short_count(count)) } " " span.unit { (one) (plural(count)) } }
}

/// What one drill says about one objective.
#[derive(Clone, Copy)]
struct Measured {
    secs: Option<f64>,
    target: Option<f64>,
    verdict: Option<Verdict>,
}

fn rto(drill: &DrillReport) -> Measured {
    Measured {
        secs: Some(drill.rto_secs),
        target: drill.rto_target_secs,
        verdict: drill.rto_verdict,
    }
}

fn rpo(drill: &DrillReport) -> Measured {
    Measured {
        secs: drill.rpo_secs,
        target: drill.rpo_target_secs,
        verdict: drill.rpo_verdict,
    }
}

/// Shows the drill that did worst by an objective: a promise holds as far as its weakest proof.
fn objective(
    drills: &[DrillReport],
    label: &'static str,
    measured: fn(&DrillReport) -> Measured,
) -> Option<Tile> {
    let secs = |one: &Measured| one.secs.unwrap_or(f64::NEG_INFINITY);
    let worst = drills.iter().map(measured).max_by(|a, b| {
        let by_verdict = severity(a.verdict).cmp(&severity(b.verdict));
        by_verdict.then(secs(a).total_cmp(&secs(b)))
    })?;
    let target = match worst.target {
        Some(target) => format!("target {}", human_secs(target)),
        None => "no target to meet".to_owned(),
    };
    Some(Tile {
        label,
        verdict: worst.verdict,
        figure: secs_or_not_measured(worst.secs),
        note: match drills.len() {
            1 => target,
            many => format!("{target}, worst of {many} drills"),
        },
    })
}

//! `lifeboat show`.

use lifeboat_operations::{OperationError, RegionHolding, SnapshotRef, SnapshotReport, show};
use lifeboat_repository::Role;

use super::browse;
use crate::args::{Args, LookArgs};
use crate::exit::Exit;
use crate::table;

pub(super) async fn run(
    args: &Args,
    snapshot: &SnapshotRef,
    look: &LookArgs,
) -> Result<Exit, OperationError> {
    let session = browse::session(args, look)?;
    let place = browse::place(look);
    let (view, snapshot) = session.view_of(&place, snapshot, Role::Auditor).await?;
    let report = show(&session, &view, &snapshot).await?;
    if args.json {
        table::json(&report);
    } else {
        print(&report);
    }
    Ok(Exit::DONE)
}

fn print(report: &SnapshotReport) {
    let line = |name: &str, value: String| table::line(&format!("{name:<12}{value}"));
    line("snapshot", report.snapshot.to_string());
    line(
        "of",
        format!(
            "{}/{} ({}, {})",
            report.environment, report.source, report.class, report.source_kind
        ),
    );
    line("state of", format!("{:.3}", report.instant));
    let parent = report
        .parent
        .map(|id| format!(", compared with {}", id.short()));
    line(
        "taken",
        format!(
            "{} {}{}, from {:.0} to {:.0}",
            report.tier,
            report.kind,
            parent.unwrap_or_default(),
            report.started,
            report.finished
        ),
    );
    line("by", format!("{} on {}", report.program, report.host));
    let masked = if report.masked { "masked copy" } else { "raw" };
    line("data", masked.to_owned());
    let totals = &report.totals;
    line(
        "size",
        format!(
            "{} in {}; manifest {}",
            table::bytes(totals.bytes),
            table::counted(totals.entries, "item"),
            table::bytes(report.manifest_bytes)
        ),
    );
    line(
        "cost",
        format!(
            "{} read, {} new, {} stored",
            table::bytes(totals.bytes_read),
            table::bytes(totals.bytes_new),
            table::bytes(totals.bytes_stored)
        ),
    );
    for (name, fact) in &report.facts {
        show_fact(name, fact);
    }
    table::line("regions:");
    for region in &report.regions {
        table::line(&format!("  {:<12}{}", region.region, held(region)));
    }
    if !report.complete {
        let count = report.skipped.len() as u64;
        table::line(&format!(
            "INCOMPLETE: {} could not be read:",
            table::counted(count, "item")
        ));
        for item in &report.skipped {
            table::line(&format!("  {}: {}", item.path, item.reason));
        }
    }
}

/// Prints a fact; a database's fingerprint as its tables.
fn show_fact(name: &str, fact: &serde_json::Value) {
    let Some(tables) = fact.get("tables").and_then(|tables| tables.as_array()) else {
        let text = match fact {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        return table::line(&format!("fact {name}: {text}"));
    };
    table::line(&format!("fact {name}:"));
    for one in tables {
        let text = |key| {
            one.get(key)
                .map(|value| value.to_string())
                .unwrap_or_default()
        };
        let (name, rows) = (text("table"), text("rows"));
        table::line(&format!("  {:<24}{rows} rows", name.trim_matches('"')));
    }
}

fn held(region: &RegionHolding) -> String {
    match (&region.fault, region.present, &region.receipt) {
        (Some(fault), ..) => format!("cannot be asked: {fault}"),
        (None, false, _) => "not there".to_owned(),
        (None, true, Some(receipt)) => format!(
            "there, receipt of {:.0}: {} index objects, {} packs",
            receipt.received, receipt.index_objects, receipt.packs
        ),
        (None, true, None) if region.home => "there: its home".to_owned(),
        (None, true, None) => "its record is there, without a receipt".to_owned(),
    }
}

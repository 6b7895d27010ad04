//! The table of backups.

use lifeboat_operations::BackupReport;
use maud::{Markup, html};

use crate::figure::{human_bytes, human_secs, moment};

/// Shows the backups, with a bar of what was read and what of it had to be stored.
pub(crate) fn section(backups: &[BackupReport]) -> Markup {
    let longest = backups
        .iter()
        .map(|backup| backup.bytes_read.max(backup.bytes_stored))
        .max()
        .unwrap_or(0);
    html! {
        @if !backups.is_empty() {
            section aria-labelledby="backups" {
                h2 #backups { "Backups" }
                div.scroll tabindex="0" role="region" aria-labelledby="backups" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Source" }
                                th scope="col" { "Tier" }
                                th scope="col" { "Kind" }
                                th scope="col" { "Snapshot" }
                                th scope="col" { "State of" }
                                th.num scope="col" { "Read" }
                                th.num scope="col" { "Stored" }
                                th scope="col" {
                                    span.key.read { "read" } " " span.key.stored { "stored" }
                                }
                                th.num scope="col" { "Time" }
                            }
                        }
                        tbody { @for backup in backups { (row(backup, longest)) } }
                    }
                }
                @for backup in backups { (skipped(backup)) }
            }
        }
    }
}

fn row(backup: &BackupReport, longest: u64) -> Markup {
    html! {
        tr {
            th scope="row" { (backup.environment) "/" (backup.source) }
            td { (backup.tier) }
            td { (backup.kind) }
            td { code title=(backup.snapshot) { (backup.snapshot.short()) } }
            td { (moment(backup.instant)) }
            td.num { (human_bytes(backup.bytes_read)) }
            td.num { (human_bytes(backup.bytes_stored)) }
            td { (bars(backup, longest)) }
            td.num { (human_secs(backup.secs)) }
        }
    }
}

/// Draws what was read above what was stored, both on the scale of the whole table.
fn bars(backup: &BackupReport, longest: u64) -> Markup {
    let width = |bytes: u64| match bytes {
        0 => 0.0,
        // A little is still something to see.
        _ => (bytes as f64 / longest as f64 * 96.0).max(1.5),
    };
    let bar = |y: &str, bytes, class: &str| {
        let width = format!("{:.1}", width(bytes));
        html! { rect class=(class) x="0" y=(y) width=(width) height="5" rx="1.5" {} }
    };
    html! {
        svg.bars width="96" height="14" viewBox="0 0 96 14" aria-hidden="true" {
            (bar("1", backup.bytes_read, "read"))
            (bar("8", backup.bytes_stored, "stored"))
        }
    }
}

fn skipped(backup: &BackupReport) -> Markup {
    html! {
        @if !backup.skipped.is_empty() {
            div.warning {
                p { "Snapshot " code { (backup.snapshot.short()) } " lacks what could not be read:" }
                ul { @for item in &backup.skipped { li { code { (item) } } } }
            }
        }
    }
}

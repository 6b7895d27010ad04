//! `lifeboat diff`.

use lifeboat_model::SnapshotId;
use lifeboat_operations::{
    Change, DiffEntry, DiffSummary, OperationError, SnapshotRef, TableChange, diff, table_changes,
};
use lifeboat_repository::{Role, Snapshot};

use super::browse;
use crate::args::{Args, LookArgs};
use crate::exit::Exit;
use crate::table::{self, JsonList};

pub(super) async fn run(
    args: &Args,
    (before, after): (&SnapshotRef, &SnapshotRef),
    look: &LookArgs,
) -> Result<Exit, OperationError> {
    let session = browse::session(args, look)?;
    let place = browse::place(look);
    let (view, before) = session.view_of(&place, before, Role::Auditor).await?;
    let (_, after) = session.view_of(&place, after, Role::Auditor).await?;
    let tables = table_changes(&before, &after);
    if args.json {
        let id = |id: SnapshotId| serde_json::Value::from(id.to_string());
        let list = JsonList::open(
            &[("before", id(before.id)), ("after", id(after.id))],
            "entries",
        );
        let each = |entry: DiffEntry| list.item(&entry);
        let summary = diff(&view, (&before, &after), each).await?;

        let tables = table::value(&tables);
        list.close(&[("summary", table::value(&summary)), ("tables", tables)]);
    } else {
        show_names(&before, &after);
        let each = |entry: DiffEntry| table::line(&line(&entry));
        let summary = diff(&view, (&before, &after), each).await?;
        tables.iter().flatten().for_each(show_table);
        show(&summary);
    }
    Ok(Exit::DONE)
}

fn show_names(before: &Snapshot, after: &Snapshot) {
    for (sign, snapshot) in [("-", before), ("+", after)] {
        table::line(&format!(
            "{sign} {} {}/{} (state of {:.0})",
            snapshot.id.short(),
            snapshot.environment,
            snapshot.source,
            snapshot.instant
        ));
    }
}

fn line(entry: &DiffEntry) -> String {
    let path = &entry.path;
    let size = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), table::bytes);
    let (before, after) = (size(entry.size_before), size(entry.size_after));
    match entry.change {
        Change::Added => format!("added     {path} ({})", what(entry.kind_after, &after)),
        Change::Removed => format!("removed   {path} ({})", what(entry.kind_before, &before)),
        Change::Content if before == "-" => format!("changed   {path} (where it leads)"),
        Change::Content => format!("changed   {path} ({before} -> {after})"),
        Change::Kind => format!(
            "kind      {path} ({} -> {})",
            what(entry.kind_before, &before),
            what(entry.kind_after, &after)
        ),
        Change::Metadata => format!("metadata  {path} ({})", entry.metadata.join(", ")),
        Change::Same => format!("same      {path}"),
    }
}

fn what(kind: Option<&'static str>, size: &str) -> String {
    match kind {
        Some("file") => size.to_owned(),
        other => other.unwrap_or("-").to_owned(),
    }
}

fn show_table(change: &TableChange) {
    let name = &change.table;
    table::line(&match (change.rows_before, change.rows_after) {
        (None, rows) => format!("table     {name} (new, {} rows)", rows.unwrap_or(0)),
        (Some(rows), None) => format!("table     {name} (gone, it had {rows} rows)"),
        (Some(before), Some(after)) if before == after => {
            format!("table     {name} ({after} rows, with other values)")
        }
        (Some(before), Some(after)) => format!("table     {name} ({before} -> {after} rows)"),
    });
}

fn show(summary: &DiffSummary) {
    table::line(&format!(
        "{} added ({}), {} removed ({}), {} changed ({} -> {}), {} with other metadata, {} the same",
        summary.added,
        table::bytes(summary.bytes_added),
        summary.removed,
        table::bytes(summary.bytes_removed),
        summary.content + summary.kind,
        table::bytes(summary.bytes_changed_before),
        table::bytes(summary.bytes_changed_after),
        summary.metadata,
        summary.same,
    ));
}

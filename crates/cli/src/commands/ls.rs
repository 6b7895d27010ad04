//! `lifeboat ls`.

use lifeboat_model::EntryPath;
use lifeboat_operations::{EntryView, OperationError, SnapshotRef, list_entries};
use lifeboat_repository::Role;

use super::browse;
use crate::args::{Args, LookArgs};
use crate::exit::Exit;
use crate::table::{self, JsonList};

pub(super) async fn run(
    args: &Args,
    snapshot: &SnapshotRef,
    path: &str,
    recursive: bool,
    look: &LookArgs,
) -> Result<Exit, OperationError> {
    let path = entry_path(path)?;
    let session = browse::session(args, look)?;
    let place = browse::place(look);
    let (view, snapshot) = session.view_of(&place, snapshot, Role::Auditor).await?;
    if args.json {
        let head = [("snapshot", snapshot.id.to_string().into())];
        let list = JsonList::open(&head, "entries");
        let each = |entry: EntryView| list.item(&entry);
        let count = list_entries(&view, &snapshot, &path, recursive, each).await?;
        list.close(&[("count", count.into())]);
    } else {
        let each = |entry: EntryView| table::line(&line(&entry));
        list_entries(&view, &snapshot, &path, recursive, each).await?;
    }
    Ok(Exit::DONE)
}

/// Reads a path as people type it: `/etc/`, `./etc` and `etc` are one.
fn entry_path(text: &str) -> Result<EntryPath, OperationError> {
    let trimmed = text.trim_matches('/');
    let trimmed = trimmed.strip_prefix("./").unwrap_or(trimmed);
    let bytes = if trimmed == "." { "" } else { trimmed };
    EntryPath::new(bytes).map_err(|error| OperationError::Usage {
        message: error.to_string(),
        hint: "paths begin inside the source: `app.toml`, not `config/app.toml`".to_owned(),
    })
}

fn line(entry: &EntryView) -> String {
    let modified = entry
        .modified
        .map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let size = entry
        .size
        .map_or_else(|| "-".to_owned(), |size| size.to_string());
    let target = match (&entry.target, entry.kind) {
        (Some(target), "hardlink") => format!(" = {target}"),
        (Some(target), _) => format!(" -> {target}"),
        (None, "folder") => "/".to_owned(),
        (None, _) => String::new(),
    };
    format!(
        "{}{} {:>5} {:>5} {size:>12} {modified:<20} {}{target}",
        browse::mode(entry.kind, entry.mode),
        if entry.xattrs > 0 { '@' } else { ' ' },
        entry.uid,
        entry.gid,
        entry.path,
    )
}

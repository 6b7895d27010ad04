//! What changed between two snapshots.

use std::collections::BTreeMap;

use lifeboat_model::EntryKind;
use lifeboat_repository::{Pair, Snapshot, StoredEntry};
use lifeboat_source_sqlite::DatabaseFingerprint;
use serde::Serialize;

use super::View;
use super::entries::kind_name;
use crate::error::OperationError;
use crate::sqlite::FINGERPRINT_FACT;

/// How an entry of one snapshot relates to that of another under the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the later one has it.
    Added,
    /// Only the earlier one has it.
    Removed,
    /// The bytes of a file, or the target of a link, differ.
    Content,
    /// Only permissions, owner, time or extended attributes differ.
    Metadata,
    /// It became another kind of thing.
    Kind,
    /// Nothing differs that a restore would bring back.
    Same,
}

/// One path under which two snapshots differ.
#[derive(Debug, Clone, Serialize)]
pub struct DiffEntry {
    /// The path.
    pub path: String,
    /// How they differ.
    pub change: Change,
    /// What it is in the earlier snapshot.
    pub kind_before: Option<&'static str>,
    /// What it is in the later one.
    pub kind_after: Option<&'static str>,
    /// Length in the earlier one, bytes.
    pub size_before: Option<u64>,
    /// Length in the later one, bytes.
    pub size_after: Option<u64>,
    /// Which metadata differs: `mode`, `owner`, `modified`, `xattrs`.
    pub metadata: Vec<&'static str>,
}

/// How much changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiffSummary {
    /// Entries that only the later snapshot has.
    pub added: u64,
    /// Entries that only the earlier one has.
    pub removed: u64,
    /// Entries with other content.
    pub content: u64,
    /// Entries with other metadata only.
    pub metadata: u64,
    /// Entries that became something else.
    pub kind: u64,
    /// Entries in which nothing differs.
    pub same: u64,
    /// Bytes of the files that were added.
    pub bytes_added: u64,
    /// Bytes of the files that were removed.
    pub bytes_removed: u64,
    /// Bytes that the changed files had before.
    pub bytes_changed_before: u64,
    /// Bytes that they have after.
    pub bytes_changed_after: u64,
}

/// A table that differs between two snapshots of a database, by what was counted at the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// The table.
    pub table: String,
    /// Rows it had before; `None` if it was not there.
    pub rows_before: Option<u64>,
    /// Rows it has after; `None` if it is gone.
    pub rows_after: Option<u64>,
}

/// Compares two snapshots of one repository in path order and gives each difference to `each`.
///
/// # Errors
/// Fails if a manifest is damaged; what was given before stands.
pub async fn diff(
    view: &View,
    (before, after): (&Snapshot, &Snapshot),
    mut each: impl FnMut(DiffEntry),
) -> Result<DiffSummary, OperationError> {
    let browser = view.repository.browse().await?;
    let mut comparison = browser.compare(Some(before), Some(after));
    let mut summary = DiffSummary::default();
    while let Some(pair) = comparison.next().await? {
        let entry = compare(&pair);
        summary.count(&entry);
        if entry.change != Change::Same {
            each(entry);
        }
    }
    Ok(summary)
}

impl DiffSummary {
    fn count(&mut self, entry: &DiffEntry) {
        let before = entry.size_before.unwrap_or(0);
        let after = entry.size_after.unwrap_or(0);
        match entry.change {
            Change::Added => {
                self.added += 1;
                self.bytes_added += after;
            }
            Change::Removed => {
                self.removed += 1;
                self.bytes_removed += before;
            }
            Change::Content | Change::Kind => {
                let count = match entry.change {
                    Change::Kind => &mut self.kind,
                    _ => &mut self.content,
                };
                *count += 1;
                self.bytes_changed_before += before;
                self.bytes_changed_after += after;
            }
            Change::Metadata => self.metadata += 1,
            Change::Same => self.same += 1,
        }
    }
}

/// Decides how two entries differ.
pub(super) fn compare(pair: &Pair) -> DiffEntry {
    let (before, after) = (pair.before.as_ref(), pair.after.as_ref());
    let (change, metadata) = match (before, after) {
        (Some(before), Some(after)) => change_of(before, after),
        (None, _) => (Change::Added, Vec::new()),
        (_, None) => (Change::Removed, Vec::new()),
    };
    let path = before.or(after).map(|stored| stored.entry.path.to_string());
    let kind = |stored: &StoredEntry| kind_name(&stored.entry.kind);
    DiffEntry {
        path: path.unwrap_or_default(),
        change,
        kind_before: before.map(kind),
        kind_after: after.map(kind),
        size_before: before.and_then(StoredEntry::size),
        size_after: after.and_then(StoredEntry::size),
        metadata,
    }
}

fn change_of(before: &StoredEntry, after: &StoredEntry) -> (Change, Vec<&'static str>) {
    let metadata = metadata_changes(before, after);
    let (old, new) = (&before.entry.kind, &after.entry.kind);
    let change = if kind_name(old) != kind_name(new) {
        Change::Kind
    } else if !same_content(before, after) {
        Change::Content
    } else if metadata.is_empty() {
        Change::Same
    } else {
        Change::Metadata
    };
    (change, metadata)
}

fn same_content(before: &StoredEntry, after: &StoredEntry) -> bool {
    match (&before.entry.kind, &after.entry.kind) {
        (EntryKind::File { .. }, EntryKind::File { .. }) => before.same_content(after),
        (one, other) => one == other,
    }
}

/// Names what differs of what a restore would bring back: not inode and ctime, which it cannot.
fn metadata_changes(before: &StoredEntry, after: &StoredEntry) -> Vec<&'static str> {
    let (old, new) = (&before.entry.metadata, &after.entry.metadata);
    [
        ("mode", old.mode != new.mode),
        ("owner", (old.uid, old.gid) != (new.uid, new.gid)),
        ("modified", old.mtime_ns != new.mtime_ns),
        ("xattrs", old.xattrs != new.xattrs),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// Compares the fingerprints of two snapshots of databases; `None` if one of them has none.
pub fn table_changes(before: &Snapshot, after: &Snapshot) -> Option<Vec<TableChange>> {
    let (before, after) = (fingerprint(before)?, fingerprint(after)?);
    let tables = |fingerprint: DatabaseFingerprint| -> BTreeMap<_, _> {
        let tables = fingerprint.tables.into_iter();
        tables
            .map(|table| (table.table, (table.rows, table.checksum)))
            .collect()
    };
    let (before, after) = (tables(before), tables(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differs = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    let rows = |tables: &BTreeMap<String, (u64, String)>, name| tables.get(name).map(|t| t.0);
    Some(
        differs
            .map(|name| TableChange {
                table: name.clone(),
                rows_before: rows(&before, name),
                rows_after: rows(&after, name),
            })
            .collect(),
    )
}

fn fingerprint(snapshot: &Snapshot) -> Option<DatabaseFingerprint> {
    serde_json::from_str(snapshot.facts.get(FINGERPRINT_FACT)?).ok()
}

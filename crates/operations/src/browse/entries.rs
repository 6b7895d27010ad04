//! The entries of a snapshot, as a folder listing shows them.

use jiff::Timestamp;
use lifeboat_model::{Entry, EntryKind, EntryPath};
use lifeboat_repository::{Snapshot, StoredEntry};
use serde::Serialize;

use super::View;
use crate::error::OperationError;

/// An entry as people and pipelines read it.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// Where it is in the source; bytes that are no text are escaped.
    pub path: String,
    /// `file`, `folder`, `symlink`, `hardlink`, `pipe`, `socket`, `block device`, `character device`.
    pub kind: &'static str,
    /// Length, bytes. Only files have one.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Last change of the content.
    pub modified: Option<Timestamp>,
    /// Where a symbolic link leads, or the first name of a hard-linked file.
    pub target: Option<String>,
    /// Number of extended attributes.
    pub xattrs: usize,
}

impl EntryView {
    /// Shows a stored entry.
    pub(super) fn of(stored: &StoredEntry) -> Self {
        let Entry {
            path,
            kind,
            metadata,
        } = &stored.entry;
        let target = match kind {
            EntryKind::Symlink { target } => Some(target.escape_ascii().to_string()),
            EntryKind::Hardlink { first } => Some(first.to_string()),
            _ => None,
        };
        Self {
            path: path.to_string(),
            kind: kind_name(kind),
            size: stored.size(),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            modified: Timestamp::from_nanosecond(i128::from(metadata.mtime_ns)).ok(),
            target,
            xattrs: metadata.xattrs.len(),
        }
    }
}

pub(super) fn kind_name(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "folder",
        EntryKind::File { .. } => "file",
        EntryKind::Symlink { .. } => "symlink",
        EntryKind::Hardlink { .. } => "hardlink",
        EntryKind::Fifo => "pipe",
        EntryKind::Socket => "socket",
        EntryKind::Device { block: true, .. } => "block device",
        EntryKind::Device { block: false, .. } => "character device",
    }
}

/// Gives the entries of a folder to `each`, with all that is below it if `recursive`; of anything
/// but a folder, the entry itself. Returns how many there were.
///
/// # Errors
/// Fails if there is nothing at `path`, or the manifest is damaged; what was given before stands.
pub async fn list_entries(
    view: &View,
    snapshot: &Snapshot,
    path: &EntryPath,
    recursive: bool,
    mut each: impl FnMut(EntryView),
) -> Result<u64, OperationError> {
    let browser = view.repository.browse().await?;
    let mut entries = browser.entries(snapshot);
    let (mut found, mut count) = (path.is_root(), 0);
    while let Some(stored) = entries.next().await? {
        let place = Place::of(&stored.entry.path, path);
        match place {
            Place::Itself => {
                found = true;
                if matches!(stored.entry.kind, EntryKind::Directory) {
                    continue;
                }
            }
            Place::Child => {}
            Place::Deeper if recursive => {}
            Place::Deeper => continue,
            Place::Elsewhere if stored.entry.path > *path => break,
            Place::Elsewhere => continue,
        }
        count += 1;
        each(EntryView::of(&stored));
    }
    if found {
        return Ok(count);
    }
    Err(OperationError::Usage {
        message: format!("snapshot {} holds nothing at `{path}`", snapshot.id.short()),
        hint: format!(
            "`lifeboat ls {}` lists its topmost folder",
            snapshot.id.short()
        ),
    })
}

/// Where an entry is, seen from a folder.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Itself,
    Child,
    Deeper,
    Elsewhere,
}

impl Place {
    fn of(entry: &EntryPath, folder: &EntryPath) -> Self {
        let (entry, folder) = (entry.as_bytes(), folder.as_bytes());
        if entry == folder {
            return Self::Itself;
        }
        let below = match folder {
            [] => Some(entry),
            _ => entry
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix(b"/")),
        };
        match below {
            None => Self::Elsewhere,
            Some(rest) if rest.contains(&b'/') => Self::Deeper,
            Some(_) => Self::Child,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_to_be_in_a_folder_or_beside_it() {
        let place = |entry: &str, folder: &str| {
            Place::of(
                &EntryPath::new(entry).unwrap(),
                &EntryPath::new(folder).unwrap(),
            )
        };
        assert_eq!(place("", ""), Place::Itself);
        assert_eq!(place("a", ""), Place::Child);
        assert_eq!(place("a/b", ""), Place::Deeper);
        assert_eq!(place("a/b", "a"), Place::Child);
        assert_eq!(place("a/b/c", "a"), Place::Deeper);
        assert_eq!(place("ab", "a"), Place::Elsewhere);
        assert_eq!(place("", "a"), Place::Elsewhere);
    }
}

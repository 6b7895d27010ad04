//! Files with several names: which one is the file, and which are links to it.

use std::collections::HashMap;

use lifeboat_model::{EntryKind, EntryPath};

use crate::found::Found;

/// The first names seen, of files that have several; files with one name take no room here.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<(u64, u64), FirstName>);

/// A first name, with what tells its file from a later one that reuses the inode.
#[derive(Debug)]
struct FirstName {
    path: EntryPath,
    size: u64,
    mtime_ns: i64,
}

impl Links {
    /// Turns a later name of a known file into a hard link, and remembers a first one.
    pub(crate) fn judge(&mut self, found: &mut Found) {
        let (Some(key), EntryKind::File { size }) = (found.shared, &found.entry.kind) else {
            return;
        };
        let mtime_ns = found.entry.metadata.mtime_ns;
        match self.0.get(&key) {
            Some(first) if first.size == *size && first.mtime_ns == mtime_ns => {
                let first = first.path.clone();
                found.entry.kind = EntryKind::Hardlink { first };
            }
            _ => {
                let first = FirstName {
                    path: found.entry.path.clone(),
                    size: *size,
                    mtime_ns,
                };
                self.0.insert(key, first);
            }
        }
    }

    /// Forgets a first name, so that the next one becomes the file.
    pub(crate) fn forget(&mut self, found: &Found) {
        if let Some(key) = found.shared
            && self
                .0
                .get(&key)
                .is_some_and(|first| first.path == found.entry.path)
        {
            self.0.remove(&key);
        }
    }
}

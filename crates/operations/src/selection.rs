//! The entries of a snapshot that a restore was asked for, in path order and in bounded memory.
//!
//! Owns what `--path` means besides the entries it names: the folders that lead to them come along,
//! and a link whose file was not asked for brings the content itself.

use std::collections::{HashMap, VecDeque};

use lifeboat_model::{EntryKind, EntryPath};
use lifeboat_repository::{Entries, Snapshot, SnapshotReader, StoredEntry};
use lifeboat_source_files::PathFilter;

use crate::error::OperationError;

/// What a restore will bring.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Amount {
    /// Entries that were asked for; folders that only lead to them are not counted.
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// The entries asked for, read one by one.
pub(crate) struct Selection<'a> {
    filter: &'a PathFilter,
    /// Only what lies in this folder is selected, and seen from there.
    folder: EntryPath,
    entries: Entries,
    /// Folders on the way that were not asked for themselves: they come once something in them does.
    withheld: Vec<StoredEntry>,
    ready: VecDeque<StoredEntry>,
    firsts: HashMap<EntryPath, First>,
}

/// A file that was not asked for, but some link to it was.
#[derive(Debug)]
enum First {
    /// It was not met yet.
    Ahead,
    /// Its content waits for the first link that was asked for.
    Held(Box<StoredEntry>),
    /// That link has the content now.
    Given(EntryPath),
}

impl<'a> Selection<'a> {
    /// Prepares the selection and says how much it is. With a filter this reads the manifest once.
    pub(crate) async fn open(
        reader: &SnapshotReader,
        snapshot: &Snapshot,
        filter: &'a PathFilter,
    ) -> Result<(Self, Amount), OperationError> {
        let mut selection = Self::within(reader, EntryPath::root(), filter);
        if filter.is_all() {
            let (entries, bytes) = (snapshot.totals.entries, snapshot.totals.bytes);
            return Ok((selection, Amount { entries, bytes }));
        }
        let mut amount = Amount::default();
        while let Some(stored) = selection.entries.next().await? {
            if !selection.asked_for(&stored) {
                continue;
            }
            amount.entries += 1;
            match &stored.entry.kind {
                EntryKind::File { size } => amount.bytes += size,
                EntryKind::Hardlink { first } if !filter.is_match(first, false) => {
                    selection.firsts.insert(first.clone(), First::Ahead);
                }
                _ => {}
            }
        }
        selection.entries = reader.entries();
        Ok((selection, amount))
    }

    /// Selects what lies in one folder of the snapshot, as if that were all of it.
    pub(crate) fn within(
        reader: &SnapshotReader,
        folder: EntryPath,
        filter: &'a PathFilter,
    ) -> Self {
        Self {
            filter,
            folder,
            entries: reader.entries(),
            withheld: Vec::new(),
            ready: VecDeque::new(),
            firsts: HashMap::new(),
        }
    }

    /// Returns the next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredEntry>, OperationError> {
        loop {
            if let Some(stored) = self.ready.pop_front() {
                return Ok(Some(stored));
            }
            let Some(mut stored) = self.entries.next().await? else {
                return Ok(None);
            };
            let Some(path) = stored.entry.path.within(&self.folder) else {
                continue;
            };
            stored.entry.path = path;
            if let EntryKind::Hardlink { first } = &mut stored.entry.kind
                && let Some(inside) = first.within(&self.folder)
            {
                *first = inside;
            }
            if self.filter.is_all() {
                return Ok(Some(stored));
            }
            self.consider(stored);
        }
    }

    fn asked_for(&self, stored: &StoredEntry) -> bool {
        let is_folder = stored.entry.kind == EntryKind::Directory;
        self.filter.is_match(&stored.entry.path, is_folder)
    }

    fn consider(&mut self, mut stored: StoredEntry) {
        let path = &stored.entry.path;
        while let Some(folder) = self.withheld.last()
            && path.within(&folder.entry.path).is_none()
        {
            self.withheld.pop();
        }
        if self.asked_for(&stored) {
            self.ready.extend(self.withheld.drain(..));
            if let EntryKind::Hardlink { first } = &stored.entry.kind
                && let Some(file) = self.firsts.get_mut(first)
            {
                stored = file.serve(stored);
            }
            self.ready.push_back(stored);
        } else if stored.entry.kind == EntryKind::Directory {
            self.withheld.push(stored);
        } else if let Some(first) = self.firsts.get_mut(path) {
            *first = First::Held(Box::new(stored));
        }
    }
}

impl First {
    /// Turns a link to this file into the file, if it is the first that comes, or else into a link
    /// to that.
    fn serve(&mut self, mut link: StoredEntry) -> StoredEntry {
        let path = link.entry.path.clone();
        match std::mem::replace(self, Self::Given(path.clone())) {
            Self::Held(mut file) => {
                file.entry.path = path;
                *file
            }
            Self::Given(first) => {
                link.entry.kind = EntryKind::Hardlink {
                    first: first.clone(),
                };
                *self = Self::Given(first);
                link
            }
            // A manifest that lies: its link comes before its file, and cannot be made.
            Self::Ahead => link,
        }
    }
}

//! Two snapshots side by side: both manifests are in path order, so they are read in step.

use crate::browse::EntryReader;
use crate::error::RepositoryError;
use crate::manifest::StoredEntry;

/// What two snapshots hold under one path. At least one of them holds something.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The entry in the first snapshot.
    pub before: Option<StoredEntry>,
    /// The entry in the second.
    pub after: Option<StoredEntry>,
}

/// Reads two snapshots in step.
pub struct Comparison {
    before: Side,
    after: Side,
}

/// One of the two, with the entry that was read ahead.
struct Side {
    reader: Option<EntryReader>,
    next: Option<StoredEntry>,
}

impl Side {
    async fn fill(&mut self) -> Result<(), RepositoryError> {
        if self.next.is_none()
            && let Some(reader) = &mut self.reader
        {
            self.next = reader.next().await?;
            if self.next.is_none() {
                self.reader = None;
            }
        }
        Ok(())
    }
}

impl Comparison {
    pub(super) fn new(before: Option<EntryReader>, after: Option<EntryReader>) -> Self {
        let side = |reader| Side { reader, next: None };
        Self {
            before: side(before),
            after: side(after),
        }
    }

    /// Returns what both hold under the next path, or `None` at the end.
    ///
    /// # Errors
    /// Fails if part of a manifest is missing or damaged.
    pub async fn next(&mut self) -> Result<Option<Pair>, RepositoryError> {
        self.before.fill().await?;
        self.after.fill().await?;
        let path = |side: &Side| side.next.as_ref().map(|stored| stored.entry.path.clone());
        let (before, after) = (path(&self.before), path(&self.after));
        let first = match (&before, &after) {
            (None, None) => return Ok(None),
            (Some(one), Some(other)) => one.min(other).clone(),
            (Some(one), None) | (None, Some(one)) => one.clone(),
        };
        let mut take = |side: fn(&mut Self) -> &mut Side, path: Option<_>| {
            (path.as_ref() == Some(&first))
                .then(|| side(self).next.take())
                .flatten()
        };
        Ok(Some(Pair {
            before: take(|both| &mut both.before, before),
            after: take(|both| &mut both.after, after),
        }))
    }
}

impl StoredEntry {
    /// Reports whether two files hold the same bytes, by the hashes of what they are made of.
    ///
    /// Database files are stored page by page where little changed, so they are compared by their
    /// page maps. A hole and the same stretch of stored zeros count as different.
    pub fn same_content(&self, other: &StoredEntry) -> bool {
        match (&self.content, &other.content) {
            (None, None) => true,
            (Some(one), Some(two)) => match (&one.pages, &two.pages) {
                (Some(one), Some(two)) => self.size() == other.size() && one == two,
                _ => one.chunks == two.chunks && one.extents == two.extents,
            },
            _ => false,
        }
    }

    /// Returns the length of a file, bytes; `None` for anything else.
    pub fn size(&self) -> Option<u64> {
        match self.entry.kind {
            lifeboat_model::EntryKind::File { size } => Some(size),
            _ => None,
        }
    }
}

//! Brings a tree that is there already to the state of a snapshot.
//!
//! Owns how something is replaced: what is new is made whole under a name of its own and takes the
//! old one's by a rename, so that whoever looks, or wherever it is cut off, sees the old or the new.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::attributes;
use crate::beneath;
use crate::error::{FileProblem, FilesError};
use crate::mark::Mark;
use crate::remove::remove_at;
use crate::slot;
use crate::writer::{TreeReport, TreeWriter};

/// Names that nothing in a snapshot has, different for each run.
#[derive(Debug)]
pub(crate) struct TemporaryNames {
    run: String,
    used: AtomicU64,
}

impl TemporaryNames {
    pub(crate) fn next(&self) -> Vec<u8> {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        format!(".lifeboat-restoring-{}-{number}", self.run).into_bytes()
    }
}

impl TreeWriter {
    /// Opens the folder `target` with what is in it. `run` tells this run's temporary names from
    /// those of any other.
    ///
    /// What is added replaces what has the name; what stays is told by [`TreeWriter::keep`], what is
    /// too much by [`TreeWriter::remove`].
    ///
    /// # Errors
    /// Fails if `target` is no folder or cannot be opened.
    pub fn update(target: &Path, run: &str) -> Result<TreeWriter, FilesError> {
        let names = TemporaryNames {
            run: run.to_owned(),
            used: AtomicU64::new(0),
        };
        Self::open(target, Some(names))
    }

    /// Removes an entry and everything below it; one that is not there is fine.
    ///
    /// # Errors
    /// Fails if the system does not let go of it, or another file system is mounted there.
    pub fn remove(&self, path: &EntryPath) -> Result<(), FileProblem> {
        let problem = |error| FileProblem::new(path, "remove", error);
        let (parent, name) = beneath::split(path).ok_or_else(|| problem(Errno::BUSY))?;
        let folder = self.folder(&parent).map_err(problem)?;
        remove_at(folder.as_fd(), name).map_err(problem)
    }

    /// Gives an entry that stays the metadata that it should have. A folder gets it at the end, and
    /// until then lets its owner in.
    ///
    /// # Errors
    /// Fails if the entry cannot be opened or the system refuses.
    pub fn keep(&self, entry: &Entry, now: &Metadata) -> Result<(), FileProblem> {
        let problem = |error| FileProblem::new(&entry.path, "adjust", error);
        match entry.kind {
            EntryKind::Directory => {
                if now.mode & 0o700 != 0o700 {
                    self.let_owner_in(entry, now).map_err(problem)?;
                }
                self.add(entry)
            }
            _ => self.adjust(entry).map_err(problem),
        }
    }

    /// Finishes a tree as [`TreeWriter::finish`] does, and takes its mark away once all else is
    /// durable.
    ///
    /// # Errors
    /// Fails if the system cannot make the tree durable.
    pub fn finish_update(self, mark: Mark) -> Result<TreeReport, FilesError> {
        self.add_hardlinks();
        self.finish_folders(|path| !path.is_root());
        self.sync()?;
        mark.clear()?;
        // Taking the mark away touched the root's time.
        self.finish_folders(EntryPath::is_root);
        rustix::fs::fsync(&self.root)
            .map_err(|error| FilesError::io("flush", &self.target, error))?;
        Ok(self.into_report())
    }

    fn let_owner_in(&self, entry: &Entry, now: &Metadata) -> Result<(), Errno> {
        let folder = beneath::open(self.root.as_fd(), &entry.path, beneath::FOLDER)?;
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(now.mode | 0o700))
    }

    fn adjust(&self, entry: &Entry) -> Result<(), Errno> {
        let (parent, name) = beneath::split(&entry.path).ok_or(Errno::ISDIR)?;
        let folder = self.folder(&parent)?;
        if !matches!(entry.kind, EntryKind::File { .. }) {
            refuse_swapped(folder.as_fd(), name, &entry.kind)?;
            return slot::apply_at(folder.as_fd(), name, entry, &self.losses);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*folder, name, flags, Mode::empty())?;
        attributes::remove_others(file.as_fd(), &entry.metadata.xattrs);
        slot::apply(file.as_fd(), &entry.metadata, &self.losses)
    }
}

/// Permissions of what cannot be opened are set by name, which must not have become a link.
fn refuse_swapped(folder: BorrowedFd<'_>, name: &[u8], kind: &EntryKind) -> Result<(), Errno> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    match is_link == matches!(kind, EntryKind::Symlink { .. }) {
        true => Ok(()),
        false => Err(Errno::LOOP),
    }
}

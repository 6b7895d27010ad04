//! Gives a tree that was made in private the name it is meant for.
//!
//! Owns the order: everything is durable before the name appears; must never replace anything.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lifeboat_model::EntryPath;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::FilesError;
use crate::writer::{TreeReport, TreeWriter};

impl TreeWriter {
    /// Finishes the tree as [`TreeWriter::finish`] does and gives it the name `target`, which nothing
    /// has and which lies on the same file system: one rename, so that the name never means less than
    /// the whole tree.
    ///
    /// # Errors
    /// Fails if the system cannot make the tree durable, or something has taken the name.
    pub fn finish_as(mut self, target: &Path) -> Result<TreeReport, FilesError> {
        self.add_hardlinks();
        // A folder that its owner may not write to cannot be moved by him.
        self.finish_folders(|path| !path.is_root());
        self.sync()?;
        rename_new(&self.target, target)?;
        target.clone_into(&mut self.target);
        self.finish_folders(EntryPath::is_root);
        self.sync_root()?;
        sync_parent(target)?;
        Ok(self.into_report())
    }

    /// Finishes the tree and moves what is in it into the folder `target`, which holds nothing of
    /// these names: one rename for each, after all of it is durable. `emptied` is called when nothing
    /// is left here, and before `target` gets its own metadata.
    ///
    /// # Errors
    /// Fails as [`TreeWriter::finish_as`] does.
    pub fn finish_into(
        mut self,
        target: &Path,
        emptied: impl FnOnce(),
    ) -> Result<TreeReport, FilesError> {
        self.add_hardlinks();
        let deep = |path: &EntryPath| path.as_bytes().contains(&b'/');
        self.finish_folders(deep);
        self.sync()?;
        let failed = |op, error: std::io::Error| FilesError::io(op, target, error);
        let listed = std::fs::read_dir(&self.target).map_err(|error| failed("list", error))?;
        for entry in listed {
            let name = entry.map_err(|error| failed("list", error))?.file_name();
            if name == "lost+found" && target.join(&name).is_dir() {
                // The target is the root of a file system, which keeps its own.
                continue;
            }
            rename_new(&self.target.join(&name), &target.join(&name))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.root = rustix::fs::open(target, flags, Mode::empty())
            .map_err(|error| failed("open", error.into()))?;
        target.clone_into(&mut self.target);
        self.finish_folders(|path| !deep(path) && !path.is_root());
        emptied();
        self.finish_folders(EntryPath::is_root);
        self.sync_root()?;
        Ok(self.into_report())
    }

    fn sync_root(&self) -> Result<(), FilesError> {
        rustix::fs::fsync(self.root.as_fd())
            .map_err(|error| FilesError::io("flush", &self.target, error))
    }
}

/// Renames without ever overwriting, even what appears at the last moment.
fn rename_new(from: &Path, to: &Path) -> Result<(), FilesError> {
    let moved = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system lacks the flag; the name was free a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(from, to),
        answer => answer,
    };
    moved.map_err(|error| FilesError::io("move the restored tree to", to, error))
}

pub(crate) fn sync_parent(target: &Path) -> Result<(), FilesError> {
    let parent = target
        .parent()
        .filter(|parent| *parent != OsStr::from_bytes(b""));
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| FilesError::io("flush", parent, error))
}

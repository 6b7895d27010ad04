//! One entry that a walk came upon.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use lifeboat_model::{Entry, EntryKind, EntryPath};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::attributes::{AttributeReader, Attributes};
use crate::beneath;
use crate::error::FileProblem;
use crate::reader::ContentReader;

/// An entry of a walked folder, with the means to read it.
///
/// Holds no open file of its own, so that any number may be queued and opened by other threads.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry as it was when the walk passed.
    pub entry: Entry,
    pub(crate) root: Arc<OwnedFd>,
    /// Device and inode of a file that has other names.
    pub(crate) shared: Option<(u64, u64)>,
}

impl Found {
    /// Opens the content of a regular file.
    ///
    /// # Errors
    /// Fails if the file is gone ([`FileProblem::is_vanished`]), may not be read, or is no longer a
    /// regular file.
    pub fn open(&self) -> Result<ContentReader, FileProblem> {
        let path = &self.entry.path;
        let problem = |error: std::io::Error| FileProblem::new(path, "open", error);
        if !matches!(self.entry.kind, EntryKind::File { .. }) {
            return Err(problem(Errno::INVAL.into()));
        }
        let file = File::from(self.open_quietly().map_err(|errno| problem(errno.into()))?);
        let stat = rustix::fs::fstat(&file).map_err(|errno| problem(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            // Something else took the name: the file that was listed is gone.
            return Err(problem(Errno::NOENT.into()));
        }
        Ok(ContentReader::new(file, path.clone(), stat))
    }

    /// Reports whether the file has other names, be they in the walked folder or elsewhere.
    pub fn has_other_names(&self) -> bool {
        self.shared.is_some()
    }

    /// Reads the extended attributes of the entry, for walks that leave them out
    /// ([`crate::FilesOptions::xattrs`]) because most entries are known to be unchanged.
    ///
    /// # Errors
    /// Fails if the entry is gone or its folder may not be read.
    pub fn xattrs(&self) -> Result<Attributes, FileProblem> {
        let (folder, name) = match beneath::split(&self.entry.path) {
            Some((folder, name)) => (folder, name),
            None => (EntryPath::root(), b".".as_slice()),
        };
        beneath::open(self.root.as_fd(), &folder, beneath::FOLDER)
            .and_then(|folder| AttributeReader::new().read(folder.as_fd(), name))
            .map_err(|error| FileProblem::new(&self.entry.path, "read attributes of", error))
    }

    /// Opens without leaving a trace in atime where the system lets us: that is the owner's right.
    fn open_quietly(&self) -> Result<OwnedFd, Errno> {
        // NONBLOCK: if a pipe took the name meanwhile, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match beneath::open(self.root.as_fd(), &self.entry.path, flags | OFlags::NOATIME) {
            Err(Errno::PERM) => beneath::open(self.root.as_fd(), &self.entry.path, flags),
            answer => answer,
        }
    }
}

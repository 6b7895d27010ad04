//! A file that says, as long as it is there, that a folder is between two states.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::FilesError;

/// The mark of a folder, held by whoever changes it. Dropped, it stays.
#[derive(Debug)]
pub struct Mark {
    folder: OwnedFd,
    path: PathBuf,
    name: String,
    /// Locked, so that two cannot hold it.
    _file: File,
}

impl Mark {
    /// Marks `folder` with a file called `name`, or takes over a mark that nobody holds; returns
    /// `None` if somebody does.
    ///
    /// # Errors
    /// Fails if the system does not let us write there, or the name leads elsewhere.
    pub fn set(folder: &Path, name: &str, text: &str) -> Result<Option<Self>, FilesError> {
        let path = folder.join(name);
        let failed = |error: std::io::Error| FilesError::io("write", &path, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty());
        let folder = folder.map_err(|error| failed(error.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(fd.map_err(|error| failed(error.into()))?);
        let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
        if stat.st_nlink != 1 {
            // Another name of a file that is none of ours.
            return Err(failed(Errno::MLINK.into()));
        }
        if file.try_lock().is_err() {
            return Ok(None);
        }
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(Some(Self {
            folder,
            path,
            name: name.to_owned(),
            _file: file,
        }))
    }

    pub(crate) fn clear(self) -> Result<(), FilesError> {
        rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty())
            .map_err(|error| FilesError::io("remove", &self.path, error))
    }
}

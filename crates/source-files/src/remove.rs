//! Removes what a tree holds too much.
//!
//! Everything is reached through the descriptor of the folder it lies in, so a link is removed and
//! never followed; must never enter another file system, which somebody mounted there for a reason.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, RawDir};
use rustix::io::Errno;

use crate::beneath;
use crate::error::FilesError;

/// Buffer for listing a folder, bytes.
const LISTING_BYTES: usize = 16 * 1024;

/// Removes `name` from `folder`, and everything below it. Fails with `XDEV` before anything of a
/// mounted file system is touched.
pub(crate) fn remove_at(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        answer => answer?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    if rustix::fs::fstat(folder)?.st_dev != stat.st_dev {
        return Err(Errno::XDEV);
    }
    let inner = rustix::fs::openat(folder, name, beneath::FOLDER, Mode::empty())?;
    if stat.st_mode & 0o700 != 0o700 {
        // Its owner may give himself back what he needs to empty it.
        rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o700))?;
    }
    for name in names(&inner)? {
        remove_at(inner.as_fd(), &name)?;
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Removes the folder `path` with everything in it; one that is not there is fine.
///
/// # Errors
/// Fails if the system does not let go of something, or another file system is mounted in it.
pub fn remove_tree(path: &Path) -> Result<(), FilesError> {
    let failed = |error: Errno| FilesError::io("remove", path, error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(Errno::BUSY));
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let folder = match rustix::fs::open(parent, beneath::FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        answer => answer.map_err(failed)?,
    };
    remove_at(folder.as_fd(), name.as_bytes()).map_err(failed)
}

fn names(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut listing = RawDir::new(folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = listing.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

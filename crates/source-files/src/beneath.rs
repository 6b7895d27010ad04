//! Opens paths below a root folder without following any symbolic link.
//!
//! Owns the one place where a whole path is given to the system; must never resolve one otherwise.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lifeboat_model::EntryPath;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Longest path handed to the system at once; the limit is 4096 with the final NUL.
const WHOLE_PATH_BYTES_MAX: usize = 4000;

/// How often a look-up is repeated that lost a race with a rename (`EAGAIN`, see openat2(2)).
const RACES_MAX: usize = 16;

/// Flags that open a folder for listing and for `*at` calls.
pub(crate) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens `path` below `root`.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &EntryPath,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        return rustix::fs::openat(root, c".", flags, Mode::empty());
    }
    if path.as_bytes().len() <= WHOLE_PATH_BYTES_MAX {
        match open_whole(root, path.as_bytes(), flags) {
            // Kernels before 5.6 and some sandboxes lack the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            answer => return answer,
        }
    }
    open_by_parts(root, path, flags)
}

/// Splits a path into its folder and its name; `None` for the root.
pub(crate) fn split(path: &EntryPath) -> Option<(EntryPath, &[u8])> {
    let parent = path.parent()?;
    let start = match parent.as_bytes().len() {
        0 => 0,
        len => len + 1,
    };
    Some((parent, &path.as_bytes()[start..]))
}

fn open_whole(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RACES_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

fn open_by_parts(root: BorrowedFd<'_>, path: &EntryPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut folder: Option<OwnedFd> = None;
    let mut parts = path.as_bytes().split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let base = folder.as_ref().map_or(root, AsFd::as_fd);
        let flags = if parts.peek().is_some() {
            FOLDER
        } else {
            flags | OFlags::NOFOLLOW
        };
        folder = Some(rustix::fs::openat(base, part, flags, Mode::empty())?);
    }
    folder.ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_open_refuse_links_on_the_way_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("a/end")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (text, sound) in [("a/b", true), ("link/b", false), ("a/end", false)] {
            let path = EntryPath::new(text).unwrap();
            assert_eq!(open(root.as_fd(), &path, flags).is_ok(), sound, "{text}");
            assert_eq!(
                open_by_parts(root.as_fd(), &path, flags).is_ok(),
                sound,
                "{text}"
            );
        }
    }
}

//! Puts a folder in the place of another, which stays beside it as an earlier copy.
//!
//! Owns the order: everything is durable before it has the name, and the name always means one whole
//! folder; must never decide whether the old one may go.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::FilesError;
use crate::publish::sync_parent;
use crate::remove::remove_tree;

/// No more earlier folders than these are looked for.
const PREVIOUS_MAX: usize = 200;

/// What replacing a folder left.
#[derive(Debug)]
pub struct Replaced {
    /// Earlier folders of the name that stay, newest first.
    pub previous: Vec<PathBuf>,
    /// The new folder serves, but something could not be tidied up behind it.
    pub left: Option<FilesError>,
}

/// Gives the folder `new` the name `target`, on the same file system, with the owner and mode that the
/// one there has, and keeps the newest `keep_previous` folders that had the name, as
/// `target.previous-1` and so on.
///
/// # Errors
/// Fails if the system cannot make it durable, or refuses the rename; then `target` is what it was.
pub fn replace_folder(
    new: &Path,
    target: &Path,
    keep_previous: usize,
) -> Result<Replaced, FilesError> {
    let Ok(old) = target.metadata() else {
        flush(new)?;
        rename(new, target)?;
        return Ok(Replaced {
            previous: earlier(target),
            left: sync_parent(target).err(),
        });
    };
    // A link stays a link: what it leads to is replaced.
    let target =
        &fs::canonicalize(target).map_err(|error| FilesError::io("open", target, error))?;
    // Only root may give a folder away; whoever may not keeps it.
    std::os::unix::fs::chown(new, Some(old.uid()), Some(old.gid())).ok();
    fs::set_permissions(new, old.permissions())
        .map_err(|error| FilesError::io("set the mode of", new, error))?;
    flush(new)?;
    exchange(new, target)?;
    // What was the new one is the old one now.
    let tidied = make_room(target, keep_previous).and_then(|()| match keep_previous {
        0 => remove_tree(new),
        _ => rename(new, &previous(target, 1)),
    });
    Ok(Replaced {
        left: tidied.and_then(|()| sync_parent(target)).err(),
        previous: earlier(target),
    })
}

fn flush(new: &Path) -> Result<(), FilesError> {
    let flushed = File::open(new).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    flushed.map_err(|error| FilesError::io("flush", new, error))
}

/// Swaps two folders, so that nobody ever finds none.
fn exchange(new: &Path, target: &Path) -> Result<(), FilesError> {
    match rustix::fs::renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // The file system cannot: for a moment the name means nothing.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = new.with_extension("old");
            rename(target, &aside)?;
            if let Err(error) = rename(new, target) {
                rename(&aside, target)?;
                return Err(error);
            }
            rename(&aside, new)
        }
        Err(error) => Err(FilesError::io("replace", target, error)),
    }
}

/// Moves earlier copies on by one, so that the first place is free, and removes those beyond the last.
fn make_room(target: &Path, keep: usize) -> Result<(), FilesError> {
    for n in places(target).into_iter().rev() {
        match n >= keep {
            true => remove_tree(&previous(target, n))?,
            false => rename(&previous(target, n), &previous(target, n + 1))?,
        }
    }
    Ok(())
}

/// Returns the earlier folders of the name `target`, newest first.
pub fn earlier(target: &Path) -> Vec<PathBuf> {
    let places = places(target).into_iter();
    places.map(|n| previous(target, n)).collect()
}

/// Returns the numbers of earlier folders; one may be missing if a run died while it moved them.
fn places(target: &Path) -> Vec<usize> {
    let there = |n: &usize| previous(target, *n).symlink_metadata().is_ok();
    (1..=PREVIOUS_MAX).filter(there).collect()
}

fn previous(target: &Path, n: usize) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".previous-{n}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<(), FilesError> {
    fs::rename(from, to).map_err(|error| FilesError::io("replace", to, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(parent: &Path, name: &str, text: &str) -> PathBuf {
        let path = parent.join(name);
        fs::create_dir_all(path.join("deep")).unwrap();
        fs::write(path.join("deep/file"), text).unwrap();
        path
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("deep/file")).unwrap()
    }

    #[test]
    fn a_new_folder_takes_the_name_and_so_many_earlier_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("copy");
        for (n, kept) in [(1, 0), (2, 1), (3, 2), (4, 2)] {
            let new = folder(dir.path(), "new", &n.to_string());
            let replaced = replace_folder(&new, &target, 2).unwrap();
            assert!(replaced.left.is_none());
            assert_eq!(text(&target), n.to_string());
            let texts: Vec<_> = replaced.previous.iter().map(|path| text(path)).collect();
            let expected: Vec<_> = (1..n)
                .rev()
                .take(kept)
                .map(|n: i32| n.to_string())
                .collect();
            assert_eq!(texts, expected);
            assert!(!new.exists());
        }
        let new = folder(dir.path(), "new", "last");
        assert_eq!(
            replace_folder(&new, &target, 0).unwrap().previous,
            [] as [&Path; 0]
        );
        assert_eq!(text(&target), "last");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_mode_stays_and_a_gap_among_earlier_copies_hides_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let target = folder(dir.path(), "copy", "old");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o750)).unwrap();
        let second = folder(dir.path(), "copy.previous-2", "older");
        let new = folder(dir.path(), "new", "new");
        let replaced = replace_folder(&new, &target, 3).unwrap();
        assert_eq!(target.metadata().unwrap().mode() & 0o777, 0o750);
        let texts: Vec<_> = replaced.previous.iter().map(|path| text(path)).collect();
        assert_eq!(texts, ["old", "older"]);
        assert!(!second.exists());
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let real = folder(dir.path(), "real", "old");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let new = folder(dir.path(), "new", "new");
        replace_folder(&new, &link, 1).unwrap();
        assert!(link.is_symlink());
        assert_eq!(text(&real), "new");
        assert_eq!(text(&dir.path().join("real.previous-1")), "old");
    }
}

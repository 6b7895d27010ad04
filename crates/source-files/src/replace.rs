//! Puts a folder in the place of another, which stays beside it as an earlier copy.
//!
//! Owns the order: everything is durable before it has the name, and the name always means one whole
//! folder; must never decide whether the old one may go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::FilesError;
use crate::publish::sync_parent;
use crate::remove::remove_tree;

/// Gives the folder `new` the name `target`, on the same file system, and keeps the newest
/// `keep_previous` folders that had it, as `target.previous-1` and so on; returns those, newest first.
///
/// # Errors
/// Fails if the system cannot make it durable, or refuses a rename; then `target` is what it was.
pub fn replace_folder(
    new: &Path,
    target: &Path,
    keep_previous: usize,
) -> Result<Vec<PathBuf>, FilesError> {
    let flushed = File::open(new).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    flushed.map_err(|error| FilesError::io("flush", new, error))?;
    if target.symlink_metadata().is_err() {
        rename(new, target)?;
        sync_parent(target)?;
        return Ok(previous_of(target));
    }
    // A link stays a link: what it leads to is replaced.
    let target =
        &fs::canonicalize(target).map_err(|error| FilesError::io("open", target, error))?;
    exchange(new, target)?;
    if let Err(error) = make_room(target, keep_previous) {
        exchange(new, target)?;
        return Err(error);
    }
    // What was the new one is the old one now.
    match keep_previous {
        0 => remove_tree(new)?,
        _ => rename(new, &previous(target, 1))?,
    }
    sync_parent(target)?;
    Ok(previous_of(target))
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
    let present = previous_of(target).len();
    for n in (1..=present).rev() {
        match n >= keep {
            true => remove_tree(&previous(target, n))?,
            false => rename(&previous(target, n), &previous(target, n + 1))?,
        }
    }
    Ok(())
}

fn previous_of(target: &Path) -> Vec<PathBuf> {
    (1..)
        .map(|n| previous(target, n))
        .take_while(|path| path.symlink_metadata().is_ok())
        .collect()
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
            let previous = replace_folder(&new, &target, 2).unwrap();
            assert_eq!(text(&target), n.to_string());
            let texts: Vec<_> = previous.iter().map(|path| text(path)).collect();
            let expected: Vec<_> = (1..n)
                .rev()
                .take(kept)
                .map(|n: i32| n.to_string())
                .collect();
            assert_eq!(texts, expected);
            assert!(!new.exists());
        }
        let new = folder(dir.path(), "new", "last");
        assert_eq!(replace_folder(&new, &target, 0).unwrap(), [] as [&Path; 0]);
        assert_eq!(text(&target), "last");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
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

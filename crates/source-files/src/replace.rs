//! Puts a folder in the place of another, which stays beside it as an earlier copy.
//!
//! Owns the order: everything is durable before it has the name, the name always means one whole
//! folder, and no earlier one is ever without a name; must never decide whether the old one may go.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
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
/// Whoever is killed in here leaves a whole folder under the name and loses no earlier one: `new` is
/// given the place that the old one will have, and one step exchanges the two. Until then it counts as
/// an earlier folder, if it is left there.
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
    hand_over(new, &old)?;
    flush(new)?;
    make_room(target)?;
    exchange(new, target)?;
    let tidied = sync_parent(target).and_then(|()| remove_oldest(target, keep_previous, new));
    Ok(Replaced {
        left: tidied.err(),
        previous: earlier(target),
    })
}

/// Gives a folder and all in it to whoever has the old one: with its mode, files without the right to be
/// run.
fn hand_over(path: &Path, old: &Metadata) -> Result<(), FilesError> {
    let failed = |op| move |error| FilesError::io(op, path, error);
    let kind = path.symlink_metadata().map_err(failed("look at"))?;
    if kind.is_symlink() {
        return Ok(());
    }
    // Only root may give something away; whoever may not keeps it.
    std::os::unix::fs::chown(path, Some(old.uid()), Some(old.gid())).ok();
    if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(failed("list"))? {
            hand_over(&entry.map_err(failed("list"))?.path(), old)?;
        }
    }
    let mode = if kind.is_dir() { 0o7777 } else { 0o666 };
    let mode = Permissions::from_mode(old.permissions().mode() & mode);
    fs::set_permissions(path, mode).map_err(failed("set the mode of"))
}

fn flush(new: &Path) -> Result<(), FilesError> {
    let flushed = File::open(new).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    flushed.map_err(|error| FilesError::io("flush", new, error))
}

/// Moves earlier folders on by one as far as they stand close, so that the first place is free. A free
/// place further on, as a run that died may have left one, takes the last of them.
fn make_room(target: &Path) -> Result<(), FilesError> {
    let places = places(target);
    let close = places.iter().zip(1..).take_while(|(place, n)| *place == n);
    for n in (1..=close.count()).rev() {
        rename(&previous(target, n), &previous(target, n + 1))?;
    }
    Ok(())
}

/// Swaps two folders, so that nobody ever finds none, and the old one is the first of the earlier ones
/// in the same step.
fn exchange(new: &Path, target: &Path) -> Result<(), FilesError> {
    let first = &previous(target, 1);
    rename(new, first)?;
    let Err(error) = swap(first, target) else {
        return Ok(());
    };
    rename(first, new)?;
    match error {
        // The file system cannot: for a moment the name means nothing.
        Errno::INVAL | Errno::NOSYS => {
            rename(target, first)?;
            rename(new, target).inspect_err(|_| {
                // What cannot be put back either is the first of the earlier ones.
                fs::rename(first, target).ok();
            })
        }
        error => Err(FilesError::io("replace", target, error)),
    }
}

fn swap(new: &Path, target: &Path) -> rustix::io::Result<()> {
    #[cfg(test)]
    tests::may_die();
    rustix::fs::renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE)
}

/// Removes the earlier folders beyond `keep`. Each goes away from its name in one step, to where `new`
/// was: one that is half removed must not be found under a name that means a whole one.
fn remove_oldest(target: &Path, keep: usize, new: &Path) -> Result<(), FilesError> {
    for path in earlier(target).iter().skip(keep) {
        rename(path, new)?;
        remove_tree(new)?;
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
    #[cfg(test)]
    tests::may_die();
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
        let dir = tempfile::tempdir().unwrap();
        let target = folder(dir.path(), "copy", "old");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o750)).unwrap();
        let second = folder(dir.path(), "copy.previous-2", "older");
        let new = folder(dir.path(), "new", "new");
        fs::create_dir(new.join("months")).unwrap();
        let file = new.join("months/1.csv");
        fs::write(&file, "").unwrap();
        // As the mask of whoever refreshes may have it.
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let replaced = replace_folder(&new, &target, 3).unwrap();
        for (path, mode) in [("", 0o750), ("months", 0o750), ("months/1.csv", 0o640)] {
            let there = target.join(path).metadata().unwrap().mode();
            assert_eq!(there & 0o777, mode, "{path}");
        }
        let texts: Vec<_> = replaced.previous.iter().map(|path| text(path)).collect();
        assert_eq!(texts, ["old", "older"]);
        assert!(second.exists(), "nothing had to move");
    }

    thread_local! {
        /// How many steps go well before this thread dies, as if it was killed.
        static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
    }

    pub(super) fn may_die() {
        let left = STEPS.get();
        assert!(left > 0, "killed");
        STEPS.set(left - 1);
    }

    /// Publishes `text` as the copy, and dies before the step after `steps`; tells whether it got through.
    fn killed_after(steps: usize, parent: &Path, text: &str, keep: usize) -> bool {
        let target = parent.join("copy");
        let scratch = parent.join("copy.refreshing");
        let new = folder(&scratch, "masked", text);
        STEPS.set(steps);
        let done = std::panic::catch_unwind(|| replace_folder(&new, &target, keep).unwrap());
        STEPS.set(usize::MAX);
        // What the dead have left in there, the next run removes.
        remove_tree(&scratch).unwrap();
        done.is_ok()
    }

    /// What the copies say that are there, the one that serves first.
    fn copies(parent: &Path) -> Vec<String> {
        let target = parent.join("copy");
        let mut there = earlier(&target);
        there.insert(0, target);
        there.iter().map(|path| text(path)).collect()
    }

    #[test]
    fn whenever_it_is_killed_the_name_means_a_whole_copy_and_no_earlier_one_is_lost() {
        for keep in [1, 3] {
            let mut steps = 0;
            loop {
                let dir = tempfile::tempdir().unwrap();
                for text in ["1", "2", "3"] {
                    killed_after(usize::MAX, dir.path(), text, 3);
                }
                let done = killed_after(steps, dir.path(), "4", keep);
                let left = copies(dir.path());
                assert!(["3", "4"].contains(&&*left[0]), "{steps}: {left:?}");
                let stay: &[&str] = match keep {
                    1 => &["3"],
                    _ => &["3", "2", "1"],
                };
                for copy in stay {
                    assert!(
                        left.iter().any(|one| one == copy),
                        "{steps}: {left:?} lacks {copy}"
                    );
                }
                // Nor does the next one find anything in its way, or let copies pile up.
                assert!(killed_after(usize::MAX, dir.path(), "5", keep));
                let after = copies(dir.path());
                assert_eq!(after[0], "5");
                assert_eq!(after[1], left[0], "{steps}: {after:?}");
                assert_eq!(after.len(), 1 + keep.min(left.len()), "{steps}: {after:?}");
                if done {
                    break;
                }
                steps += 1;
            }
            assert!(steps > 3, "it was never killed");
        }
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

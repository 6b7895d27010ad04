//! Files that are being written, and what dead writers left of theirs.
//!
//! A writer holds a lock on its file under `tmp/` until the file has its final name. The system
//! drops the lock when the writer dies, however it dies; so a file that can be locked is nobody's.
//! Unlike a process id this is right across containers, hosts that share the folder, and reboots.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::fs::{linkat, openat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::root::{FILE_MODE, Root, is_missing};

const FOLDER: &str = "tmp";
const NAME_TRIES: u32 = 100_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file without a name in the store yet. Dropped unpublished, it is removed.
pub(super) struct TempFile<'a> {
    root: &'a Root,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> TempFile<'a> {
    pub(super) fn create(root: &'a Root) -> io::Result<Self> {
        let pid = std::process::id();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // A name may be taken by a writer with this process id in another container.
        for _ in 0..NAME_TRIES {
            let name = format!("{FOLDER}/{pid}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let file = match openat(root.fd(), &name, flags, FILE_MODE) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(Errno::NOENT) => {
                    root.make_folder(FOLDER)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            root.hand_over(&file);
            if claim(root, &name, &file)? {
                return Ok(Self {
                    root,
                    name,
                    file,
                    renamed: false,
                });
            }
        }
        Err(io::Error::other("`tmp` is full of files that are in use"))
    }

    pub(super) fn write(&mut self, body: &[u8]) -> io::Result<()> {
        self.file.write_all(body)?;
        self.file.sync_all()
    }

    /// Gives the file its name in `folder`, and returns `false` if the name is taken.
    pub(super) fn publish(mut self, folder: &OwnedFd, name: &str) -> io::Result<bool> {
        let temp_name = self.name.as_str();
        let no_replace = RenameFlags::NOREPLACE;
        match renameat_with(self.root.fd(), temp_name, folder, name, no_replace) {
            Ok(()) => {
                self.renamed = true;
                return Ok(true);
            }
            Err(Errno::EXIST) => return Ok(false),
            // Not every file system can: https://man7.org/linux/man-pages/man2/rename.2.html
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        self.publish_by_link(folder, name)
    }

    /// The older way to publish without replacing. The first name goes when `self` is dropped.
    fn publish_by_link(&self, folder: &OwnedFd, name: &str) -> io::Result<bool> {
        match linkat(self.root.fd(), &self.name, folder, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report; a leftover is swept by a later open.
            let _ = unlinkat(self.root.fd(), &self.name, AtFlags::empty());
        }
    }
}

/// Locks a new file, and returns `false` if a sweep got hold of it first.
fn claim(root: &Root, name: &str, file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(false),
        // Where there are no locks, a sweep cannot lock either and leaves the file alone.
        Ok(()) | Err(TryLockError::Error(_)) => has_name(root.fd(), name, file),
    }
}

/// Tells whether `name` still leads to `file`.
fn has_name(folder: &OwnedFd, name: &str, file: &File) -> io::Result<bool> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(stat.st_ino == file.metadata()?.ino()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files of writers that are dead, and returns how many there were.
pub(super) fn sweep(root: &Root) -> io::Result<usize> {
    let folder = match root.open_folder(FOLDER) {
        Ok(folder) => folder,
        Err(error) if is_missing(&error) => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut swept = 0;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok(name) if is_temp_name(name) => swept += usize::from(sweep_file(&folder, name)?),
            _ => {}
        }
    }
    Ok(swept)
}

fn sweep_file(folder: &OwnedFd, name: &str) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(_) => return Ok(false),
    };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    // Between open and lock the file may have been published, and the name be another's.
    if !has_name(folder, name, &file)? {
        return Ok(false);
    }
    unlinkat(folder, name, AtFlags::empty())?;
    Ok(true)
}

/// Tells whether a file name is `<process id>-<number>`. Foreign files are left alone.
fn is_temp_name(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    name.split_once('-')
        .is_some_and(|(pid, number)| is_number(pid) && is_number(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn a_sweep_leaves_the_files_of_the_living() {
        let (folder, root) = root();
        let mut living = TempFile::create(&root).unwrap();
        living.write(b"soon").unwrap();
        std::fs::write(folder.path().join("tmp/1-1"), "dead").unwrap();
        assert_eq!(sweep(&root).unwrap(), 1);
        assert!(!folder.path().join("tmp/1-1").exists());
        let target = root.open_folder("").unwrap();
        assert!(living.publish(&target, "object").unwrap());
        assert_eq!(
            std::fs::read(folder.path().join("object")).unwrap(),
            b"soon"
        );
        assert_eq!(sweep(&root).unwrap(), 0);
    }

    #[test]
    fn a_file_swept_before_it_was_locked_is_not_used() {
        let (folder, root) = root();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        let sweeper = File::open(&path).unwrap();
        sweeper.try_lock().unwrap();
        assert!(
            !claim(&root, "file", &file).unwrap(),
            "another holds the lock"
        );
        std::fs::remove_file(&path).unwrap();
        drop(sweeper);
        assert!(!claim(&root, "file", &file).unwrap(), "the name is gone");
        File::create(&path).unwrap();
        assert!(
            !claim(&root, "file", &file).unwrap(),
            "the name is another's"
        );
    }

    #[test]
    fn publishing_by_link_replaces_nothing_and_leaves_nothing() {
        let (folder, root) = root();
        let target = root.open_folder("").unwrap();
        for (text, published) in [("first", true), ("second", false)] {
            let mut temp = TempFile::create(&root).unwrap();
            temp.write(text.as_bytes()).unwrap();
            assert_eq!(temp.publish_by_link(&target, "object").unwrap(), published);
        }
        let stored = std::fs::read(folder.path().join("object")).unwrap();
        assert_eq!(stored, b"first");
        let left = std::fs::read_dir(folder.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn only_our_names_are_swept() {
        for name in ["1-1", "4194304-0"] {
            assert!(is_temp_name(name), "{name}");
        }
        for name in ["1", "1-", "-1", "a-1", "1-1.x", "1-1-1", ".", ".."] {
            assert!(!is_temp_name(name), "{name}");
        }
    }
}

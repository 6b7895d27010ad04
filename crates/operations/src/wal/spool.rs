//! Segments fetched ahead of a recovery, in a folder that belongs to this one recovery.
//!
//! Owns the promise that a file in it is whole: a file gets its name when it is. The folder's name is
//! chosen by the restore, so nothing that an earlier recovery left behind is ever served.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use lifeboat_model::Segment;

use crate::error::OperationError;

/// The lock of whoever fetches ahead.
const LOCK: &str = "fetching";
/// How often a folder that fills while it is removed is removed again.
const REMOVALS_MAX: usize = 3;

/// A folder of segments that were fetched ahead.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// The right to fetch ahead; one process has it at a time, and loses it when it ends.
pub(crate) struct Fetching(#[expect(dead_code, reason = "held for its lock")] File);

impl Spool {
    pub(crate) fn at(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder }
    }

    /// Moves a segment to its target, if it was fetched. Says whether it was.
    pub(crate) fn take(&self, segment: Segment, target: &Path) -> Result<bool, OperationError> {
        let path = self.path(segment);
        if !path.is_file() {
            return Ok(false);
        }
        match std::fs::rename(&path, target) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            // Another file system: copied, then.
            Err(_) => {}
        }
        let bytes = std::fs::read(&path).map_err(|e| OperationError::io("read", &path, e))?;
        write_whole(target, &bytes)?;
        // Should it stay, it is right all the same.
        std::fs::remove_file(&path).ok();
        Ok(true)
    }

    /// Reports whether a segment is there.
    pub(crate) fn holds(&self, segment: Segment) -> bool {
        self.path(segment).is_file()
    }

    /// Puts a segment there.
    pub(crate) fn put(&self, segment: Segment, bytes: &[u8]) -> Result<(), OperationError> {
        write_whole(&self.path(segment), bytes)
    }

    /// Makes the folder, if it is not there.
    pub(crate) fn create(&self) -> Result<(), OperationError> {
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|error| OperationError::io("create", &self.folder, error))
    }

    /// Becomes the one who fetches ahead, unless somebody is, or the recovery has ended and the folder
    /// is gone: it must not come back.
    pub(crate) fn lock(&self) -> Result<Option<Fetching>, OperationError> {
        let failed = |error| OperationError::io("create", &self.folder, error);
        let file = match File::create(self.folder.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Fetching(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Reports whether somebody is fetching ahead.
    pub(crate) fn is_being_filled(&self) -> bool {
        let lock = File::open(self.folder.join(LOCK));
        lock.is_ok_and(|file| file.try_lock().is_err())
    }

    /// Removes the folder: the recovery has ended.
    ///
    /// Somebody may still be fetching ahead. Under another name nothing is added to the folder any
    /// more, and who tries to finds none and ends.
    pub(crate) fn remove(&self) -> Result<(), OperationError> {
        let mut ended = self.folder.as_os_str().to_owned();
        ended.push(".ended");
        let ended = PathBuf::from(ended);
        // What an interrupted end left behind would be in the way.
        remove_whole(&ended)?;
        match std::fs::rename(&self.folder, &ended) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(OperationError::io("rename", &self.folder, error))
            }
            _ => remove_whole(&ended),
        }
    }

    fn path(&self, segment: Segment) -> PathBuf {
        self.folder.join(segment.to_string())
    }
}

/// Removes a folder, which need not be there, with all that is in it.
fn remove_whole(folder: &Path) -> Result<(), OperationError> {
    let mut removed = Ok(());
    // A file that was being made when the folder got its new name may come into it a moment later.
    for _ in 0..REMOVALS_MAX {
        removed = match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        match &removed {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
    }
    removed.map_err(|error| OperationError::io("remove", folder, error))
}

/// Writes a file beside its name, makes it durable, and gives it its name.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), OperationError> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}.part", std::process::id()));
    let hidden = PathBuf::from(hidden);
    let written = File::create(&hidden)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&hidden, path));
    written.map_err(|error| {
        // The error to tell is the first.
        std::fs::remove_file(&hidden).ok();
        OperationError::io("write", path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_taken_once_and_only_when_it_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::at(&place.path().join("spool"));
        let segment: Segment = "000000010000000000000003".parse().unwrap();
        let target = place.path().join("RECOVERYXLOG");
        assert!(!spool.take(segment, &target).unwrap());
        spool.create().unwrap();
        let fetching = spool.lock().unwrap().unwrap();
        assert!(spool.lock().unwrap().is_none() && spool.is_being_filled());
        spool.put(segment, b"log").unwrap();
        drop(fetching);
        assert!(!spool.is_being_filled());
        assert!(spool.take(segment, &target).unwrap());
        assert_eq!(std::fs::read(&target).unwrap(), b"log");
        assert!(!spool.take(segment, &target).unwrap());
        spool.remove().unwrap();
        spool.remove().unwrap();
    }

    #[test]
    fn a_recovery_ends_while_more_is_fetched_and_nothing_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("spool");
        for _ in 0..100 {
            Spool::at(&folder).create().unwrap();
            let (begun, begins) = std::sync::mpsc::channel();
            let folder = folder.clone();
            let fetcher = std::thread::spawn({
                let folder = folder.clone();
                move || {
                    let spool = Spool::at(&folder);
                    let _fetching = spool.lock().unwrap();
                    begun.send(()).unwrap();
                    let name = |part| format!("0000000100000000{part:08X}").parse().unwrap();
                    (0..1000).find(|part| spool.put(name(*part), b"log").is_err())
                }
            });
            begins.recv().unwrap();
            Spool::at(&folder).remove().unwrap();
            assert!(fetcher.join().unwrap().is_some(), "it was stopped");
            assert!(Spool::at(&folder).lock().unwrap().is_none());
            assert_eq!(place.path().read_dir().unwrap().count(), 0);
        }
    }
}

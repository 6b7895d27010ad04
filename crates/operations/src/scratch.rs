//! Private folders for what must not last: copies of databases, half-made restores.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lifeboat_model::RunId;

use crate::error::OperationError;

const LOCK: &str = "lock";
/// How often a new folder is made anew because a sweep takes it for a dead one.
const LOCK_ATTEMPTS: u32 = 10_000;

/// The scratch folders of this process. Held while one is made, so that none is there unknown.
static LIVING: Mutex<Living> = Mutex::new(Living {
    folders: Vec::new(),
    over: false,
});

struct Living {
    /// Each with the container that goes with it.
    folders: Vec<(PathBuf, Option<PathBuf>)>,
    /// Whether the process is about to end, so that no more may be made.
    over: bool,
}

/// A folder that only its owner can enter, removed on drop.
///
/// What a killed run left behind is removed when the next one starts: a scratch folder is alive as
/// long as its lock is held, and the system releases that when the process dies.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// A folder made for scratch folders alone; it goes with the last of them.
    container: Option<PathBuf>,
    _lock: File,
}

impl Scratch {
    /// Creates a scratch folder called `name` below `parent`, and removes dead ones beside it.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn create(parent: &Path, name: &str) -> Result<Self, OperationError> {
        let private = |path: &Path| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| OperationError::io("create the folder", path, error))
        };
        private(parent)?;
        sweep(parent);
        let path = parent.join(name);
        let mut living = living();
        if living.over {
            let error = std::io::ErrorKind::Interrupted.into();
            return Err(OperationError::io("create the folder", &path, error));
        }
        let mut lock = None;
        for _ in 0..LOCK_ATTEMPTS {
            private(&path)?;
            match lock_living(&path) {
                Ok(Some(file)) => {
                    lock = Some(file);
                    break;
                }
                // Another run took it for dead before it was locked, and removes it.
                Ok(None) => std::thread::yield_now(),
                Err(error) => return Err(OperationError::io("lock the folder", &path, error)),
            }
        }
        let lock = lock.ok_or_else(|| {
            let error = std::io::ErrorKind::WouldBlock.into();
            OperationError::io("lock the folder", &path, error)
        })?;
        living.folders.push((path.clone(), None));
        Ok(Self {
            path,
            container: None,
            _lock: lock,
        })
    }

    /// Creates a scratch folder beside `target`, on the same file system, so that what is made in it
    /// takes the target's place by one rename. `suffix` says what for.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn beside(target: &Path, suffix: &str, name: &str) -> Result<Self, OperationError> {
        let mut container = target.as_os_str().to_owned();
        container.push(suffix);
        Self::in_container(PathBuf::from(container), name)
    }

    /// Creates a scratch folder inside `folder`, in a container called `container`.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn inside(folder: &Path, container: &str, name: &str) -> Result<Self, OperationError> {
        Self::in_container(folder.join(container), name)
    }

    fn in_container(container: PathBuf, name: &str) -> Result<Self, OperationError> {
        let mut scratch = Self::create(&container, name)?;
        let mut living = living();
        living.folders.retain(|(path, _)| *path != scratch.path);
        let known = (scratch.path.clone(), Some(container.clone()));
        living.folders.push(known);
        drop(living);
        scratch.container = Some(container);
        Ok(scratch)
    }

    /// Reports whether another run works beside this one, in the same container.
    pub(crate) fn has_company(&self) -> bool {
        let beside = self.path.parent().map(fs::read_dir);
        let mut beside = beside.into_iter().flatten().flatten().flatten();
        // The dead were swept before this one was made.
        beside.any(|entry| entry.path() != self.path && entry.path().join(LOCK).is_file())
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Scratch {
    /// Removes every scratch folder of this process, which is about to end without dropping them.
    pub fn remove_all() {
        let mut living = living();
        living.over = true;
        for (path, container) in living.folders.drain(..) {
            remove(&path, container.as_deref());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        living().folders.retain(|(path, _)| *path != self.path);
        remove(&self.path, self.container.as_deref());
    }
}

fn living() -> std::sync::MutexGuard<'static, Living> {
    LIVING.lock().expect("no holder panics")
}

/// Removes a scratch folder, its lock last: as long as that is there, the next run sees a dead folder
/// and finishes the work.
fn remove(path: &Path, container: Option<&Path>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name() == LOCK {
            continue;
        }
        // What cannot be removed now is swept by the next run.
        match entry.file_type() {
            // Unlike the standard library's, this gets over folders that were restored read-only.
            Ok(kind) if kind.is_dir() => lifeboat_source_files::remove_tree(&entry.path()).ok(),
            _ => fs::remove_file(entry.path()).ok(),
        };
    }
    fs::remove_dir_all(path).ok();
    if let Some(container) = container {
        // Another run may have its scratch folder there too; then this fails, as it should.
        fs::remove_dir(container).ok();
    }
}

/// Locks a folder that was just made; `None` if a sweep has got hold of it meanwhile.
fn lock_living(folder: &Path) -> std::io::Result<Option<File>> {
    let file = match lock_file(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        locked => locked?,
    }
    // Between being made and being locked the file may have been removed: then this is nobody's.
    let there = folder.join(LOCK).symlink_metadata();
    let same = there.is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
    Ok(same.then_some(file))
}

fn lock_file(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(LOCK))
}

/// Removes the scratch folders that nobody holds. Only folders that are named as runs are, and hold
/// a lock file as ours do, are touched.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let named_as_run = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.parse::<RunId>().is_ok());
        let folder = entry.path();
        if !named_as_run || !folder.join(LOCK).is_file() {
            continue;
        }
        // Held until the folder is gone, so that nobody who makes it just now takes it for a sound one.
        let Ok(lock) = lock_file(&folder) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            remove(&folder, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_made_while_others_are_swept_stay() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let parent = parent.path();
                scope.spawn(move || {
                    for round in 0..200_u8 {
                        let mut id = [thread; 8];
                        id[0] = round;
                        let name = RunId::from_bytes(id).to_string();
                        let scratch = Scratch::create(parent, &name).unwrap();
                        fs::write(scratch.path().join("work"), "x").unwrap();
                        assert!(scratch.path().join("work").exists(), "swept while it lived");
                    }
                });
            }
        });
    }

    #[test]
    fn dead_scratch_folders_are_swept_and_living_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let name = |n: u8| RunId::from_bytes([n; 8]).to_string();
        let living = Scratch::create(parent.path(), &name(1)).unwrap();
        let dead = parent.path().join(name(2));
        let foreign = parent.path().join("precious");
        for folder in [&dead, &foreign] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(LOCK), "").unwrap();
            fs::write(folder.join("secret"), "x").unwrap();
        }
        let next = Scratch::create(parent.path(), &name(3)).unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(!dead.exists() && foreign.exists());
        drop(living);
        assert!(!parent.path().join(name(1)).exists());
    }
}

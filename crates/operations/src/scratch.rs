//! Private folders for what must not last: copies of databases, half-made restores.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::OperationError;

const LOCK: &str = "lock";

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
        private(&path)?;
        let lock = lock_file(&path)
            .and_then(|file| file.try_lock().map(|()| file).map_err(Into::into))
            .map_err(|error| OperationError::io("lock the folder", &path, error))?;
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
        let container = PathBuf::from(container);
        let mut scratch = Self::create(&container, name)?;
        scratch.container = Some(container);
        Ok(scratch)
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        fs::remove_dir_all(&self.path).ok();
        if let Some(container) = &self.container {
            // Another run may have its scratch folder there too; then this fails, as it should.
            fs::remove_dir(container).ok();
        }
    }
}

fn lock_file(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(LOCK))
}

/// Removes the scratch folders that nobody holds.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let folder = entry.path();
        let dead = folder.join(LOCK).exists()
            && lock_file(&folder).is_ok_and(|file| file.try_lock().is_ok());
        if dead {
            fs::remove_dir_all(&folder).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_scratch_folders_are_swept_and_living_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::create(parent.path(), "living").unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead").join(LOCK), "").unwrap();
        fs::write(parent.path().join("dead").join("secret"), "x").unwrap();
        let next = Scratch::create(parent.path(), "next").unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(!parent.path().join("dead").exists());
        drop(living);
        assert!(!parent.path().join("living").exists());
    }
}

//! Puts a restored database where there was none.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::SqliteError;
use crate::stamp::{COMPANIONS, exists, sync_file, sync_folder_of, with_suffix};

/// Moves `restored` to `target`, which must be free, and makes it durable. Both must be on one file
/// system.
///
/// # Errors
/// Fails if `target` exists, or a `-wal`, `-journal` or `-shm` file that SQLite would apply to it.
pub fn install(restored: &Path, target: &Path) -> Result<(), SqliteError> {
    refuse_companions(restored)?;
    if exists(target) {
        return Err(SqliteError::Exists {
            path: target.to_owned(),
        });
    }
    refuse_companions(target)?;
    sync_file(restored)?;
    move_new(restored, target)?;
    sync_folder_of(target)
}

/// Refuses a database with companion files: they would change what it holds once it is opened.
pub(crate) fn refuse_companions(database: &Path) -> Result<(), SqliteError> {
    for suffix in COMPANIONS {
        let path = with_suffix(database, suffix);
        if exists(&path) {
            return Err(SqliteError::Exists { path });
        }
    }
    Ok(())
}

/// Renames without ever overwriting, even what appears at the last moment.
fn move_new(from: &Path, to: &Path) -> Result<(), SqliteError> {
    let moved = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system lacks the flag; the target was free a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(from, to),
        answer => answer,
    };
    moved.map_err(|error| SqliteError::io("move a database to", to, error))
}

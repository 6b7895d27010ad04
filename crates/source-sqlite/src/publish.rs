//! Swaps a new database into the place of an old one.
//!
//! Owns the one rule that matters here: no `-wal` or `-journal` of the old database may ever lie next
//! to the new one, because SQLite would apply it.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::io::Errno;

use crate::error::SqliteError;
use crate::install::{install, refuse_companions};
use crate::open::resolve;
use crate::stamp::{COMPANIONS, exists, sync_file, sync_folder_of, with_suffix};

/// How long to wait for readers and writers of the old database to finish what they are doing.
const WAIT: Duration = Duration::from_secs(5);

/// How every SQLite database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What a swap left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The former databases that were kept, newest first.
    pub previous: Vec<PathBuf>,
}

/// Puts the database `new` in the place of `target` in one atomic step and keeps the last
/// `keep_previous` databases as `<target>.previous-1` (the newest), `-2` and so on. Both must be on
/// one file system. `target` may be missing.
///
/// The old database is emptied of its WAL and locked for the moment of the swap. A crash at any point
/// leaves the old or the new database under the target's name, whole. The new file gets the old one's
/// owner and permissions.
///
/// # Errors
/// Fails as busy if any process has the old database open: a connection survives the swap, goes on
/// using the old file, and would take the new database's journal for its own.
pub fn publish(new: &Path, target: &Path, keep_previous: usize) -> Result<Published, SqliteError> {
    refuse_companions(new)?;
    if !exists(target) {
        // Without its database a WAL means nothing; SQLite itself deletes it on the next open.
        remove_companions(target)?;
        install(new, target)?;
        return Ok(Published {
            previous: previous_of(target),
        });
    }
    // A link stays a link: what it leads to is replaced.
    let target = &resolve(target)?;
    refuse_other_file_system(new, target)?;
    refuse_if_open_elsewhere(target)?;
    take_over_owner(target, new)?;
    sync_file(new)?;
    let old = lock_without_wal(target)?;
    remove_companions(target)?;
    rotate(target, keep_previous)?;
    // The lock on the old file holds until it no longer has the name.
    fs::rename(new, target).map_err(|error| SqliteError::io("replace", target, error))?;
    sync_folder_of(target)?;
    old.execute_batch("ROLLBACK")
        .map_err(|error| SqliteError::sqlite("unlock", target, error))?;
    Ok(Published {
        previous: previous_of(target),
    })
}

/// Refuses what [`publish`] cannot replace, whatever is put there: a folder, or a file that is no
/// database. Nothing at all may be replaced, and so may an empty file.
///
/// # Errors
/// Says that `target` is no database, or fails if it cannot be read.
pub fn may_replace(target: &Path) -> Result<(), SqliteError> {
    let failed = |error| SqliteError::io("read", target, error);
    let found = match fs::metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    let mut start = Vec::new();
    if found.is_file() {
        let file = File::open(target).map_err(failed)?;
        let mut limited = file.take(MAGIC.len() as u64);
        limited.read_to_end(&mut start).map_err(failed)?;
    }
    if found.is_file() && (start.is_empty() || start == MAGIC) {
        return Ok(());
    }
    Err(SqliteError::NotADatabase {
        path: target.to_owned(),
    })
}

/// Opens the old database, takes it out of WAL mode, which needs it to be ours alone and puts every
/// committed transaction into the file, and holds its exclusive lock.
fn lock_without_wal(target: &Path) -> Result<Connection, SqliteError> {
    let failed = |error| SqliteError::sqlite("replace", target, error);
    let busy = || SqliteError::Busy {
        op: "replace",
        path: target.to_owned(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let old = Connection::open_with_flags(target, flags).map_err(failed)?;
    old.busy_timeout(WAIT).map_err(failed)?;
    let mode = |sql| old.query_row(sql, [], |row| row.get::<_, String>(0));
    if mode("PRAGMA journal_mode = DELETE").map_err(failed)? != "delete" {
        return Err(busy());
    }
    old.execute_batch("BEGIN EXCLUSIVE").map_err(failed)?;
    // Somebody may have gone back to WAL mode in between.
    if mode("PRAGMA journal_mode").map_err(failed)? != "delete" {
        return Err(busy());
    }
    Ok(old)
}

/// Looks through the open files of every process that we may look at.
///
/// Idle connections in rollback mode hold no lock, so locks alone do not show them.
fn refuse_if_open_elsewhere(target: &Path) -> Result<(), SqliteError> {
    let found = target
        .metadata()
        .map_err(|error| SqliteError::io("read", target, error))?;
    let identity = (found.dev(), found.ino());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let files = processes
        .filter_map(|process| fs::read_dir(process.path().join("fd")).ok())
        .flatten()
        .flatten();
    for file in files {
        let open = fs::metadata(file.path());
        if open.is_ok_and(|open| (open.dev(), open.ino()) == identity) {
            return Err(SqliteError::Busy {
                op: "replace",
                path: target.to_owned(),
            });
        }
    }
    Ok(())
}

/// A rename that fails for this reason must fail before the former databases are rotated.
fn refuse_other_file_system(new: &Path, target: &Path) -> Result<(), SqliteError> {
    let device = |path: &Path| {
        let found = path.metadata();
        found
            .map(|found| found.dev())
            .map_err(|error| SqliteError::io("read", path, error))
    };
    if device(new)? == device(target)? {
        Ok(())
    } else {
        Err(SqliteError::io("replace", target, Errno::XDEV))
    }
}

fn take_over_owner(old: &Path, new: &Path) -> Result<(), SqliteError> {
    let failed = |error| SqliteError::io("set the owner of", new, error);
    let found = old.metadata().map_err(failed)?;
    // Only root may give files away; as anybody else we are the owner already or cannot help it.
    let _ = std::os::unix::fs::chown(new, Some(found.uid()), Some(found.gid()));
    fs::set_permissions(new, found.permissions()).map_err(failed)
}

/// Makes room for, and then adds, a second name for the old database.
fn rotate(target: &Path, keep: usize) -> Result<(), SqliteError> {
    let name = |n: usize| with_suffix(target, &format!(".previous-{n}"));
    let failed = |path: PathBuf| move |error| SqliteError::io("rotate", &path, error);
    let present = (1..).take_while(|n| exists(&name(*n))).count();
    for n in (1..=present).rev() {
        if n >= keep {
            fs::remove_file(name(n)).map_err(failed(name(n)))?;
        } else {
            fs::rename(name(n), name(n + 1)).map_err(failed(name(n)))?;
        }
    }
    if keep > 0 {
        fs::hard_link(target, name(1)).map_err(failed(name(1)))?;
    }
    Ok(())
}

fn previous_of(target: &Path) -> Vec<PathBuf> {
    (1..)
        .map(|n| with_suffix(target, &format!(".previous-{n}")))
        .take_while(|path| exists(path))
        .collect()
}

fn remove_companions(target: &Path) -> Result<(), SqliteError> {
    for suffix in COMPANIONS {
        let path = with_suffix(target, suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SqliteError::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

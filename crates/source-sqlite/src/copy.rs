//! A consistent copy of a living database in a private file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::error::SqliteError;
use crate::open::open_reader;

/// How a copy is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// How long to wait for a writer that holds the database exclusively.
    pub busy_timeout: Duration,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(30),
        }
    }
}

/// A copy of a database as of one moment: a stand-alone file that only its owner may read, removed
/// on drop.
#[derive(Debug)]
pub struct SqliteCopy {
    path: PathBuf,
    page_size: u32,
    bytes: u64,
    _folder: TempDir,
}

impl SqliteCopy {
    /// Copies `database` into a private folder below `scratch`, which needs room for all of it.
    ///
    /// All pages are read in one transaction, because a copy in steps starts over at each commit and
    /// never ends under a busy writer. In WAL mode writers go on meanwhile; in rollback mode their
    /// commits wait for the copy.
    ///
    /// The source is not changed. In WAL mode a reader needs the `-shm` file, so it exists for the
    /// time of the copy even if the database was idle. A page's place is its place in the source; only
    /// the counters in the header differ.
    ///
    /// # Errors
    /// Fails if the database is missing, no SQLite database, or held exclusively for longer than
    /// allowed, or if the copy cannot be written.
    pub fn take(
        database: &Path,
        scratch: &Path,
        options: &CopyOptions,
    ) -> Result<SqliteCopy, SqliteError> {
        let reader = open_reader(database, options.busy_timeout)?;
        let page_size = pragma(&reader.connection, "page_size", database)?;
        let folder = tempfile::Builder::new()
            .prefix("sqlite-copy-")
            .tempdir_in(scratch)
            .map_err(|error| SqliteError::io("create a copy in", scratch, error))?;
        let path = folder.path().join("copy.sqlite");
        fill(&reader.connection, database, &path)?;
        reader.confirm()?;
        let bytes = path
            .metadata()
            .map_err(|error| SqliteError::io("read", &path, error))?
            .len();
        Ok(SqliteCopy {
            path,
            page_size: u32::try_from(page_size).unwrap_or(0),
            bytes,
            _folder: folder,
        })
    }

    /// Returns where the copy lies until it is dropped.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of a page, bytes: a power of two from 512 to 65536.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Returns the size of the copy, bytes: a multiple of the page size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Writes all pages that `source`'s transaction sees to the new file `path`.
fn fill(source: &Connection, database: &Path, path: &Path) -> Result<(), SqliteError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| SqliteError::io("create", path, error))?;
    let failed = |error| SqliteError::sqlite("write", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(path, flags).map_err(failed)?;
    // A half-written copy is thrown away, so nothing protects it against a crash.
    copy.pragma_update(None, "journal_mode", "OFF")
        .map_err(failed)?;
    copy.pragma_update(None, "synchronous", "OFF")
        .map_err(failed)?;
    let backup = Backup::new(source, &mut copy).map_err(failed)?;
    match backup.step(-1).map_err(failed)? {
        StepResult::Done => {}
        _ => {
            return Err(SqliteError::Busy {
                op: "copy",
                path: database.to_owned(),
            });
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| failed(error))
}

fn pragma(connection: &Connection, name: &str, path: &Path) -> Result<i64, SqliteError> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| SqliteError::sqlite("read", path, error))
}

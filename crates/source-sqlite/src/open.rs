//! Opens databases for reading without leaving anything behind.
//!
//! Must never open a database file except through SQLite: closing any other descriptor of it would
//! drop the POSIX locks that connections in this process hold (sqlite.org/howtocorrupt.html, 2.2).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::SqliteError;
use crate::stamp::{Stamp, exists, with_suffix};

/// How long reads of private files wait for a lock; nobody should hold one.
const PRIVATE_WAIT: Duration = Duration::from_secs(5);

/// A reading connection, with what is needed to trust what it read.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    frozen: Option<(PathBuf, Stamp)>,
}

impl Reader {
    /// Fails if the database changed while it was read without locks. Call it when done reading.
    pub(crate) fn confirm(&self) -> Result<(), SqliteError> {
        match &self.frozen {
            Some((path, stamp))
                if Stamp::of(path) != Some(*stamp) || exists(&with_suffix(path, "-wal")) =>
            {
                Err(SqliteError::Changed { path: path.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Opens a database that nobody else writes to, such as a copy, for reading.
pub(crate) fn open_private(path: &Path) -> Result<Connection, SqliteError> {
    Ok(open_reader(path, PRIVATE_WAIT)?.connection)
}

/// Opens a living database for reading and begins a read transaction: everything read from it is of
/// one moment. Waits up to `wait` for a writer that holds an exclusive lock.
///
/// A database in WAL mode can only be read with its `-wal` and `-shm` files there. If they are, we
/// join as a reader and leave them as they are. If not, we open for writing (and write nothing), since
/// only then SQLite takes them away again at the end. Where the folder may not be written to, the
/// file is read without locks, and [`Reader::confirm`] tells whether it stood still.
pub(crate) fn open_reader(path: &Path, wait: Duration) -> Result<Reader, SqliteError> {
    // SQLite names the companion files after what a link leads to.
    let path = &resolve(path)?;
    require_file(path)?;
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read_write = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let in_use = exists(&with_suffix(path, "-wal")) || exists(&with_suffix(path, "-journal"));
    let flags = if in_use { read_only } else { read_write };
    match begin(path, flags, wait, in_use) {
        Ok(connection) => Ok(Reader {
            connection,
            frozen: None,
        }),
        Err(error) if !in_use && is_denied(&error) => open_frozen(path),
        Err(error) => Err(SqliteError::sqlite("read", path, error)),
    }
}

fn begin(
    path: &Path,
    flags: OpenFlags,
    wait: Duration,
    in_use: bool,
) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(wait)?;
    if in_use {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    begin_reading(&connection)?;
    Ok(connection)
}

fn begin_reading(connection: &Connection) -> Result<(), rusqlite::Error> {
    // A misspelt column in double quotes must be an error, not a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // What a query sorts must not go through a temporary file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.execute_batch("BEGIN")?;
    // BEGIN alone locks nothing: the first read does. The schema is parsed by the second.
    connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn open_frozen(path: &Path) -> Result<Reader, SqliteError> {
    let failed = |error| SqliteError::sqlite("read", path, error);
    let frozen = Stamp::of(path).map(|stamp| (path.to_owned(), stamp));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable_uri(path), flags).map_err(failed)?;
    begin_reading(&connection).map_err(failed)?;
    Ok(Reader { connection, frozen })
}

fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::from(if path.is_absolute() {
        "file://"
    } else {
        "file:"
    });
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Follows links to the database itself.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, SqliteError> {
    path.canonicalize()
        .map_err(|error| SqliteError::io("read", path, error))
}

/// SQLite takes an empty file for an empty database, and reports a folder as "unable to open".
fn require_file(path: &Path) -> Result<(), SqliteError> {
    let found = path
        .metadata()
        .map_err(|error| SqliteError::io("read", path, error))?;
    if found.is_file() && found.len() > 0 {
        Ok(())
    } else {
        Err(SqliteError::NotADatabase {
            path: path.to_owned(),
        })
    }
}

fn is_denied(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_model::Diagnose as _;

    fn wal_database(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a b?.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)",
            )
            .unwrap();
        path
    }

    #[test]
    fn a_frozen_read_notices_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = wal_database(folder.path());
        let reader = open_frozen(&path).unwrap();
        let rows = reader
            .connection
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        assert_eq!(rows, Ok(1_i64));
        assert!(reader.confirm().is_ok());
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        let error = reader.confirm().unwrap_err();
        assert_eq!(error.kind(), lifeboat_model::ErrorKind::Transient);
    }

    #[test]
    fn a_reader_of_an_idle_wal_database_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = wal_database(folder.path());
        let before = Stamp::of(&path);
        drop(open_reader(&path, Duration::ZERO).unwrap());
        assert_eq!(Stamp::of(&path), before);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

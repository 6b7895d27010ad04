//! What can go wrong with a SQLite database, never with a cell value in the message.

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose, ErrorKind};
use rusqlite::ErrorCode;

/// A SQLite database could not be read, checked, built or put in place.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// There is no such file.
    #[error("`{}` does not exist", .path.display())]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// The file is something else, or encrypted.
    #[error("`{}` is not a SQLite database", .path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds a lock for longer than we may wait.
    #[error("failed to {op} `{}`: another process holds it", .path.display())]
    Busy {
        /// What was tried, as a verb.
        op: &'static str,
        /// The database.
        path: PathBuf,
    },
    /// A transaction was cut off by a crash, and only a writer may clean up after it.
    #[error("`{}` holds an interrupted transaction that must be rolled back first", .path.display())]
    NeedsRecovery {
        /// The database.
        path: PathBuf,
    },
    /// The database kept changing although nothing locks it.
    #[error("`{}` changed while it was read", .path.display())]
    Changed {
        /// The database.
        path: PathBuf,
    },
    /// Something is there already and must not be overwritten.
    #[error("`{}` exists already", .path.display())]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// A check's SQL does not do what a check must.
    #[error("the query {why}")]
    BadQuery {
        /// What is wrong, as the rest of a sentence.
        why: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// SQLite refused.
    #[error("failed to {op} `{}`", .path.display())]
    Sqlite {
        /// What was tried, as a verb with its object.
        op: String,
        /// The database.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("failed to {op} `{}`", .path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl SqliteError {
    pub(crate) fn io(op: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        let source = source.into();
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            std::io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Io { op, path, source },
        }
    }

    /// Sorts SQLite's answer into the cases that people can act upon.
    pub(crate) fn sqlite(op: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { op, path },
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            _ if is_hot_journal(&source) => Self::NeedsRecovery { path },
            _ => Self::Sqlite {
                op: op.to_owned(),
                path,
                source,
            },
        }
    }

    /// The same when the step concerns one table, index or trigger. The statement is left out of the
    /// message: schemas hold literals, and those can be anybody's.
    pub(crate) fn item(op: String, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::Error::{SqlInputError, SqliteFailure};
        Self::Sqlite {
            op,
            path: path.to_owned(),
            source: match source {
                SqlInputError { error, msg, .. } => SqliteFailure(error, Some(msg)),
                other => other,
            },
        }
    }
}

impl Diagnose for SqliteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::NotADatabase { .. } => ErrorKind::Corrupt,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::NeedsRecovery { .. } => ErrorKind::Failed,
            Self::Changed { .. } => ErrorKind::Transient,
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::BadQuery { .. } => ErrorKind::Usage,
            Self::Sqlite { source, .. } => kind_of(source),
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => "check the path",
            Self::NotADatabase { .. } => {
                "name the database file itself; encrypted databases can only be backed up as files"
            }
            Self::Busy { .. } => "try again when the other process is done, or allow a longer wait",
            Self::NeedsRecovery { .. } => "open it once with its application, which rolls back",
            Self::Changed { .. } => "allow writing next to the database, so that it can be locked",
            Self::Exists { .. } => "choose another path, or move what is there out of the way",
            Self::BadQuery { hint, .. } => hint,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::CrossesDevices => {
                "build the new database in the folder it is meant for: only there a move is atomic"
            }
            Self::Sqlite { .. } | Self::Io { .. } => match self.kind() {
                ErrorKind::Denied => "check who owns the file and its folder and who runs this",
                ErrorKind::NoSpace => "free some space or name another folder",
                ErrorKind::Corrupt => "restore the database from a backup that passes its checks",
                _ => return None,
            },
        };
        Some(hint.to_owned())
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            ErrorKind::Denied
        }
        Some(ErrorCode::OperationInterrupted) => ErrorKind::Interrupted,
        _ => ErrorKind::Failed,
    }
}

/// Reading a database whose last writer crashed needs a rollback, which a reader may not do.
fn is_hot_journal(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

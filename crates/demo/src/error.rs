//! What can go wrong while making or running the webshop.

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose, ErrorKind};
use rusqlite::ErrorCode;

/// The webshop could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to {op} `{}`", .path.display())]
pub struct DemoError {
    /// What was attempted: `create the webshop`, `write to the webshop`.
    pub op: &'static str,
    /// The database or folder.
    pub path: PathBuf,
    /// Whether a retry helps, and which exit code follows.
    pub kind: ErrorKind,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl DemoError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(crate) fn sqlite(op: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self {
            op,
            path: path.to_owned(),
            kind: kind_of(&source),
            source: Box::new(source),
        }
    }

    /// Returns a function for `map_err` that says what was done to which file.
    pub(crate) fn io(op: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self {
            op,
            path: path.to_owned(),
            kind: ErrorKind::of_io(&source),
            source: Box::new(source),
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::CannotOpen) => ErrorKind::NotFound,
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => ErrorKind::Denied,
        Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
        _ => ErrorKind::Failed,
    }
}

impl Diagnose for DemoError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        Some(match self.kind {
            ErrorKind::AlreadyExists => {
                "choose a path that does not exist yet; the demo never overwrites anything".into()
            }
            ErrorKind::NoSpace => {
                "free some space, or ask for fewer customers; about 1 KiB is needed for each".into()
            }
            ErrorKind::Busy => "another program holds the database; close it and try again".into(),
            _ => return None,
        })
    }
}

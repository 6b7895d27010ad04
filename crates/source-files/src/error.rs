//! Errors: one kind that ends a walk or a restore, one that concerns a single entry.

use std::io;
use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose, EntryPath, ErrorKind};
use rustix::io::Errno;

/// The next step when a disk is full.
const FREE_SPACE: &str = "free some space and run the command again";

/// A folder cannot be walked or written at all.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A pattern of the include or exclude list has no meaning.
    #[error("the {list} pattern `{pattern}` cannot be understood")]
    BadPattern {
        /// `include` or `exclude`.
        list: &'static str,
        /// The pattern as the user wrote it.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: PatternFault,
    },
    /// The folder to read is something else.
    #[error("`{}` is not a folder", .path.display())]
    NotAFolder {
        /// The path as the user named it.
        path: PathBuf,
    },
    /// The folder to restore into holds something.
    #[error("`{}` is not empty", .path.display())]
    NotEmpty {
        /// The path as the user named it.
        path: PathBuf,
    },
    /// The system refused something that everything else needs.
    #[error("failed to {op} `{}`", .path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// The path as the user named it.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternFault {
    /// It names nothing.
    #[error("it is empty")]
    Empty,
    /// Its glob syntax is broken.
    #[error("{0}")]
    Syntax(globset::ErrorKind),
}

impl FilesError {
    pub(crate) fn io(op: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            op,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

impl Diagnose for FilesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadPattern { .. } | Self::NotAFolder { .. } => ErrorKind::Usage,
            Self::NotEmpty { .. } => ErrorKind::AlreadyExists,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadPattern { .. } => Some(
                "patterns are globs such as `*.log`, `cache/**` or `/var/tmp`; write `[*]` for a literal `*`"
                    .to_owned(),
            ),
            Self::NotAFolder { .. } => Some("name a folder".to_owned()),
            Self::NotEmpty { .. } => {
                Some(
                    "choose an empty folder or one that does not exist yet; or bring this one to the snapshot's state with `--delta`, which removes what the snapshot lacks"
                        .to_owned(),
                )
            }
            Self::Io { source, .. } => match ErrorKind::of_io(source) {
                ErrorKind::NotFound => Some("check the path".to_owned()),
                ErrorKind::NoSpace => Some(FREE_SPACE.to_owned()),
                ErrorKind::Denied => Some("check who owns the folder and who runs this".to_owned()),
                _ => None,
            },
        }
    }
}

/// One entry could not be read or written; the others are not concerned.
#[derive(Debug, thiserror::Error)]
#[error("failed to {op} `{path}`")]
pub struct FileProblem {
    /// The entry, relative to the root.
    pub path: EntryPath,
    /// What was tried, as a verb.
    pub op: &'static str,
    /// The kind of the failure.
    pub kind: ErrorKind,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl FileProblem {
    pub(crate) fn new(path: &EntryPath, op: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let kind = if leads_elsewhere(&source) {
            ErrorKind::Refused
        } else {
            ErrorKind::of_io(&source)
        };
        Self {
            path: path.clone(),
            op,
            kind,
            source,
        }
    }

    /// Reports whether the entry ceased to exist while the source was read, which a living folder's
    /// entries do all the time.
    pub fn is_vanished(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }
}

impl Diagnose for FileProblem {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        (self.kind == ErrorKind::NoSpace).then(|| FREE_SPACE.to_owned())
    }
}

/// What the system says when a path meets something that it was told not to follow or enter: a link,
/// a file where a folder should be, or the way out of the root.
fn leads_elsewhere(error: &io::Error) -> bool {
    let errors = [Errno::LOOP, Errno::NOTDIR, Errno::XDEV];
    errors
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

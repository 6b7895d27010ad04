//! What can go wrong in a mounted snapshot.

use std::path::PathBuf;

use lifeboat_model::{Diagnose, ErrorKind};

/// A snapshot could not be mounted, or something in it not read.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The repository or its store failed.
    #[error(transparent)]
    Repository(#[from] lifeboat_repository::RepositoryError),

    /// There is nothing of that name or number.
    #[error("there is nothing of that name")]
    NotFound,

    /// A folder was expected.
    #[error("it is no folder")]
    NotAFolder,

    /// The snapshot has more entries than can be numbered.
    #[error("the snapshot has too many entries to be mounted")]
    TooLarge,

    /// The folder cannot be mounted on.
    #[error("failed to mount on `{}`", place.display())]
    Mount {
        /// The folder.
        place: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// Serving the mounted folder ended with an error.
    #[error("failed to serve `{}`", place.display())]
    Serve {
        /// The folder.
        place: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Diagnose for MountError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Repository(error) => error.kind(),
            Self::NotFound => ErrorKind::NotFound,
            Self::NotAFolder | Self::TooLarge => ErrorKind::Failed,
            Self::Mount { source, .. } | Self::Serve { source, .. } => ErrorKind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Mount { .. } => Some(
                "mounting needs /dev/fuse and, unless root asks, `fusermount3` (package fuse3); \
                 `lifeboat restore` needs neither"
                    .to_owned(),
            ),
            Self::TooLarge => Some("`lifeboat restore` puts it back in full".to_owned()),
            Self::NotFound | Self::NotAFolder | Self::Serve { .. } => None,
        }
    }
}

//! Where the server programs of a version are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::PostgresError;

/// The server programs of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPrograms {
    folder: PathBuf,
    major: u32,
}

impl ServerPrograms {
    /// Finds the programs of `major` in the folders `search`, such as one that is configured and
    /// those of `PATH`, and then in the places where packages put them.
    ///
    /// # Errors
    /// Fails if none of the folders has them.
    pub fn find(major: u32, search: &[PathBuf]) -> Result<Self, PostgresError> {
        let mut looked = search.to_vec();
        looked.extend(usual_places(major));
        let found = looked.iter().find(|folder| major_of(folder) == Some(major));
        match found {
            Some(folder) => Ok(Self {
                folder: beside_others(folder),
                major,
            }),
            None => Err(PostgresError::NotInstalled { major, looked }),
        }
    }

    /// Returns the major version.
    pub const fn major(&self) -> u32 {
        self.major
    }

    /// Returns the path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Follows a link to the server program to where the other programs of its version are.
fn beside_others(folder: &Path) -> PathBuf {
    let program = folder.join("postgres").canonicalize();
    let real = program
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned));
    real.unwrap_or_else(|| folder.to_owned())
}

/// Where Debian, Red Hat, source builds and Homebrew put a version.
fn usual_places(major: u32) -> Vec<PathBuf> {
    [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        format!("/usr/lib64/pgsql/postgresql-{major}/bin"),
        format!("/usr/lib/postgresql{major}/bin"),
        "/usr/local/pgsql/bin".to_owned(),
        format!("/opt/homebrew/opt/postgresql@{major}/bin"),
        format!("/usr/local/opt/postgresql@{major}/bin"),
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// Asks the server program in a folder for its version.
fn major_of(folder: &Path) -> Option<u32> {
    let mut command = Command::new(folder.join("postgres"));
    let output = command.arg("--version").output().ok()?;
    // `postgres (PostgreSQL) 15.10 (Debian 15.10-0+deb12u1)`, or `18beta1`.
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?;
    let end = version.find(|c: char| !c.is_ascii_digit());
    version[..end.unwrap_or(version.len())].parse().ok()
}

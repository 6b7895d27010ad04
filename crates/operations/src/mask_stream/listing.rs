//! What lies in a folder of CSV and JSON Lines.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lifeboat_config::{Source, SourceSpec};
use lifeboat_model::EntryKind;
use lifeboat_source_files::{FilesOptions, Walker};

use crate::error::OperationError;

/// A folder of files of rows, and what of it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableFolder<'a> {
    /// The folder.
    pub(crate) path: &'a Path,
    /// Globs of what is taken; none at all take everything.
    pub(crate) include: &'a [String],
    /// Globs of what is left out of that.
    pub(crate) exclude: &'a [String],
    /// What stands for NULL in CSV where it has no quotes.
    pub(crate) null: &'a str,
}

/// What lies in a folder and is none itself.
pub(crate) struct Below {
    /// Its place in the folder.
    pub(crate) path: PathBuf,
    /// Or a link, a socket, a device.
    pub(crate) is_file: bool,
}

impl<'a> TableFolder<'a> {
    /// All of a folder.
    pub(crate) const fn whole(path: &'a Path, null: &'a str) -> Self {
        Self {
            path,
            include: &[],
            exclude: &[],
            null,
        }
    }

    /// The folder of a source, as its backups read it; `None` if it is no folder.
    pub(crate) fn of_source(source: &'a Source) -> Option<Self> {
        match (&source.spec, &source.path) {
            (SourceSpec::Files { include, exclude }, Some(path)) => Some(Self {
                path,
                include,
                exclude,
                null: "",
            }),
            _ => None,
        }
    }

    /// Lists what lies below it at any depth, in the order of its paths.
    pub(crate) fn below(&self) -> Result<Vec<Below>, OperationError> {
        let options = FilesOptions {
            include: self.include.to_vec(),
            exclude: self.exclude.to_vec(),
            xattrs: false,
            ..FilesOptions::default()
        };
        let mut below = Vec::new();
        for found in Walker::open(self.path, &options)? {
            let entry = found?.entry;
            let is_file = match entry.kind {
                EntryKind::Directory => continue,
                EntryKind::File { .. } | EntryKind::Hardlink { .. } => true,
                _ => false,
            };
            below.push(Below {
                path: PathBuf::from(OsStr::from_bytes(entry.path.as_bytes())),
                is_file,
            });
        }
        Ok(below)
    }
}

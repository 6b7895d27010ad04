//! Where a folder is restored to until it is whole, and how it gets its name.
//!
//! Owns the promise that a part of a tree never looks like all of it: a tree is made in private and
//! gets its name at the end; one that is changed in place carries a mark until it is done.

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_model::{ErrorKind, RunId};
use lifeboat_source_files::{FilesError, Mark, TreeReport, TreeWriter};

use crate::error::OperationError;
use crate::scratch::Scratch;

/// The folder inside an existing target in which a restore is made.
pub(crate) const INSIDE: &str = ".lifeboat-restoring";
/// The file in a target that is being changed in place.
pub(crate) const MARK: &str = ".lifeboat-restore-incomplete";

/// The folder that file systems keep at their root: a disk with nothing else on it is empty.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// A private folder for a tree, and the name that it gets.
pub(crate) struct Staging {
    scratch: Scratch,
    target: PathBuf,
    exists: bool,
}

impl Staging {
    /// Prepares a restore to `target`, which is missing or an empty folder.
    ///
    /// A missing target gets its name by one rename. A folder that is there stays the folder it is,
    /// be it a mount point or somebody's working directory: the tree is made in a private folder
    /// inside, and what is in it is moved up at the end.
    pub(crate) fn prepare(target: &Path, run: RunId) -> Result<Self, OperationError> {
        let run = run.to_string();
        if !is_empty_folder(target)? {
            let scratch = Scratch::beside(target, ".restoring", &run)?;
            return Ok(Self {
                scratch,
                target: target.to_owned(),
                exists: false,
            });
        }
        let scratch = Scratch::inside(target, INSIDE, &run)?;
        Ok(Self {
            scratch,
            target: target.to_owned(),
            exists: true,
        })
    }

    /// Returns where the tree is made.
    pub(crate) fn tree(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    /// Gives the finished tree its name.
    pub(crate) fn publish(self, tree: TreeWriter) -> Result<TreeReport, OperationError> {
        if !self.exists {
            return Ok(tree.finish_as(&self.target)?);
        }
        let scratch = self.scratch;
        Ok(tree.finish_into(&self.target, || drop(scratch))?)
    }
}

/// Reports whether `target` is an empty folder; a missing one is none. Anything else is refused.
pub(crate) fn is_empty_folder(target: &Path) -> Result<bool, OperationError> {
    let failed = |op| move |error| OperationError::io(op, target, error);
    match target.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        answer => answer.map_err(failed("read"))?,
    };
    match target.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refused(
                target,
                "it is a link to nothing",
                "remove the link, or name another place",
            ));
        }
        Ok(found) if !found.is_dir() => {
            let path = target.to_owned();
            return Err(FilesError::NotAFolder { path }.into());
        }
        answer => answer.map_err(failed("read"))?,
    };
    let mut interrupted = false;
    let mut others = 0;
    for entry in fs::read_dir(target).map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let private = is_folder && entry.file_name() == INSIDE;
        interrupted |= private || entry.file_name() == MARK;
        let is_lost = is_folder && entry.file_name() == LOST_AND_FOUND;
        others += usize::from(!private && !is_lost);
    }
    match (others, interrupted) {
        (0, _) => Ok(true),
        (_, true) => Err(OperationError::Target {
            path: target.to_owned(),
            what: "it holds a part of a restore that was interrupted".to_owned(),
            kind: ErrorKind::AlreadyExists,
            hint: "`--delta` completes it; or remove the folder".to_owned(),
        }),
        (_, false) => {
            let path = target.to_owned();
            Err(FilesError::NotEmpty { path }.into())
        }
    }
}

fn refused(target: &Path, what: &str, hint: &str) -> OperationError {
    OperationError::Target {
        path: target.to_owned(),
        what: what.to_owned(),
        kind: ErrorKind::Usage,
        hint: hint.to_owned(),
    }
}

/// Marks `target` as being between two states; fails if another restore is at work there.
pub(crate) fn mark(target: &Path) -> Result<Mark, OperationError> {
    let text = "A restore to this folder has not ended: what is here mixes two states.\n\
                Run `lifeboat restore --delta` to this folder to complete it.\n";
    Mark::set(target, MARK, text)?.ok_or_else(|| OperationError::Target {
        path: target.to_owned(),
        what: "another restore to it is under way".to_owned(),
        kind: ErrorKind::Busy,
        hint: "wait for it to end".to_owned(),
    })
}

//! Putting a database back: beside its target first, so that the target's name only ever means a
//! whole one.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lifeboat_model::{EntryKind, ErrorKind, RunId};
use lifeboat_repository::{Differing, SnapshotReader, StoredEntry};
use lifeboat_source_files::{FileSlot, TreeWriter};
use lifeboat_source_sqlite::SqliteError;

use crate::delta::{Delta, DeltaReport};
use crate::error::OperationError;
use crate::scratch::Scratch;
use crate::selection::Selection;
use crate::session::Session;
use crate::tree::{Feeder, Tree, Written, write_fed};

/// Refuses a target that is there.
pub(crate) fn refuse_existing(target: &Path) -> Result<(), OperationError> {
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    let path = target.to_owned();
    Err(SqliteError::Exists { path }.into())
}

/// Restores a database. With `delta`, the one that is there is replaced by a new one, which takes
/// over the parts that are the same; what is there serves until the last moment.
pub(crate) async fn restore(
    reader: &SnapshotReader,
    mut selection: Selection<'_>,
    target: &Path,
    delta: Option<Delta>,
    session: &Session,
) -> Result<(Written, Option<DeltaReport>), OperationError> {
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let scratch = Scratch::beside(target, ".restoring", &run.to_string())?;
    let folder = scratch.path().join("tree");
    let tree = Tree::new(TreeWriter::create(&folder)?);
    let old = match delta {
        Some(_) => Some(open_old(target)?),
        None => None,
    };
    let progress = &*session.progress;
    let feed = |mut feeder: Feeder| async move {
        let mut database = PathBuf::new();
        while let Some(stored) = selection.next().await? {
            let EntryKind::File { .. } = stored.entry.kind else {
                feeder.writer().add(&stored.entry)?;
                continue;
            };
            database = PathBuf::from(OsStr::from_bytes(stored.entry.path.as_bytes()));
            let rest = match &old {
                Some(old) => Some(take_over(reader, &stored, old, &feeder).await?),
                None => None,
            };
            feeder.file(stored, rest).await?;
        }
        feeder.end().await;
        Ok(database)
    };
    let (bytes, database) = write_fed(reader, &tree, progress, feed).await?;
    let report = tree.into_writer().finish()?;
    let restored = folder.join(database);
    match delta {
        None => lifeboat_source_sqlite::install(&restored, target)?,
        Some(_) => drop(lifeboat_source_sqlite::publish(&restored, target, 0)?),
    }
    let delta = delta.map(|_| DeltaReport::all_new(1));
    Ok((Written { report, bytes }, delta))
}

/// Makes a new file of those parts of the old one that are the same; returns what is missing.
///
/// The old file may be in use: what is taken over is what was compared, byte for byte.
async fn take_over(
    reader: &SnapshotReader,
    stored: &StoredEntry,
    (old, path): &(File, PathBuf),
    feeder: &Feeder,
) -> Result<(Differing, FileSlot), OperationError> {
    let slot = feeder.writer().create_file(&stored.entry)?;
    let read = |offset, buffer: &mut [u8]| {
        let read = read_at(old, offset, buffer);
        read.map_err(|error| OperationError::io("read", path, error))
    };
    let same = |offset, bytes: &[u8]| Ok(slot.write_at(offset, bytes)?);
    let check = reader.content_check()?;
    let pages = reader.page_maps()?.of(stored).await?;
    let differing = check.differing(stored, pages.as_ref(), &mut Vec::new(), read, same)?;
    Ok((differing, slot))
}

fn open_old(target: &Path) -> Result<(File, PathBuf), OperationError> {
    let failed = |error| OperationError::io("read", target, error);
    let file = File::open(target).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(OperationError::Target {
            path: target.to_owned(),
            what: "it is no file".to_owned(),
            kind: ErrorKind::Usage,
            hint: "name the database file itself".to_owned(),
        });
    }
    Ok((file, target.to_owned()))
}

fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

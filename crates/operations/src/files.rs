//! Folders: from a walk into a snapshot.

use std::path::Path;

use lifeboat_model::EntryKind;
use lifeboat_repository::{Layout, SnapshotWriter};
use lifeboat_runtime::Progress;
use lifeboat_source_files::{FileProblem, FilesOptions, Found, Piece, Stability, Walker};

use crate::error::OperationError;

/// Bytes read from a file at a time: most files come whole.
const READ_LEN: usize = 1 << 20;

/// Reads a folder into a snapshot. Items that cannot be read are noted in it and left out.
///
/// Reading blocks the calling task, which must therefore have a thread of its own.
pub(crate) async fn read_folder(
    root: &Path,
    include: &[String],
    exclude: &[String],
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<(), OperationError> {
    let options = FilesOptions {
        include: include.to_vec(),
        exclude: exclude.to_vec(),
        // Asked for where they are needed: an unchanged entry has those of its parent.
        xattrs: false,
        ..FilesOptions::default()
    };
    // Looking at entries and reading files wait for the system at different places.
    let mut walker = Walker::open(root, &options)?.ahead();
    while let Some(found) = walker.next() {
        let mut found = match found {
            Ok(found) => found,
            Err(problem) => {
                note(writer, progress, &problem);
                continue;
            }
        };
        if writer.reuse(&found.entry).await? {
            continue;
        }
        if !matches!(found.entry.kind, EntryKind::File { .. }) {
            match found.xattrs() {
                Ok(xattrs) => found.entry.metadata.xattrs = xattrs,
                Err(problem) => note(writer, progress, &problem),
            }
            writer.add(found.entry).await?;
        } else if let Err(problem) = read_file(&found, writer, progress).await? {
            // Other names of the file must not refer to one that is not there.
            walker.forget_link(&found);
            note(writer, progress, &problem);
        }
    }
    Ok(())
}

/// Reads one file. The inner result says whether the source could be read.
async fn read_file(
    found: &Found,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<Result<(), FileProblem>, OperationError> {
    let mut reader = match found.open() {
        Ok(reader) => reader,
        Err(problem) => return Ok(Err(problem)),
    };
    // What the walk saw may be older than what is read now.
    let mut entry = found.entry.clone();
    entry.metadata = reader.metadata();
    match reader.xattrs() {
        Ok(xattrs) => entry.metadata.xattrs = xattrs,
        Err(problem) => note(writer, progress, &problem),
    }
    // Only now is the file part of the snapshot: what cannot even be opened leaves no trace in it.
    writer.begin_file(entry, Layout::Stream).await?;
    let fault = loop {
        let room = writer.room();
        let len = room.len().min(READ_LEN);
        match reader.read(&mut room[..len]) {
            Ok(Piece::Data(len)) => {
                writer.filled(len).await?;
                progress.advance(len as u64);
            }
            Ok(Piece::Hole(len)) => writer.hole(len).await?,
            Ok(Piece::End) => break None,
            Err(problem) => break Some(problem),
        }
    };
    match fault {
        None => {
            writer.end_file().await?;
            if !matches!(reader.finish(), Ok(Stability::Stable)) {
                let why = "it changed while it was read, so it may mix two states";
                progress.warn(&format!("`{}`: {why}", found.entry.path));
                writer.skip(found.entry.path.clone(), why);
            }
            Ok(Ok(()))
        }
        Some(problem) => {
            writer.abandon_file();
            Ok(Err(problem))
        }
    }
}

fn note(writer: &mut SnapshotWriter, progress: &dyn Progress, problem: &FileProblem) {
    if problem.is_vanished() {
        return;
    }
    let reason = format!("{problem}: {}", problem.source);
    progress.warn(&reason);
    writer.skip(problem.path.clone(), reason);
}

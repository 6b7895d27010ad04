//! Folders: from a walk into a snapshot, and from a snapshot into a tree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use lifeboat_model::{EntryKind, EntryPath};
use lifeboat_repository::{Layout, Manifest, Pieces, SnapshotWriter};
use lifeboat_runtime::Progress;
use lifeboat_source_files::{
    FileProblem, FilesOptions, Found, Piece, Stability, TreeReport, TreeWriter, Walker,
};

use crate::error::OperationError;

/// Bytes read from a file at a time.
const READ_LEN: usize = 256 << 10;
/// Files that are open at the same time: well below the usual limit of 1024 descriptors.
const FILES_OPEN_MAX: usize = 512;

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
        ..FilesOptions::default()
    };
    let mut walker = Walker::open(root, &options)?;
    let mut buffer = vec![0; READ_LEN];
    while let Some(found) = walker.next() {
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                note(writer, progress, &problem);
                continue;
            }
        };
        if !matches!(found.entry.kind, EntryKind::File { .. }) {
            writer.add(found.entry).await?;
        } else if let Err(problem) = read_file(&found, writer, &mut buffer, progress).await? {
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
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<Result<(), FileProblem>, OperationError> {
    if writer.reuse(&found.entry).await? {
        return Ok(Ok(()));
    }
    let mut reader = match found.open() {
        Ok(reader) => reader,
        Err(problem) => return Ok(Err(problem)),
    };
    // Only now is the file part of the snapshot: what cannot even be opened leaves no trace in it.
    writer
        .begin_file(found.entry.clone(), Layout::Stream)
        .await?;
    let fault = loop {
        match reader.read(buffer) {
            Ok(Piece::Data(len)) => {
                writer.write(&buffer[..len]).await?;
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
            if matches!(reader.finish(), Ok(Stability::ChangedWhileReading)) {
                progress.warn(&format!("`{}` changed while it was read", found.entry.path));
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

/// Writes entries of a snapshot below `target`, which must be empty or missing.
///
/// `wanted` picks the entries. Returns what could not be put back besides the tree's own report.
pub(crate) async fn write_tree(
    manifest: &Manifest,
    target: &Path,
    wanted: impl Fn(&EntryPath) -> bool,
    progress: &dyn Progress,
) -> Result<(TreeReport, u64), OperationError> {
    let mut tree = TreeWriter::create(target)?;
    let mut files = Vec::new();
    for (number, stored) in manifest.entries.iter().enumerate() {
        match stored.entry.kind {
            _ if !wanted(&stored.entry.path) => {}
            EntryKind::File { .. } => files.push(number),
            _ => tree.add(&stored.entry)?,
        }
    }
    let mut bytes = 0;
    for window in files.chunks(FILES_OPEN_MAX) {
        bytes += write_files(manifest, &tree, window, progress).await?;
    }
    Ok((tree.finish()?, bytes))
}

/// Writes some files; each is open until its last piece came.
async fn write_files(
    manifest: &Manifest,
    tree: &TreeWriter,
    files: &[usize],
    progress: &dyn Progress,
) -> Result<u64, OperationError> {
    let mut slots = BTreeMap::new();
    for number in files {
        let slot = tree.create_file(&manifest.entries[*number].entry)?;
        slots.insert(*number, Arc::new(slot));
    }
    let mut bytes = 0;
    let mut stream = Box::pin(manifest.fetch(files.iter().copied())?);
    while let Some(pieces) = stream.next().await {
        let pieces = pieces?;
        let len: u64 = pieces
            .pieces
            .iter()
            .map(|piece| piece.range.len() as u64)
            .sum();
        write_pieces(&pieces, |file| slots[&file].clone()).await?;
        bytes += len;
        progress.advance(len);
    }
    for (number, slot) in slots {
        let slot = Arc::into_inner(slot).expect("all pieces are written");
        slot.finish(&manifest.entries[number].entry)?;
    }
    Ok(bytes)
}

async fn write_pieces(
    pieces: &Pieces,
    slot: impl Fn(usize) -> Arc<lifeboat_source_files::FileSlot>,
) -> Result<(), OperationError> {
    let bytes = pieces.bytes.clone();
    let writes: Vec<_> = pieces
        .pieces
        .iter()
        .map(|piece| {
            (
                slot(piece.destination.file),
                piece.destination.offset,
                piece.range.clone(),
            )
        })
        .collect();
    let written = tokio::task::spawn_blocking(move || {
        writes
            .into_iter()
            .try_for_each(|(slot, offset, range)| slot.write_at(offset, &bytes[range]))
    });
    Ok(written.await.expect("writing does not panic")?)
}

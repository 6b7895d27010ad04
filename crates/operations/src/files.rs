//! Folders: from a walk into a snapshot, and from a snapshot into a tree.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use lifeboat_model::{Entry, EntryKind, EntryPath};
use lifeboat_repository::{Layout, Manifest, Pieces, SnapshotWriter};
use lifeboat_runtime::Progress;
use lifeboat_source_files::{
    FileProblem, FileSlot, FilesOptions, Found, Piece, Stability, TreeReport, TreeWriter, Walker,
};

use crate::error::OperationError;

/// Bytes read from a file at a time: most files come whole.
const READ_LEN: usize = 1 << 20;
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
        match &stored.entry.kind {
            _ if !wanted(&stored.entry.path) => {}
            EntryKind::File { .. } => files.push((number, stored.entry.clone())),
            EntryKind::Hardlink { first } if !wanted(first) => {
                files.extend(linked_file(manifest, &stored.entry, first));
            }
            _ => tree.add(&stored.entry)?,
        }
    }
    let mut bytes = 0;
    for window in files.chunks(FILES_OPEN_MAX) {
        bytes += write_files(manifest, &tree, window, progress).await?;
    }
    Ok((tree.finish()?, bytes))
}

/// Makes a file of a link whose first name is not restored: it brings the content itself.
fn linked_file(manifest: &Manifest, link: &Entry, first: &EntryPath) -> Option<(usize, Entry)> {
    let number = manifest
        .entries
        .iter()
        .position(|stored| stored.entry.path == *first)?;
    let kind = manifest.entries[number].entry.kind.clone();
    Some((
        number,
        Entry {
            kind,
            ..link.clone()
        },
    ))
}

/// Writes some files; each is open until its last piece came.
///
/// Each is the number of the entry that has the content, and the entry to make.
async fn write_files(
    manifest: &Manifest,
    tree: &TreeWriter,
    files: &[(usize, Entry)],
    progress: &dyn Progress,
) -> Result<u64, OperationError> {
    let mut slots = Vec::new();
    for (_, entry) in files {
        slots.push(Arc::new(tree.create_file(entry)?));
    }
    let contents = files
        .iter()
        .enumerate()
        .map(|(slot, (number, _))| (slot, *number));
    let mut bytes = 0;
    let mut stream = Box::pin(manifest.fetch(contents)?);
    while let Some(pieces) = stream.next().await {
        let pieces = pieces?;
        let len: u64 = pieces
            .pieces
            .iter()
            .map(|piece| piece.range.len() as u64)
            .sum();
        write_pieces(&pieces, &slots).await?;
        bytes += len;
        progress.advance(len);
    }
    drop(stream);
    for (slot, (_, entry)) in slots.into_iter().zip(files) {
        Arc::into_inner(slot)
            .expect("all pieces are written")
            .finish(entry)?;
    }
    Ok(bytes)
}

async fn write_pieces(pieces: &Pieces, slots: &[Arc<FileSlot>]) -> Result<(), OperationError> {
    let bytes = pieces.bytes.clone();
    let place = |piece: &lifeboat_repository::Piece| {
        let destination = piece.destination;
        (
            slots[destination.file].clone(),
            destination.offset,
            piece.range.clone(),
        )
    };
    let writes: Vec<_> = pieces.pieces.iter().map(place).collect();
    let written = tokio::task::spawn_blocking(move || {
        let mut writes = writes.into_iter();
        writes.try_for_each(|(slot, offset, range)| slot.write_at(offset, &bytes[range]))
    });
    Ok(written.await.expect("writing does not panic")?)
}

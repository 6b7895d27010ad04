//! Bringing a folder that is there to the state of a snapshot: `restore --delta`.
//!
//! Both sides come in path order, so one walk over the two decides about each entry on its own: kept,
//! adjusted, written, removed. What a file holds is compared by the ids of its chunks, and of a file
//! that differs only what is not there already is fetched. Must never follow a link out of the target.

use std::collections::HashSet;
use std::path::Path;

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata};
use lifeboat_repository::{ContentCheck, PageHashes, PageMaps, SnapshotReader, StoredEntry};
use lifeboat_runtime::Progress;
use lifeboat_source_files::{
    ContentReader, FileProblem, FilesOptions, Found, PathFilter, TreeWriter, Walker,
};
use serde::Serialize;

use crate::error::OperationError;
use crate::selection::Selection;
use crate::staging::{self, INSIDE, LOST_AND_FOUND, MARK};
use crate::tree::{Feeder, Tree, Written, write_fed};

/// Paths that a report lists of each kind of change.
const LISTED_MAX: usize = 100;

/// How a restore treats what is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// Take files of the same size and mtime for equal without reading them.
    pub trust_mtime: bool,
}

/// Entries to which the same happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Changes {
    /// How many there are.
    pub count: u64,
    /// The first of them, a hundred at most.
    pub paths: Vec<String>,
}

impl Changes {
    /// Adds those of another folder.
    fn add(&mut self, other: Self) {
        self.count += other.count;
        let room = LISTED_MAX.saturating_sub(self.paths.len());
        self.paths.extend(other.paths.into_iter().take(room));
    }

    fn note(&mut self, path: &EntryPath) {
        self.count += 1;
        if self.paths.len() < LISTED_MAX {
            self.paths.push(path.to_string());
        }
    }
}

/// What a delta restore did, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeltaReport {
    /// Whether files of the same size and mtime were taken for equal unread.
    pub trust_mtime: bool,
    /// Entries that were as in the snapshot and were not touched.
    pub kept: u64,
    /// Entries whose owner, permissions, attributes or time were put right.
    pub adjusted: Changes,
    /// Entries that were missing or other than in the snapshot.
    pub written: Changes,
    /// Entries that the snapshot does not have; what lay in a folder goes with it, uncounted.
    pub removed: Changes,
}

impl DeltaReport {
    /// Adds what was done to another folder.
    pub(crate) fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.adjusted.add(other.adjusted);
        self.written.add(other.written);
        self.removed.add(other.removed);
    }

    /// What a restore to nothing comes to.
    pub(crate) fn all_new(entries: u64) -> Self {
        Self {
            written: Changes {
                count: entries,
                paths: Vec::new(),
            },
            ..Self::default()
        }
    }
}

/// What to do about an entry of the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Keep,
    Adjust,
    Write,
    /// A file whose content has to be compared first.
    Compare,
}

/// Decides about an entry from what the walk says about the one of the same name.
fn decide(wanted: &Entry, now: &Entry, rewritten: &HashSet<EntryPath>, delta: Delta) -> Decision {
    let by_metadata = || match differs(&now.metadata, &wanted.metadata) {
        true => Decision::Adjust,
        false => Decision::Keep,
    };
    match (&wanted.kind, &now.kind) {
        (EntryKind::File { size }, EntryKind::File { size: size_now }) => {
            let same_time = wanted.metadata.mtime_ns == now.metadata.mtime_ns;
            match size == size_now {
                true if delta.trust_mtime && same_time => by_metadata(),
                true => Decision::Compare,
                false => Decision::Write,
            }
        }
        // The metadata are those of the file, which its first name has seen to.
        (EntryKind::Hardlink { first }, EntryKind::Hardlink { first: first_now }) => {
            match first == first_now && !rewritten.contains(first) {
                true => Decision::Keep,
                false => Decision::Write,
            }
        }
        (wanted, now) if wanted == now => by_metadata(),
        _ => Decision::Write,
    }
}

/// Compares what a restore can put right; a folder's time only tells that something in it changes.
fn differs(now: &Metadata, wanted: &Metadata) -> bool {
    (now.mode, now.uid, now.gid, now.mtime_ns)
        != (wanted.mode, wanted.uid, wanted.gid, wanted.mtime_ns)
        || now.xattrs != wanted.xattrs
}

/// One pass over snapshot and folder.
struct Pass<'a> {
    delta: Delta,
    filter: &'a PathFilter,
    check: ContentCheck,
    maps: PageMaps,
    walker: std::iter::Peekable<Walker>,
    progress: &'a dyn Progress,
    report: DeltaReport,
    /// What is removed or replaced: whatever the walk still finds in it goes along.
    gone: Option<EntryPath>,
    /// First names of files that are made anew: their other names are, too.
    rewritten: HashSet<EntryPath>,
    buffer: Vec<u8>,
}

/// Brings `target` to what `selection` says.
pub(crate) async fn update_folder(
    reader: &SnapshotReader,
    selection: Selection<'_>,
    target: &Path,
    run: &str,
    (delta, filter): (Delta, &PathFilter),
    progress: &dyn Progress,
) -> Result<(Written, DeltaReport), OperationError> {
    // The walk looks at the root first: setting the mark touches its time.
    let pass = Pass::new(reader, target, (delta, filter), progress)?;
    let mark = staging::mark(target)?;
    let tree = Tree::new(TreeWriter::update(target, run)?);
    let feed = |feeder: Feeder| pass.run(selection, Some(feeder));
    let (bytes, changes) = write_fed(reader, &tree, progress, feed).await?;
    let report = tree.into_writer().finish_update(mark)?;
    Ok((Written { report, bytes }, changes))
}

/// Tells what [`update_folder`] would do, and changes nothing.
pub(crate) async fn preview(
    reader: &SnapshotReader,
    selection: Selection<'_>,
    target: &Path,
    (delta, filter): (Delta, &PathFilter),
    progress: &dyn Progress,
) -> Result<DeltaReport, OperationError> {
    let pass = Pass::new(reader, target, (delta, filter), progress)?;
    pass.run(selection, None).await
}

impl<'a> Pass<'a> {
    fn new(
        reader: &SnapshotReader,
        target: &Path,
        (delta, filter): (Delta, &'a PathFilter),
        progress: &'a dyn Progress,
    ) -> Result<Self, OperationError> {
        Ok(Self {
            delta,
            filter,
            check: reader.content_check()?,
            maps: reader.page_maps()?,
            walker: Walker::open(target, &FilesOptions::default())?.peekable(),
            progress,
            report: DeltaReport {
                trust_mtime: delta.trust_mtime,
                ..DeltaReport::default()
            },
            gone: None,
            rewritten: HashSet::new(),
            buffer: Vec::new(),
        })
    }

    async fn run(
        mut self,
        mut selection: Selection<'_>,
        mut feeder: Option<Feeder>,
    ) -> Result<DeltaReport, OperationError> {
        while let Some(stored) = selection.next().await? {
            let mut same = None;
            while let Some(found) = self.found_up_to(Some(&stored.entry.path))? {
                if found.entry.path == stored.entry.path {
                    same = Some(found);
                    break;
                }
                self.remove_extra(&found, feeder.as_ref())?;
            }
            match same {
                Some(found) => self.settle(stored, &found, feeder.as_mut()).await?,
                None => self.write(stored, feeder.as_mut()).await?,
            }
        }
        while let Some(found) = self.found_up_to(None)? {
            self.remove_extra(&found, feeder.as_ref())?;
        }
        if let Some(feeder) = feeder {
            feeder.end().await;
        }
        Ok(self.report)
    }

    /// Returns the next entry on disk that is not behind `path`, those that go along with something
    /// left out.
    fn found_up_to(&mut self, path: Option<&EntryPath>) -> Result<Option<Found>, FileProblem> {
        loop {
            let at = match self.walker.peek() {
                None => return Ok(None),
                Some(Ok(found)) => &found.entry.path,
                Some(Err(problem)) => &problem.path,
            };
            if path.is_some_and(|path| at > path) {
                return Ok(None);
            }
            // What the file system itself keeps there may be closed to us, and is not looked at.
            let is_lost = at.as_bytes() == LOST_AND_FOUND.as_bytes();
            let is_gone = self.gone.as_ref().is_some_and(|gone| lies_in(at, gone));
            match self.walker.next().expect("it was peeked at") {
                _ if is_gone => {}
                Ok(found) => return Ok(Some(found)),
                Err(problem) if problem.is_vanished() || is_lost => {}
                Err(problem) => return Err(problem),
            }
        }
    }

    fn remove_extra(&mut self, found: &Found, feeder: Option<&Feeder>) -> Result<(), FileProblem> {
        let path = &found.entry.path;
        let is_folder = found.entry.kind == EntryKind::Directory;
        // Every ext file system has one at its root, and wants it back.
        let is_ours = [MARK, LOST_AND_FOUND].map(str::as_bytes);
        if is_ours.contains(&path.as_bytes())
            || path.is_root()
            || !self.filter.is_match(path, is_folder)
        {
            return Ok(());
        }
        if let Some(feeder) = feeder {
            feeder.writer().remove(path)?;
        }
        // What an interrupted restore left is not the user's, and nothing he would miss.
        if path.as_bytes() != INSIDE.as_bytes() {
            self.report.removed.note(path);
        }
        self.gone = Some(path.clone());
        Ok(())
    }

    async fn settle(
        &mut self,
        stored: StoredEntry,
        found: &Found,
        feeder: Option<&mut Feeder>,
    ) -> Result<(), OperationError> {
        let mut decision = decide(&stored.entry, &found.entry, &self.rewritten, self.delta);
        let (mut file, mut pages) = (None, None);
        if decision == Decision::Compare {
            let opened = found.open()?;
            pages = self.maps.of(&stored).await?;
            decision = self.compare(&stored, pages.as_ref(), found, &opened)?;
            file = Some(opened);
        }
        let path = &stored.entry.path;
        let size = match stored.entry.kind {
            EntryKind::File { size } => size,
            _ => 0,
        };
        match decision {
            Decision::Keep => self.report.kept += 1,
            Decision::Adjust => self.report.adjusted.note(path),
            Decision::Write | Decision::Compare => {
                if found.has_other_names() {
                    self.rewritten.insert(path.clone());
                }
                if found.entry.kind == EntryKind::Directory {
                    self.gone = Some(path.clone());
                }
                return match file.filter(|_| decision == Decision::Compare) {
                    Some(file) => self.patch(stored, pages.as_ref(), &file, feeder).await,
                    None => self.write(stored, feeder).await,
                };
            }
        }
        self.progress.advance(size);
        let is_folder = stored.entry.kind == EntryKind::Directory;
        match feeder {
            // A folder gets its metadata at the end in any case: what happens in it touches its time.
            Some(feeder) if is_folder || decision == Decision::Adjust => {
                Ok(feeder.writer().keep(&stored.entry, &found.entry.metadata)?)
            }
            _ => Ok(()),
        }
    }

    /// Tells whether the content is the same; `Compare` says that it is not.
    fn compare(
        &mut self,
        stored: &StoredEntry,
        pages: Option<&PageHashes>,
        found: &Found,
        file: &ContentReader,
    ) -> Result<Decision, FileProblem> {
        let read = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
        let same = |_, _: &[u8]| Ok(());
        let differing = self
            .check
            .differing(stored, pages, &mut self.buffer, read, same)?;
        let metadata_differ = differs(&found.entry.metadata, &stored.entry.metadata);
        Ok(match differing.is_empty() {
            true if metadata_differ => Decision::Adjust,
            true => Decision::Keep,
            false if differing.is_everything() => Decision::Write,
            false => Decision::Compare,
        })
    }

    /// Makes a file anew from the parts of the old one that are right, and what has to be fetched.
    async fn patch(
        &mut self,
        stored: StoredEntry,
        pages: Option<&PageHashes>,
        old: &ContentReader,
        feeder: Option<&mut Feeder>,
    ) -> Result<(), OperationError> {
        self.report.written.note(&stored.entry.path);
        let Some(feeder) = feeder else { return Ok(()) };
        let new = feeder.writer().create_file(&stored.entry)?;
        let mut taken = 0;
        let read = |offset, buffer: &mut [u8]| old.read_at(offset, buffer);
        let same = |offset, bytes: &[u8]| {
            taken += bytes.len() as u64;
            new.write_at(offset, bytes)
        };
        let differing = self
            .check
            .differing(&stored, pages, &mut self.buffer, read, same)?;
        self.progress.advance(taken);
        feeder.file(stored, Some((differing, new))).await
    }

    /// Makes an entry that is missing, or other than it should be, from what is stored.
    async fn write(
        &mut self,
        stored: StoredEntry,
        feeder: Option<&mut Feeder>,
    ) -> Result<(), OperationError> {
        self.report.written.note(&stored.entry.path);
        match (&stored.entry.kind, feeder) {
            (_, None) => Ok(()),
            (EntryKind::File { .. }, Some(feeder)) => feeder.file(stored, None).await,
            (EntryKind::Socket, Some(feeder)) => {
                // Nothing can be made in its place, and what has its name is not it.
                feeder.writer().remove(&stored.entry.path)?;
                Ok(feeder.writer().add(&stored.entry)?)
            }
            (_, Some(feeder)) => Ok(feeder.writer().add(&stored.entry)?),
        }
    }
}

fn lies_in(path: &EntryPath, folder: &EntryPath) -> bool {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes());
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

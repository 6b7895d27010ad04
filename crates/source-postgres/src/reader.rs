//! Reads a cluster on a thread of its own, ahead of whoever stores it.
//!
//! The files are read while the server writes to them: between the start and the stop of a base
//! backup that is sound, since the log repairs whatever was caught half-way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Entry, EntryKind, EntryPath, Lsn, Metadata, WalFileName};
use rustix::fs::Advice;
use tokio::sync::mpsc;

use crate::backup::BackupEnd;
use crate::control::ControlFile;
use crate::data_directory::{DataDirectory, Found, Stop, join, layout, metadata_of, walk};
use crate::error::PostgresError;
use crate::outlet::{BLOCK_BYTES, Outlet, read_full};
use crate::page::{self, PAGE_BYTES, Page, PageVerdict};
use crate::rules::RelationFile;

/// Items that may wait: at most so many mebibytes.
const ITEMS_AHEAD: usize = 16;
/// How many damaged pages are listed; the rest is only counted.
const PROBLEMS_MAX: usize = 1_000;
/// How often a page that looks damaged is read again, since the server may be writing it.
const REREADS: u32 = 5;
const REREAD_PAUSE: Duration = Duration::from_millis(2);
/// Files from this size on are announced to the kernel as read from front to back.
const READAHEAD_FROM_BYTES: u64 = 1 << 20;

/// The next thing of a cluster.
#[derive(Debug)]
pub enum ClusterItem {
    /// A folder or a link, complete.
    Entry(Entry),
    /// A file begins; its blocks follow, then [`ClusterItem::FileEnd`].
    File {
        /// The file. Its content is exactly as long as this says.
        entry: Entry,
        /// Whether it is a relation: pages of [`PAGE_BYTES`].
        paged: bool,
    },
    /// The next bytes of the file: a mebibyte, except at its end.
    Block(Bytes),
    /// The file is complete.
    FileEnd,
    /// The cluster is complete. Nothing follows.
    End(Box<ReadEnd>),
}

/// What is known once everything was read.
#[derive(Debug, Clone)]
pub struct ReadEnd {
    /// The control file, read after all other files and before the backup was stopped: what it says
    /// of a standby's recovery must not lie after the stop.
    pub control: ControlFile,
    /// What was read.
    pub stats: ReadStats,
    /// Pages whose checksum is wrong though the log may repair them: it depends on where the
    /// backup stops.
    suspects: Vec<PageProblem>,
}

impl ReadEnd {
    /// Returns the figures, once it is known where the backup stopped: a page that was written
    /// between its start and its stop is repaired by the log, any other is damaged.
    pub fn settle(&self, stop: Lsn) -> ReadStats {
        let mut stats = self.stats.clone();
        for suspect in self.suspects.iter().filter(|page| page.lsn > stop) {
            stats.note(suspect.clone());
        }
        stats
    }
}

/// What was read of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Files.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Pages whose checksum was looked at.
    pub pages_verified: u64,
    /// Files that were listed and gone before they could be opened.
    pub vanished: u64,
    /// Zeros put in place of what files lost while they were read, bytes.
    pub padded_bytes: u64,
    /// How many pages are damaged.
    pub damaged_pages: u64,
    /// The first of them.
    pub problems: Vec<PageProblem>,
}

impl ReadStats {
    fn note(&mut self, problem: PageProblem) {
        self.damaged_pages += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// A page whose checksum is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageProblem {
    /// The file, as the snapshot names it.
    pub path: EntryPath,
    /// The number of the page in its relation.
    pub block: u32,
    /// How new the page claims to be.
    pub lsn: Lsn,
}

/// Whether pages are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageChecks {
    /// If the cluster has checksums.
    IfThere,
    /// Not at all.
    Off,
}

/// What makes the files a cluster again, all of it from the time of the backup.
#[derive(Debug, Clone)]
pub struct RecoveryFiles {
    /// The data directory, for the log and the owner.
    pub data_directory: PathBuf,
    /// The control file from [`ReadEnd`].
    pub control: ControlFile,
    /// What the server said when the backup was stopped.
    pub end: BackupEnd,
    /// Files of `pg_wal` that the snapshot carries, so that it needs no archive.
    pub wal: Vec<WalFileName>,
}

/// Hands out a cluster as entries and bytes, in the order of a snapshot.
///
/// Dropping it ends the reading.
#[derive(Debug)]
pub struct ClusterReader {
    items: mpsc::Receiver<ClusterItem>,
    thread: Option<JoinHandle<Result<(), Stop>>>,
}

impl ClusterReader {
    /// Begins to read the data directory and the tablespaces: `data/…` and `pg_tblspc/…`. The
    /// backup, whose start position is `start`, must have been started.
    pub fn start(directory: DataDirectory, start: Lsn, checks: PageChecks) -> Self {
        Self::spawn(move |outlet| {
            let checks = directory.control().checksums && checks == PageChecks::IfThere;
            let pages_per_file = directory.control().pages_per_file;
            let mut reading = Reading {
                outlet,
                start,
                checks,
                pages_per_file,
                stats: ReadStats::default(),
                suspects: Vec::new(),
            };
            walk(&directory, &mut |found| reading.take(found))?;
            reading.finish(ControlFile::read(directory.path())?)
        })
    }

    /// Begins to read `recovery/…`, after the backup was stopped.
    pub fn recovery(files: RecoveryFiles) -> Self {
        Self::spawn(move |outlet| send_recovery(files, outlet))
    }

    fn spawn(read: impl FnOnce(Outlet) -> Result<(), Stop> + Send + 'static) -> Self {
        let (sender, items) = mpsc::channel(ITEMS_AHEAD);
        let outlet = Outlet::new(sender, ITEMS_AHEAD);
        Self {
            items,
            thread: Some(thread::spawn(move || read(outlet))),
        }
    }

    /// Returns the next item; after [`ClusterItem::End`] there is none.
    ///
    /// # Errors
    /// Fails if a file could not be read: a backup with a hole is worthless. What was read so far
    /// must not be used.
    ///
    /// # Panics
    /// Panics if the reading thread did.
    pub async fn next(&mut self) -> Result<Option<ClusterItem>, PostgresError> {
        if let Some(item) = self.items.recv().await {
            return Ok(Some(item));
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(Err(Stop::Failed(error)))) => Err(error),
            Some(Ok(Ok(()) | Err(Stop::Abandoned))) | None => Ok(None),
        }
    }
}

/// The work of the reading thread.
struct Reading {
    outlet: Outlet,
    start: Lsn,
    checks: bool,
    pages_per_file: u32,
    stats: ReadStats,
    suspects: Vec<PageProblem>,
}

impl Reading {
    fn take(&mut self, found: Found) -> Result<(), Stop> {
        match found {
            Found::Entry(entry) => self.outlet.entry(entry),
            Found::File {
                path,
                place,
                relation,
            } => self.file(&path, &place, relation),
        }
    }

    /// Hands out a file up to the length it has now: whatever is added later is in the log.
    fn file(
        &mut self,
        path: &EntryPath,
        place: &Path,
        relation: Option<RelationFile>,
    ) -> Result<(), Stop> {
        let failed = |error| PostgresError::io("read", place, error);
        let file = match File::open(place) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stats.vanished += 1;
                return Ok(());
            }
            Err(error) => return Err(failed(error).into()),
        };
        let stat = file.metadata().map_err(failed)?;
        let size = stat.len();
        if size >= READAHEAD_FROM_BYTES {
            // Advice only: a file system that does not take it reads as well without.
            rustix::fs::fadvise(&file, 0, None, Advice::Sequential).ok();
        }
        let entry = file_entry(path.clone(), size, metadata_of(&stat));
        self.outlet.begin_file(entry, relation.is_some())?;
        let mut offset = 0;
        while offset < size {
            let len = (size - offset).min(BLOCK_BYTES as u64);
            let len = usize::try_from(len).expect("a block fits into memory");
            let mut buffer = self.outlet.buffer();
            let block = &mut buffer.bytes[..len];
            let got = read_full(&file, block, offset).map_err(failed)?;
            block[got..].fill(0);
            self.stats.padded_bytes += (len - got) as u64;
            if let (true, Some(relation)) = (self.checks, relation) {
                self.verify(&file, path, relation, offset, block);
            }
            self.outlet.block(buffer, len)?;
            offset += len as u64;
        }
        self.stats.files += 1;
        self.stats.bytes += size;
        self.outlet.end_file()
    }

    /// Looks at the checksums of a block, and reads again what may have been caught half-written.
    fn verify(
        &mut self,
        file: &File,
        path: &EntryPath,
        relation: RelationFile,
        offset: u64,
        block: &mut [u8],
    ) {
        let (pages, _) = block.as_chunks_mut::<PAGE_BYTES>();
        self.stats.pages_verified += pages.len() as u64;
        let first = u32::try_from(offset / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        let first = relation
            .segment
            .wrapping_mul(self.pages_per_file)
            .wrapping_add(first);
        for (number, page) in (first..).zip(pages) {
            if page::judge(page, number) != PageVerdict::Damaged {
                continue;
            }
            let at = offset + u64::from(number.wrapping_sub(first)) * PAGE_BYTES as u64;
            if read_again(file, page, number, at) {
                continue;
            }
            let problem = PageProblem {
                path: path.clone(),
                block: number,
                lsn: page::lsn(page),
            };
            if problem.lsn >= self.start && self.suspects.len() < PROBLEMS_MAX {
                self.suspects.push(problem);
            } else {
                self.stats.note(problem);
            }
        }
    }

    fn finish(self, control: ControlFile) -> Result<(), Stop> {
        let Self {
            outlet,
            stats,
            suspects,
            ..
        } = self;
        outlet.end(ReadEnd {
            control,
            stats,
            suspects,
        })
    }
}

/// Reads a page until its checksum is right; reports whether it ever was.
fn read_again(file: &File, page: &mut Page, number: u32, at: u64) -> bool {
    let mut again = [0; PAGE_BYTES];
    for _ in 0..REREADS {
        thread::sleep(REREAD_PAUSE);
        match read_full(file, &mut again, at) {
            Ok(PAGE_BYTES) => *page = again,
            // The file shrank meanwhile, or the disk fails: what was read first is judged.
            _ => return false,
        }
        if page::judge(page, number) != PageVerdict::Damaged {
            return true;
        }
    }
    false
}

fn file_entry(path: EntryPath, size: u64, metadata: Metadata) -> Entry {
    Entry {
        path,
        kind: EntryKind::File { size },
        metadata,
    }
}

/// Hands out `recovery/…`, whose files the server made while the backup was taken.
fn send_recovery(files: RecoveryFiles, outlet: Outlet) -> Result<(), Stop> {
    let data = &files.data_directory;
    let stat = fs::metadata(data).map_err(|error| PostgresError::io("look at", data, error))?;
    let mut metadata = metadata_of(&stat);
    metadata.inode = 0;
    metadata.mtime_ns = i64::try_from(files.end.stopped.as_nanosecond()).unwrap_or(i64::MAX);
    metadata.ctime_ns = metadata.mtime_ns;
    let folder = |path: &EntryPath| Entry {
        path: path.clone(),
        kind: EntryKind::Directory,
        metadata: metadata.clone(),
    };
    let recovery = layout("recovery");
    outlet.entry(folder(&recovery))?;
    let mut stats = ReadStats::default();
    let parts = [
        ("backup_label", Some(files.end.label.as_slice())),
        ("pg_control", Some(files.control.bytes())),
        ("tablespace_map", files.end.tablespace_map.as_deref()),
    ];
    for (name, content) in parts {
        let Some(content) = content else { continue };
        let mut metadata = metadata.clone();
        metadata.mode &= 0o666;
        let path = join(&recovery, name.as_bytes());
        outlet.small_file(file_entry(path, content.len() as u64, metadata), content)?;
        stats.files += 1;
        stats.bytes += content.len() as u64;
    }
    let mut reading = Reading {
        outlet,
        start: Lsn::default(),
        checks: false,
        pages_per_file: files.control.pages_per_file,
        stats,
        suspects: Vec::new(),
    };
    let wal = join(&recovery, b"wal");
    if !files.wal.is_empty() {
        reading.outlet.entry(folder(&wal))?;
    }
    let mut names: Vec<_> = files
        .wal
        .iter()
        .map(|name| (name.to_string(), *name))
        .collect();
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    for (text, name) in names {
        let path = join(&wal, text.as_bytes());
        reading.file(&path, &data.join("pg_wal").join(&text), None)?;
        if reading.stats.vanished > 0 {
            return Err(Stop::Failed(PostgresError::WalGone { name }));
        }
    }
    reading.finish(files.control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_the_log_repairs_are_no_damage() {
        let page = |block: u32, lsn: u64| PageProblem {
            path: layout("data"),
            block,
            lsn: Lsn::new(lsn),
        };
        // A control file that no test looks at.
        let mut bytes = vec![0_u8; 8192];
        bytes[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
        bytes[228..232].copy_from_slice(&(16_u32 << 20).to_ne_bytes());
        let sum = crc32c::crc32c(&bytes[..288]).to_ne_bytes();
        bytes[288..292].copy_from_slice(&sum);
        let mut stats = ReadStats::default();
        stats.note(page(1, 50));
        let end = ReadEnd {
            control: ControlFile::parse(&bytes).unwrap(),
            stats,
            suspects: vec![page(2, 100), page(3, 200), page(4, 201), page(5, u64::MAX)],
        };
        let settled = end.settle(Lsn::new(200));
        let blocks: Vec<_> = settled.problems.iter().map(|page| page.block).collect();
        assert_eq!(blocks, [1, 4, 5]);
        assert_eq!(settled.damaged_pages, 3);
    }
}

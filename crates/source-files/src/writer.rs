//! Builds a folder from entries.
//!
//! Owns the order in which folders, files, links and metadata come to be; must never follow a link
//! that it, or anybody else, put below the target.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath;
use crate::error::{FileProblem, FilesError};
use crate::place::Place;
use crate::slot::{self, FileSlot, Losses};
use crate::update::TemporaryNames;

/// Folders kept open: as many as threads write in at a time, and those they come back to.
const FOLDERS_OPEN_MAX: usize = 16;

/// What a restore did, and what it could not put back.
#[derive(Debug, Default)]
pub struct TreeReport {
    /// Folders made, the root not counted.
    pub directories: u64,
    /// Regular files made.
    pub files: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Further names of files made.
    pub hardlinks: u64,
    /// Pipes and devices made.
    pub specials: u64,
    /// Sockets, and devices that only root may make: listed in the backup, absent here.
    pub skipped: Vec<EntryPath>,
    /// Entries that belong to whoever restored, since only root can give files away.
    pub owners_not_restored: u64,
    /// Entries that lost their set-id bits along with their owner.
    pub set_ids_not_restored: u64,
    /// Extended attributes that the system or the file system did not take.
    pub xattrs_not_restored: u64,
    /// Entries that failed only at the end: further names of files, and folders' metadata.
    pub problems: Vec<FileProblem>,
}

impl TreeReport {
    /// Adds what another tree came to.
    pub fn add(&mut self, other: Self) {
        self.directories += other.directories;
        self.files += other.files;
        self.symlinks += other.symlinks;
        self.hardlinks += other.hardlinks;
        self.specials += other.specials;
        self.skipped.extend(other.skipped);
        self.owners_not_restored += other.owners_not_restored;
        self.set_ids_not_restored += other.set_ids_not_restored;
        self.xattrs_not_restored += other.xattrs_not_restored;
        self.problems.extend(other.problems);
    }
}

/// Writes entries below a target folder: one that was empty, or one that is brought to the state of
/// a snapshot ([`TreeWriter::update`]).
///
/// Entries may come in any order, files from many threads. New folders stay private (0700) until
/// the writer is finished, so nobody else looks in before the permissions are right.
#[derive(Debug)]
pub struct TreeWriter {
    pub(crate) target: PathBuf,
    pub(crate) root: OwnedFd,
    folders: Mutex<Folders>,
    files: AtomicU64,
    pub(crate) losses: Arc<Losses>,
    rest: Mutex<Rest>,
    /// Where something may lie already, what is new gets such a name first.
    pub(crate) temporary: Option<TemporaryNames>,
    /// Whether nobody else can come here before the tree is finished.
    hidden: bool,
}

/// What is told or done at the end.
#[derive(Debug, Default)]
struct Rest {
    hardlinks: Vec<Hardlink>,
    report: TreeReport,
}

/// A further name of a file, made at the end.
#[derive(Debug)]
struct Hardlink {
    path: EntryPath,
    first: EntryPath,
}

/// The folders made so far, with the metadata that they get in the end, and those used last.
#[derive(Debug, Default)]
struct Folders {
    metadata: BTreeMap<EntryPath, Option<Metadata>>,
    recent: VecDeque<(EntryPath, Arc<OwnedFd>)>,
}

impl TreeWriter {
    /// Makes the folder `target`, or takes it over if it is there and empty.
    ///
    /// # Errors
    /// Fails if `target` holds something or cannot be made.
    pub fn create(target: &Path) -> Result<TreeWriter, FilesError> {
        let failed = |op| move |error: std::io::Error| FilesError::io(op, target, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(target)
            .map_err(|error| match target.metadata() {
                Ok(found) if !found.is_dir() => FilesError::NotAFolder {
                    path: target.to_owned(),
                },
                _ => failed("create")(error),
            })?;
        if std::fs::read_dir(target)
            .map_err(failed("list"))?
            .next()
            .is_some()
        {
            return Err(FilesError::NotEmpty {
                path: target.to_owned(),
            });
        }
        Self::open(target, None)
    }

    /// Makes a tree as [`TreeWriter::create`] does, in a folder that nobody else can enter. Its files
    /// need not be private for themselves, which saves a call for each.
    ///
    /// # Errors
    /// Fails as that does.
    pub fn create_hidden(target: &Path) -> Result<TreeWriter, FilesError> {
        let hidden = true;
        Ok(Self {
            hidden,
            ..Self::create(target)?
        })
    }

    pub(crate) fn open(
        target: &Path,
        temporary: Option<TemporaryNames>,
    ) -> Result<TreeWriter, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::open(target, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => {
                let path = target.to_owned();
                return Err(FilesError::NotAFolder { path });
            }
            answer => answer.map_err(|error| FilesError::io("open", target, error))?,
        };
        Ok(TreeWriter {
            target: target.to_owned(),
            root,
            folders: Mutex::default(),
            files: AtomicU64::new(0),
            losses: Arc::default(),
            rest: Mutex::default(),
            temporary,
            hidden: false,
        })
    }

    /// Makes anything but a regular file. Further names of files are made by [`TreeWriter::finish`],
    /// when the files surely exist.
    ///
    /// # Errors
    /// Fails if the entry is a regular file, exists already, lies below something that is not a
    /// folder made here, or is not taken by the system.
    pub fn add(&self, entry: &Entry) -> Result<(), FileProblem> {
        let problem = |error| FileProblem::new(&entry.path, "create", error);
        match &entry.kind {
            EntryKind::Directory => self.add_folder(entry).map_err(problem),
            EntryKind::Hardlink { first } => {
                self.rest().hardlinks.push(Hardlink {
                    path: entry.path.clone(),
                    first: first.clone(),
                });
                Ok(())
            }
            EntryKind::Socket => {
                self.rest().report.skipped.push(entry.path.clone());
                Ok(())
            }
            EntryKind::File { .. } => Err(problem(Errno::INVAL)),
            EntryKind::Symlink { .. } | EntryKind::Fifo | EntryKind::Device { .. } => {
                self.add_special(entry).map_err(problem)
            }
        }
    }

    /// Makes a regular file, empty and, unless the tree is hidden, private until its slot is finished.
    ///
    /// # Errors
    /// Fails as [`TreeWriter::add`] does.
    pub fn create_file(&self, entry: &Entry) -> Result<FileSlot, FileProblem> {
        let problem = |error| FileProblem::new(&entry.path, "create", error);
        let (parent, name) = beneath::split(&entry.path).ok_or_else(|| problem(Errno::ISDIR))?;
        let folder = self.folder(&parent).map_err(problem)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = match self.hidden {
            true => Mode::from_raw_mode(entry.metadata.mode & 0o777),
            false => Mode::from_raw_mode(0o600),
        };
        let place = self.place(&folder, name);
        let first_name = place.as_ref().map_or(name, |place| &place.temporary);
        let fd = rustix::fs::openat(&*folder, first_name, flags | OFlags::CLOEXEC, mode);
        let file = File::from(fd.map_err(problem)?);
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(FileSlot {
            file,
            path: entry.path.clone(),
            losses: Arc::clone(&self.losses),
            place,
        })
    }

    /// Makes the further names, gives folders their metadata, deepest first, and makes everything
    /// durable. Every [`FileSlot`] must be finished before.
    ///
    /// # Errors
    /// Fails if the system cannot make the tree durable.
    pub fn finish(self) -> Result<TreeReport, FilesError> {
        self.add_hardlinks();
        self.finish_folders(|_| true);
        self.sync()?;
        Ok(self.into_report())
    }

    pub(crate) fn add_hardlinks(&self) {
        let links = std::mem::take(&mut self.rest().hardlinks);
        for link in links {
            match self.add_hardlink(&link) {
                Ok(()) => self.rest().report.hardlinks += 1,
                Err(error) => {
                    let problem = FileProblem::new(&link.path, "link", error);
                    self.rest().report.problems.push(problem);
                }
            }
        }
    }

    /// Gives those folders their metadata that `picked` wants, deepest first.
    pub(crate) fn finish_folders(&self, picked: impl Fn(&EntryPath) -> bool) {
        let folders = std::mem::take(&mut self.lock().metadata);
        // Reversed, the order of paths names a folder after everything in it.
        for (path, metadata) in folders.iter().rev().filter(|(path, _)| picked(path)) {
            let Some(metadata) = metadata else { continue };
            let done = beneath::open(self.root.as_fd(), path, beneath::FOLDER).and_then(|fd| {
                if self.temporary.is_some() {
                    crate::attributes::remove_others(fd.as_fd(), &metadata.xattrs);
                }
                slot::apply(fd.as_fd(), metadata, &self.losses)
            });
            if let Err(error) = done {
                let problem = FileProblem::new(path, "finish", error);
                self.rest().report.problems.push(problem);
            }
        }
        self.lock().metadata = folders;
    }

    pub(crate) fn into_report(self) -> TreeReport {
        let made = self.lock().metadata.len() as u64;
        let with_root = u64::from(self.lock().metadata.contains_key(&EntryPath::root()));
        let mut report = std::mem::take(&mut self.rest().report);
        report.directories = made - with_root;
        report.files = self.files.load(Ordering::Relaxed);
        report.owners_not_restored = self.losses.owners.load(Ordering::Relaxed);
        report.set_ids_not_restored = self.losses.set_ids.load(Ordering::Relaxed);
        report.xattrs_not_restored = self.losses.xattrs.load(Ordering::Relaxed);
        report
    }

    /// One flush of the file system instead of one fsync per file: it covers files, folders and
    /// names alike, reports write-back errors (Linux 5.8 and later) and takes a fraction of the time.
    pub(crate) fn sync(&self) -> Result<(), FilesError> {
        let failed = |error: std::io::Error| FilesError::io("flush", &self.target, error);
        rustix::fs::syncfs(&self.root).map_err(|error| failed(error.into()))?;
        // The target's own name may lie on another file system.
        match self.target.canonicalize().map_err(failed)?.parent() {
            Some(parent) => File::open(parent)
                .and_then(|folder| folder.sync_all())
                .map_err(failed),
            None => Ok(()),
        }
    }

    fn add_folder(&self, entry: &Entry) -> Result<(), Errno> {
        if let Some((parent, name)) = beneath::split(&entry.path) {
            let folder = self.folder(&parent)?;
            match make_folder(&folder, name) {
                Err(Errno::EXIST) if self.temporary.is_some() => {
                    rustix::fs::unlinkat(&*folder, name, AtFlags::empty())?;
                    make_folder(&folder, name)?;
                }
                answer => answer?,
            }
        }
        let metadata = Some(entry.metadata.clone());
        self.lock().metadata.insert(entry.path.clone(), metadata);
        Ok(())
    }

    fn add_special(&self, entry: &Entry) -> Result<(), Errno> {
        let (parent, name) = beneath::split(&entry.path).ok_or(Errno::ISDIR)?;
        let folder = self.folder(&parent)?;
        let place = self.place(&folder, name);
        let name = place.as_ref().map_or(name, |place| &place.temporary);
        let mode = Mode::from_raw_mode(0o600);
        match &entry.kind {
            EntryKind::Symlink { target } => {
                rustix::fs::symlinkat(target.as_slice(), &*folder, name)?;
                self.rest().report.symlinks += 1;
            }
            EntryKind::Device { block, number } => {
                let file_type = match block {
                    true => FileType::BlockDevice,
                    false => FileType::CharacterDevice,
                };
                match rustix::fs::mknodat(&*folder, name, file_type, mode, *number) {
                    Err(Errno::PERM) => {
                        self.rest().report.skipped.push(entry.path.clone());
                        return Ok(());
                    }
                    answer => answer?,
                }
                self.rest().report.specials += 1;
            }
            _ => {
                rustix::fs::mknodat(&*folder, name, FileType::Fifo, mode, 0)?;
                self.rest().report.specials += 1;
            }
        }
        slot::apply_at(folder.as_fd(), name, entry, &self.losses)?;
        place.map_or(Ok(()), Place::take)
    }

    fn add_hardlink(&self, link: &Hardlink) -> Result<(), Errno> {
        let (first_parent, first_name) = beneath::split(&link.first).ok_or(Errno::ISDIR)?;
        let (parent, name) = beneath::split(&link.path).ok_or(Errno::ISDIR)?;
        let from = beneath::open(self.root.as_fd(), &first_parent, beneath::FOLDER)?;
        let to = self.folder(&parent)?;
        let place = self.place(&to, name);
        let name = place.as_ref().map_or(name, |place| &place.temporary);
        rustix::fs::linkat(&from, first_name, &*to, name, AtFlags::empty())?;
        place.map_or(Ok(()), Place::take)
    }

    /// Returns the place of something new where something may lie already.
    fn place(&self, folder: &Arc<OwnedFd>, name: &[u8]) -> Option<Place> {
        self.temporary.as_ref().map(|names| Place {
            folder: Arc::clone(folder),
            temporary: names.next(),
            name: name.to_vec(),
        })
    }

    /// Opens a folder, making it and those above it if the backup was filtered.
    pub(crate) fn folder(&self, path: &EntryPath) -> Result<Arc<OwnedFd>, Errno> {
        let known = |folders: &Folders| {
            let mut recent = folders.recent.iter().rev();
            let found = recent.find(|(known, _)| known == path);
            found.map(|(_, fd)| Arc::clone(fd))
        };
        if let Some(fd) = known(&self.lock()) {
            return Ok(fd);
        }
        let fd = match beneath::open(self.root.as_fd(), path, beneath::FOLDER) {
            Err(Errno::NOENT) => self.make_folders(path)?,
            answer => answer?,
        };
        let fd = Arc::new(fd);
        let mut folders = self.lock();
        if folders.recent.len() == FOLDERS_OPEN_MAX {
            folders.recent.pop_front();
        }
        let opened = (path.clone(), Arc::clone(&fd));
        folders.recent.push_back(opened);
        Ok(fd)
    }

    fn make_folders(&self, path: &EntryPath) -> Result<OwnedFd, Errno> {
        let mut above = vec![path.clone()];
        while let Some(parent) = above.last().and_then(EntryPath::parent) {
            above.push(parent);
        }
        let mut fd = beneath::open(self.root.as_fd(), &EntryPath::root(), beneath::FOLDER)?;
        for path in above.iter().rev() {
            let Some((_, name)) = beneath::split(path) else {
                continue;
            };
            make_folder(&fd, name)?;
            self.lock().metadata.entry(path.clone()).or_default();
            fd = rustix::fs::openat(&fd, name, beneath::FOLDER, Mode::empty())?;
        }
        Ok(fd)
    }

    fn lock(&self) -> MutexGuard<'_, Folders> {
        // Each change under the lock is one step, so a panic elsewhere leaves it sound.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a folder; one that is there already, and truly a folder, is taken.
fn make_folder(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Ok(()),
                _ => Err(Errno::EXIST),
            }
        }
        answer => answer,
    }
}

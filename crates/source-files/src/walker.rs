//! The depth-first walk of a folder.
//!
//! Owns order, filters and hard links; must never read file contents.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_model::{Entry, EntryKind, EntryPath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::ahead::WalkAhead;
use crate::attributes::AttributeReader;
use crate::beneath;
use crate::error::{FileProblem, FilesError};
use crate::found::Found;
use crate::links::Links;
use crate::options::FilesOptions;
use crate::patterns::Patterns;
use crate::stat::{kind_of, metadata_of};

/// Folders kept open at once; those further up are closed and opened again on the way back, so that
/// no depth of nesting runs out of descriptors.
const OPEN_FOLDERS_MAX: usize = 64;

/// Buffer for listing a folder, bytes.
const LISTING_BYTES: usize = 64 * 1024;

/// Walks a folder depth first: the root first, then each folder's entries sorted by name, which is
/// the strictly increasing order of [`EntryPath`].
///
/// The first name of a file with several is the file, later ones are [`EntryKind::Hardlink`]. A
/// problem concerns one entry (and what lies below it); the walk goes on.
#[derive(Debug)]
pub struct Walker {
    root: Arc<OwnedFd>,
    root_device: u64,
    include: Patterns,
    exclude: Patterns,
    one_file_system: bool,
    attributes: Option<AttributeReader>,
    listing: Vec<MaybeUninit<u8>>,
    folders: Vec<Folder>,
    ready: VecDeque<Result<Found, FileProblem>>,
    links: Links,
}

/// A folder on the way from the root to where the walk is.
#[derive(Debug)]
struct Folder {
    path: EntryPath,
    fd: Option<OwnedFd>,
    identity: (u64, u64),
    /// What is left to visit, the next one last.
    names: Vec<Box<[u8]>>,
    /// Whether everything in here belongs to the walk unless it is excluded.
    included: bool,
    /// The folder's own entry, until it is known that something in it is included.
    withheld: Option<Found>,
}

impl Walker {
    /// Opens the folder `root`, which may itself be reached through symbolic links.
    ///
    /// # Errors
    /// Fails if `root` is missing or no folder, or if a pattern is wrong.
    pub fn open(root: &Path, options: &FilesOptions) -> Result<Walker, FilesError> {
        let include = Patterns::compile("include", &options.include)?;
        let exclude = Patterns::compile("exclude", &options.exclude)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(root, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => {
                let path = PathBuf::from(root);
                return Err(FilesError::NotAFolder { path });
            }
            answer => answer.map_err(|error| FilesError::io("open", root, error))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| FilesError::io("read", root, error))?;
        let mut walker = Walker {
            root: Arc::new(fd),
            root_device: stat.st_dev,
            include,
            exclude,
            one_file_system: options.one_file_system,
            attributes: options.xattrs.then(AttributeReader::new),
            listing: vec![MaybeUninit::uninit(); LISTING_BYTES],
            folders: Vec::new(),
            ready: VecDeque::new(),
            links: Links::default(),
        };
        walker
            .start(&stat)
            .map_err(|error| FilesError::io("list", root, error))?;
        Ok(walker)
    }

    /// Makes the next name of `found`'s file the file itself.
    ///
    /// Call it when the content under the first name could not be read, or the other names would
    /// point at nothing.
    pub fn forget_link(&mut self, found: &Found) {
        self.links.forget(found);
    }

    /// Goes on with the walk on a thread of its own, some hundred entries ahead of who asks.
    pub fn ahead(mut self) -> WalkAhead {
        let links = std::mem::take(&mut self.links);
        WalkAhead::start(self, links)
    }

    /// Returns the next entry; each name of a file still is that file.
    pub(crate) fn step(&mut self) -> Option<Result<Found, FileProblem>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(found);
            }
            self.advance()?;
        }
    }

    fn start(&mut self, stat: &Stat) -> Result<(), Errno> {
        let path = EntryPath::root();
        let fd = rustix::fs::openat(&*self.root, c".", beneath::FOLDER, Mode::empty())?;
        let mut metadata = metadata_of(stat);
        if let Some(attributes) = &mut self.attributes {
            metadata.xattrs = attributes.read(self.root.as_fd(), b".")?;
        }
        let names = list(&fd, &mut self.listing)?;
        self.ready.push_back(Ok(Found {
            entry: Entry {
                path: path.clone(),
                kind: EntryKind::Directory,
                metadata,
            },
            root: Arc::clone(&self.root),
            shared: None,
        }));
        self.folders.push(Folder {
            path,
            fd: Some(fd),
            identity: (stat.st_dev, stat.st_ino),
            names,
            included: self.include.is_empty(),
            withheld: None,
        });
        Ok(())
    }

    /// Visits one more name; its result, if it has one, ends up in `ready`.
    fn advance(&mut self) -> Option<()> {
        let folder = self.folders.last_mut()?;
        let Some(name) = folder.names.pop() else {
            self.leave();
            return Some(());
        };
        let path = folder.path.join(&name);
        // The system hands out no name that could leave the folder.
        let path = path.expect("a listed name is one sound part");
        match self.visit(&path, &name) {
            // Gone between listing and looking: as if it had gone a moment earlier.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let problem = FileProblem::new(&path, "read", error);
                self.ready.push_back(Err(problem));
            }
        }
        Some(())
    }

    /// Goes back up to a folder that may have been closed meanwhile.
    fn leave(&mut self) {
        let left = self.folders.pop();
        if let (Some(child), Some(parent)) =
            (left.and_then(|left| left.fd), self.folders.last_mut())
            && parent.fd.is_none()
        {
            // One step up is cheaper than the whole path; if the folder was moved meanwhile, this is
            // not its parent, and the path decides when the next name is visited.
            let up = rustix::fs::openat(&child, c"..", beneath::FOLDER, Mode::empty());
            parent.fd = up.ok().filter(|fd| is_folder(fd, parent.identity));
        }
    }

    fn visit(&mut self, path: &EntryPath, name: &[u8]) -> Result<(), Errno> {
        self.reopen_current()?;
        let folder = self.folders.last().expect("a name comes from a folder");
        let fd = folder.fd.as_ref().expect("the current folder is open");
        let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if self.exclude.matches(path, is_folder) {
            return Ok(());
        }
        let included = folder.included || self.include.matches(path, is_folder);
        if !included && !is_folder {
            return Ok(());
        }
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => EntryKind::Symlink {
                target: rustix::fs::readlinkat(fd, name, Vec::new())?.into_bytes(),
            },
            other => kind_of(other, &stat),
        };
        let mut metadata = metadata_of(&stat);
        if let Some(attributes) = &mut self.attributes {
            metadata.xattrs = attributes.read(fd.as_fd(), name)?;
        }
        let mut found = Found {
            entry: Entry {
                path: path.clone(),
                kind,
                metadata,
            },
            root: Arc::clone(&self.root),
            shared: None,
        };
        if is_folder {
            self.enter(found, name, &stat, included);
        } else {
            let has_more_names = stat.st_nlink > 1;
            if has_more_names && matches!(found.entry.kind, EntryKind::File { .. }) {
                found.shared = Some((stat.st_dev, stat.st_ino));
            }
            self.release_folders();
            self.ready.push_back(Ok(found));
        }
        Ok(())
    }

    /// Lists a folder and goes into it; its own entry comes first, or once something in it counts.
    fn enter(&mut self, found: Found, name: &[u8], stat: &Stat, included: bool) {
        let path = found.entry.path.clone();
        let mut folder = Folder {
            path: path.clone(),
            fd: None,
            identity: (stat.st_dev, stat.st_ino),
            names: Vec::new(),
            included,
            withheld: Some(found),
        };
        let mut unreadable = None;
        if !(self.one_file_system && stat.st_dev != self.root_device) {
            let parent = self.folders.last().and_then(|folder| folder.fd.as_ref());
            let parent = parent.expect("the current folder is open");
            match open_folder(parent, name).and_then(|fd| Ok((list(&fd, &mut self.listing)?, fd))) {
                Ok((names, fd)) => (folder.names, folder.fd) = (names, Some(fd)),
                // It went away, or something else took its name, after it was looked at.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
                Err(error) => unreadable = Some(FileProblem::new(&path, "list", error)),
            }
        }
        self.folders.push(folder);
        if let Some(far) = self.folders.len().checked_sub(OPEN_FOLDERS_MAX + 1) {
            self.folders[far].fd = None;
        }
        if included {
            self.release_folders();
        }
        self.ready.extend(unreadable.map(Err));
    }

    /// Emits the entries of the folders that lead to where the walk is.
    fn release_folders(&mut self) {
        let withheld = self.folders.iter_mut().map(|folder| &mut folder.withheld);
        self.ready.extend(withheld.filter_map(Option::take).map(Ok));
    }

    /// Opens the current folder again if it was closed while the walk was deep below it.
    fn reopen_current(&mut self) -> Result<(), Errno> {
        let Some(folder) = self.folders.last_mut().filter(|folder| folder.fd.is_none()) else {
            return Ok(());
        };
        let fd = beneath::open(self.root.as_fd(), &folder.path, beneath::FOLDER)?;
        if !is_folder(&fd, folder.identity) {
            // Another folder took the name: the names still to visit are not its own.
            folder.names.clear();
            return Err(Errno::NOENT);
        }
        folder.fd = Some(fd);
        Ok(())
    }
}

impl Iterator for Walker {
    type Item = Result<Found, FileProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut step = self.step();
        if let Some(Ok(found)) = &mut step {
            self.links.judge(found);
        }
        step
    }
}

fn is_folder(fd: &OwnedFd, identity: (u64, u64)) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity)
}

fn open_folder(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(
        parent,
        name,
        beneath::FOLDER | OFlags::NOATIME,
        Mode::empty(),
    ) {
        Err(Errno::PERM) => rustix::fs::openat(parent, name, beneath::FOLDER, Mode::empty()),
        answer => answer,
    }
}

/// Returns the names in a folder, in descending order, so that the next one can be popped.
fn list(fd: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<Box<[u8]>>, Errno> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    let mut listing = RawDir::new(fd, buffer);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.into());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

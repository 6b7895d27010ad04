//! The store's folder, held open, and the few things done in it.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, fstat, fsync, mkdirat, openat,
    statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: Mode = Mode::RWXU;

/// What a name leads to, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    /// A file of so many bytes.
    Object(u64),
    Folder,
    Other,
}

/// The store's folder. Names are relative to it.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    folder: OwnedFd,
    /// Whether the file system counts links: some FUSE ones always say 0.
    counts_links: bool,
    /// Who gets what root makes here: whoever has the folder, or its jobs could not read it.
    heir: Option<(Uid, Gid)>,
    /// The folders whose own entry this process has synced. No store removes a folder.
    durable: Mutex<HashSet<String>>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let folder = openat(rustix::fs::CWD, path, folder_flags(), Mode::empty())?;
        let found = fstat(&folder)?;
        let counts_links = found.st_nlink > 0;
        let is_anothers = geteuid().is_root() && found.st_uid != 0;
        let heir = is_anothers.then(|| (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid)));
        Ok(Self {
            path: path.to_owned(),
            folder,
            counts_links,
            heir,
            durable: Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.folder
    }

    /// Tells whether the folder is no more, though it is still held open.
    pub(super) fn is_gone(&self) -> bool {
        fstat(&self.folder).map_or(true, |stat| self.counts_links && stat.st_nlink == 0)
    }

    pub(super) fn find(&self, name: &str) -> io::Result<Found> {
        let stat = match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Missing),
            Err(error) => return Err(error.into()),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::Object(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Directory => Found::Folder,
            _ => Found::Other,
        })
    }

    /// Opens an object to read it, and says how long it is.
    pub(super) fn open_object(&self, name: &str) -> io::Result<(File, u64)> {
        // Opening a pipe would wait for its writer, were it not for NONBLOCK.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Err(Errno::NOENT.into()),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Errno::NOENT.into());
        }
        Ok((file, metadata.len()))
    }

    /// Opens a folder; `""` is the store's own.
    pub(super) fn open_folder(&self, name: &str) -> io::Result<OwnedFd> {
        let name = if name.is_empty() { "." } else { name };
        let flags = folder_flags() | OFlags::NOFOLLOW;
        Ok(openat(&self.folder, name, flags, Mode::empty())?)
    }

    /// Makes a folder in the store unless it is there; the one above it must be.
    pub(super) fn make_folder(&self, name: &str) -> io::Result<()> {
        match mkdirat(&self.folder, name, FOLDER_MODE) {
            Ok(()) => {
                if let Some((uid, gid)) = self.heir {
                    // A file system may not let even root: then it is as it was without.
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    chownat(&self.folder, name, Some(uid), Some(gid), flags).ok();
                }
                Ok(())
            }
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file that was just made to whoever has the store.
    pub(super) fn hand_over(&self, file: &File) {
        if let Some((uid, gid)) = self.heir {
            fchown(file, Some(uid), Some(gid)).ok();
        }
    }

    /// Opens the folder of `name`, made and durable, and returns it with the name in it.
    pub(super) fn durable_parent<'a>(&self, name: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let (folder, file_name) = split(name);
        self.make_parents_durable(name)?;
        let opened = match self.open_folder(folder) {
            // Somebody tidied empty folders away under a running command: make them once more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.durable.lock().expect("no holder panics").clear();
                self.make_parents_durable(name)?;
                self.open_folder(folder)
            }
            opened => opened,
        };
        Ok((opened?, file_name))
    }

    fn make_parents_durable(&self, name: &str) -> io::Result<()> {
        name.match_indices('/')
            .try_for_each(|(end, _)| self.make_folder_durable(&name[..end]))
    }

    fn make_folder_durable(&self, name: &str) -> io::Result<()> {
        if self.is_known_durable(name) {
            return Ok(());
        }
        self.make_folder(name)?;
        // Also where another process has made it: that one may not have synced it yet.
        sync_folder(&self.open_folder(split(name).0)?)?;
        let mut durable = self.durable.lock().expect("no holder panics");
        durable.insert(name.to_owned());
        Ok(())
    }

    fn is_known_durable(&self, name: &str) -> bool {
        let durable = self.durable.lock().expect("no holder panics");
        durable.contains(name)
    }

    pub(super) fn remove_durably(&self, name: &str) -> io::Result<()> {
        let (folder, file_name) = split(name);
        let folder = match self.open_folder(folder) {
            Ok(folder) => folder,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        match unlinkat(&folder, file_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => sync_folder(&folder),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a folder and those above it, each durable.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if path.is_dir() {
        return Ok(());
    }
    if !parent.is_dir() {
        create_folder(parent)?;
    }
    match DirBuilder::new()
        .mode(FOLDER_MODE.as_raw_mode())
        .create(path)
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_folder(&File::open(parent)?.into())
}

/// Makes the entries of a folder survive a power cut.
pub(super) fn sync_folder(folder: &OwnedFd) -> io::Result<()> {
    match fsync(folder) {
        // Some network and FUSE file systems cannot sync a folder; there is nothing more to do.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Tells whether a name led nowhere.
pub(super) fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Splits a name into its folder, maybe empty, and what follows.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

//! A data directory with its tablespaces, and the walk over all that a backup keeps of it.
//!
//! In a snapshot a cluster lies as `data/…`, the data directory without `global/pg_control`; then
//! `pg_tblspc/<oid>/PG_…/…`, the tablespaces as plain folders; then `recovery/…`, what makes it a
//! cluster again. Entries come in the order of [`EntryPath`], so that the control file comes last.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata};
use rustix::process::{Pid, test_kill_process};

use crate::control::ControlFile;
use crate::error::PostgresError;
use crate::page::PAGE_BYTES;
use crate::rules::{
    Fork, RelationFile, is_kept_empty, is_left_out_anywhere, is_left_out_of_root, is_server_folder,
    number,
};

/// The major versions that are understood.
const MAJORS: std::ops::RangeInclusive<u32> = 13..=18;

/// A data directory of PostgreSQL, whether a server works in it or not.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    major: u32,
    control: ControlFile,
}

/// A tablespace: a folder outside the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// Its number, which names its link in `pg_tblspc`.
    pub oid: u32,
    /// Where it lies.
    pub location: PathBuf,
}

/// The server that works in a data directory, as its lock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningServer {
    /// The process.
    pub pid: u32,
    /// When it was started, seconds since 1970.
    pub started_secs: i64,
    /// The port that it listens on, which names its socket too.
    pub port: u16,
}

impl DataDirectory {
    /// Opens a data directory.
    ///
    /// # Errors
    /// Fails if it is none, or one of a version that is not understood.
    pub fn open(path: &Path) -> Result<Self, PostgresError> {
        let version_file = path.join("PG_VERSION");
        let version = fs::read_to_string(&version_file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                PostgresError::NotADataDirectory {
                    path: path.to_owned(),
                }
            }
            _ => PostgresError::io("read", &version_file, error),
        })?;
        let version = version.trim();
        let major = version.parse().ok().filter(|major| MAJORS.contains(major));
        let major = major.ok_or_else(|| PostgresError::UnsupportedVersion {
            version: version.to_owned(),
        })?;
        let control = ControlFile::read(path)?;
        let page_bytes = control.page_bytes;
        if usize::try_from(page_bytes) != Ok(PAGE_BYTES) {
            let version = format!("{version} with pages of {page_bytes} bytes");
            return Err(PostgresError::UnsupportedVersion { version });
        }
        Ok(Self {
            path: path.to_owned(),
            major,
            control,
        })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the major version of the servers that understand it.
    pub const fn major(&self) -> u32 {
        self.major
    }

    /// Returns its control file as it was when the directory was opened.
    pub const fn control(&self) -> &ControlFile {
        &self.control
    }

    /// Returns its tablespaces, in the order of their numbers' names.
    ///
    /// # Errors
    /// Fails if the folder of links cannot be read.
    pub fn tablespaces(&self) -> Result<Vec<Tablespace>, PostgresError> {
        let links = self.path.join("pg_tblspc");
        let mut found = Vec::new();
        for entry in list(&links)?.unwrap_or_default() {
            let Some(oid) = std::str::from_utf8(&entry.name).ok().and_then(number) else {
                continue;
            };
            let link = links.join(std::ffi::OsStr::from_bytes(&entry.name));
            match fs::read_link(&link) {
                Ok(location) => found.push(Tablespace { oid, location }),
                // A plain folder is a tablespace too, though only developers make such.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    let location = link;
                    found.push(Tablespace { oid, location });
                }
                // Dropped just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(PostgresError::io("read", &link, error)),
            }
        }
        Ok(found)
    }

    /// Returns the server that works in the directory, if one does.
    ///
    /// # Errors
    /// Fails if the lock file is there and cannot be read.
    pub fn running_server(&self) -> Result<Option<RunningServer>, PostgresError> {
        running_server(&self.path)
    }

    /// Returns the name of the folder that each tablespace holds for this version.
    pub(crate) fn tablespace_folder(&self) -> String {
        format!("PG_{}_{}", self.major, self.control.catalog_version)
    }
}

/// Reads `postmaster.pid`; a file that a dead server left behind counts as none.
pub(crate) fn running_server(path: &Path) -> Result<Option<RunningServer>, PostgresError> {
    let file = path.join("postmaster.pid");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PostgresError::io("read", &file, error)),
    };
    let mut lines = text.lines().map(str::trim);
    // Single-user servers write a negative number.
    let pid = lines
        .next()
        .and_then(|pid| pid.trim_start_matches('-').parse().ok());
    let Some(pid) = pid else { return Ok(None) };
    let started_secs = lines.nth(1).and_then(|secs| secs.parse().ok());
    let port = lines.next().and_then(|port| port.parse().ok());
    Ok(is_alive(pid).then_some(RunningServer {
        pid,
        started_secs: started_secs.unwrap_or_default(),
        port: port.unwrap_or_default(),
    }))
}

fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    // Not allowed to signal it means that it is there.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// One thing that the walk came by. A file is not opened yet: it may be gone when it is.
#[derive(Debug)]
pub(crate) enum Found {
    /// A folder or link, complete.
    Entry(Entry),
    File {
        path: EntryPath,
        place: PathBuf,
        relation: Option<RelationFile>,
    },
}

/// Why a walk ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(PostgresError),
    /// Nobody wants the rest.
    Abandoned,
}

impl From<PostgresError> for Stop {
    fn from(error: PostgresError) -> Self {
        Self::Failed(error)
    }
}

/// What kind of folder the walk is in, which decides what its entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The data directory itself.
    Root,
    /// `global`: relations of the whole cluster, and the control file.
    Global,
    /// `base`, or a tablespace's folder: one folder per database.
    Databases,
    /// A database's folder.
    Relations,
    /// Another folder of the server's own: what a link leads to is part of it.
    Owned,
    /// A folder that the server does not know, such as one for its messages.
    Foreign,
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    LeftOut,
    KeptEmpty,
    Entered(Scope),
    KeptAsLink,
    Read(Option<RelationFile>),
}

/// What a folder lists.
#[derive(Debug)]
struct Listed {
    name: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
    Other,
}

impl From<fs::FileType> for Kind {
    fn from(file_type: fs::FileType) -> Self {
        if file_type.is_dir() {
            Self::Folder
        } else if file_type.is_file() {
            Self::File
        } else if file_type.is_symlink() {
            Self::Link
        } else {
            Self::Other
        }
    }
}

/// Walks a data directory and its tablespaces, and hands `visit` what a backup keeps.
pub(crate) fn walk(
    directory: &DataDirectory,
    visit: &mut dyn FnMut(Found) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut walk = Walk { visit };
    let data = &directory.path;
    walk.plain_folder(data, EntryPath::root())?;
    walk.folder(data, &layout("data"), Scope::Root)?;
    let tablespaces = layout("pg_tblspc");
    walk.plain_folder(&data.join("pg_tblspc"), tablespaces.clone())?;
    for Tablespace { oid, location } in directory.tablespaces()? {
        // The link may be relative to the data directory, as links are.
        let location = data.join("pg_tblspc").join(location);
        let inner = location.join(directory.tablespace_folder());
        if !inner.is_dir() {
            if !data.join("pg_tblspc").join(oid.to_string()).is_symlink() {
                // Dropped since it was listed.
                continue;
            }
            return Err(Stop::Failed(PostgresError::TablespaceGone {
                oid,
                location,
            }));
        }
        let path = join(&tablespaces, oid.to_string().as_bytes());
        walk.plain_folder(&location, path.clone())?;
        let path = join(&path, directory.tablespace_folder().as_bytes());
        walk.folder(&inner, &path, Scope::Databases)?;
    }
    Ok(())
}

struct Walk<'v> {
    visit: &'v mut dyn FnMut(Found) -> Result<(), Stop>,
}

impl Walk<'_> {
    /// Hands out a folder and all it holds. A folder that is gone was dropped: no part of it is in
    /// the backup, and the log drops it again.
    fn folder(&mut self, place: &Path, path: &EntryPath, scope: Scope) -> Result<(), Stop> {
        let Some(entries) = list(place)? else {
            return Ok(());
        };
        self.plain_folder(place, path.clone())?;
        let unlogged = unlogged(scope, &entries);
        for Listed { name, kind } in entries {
            let inner = place.join(std::ffi::OsStr::from_bytes(&name));
            let Some(kind) = followed(scope, &name, kind, &inner)? else {
                continue;
            };
            let path = join(path, &name);
            match fate(scope, &name, kind, &unlogged) {
                Fate::LeftOut => {}
                Fate::KeptEmpty => self.plain_folder(&inner, path)?,
                Fate::Entered(scope) => self.folder(&inner, &path, scope)?,
                Fate::KeptAsLink => self.link(&inner, path)?,
                Fate::Read(relation) => (self.visit)(Found::File {
                    path,
                    place: inner,
                    relation,
                })?,
            }
        }
        Ok(())
    }

    /// Hands out a folder as if it were empty.
    fn plain_folder(&mut self, place: &Path, path: EntryPath) -> Result<(), Stop> {
        match fs::metadata(place) {
            Ok(stat) => (self.visit)(Found::Entry(Entry {
                path,
                kind: EntryKind::Directory,
                metadata: metadata_of(&stat),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(PostgresError::io("look at", place, error).into()),
        }
    }

    fn link(&mut self, place: &Path, path: EntryPath) -> Result<(), Stop> {
        let read = || -> io::Result<_> {
            let target = fs::read_link(place)?.into_os_string().into_vec();
            Ok((target, fs::symlink_metadata(place)?))
        };
        match read() {
            Ok((target, stat)) => (self.visit)(Found::Entry(Entry {
                path,
                kind: EntryKind::Symlink { target },
                metadata: metadata_of(&stat),
            })),
            Err(error) if io::ErrorKind::NotFound == error.kind() => Ok(()),
            Err(error) => Err(PostgresError::io("read", place, error).into()),
        }
    }
}

/// Lists a folder, sorted by name; `None` if it is gone.
fn list(place: &Path) -> Result<Option<Vec<Listed>>, PostgresError> {
    let failed = |error| PostgresError::io("list", place, error);
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let kind = match entry.file_type() {
            Ok(file_type) => file_type.into(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let name = entry.file_name().into_vec();
        listed.push(Listed { name, kind });
    }
    listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Some(listed))
}

/// Returns the unlogged relations among the files of a folder: those that have an init fork. The
/// list is complete before the first of them is looked at.
fn unlogged(scope: Scope, entries: &[Listed]) -> HashSet<u32> {
    if !matches!(scope, Scope::Relations | Scope::Global) {
        return HashSet::new();
    }
    let files = entries.iter();
    let files = files.filter_map(|entry| RelationFile::parse(&entry.name));
    files
        .filter(|file| file.fork == Fork::Init && !file.temporary)
        .map(|file| file.number)
        .collect()
}

/// Returns what a link of the server's own stands for; `None` if it is gone.
fn followed(
    scope: Scope,
    name: &[u8],
    kind: Kind,
    place: &Path,
) -> Result<Option<Kind>, PostgresError> {
    let owned = match scope {
        Scope::Root => is_server_folder(name),
        Scope::Global | Scope::Databases | Scope::Relations | Scope::Owned => true,
        Scope::Foreign => false,
    };
    if kind != Kind::Link || !owned {
        return Ok(Some(kind));
    }
    match fs::metadata(place) {
        Ok(stat) => Ok(Some(stat.file_type().into())),
        // A link to nothing in the midst of the server's files is a hole, unless it is gone too.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !place.is_symlink() => Ok(None),
        Err(error) => Err(PostgresError::io("follow", place, error)),
    }
}

/// Decides what becomes of an entry.
fn fate(scope: Scope, name: &[u8], kind: Kind, unlogged: &HashSet<u32>) -> Fate {
    let left_out = match scope {
        Scope::Root => is_left_out_of_root(name),
        Scope::Global => name == b"pg_control" || is_left_out_anywhere(name),
        _ => is_left_out_anywhere(name),
    };
    match kind {
        Kind::Other => Fate::LeftOut,
        _ if left_out => Fate::LeftOut,
        Kind::Folder if scope == Scope::Root && is_kept_empty(name) => Fate::KeptEmpty,
        Kind::Folder => Fate::Entered(inner_scope(scope, name)),
        Kind::Link => Fate::KeptAsLink,
        Kind::File => match scope {
            Scope::Global | Scope::Relations => relation_fate(name, unlogged),
            _ => Fate::Read(None),
        },
    }
}

fn inner_scope(scope: Scope, name: &[u8]) -> Scope {
    match scope {
        Scope::Root if name == b"base" => Scope::Databases,
        Scope::Root if name == b"global" => Scope::Global,
        Scope::Root if is_server_folder(name) => Scope::Owned,
        Scope::Databases => Scope::Relations,
        Scope::Root | Scope::Foreign => Scope::Foreign,
        Scope::Global | Scope::Relations | Scope::Owned => Scope::Owned,
    }
}

fn relation_fate(name: &[u8], unlogged: &HashSet<u32>) -> Fate {
    match RelationFile::parse(name) {
        Some(file) if file.temporary => Fate::LeftOut,
        Some(file) if file.fork != Fork::Init && unlogged.contains(&file.number) => Fate::LeftOut,
        relation => Fate::Read(relation),
    }
}

/// Turns the system's `stat` into the model's words.
pub(crate) fn metadata_of(stat: &fs::Metadata) -> Metadata {
    let nanoseconds =
        |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
    Metadata {
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime_ns: nanoseconds(stat.mtime(), stat.mtime_nsec()),
        ctime_ns: nanoseconds(stat.ctime(), stat.ctime_nsec()),
        inode: stat.ino(),
        xattrs: Vec::new(),
    }
}

/// A path of the layout itself.
pub(crate) fn layout(path: &str) -> EntryPath {
    EntryPath::new(path).expect("the layout's own paths are sound")
}

pub(crate) fn join(path: &EntryPath, name: &[u8]) -> EntryPath {
    path.join(name)
        .expect("names that a folder lists are sound")
}

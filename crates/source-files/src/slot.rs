//! One regular file while it is restored, and the metadata that every restored entry gets.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata};
use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::attributes;
use crate::error::FileProblem;
use crate::place::Place;
use crate::stat::metadata_of;

/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;

/// What could not be put back, counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    pub(crate) owners: AtomicU64,
    pub(crate) set_ids: AtomicU64,
    pub(crate) xattrs: AtomicU64,
}

/// A new regular file that any thread may write to, at any offset.
///
/// What is never written reads as zeros and takes no room. The file stays private (0600) until
/// [`FileSlot::finish`]. If it takes the place of another, it has a name of its own until then, and
/// is removed if it is never finished.
#[derive(Debug)]
pub struct FileSlot {
    pub(crate) file: File,
    pub(crate) path: EntryPath,
    pub(crate) losses: Arc<Losses>,
    /// Where it goes once it is finished, if it does not lie there already.
    pub(crate) place: Option<Place>,
}

impl FileSlot {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Fails if the system does not take the bytes.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FileProblem> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| FileProblem::new(&self.path, "write", error))
    }

    /// Sets the length and metadata that `entry` says. The content is durable once
    /// [`crate::TreeWriter::finish`] returns.
    ///
    /// # Errors
    /// Fails if the system refuses length, permissions or time; an owner or attribute that cannot be
    /// given back is counted in the report instead.
    pub fn finish(self, entry: &Entry) -> Result<(), FileProblem> {
        let problem = |error: Errno| FileProblem::new(&self.path, "finish", error);
        let EntryKind::File { size } = entry.kind else {
            return Err(problem(Errno::INVAL));
        };
        let now = rustix::fs::fstat(&self.file).map_err(problem)?;
        if u64::try_from(now.st_size) != Ok(size) {
            rustix::fs::ftruncate(&self.file, size).map_err(problem)?;
        }
        let file = self.file.as_fd();
        apply_over(&now, file, &entry.metadata, &self.losses).map_err(problem)?;
        match self.place {
            Some(place) => place.take().map_err(problem),
            None => Ok(()),
        }
    }
}

/// Gives an open file or folder its owner, permissions, attributes and time, in the order in which
/// one does not undo the other: a new owner clears set-id bits and capabilities, and every change
/// but the last touches the times. What is right already is left alone.
pub(crate) fn apply(
    file: BorrowedFd<'_>,
    metadata: &Metadata,
    losses: &Losses,
) -> Result<(), Errno> {
    apply_over(&rustix::fs::fstat(file)?, file, metadata, losses)
}

fn apply_over(
    now: &Stat,
    file: BorrowedFd<'_>,
    metadata: &Metadata,
    losses: &Losses,
) -> Result<(), Errno> {
    let now = metadata_of(now);
    let right_owner = (now.uid, now.gid) == (metadata.uid, metadata.gid);
    let owned =
        right_owner || rustix::fs::fchown(file, Some(uid(metadata)), Some(gid(metadata))).is_ok();
    let mode = allowed_mode(metadata, owned, losses);
    let right_mode = right_owner && now.mode == mode;
    if !right_mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    let refused = attributes::write(file, &metadata.xattrs);
    losses.xattrs.fetch_add(refused, Ordering::Relaxed);
    let untouched = right_mode && metadata.xattrs.is_empty();
    if untouched && now.mtime_ns == metadata.mtime_ns {
        return Ok(());
    }
    rustix::fs::futimens(file, &times(metadata))
}

/// The same for an entry that cannot be opened: a link, pipe or device. Links have no permissions.
pub(crate) fn apply_at(
    folder: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    losses: &Losses,
) -> Result<(), Errno> {
    let metadata = &entry.metadata;
    let owner = (Some(uid(metadata)), Some(gid(metadata)));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let owned = rustix::fs::chownat(folder, name, owner.0, owner.1, nofollow).is_ok();
    let mode = allowed_mode(metadata, owned, losses);
    if !matches!(entry.kind, EntryKind::Symlink { .. }) {
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    let refused = attributes::write_at(folder, name, &metadata.xattrs);
    losses.xattrs.fetch_add(refused, Ordering::Relaxed);
    rustix::fs::utimensat(folder, name, &times(metadata), nofollow)
}

/// Leaves out set-id bits when the owner could not be given back: the program would run with the
/// rights of whoever restores.
fn allowed_mode(metadata: &Metadata, owned: bool, losses: &Losses) -> u32 {
    if owned {
        return metadata.mode;
    }
    losses.owners.fetch_add(1, Ordering::Relaxed);
    if metadata.mode & SET_ID_BITS != 0 {
        losses.set_ids.fetch_add(1, Ordering::Relaxed);
    }
    metadata.mode & !SET_ID_BITS
}

fn uid(metadata: &Metadata) -> Uid {
    Uid::from_raw(metadata.uid)
}

fn gid(metadata: &Metadata) -> Gid {
    Gid::from_raw(metadata.gid)
}

fn times(metadata: &Metadata) -> Timestamps {
    const SECOND_NS: i64 = 1_000_000_000;
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    Timestamps {
        last_access: omitted,
        last_modification: Timespec {
            tv_sec: metadata.mtime_ns.div_euclid(SECOND_NS),
            tv_nsec: metadata.mtime_ns.rem_euclid(SECOND_NS),
        },
    }
}

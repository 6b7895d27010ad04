//! Turns the system's `stat` into the model's words.

use lifeboat_model::{EntryKind, Metadata};
use rustix::fs::{FileType, Stat};

/// Returns what an entry is, links apart: their target is not in the `stat`.
pub(crate) fn kind_of(file_type: FileType, stat: &Stat) -> EntryKind {
    match file_type {
        FileType::Directory => EntryKind::Directory,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::BlockDevice | FileType::CharacterDevice => EntryKind::Device {
            block: file_type == FileType::BlockDevice,
            number: stat.st_rdev,
        },
        _ => EntryKind::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
        },
    }
}

/// Returns an entry's metadata without extended attributes.
pub(crate) fn metadata_of(stat: &Stat) -> Metadata {
    Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        inode: stat.st_ino,
        xattrs: Vec::new(),
    }
}

/// A time outside the years 1677 to 2262 is cut to the nearest one inside.
fn nanoseconds(secs: i64, nanos: i64) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

//! The adapter between the kernel and a [`MountTree`]: it translates, and decides nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr, Request, Session, SessionUnmounter,
};
use lifeboat_model::error_chain;
use tokio::runtime::Handle;

use crate::error::MountError;
use crate::nodes::{Attributes, NodeKind};
use crate::tree::MountTree;

/// Nothing ever changes in a mounted snapshot, so the kernel may remember what it was told.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many requests are answered at the same time.
const THREADS: usize = 4;

/// A folder that shows snapshots.
pub struct Mounted {
    place: PathBuf,
    session: Session<Adapter>,
}

/// Ends a mount from another thread.
pub struct Unmounter {
    place: PathBuf,
    inner: SessionUnmounter,
}

/// Puts a tree under a folder, read-only, for the user who asks alone.
///
/// # Errors
/// Fails if the folder is not there or the system does not let it be mounted on.
pub fn mount(tree: MountTree, place: &Path, runtime: Handle) -> Result<Mounted, MountError> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
        MountOption::FSName("lifeboat".to_owned()),
    ];
    config.n_threads = Some(THREADS);
    let session = Session::new(Adapter { tree, runtime }, place, &config);
    Ok(Mounted {
        place: place.to_owned(),
        session: session.map_err(|source| MountError::Mount {
            place: place.to_owned(),
            source,
        })?,
    })
}

impl Mounted {
    /// Returns what ends this mount.
    pub fn unmounter(&mut self) -> Unmounter {
        Unmounter {
            place: self.place.clone(),
            inner: self.session.unmount_callable(),
        }
    }

    /// Answers the kernel until the folder is unmounted.
    ///
    /// # Errors
    /// Fails if the kernel cannot be talked to.
    pub fn serve(self) -> Result<(), MountError> {
        let place = self.place;
        self.session
            .run()
            .map_err(|source| MountError::Serve { place, source })
    }
}

impl Unmounter {
    /// Unmounts the folder. Returns whether it was at rest: if somebody had a file open there, the
    /// folder is free all the same, and they get errors from then on.
    ///
    /// # Errors
    /// Fails if the system refuses.
    pub fn unmount(mut self) -> Result<bool, MountError> {
        if self.inner.unmount().is_ok() {
            return Ok(true);
        }
        rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH).map_err(
            |errno| MountError::Mount {
                place: self.place,
                source: errno.into(),
            },
        )?;
        Ok(false)
    }
}

struct Adapter {
    tree: MountTree,
    runtime: Handle,
}

impl Adapter {
    /// Waits for an answer, on one of the threads that serve the kernel.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, MountError>>) -> Result<T, Errno> {
        self.runtime.block_on(answer).map_err(|error| errno(&error))
    }
}

/// Translates an error. What the kernel cannot say is logged.
fn errno(error: &MountError) -> Errno {
    match error {
        MountError::NotFound => Errno::ENOENT,
        MountError::NotAFolder => Errno::ENOTDIR,
        other => {
            tracing::error!("{}", error_chain(other));
            Errno::EIO
        }
    }
}

fn time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    let at = match ns < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    at.unwrap_or(UNIX_EPOCH)
}

fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Folder => FileType::Directory,
        NodeKind::File | NodeKind::Hardlink => FileType::RegularFile,
        NodeKind::Symlink => FileType::Symlink,
        NodeKind::Pipe => FileType::NamedPipe,
        NodeKind::Socket => FileType::Socket,
        NodeKind::BlockDevice => FileType::BlockDevice,
        NodeKind::CharacterDevice => FileType::CharDevice,
    }
}

fn attr(inode: u64, attributes: &Attributes) -> FileAttr {
    let modified = time(attributes.mtime_ns);
    FileAttr {
        ino: INodeNo(inode),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: file_type(attributes.kind),
        perm: attributes.mode,
        nlink: attributes.names,
        uid: attributes.uid,
        gid: attributes.gid,
        // The kernel packs device numbers its own way here; those of this program's hosts fit.
        rdev: attributes.device as u32,
        blksize: 1 << 17,
        flags: 0,
    }
}

/// Sends a list or value of extended attributes the way the kernel asks for it: its length first.
fn send_xattr(reply: ReplyXattr, size: u32, bytes: &[u8]) {
    match size {
        0 => reply.size(bytes.len() as u32),
        room if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        _ => reply.data(bytes),
    }
}

impl Filesystem for Adapter {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.wait(self.tree.lookup(parent.0, name.as_bytes())) {
            Ok((inode, found)) => reply.entry(&FOREVER, &attr(inode, &found), Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.wait(self.tree.attributes(inode.0)) {
            Ok(found) => reply.attr(&FOREVER, &attr(inode.0, &found)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        match self.wait(self.tree.link(inode.0)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.wait(self.tree.open(inode.0)) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.wait(self.tree.read(handle.0, offset, size as usize)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tree.close(handle.0);
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        // The folder itself and the one above come before its list.
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let listed = self.wait(async {
            let parent = self.tree.parent(inode.0).await?;
            Ok((
                parent,
                self.tree.list(inode.0, skip.saturating_sub(2)).await?,
            ))
        });
        let (parent, items) = match listed {
            Ok(listed) => listed,
            Err(errno) => return reply.error(errno),
        };
        let here = [(inode.0, &b"."[..]), (parent, b"..")];
        let here = here.map(|(inode, name)| (inode, FileType::Directory, name));
        let items = items
            .iter()
            .map(|item| (item.inode, file_type(item.kind), &item.name[..]));
        let all = here.into_iter().skip(skip).chain(items);
        for (number, (inode, kind, name)) in all.enumerate() {
            let next = (skip + number) as u64 + 1;
            if reply.add(INodeNo(inode), next, kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn listxattr(&self, _: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        match self.wait(self.tree.xattrs(inode.0)) {
            Ok(xattrs) => {
                let names = xattrs
                    .iter()
                    .flat_map(|(name, _)| name.iter().copied().chain([0]));
                send_xattr(reply, size, &names.collect::<Vec<u8>>());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.wait(self.tree.xattrs(inode.0)) {
            Ok(xattrs) => match xattrs.iter().find(|(have, _)| have == name.as_bytes()) {
                Some((_, value)) => send_xattr(reply, size, value),
                None => reply.error(Errno::NO_XATTR),
            },
            Err(errno) => reply.error(errno),
        }
    }
}

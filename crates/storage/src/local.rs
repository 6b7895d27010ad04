//! A store in a folder: one file per object, at the path its key spells.
//!
//! A write becomes a file under `tmp/`, is synced, and only then gets its name, without replacing
//! what has it. All paths are taken from the folder that was opened, so that a disk unmounted under
//! a running command is an error and not a fresh, empty store on the disk below.

mod listing;
mod root;
mod temp;

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::ErrorKind;

use self::root::{Found, Root};
use self::temp::TempFile;
use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::op::Op;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// An [`ObjectStore`] in a folder.
///
/// A key that is a folder, a symbolic link or a device is not an object: it is never listed, read
/// or deleted. Folders that deletions leave empty stay.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Root>,
}

impl LocalStore {
    /// Opens the store in the folder `path`, and removes what dead writers left under its `tmp/`.
    ///
    /// # Errors
    /// Fails with `NoRepository` if there is no such folder. It is never made: an unmounted disk
    /// must not turn into an empty store.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let root = Root::open(path).map_err(|error| open_error(path, error))?;
        // Rubbish is no reason to fail: a disk mounted read-only can still be restored from, and
        // what stays now goes when the next command opens the store.
        let _ = temp::sweep(&root);
        Ok(Self {
            root: Arc::new(root),
        })
    }

    /// Makes the folder `path`, and those above it, unless it is there, and opens it.
    ///
    /// # Errors
    /// Fails if the folder cannot be made durably.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        root::create_folder(path).map_err(|source| {
            StoreError::from_io("create", "", path.display().to_string(), source)
        })?;
        Self::open(path)
    }

    /// Runs `work` where blocking is allowed. It is not stopped if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        op: Op,
        key: &str,
        work: impl FnOnce(&Root) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone();
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(op, key, error)),
            Err(join) => match join.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(join) => Err(StoreError::new(
                    op.verb(),
                    key,
                    self.describe(),
                    ErrorKind::Interrupted,
                    join,
                )),
            },
        }
    }

    fn error(&self, op: Op, key: &str, error: io::Error) -> StoreError {
        let store = self.describe();
        if self.root.is_gone() {
            let why = "the folder was removed or unmounted while in use";
            return StoreError::new(op.verb(), key, store, ErrorKind::NoRepository, why);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                StoreError::new(op.verb(), key, store, ErrorKind::Corrupt, error)
            }
            _ => StoreError::from_io(op.verb(), key, store, error),
        }
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    fn describe(&self) -> String {
        self.root.path().display().to_string()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let name = key.clone();
        let work = move |root: &Root| put(root, name.as_str(), &body);
        self.blocking(Op::Put, key.as_str(), work).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let name = key.clone();
        let work = move |root: &Root| {
            let (file, size) = root.open_object(name.as_str())?;
            read_whole(file, size)
        };
        self.blocking(Op::Get, key.as_str(), work).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let name = key.clone();
        let work = move |root: &Root| {
            let (file, size) = root.open_object(name.as_str())?;
            read_range(&file, size, range)
        };
        self.blocking(Op::GetRange, key.as_str(), work).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let name = key.clone();
        let work = move |root: &Root| match root.find(name.as_str())? {
            Found::Object(size) => Ok(Some(ObjectMeta { key: name, size })),
            Found::Missing if root.is_gone() => Err(io::ErrorKind::NotFound.into()),
            Found::Missing | Found::Folder | Found::Other => Ok(None),
        };
        self.blocking(Op::Head, key.as_str(), work).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        if !ObjectKey::is_prefix(prefix) {
            return Err(StoreError::bad_prefix(prefix, self.describe()));
        }
        let folder = prefix.to_owned();
        let work = move |root: &Root| listing::list(root, &folder);
        self.blocking(Op::List, prefix, work).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let name = key.clone();
        let work = move |root: &Root| delete(root, name.as_str());
        self.blocking(Op::Delete, key.as_str(), work).await
    }
}

fn open_error(path: &Path, error: io::Error) -> StoreError {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "the folder does not exist; its disk may not be mounted",
        io::ErrorKind::NotADirectory => "it is not a folder",
        _ => return StoreError::from_io("open", "", path.display().to_string(), error),
    };
    let store = path.display().to_string();
    StoreError::new("open", "", store, ErrorKind::NoRepository, why)
}

fn put(root: &Root, name: &str, body: &[u8]) -> io::Result<Put> {
    if let Some(put) = existing(root, name)? {
        return Ok(put);
    }
    let mut temp = TempFile::create(root)?;
    temp.write(body)?;
    let (folder, file_name) = root.durable_parent(name)?;
    if temp.publish(&folder, file_name)? {
        root::sync_folder(&folder)?;
        return Ok(Put::Created);
    }
    let lost_race = existing(root, name)?;
    // Whoever took the name has deleted the object again: the caller may try once more.
    let why = "another process took the name and deleted the object again";
    lost_race.ok_or_else(|| io::Error::new(io::ErrorKind::Interrupted, why))
}

/// Answers a put whose object is there, once that is durable.
fn existing(root: &Root, name: &str) -> io::Result<Option<Put>> {
    match root.find(name)? {
        Found::Missing => Ok(None),
        Found::Object(_) => {
            // The writer who was first may not have synced the folder yet, or have died before.
            let (folder, _) = root.durable_parent(name)?;
            root::sync_folder(&folder)?;
            Ok(Some(Put::AlreadyExists))
        }
        Found::Folder | Found::Other => Err(io::Error::other(
            "a folder or a special file has the name of the object",
        )),
    }
}

fn delete(root: &Root, name: &str) -> io::Result<()> {
    match root.find(name)? {
        Found::Missing if root.is_gone() => Err(io::ErrorKind::NotFound.into()),
        Found::Folder | Found::Other => Ok(()),
        // One that is missing is synced too: an earlier call may have failed in between.
        Found::Object(_) | Found::Missing => root.remove_durably(name),
    }
}

fn read_whole(file: impl Read, size: u64) -> io::Result<Bytes> {
    let mut body = Vec::with_capacity(usize::try_from(size).map_err(io::Error::other)?);
    file.take(size).read_to_end(&mut body)?;
    if (body.len() as u64) < size {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it ended after {} of {size} bytes", body.len()),
        ));
    }
    Ok(body.into())
}

fn read_range(file: &std::fs::File, size: u64, range: Range<u64>) -> io::Result<Bytes> {
    if range.start > range.end || range.end > size {
        let Range { start, end } = range;
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it has {size} bytes, and bytes {start}..{end} were asked for"),
        ));
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    file.read_exact_at(&mut body, range.start)?;
    Ok(body.into())
}

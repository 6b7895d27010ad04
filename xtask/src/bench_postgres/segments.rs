//! Filled segments of the server's log, kept aside: every tool pushes and fetches the same ones.

use std::fs;
use std::path::{Path, PathBuf};

use super::archiver::{self, QUEUE, WANTED};
use super::server::{ARCHIVE_LATER, ARCHIVE_NOWHERE, Server};
use crate::bench::account::Account;
use crate::bench::folder::{at, read_all};

/// How long clients write between two checkpoints: after one, each page is logged whole, as in the
/// log of a busy server.
const WRITE_SECS: u32 = 2;
/// A machine that fills no segment in so many turns fills none.
const TURNS_MAX: u32 = 500;

/// What a tool looks at before it takes a segment from a data directory.
const IDENTITY: [&str; 2] = ["PG_VERSION", "global/pg_control"];

/// The segments, and what they belong to.
pub(super) struct Segments {
    /// Laid out as a data directory.
    folder: PathBuf,
    pub(super) names: Vec<String>,
    account: Account,
}

impl Segments {
    /// Lets the server fill `count` segments and copies them to `folder`.
    pub(super) fn make(
        server: &Server,
        folder: PathBuf,
        count: usize,
        account: Account,
    ) -> Result<Self, String> {
        server.archive_with(ARCHIVE_LATER)?;
        for _ in 0..TURNS_MAX {
            if filled(server)?.len() >= count {
                break;
            }
            server.rest()?;
            server.write_for(WRITE_SECS)?;
        }
        let mut names = filled(server)?;
        if names.len() < count {
            return Err(format!("the server filled {} segments only", names.len()));
        }
        names.truncate(count);
        account.make_folder(&folder.join("pg_wal"))?;
        let segments = names.iter().map(|name| format!("pg_wal/{name}"));
        for file in segments.chain(IDENTITY.map(str::to_owned)) {
            let from = server.data.join(&file);
            let bytes = fs::read(&from).map_err(|error| at(&from, &error))?;
            account.write(&folder.join(&file), bytes)?;
        }
        server.archive_with(ARCHIVE_NOWHERE)?;
        server.rest()?;
        Ok(Self {
            folder,
            names,
            account,
        })
    }

    /// Makes a data directory from which the segments wait to be archived.
    pub(super) fn queue(&self, data: &Path) -> Result<(), String> {
        self.like_data(data)?;
        for name in &self.names {
            let (from, to) = (self.path(name), data.join("pg_wal").join(name));
            fs::hard_link(&from, &to).map_err(|error| at(&to, &error))?;
            let ready = data.join(QUEUE).join(format!("{name}.ready"));
            self.account.write(&ready, "")?;
        }
        Ok(())
    }

    /// Makes a data directory that wants the segments.
    pub(super) fn want(&self, data: &Path) -> Result<(), String> {
        self.like_data(data)?;
        let list: Vec<String> = self.names.iter().map(|name| format!("{name}\n")).collect();
        self.account.write(&data.join(WANTED), list.concat())
    }

    /// Makes sure that `data` got every segment, whole.
    pub(super) fn expect_fetched(&self, data: &Path) -> Result<(), String> {
        for name in &self.names {
            let (own, fetched) = (self.path(name), data.join("pg_wal").join(name));
            let read = |path: &Path| fs::read(path).map_err(|error| at(path, &error));
            if read(&own)? != read(&fetched)? {
                return Err(format!("`{}` is not what was pushed", fetched.display()));
            }
        }
        Ok(())
    }

    /// Reads all once.
    pub(super) fn warm(&self) -> Result<(), String> {
        let paths: Vec<PathBuf> = self.names.iter().map(|name| self.path(name)).collect();
        read_all(paths.iter().map(PathBuf::as_path)).map(drop)
    }

    fn like_data(&self, data: &Path) -> Result<(), String> {
        self.account.make_folder(&data.join(QUEUE))?;
        for file in IDENTITY {
            let from = self.folder.join(file);
            let bytes = fs::read(&from).map_err(|error| at(&from, &error))?;
            self.account.write(&data.join(file), bytes)?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("pg_wal").join(name)
    }
}

/// Returns the segments that are full and wait; a history or a backup's label may wait among them.
fn filled(server: &Server) -> Result<Vec<String>, String> {
    let is_segment = |name: &String| name.len() == 24 && !name.contains('.');
    let waiting = archiver::ready(&server.data)?;
    Ok(waiting.into_iter().filter(is_segment).collect())
}

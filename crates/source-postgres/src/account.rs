//! Which account a server runs under: PostgreSQL refuses root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::error::PostgresError;

/// `nobody` on most systems, where no `postgres` account exists.
const NOBODY: u32 = 65534;

/// An account that root steps down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Returns who a server on `data_directory` should run as, or `None` if that is ourselves: who
    /// owns the directory, else `postgres`, else `nobody`.
    pub(crate) fn for_server(data_directory: &Path) -> Result<Option<Self>, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let stat = fs::metadata(data_directory)
            .map_err(|error| PostgresError::io("look at", data_directory, error))?;
        if stat.uid() != 0 {
            let (uid, gid) = (stat.uid(), stat.gid());
            return Ok(Some(Self { uid, gid }));
        }
        Ok(Some(Self::named_postgres().unwrap_or(Self {
            uid: NOBODY,
            gid: NOBODY,
        })))
    }

    fn named_postgres() -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next()? == "postgres";
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            is_it.then_some(Self { uid, gid })
        })
    }

    /// Makes `command` run under this account.
    pub(crate) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a folder and all below it to this account, links themselves and not what they lead to.
    pub(crate) fn own(self, path: &Path) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::io("give away", path, error);
        let stat = fs::symlink_metadata(path).map_err(failed)?;
        if (stat.uid(), stat.gid()) != (self.uid, self.gid) {
            lchown(path, Some(self.uid), Some(self.gid)).map_err(failed)?;
        }
        if stat.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                self.own(&entry.map_err(failed)?.path())?;
            }
        }
        Ok(())
    }
}

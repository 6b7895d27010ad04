//! The account that test servers run under.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `nobody` on most systems; used when no `postgres` account exists.
const NOBODY: u32 = 65534;

/// Who runs test servers: PostgreSQL refuses root, so root steps down to another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerAccount {
    /// Numeric owner of everything a test server writes.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl ServerAccount {
    /// Returns the account to step down to, or `None` if the test does not run as root.
    pub fn unprivileged() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (name == "postgres").then_some(Self { uid, gid })
        });
        Some(found.unwrap_or(Self {
            uid: NOBODY,
            gid: NOBODY,
        }))
    }

    /// Makes `command` run under this account.
    pub fn apply(account: Option<Self>, command: &mut Command) {
        if let Some(Self { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
    }
}

//! The account that measured programs run under.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::folder::at;
use crate::install;

/// `nobody` on most systems; used when there is no account `postgres`.
const NOBODY: u32 = 65534;

/// Whom programs run as, and who owns what they work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Account {
    /// The user of this program.
    #[default]
    Own,
    /// Another, by number: only root can step down to it.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Returns an account under which PostgreSQL starts: it refuses root.
    pub(crate) fn unprivileged() -> Self {
        if !install::is_root() {
            return Self::Own;
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        named_postgres(&accounts).unwrap_or(Self::Other {
            uid: NOBODY,
            gid: NOBODY,
        })
    }

    /// Makes `command` run under this account.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives the file or folder `path` to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), String> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(|error| at(path, &error))
            }
        }
    }

    /// Makes `folder`, and those above it that are missing, for this account.
    pub(crate) fn make_folder(self, folder: &Path) -> Result<(), String> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.make_folder(parent)?;
        }
        fs::create_dir(folder).map_err(|error| at(folder, &error))?;
        self.own(folder)
    }

    /// Writes a file, and makes its folder, for this account.
    pub(crate) fn write(self, path: &Path, contents: impl AsRef<[u8]>) -> Result<(), String> {
        self.make_folder(path.parent().expect("a file lies in a folder"))?;
        fs::write(path, contents).map_err(|error| at(path, &error))?;
        self.own(path)
    }

    /// Reports whether this account can get into `folder`.
    pub(crate) fn may_enter(self, folder: &Path) -> bool {
        let mut test = Command::new("test");
        self.apply(test.arg("-x").arg(folder));
        test.status().is_ok_and(|status| status.success())
    }

    /// Returns the account as one word: `own`, or `101:104`.
    pub(super) fn word(self) -> String {
        match self {
            Self::Own => "own".to_owned(),
            Self::Other { uid, gid } => format!("{uid}:{gid}"),
        }
    }

    /// Reads what [`Self::word`] returns.
    pub(super) fn parse(word: &str) -> Option<Self> {
        if word == "own" {
            return Some(Self::Own);
        }
        let (uid, gid) = word.split_once(':')?;
        Some(Self::Other {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    }
}

/// Finds the account `postgres` in the text of `/etc/passwd`.
fn named_postgres(accounts: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (name == "postgres").then_some(Account::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_the_server_is_found_by_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib:/bin/sh\n";
        let other = Account::Other { uid: 101, gid: 104 };
        assert_eq!(named_postgres(accounts), Some(other));
        assert_eq!(named_postgres("root:x:0:0:root:/root:/bin/sh\n"), None);
    }

    #[test]
    fn an_account_survives_the_command_line() {
        for account in [Account::Own, Account::Other { uid: 101, gid: 104 }] {
            assert_eq!(Account::parse(&account.word()), Some(account));
        }
        assert_eq!(Account::parse("postgres"), None);
    }
}

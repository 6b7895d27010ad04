//! Which files of a cluster belong into a backup, decided by their names alone.
//!
//! PostgreSQL's own rules are in `src/backend/backup/basebackup.c`.

/// Folders of the data directory that are kept, but empty: the server fills them anew.
const KEPT_EMPTY: [&[u8]; 8] = [
    b"pg_dynshmem",
    b"pg_notify",
    b"pg_replslot",
    b"pg_serial",
    b"pg_snapshots",
    b"pg_stat_tmp",
    b"pg_subtrans",
    b"pg_wal",
];

/// Folders of the data directory that are the server's own. If one is a link, what it leads to is
/// part of the cluster.
const SERVER_FOLDERS: [&[u8]; 9] = [
    b"base",
    b"global",
    b"pg_commit_ts",
    b"pg_logical",
    b"pg_multixact",
    b"pg_stat",
    b"pg_tblspc",
    b"pg_twophase",
    b"pg_xact",
];

/// Files of the data directory that tell of a running server.
const RUNNING: [&[u8]; 4] = [
    b"postmaster.pid",
    b"postmaster.opts",
    b"postgresql.auto.conf.tmp",
    b"current_logfiles.tmp",
];

/// Files of the data directory that tell of another backup or recovery. They are left out with
/// whatever follows in their names: `backup_label.old`.
const OTHER_RECOVERY: [&[u8]; 6] = [
    b"backup_label",
    b"tablespace_map",
    b"backup_manifest",
    b"recovery.signal",
    b"standby.signal",
    b"recovery.done",
];

/// Reports whether a folder of the data directory is kept without what it holds.
pub(crate) fn is_kept_empty(name: &[u8]) -> bool {
    KEPT_EMPTY.contains(&name) || name == b"pg_tblspc"
}

/// Reports whether a link of this name in the data directory stands for a folder of the server.
pub(crate) fn is_server_folder(name: &[u8]) -> bool {
    SERVER_FOLDERS.contains(&name) || KEPT_EMPTY.contains(&name)
}

/// Reports whether an entry directly in the data directory is left out.
pub(crate) fn is_left_out_of_root(name: &[u8]) -> bool {
    RUNNING.contains(&name)
        || OTHER_RECOVERY.iter().any(|prefix| name.starts_with(prefix))
        || is_left_out_anywhere(name)
}

/// Reports whether an entry is left out wherever it lies: files of sorts that spill, and caches that
/// the server rebuilds.
pub(crate) fn is_left_out_anywhere(name: &[u8]) -> bool {
    name.starts_with(b"pgsql_tmp") || name.starts_with(b"pg_internal.init")
}

/// Which of a relation's forks a file is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    Main,
    FreeSpace,
    Visibility,
    /// What an unlogged relation is reset to after a crash.
    Init,
}

/// The name of a relation's file: `16384`, `16384.1`, `16384_fsm`, `t3_16384`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelationFile {
    pub(crate) number: u32,
    pub(crate) fork: Fork,
    /// Which file of the fork: a file holds a gigabyte.
    pub(crate) segment: u32,
    /// Whether it belongs to one session only.
    pub(crate) temporary: bool,
}

impl RelationFile {
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?;
        let (text, temporary) = match text.strip_prefix('t') {
            Some(rest) => {
                let (session, rest) = rest.split_once('_')?;
                number(session)?;
                (rest, true)
            }
            None => (text, false),
        };
        let (text, segment) = match text.split_once('.') {
            Some((text, segment)) => (text, number(segment)?),
            None => (text, 0),
        };
        let (text, fork) = match text.split_once('_') {
            None => (text, Fork::Main),
            Some((text, "fsm")) => (text, Fork::FreeSpace),
            Some((text, "vm")) => (text, Fork::Visibility),
            Some((text, "init")) => (text, Fork::Init),
            Some(_) => return None,
        };
        Some(Self {
            number: number(text)?,
            fork,
            segment,
            temporary,
        })
    }
}

/// A number as PostgreSQL writes it into names: no sign, no needless zero.
pub(crate) fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let needless = text.len() > 1 && text.starts_with('0');
    (plain && !needless).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(u32, Fork, u32, bool)> {
        let file = RelationFile::parse(name.as_bytes())?;
        Some((file.number, file.fork, file.segment, file.temporary))
    }

    #[test]
    fn names_of_relations_are_told_from_others() {
        assert_eq!(parsed("16384"), Some((16384, Fork::Main, 0, false)));
        assert_eq!(parsed("16384.2"), Some((16384, Fork::Main, 2, false)));
        assert_eq!(parsed("1_fsm.1"), Some((1, Fork::FreeSpace, 1, false)));
        assert_eq!(parsed("1_init"), Some((1, Fork::Init, 0, false)));
        assert_eq!(parsed("t12_99_vm"), Some((99, Fork::Visibility, 0, true)));
        for other in [
            "PG_VERSION",
            "pg_control",
            "pg_filenode.map",
            "1_ini",
            "1.",
            "01",
            "t_1",
            "t1",
            "4294967296",
            "1_init_fsm",
            "",
        ] {
            assert_eq!(parsed(other), None, "{other:?}");
        }
    }

    #[test]
    fn signs_of_a_running_or_recovering_server_are_left_out() {
        for name in [
            "postmaster.pid",
            "backup_label.old",
            "tablespace_map",
            "standby.signal",
            "pgsql_tmp",
            "pg_internal.init.123",
        ] {
            assert!(is_left_out_of_root(name.as_bytes()), "{name}");
        }
        for name in [
            "postgresql.conf",
            "postgresql.auto.conf",
            "PG_VERSION",
            "postmaster.pid.bak",
        ] {
            assert!(!is_left_out_of_root(name.as_bytes()), "{name}");
        }
    }
}

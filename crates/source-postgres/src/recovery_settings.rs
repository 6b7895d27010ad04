//! How a restored cluster recovers: how far, along which timeline, and what it does then.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lifeboat_model::{Lsn, Timeline};

use crate::error::PostgresError;
use crate::restore::write_durably;

/// The settings that say how far recovery goes. A server accepts one of them.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
];

/// Everything else that an earlier recovery, or the standby that was backed up, may have left.
const OTHERS: [&str; 8] = [
    "archive_cleanup_command",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_end_command",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "restore_command",
];

/// How far recovery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// To the end of the log.
    Latest,
    /// Until the backup is consistent, and no further.
    Immediate,
    /// To the last commit before a moment.
    Time(Timestamp),
    /// To a position of the log.
    Lsn(Lsn),
    /// To the commit of a transaction.
    Xid(u64),
    /// To a named restore point.
    Name(String),
}

/// Which timeline recovery follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineChoice {
    /// The newest that the archive knows.
    Latest,
    /// The backup's own.
    OfBackup,
    /// This one, which must descend from the backup's.
    Number(Timeline),
}

/// Whether what happened exactly at the target is part of what is recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetEdge {
    /// It is.
    Included,
    /// It is not.
    Excluded,
}

/// What the server does at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// Wait, open for reading, until somebody decides.
    Pause,
    /// Open for writing, on a new timeline.
    Promote,
    /// Stop.
    Shutdown,
}

/// Where a restored standby follows its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandbySource {
    /// How to connect to the primary.
    pub primary_conninfo: String,
    /// The physical replication slot to use there.
    pub primary_slot_name: Option<String>,
}

/// Whether a restored cluster hands its log to the archive of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archiving {
    /// As the original did: it takes its place.
    AsBefore,
    /// Not: it lives beside the original, whose archive is not its own. Its timeline would become the
    /// newest there, and recoveries of the original would follow it.
    Off,
}

/// How a restored cluster recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySettings {
    /// How far.
    pub target: RecoveryTarget,
    /// Along which timeline.
    pub timeline: TimelineChoice,
    /// With or without what happened exactly then.
    pub edge: TargetEdge,
    /// What happens there.
    pub action: TargetAction,
    /// How the server gets files of the log: a shell command with `%f` and `%p`. Without one, only
    /// what lies in `pg_wal` is replayed.
    pub restore_command: Option<String>,
    /// A shell command that the server runs when recovery is done.
    pub recovery_end_command: Option<String>,
    /// Makes the cluster a standby, which recovers for ever.
    pub standby: Option<StandbySource>,
    /// Whether it archives.
    pub archiving: Archiving,
    /// The port that it listens on instead of the original's.
    pub port: Option<u16>,
}

impl Default for RecoverySettings {
    /// To the end of what `pg_wal` holds, then open for writing.
    fn default() -> Self {
        Self {
            target: RecoveryTarget::Latest,
            timeline: TimelineChoice::Latest,
            edge: TargetEdge::Included,
            action: TargetAction::Promote,
            restore_command: None,
            recovery_end_command: None,
            standby: None,
            archiving: Archiving::AsBefore,
            port: None,
        }
    }
}

impl RecoverySettings {
    /// Appends these settings to `postgresql.auto.conf`, where they win over `postgresql.conf`, and
    /// makes the file that tells the server to recover.
    ///
    /// # Errors
    /// Fails if a value cannot be written, or the system refuses.
    pub fn write(&self, data_directory: &Path) -> Result<(), PostgresError> {
        let name = Path::new("postgresql.auto.conf");
        let path = data_directory.join(name);
        let old = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(PostgresError::io("read", &path, error)),
        };
        let mut new = without_recovery(&old);
        new.extend_from_slice(self.lines()?.as_bytes());
        write_durably(data_directory, name, &new)?;
        let signal = match self.standby {
            Some(_) => "standby.signal",
            None => "recovery.signal",
        };
        write_durably(data_directory, Path::new(signal), b"")
    }

    /// Returns the lines that are appended.
    fn lines(&self) -> Result<String, PostgresError> {
        let mut lines = String::from("# Added by lifeboat for recovery.\n");
        for (name, value) in self.settings() {
            let value = quoted(name, &value)?;
            writeln!(lines, "{name} = {value}").expect("a String takes everything");
        }
        Ok(lines)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        let nothing = |name: &'static str| (name, String::new());
        // Exit code 1 says that the archive has no such file.
        let restore = self.restore_command.as_deref().unwrap_or("false");
        settings.push(("restore_command", restore.to_owned()));
        settings.push(nothing("archive_cleanup_command"));
        if self.archiving == Archiving::Off {
            settings.push(("archive_mode", "off".to_owned()));
        }
        if let Some(port) = self.port {
            settings.push(("port", port.to_string()));
        }
        let end = self.recovery_end_command.clone().unwrap_or_default();
        settings.push(("recovery_end_command", end));
        let source = self.standby.as_ref();
        let conninfo = source.map(|source| source.primary_conninfo.clone());
        let slot = source.and_then(|source| source.primary_slot_name.clone());
        settings.push(("primary_conninfo", conninfo.unwrap_or_default()));
        settings.push(("primary_slot_name", slot.unwrap_or_default()));
        settings.push(("recovery_target_timeline", self.timeline_value()));
        settings.push(("recovery_target_inclusive", self.edge_value().to_owned()));
        settings.push(("recovery_target_action", self.action_value().to_owned()));
        // A target in `postgresql.conf` would clash with ours unless it is taken back first. Servers
        // look at the settings in the order of the file, so ours comes last.
        let target = self.target_setting();
        let others = TARGETS.into_iter();
        let others = others.filter(|name| target.as_ref().is_none_or(|(ours, _)| ours != name));
        settings.extend(others.map(nothing));
        settings.extend(target);
        settings
    }

    fn target_setting(&self) -> Option<(&'static str, String)> {
        Some(match &self.target {
            RecoveryTarget::Latest => return None,
            RecoveryTarget::Immediate => ("recovery_target", "immediate".to_owned()),
            RecoveryTarget::Time(time) => ("recovery_target_time", time_value(*time)),
            RecoveryTarget::Lsn(lsn) => ("recovery_target_lsn", lsn.to_string()),
            RecoveryTarget::Xid(xid) => ("recovery_target_xid", xid.to_string()),
            RecoveryTarget::Name(name) => ("recovery_target_name", name.clone()),
        })
    }

    fn timeline_value(&self) -> String {
        match self.timeline {
            TimelineChoice::Latest => "latest".to_owned(),
            TimelineChoice::OfBackup => "current".to_owned(),
            TimelineChoice::Number(timeline) => timeline.to_string(),
        }
    }

    const fn edge_value(&self) -> &'static str {
        match self.edge {
            TargetEdge::Included => "on",
            TargetEdge::Excluded => "off",
        }
    }

    const fn action_value(&self) -> &'static str {
        match self.action {
            TargetAction::Pause => "pause",
            TargetAction::Promote => "promote",
            TargetAction::Shutdown => "shutdown",
        }
    }
}

/// Writes a moment so that no setting changes what it means: in UTC, and saying so. PostgreSQL knows
/// microseconds; what is finer is cut off.
fn time_value(time: Timestamp) -> String {
    let utc = time.to_zoned(TimeZone::UTC);
    utc.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

/// Turns a value into a string of PostgreSQL's configuration files.
fn quoted(name: &str, value: &str) -> Result<String, PostgresError> {
    if value.contains(['\0', '\n', '\r']) {
        return Err(PostgresError::BadSetting {
            name: name.to_owned(),
            why: "holds a line feed or a NUL",
            hint: "write it on one line",
        });
    }
    Ok(format!(
        "'{}'",
        value.replace('\\', "\\\\").replace('\'', "''")
    ))
}

/// Comments out the lines that set anything about recovery.
fn without_recovery(conf: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(conf.len());
    for line in conf.split_inclusive(|byte| *byte == b'\n') {
        if sets_recovery(line) {
            kept.extend_from_slice(b"# ");
        }
        kept.extend_from_slice(line);
    }
    if kept.last().is_some_and(|byte| *byte != b'\n') {
        kept.push(b'\n');
    }
    kept
}

fn sets_recovery(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = line.iter().position(|byte| !is_name(byte));
    let name = &line[..end.unwrap_or(line.len())];
    TARGETS
        .iter()
        .chain(&OTHERS)
        .any(|setting| name.eq_ignore_ascii_case(setting.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_recovery_left_is_commented_out() {
        let old = b"work_mem = '4MB'\nRecovery_Target_Time='x'\n  primary_conninfo 'y'\n\
            recovery_targets = 1\nrestore_command = 'z'";
        let new = String::from_utf8(without_recovery(old)).unwrap();
        assert_eq!(
            new,
            "work_mem = '4MB'\n# Recovery_Target_Time='x'\n#   primary_conninfo 'y'\n\
             recovery_targets = 1\n# restore_command = 'z'\n"
        );
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(quoted("x", r"a'b\c").unwrap(), r"'a''b\\c'");
        assert!(quoted("x", "a\nfsync = off").is_err());
    }

    #[test]
    fn a_time_says_its_zone() {
        let time: Timestamp = "2026-01-31T12:00:00.123456789Z".parse().unwrap();
        assert_eq!(time_value(time), "2026-01-31 12:00:00.123456+00");
    }
}

//! The two files that a server makes for a backup: where recovery begins, and where the tablespaces
//! were.

use std::path::PathBuf;

use lifeboat_model::{Lsn, Timeline};

use crate::data_directory::Tablespace;
use crate::error::PostgresError;
use crate::rules::number;

/// `backup_label`: where recovery of a base backup begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where recovery begins.
    pub start: Lsn,
    /// The checkpoint that the backup began with.
    pub checkpoint: Lsn,
    /// The timeline that it was taken on.
    pub timeline: Timeline,
    /// Whether a standby was backed up.
    pub from_standby: bool,
}

impl BackupLabel {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// Fails if a line that recovery needs is missing or makes no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, PostgresError> {
        // The label that the caller chose stands in the file, in the server's encoding.
        let text = String::from_utf8_lossy(bytes);
        let field = |name: &'static str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.ok_or_else(|| bad(format!("it has no line `{name}`")))
        };
        let position = |name| {
            let value = field(name)?;
            let (lsn, _) = value.split_once(' ').unwrap_or((value, ""));
            lsn.parse()
                .map_err(|_| bad(format!("its `{name}` is no position of the log")))
        };
        let timeline = field("START TIMELINE")?;
        let timeline =
            number(timeline).ok_or_else(|| bad("its timeline is no number".to_owned()))?;
        Ok(Self {
            start: position("START WAL LOCATION")?,
            checkpoint: position("CHECKPOINT LOCATION")?,
            timeline: Timeline::new(timeline),
            from_standby: field("BACKUP FROM")? == "standby",
        })
    }
}

fn bad(why: String) -> PostgresError {
    PostgresError::BadRecoveryFile {
        file: "backup_label",
        why,
    }
}

/// Reads `tablespace_map`: a line per tablespace, its number and its location, in which a backslash
/// takes away the meaning of what follows it.
///
/// # Errors
/// Fails if a line has no number, or no location.
pub fn parse_tablespace_map(bytes: &[u8]) -> Result<Vec<Tablespace>, PostgresError> {
    let mut tablespaces = Vec::new();
    let mut line = Vec::new();
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => line.extend(rest.next()),
            b'\n' => tablespaces.push(tablespace(&std::mem::take(&mut line))?),
            byte => line.push(*byte),
        }
    }
    if !line.is_empty() {
        tablespaces.push(tablespace(&line)?);
    }
    Ok(tablespaces)
}

fn tablespace(line: &[u8]) -> Result<Tablespace, PostgresError> {
    use std::os::unix::ffi::OsStringExt as _;
    let parse = || {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let oid = number(std::str::from_utf8(&line[..space]).ok()?)?;
        let location = line[space + 1..].to_vec();
        let location = PathBuf::from(std::ffi::OsString::from_vec(location));
        (!location.as_os_str().is_empty()).then_some(Tablespace { oid, location })
    };
    parse().ok_or_else(|| PostgresError::BadRecoveryFile {
        file: "tablespace_map",
        why: "a line is no number with a location".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &[u8] = b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
        CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: standby\n\
        START TIME: 2026-01-01 00:00:00 UTC\nLABEL: a: b\xff\nSTART TIMELINE: 3\n";

    #[test]
    fn a_label_says_where_recovery_begins() {
        let label = BackupLabel::parse(LABEL).unwrap();
        assert_eq!(label.start.to_string(), "0/2000028");
        assert_eq!(label.checkpoint.to_string(), "0/2000060");
        assert_eq!(label.timeline.get(), 3);
        assert!(label.from_standby);
        assert!(BackupLabel::parse(&LABEL[..80]).is_err());
    }

    #[test]
    fn locations_with_line_feeds_and_backslashes_survive() {
        let map = parse_tablespace_map(b"16400 /a b\\\nc\\\\d\n5 /x\n").unwrap();
        assert_eq!(map.len(), 2);
        assert_eq!(map[0].oid, 16400);
        assert_eq!(map[0].location, PathBuf::from("/a b\nc\\d"));
        assert!(parse_tablespace_map(b"nonsense\n").is_err());
    }
}

//! PostgreSQL's write-ahead log as other crates speak of it: positions, timelines, segments and the
//! names of the files that an archive holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not what the write-ahead log calls by this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct InvalidWalName {
    text: String,
    what: &'static str,
}

impl InvalidWalName {
    fn new(text: &str, what: &'static str) -> Self {
        let text = text.to_owned();
        Self { text, what }
    }
}

/// A position in the write-ahead log: the number of a byte, counted since the cluster was made.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(u64);

impl Lsn {
    /// Wraps the number of a byte.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// Returns the number of the byte.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns how many bytes lie between `earlier` and here; none if it is not earlier.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = InvalidWalName;

    fn from_str(text: &str) -> Result<Self, InvalidWalName> {
        let parse = || {
            let (high, low) = text.split_once('/')?;
            Some(Self(u64::from(hex32(high)?) << 32 | u64::from(hex32(low)?)))
        };
        parse().ok_or_else(|| InvalidWalName::new(text, "LSN, such as `0/16B3740`"))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = InvalidWalName;

    fn try_from(text: String) -> Result<Self, InvalidWalName> {
        text.parse()
    }
}

/// Up to eight hex digits.
fn hex32(text: &str) -> Option<u32> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok())?
}

/// Exactly eight upper-case hex digits, as file names have them.
fn file_hex32(text: &str) -> Option<u32> {
    let upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    (text.len() == 8 && upper).then(|| hex32(text))?
}

/// One line of history of a cluster; each recovery that ends in a promotion starts the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(u32);

impl Timeline {
    /// Wraps a timeline's number; the first is 1.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `initdb` drew for a cluster: its standbys share it, no other cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SystemId(u64);

impl SystemId {
    /// Wraps a system identifier.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Returns the system identifier.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = InvalidWalName;

    fn from_str(text: &str) -> Result<Self, InvalidWalName> {
        let invalid = |_| InvalidWalName::new(text, "system identifier, a decimal number");
        text.parse().map(Self).map_err(invalid)
    }
}

impl From<SystemId> for String {
    fn from(id: SystemId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SystemId {
    type Error = InvalidWalName;

    fn try_from(text: String) -> Result<Self, InvalidWalName> {
        text.parse()
    }
}

/// Length of a WAL segment, bytes: a power of two from 1 MiB to 1 GiB, fixed by `initdb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// What clusters have unless somebody chose another: 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);

    /// Checks a length.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Returns the length, bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Returns how many segments share the middle eight digits of their names.
    const fn per_log(self) -> u64 {
        (1 << 32) / self.0 as u64
    }
}

impl TryFrom<u32> for SegmentSize {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        Self::new(bytes).ok_or_else(|| format!("{bytes} bytes is no length of a WAL segment"))
    }
}

impl From<SegmentSize> for u32 {
    fn from(size: SegmentSize) -> u32 {
        size.0
    }
}

/// One segment of the write-ahead log: a file of `pg_wal`.
///
/// Orders by timeline, then by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Segment {
    /// The timeline that wrote it.
    pub timeline: Timeline,
    /// Upper half of its name's position: which 4 GiB of the log.
    pub log: u32,
    /// Which segment of these 4 GiB.
    pub part: u32,
}

impl Segment {
    /// Returns the segment that holds the byte at `lsn`.
    pub const fn holding(timeline: Timeline, lsn: Lsn, size: SegmentSize) -> Self {
        Self::numbered(timeline, lsn.0 / size.0 as u64, size)
    }

    /// Returns the segment whose bytes follow `number` others.
    pub const fn numbered(timeline: Timeline, number: u64, size: SegmentSize) -> Self {
        Self {
            timeline,
            log: (number / size.per_log()) as u32,
            part: (number % size.per_log()) as u32,
        }
    }

    /// Returns how many segments come before this one.
    pub const fn number(self, size: SegmentSize) -> u64 {
        self.log as u64 * size.per_log() + self.part as u64
    }

    /// Returns the position of its first byte.
    pub const fn start(self, size: SegmentSize) -> Lsn {
        Lsn(self.number(size) * size.0 as u64)
    }

    /// Returns the position after its last byte.
    pub const fn end(self, size: SegmentSize) -> Lsn {
        Lsn((self.number(size) + 1) * size.0 as u64)
    }

    /// Returns the segment after this one on the same timeline.
    pub const fn next(self, size: SegmentSize) -> Self {
        Self::numbered(self.timeline, self.number(size) + 1, size)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            timeline,
            log,
            part,
        } = self;
        write!(f, "{:08X}{log:08X}{part:08X}", timeline.0)
    }
}

impl FromStr for Segment {
    type Err = InvalidWalName;

    fn from_str(text: &str) -> Result<Self, InvalidWalName> {
        let parse = || {
            let (timeline, rest) = text.split_at_checked(8)?;
            let (log, part) = rest.split_at_checked(8)?;
            Some(Self {
                timeline: Timeline(file_hex32(timeline)?),
                log: file_hex32(log)?,
                part: file_hex32(part)?,
            })
        };
        parse().ok_or_else(|| InvalidWalName::new(text, "WAL segment"))
    }
}

impl From<Segment> for String {
    fn from(segment: Segment) -> Self {
        segment.to_string()
    }
}

impl TryFrom<String> for Segment {
    type Error = InvalidWalName;

    fn try_from(text: String) -> Result<Self, InvalidWalName> {
        text.parse()
    }
}

/// A file that PostgreSQL hands to an archive, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum WalFileName {
    /// `000000010000000000000001`: a whole segment.
    Segment(Segment),
    /// `000000010000000000000001.partial`: the last segment of a timeline that was left.
    Partial(Segment),
    /// `000000010000000000000001.00000028.backup`: where a backup began and ended.
    Backup(Segment, u32),
    /// `00000002.history`: where a timeline branched off.
    History(Timeline),
}

impl WalFileName {
    /// Returns the timeline that the file is of.
    pub const fn timeline(self) -> Timeline {
        match self {
            Self::Segment(segment) | Self::Partial(segment) | Self::Backup(segment, _) => {
                segment.timeline
            }
            Self::History(timeline) => timeline,
        }
    }

    /// Reports whether the file is as long as a segment, and holds pages of the log.
    pub const fn holds_pages(self) -> bool {
        matches!(self, Self::Segment(_) | Self::Partial(_))
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => segment.fmt(f),
            Self::Partial(segment) => write!(f, "{segment}.partial"),
            Self::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
            Self::History(timeline) => write!(f, "{:08X}.history", timeline.0),
        }
    }
}

impl FromStr for WalFileName {
    type Err = InvalidWalName;

    fn from_str(text: &str) -> Result<Self, InvalidWalName> {
        let parse = || {
            let (stem, suffix) = text.split_once('.').unwrap_or((text, ""));
            let segment = || stem.parse::<Segment>().ok();
            match suffix {
                "" => Some(Self::Segment(text.parse().ok()?)),
                "partial" => Some(Self::Partial(segment()?)),
                "history" => Some(Self::History(Timeline(file_hex32(stem)?))),
                _ => {
                    let offset = file_hex32(suffix.strip_suffix(".backup")?)?;
                    Some(Self::Backup(segment()?, offset))
                }
            }
        };
        parse().ok_or_else(|| InvalidWalName::new(text, "file of a WAL archive"))
    }
}

impl From<WalFileName> for String {
    fn from(name: WalFileName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for WalFileName {
    type Error = InvalidWalName;

    fn try_from(text: String) -> Result<Self, InvalidWalName> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_as_postgresql_does() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn.get(), 0x16_B374_D848);
        assert_eq!(lsn.to_string(), "16/B374D848");
        for bad in ["", "16", "/1", "1/", "1/123456789", "g/1", "1/+2"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn segments_follow_each_other_over_the_end_of_a_log() {
        let size = SegmentSize::DEFAULT;
        let last: Segment = "0000000100000000000000FF".parse().unwrap();
        assert_eq!(last.next(size).to_string(), "000000010000000100000000");
        assert_eq!(last.end(size), last.next(size).start(size));
        let small = SegmentSize::new(1 << 20).unwrap();
        assert_eq!(last.next(small).to_string(), "000000010000000000000100");
        let at = Segment::holding(Timeline::new(3), "1/2000028".parse().unwrap(), size);
        assert_eq!(at.to_string(), "000000030000000100000002");
    }

    #[test]
    fn names_of_an_archive_survive_being_read_and_written() {
        for name in [
            "00000001000000000000000A",
            "00000001000000000000000A.partial",
            "00000001000000000000000A.00000028.backup",
            "0000000B.history",
        ] {
            assert_eq!(name.parse::<WalFileName>().unwrap().to_string(), name);
        }
        for bad in [
            "00000001000000000000000a",
            "000000010000000000000001.gz",
            "RECOVERYXLOG",
            "../00000001",
            "0000000100000000000000.0A",
            "00000001.history.partial",
        ] {
            assert!(bad.parse::<WalFileName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn only_lengths_that_initdb_allows_are_segment_sizes() {
        assert!(SegmentSize::new(3 << 20).is_none());
        assert!(SegmentSize::new(1 << 19).is_none());
        assert!(SegmentSize::new(1 << 30).is_some());
    }
}

//! Page headers of the write-ahead log, and whether a file is the segment that its name says.

use lifeboat_model::{
    Diagnose, ErrorKind, Lsn, Segment, SegmentSize, SystemId, Timeline, WalFileName,
};

/// Length of a header that starts a page.
pub(super) const SHORT_HEADER: usize = 24;
/// Length of a header that starts a segment.
pub(super) const LONG_HEADER: usize = 40;

/// The page begins with the rest of a record of the page before.
pub(super) const FIRST_IS_CONTINUATION: u16 = 0x0001;
/// The page begins a segment, and its header is the long one.
pub(super) const LONG: u16 = 0x0002;
/// The record that should continue here was lost in a crash, and a new one begins.
pub(super) const FIRST_IS_OVERWRITE: u16 = 0x0008;

/// The number by which a page says which version of PostgreSQL wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalMagic(u16);

impl WalMagic {
    /// `XLOG_PAGE_MAGIC` of each major version, from `access/xlog_internal.h`.
    const KNOWN: [(u16, u32); 6] = [
        (0xD106, 13),
        (0xD10D, 14),
        (0xD110, 15),
        (0xD113, 16),
        (0xD116, 17),
        (0xD118, 18),
    ];

    /// Wraps the number at the start of a page.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the major version that writes it, if it is one from 13 to 18.
    pub fn major_version(self) -> Option<u32> {
        let known = Self::KNOWN.iter().find(|(magic, _)| *magic == self.0);
        known.map(|(_, major)| *major)
    }

    /// Reports whether any version could have written it: all of them since 8.0 begin with `0xD`.
    fn is_plausible(self) -> bool {
        self.0 >> 12 == 0xD
    }
}

/// Length of a page of the log, bytes: 8 KiB unless PostgreSQL was compiled with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockSize(u32);

impl BlockSize {
    /// What nearly every build has.
    pub const DEFAULT: Self = Self(8192);

    /// Checks a length.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 1 << 10 && bytes <= 1 << 16 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Returns the length, bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// What stands at the start of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Which version wrote it.
    pub magic: WalMagic,
    pub(super) flags: u16,
    /// The timeline of the first record on the page.
    pub timeline: Timeline,
    /// Where in the log the page is.
    pub start: Lsn,
    /// Bytes of the record that began before the page and goes on in it.
    pub remaining: u32,
    /// Whose segment it is, on its first page.
    pub segment: Option<SegmentHeader>,
}

/// What only the first page of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster.
    pub system_id: SystemId,
    /// Length of its segments as written, not judged.
    pub segment_bytes: u32,
    /// Length of its pages as written, not judged.
    pub block_bytes: u32,
}

impl PageHeader {
    /// Reads the header at the start of `bytes`; none if they are too few. Judges nothing.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Self {
            magic: WalMagic(u16_at(bytes, 0)?),
            flags: u16_at(bytes, 2)?,
            timeline: Timeline::new(u32_at(bytes, 4)?),
            start: Lsn::new(u64_at(bytes, 8)?),
            remaining: u32_at(bytes, 16)?,
            segment: None,
        };
        bytes.get(..SHORT_HEADER)?;
        if header.is_long() {
            header.segment = Some(SegmentHeader {
                system_id: SystemId::new(u64_at(bytes, 24)?),
                segment_bytes: u32_at(bytes, 32)?,
                block_bytes: u32_at(bytes, 36)?,
            });
        }
        Some(header)
    }

    pub(super) const fn is_long(&self) -> bool {
        self.flags & LONG != 0
    }

    pub(super) const fn len(&self) -> usize {
        if self.is_long() {
            LONG_HEADER
        } else {
            SHORT_HEADER
        }
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The segment.
    pub segment: Segment,
    /// Major version of the PostgreSQL that wrote it.
    pub major_version: u32,
    /// The cluster that wrote it.
    pub system_id: SystemId,
    /// Length of the cluster's segments.
    pub segment_size: SegmentSize,
    /// Length of the log's pages.
    pub block_size: BlockSize,
}

/// A file is not the part of the write-ahead log that it is named after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalFlaw {
    /// Nothing of the log, or of a machine with another byte order.
    #[error("`{file}` does not begin with a page of a write-ahead log")]
    NoPage {
        /// The file.
        file: WalFileName,
    },
    /// A version that this program does not know.
    #[error("`{file}` was written by a version of PostgreSQL that is not one of 13 to 18")]
    UnknownVersion {
        /// The file.
        file: WalFileName,
    },
    /// Another version than the cluster's.
    #[error("`{file}` was written by PostgreSQL {found}, the cluster is PostgreSQL {expected}")]
    OtherVersion {
        /// The file.
        file: WalFileName,
        /// The version that wrote it.
        found: u32,
        /// The cluster's.
        expected: u32,
    },
    /// Another cluster's log.
    #[error("`{file}` is of the cluster {found}, not of {expected}")]
    OtherCluster {
        /// The file.
        file: WalFileName,
        /// Whose it is.
        found: SystemId,
        /// Whose it should be.
        expected: SystemId,
    },
    /// The file is not as long as its own header says.
    #[error("`{file}` is {found} bytes long, its cluster's segments are {expected}")]
    OtherLength {
        /// The file.
        file: WalFileName,
        /// Its length.
        found: u64,
        /// The length that its header has.
        expected: u64,
    },
    /// Lengths in the header that no cluster can have.
    #[error(
        "`{file}` has a damaged header: segments of {segment_bytes} and pages of {block_bytes} bytes"
    )]
    DamagedHeader {
        /// The file.
        file: WalFileName,
        /// The length of segments that it claims.
        segment_bytes: u32,
        /// The length of pages that it claims.
        block_bytes: u32,
    },
    /// The name says another place in the log: the file was renamed, or is one that PostgreSQL keeps
    /// for reuse and has not written yet.
    #[error("`{file}` holds the log from {found}, its name stands for {expected}")]
    OtherPlace {
        /// The file.
        file: WalFileName,
        /// Where its first page is.
        found: Lsn,
        /// Where the page should be.
        expected: Lsn,
    },
    /// The first page is of a timeline that comes after the one in the name.
    #[error("`{file}` holds timeline {found}, its name says {expected}")]
    OtherTimeline {
        /// The file.
        file: WalFileName,
        /// The timeline of its first page.
        found: Timeline,
        /// The timeline of its name.
        expected: Timeline,
    },
    /// No position of the log has this name.
    #[error("`{file}` cannot be the name of a segment of {} bytes", .size.bytes())]
    ImpossibleName {
        /// The file.
        file: WalFileName,
        /// The cluster's segments.
        size: SegmentSize,
    },
    /// The name is not of a file that holds pages.
    #[error("`{file}` holds no pages of the log")]
    NotASegment {
        /// The file.
        file: WalFileName,
    },
}

impl Diagnose for WalFlaw {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherCluster { .. } | Self::OtherVersion { .. } => ErrorKind::Refused,
            Self::UnknownVersion { .. } | Self::NotASegment { .. } => ErrorKind::Usage,
            _ => ErrorKind::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OtherCluster { .. } => {
                "two clusters archive under one name: give each a source of its own, and check \
                 `archive_command`"
            }
            Self::OtherVersion { .. } => {
                "after an upgrade the cluster needs a new base backup and a log of its own"
            }
            Self::UnknownVersion { .. } => "use a release of lifeboat that knows this version",
            Self::NoPage { .. } | Self::DamagedHeader { .. } => {
                "check the disk that holds `pg_wal`, and make a new base backup"
            }
            Self::OtherLength { .. } => "the file is cut off: archive it again from `pg_wal`",
            Self::OtherPlace { .. } | Self::OtherTimeline { .. } | Self::ImpossibleName { .. } => {
                "archive only what `archive_command` is given as `%p`, under its name `%f`"
            }
            Self::NotASegment { .. } => "name a segment of `pg_wal`",
        };
        Some(hint.to_owned())
    }
}

/// Checks that `bytes` are the whole segment `file` of the cluster `system_id`.
///
/// Only the first page is looked at: it proves whose segment it is, not that every record is sound.
///
/// # Errors
/// Says the first thing that does not fit.
pub fn check_segment(
    bytes: &[u8],
    file: &WalFileName,
    system_id: SystemId,
) -> Result<SegmentFacts, WalFlaw> {
    let file = *file;
    let (WalFileName::Segment(segment) | WalFileName::Partial(segment)) = file else {
        return Err(WalFlaw::NotASegment { file });
    };
    let header = PageHeader::read(bytes).filter(|header| header.magic.is_plausible());
    let header = header.ok_or(WalFlaw::NoPage { file })?;
    let Some(major_version) = header.magic.major_version() else {
        return Err(WalFlaw::UnknownVersion { file });
    };
    let long = header.segment.ok_or(WalFlaw::NoPage { file })?;
    if long.system_id != system_id {
        return Err(WalFlaw::OtherCluster {
            file,
            found: long.system_id,
            expected: system_id,
        });
    }
    let (Some(segment_size), Some(block_size)) = (
        SegmentSize::new(long.segment_bytes),
        BlockSize::new(long.block_bytes),
    ) else {
        return Err(WalFlaw::DamagedHeader {
            file,
            segment_bytes: long.segment_bytes,
            block_bytes: long.block_bytes,
        });
    };
    if bytes.len() as u64 != u64::from(segment_size.bytes()) {
        return Err(WalFlaw::OtherLength {
            file,
            found: bytes.len() as u64,
            expected: u64::from(segment_size.bytes()),
        });
    }
    check_place(file, segment, &header, segment_size)?;
    Ok(SegmentFacts {
        segment,
        major_version,
        system_id,
        segment_size,
        block_size,
    })
}

fn check_place(
    file: WalFileName,
    segment: Segment,
    header: &PageHeader,
    size: SegmentSize,
) -> Result<(), WalFlaw> {
    if u64::from(segment.part) * u64::from(size.bytes()) >= 1 << 32 {
        return Err(WalFlaw::ImpossibleName { file, size });
    }
    let expected = segment.start(size);
    if header.start != expected {
        return Err(WalFlaw::OtherPlace {
            file,
            found: header.start,
            expected,
        });
    }
    // The first segment of a timeline begins with a copy of its parent's, older numbers and all.
    if header.timeline > segment.timeline {
        return Err(WalFlaw::OtherTimeline {
            file,
            found: header.timeline,
            expected: segment.timeline,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: SystemId = SystemId::new(7_400_000_000_000_000_001);

    fn segment_bytes(start: u64, timeline: u32) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        bytes[0..2].copy_from_slice(&0xD110_u16.to_le_bytes());
        bytes[2..4].copy_from_slice(&LONG.to_le_bytes());
        bytes[4..8].copy_from_slice(&timeline.to_le_bytes());
        bytes[8..16].copy_from_slice(&start.to_le_bytes());
        bytes[24..32].copy_from_slice(&CLUSTER.get().to_le_bytes());
        bytes[32..36].copy_from_slice(&(1_u32 << 20).to_le_bytes());
        bytes[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        bytes
    }

    fn name() -> WalFileName {
        "000000020000000000000005".parse().unwrap()
    }

    fn flaw_after(change: impl FnOnce(&mut Vec<u8>)) -> WalFlaw {
        let mut bytes = segment_bytes(5 << 20, 2);
        change(&mut bytes);
        check_segment(&bytes, &name(), CLUSTER).unwrap_err()
    }

    #[test]
    fn a_sound_segment_says_whose_it_is() {
        let facts = check_segment(&segment_bytes(5 << 20, 2), &name(), CLUSTER).unwrap();
        assert_eq!(facts.major_version, 15);
        assert_eq!(facts.segment_size.bytes(), 1 << 20);
        assert_eq!(facts.block_size, BlockSize::DEFAULT);
        let copied = segment_bytes(5 << 20, 1);
        assert!(check_segment(&copied, &name(), CLUSTER).is_ok());
    }

    #[test]
    fn each_flaw_is_told_from_the_others() {
        use WalFlaw as F;
        let put = |at: usize, value: u8| move |bytes: &mut Vec<u8>| bytes[at] = value;
        assert!(matches!(flaw_after(|b| b.truncate(30)), F::NoPage { .. }));
        assert!(matches!(flaw_after(|b| b.fill(0)), F::NoPage { .. }));
        assert!(matches!(flaw_after(put(0, 1)), F::UnknownVersion { .. }));
        assert!(matches!(flaw_after(put(24, 9)), F::OtherCluster { .. }));
        assert!(matches!(flaw_after(put(32, 1)), F::DamagedHeader { .. }));
        assert!(matches!(
            flaw_after(|b| b.truncate(8192)),
            F::OtherLength { found: 8192, .. }
        ));
        assert!(matches!(flaw_after(put(10, 0x60)), F::OtherPlace { .. }));
        assert!(matches!(
            flaw_after(put(4, 3)),
            F::OtherTimeline { found, .. } if found == Timeline::new(3)
        ));
        let impossible = "0000000200000000FFFFFFFF".parse().unwrap();
        assert!(matches!(
            check_segment(&segment_bytes(5 << 20, 2), &impossible, CLUSTER),
            Err(F::ImpossibleName { .. })
        ));
        let history = "00000002.history".parse().unwrap();
        assert!(matches!(
            check_segment(&[], &history, CLUSTER),
            Err(F::NotASegment { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_judged_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            prop_assert!(check_segment(&bytes, &name(), CLUSTER).is_err());
        }
    }
}

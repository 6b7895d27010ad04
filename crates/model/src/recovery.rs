//! What a recovery of a PostgreSQL cluster aims at, and which stretch of the log a snapshot needs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Lsn, Segment, SegmentSize, SnapshotId, SystemId, Timeline};

/// Where a replay of the write-ahead log is to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryTarget {
    /// At the end of what is there.
    Latest,
    /// As soon as the newest snapshot is consistent.
    Immediate,
    /// Before the first transaction that was committed later than this.
    Time(Timestamp),
    /// At this position.
    Lsn(Lsn),
    /// At the commit of this transaction.
    Xid(u64),
    /// At this restore point, as `pg_create_restore_point` named it.
    Name(String),
    /// As soon as this snapshot is consistent.
    Snapshot(SnapshotId),
}

impl fmt::Display for RecoveryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Immediate => f.write_str("immediate"),
            Self::Time(at) => write!(f, "time `{at}`"),
            Self::Lsn(lsn) => write!(f, "LSN `{lsn}`"),
            Self::Xid(xid) => write!(f, "transaction `{xid}`"),
            Self::Name(name) => write!(f, "restore point `{name}`"),
            Self::Snapshot(id) => write!(f, "snapshot `{}`", id.short()),
        }
    }
}

/// The stretch of the write-ahead log without which a snapshot of a running cluster is not consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// The cluster.
    pub system: SystemId,
    /// The timeline it was on, from start to stop.
    pub timeline: Timeline,
    /// Where a replay begins: the checkpoint's redo position, as the backup's label has it.
    pub start: Lsn,
    /// Up to here the log must be replayed; the first position that is not needed.
    pub stop: Lsn,
    /// Length of the cluster's segments.
    pub segment_size: SegmentSize,
    /// Whether the snapshot holds these segments itself, among its files.
    pub embedded: bool,
}

impl WalRange {
    /// Returns the segments of the range, in order, each with the number of its first bytes that are
    /// needed.
    pub fn segments(self) -> impl Iterator<Item = (Segment, u32)> {
        let len = u64::from(self.segment_size.bytes());
        let first = self.start.get() / len;
        // A stop on the border of two segments needs nothing of the second.
        let end = self.stop.get().div_ceil(len).max(first + 1);
        (first..end).map(move |number| {
            let segment = Segment::numbered(self.timeline, number, self.segment_size);
            let needed = self.stop.get().saturating_sub(number * len).min(len);
            (segment, needed as u32)
        })
    }

    /// Reports whether a segment of the cluster is one of the range.
    pub fn contains(self, segment: Segment) -> bool {
        let first = Segment::holding(self.timeline, self.start, self.segment_size);
        let len = u64::from(self.segment_size.bytes());
        let number = segment.number(self.segment_size);
        segment.timeline == self.timeline
            && number >= first.number(self.segment_size)
            && (number < self.stop.get().div_ceil(len) || segment == first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, stop: &str) -> WalRange {
        WalRange {
            system: SystemId::new(7),
            timeline: Timeline::new(1),
            start: start.parse().unwrap(),
            stop: stop.parse().unwrap(),
            segment_size: SegmentSize::DEFAULT,
            embedded: false,
        }
    }

    #[test]
    fn a_range_names_each_segment_once_and_nothing_past_its_stop() {
        let named = |start, stop| -> Vec<(String, u32)> {
            let segments = range(start, stop).segments();
            segments
                .map(|(segment, needed)| (segment.to_string()[16..].to_owned(), needed))
                .collect()
        };
        let whole = 16 << 20;
        assert_eq!(
            named("0/2000028", "0/2000100"),
            [("00000002".to_owned(), 0x100)]
        );
        assert_eq!(
            named("0/2000028", "0/3000000"),
            [("00000002".to_owned(), whole)]
        );
        assert_eq!(
            named("0/2FFFF00", "0/4000001"),
            [
                ("00000002".to_owned(), whole),
                ("00000003".to_owned(), whole),
                ("00000004".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn a_range_contains_exactly_the_segments_that_it_names() {
        for (start, stop) in [
            ("0/2000028", "0/3000000"),
            ("0/2000028", "0/5000001"),
            ("0/0", "0/0"),
        ] {
            let range = range(start, stop);
            let named: Vec<Segment> = range.segments().map(|(segment, _)| segment).collect();
            for number in 0..8 {
                let segment = Segment::numbered(range.timeline, number, range.segment_size);
                assert_eq!(
                    range.contains(segment),
                    named.contains(&segment),
                    "{segment}"
                );
                let elsewhere = Segment {
                    timeline: Timeline::new(2),
                    ..segment
                };
                assert!(!range.contains(elsewhere));
            }
        }
    }
}

//! WAL objects: what a repository holds of a cluster's write-ahead log, as their names tell it.

use std::ops::Range;

use jiff::Timestamp;
use serde::Serialize;

use crate::{Lsn, Segment, SegmentSize, Timeline, WalContentId, WalFileName, WalHash};

/// Where a timeline began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Branch {
    /// The timeline that it left.
    pub parent: Timeline,
    /// The first position that is not the parent's any more.
    pub at: Lsn,
}

impl Branch {
    /// Reads what a history file says of the timeline that it is of: its last line that is no
    /// comment, `parent, position, reason`. `None` if there is none, or it cannot be read.
    pub fn of_history(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let lines = text
            .lines()
            .map(|line| line.trim_start_matches([' ', '\t']));
        let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut words = lines.next_back()?.split_ascii_whitespace();
        Some(Self {
            parent: Timeline::new(words.next()?.parse().ok()?),
            at: words.next()?.parse().ok()?,
        })
    }
}

/// One object of an archive: a file that PostgreSQL handed over, or a piece of a segment that is
/// not full yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WalObject {
    /// The file that it holds, whole or in part.
    pub file: WalFileName,
    /// Which bytes of the segment; `None` if it holds the whole file.
    pub piece: Option<Range<u32>>,
    /// Where the timeline began, if the file is its history.
    pub branch: Option<Branch>,
    /// When the newest transaction in it was committed, to the microsecond; `None` if it has none.
    pub newest_commit: Option<Timestamp>,
    /// Tells equal content, to who has the id key.
    pub content: WalContentId,
    /// BLAKE3 of the stored bytes.
    pub hash: WalHash,
    /// Length of the stored bytes.
    pub stored_len: u64,
}

impl WalObject {
    /// Returns the segment whose bytes it holds, whole or in part.
    ///
    /// What a timeline that was left has of its last segment (`.partial`) is not part of any
    /// segment that a replay reads.
    pub fn segment(&self) -> Option<Segment> {
        match self.file {
            WalFileName::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    /// Reports whether it holds a whole segment.
    pub fn is_whole_segment(&self) -> bool {
        self.segment().is_some() && self.piece.is_none()
    }

    /// Reports whether nothing is lost with `other` as long as this object is there.
    pub fn supersedes(&self, other: &Self) -> bool {
        if self.segment().is_none() || self.file != other.file {
            return false;
        }
        match (&self.piece, &other.piece) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(mine), Some(theirs)) => {
                mine != theirs && mine.start <= theirs.start && theirs.end <= mine.end
            }
        }
    }

    /// Returns how many bytes of a segment are there without a gap, from its first on, given all
    /// objects of this one segment in the order of their pieces.
    pub fn reach<'a>(objects: impl IntoIterator<Item = &'a Self>, size: SegmentSize) -> u32 {
        let mut reach = 0;
        for object in objects {
            match &object.piece {
                None => return size.bytes(),
                Some(piece) if piece.start <= reach => reach = reach.max(piece.end),
                Some(_) => {}
            }
        }
        reach.min(size.bytes())
    }

    /// Orders objects of one place: by file, then whole ones before pieces, then by where pieces lie.
    pub fn order(&self) -> (WalFileName, u32, u32, WalHash) {
        let (from, to) = match &self.piece {
            Some(piece) => (piece.start, piece.end),
            None => (0, 0),
        };
        (self.file, from, to, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(piece: Option<Range<u32>>) -> WalObject {
        WalObject {
            file: "000000010000000000000001".parse().unwrap(),
            piece,
            branch: None,
            newest_commit: None,
            content: WalContentId::from_bytes([0; 16]),
            hash: WalHash::from_bytes([0; 32]),
            stored_len: 0,
        }
    }

    #[test]
    fn pieces_reach_as_far_as_they_follow_each_other() {
        let reach = |pieces: &[Range<u32>]| {
            let objects: Vec<_> = pieces
                .iter()
                .cloned()
                .map(|piece| object(Some(piece)))
                .collect();
            WalObject::reach(&objects, SegmentSize::DEFAULT)
        };
        assert_eq!(reach(&[]), 0);
        assert_eq!(reach(&[8..16, 20..24]), 0);
        assert_eq!(reach(&[0..8, 8..16]), 16);
        assert_eq!(reach(&[0..8, 4..12, 12..13, 14..20]), 13);
        assert_eq!(reach(&[0..100, 4..12]), 100);
        let whole = [object(Some(0..8)), object(None)];
        assert_eq!(WalObject::reach(&whole, SegmentSize::DEFAULT), 16 << 20);
    }

    #[test]
    fn the_last_line_of_a_history_says_where_its_timeline_began() {
        let at = |text: &str| Branch::of_history(text.as_bytes());
        let branch = |parent, at: &str| {
            Some(Branch {
                parent: Timeline::new(parent),
                at: at.parse().unwrap(),
            })
        };
        assert_eq!(
            at("1\t0/3000150\tno recovery target specified\n"),
            branch(1, "0/3000150")
        );
        assert_eq!(
            at(
                "# comment\n1\t0/3000150\tbefore 2026-11-21 00:00:00+00\n\n2\t1/5000000\tat \"x\"\n\n# end\n"
            ),
            branch(2, "1/5000000")
        );
        for bad in ["", "# 1 0/1", "1", "one 0/1", "1 3000150"] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_what_holds_all_of_a_piece_supersedes_it() {
        let piece = object(Some(8..16));
        for (other, superseded) in [
            (object(None), true),
            (object(Some(0..16)), true),
            (object(Some(8..17)), true),
            (object(Some(8..16)), false),
            (object(Some(9..20)), false),
        ] {
            assert_eq!(other.supersedes(&piece), superseded, "{:?}", other.piece);
        }
        assert!(!piece.supersedes(&object(None)));
        let elsewhere = WalObject {
            file: "000000020000000000000001".parse().unwrap(),
            ..object(None)
        };
        assert!(!elsewhere.supersedes(&piece));
    }
}

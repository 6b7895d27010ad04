//! What a restore was planned to replay, as it is handed to `wal fetch`.
//!
//! A plan counts on what all regions list. When one of them cannot be asked any more, "there is no such
//! file" would end the recovery before the point that was promised, and open the database there.

use std::fmt;
use std::str::FromStr;

use lifeboat_model::{InvalidWalName, Lsn, Segment, SegmentSize, Timeline, WalFileName};

/// What a plan counts on: a history, or segments of one timeline that follow each other.
///
/// Written as `00000002.history` or as `FIRST-LAST`, with `:BYTES` if less than all of the last one is
/// counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The history of a timeline.
    History(Timeline),
    /// Segments.
    Segments {
        /// The first one.
        first: Segment,
        /// The last one.
        last: Segment,
        /// How many bytes of the last one are counted on; `None` for all.
        bytes: Option<u32>,
    },
}

impl Expected {
    /// Names what a plan counts on: the segments that it replays, in their order, to `until`.
    pub(crate) fn of(segments: &[Segment], until: Lsn, size: SegmentSize) -> Vec<Self> {
        let stretches = segments.chunk_by(|one, other| one.next(size) == *other);
        let stretch = |stretch: &[Segment]| {
            let last = stretch[stretch.len() - 1];
            let needed = until.bytes_since(last.start(size));
            let bytes = u32::try_from(needed).ok().filter(|n| *n < size.bytes());
            let first = stretch[0];
            Self::Segments { first, last, bytes }
        };
        stretches.map(stretch).collect()
    }

    /// Returns how many bytes of a file are counted on, all of them as `u32::MAX`; `None` if the file
    /// is not spoken of.
    pub(crate) fn bytes_of(&self, file: WalFileName) -> Option<u32> {
        match (*self, file) {
            (Self::History(timeline), WalFileName::History(other)) => {
                (timeline == other).then_some(u32::MAX)
            }
            (Self::Segments { first, last, bytes }, WalFileName::Segment(segment)) => {
                let all = || match segment == last {
                    true => bytes.unwrap_or(u32::MAX),
                    false => u32::MAX,
                };
                (first..=last).contains(&segment).then(all)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(timeline) => WalFileName::History(*timeline).fmt(f),
            Self::Segments { first, last, bytes } => {
                write!(f, "{first}-{last}")?;
                bytes.map_or(Ok(()), |bytes| write!(f, ":{bytes}"))
            }
        }
    }
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let told = |error: InvalidWalName| error.to_string();
        let Some((first, rest)) = text.split_once('-') else {
            return match text.parse().map_err(told)? {
                WalFileName::History(timeline) => Ok(Self::History(timeline)),
                _ => Err(format!("`{text}` is neither FIRST-LAST nor a history")),
            };
        };
        let (last, bytes) = match rest.split_once(':') {
            Some((last, bytes)) => {
                let number = bytes.parse().map_err(|_| format!("`{bytes}` is no length"));
                (last, Some(number?))
            }
            None => (rest, None),
        };
        let (first, last): (Segment, Segment) =
            (first.parse().map_err(told)?, last.parse().map_err(told)?);
        if first.timeline != last.timeline || last < first {
            return Err(format!("`{text}` is no stretch of one timeline"));
        }
        Ok(Self::Segments { first, last, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn segment(timeline: u32, number: u64) -> Segment {
        Segment::numbered(Timeline::new(timeline), number, SIZE)
    }

    #[test]
    fn what_a_plan_counts_on_survives_being_written_and_read() {
        let path = [segment(1, 255), segment(1, 256), segment(2, 257)];
        let until = Lsn::new(segment(2, 257).start(SIZE).get() + 100);
        let expected = Expected::of(&path, until, SIZE);
        let texts: Vec<String> = expected.iter().map(Expected::to_string).collect();
        assert_eq!(
            texts,
            [
                "0000000100000000000000FF-000000010000000100000000",
                "000000020000000100000001-000000020000000100000001:100",
            ]
        );
        let history = Expected::History(Timeline::new(2));
        for one in expected.into_iter().chain([history]) {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        for wrong in [
            "",
            "000000010000000000000001",
            "000000010000000000000002-000000010000000000000001",
            "000000010000000000000001-000000020000000000000002",
            "000000010000000000000001-000000010000000000000002:x",
        ] {
            assert!(wrong.parse::<Expected>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_last_segment_may_be_there_in_part() {
        let path = [segment(2, 5), segment(2, 6)];
        let until = Lsn::new(segment(2, 6).start(SIZE).get() + 100);
        let expected = Expected::of(&path, until, SIZE)[0];
        let bytes = |segment| expected.bytes_of(WalFileName::Segment(segment));
        assert_eq!(bytes(segment(2, 4)), None);
        assert_eq!(bytes(segment(2, 5)), Some(u32::MAX));
        assert_eq!(bytes(segment(2, 6)), Some(100));
        assert_eq!(bytes(segment(2, 7)), None);
        assert_eq!(bytes(segment(1, 5)), None);
        assert_eq!(bytes(segment(3, 5)), None);
    }
}

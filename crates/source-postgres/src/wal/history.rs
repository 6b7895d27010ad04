//! Histories of timelines: which one a byte of the log belongs to.

use lifeboat_model::{Diagnose, ErrorKind, Lsn, Timeline};

/// Longer files are no histories: a line takes some 60 bytes, and promotions are rare.
const BYTES_MAX: usize = 1 << 20;

/// A history file is not in its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history of timeline {timeline} is damaged at line {line}: {why}")]
pub struct HistoryError {
    timeline: Timeline,
    line: usize,
    why: &'static str,
}

impl Diagnose for HistoryError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }

    fn hint(&self) -> Option<String> {
        let name = lifeboat_model::WalFileName::History(self.timeline);
        Some(format!(
            "fetch `{name}` again from the server's `pg_wal` or its archive"
        ))
    }
}

/// One ancestor: how far its log counts, and why it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The ancestor.
    pub timeline: Timeline,
    /// The first byte that is no longer of it.
    pub end: Lsn,
    /// PostgreSQL's words.
    pub reason: String,
}

/// A timeline and its ancestors, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: Timeline,
    ancestors: Vec<HistoryLine>,
}

impl TimelineHistory {
    /// Returns the history of a timeline without ancestors, which has no file.
    pub const fn root(timeline: Timeline) -> Self {
        Self {
            timeline,
            ancestors: Vec::new(),
        }
    }

    /// Parses the content of the file of `timeline`. PostgreSQL allows comments and empty lines.
    ///
    /// # Errors
    /// Names the first line that is not in the form, or not in order.
    pub fn parse(timeline: Timeline, content: &[u8]) -> Result<Self, HistoryError> {
        let damaged = |line: usize, why| HistoryError {
            timeline,
            line: line + 1,
            why,
        };
        if content.len() > BYTES_MAX {
            return Err(damaged(0, "it is longer than any history"));
        }
        let text = String::from_utf8_lossy(content);
        let mut ancestors: Vec<HistoryLine> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = parse_line(line).map_err(|why| damaged(number, why))?;
            if let Some(last) = ancestors.last() {
                if parsed.timeline <= last.timeline {
                    return Err(damaged(number, "timelines do not ascend"));
                }
                if parsed.end < last.end {
                    return Err(damaged(number, "positions do not ascend"));
                }
            }
            if parsed.timeline >= timeline {
                return Err(damaged(
                    number,
                    "a timeline cannot descend from a later one",
                ));
            }
            ancestors.push(parsed);
        }
        Ok(Self {
            timeline,
            ancestors,
        })
    }

    /// Returns the timeline whose history it is.
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Returns its ancestors, the oldest first.
    pub fn ancestors(&self) -> &[HistoryLine] {
        &self.ancestors
    }

    /// Returns the timeline that the byte at `lsn` belongs to.
    pub fn holding(&self, lsn: Lsn) -> Timeline {
        let line = self.ancestors.iter().find(|line| lsn < line.end);
        line.map_or(self.timeline, |line| line.timeline)
    }

    /// Returns where `timeline` was left: none if it is the newest, or no ancestor at all.
    pub fn end_of(&self, timeline: Timeline) -> Option<Lsn> {
        let line = self.ancestors.iter().find(|line| line.timeline == timeline);
        line.map(|line| line.end)
    }

    /// Reports whether a log that was followed on `timeline` up to `lsn` goes on in this history: only
    /// then nothing was written there that this history does not know.
    pub fn continues(&self, timeline: Timeline, lsn: Lsn) -> bool {
        if timeline == self.timeline {
            return self.ancestors.last().is_none_or(|line| line.end <= lsn);
        }
        self.end_of(timeline).is_some_and(|end| lsn <= end)
    }
}

fn parse_line(line: &str) -> Result<HistoryLine, &'static str> {
    let mut fields = line.splitn(3, char::is_whitespace);
    let timeline = fields.next().and_then(|field| field.parse().ok());
    let end = fields.next().and_then(|field| field.trim().parse().ok());
    Ok(HistoryLine {
        timeline: Timeline::new(timeline.ok_or("no number of a timeline")?),
        end: end.ok_or("no position after the timeline")?,
        reason: fields.next().unwrap_or_default().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn third() -> TimelineHistory {
        let content = b"1\t0/3000148\tno recovery target specified\n\n# kept\n\
            2\t0/5000000\tbefore 2026-01-01 00:00:00+00\n";
        TimelineHistory::parse(Timeline::new(3), content).unwrap()
    }

    #[test]
    fn each_position_belongs_to_one_timeline() {
        let history = third();
        let holder = |lsn: &str| history.holding(lsn.parse().unwrap()).get();
        assert_eq!(holder("0/3000147"), 1);
        assert_eq!(holder("0/3000148"), 2);
        assert_eq!(holder("0/4FFFFFF"), 2);
        assert_eq!(holder("0/5000000"), 3);
        assert_eq!(
            history.ancestors()[0].reason,
            "no recovery target specified"
        );
    }

    #[test]
    fn a_log_followed_past_a_switch_does_not_continue() {
        let history = third();
        let continues =
            |timeline, lsn: &str| history.continues(Timeline::new(timeline), lsn.parse().unwrap());
        assert!(continues(1, "0/3000148"));
        assert!(!continues(1, "0/3000149"));
        assert!(!continues(3, "0/4000000"));
        assert!(continues(3, "0/6000000"));
        assert!(!continues(4, "0/1"));
    }

    #[test]
    fn a_damaged_line_is_named() {
        for (content, line) in [
            ("x\t0/1\n", 1),
            ("1\n", 1),
            ("1\t0/5\tfirst\n1\t0/6\tagain\n", 2),
            ("1\t0/5\tfirst\n2\t0/4\tback\n", 2),
            ("3\t0/5\titself\n", 1),
        ] {
            let error = TimelineHistory::parse(Timeline::new(3), content.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_without_a_panic(
            content in proptest::collection::vec(any::<u8>(), 0..256)
        ) {
            if let Ok(history) = TimelineHistory::parse(Timeline::new(9), &content) {
                prop_assert!(history.holding(Lsn::new(7)) <= Timeline::new(9));
            }
        }
    }
}

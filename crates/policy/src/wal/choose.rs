//! Choosing the snapshot that a recovery begins with, or refusing it with what there is instead.

use std::fmt;

use jiff::Timestamp;
use lifeboat_model::{
    Diagnose, ErrorKind, Lsn, RecoveryTarget, Segment, SnapshotId, Timeline, WalRange,
};

use crate::wal::archive::{Served, SnapshotWal, WalArchive, needed_from, served};
use crate::wal::coverage::{Gap, Interval, along, coverage, on_path};

/// What is to be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryRequest {
    /// Where to stop.
    pub target: RecoveryTarget,
    /// Along which timeline; `None` means the newest, or that of the snapshot that is asked for.
    pub timeline: Option<Timeline>,
    /// Which snapshot to begin with; `None` leaves it to the choice.
    pub base: Option<SnapshotId>,
}

/// How a target is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The snapshot to restore.
    pub snapshot: SnapshotId,
    /// The timeline to follow.
    pub timeline: Timeline,
    /// Where to stop.
    pub target: RecoveryTarget,
    /// The first segment that the replay reads.
    pub first: Segment,
    /// The last segment that it can need.
    pub last: Segment,
    /// No position at or after this is needed.
    pub until: Lsn,
    /// The segments of the archive that are counted on for that, in the order of the replay. What the
    /// snapshot brings along is none of them.
    pub segments: Vec<Segment>,
}

/// Why a target cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no snapshot of this cluster, or not the one that is asked for.
    NoSnapshot,
    /// No snapshot lies on the timeline or on those it descends from.
    NotOnTimeline,
    /// Nobody can say what the timeline descends from: the history of this one is missing.
    HistoryMissing(Timeline),
    /// It lies before every snapshot that is consistent.
    BeforeEverySnapshot,
    /// The part of the log that leads there is missing.
    InGap(Gap),
    /// It lies after the end of what is there.
    AfterEnd,
    /// Every snapshot lacks a part of the log that makes it consistent.
    Inconsistent,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSnapshot => f.write_str("there is no such snapshot of this cluster"),
            Self::NotOnTimeline => f.write_str("no snapshot lies on the way to this timeline"),
            Self::HistoryMissing(timeline) => {
                write!(f, "the history file of timeline {timeline} is missing")
            }
            Self::BeforeEverySnapshot => f.write_str("it lies before every snapshot"),
            Self::InGap(gap) if gap.segments == 1 => {
                write!(f, "WAL segment `{}` is missing", gap.first)
            }
            Self::InGap(gap) => write!(
                f,
                "{} WAL segments are missing, from `{}` to `{}`",
                gap.segments, gap.first, gap.last
            ),
            Self::AfterEnd => f.write_str("it lies after the end of what is there"),
            Self::Inconsistent => {
                f.write_str("the log that would make the snapshot consistent is not all there")
            }
        }
    }
}

/// A target that cannot be reached, and what can be instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot recover to {target} on timeline {timeline}: {why}")]
pub struct NotRecoverable {
    /// The target.
    pub target: RecoveryTarget,
    /// The timeline.
    pub timeline: Timeline,
    /// Why not.
    pub why: Unreachable,
    /// What can be recovered, on this timeline and on others; by timeline, oldest first.
    pub intervals: Vec<Interval>,
}

/// A hint names at most so many intervals: the newest.
const INTERVALS_NAMED: usize = 4;
/// It names so many timelines besides.
const TIMELINES_NAMED: usize = 2;

impl Diagnose for NotRecoverable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }

    fn hint(&self) -> Option<String> {
        let on_this = |interval: &&Interval| interval.timeline == self.timeline;
        let (here, elsewhere): (Vec<&Interval>, Vec<&Interval>) =
            self.intervals.iter().partition(on_this);
        let here = match here.as_slice() {
            [] => "nothing here can be recovered on this timeline".to_owned(),
            some => format!("can be recovered, newest first: {}", named(some)),
        };
        if let Some(other) = elsewhere.iter().rfind(|other| self.lies_in(other)) {
            let timeline = other.timeline;
            return Some(format!(
                "timeline {timeline} has it: add `--timeline {timeline}`; on timeline {} {here}",
                self.timeline
            ));
        }
        let mut hint = here;
        // Where a transaction or a restore point lies, nobody can say without reading.
        let others = elsewhere.chunk_by(|one, other| one.timeline == other.timeline);
        let others: Vec<_> = others.collect();
        for other in others.into_iter().rev().take(TIMELINES_NAMED) {
            let timeline = other[0].timeline;
            hint.push_str(&format!("; with `--timeline {timeline}`: {}", named(other)));
        }
        hint.push_str(
            "; another region may have more: `lifeboat wal status`, then `--region NAME`",
        );
        Some(hint)
    }
}

impl NotRecoverable {
    /// Reports whether the target is a state in an interval.
    fn lies_in(&self, interval: &Interval) -> bool {
        match &self.target {
            RecoveryTarget::Time(at) => interval.from_time <= *at && *at < interval.to_time,
            RecoveryTarget::Lsn(lsn) => interval.from <= *lsn && *lsn < interval.to,
            _ => false,
        }
    }
}

/// Names the newest of some intervals, newest first.
fn named(intervals: &[&Interval]) -> String {
    let newest = intervals.iter().rev().take(INTERVALS_NAMED);
    let named: Vec<String> = newest
        .map(|interval| {
            let Interval {
                from_time,
                to_time,
                from,
                to,
                ..
            } = interval;
            format!("{from_time} to {to_time} (LSN {from} to {to})")
        })
        .collect();
    named.join("; ")
}

/// Chooses the snapshot to begin with.
///
/// Of those that reach the target it is the newest: it leaves the least to replay. Where a transaction
/// or a restore point lies, nobody can say without reading, so the search begins with the oldest
/// snapshot from which the log leads on to its end without a gap.
///
/// # Errors
/// Refuses what cannot be reached. It never takes another target instead.
pub fn choose(
    request: &RecoveryRequest,
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
) -> Result<Chosen, NotRecoverable> {
    let wanted = match request.target {
        RecoveryTarget::Snapshot(id) => Some(id),
        _ => request.base,
    };
    let wanted_timeline = || {
        let wanted = snapshots
            .iter()
            .find(|snapshot| Some(snapshot.id) == wanted);
        let by_target = matches!(request.target, RecoveryTarget::Snapshot(_));
        wanted
            .filter(|_| by_target)
            .map(|snapshot| snapshot.wal.timeline)
    };
    let newest = || {
        let of_snapshots = snapshots.iter().map(|snapshot| snapshot.wal.timeline);
        archive.timelines().chain(of_snapshots).max()
    };
    let timeline = request.timeline.or_else(wanted_timeline).or_else(newest);
    let timeline = timeline.unwrap_or(Timeline::new(1));
    let (_, gaps) = along(timeline, snapshots, archive);
    let search = Search {
        request,
        archive,
        timeline,
        gaps: &gaps,
    };
    search.run(wanted, snapshots).map_err(|why| NotRecoverable {
        target: request.target.clone(),
        timeline,
        why,
        intervals: coverage(snapshots, archive).intervals,
    })
}

/// A search along one timeline.
struct Search<'a> {
    request: &'a RecoveryRequest,
    archive: &'a WalArchive,
    timeline: Timeline,
    gaps: &'a [Gap],
}

/// A snapshot that is consistent, and how far a replay gets from it.
struct Candidate {
    snapshot: SnapshotWal,
    served: Served,
}

impl Search<'_> {
    fn run(
        &self,
        wanted: Option<SnapshotId>,
        snapshots: &[SnapshotWal],
    ) -> Result<Chosen, Unreachable> {
        let is_wanted = |snapshot: &SnapshotWal| wanted.is_none_or(|id| id == snapshot.id);
        let mut considered = snapshots.to_vec();
        considered.retain(is_wanted);
        if considered.is_empty() {
            return Err(Unreachable::NoSnapshot);
        }
        let path = self.archive.path(self.timeline);
        let on_path = on_path(&considered, &path);
        if on_path.is_empty() {
            let origin = path.unknown_origin();
            return Err(origin.map_or(Unreachable::NotOnTimeline, Unreachable::HistoryMissing));
        }
        let (runs, size) = (self.archive.runs(&path), self.archive.segment_size());
        let candidates: Vec<Candidate> = on_path
            .iter()
            .filter_map(|snapshot| {
                let served = served(snapshot, &runs, size)?;
                let snapshot = *snapshot;
                Some(Candidate { snapshot, served })
            })
            .collect();
        if candidates.is_empty() {
            return Err(match self.gaps.first() {
                Some(gap) => Unreachable::InGap(*gap),
                None => Unreachable::Inconsistent,
            });
        }
        let end = runs.last().map_or(Lsn::default(), |run| run.end);
        let found = self.find(&candidates, end)?;
        Ok(self.chosen(found))
    }

    /// Picks the candidate that reaches the target. They are given oldest first; `end` is that of
    /// the log, gaps or not.
    fn find<'a>(
        &self,
        candidates: &'a [Candidate],
        end: Lsn,
    ) -> Result<&'a Candidate, Unreachable> {
        let newest = candidates.last().expect("there is one");
        let reaches_end = |candidate: &&Candidate| candidate.served.end >= end;
        let beyond_gap = || self.gap_after(newest.served.end);
        match &self.request.target {
            RecoveryTarget::Snapshot(_) | RecoveryTarget::Immediate => Ok(newest),
            RecoveryTarget::Latest => {
                let found = candidates.iter().rfind(reaches_end);
                found.ok_or_else(beyond_gap)
            }
            RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => {
                let found = candidates.iter().find(reaches_end);
                found.ok_or_else(beyond_gap)
            }
            RecoveryTarget::Lsn(lsn) => {
                let starts = |candidate: &&Candidate| candidate.snapshot.wal.stop <= *lsn;
                let base = candidates.iter().rfind(starts);
                let base = base.ok_or(Unreachable::BeforeEverySnapshot)?;
                if *lsn < base.served.end || *lsn == base.snapshot.wal.stop {
                    return Ok(base);
                }
                Err(match *lsn < end {
                    true => self.gap_after(base.served.end),
                    false => self.end_or_gap(base.served.end, end),
                })
            }
            RecoveryTarget::Time(at) => {
                let starts = |candidate: &&Candidate| candidate.snapshot.instant <= *at;
                let base = candidates.iter().rfind(starts);
                let base = base.ok_or(Unreachable::BeforeEverySnapshot)?;
                // Only a later commit proves that the replay has got past the target.
                if base.served.newest_commit.is_some_and(|commit| *at < commit) {
                    return Ok(base);
                }
                Err(self.end_or_gap(base.served.end, end))
            }
        }
    }

    fn end_or_gap(&self, reached: Lsn, end: Lsn) -> Unreachable {
        match reached < end {
            true => self.gap_after(reached),
            false => Unreachable::AfterEnd,
        }
    }

    /// Returns what keeps a replay that got to `reached` from going on.
    fn gap_after(&self, reached: Lsn) -> Unreachable {
        let size = self.archive.segment_size();
        let mut gaps = self.gaps.iter();
        let gap = gaps.find(|gap| gap.last.end(size) > reached);
        gap.map_or(Unreachable::AfterEnd, |gap| Unreachable::InGap(*gap))
    }

    fn chosen(&self, candidate: &Candidate) -> Chosen {
        let size = self.archive.segment_size();
        let (len, path) = (u64::from(size.bytes()), self.archive.path(self.timeline));
        let WalRange { start, stop, .. } = candidate.snapshot.wal;
        let end = candidate.served.end;
        let number = |lsn: Lsn| lsn.get() / len;
        let until = match &self.request.target {
            RecoveryTarget::Snapshot(_) | RecoveryTarget::Immediate => stop,
            RecoveryTarget::Lsn(lsn) => {
                // The record at the position may go on into the next segment.
                Lsn::new((number(*lsn) + 2) * len).min(end).max(stop)
            }
            RecoveryTarget::Time(at) => self
                .until_commit_after(&path, start, *at)
                .min(end)
                .max(stop),
            RecoveryTarget::Latest | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => end,
        };
        let segment = |number| Segment::numbered(path.timeline_at(number, size), number, size);
        let last = until.get().div_ceil(len).saturating_sub(1);
        Chosen {
            snapshot: candidate.snapshot.id,
            timeline: self.timeline,
            target: self.request.target.clone(),
            first: segment(number(start)),
            last: segment(last.max(number(start))),
            until,
            segments: self
                .archive
                .segments(&path, needed_from(candidate.snapshot.wal), until),
        }
    }

    /// Returns the end of the first segment that proves a time to be over.
    fn until_commit_after(
        &self,
        path: &crate::wal::archive::Path,
        start: Lsn,
        at: Timestamp,
    ) -> Lsn {
        let len = u64::from(self.archive.segment_size().bytes());
        let proof = self.archive.first_commit_after(path, start.get() / len, at);
        proof.map_or(Lsn::new(u64::MAX), |number| Lsn::new((number + 1) * len))
    }
}

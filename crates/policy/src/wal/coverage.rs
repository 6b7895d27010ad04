//! Coverage: from where to where a cluster can be recovered, and what is missing in between.

use jiff::Timestamp;
use lifeboat_model::{Lsn, Segment, SnapshotId, Timeline};

use crate::wal::archive::{Path, Run, Served, SnapshotWal, WalArchive, served};

/// A stretch of history without a gap: each state in it can be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The timeline along which it is reached.
    pub timeline: Timeline,
    /// The first consistent position: where its oldest snapshot was stopped.
    pub from: Lsn,
    /// The first position that is not there.
    pub to: Lsn,
    /// The moment whose state the oldest snapshot holds.
    pub from_time: Timestamp,
    /// The newest commit in it.
    pub to_time: Timestamp,
    /// The snapshots in it, oldest first. A point is reached from the newest one before it.
    pub snapshots: Vec<SnapshotId>,
}

/// Segments that are missing between others, or are not there to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The timeline along which they are missed.
    pub along: Timeline,
    /// The first of them.
    pub first: Segment,
    /// The last of them.
    pub last: Segment,
    /// How many there are.
    pub segments: u64,
}

/// What can be recovered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By timeline, oldest first.
    pub intervals: Vec<Interval>,
    /// Gaps behind the oldest snapshot, by timeline.
    pub gaps: Vec<Gap>,
    /// Snapshots that are not consistent, because a part of the log that they need is missing.
    pub lost: Vec<SnapshotId>,
    /// End of the log on the newest timeline, gaps or not, with the newest commit.
    pub newest: Option<(Timeline, Lsn, Option<Timestamp>)>,
}

/// Finds out what can be recovered from `snapshots` of one cluster and its log.
pub fn coverage(snapshots: &[SnapshotWal], archive: &WalArchive) -> Coverage {
    let mut timelines: Vec<Timeline> = archive.timelines().collect();
    timelines.extend(snapshots.iter().map(|snapshot| snapshot.wal.timeline));
    timelines.sort();
    timelines.dedup();
    let mut coverage = Coverage::default();
    for timeline in timelines {
        let (intervals, gaps) = along(timeline, snapshots, archive);
        coverage.intervals.extend(intervals);
        coverage.gaps.extend(gaps);
    }
    let lost = snapshots.iter().filter(|snapshot| {
        let mut intervals = coverage.intervals.iter();
        !intervals.any(|interval| interval.snapshots.contains(&snapshot.id))
    });
    coverage.lost = lost.map(|snapshot| snapshot.id).collect();
    let newest = |timeline| Some((timeline, archive.newest(timeline)?));
    coverage.newest = archive
        .timelines()
        .rev()
        .find_map(newest)
        .map(|(timeline, (lsn, commit))| (timeline, lsn, commit));
    coverage
}

/// Finds the intervals and gaps along one timeline, oldest first.
pub(super) fn along(
    timeline: Timeline,
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
) -> (Vec<Interval>, Vec<Gap>) {
    let path = archive.path(timeline);
    let runs = archive.runs(&path);
    let candidates = on_path(snapshots, &path);
    let mut intervals: Vec<Interval> = Vec::new();
    for snapshot in &candidates {
        let Some(Served { end, newest_commit }) = served(snapshot, &runs, archive.segment_size())
        else {
            continue;
        };
        let to_time = newest_commit.map_or(snapshot.instant, |at| at.max(snapshot.instant));
        match intervals.last_mut() {
            // The replay from the one before leads through here.
            Some(last) if last.to == end || last.to >= snapshot.wal.stop && end <= last.to => {
                last.to_time = last.to_time.max(to_time);
                last.snapshots.push(snapshot.id);
            }
            _ => intervals.push(Interval {
                timeline,
                from: snapshot.wal.stop,
                to: end,
                from_time: snapshot.instant,
                to_time,
                snapshots: vec![snapshot.id],
            }),
        }
    }
    let oldest = candidates.first().map(|snapshot| snapshot.wal.start);
    let gaps = oldest.map_or(Vec::new(), |oldest| gaps(oldest, &path, &runs, archive));
    (intervals, gaps)
}

/// Returns the snapshots that a path leads through, in its order.
pub(super) fn on_path(snapshots: &[SnapshotWal], path: &Path) -> Vec<SnapshotWal> {
    let leads = |snapshot: &&SnapshotWal| {
        let wal = &snapshot.wal;
        path.leads_through(wal.timeline, wal.stop)
    };
    let mut found: Vec<SnapshotWal> = snapshots.iter().filter(leads).copied().collect();
    found.sort_by_key(|snapshot| (snapshot.wal.stop, snapshot.instant, snapshot.id));
    found
}

/// Finds what is missing between runs, from the segment that holds `oldest` on.
fn gaps(oldest: Lsn, path: &Path, runs: &[Run], archive: &WalArchive) -> Vec<Gap> {
    let size = archive.segment_size();
    let len = u64::from(size.bytes());
    let mut missing = oldest.get() / len;
    let mut found = Vec::new();
    for run in runs {
        if run.first > missing {
            let segment = |number| Segment::numbered(path.timeline_at(number, size), number, size);
            found.push(Gap {
                along: path.timeline(),
                first: segment(missing),
                last: segment(run.first - 1),
                segments: run.first - missing,
            });
        }
        // A segment that is not there to its end is missed, if another follows.
        missing = missing.max(run.end.get() / len);
    }
    found
}

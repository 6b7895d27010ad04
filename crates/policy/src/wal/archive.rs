//! An archive as a replay sees it: along the timelines that lead to one, as runs without a gap.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_model::{
    Branch, Lsn, Segment, SegmentSize, SnapshotId, Timeline, WalObject, WalRange,
};

/// A snapshot of a cluster, as far as recovery needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotWal {
    /// The snapshot.
    pub id: SnapshotId,
    /// The moment whose state it holds: when it was stopped.
    pub instant: Timestamp,
    /// The stretch of the log that makes it consistent.
    pub wal: WalRange,
}

/// What an archive holds of one cluster's log.
#[derive(Debug, Clone)]
pub struct WalArchive {
    size: SegmentSize,
    stored: BTreeMap<Segment, Stored>,
    branches: BTreeMap<Timeline, Branch>,
    timelines: BTreeSet<Timeline>,
}

/// How much of a segment is there.
#[derive(Debug, Clone, Copy)]
struct Stored {
    /// Which one.
    segment: Segment,
    /// Bytes without a gap, from the first on.
    reach: u32,
    /// The newest commit in them.
    newest_commit: Option<Timestamp>,
}

/// The way of a replay: a timeline, and those it descends from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Newest first, each with the position where it begins.
    legs: Vec<(Timeline, Lsn)>,
}

/// Segments that follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Number of the first segment.
    pub(super) first: u64,
    /// The first position that is not there.
    pub(super) end: Lsn,
    /// The newest commit in it.
    pub(super) newest_commit: Option<Timestamp>,
}

impl WalArchive {
    /// Looks at the objects of one place, in the order that a listing has.
    pub fn new(size: SegmentSize, objects: &[WalObject]) -> Self {
        let mut archive = Self {
            size,
            stored: BTreeMap::new(),
            branches: BTreeMap::new(),
            timelines: BTreeSet::new(),
        };
        for same in objects.chunk_by(|one, other| one.file == other.file) {
            archive.timelines.insert(same[0].file.timeline());
            for object in same {
                if let Some(branch) = object.branch {
                    let timeline = object.file.timeline();
                    archive.branches.insert(timeline, branch);
                }
            }
            if let Some(segment) = same[0].segment() {
                let reach = WalObject::reach(same, size);
                // A piece beyond a gap of the segment says nothing of what can be replayed.
                let within = |object: &&WalObject| {
                    let piece = object.piece.as_ref();
                    piece.is_none_or(|piece| piece.start < reach)
                };
                let commits = same.iter().filter(within);
                let newest_commit = commits.filter_map(|object| object.newest_commit).max();
                let stored = Stored {
                    segment,
                    reach,
                    newest_commit,
                };
                archive.stored.insert(segment, stored);
            }
        }
        archive
    }

    /// Returns the length of a segment.
    pub const fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// Returns the timelines of which anything is there.
    pub fn timelines(&self) -> impl DoubleEndedIterator<Item = Timeline> {
        self.timelines.iter().copied()
    }

    /// Returns where a timeline began, if its history is there.
    pub fn branch(&self, timeline: Timeline) -> Option<Branch> {
        self.branches.get(&timeline).copied()
    }

    /// Finds the way to a timeline, as far back as histories tell.
    pub(super) fn path(&self, timeline: Timeline) -> Path {
        let mut legs = Vec::new();
        let mut next = Some(timeline);
        while let Some(timeline) = next {
            let branch = self.branch(timeline);
            // A timeline descends from lower ones only; whatever says otherwise is no history.
            let branch = branch.filter(|branch| branch.parent < timeline);
            legs.push((timeline, branch.map_or(Lsn::default(), |branch| branch.at)));
            next = branch.map(|branch| branch.parent);
        }
        Path { legs }
    }

    /// Finds what is there along a path.
    pub(super) fn runs(&self, path: &Path) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (number, stored) in self.along(path) {
            let start = Segment::numbered(Timeline::new(0), number, self.size).start(self.size);
            let end = Lsn::new(start.get() + u64::from(stored.reach));
            match runs.last_mut() {
                Some(run) if run.end == start => {
                    run.end = end;
                    run.newest_commit = run.newest_commit.max(stored.newest_commit);
                }
                _ => runs.push(Run {
                    first: number,
                    end,
                    newest_commit: stored.newest_commit,
                }),
            }
        }
        runs
    }

    /// Returns, by number, the segments that a replay along the path reads.
    fn along(&self, path: &Path) -> BTreeMap<u64, Stored> {
        let mut found = BTreeMap::new();
        let mut end: Option<Lsn> = None;
        for (timeline, begin) in &path.legs {
            let first = begin.get() / u64::from(self.size.bytes());
            let from = Segment::numbered(*timeline, first, self.size);
            let upto = Segment {
                log: u32::MAX,
                part: u32::MAX,
                timeline: *timeline,
            };
            for (segment, stored) in self.stored.range(from..=upto) {
                let (number, start) = (segment.number(self.size), segment.start(self.size));
                // Of a segment in which the timeline was left, the part before is its own. The next
                // timeline has a copy of that, and is read first.
                let own = end.map_or(u64::MAX, |end| end.bytes_since(start));
                let reach = u64::from(stored.reach).min(own) as u32;
                if reach > 0 {
                    found.entry(number).or_insert(Stored { reach, ..*stored });
                }
            }
            end = Some(*begin);
        }
        found
    }

    /// Returns the segments along a path that hold what lies between two positions, in their order.
    pub(super) fn segments(&self, path: &Path, from: Lsn, until: Lsn) -> Vec<Segment> {
        let (size, is_some) = (self.size, from < until);
        let holds = |segment: &Segment| segment.end(size) > from && segment.start(size) < until;
        let along = self.along(path).into_values().map(|stored| stored.segment);
        along.filter(|segment| is_some && holds(segment)).collect()
    }

    /// Returns the first segment along a path, from `number` on, that has a commit later than `at`.
    pub(super) fn first_commit_after(
        &self,
        path: &Path,
        number: u64,
        at: Timestamp,
    ) -> Option<u64> {
        let mut along = self.along(path).into_iter().filter(|(n, _)| *n >= number);
        let later = |stored: &Stored| stored.newest_commit.is_some_and(|commit| commit > at);
        along.find_map(|(number, stored)| later(&stored).then_some(number))
    }

    /// Returns the end of the log on a timeline, gaps or not.
    pub(super) fn newest(&self, timeline: Timeline) -> Option<(Lsn, Option<Timestamp>)> {
        let first = Segment {
            log: 0,
            part: 0,
            timeline,
        };
        let last = Segment {
            log: u32::MAX,
            part: u32::MAX,
            timeline,
        };
        let of_timeline = || self.stored.range(first..=last);
        let (segment, stored) = of_timeline().rfind(|(_, stored)| stored.reach > 0)?;
        let end = segment.start(self.size).get() + u64::from(stored.reach);
        let commit = of_timeline()
            .filter_map(|(_, stored)| stored.newest_commit)
            .max();
        Some((Lsn::new(end), commit))
    }
}

impl Path {
    /// Returns the timeline it leads to.
    pub(super) fn timeline(&self) -> Timeline {
        self.legs[0].0
    }

    /// Returns the timeline that a segment with this number is read from.
    pub(super) fn timeline_at(&self, number: u64, size: SegmentSize) -> Timeline {
        let begins = |begin: Lsn| begin.get() / u64::from(size.bytes()) <= number;
        let leg = self.legs.iter().find(|(_, begin)| begins(*begin));
        leg.or(self.legs.last()).expect("a path has a leg").0
    }

    /// Reports whether a state of `timeline` at `lsn` is one that the path leads through.
    pub(super) fn leads_through(&self, timeline: Timeline, lsn: Lsn) -> bool {
        let mut end = None;
        for (leg, begin) in &self.legs {
            if *leg == timeline {
                return end.is_none_or(|end| lsn <= end);
            }
            end = Some(*begin);
        }
        false
    }

    /// Returns the oldest timeline that histories tell of, if it is not the first of the cluster.
    pub(super) fn unknown_origin(&self) -> Option<Timeline> {
        let (oldest, _) = self.legs.last()?;
        (oldest.get() > 1).then_some(*oldest)
    }
}

/// Returns how far a replay gets from a snapshot, or `None` if the snapshot is not consistent.
pub(super) fn served(snapshot: &SnapshotWal, runs: &[Run], size: SegmentSize) -> Option<Served> {
    let len = u64::from(size.bytes());
    let wal = snapshot.wal;
    let from = needed_from(wal);
    let first = from.get() / len;
    let run = runs
        .iter()
        .rev()
        .find(|run| run.first <= first)
        .filter(|run| run.end >= wal.stop && run.end > from);
    match run {
        Some(run) => Some(Served {
            end: run.end,
            newest_commit: run.newest_commit,
        }),
        None if wal.embedded => Some(Served {
            end: wal.stop,
            newest_commit: None,
        }),
        None => None,
    }
}

/// Returns from where on a snapshot needs the archive: not for what it brings along.
pub(super) const fn needed_from(wal: WalRange) -> Lsn {
    if wal.embedded { wal.stop } else { wal.start }
}

/// How far a replay gets from a snapshot on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) end: Lsn,
    pub(super) newest_commit: Option<Timestamp>,
}

//! Which parts of a write-ahead log stay, each with its reason.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::{SegmentSize, SnapshotId, Timeline, WalFileName, WalObject};

use crate::wal::archive::{SnapshotWal, WalArchive, served};
use crate::wal::coverage::on_path;

/// How much of a log to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalKeep {
    /// Every point within this time stays recoverable. `None` keeps what leads on from the newest
    /// snapshot, and of older ones their restore points only.
    pub point_in_time: Option<Duration>,
    /// Commit records of the source that could not be read: nobody can say what they need.
    pub unreadable: usize,
}

/// Why a part of a log stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalReason {
    /// There is no snapshot, so nothing says what could be needed.
    NoSnapshot,
    /// A snapshot is dated in the future: a clock was wrong, so ages decide nothing.
    FromTheFuture(SnapshotId),
    /// A commit record cannot be read.
    Unreadable,
    /// It leads on from the snapshot that serves the beginning of the window.
    Window(SnapshotId),
    /// It makes this snapshot consistent.
    RestorePoint(SnapshotId),
    /// It is of a timeline on which no snapshot has been taken yet.
    NewTimeline(Timeline),
    /// It tells where a timeline began.
    History,
    /// Objects of the same name have different content: that is for people to decide.
    Conflict,
    /// Another object holds all of this piece.
    Superseded,
    /// No snapshot that stays needs it.
    Expired,
}

impl WalReason {
    /// Reports whether what it is said of stays.
    pub const fn keeps(self) -> bool {
        !matches!(self, Self::Superseded | Self::Expired)
    }
}

impl fmt::Display for WalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSnapshot => f.write_str("there is no snapshot to tell what is needed"),
            Self::FromTheFuture(id) => write!(f, "snapshot {} is dated in the future", id.short()),
            Self::Unreadable => f.write_str("a commit record cannot be read"),
            Self::Window(id) => write!(f, "point-in-time window, from snapshot {}", id.short()),
            Self::RestorePoint(id) => write!(f, "makes snapshot {} consistent", id.short()),
            Self::NewTimeline(timeline) => {
                write!(f, "timeline {timeline} has no snapshot yet")
            }
            Self::History => f.write_str("history of a timeline"),
            Self::Conflict => f.write_str("contradicts another object of its name"),
            Self::Superseded => f.write_str("held by another object, too"),
            Self::Expired => f.write_str("no snapshot needs it"),
        }
    }
}

/// What becomes of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalDecision<'a> {
    /// The object.
    pub object: &'a WalObject,
    /// Why it stays or goes.
    pub reason: WalReason,
}

/// Returns the snapshots that serve the beginning of the window, which must stay with the log: for each
/// timeline that lives within it, the newest one before that, else the oldest.
///
/// Without a window these are the newest snapshot of all, and the newest on the way to the newest
/// timeline.
pub fn window_bases(
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
    window: Option<Duration>,
    now: Timestamp,
) -> BTreeSet<SnapshotId> {
    let bases = bases(snapshots, archive, window, now);
    bases.into_iter().map(|base| base.snapshot.id).collect()
}

/// What serves the beginning of the window on the way to one timeline.
struct Base {
    snapshot: SnapshotWal,
    /// Number of the first segment that it, or any snapshot after it on the way, begins with.
    floor: u64,
}

fn bases(
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
    window: Option<Duration>,
    now: Timestamp,
) -> Vec<Base> {
    // A window that begins before all time holds everything.
    let begin = now
        .checked_sub(window.unwrap_or_default())
        .unwrap_or(Timestamp::MIN);
    let of_snapshots = snapshots.iter().map(|snapshot| snapshot.wal.timeline);
    let timelines: BTreeSet<Timeline> = archive.timelines().chain(of_snapshots).collect();
    let newest = timelines.last().copied();
    let newest_snapshot = snapshots.iter().max_by_key(|snapshot| snapshot.instant);
    let backed_up = newest_snapshot.map(|snapshot| snapshot.wal.timeline);
    // A timeline that ended before the window began has no point in it. One that goes on lives, however
    // long nothing was committed.
    let lives = |timeline: &Timeline| {
        let commit = archive.newest(*timeline).and_then(|(_, commit)| commit);
        let goes_on = [newest, backed_up].contains(&Some(*timeline));
        goes_on || commit.is_none_or(|commit| commit >= begin)
    };
    let living = timelines.iter().filter(|timeline| lives(timeline));
    living
        .filter_map(|timeline| base(*timeline, snapshots, archive, begin))
        .collect()
}

fn base(
    timeline: Timeline,
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
    begin: Timestamp,
) -> Option<Base> {
    let path = archive.path(timeline);
    let runs = archive.runs(&path);
    let on_path = on_path(snapshots, &path);
    let consistent =
        |snapshot: &&SnapshotWal| served(snapshot, &runs, archive.segment_size()).is_some();
    let order = |snapshot: &&SnapshotWal| (snapshot.instant, snapshot.id);
    let before = on_path.iter().filter(|snapshot| snapshot.instant <= begin);
    let serving = before.filter(consistent).max_by_key(order);
    let snapshot = *serving.or_else(|| on_path.iter().min_by_key(order))?;
    let within = on_path
        .iter()
        .filter(|other| other.instant >= snapshot.instant);
    let first = |snapshot: &SnapshotWal| {
        snapshot.wal.start.get() / u64::from(archive.segment_size().bytes())
    };
    let floor = within.map(first).min()?;
    Some(Base { snapshot, floor })
}

/// Decides what becomes of each object of one cluster's log, given in the order that a listing has.
///
/// `snapshots` are all that stay, of this cluster.
pub fn decide_wal<'a>(
    snapshots: &[SnapshotWal],
    objects: &'a [WalObject],
    keep: WalKeep,
    now: Timestamp,
) -> Vec<WalDecision<'a>> {
    let size = snapshots.first().map(|snapshot| snapshot.wal.segment_size);
    let archive = WalArchive::new(size.unwrap_or(SegmentSize::DEFAULT), objects);
    let rules = Rules::new(snapshots, &archive, keep, now);
    let same_file = objects.chunk_by(|one, other| one.file == other.file);
    same_file
        .flat_map(|same| {
            let reason = rules.of_file(same);
            same.iter().map(move |object| WalDecision {
                object,
                reason: reason(object),
            })
        })
        .collect()
}

/// What decides about every object of a log.
struct Rules<'a> {
    snapshots: &'a [SnapshotWal],
    /// Why nothing may go, if so.
    all: Option<WalReason>,
    base: Option<Base>,
    segment_size: SegmentSize,
    newest_timeline: Timeline,
}

impl<'a> Rules<'a> {
    fn new(
        snapshots: &'a [SnapshotWal],
        archive: &WalArchive,
        keep: WalKeep,
        now: Timestamp,
    ) -> Self {
        let future = snapshots.iter().find(|snapshot| snapshot.instant > now);
        let all = match (keep.unreadable, snapshots, future) {
            (1.., _, _) => Some(WalReason::Unreadable),
            (_, [], _) => Some(WalReason::NoSnapshot),
            (_, _, Some(future)) => Some(WalReason::FromTheFuture(future.id)),
            (0, _, None) => None,
        };
        let timelines = snapshots.iter().map(|snapshot| snapshot.wal.timeline);
        let bases = bases(snapshots, archive, keep.point_in_time, now).into_iter();
        Self {
            snapshots,
            all,
            // Every timeline stays that may have branched off behind the lowest: positions of
            // different timelines are compared on purpose.
            base: bases.min_by_key(|base| base.floor),
            segment_size: archive.segment_size(),
            newest_timeline: timelines.max().unwrap_or(Timeline::new(0)),
        }
    }

    /// Returns what decides about the objects of one file.
    fn of_file(&self, same: &'a [WalObject]) -> impl Fn(&WalObject) -> WalReason + use<'a> {
        let needed = self.needed(same[0].file);
        let unanimous = same
            .windows(2)
            .all(|pair| pair[0].piece != pair[1].piece || pair[0].content == pair[1].content);
        let all = self.all;
        move |object| match all {
            Some(reason) => reason,
            None if !unanimous => WalReason::Conflict,
            None if same.iter().any(|other| other.supersedes(object)) => WalReason::Superseded,
            None => needed,
        }
    }

    /// Tells whether a file is needed.
    fn needed(&self, file: WalFileName) -> WalReason {
        let segment = match file {
            WalFileName::History(_) => return WalReason::History,
            WalFileName::Segment(segment)
            | WalFileName::Partial(segment)
            | WalFileName::Backup(segment, _) => segment,
        };
        // So does what is being written now, and what a backup that is at work will need.
        if let Some(base) = &self.base
            && segment.number(self.segment_size) >= base.floor
        {
            return WalReason::Window(base.snapshot.id);
        }
        let needs =
            |snapshot: &&SnapshotWal| !snapshot.wal.embedded && snapshot.wal.contains(segment);
        if let Some(snapshot) = self.snapshots.iter().find(needs) {
            return WalReason::RestorePoint(snapshot.id);
        }
        match segment.timeline > self.newest_timeline {
            true => WalReason::NewTimeline(segment.timeline),
            false => WalReason::Expired,
        }
    }
}

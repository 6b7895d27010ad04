//! What a region lacks of the logs that it is to keep.
//!
//! A prune takes parts of a log away, so that something is missing means nothing by itself. What a
//! prune would keep, by the region's own snapshots, it has never taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{
    RegionName, Segment, SegmentSize, SourceName, SystemId, Timeline, WalFileName, error_chain,
};
use lifeboat_policy::{Gap, SnapshotWal, WalArchive, WalKeep, WalReason, decide_wal};
use lifeboat_repository::{Damage, Listing, Repository, WalListing, WalPlace};
use lifeboat_storage::{ObjectKey, ObjectStore};

use super::status::promised_gaps;
use crate::cluster::of_cluster;
use crate::error::OperationError;
use crate::session::Session;

/// How long a segment that is missing between others may be on its way still.
pub(super) const GAP_PATIENCE: Duration = Duration::from_secs(5);

/// The log of a cluster of which a region has snapshots.
struct RegionLog {
    place: WalPlace,
    keep: WalKeep,
    snapshots: Vec<SnapshotWal>,
    size: SegmentSize,
    /// What the region has of it.
    own: WalListing,
}

/// Lists the logs of which a region has snapshots, each with what of it is to be kept.
async fn logs_of(
    environment: &Environment,
    repository: &Repository,
) -> Result<Vec<RegionLog>, OperationError> {
    let listing = repository.listing(Some(&environment.name), None).await?;
    let of_snapshots = listing.snapshots.iter();
    let of_snapshots = of_snapshots.filter_map(|one| Some((&one.source, one.wal?.system)));
    let systems: BTreeSet<(&SourceName, SystemId)> = of_snapshots.collect();
    let mut logs = Vec::new();
    for (source, system) in systems {
        let place = WalPlace {
            environment: environment.name.clone(),
            source: source.clone(),
            system,
        };
        let of_source = listing.snapshots.iter();
        let of_source = of_source.filter(|snapshot| snapshot.source == *source);
        let snapshots = of_cluster(of_source, system);
        logs.push(RegionLog {
            keep: keep_of(environment, &listing, source),
            size: snapshots[0].wal.segment_size,
            own: Repository::wal_listing(&**repository.store(), &place).await?,
            snapshots,
            place,
        });
    }
    Ok(logs)
}

fn keep_of(environment: &Environment, listing: &Listing, source: &SourceName) -> WalKeep {
    let cluster = environment.sources.get(source);
    let cluster = cluster.and_then(|source| source.cluster());
    let damaged = listing.damaged.iter();
    WalKeep {
        point_in_time: cluster.map(|cluster| cluster.point_in_time),
        unreadable: damaged.filter(|one| one.name.source == *source).count(),
    }
}

/// Returns the objects of logs that other stores have, that a region lacks, that a prune there would
/// keep, and that join what the region has.
///
/// While a commit record of a source cannot be read, nobody can say what a prune took of its log.
///
/// # Errors
/// Fails if the region cannot be read; another store that cannot is told of.
pub(crate) async fn lacking_objects(
    repository: &Repository,
    environment: &Environment,
    others: &[Arc<dyn ObjectStore>],
    now: Timestamp,
) -> Result<BTreeSet<ObjectKey>, OperationError> {
    let mut lacking = BTreeSet::new();
    for log in logs_of(environment, repository).await? {
        let mut all = log.own.objects().to_vec();
        for other in others {
            match Repository::wal_listing(&**other, &log.place).await {
                Ok(there) => all.extend(there.objects().iter().cloned()),
                Err(error) => tracing::warn!("{}", error_chain(&error)),
            }
        }
        lacking.extend(log.lacks(&WalListing::new(all), now));
    }
    Ok(lacking)
}

impl RegionLog {
    /// Returns what belongs into this log of what all stores have together.
    fn lacks(&self, all: &WalListing, now: Timestamp) -> Vec<ObjectKey> {
        let ends = self.ends(all);
        let decided = decide_wal(&self.snapshots, all.objects(), self.keep, now).into_iter();
        let wanted = decided.filter(|one| {
            let file = one.object.file;
            belongs(one.reason) && self.joins(&ends, file) && self.is_less(all, file)
        });
        let missing = wanted.filter(|one| !self.own.of(one.object.file).contains(one.object));
        missing.map(|one| self.place.key(one.object)).collect()
    }

    /// Reports whether the region's part of a file is less than what all have together.
    fn is_less(&self, all: &WalListing, file: WalFileName) -> bool {
        match file {
            WalFileName::Segment(segment) => {
                self.own.reach(segment, self.size) < all.reach(segment, self.size)
            }
            _ => self.own.of(file).is_empty(),
        }
    }

    /// Returns, for each timeline of which the region has something, the number of the last segment up
    /// to which its log goes, or would go on without a gap if it had what all have together.
    ///
    /// Names in another store prove nothing but that the bytes fit them: whoever can write there can make
    /// up a timeline, or a segment far behind the end, and with it another end of the log.
    fn ends(&self, all: &WalListing) -> BTreeMap<Timeline, u64> {
        let segments = self.own.objects().iter().filter_map(|one| one.segment());
        let segments = segments.map(|one| (one.timeline, one.number(self.size)));
        let len = u64::from(self.size.bytes());
        let branches = self.own.branches();
        let branches = branches.map(|(timeline, branch)| (timeline, branch.at.get() / len));
        let of_snapshot = |one: &SnapshotWal| (one.wal.timeline, one.wal.stop.get() / len);
        let snapshots = self.snapshots.iter().map(of_snapshot);
        let mut ends = BTreeMap::new();
        for (timeline, number) in segments.chain(branches).chain(snapshots) {
            let end = ends.entry(timeline).or_insert(number);
            *end = number.max(*end);
        }
        let reach = |timeline, number| {
            let segment = Segment::numbered(timeline, number, self.size);
            all.reach(segment, self.size)
        };
        for (timeline, end) in &mut ends {
            while reach(*timeline, *end) == self.size.bytes() && reach(*timeline, *end + 1) > 0 {
                *end += 1;
            }
        }
        ends
    }

    /// Reports whether a file lies within the log of the region, or goes on with it.
    fn joins(&self, ends: &BTreeMap<Timeline, u64>, file: WalFileName) -> bool {
        let Some(end) = ends.get(&file.timeline()) else {
            return false;
        };
        match file {
            // The first timeline has no history.
            WalFileName::History(timeline) => timeline.get() > 1,
            WalFileName::Segment(segment) | WalFileName::Backup(segment, _) => {
                segment.number(self.size) <= *end
            }
            // What is left of the segment in which the timeline was left.
            WalFileName::Partial(segment) => segment.number(self.size) <= *end + 1,
        }
    }
}

/// Tells whether an object is kept because it is needed, and not because nobody can decide.
fn belongs(reason: WalReason) -> bool {
    match reason {
        WalReason::Window(_)
        | WalReason::RestorePoint(_)
        | WalReason::NewTimeline(_)
        | WalReason::History => true,
        WalReason::NoSnapshot
        | WalReason::FromTheFuture(_)
        | WalReason::Unreadable
        | WalReason::Conflict
        | WalReason::Superseded
        | WalReason::Expired => false,
    }
}

/// Parts of the window of points in time that are missing, though the log goes on behind them.
#[derive(Default)]
pub(crate) struct LogHoles {
    /// Another region has something of them, or could not be asked.
    pub(crate) damage: Vec<Damage>,
    /// No region has anything of them.
    pub(crate) gone: Vec<Damage>,
}

/// A hole in one log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hole {
    place: WalPlace,
    gap: Gap,
    size: SegmentSize,
}

impl Hole {
    fn numbers(&self) -> RangeInclusive<u64> {
        self.gap.first.number(self.size)..=self.gap.last.number(self.size)
    }

    /// Returns the part of this hole that was in `other`, too.
    fn within(&self, other: &Self) -> Option<Self> {
        if (&self.place, self.gap.along) != (&other.place, other.gap.along) {
            return None;
        }
        let number = |segment: &Segment| segment.number(self.size);
        let first = [self.gap.first, other.gap.first];
        let first = first.into_iter().max_by_key(number)?;
        let last = [self.gap.last, other.gap.last];
        let last = last.into_iter().min_by_key(number)?;
        let segments = (number(&last) + 1).saturating_sub(number(&first));
        let gap = Gap {
            along: self.gap.along,
            first,
            last,
            segments,
        };
        (segments > 0).then(|| Self {
            gap,
            ..self.clone()
        })
    }
}

/// Returns what is missing in both of two looks.
fn lasting(before: &[Hole], now: &[Hole]) -> Vec<Hole> {
    let of_hole = |hole: &Hole| {
        let within = before.iter().filter_map(|other| hole.within(other));
        within.collect::<Vec<Hole>>()
    };
    now.iter().flat_map(of_hole).collect()
}

impl Session {
    /// Finds the holes in the logs of an environment that a region has.
    ///
    /// # Errors
    /// Fails if the region cannot be read.
    pub(crate) async fn log_holes(
        &self,
        environment: &Environment,
        (region, repository): (&RegionName, &Repository),
    ) -> Result<LogHoles, OperationError> {
        let mut found = LogHoles::default();
        let before = self.holes(environment, repository).await?;
        if before.is_empty() {
            return Ok(found);
        }
        // Segments of a server that is at work arrive side by side, not one after the other.
        tokio::time::sleep(GAP_PATIENCE).await;
        let now = self.holes(environment, repository).await?;
        for hole in lasting(&before, &now) {
            let mut what = "it is missing, and the log goes on behind it".to_owned();
            if hole.gap.segments > 1 {
                let more = hole.gap.segments - 1;
                what = format!("it and {more} more are missing, and the log goes on behind them");
            }
            let held = self.held_elsewhere(environment, region, &hole).await;
            let damage = |why: &str| Damage {
                object: hole.place.path_of(WalFileName::Segment(hole.gap.first)),
                what: format!("{what}; {why}"),
            };
            match held.is_empty() {
                true => found.gone.push(damage("no other region has it")),
                false => found.damage.push(damage(&held.join(", "))),
            }
        }
        Ok(found)
    }

    /// Looks for holes; none is told of a source whose commit records cannot all be read.
    async fn holes(
        &self,
        environment: &Environment,
        repository: &Repository,
    ) -> Result<Vec<Hole>, OperationError> {
        let now = self.world.clock.now();
        let mut holes = Vec::new();
        for log in logs_of(environment, repository).await? {
            let window = log.keep.point_in_time;
            let Some(window) = window.filter(|_| log.keep.unreadable == 0) else {
                continue;
            };
            let archive = WalArchive::new(log.size, log.own.objects());
            let gaps = promised_gaps(&log.snapshots, &archive, window, now);
            holes.extend(gaps.into_iter().map(|gap| Hole {
                place: log.place.clone(),
                gap,
                size: log.size,
            }));
        }
        Ok(holes)
    }

    /// Says which other regions have what is missing, or could not be asked.
    async fn held_elsewhere(
        &self,
        environment: &Environment,
        region: &RegionName,
        hole: &Hole,
    ) -> Vec<String> {
        let mut holders = Vec::new();
        for other in environment.regions().filter(|other| *other != region) {
            let listed = async {
                let opened = self.open_region(other).await?;
                Ok::<_, OperationError>(Repository::wal_listing(&*opened.store, &hole.place).await?)
            };
            let Ok(listing) = listed.await else {
                holders.push(format!("region `{other}` cannot be asked"));
                continue;
            };
            holders.extend(match held(&listing, hole) {
                0 => None,
                all if all == hole.gap.segments => Some(format!("region `{other}` has all of it")),
                some => Some(format!(
                    "region `{other}` has {some} of {}",
                    hole.gap.segments
                )),
            });
        }
        holders
    }
}

/// Counts the segments of a hole that a listing has whole.
fn held(listing: &WalListing, hole: &Hole) -> u64 {
    let timelines = hole.gap.first.timeline..=hole.gap.last.timeline;
    let segments = listing.objects().iter();
    let segments = segments.filter_map(|object| object.segment());
    let segments = segments.filter(|one| {
        timelines.contains(&one.timeline) && listing.reach(*one, hole.size) == hole.size.bytes()
    });
    let numbers: BTreeSet<u64> = segments.map(|one| one.number(hole.size)).collect();
    hole.numbers().filter(|one| numbers.contains(one)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(first: u64, last: u64) -> Hole {
        let size = SegmentSize::DEFAULT;
        let segment = |number| Segment::numbered(Timeline::new(1), number, size);
        Hole {
            place: WalPlace {
                environment: "prod".parse().unwrap(),
                source: "main".parse().unwrap(),
                system: SystemId::new(1),
            },
            gap: Gap {
                along: Timeline::new(1),
                first: segment(first),
                last: segment(last),
                segments: last - first + 1,
            },
            size,
        }
    }

    #[test]
    fn only_what_is_missing_in_both_looks_is_a_hole() {
        let now = [hole(3, 9), hole(20, 20)];
        assert_eq!(lasting(&[hole(1, 2), hole(10, 19)], &now), []);
        assert_eq!(lasting(&now, &now), now);
        let before = [hole(1, 4), hole(6, 6), hole(8, 30)];
        let both = [hole(3, 4), hole(6, 6), hole(8, 9), hole(20, 20)];
        assert_eq!(lasting(&before, &now), both);
    }
}

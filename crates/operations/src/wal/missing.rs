//! What a region lacks of the logs that it is to keep.
//!
//! A prune takes parts of a log away, so that something is missing means nothing by itself. What a
//! prune would keep, by the region's own snapshots, it has never taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{RegionName, SegmentSize, SourceName, SystemId, WalFileName, error_chain};
use lifeboat_policy::{Gap, WalArchive, WalKeep, WalReason, decide_wal};
use lifeboat_repository::{Damage, Repository, Snapshot, WalListing, WalPlace};
use lifeboat_storage::{ObjectKey, ObjectStore};

use super::status::promised_gaps;
use crate::cluster::of_cluster;
use crate::error::OperationError;
use crate::session::Session;

/// How long a segment that is missing between others may be on its way still.
pub(super) const GAP_PATIENCE: Duration = Duration::from_secs(5);

/// Returns the logs of which a region has snapshots, each with what of it is to be kept.
fn logs_of(environment: &Environment, snapshots: &[Snapshot]) -> BTreeMap<WalPlace, WalKeep> {
    let log = |snapshot: &Snapshot| {
        let source = environment.sources.get(&snapshot.source);
        let cluster = source.and_then(|source| source.cluster());
        let keep = WalKeep {
            point_in_time: cluster.map(|cluster| cluster.point_in_time),
            unreadable: 0,
        };
        let place = place_of(environment, &snapshot.source, snapshot.wal?.system);
        Some((place, keep))
    };
    snapshots.iter().filter_map(log).collect()
}

fn place_of(environment: &Environment, source: &SourceName, system: SystemId) -> WalPlace {
    WalPlace {
        environment: environment.name.clone(),
        source: source.clone(),
        system,
    }
}

/// Returns the objects of logs that other stores have, that a region lacks, and that a prune there would
/// keep.
///
/// # Errors
/// Fails if the region cannot be read; another store that cannot is told of.
pub(crate) async fn lacking_objects(
    repository: &Repository,
    environment: &Environment,
    others: &[Arc<dyn ObjectStore>],
    now: Timestamp,
) -> Result<BTreeSet<ObjectKey>, OperationError> {
    let listing = repository.listing(Some(&environment.name), None).await?;
    let mut lacking = BTreeSet::new();
    for (place, keep) in logs_of(environment, &listing.snapshots) {
        let own = Repository::wal_listing(&**repository.store(), &place).await?;
        let mut all = own.objects().to_vec();
        for other in others {
            match Repository::wal_listing(&**other, &place).await {
                Ok(there) => all.extend(there.objects().iter().cloned()),
                Err(error) => tracing::warn!("{}", error_chain(&error)),
            }
        }
        let all = WalListing::new(all);
        let of_source = listing.snapshots.iter();
        let of_source = of_source.filter(|snapshot| snapshot.source == place.source);
        let snapshots = of_cluster(of_source, place.system);
        let size = snapshots[0].wal.segment_size;
        let is_less = |file| is_less(&own, &all, file, size);
        let decided = decide_wal(&snapshots, all.objects(), keep, now).into_iter();
        let belongs = decided.filter(|one| belongs(one.reason) && is_less(one.object.file));
        let missing = belongs.filter(|one| !own.of(one.object.file).contains(one.object));
        lacking.extend(missing.map(|one| place.key(one.object)));
    }
    Ok(lacking)
}

/// Reports whether a region's part of a file is less than what all have together.
fn is_less(own: &WalListing, all: &WalListing, file: WalFileName, size: SegmentSize) -> bool {
    match file {
        WalFileName::Segment(segment) => own.reach(segment, size) < all.reach(segment, size),
        _ => own.of(file).is_empty(),
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

impl Session {
    /// Finds the holes in the logs of an environment that a region has, as damage: parts of the window of
    /// points in time that are missing, though the log goes on behind them.
    ///
    /// # Errors
    /// Fails if the region cannot be read.
    pub(crate) async fn log_damage(
        &self,
        environment: &Environment,
        (region, repository): (&RegionName, &Repository),
    ) -> Result<Vec<Damage>, OperationError> {
        let holes = self.holes(environment, repository).await?;
        if holes.is_empty() {
            return Ok(Vec::new());
        }
        // Segments of a server that is at work arrive side by side, not one after the other.
        tokio::time::sleep(GAP_PATIENCE).await;
        let mut damage = Vec::new();
        for (place, gap, size) in self.holes(environment, repository).await? {
            let mut what = "it is missing, and the log goes on behind it".to_owned();
            if gap.segments > 1 {
                let more = gap.segments - 1;
                what = format!("it and {more} more are missing, and the log goes on behind them");
            }
            let held = self.held_elsewhere(environment, region, (&place, &gap, size));
            damage.push(Damage {
                object: place.path_of(WalFileName::Segment(gap.first)),
                what: format!("{what}; {}", held.await),
            });
        }
        Ok(damage)
    }

    async fn holes(
        &self,
        environment: &Environment,
        repository: &Repository,
    ) -> Result<Vec<(WalPlace, Gap, SegmentSize)>, OperationError> {
        let now = self.world.clock.now();
        let listing = repository.listing(Some(&environment.name), None).await?;
        let mut holes = Vec::new();
        for (place, keep) in logs_of(environment, &listing.snapshots) {
            let Some(window) = keep.point_in_time else {
                continue;
            };
            let own = Repository::wal_listing(&**repository.store(), &place).await?;
            let of_source = listing.snapshots.iter();
            let of_source = of_source.filter(|snapshot| snapshot.source == place.source);
            let snapshots = of_cluster(of_source, place.system);
            let size = snapshots[0].wal.segment_size;
            let archive = WalArchive::new(size, own.objects());
            let gaps = promised_gaps(&snapshots, &archive, window, now);
            holes.extend(gaps.into_iter().map(|gap| (place.clone(), gap, size)));
        }
        Ok(holes)
    }

    /// Says which other region has what is missing.
    async fn held_elsewhere(
        &self,
        environment: &Environment,
        region: &RegionName,
        (place, gap, size): (&WalPlace, &Gap, SegmentSize),
    ) -> String {
        let numbers = gap.first.number(size)..=gap.last.number(size);
        let mut holders = Vec::new();
        for other in environment.regions().filter(|other| *other != region) {
            let listed = async {
                let opened = self.open_region(other).await?;
                Ok::<_, OperationError>(Repository::wal_listing(&*opened.store, place).await?)
            };
            let Ok(listing) = listed.await else {
                holders.push(format!("region `{other}` cannot be asked"));
                continue;
            };
            let segments = listing
                .objects()
                .iter()
                .filter_map(|object| object.segment());
            let whole = segments.filter(|one| listing.reach(*one, size) == size.bytes());
            let whole: BTreeSet<u64> = whole.map(|segment| segment.number(size)).collect();
            let held = numbers.clone().filter(|number| whole.contains(number));
            holders.extend(match held.count() as u64 {
                0 => None,
                all if all == gap.segments => Some(format!("region `{other}` has all of it")),
                some => Some(format!("region `{other}` has {some} of {}", gap.segments)),
            });
        }
        match holders.is_empty() {
            true => "no other region has it".to_owned(),
            false => holders.join(", "),
        }
    }
}

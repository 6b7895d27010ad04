//! `wal status`: what of a cluster can be recovered, what is missing, and what would be lost now.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::{Environment, Source};
use lifeboat_model::{
    Diagnose as _, EnvironmentName, Lsn, RegionName, Segment, SegmentSize, SnapshotId, SourceName,
    SystemId, Timeline, error_chain,
};
use lifeboat_policy::{Gap, Interval, SnapshotWal, WalArchive, coverage, window_bases};
use lifeboat_repository::{Repository, Role, Snapshot, WalListing, WalPlace};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::{ServerFacts, log_end, log_timeline};
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use crate::cluster::{connect, of_cluster};
use crate::error::OperationError;
use crate::session::Session;

/// Where the log of a cluster stands.
#[derive(Debug, Clone, Serialize)]
pub struct WalStatus {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// How far the server is, if it answers.
    pub server: Option<ServerPosition>,
    /// Why the server does not answer.
    pub server_fault: Option<String>,
    /// What each region holds.
    pub regions: Vec<WalRegionStatus>,
}

/// How far a server is.
#[derive(Debug, Clone, Serialize)]
pub struct ServerPosition {
    /// The cluster.
    pub system: SystemId,
    /// The position after the last byte of its log.
    pub lsn: Lsn,
    /// The timeline that it writes; `None` if it is a standby.
    pub timeline: Option<Timeline>,
    /// Whether it is a standby.
    pub in_recovery: bool,
}

/// What a region holds of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct WalRegionStatus {
    /// The region.
    pub region: RegionName,
    /// Why it cannot be asked.
    pub fault: Option<String>,
    /// By cluster, should the source have been several; the one of the newest snapshot first.
    pub clusters: Vec<ClusterLog>,
}

/// What a region holds of one cluster.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterLog {
    /// The cluster.
    pub system: SystemId,
    /// What can be recovered, by timeline, oldest first.
    pub recoverable: Vec<Recoverable>,
    /// What is missing of what point-in-time recovery promises: behind the snapshot that its window
    /// begins with.
    pub gaps: Vec<MissingLog>,
    /// Snapshots that lack a part of the log and cannot be made consistent.
    pub lost: Vec<SnapshotId>,
    /// Files that are there twice, with different content.
    pub conflicts: Vec<String>,
    /// The end of the log: the first position that is not there.
    pub end: Option<Lsn>,
    /// When the newest transaction that is there was committed.
    pub newest_commit: Option<Timestamp>,
    /// How old that is: what would be lost now, if work is committed all the time.
    pub exposure_secs: Option<f64>,
    /// How many bytes of the server's log are not there, if the server answers and anything of its
    /// timeline is there.
    pub pending_bytes: Option<u64>,
    /// The timeline that the server writes, if nothing of it is there.
    pub timeline_missing: Option<Timeline>,
}

/// A stretch to any point of which a cluster can be recovered.
#[derive(Debug, Clone, Serialize)]
pub struct Recoverable {
    /// The timeline along which it is reached.
    pub timeline: Timeline,
    /// The first position.
    pub from: Lsn,
    /// The first position after it.
    pub to: Lsn,
    /// The moment of the first position.
    pub from_time: Timestamp,
    /// The newest commit.
    pub to_time: Timestamp,
    /// How many snapshots are in it.
    pub snapshots: usize,
}

/// Segments that are missing.
#[derive(Debug, Clone, Serialize)]
pub struct MissingLog {
    /// The first.
    pub first: Segment,
    /// The last.
    pub last: Segment,
    /// How many there are.
    pub segments: u64,
}

impl From<&Interval> for Recoverable {
    fn from(interval: &Interval) -> Self {
        Self {
            timeline: interval.timeline,
            from: interval.from,
            to: interval.to,
            from_time: interval.from_time,
            to_time: interval.to_time,
            snapshots: interval.snapshots.len(),
        }
    }
}

impl From<&Gap> for MissingLog {
    fn from(gap: &Gap) -> Self {
        Self {
            first: gap.first,
            last: gap.last,
            segments: gap.segments,
        }
    }
}

impl WalStatus {
    /// Reports whether every region answers, and none lacks a part of the log or contradicts itself.
    pub fn is_sound(&self) -> bool {
        let sound = |log: &ClusterLog| {
            log.gaps.is_empty()
                && log.lost.is_empty()
                && log.conflicts.is_empty()
                && log.timeline_missing.is_none()
        };
        let mut regions = self.regions.iter();
        regions.all(|region| region.fault.is_none() && region.clusters.iter().all(sound))
    }
}

impl Session {
    /// Tells where the log of a source stands, in one region or in all of its environment. Needs the
    /// auditor key.
    ///
    /// # Errors
    /// Fails if there is no such region; a region that cannot be asked is part of the answer.
    pub async fn wal_status(
        &self,
        environment: &Environment,
        source: &Source,
        region: Option<&str>,
    ) -> Result<WalStatus, OperationError> {
        let cluster = source.cluster().expect("the source is a cluster");
        let server = match connect(self, cluster).await {
            Ok(session) => position(&session).await,
            Err(error) => Err(error),
        };
        let regions: Vec<&RegionName> = match region {
            Some(name) => vec![&self.config.region(name)?.name],
            None => environment.regions().collect(),
        };
        let mut found = Vec::new();
        for region in regions {
            let clusters = self
                .wal_of_region(environment, source, region, server.as_ref().ok())
                .await;
            let (clusters, fault) = match clusters {
                Ok(clusters) => (clusters, None),
                Err(error) => (Vec::new(), Some(error_chain(&error))),
            };
            found.push(WalRegionStatus {
                region: region.clone(),
                fault,
                clusters,
            });
        }
        let (server, server_fault) = match server {
            Ok(server) => (Some(server), None),
            Err(error) => (None, Some(told(&error))),
        };
        Ok(WalStatus {
            environment: environment.name.clone(),
            source: source.name.clone(),
            server,
            server_fault,
            regions: found,
        })
    }

    async fn wal_of_region(
        &self,
        environment: &Environment,
        source: &Source,
        region: &RegionName,
        server: Option<&ServerPosition>,
    ) -> Result<Vec<ClusterLog>, OperationError> {
        let opened = self.open_region(region).await?;
        let repository = self
            .open_repository(environment, &opened, Role::Auditor)
            .await?;
        let listing = repository.listing(Some(&environment.name), Some(&source.name));
        let snapshots = listing.await?.snapshots;
        let store = &**repository.store();
        let systems = Repository::wal_systems(store, &environment.name, &source.name).await?;
        let of_snapshots = snapshots.iter().rev().filter_map(|s| Some(s.wal?.system));
        let mut ordered: Vec<SystemId> = Vec::new();
        for system in of_snapshots.chain(systems) {
            if !ordered.contains(&system) {
                ordered.push(system);
            }
        }
        let mut clusters = Vec::new();
        for system in ordered {
            let place = WalPlace {
                environment: environment.name.clone(),
                source: source.name.clone(),
                system,
            };
            let listing = Repository::wal_listing(store, &place).await?;
            let server = server.filter(|server| server.system == system);
            let cluster = source.cluster().expect("the source is a cluster");
            let window = (cluster.point_in_time, self.world.clock.now());
            clusters.push(cluster_log(&place, &snapshots, &listing, server, window));
        }
        Ok(clusters)
    }
}

/// Returns the newest moment to which a source can be recovered from a store by its log. Needs no key
/// besides the snapshots that the store holds.
pub(crate) async fn newest_recoverable(
    store: &dyn ObjectStore,
    environment: &EnvironmentName,
    source: &SourceName,
    held: &[&Snapshot],
) -> Result<Option<Timestamp>, OperationError> {
    let of_source = held.iter().filter(|snapshot| snapshot.source == *source);
    let of_source: Vec<Snapshot> = of_source.map(|snapshot| (*snapshot).clone()).collect();
    let systems: BTreeSet<SystemId> = of_source
        .iter()
        .filter_map(|s| Some(s.wal?.system))
        .collect();
    let mut newest = None;
    for system in systems {
        let place = WalPlace {
            environment: environment.clone(),
            source: source.clone(),
            system,
        };
        let listing = Repository::wal_listing(store, &place).await?;
        let of_system = of_cluster(&of_source, system);
        let archive = WalArchive::new(size_of(&of_system), listing.objects());
        let covered = coverage(&of_system, &archive);
        newest = newest.max(covered.intervals.iter().map(|one| one.to_time).max());
    }
    Ok(newest)
}

/// Without a snapshot nothing can be recovered, and the length of segments does not matter.
fn size_of(snapshots: &[SnapshotWal]) -> SegmentSize {
    let first = snapshots.first().map(|snapshot| snapshot.wal.segment_size);
    first.unwrap_or(SegmentSize::DEFAULT)
}

fn told(error: &OperationError) -> String {
    let hint = error
        .hint()
        .map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{}{hint}", error_chain(error))
}

async fn position(session: &SqlSession) -> Result<ServerPosition, OperationError> {
    let facts = ServerFacts::ask(session).await?;
    Ok(ServerPosition {
        system: facts.system_id,
        lsn: log_end(session).await?,
        timeline: log_timeline(session).await?,
        in_recovery: facts.in_recovery,
    })
}

/// Returns what is missing of what point-in-time recovery promises.
pub(super) fn promised_gaps(
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
    point_in_time: Duration,
    now: Timestamp,
) -> Vec<Gap> {
    let promised = promised_from(snapshots, archive, point_in_time, now);
    let mut gaps = coverage(snapshots, archive).gaps;
    gaps.retain(|gap| gap.last.end(archive.segment_size()) > promised);
    gaps
}

/// Returns the position from which on every part of the log must be there. Before it, of what a prune
/// has left, snapshots alone are promised, with holes between them.
fn promised_from(
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
    point_in_time: Duration,
    now: Timestamp,
) -> Lsn {
    let bases = window_bases(snapshots, archive, Some(point_in_time), now);
    let of_bases = snapshots.iter().filter(|one| bases.contains(&one.id));
    let starts = of_bases.map(|snapshot| snapshot.wal.start);
    starts.min().unwrap_or_default()
}

fn cluster_log(
    place: &WalPlace,
    snapshots: &[Snapshot],
    listing: &WalListing,
    server: Option<&ServerPosition>,
    (point_in_time, now): (Duration, Timestamp),
) -> ClusterLog {
    let of_system = of_cluster(snapshots, place.system);
    let archive = WalArchive::new(size_of(&of_system), listing.objects());
    let covered = coverage(&of_system, &archive);
    let gaps = promised_gaps(&of_system, &archive, point_in_time, now);
    let end = covered.newest.map(|(_, end, _)| end);
    // How far one timeline is says nothing of another.
    let known = covered.newest.map(|(timeline, _, _)| timeline);
    let written = server.and_then(|server| server.timeline);
    let timeline_missing = written.filter(|written| known.is_some_and(|known| known < *written));
    let newest_commit = covered.newest.and_then(|(_, _, commit)| commit);
    let exposure = newest_commit.map(|at| now.duration_since(at).as_secs_f64().max(0.0));
    ClusterLog {
        system: place.system,
        recoverable: covered.intervals.iter().map(Recoverable::from).collect(),
        gaps: gaps.iter().map(MissingLog::from).collect(),
        lost: covered.lost,
        conflicts: listing
            .conflicts()
            .iter()
            .map(|conflict| {
                format!(
                    "{} and {}",
                    place.key(&conflict.one),
                    place.key(&conflict.other)
                )
            })
            .collect(),
        end,
        newest_commit,
        exposure_secs: exposure,
        pending_bytes: server
            .zip(end)
            .filter(|_| timeline_missing.is_none())
            .map(|(server, end)| server.lsn.bytes_since(end)),
        timeline_missing,
    }
}

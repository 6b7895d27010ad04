//! Which snapshot a cluster is restored from, and how far its log is replayed.

use std::path::PathBuf;

use jiff::Timestamp;
use lifeboat_model::{
    EnvironmentName, RecoveryTarget, Segment, SegmentSize, SnapshotId, SourceName, SystemId,
    Timeline, WalFileName, WalRange,
};
use lifeboat_policy::{Chosen, RecoveryRequest, SnapshotWal, WalArchive, choose};
use lifeboat_repository::{Repository, Snapshot, WalListing, WalPlace};
use serde::Serialize;

use super::log::warn_of_lacking;
use super::restore::FetchCommand;
use crate::error::OperationError;
use crate::select::RestorePoint;
use crate::wal::Expected;

/// What only the restore of a cluster can be asked for.
#[derive(Debug, Clone, Default)]
pub struct ClusterRestore {
    /// Tablespaces that go into another folder than they were in: old and new.
    pub tablespaces: Vec<(PathBuf, PathBuf)>,
    /// The timeline to follow; `None` for the newest.
    pub timeline: Option<Timeline>,
    /// Stop just before the point, not just after it.
    pub exclusive: bool,
    /// What the server does when it has reached the point.
    pub then: ThenDo,
    /// Whether it takes the original's place and archives as that did. One that lives beside it must
    /// not: its timeline would become the newest in the archive.
    pub archives: bool,
    /// The port that its server listens on instead of the original's.
    pub port: Option<u16>,
    /// Whether its server is started on this host at once, so that nobody else may have its port.
    pub starts: bool,
    /// How the server gets at its log.
    pub log: LogAccess,
}

/// How a server that recovers gets at its log.
#[derive(Debug, Clone, Default)]
pub enum LogAccess {
    /// The restore brings all that is needed along. It takes room, and nothing has to be reached any
    /// more: neither regions nor keys.
    #[default]
    Brought,
    /// The server asks for it, file by file.
    Fetched(FetchCommand),
}

/// What a server does when it has reached the point that it was to recover to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThenDo {
    /// Becomes a primary on a timeline of its own.
    #[default]
    Promote,
    /// Stays read-only until somebody decides.
    Pause,
}

/// How a cluster comes back.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    /// Where the replay stops.
    pub target: RecoveryTarget,
    /// The timeline that it follows.
    pub timeline: Timeline,
    /// What makes the snapshot consistent.
    #[serde(skip)]
    pub(crate) range: WalRange,
    /// The first segment that the replay reads.
    pub first: Segment,
    /// The last segment that it can need.
    pub last: Segment,
    /// How much of the log is replayed, at most, bytes.
    pub replay_bytes: u64,
    /// Stop just before the point.
    pub exclusive: bool,
    /// What the server does then.
    pub then: ThenDo,
    /// Whether it archives as the original did.
    pub archives: bool,
    /// The port of its server, if it is not the original's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The segments of the archive that this counts on.
    #[serde(skip)]
    pub(crate) segments: Vec<Segment>,
    /// All that it counts on, as `wal fetch` is told.
    #[serde(skip)]
    pub(crate) expected: Vec<Expected>,
    #[serde(skip)]
    pub(crate) starts: bool,
    #[serde(skip)]
    pub(crate) tablespaces: Vec<(PathBuf, PathBuf)>,
}

/// Chooses the snapshot to restore and how far to replay. What cannot be recovered is refused with
/// what can.
///
/// # Errors
/// Fails if there is no snapshot of a cluster, or the point cannot be recovered.
pub(crate) async fn choose_recovery(
    repository: &Repository,
    (environment, source): (&EnvironmentName, &SourceName),
    point: &RestorePoint,
    wanted: &ClusterRestore,
    now: Timestamp,
) -> Result<(Snapshot, Recovery), OperationError> {
    let listing = repository.listing(Some(environment), Some(source)).await?;
    let snapshots = listing.snapshots;
    let target = target_of(point, repository, now).await?;
    let system = system_of(&snapshots, &target).ok_or_else(|| OperationError::Usage {
        message: format!("no snapshot of `{environment}/{source}` says which log it needs"),
        hint: format!("`lifeboat snapshots {environment}` lists what there is"),
    })?;
    let candidates = of_cluster(&snapshots, system);
    let place = WalPlace {
        environment: environment.clone(),
        source: source.clone(),
        system,
    };
    let objects = Repository::wal_listing(&**repository.store(), &place).await?;
    let size = candidates[0].wal.segment_size;
    let archive = WalArchive::new(size, objects.objects());
    let request = RecoveryRequest {
        target,
        timeline: wanted.timeline,
        base: None,
    };
    let chosen = choose(&request, &candidates, &archive)?;
    let snapshot = snapshots
        .into_iter()
        .find(|snapshot| snapshot.id == chosen.snapshot)
        .expect("one of the candidates is chosen");
    let range = snapshot.wal.expect("a candidate says which log it needs");
    let expected = expected(&chosen, &objects, size);
    let recovery = Recovery {
        target: chosen.target,
        timeline: chosen.timeline,
        range,
        first: chosen.first,
        last: chosen.last,
        replay_bytes: chosen.until.bytes_since(range.start),
        exclusive: wanted.exclusive,
        then: wanted.then,
        archives: wanted.archives,
        port: wanted.port,
        segments: chosen.segments,
        expected,
        starts: wanted.starts,
        tablespaces: wanted.tablespaces.clone(),
    };
    warn_of_lacking(repository, &place, &objects, &recovery).await;
    Ok((snapshot, recovery))
}

/// Names what a plan counts on: the server would take a part that is not there for the end of the log.
fn expected(chosen: &Chosen, objects: &WalListing, size: SegmentSize) -> Vec<Expected> {
    let history = WalFileName::History(chosen.timeline);
    let is_there = !objects.of(history).is_empty();
    let history = is_there.then_some(Expected::History(chosen.timeline));
    let segments = Expected::of(&chosen.segments, chosen.until, size);
    history.into_iter().chain(segments).collect()
}

/// Returns the snapshots of one cluster, as far as its log is concerned.
pub(crate) fn of_cluster<'s>(
    snapshots: impl IntoIterator<Item = &'s Snapshot>,
    system: SystemId,
) -> Vec<SnapshotWal> {
    let with_log = snapshots.into_iter().filter_map(|snapshot| {
        let wal = snapshot.wal.filter(|wal| wal.system == system)?;
        let (id, instant) = (snapshot.id, snapshot.instant);
        Some(SnapshotWal { id, instant, wal })
    });
    with_log.collect()
}

async fn target_of(
    point: &RestorePoint,
    repository: &Repository,
    now: Timestamp,
) -> Result<RecoveryTarget, OperationError> {
    Ok(match point {
        RestorePoint::Latest => RecoveryTarget::Latest,
        RestorePoint::At(instant) => RecoveryTarget::Time(*instant),
        RestorePoint::Ago(age) => {
            RecoveryTarget::Time(now.saturating_sub(*age).unwrap_or(Timestamp::MIN))
        }
        RestorePoint::Snapshot(prefix) => {
            RecoveryTarget::Snapshot(repository.find(prefix).await?.id)
        }
        RestorePoint::Immediate => RecoveryTarget::Immediate,
        RestorePoint::Lsn(lsn) => RecoveryTarget::Lsn(*lsn),
        RestorePoint::Xid(xid) => RecoveryTarget::Xid(*xid),
        RestorePoint::Named(name) => RecoveryTarget::Name(name.clone()),
    })
}

/// Returns the cluster that is meant: that of the snapshot named, or of the newest one. A source may
/// have been another cluster before.
fn system_of(snapshots: &[Snapshot], target: &RecoveryTarget) -> Option<SystemId> {
    let named = |id: SnapshotId| snapshots.iter().find(|snapshot| snapshot.id == id);
    let snapshot = match target {
        RecoveryTarget::Snapshot(id) => named(*id),
        _ => snapshots
            .iter()
            .filter(|s| s.wal.is_some())
            .max_by_key(|s| (s.instant, s.id)),
    };
    Some(snapshot?.wal?.system)
}

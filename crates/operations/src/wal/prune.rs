//! Which part of the log goes with a prune, and which snapshots stay because the log leads on from
//! them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{SnapshotId, SourceName, SystemId};
use lifeboat_policy::{SnapshotWal, WalArchive, WalKeep, decide_wal, window_bases};
use lifeboat_repository::{Repository, Snapshot, WalListing, WalPlace};
use lifeboat_storage::ObjectKey;
use serde::Serialize;

use crate::cluster::of_cluster;
use crate::error::OperationError;

/// The logs of an environment's clusters, as far as a prune needs to know them.
pub(crate) struct Logs {
    now: Timestamp,
    logs: Vec<LogToPrune>,
}

struct LogToPrune {
    place: WalPlace,
    listing: WalListing,
    keep: WalKeep,
}

/// What becomes of one log.
#[derive(Debug, Clone, Serialize)]
pub struct WalPruneDecision {
    /// The source.
    pub source: SourceName,
    /// The cluster.
    pub system: SystemId,
    /// Objects that stay, by reason.
    pub kept: BTreeMap<String, u64>,
    /// Objects that go, by reason.
    pub going: BTreeMap<String, u64>,
    /// Their length together, bytes.
    pub going_bytes: u64,
}

impl Logs {
    /// Lists the logs of every source that has one in a region.
    pub(crate) async fn list(
        repository: &Repository,
        environment: &Environment,
        snapshots: &[Snapshot],
        now: Timestamp,
    ) -> Result<Self, OperationError> {
        let store = &**repository.store();
        let of_config = environment.sources.values();
        let of_config = of_config
            .filter(|source| source.cluster().is_some())
            .map(|s| &s.name);
        // A source that was taken out of the configuration has its log still.
        let of_snapshots = snapshots
            .iter()
            .filter(|s| s.wal.is_some())
            .map(|s| &s.source);
        let sources: BTreeSet<&SourceName> = of_config.chain(of_snapshots).collect();
        let mut logs = Vec::new();
        for source in sources {
            let cluster = environment
                .sources
                .get(source)
                .and_then(|source| source.cluster());
            let keep = WalKeep {
                point_in_time: cluster.map(|cluster| cluster.point_in_time),
                // A prune stops at a commit record that cannot be read.
                unreadable: 0,
            };
            for system in Repository::wal_systems(store, &environment.name, source).await? {
                let place = WalPlace {
                    environment: environment.name.clone(),
                    source: source.clone(),
                    system,
                };
                let listing = Repository::wal_listing(store, &place).await?;
                logs.push(LogToPrune {
                    place,
                    listing,
                    keep,
                });
            }
        }
        Ok(Self { now, logs })
    }

    /// Returns the snapshots that must stay, since any moment of the window is reached from them.
    pub(crate) fn bases(&self, snapshots: &[Snapshot]) -> BTreeSet<SnapshotId> {
        let mut bases = BTreeSet::new();
        for log in &self.logs {
            let of_log = log.snapshots(snapshots, &BTreeSet::new());
            if let Some(first) = of_log.first() {
                let archive = WalArchive::new(first.wal.segment_size, log.listing.objects());
                bases.extend(window_bases(
                    &of_log,
                    &archive,
                    log.keep.point_in_time,
                    self.now,
                ));
            }
        }
        bases
    }

    /// Decides what goes, once it is known which snapshots do.
    pub(crate) fn decide(
        &self,
        snapshots: &[Snapshot],
        going: &BTreeSet<SnapshotId>,
    ) -> (Vec<ObjectKey>, Vec<WalPruneDecision>) {
        let (mut keys, mut told) = (Vec::new(), Vec::new());
        for log in &self.logs {
            let staying = log.snapshots(snapshots, going);
            let mut decision = WalPruneDecision {
                source: log.place.source.clone(),
                system: log.place.system,
                kept: BTreeMap::new(),
                going: BTreeMap::new(),
                going_bytes: 0,
            };
            for one in decide_wal(&staying, log.listing.objects(), log.keep, self.now) {
                let reason = one.reason.to_string();
                if one.reason.keeps() {
                    *decision.kept.entry(reason).or_default() += 1;
                } else {
                    *decision.going.entry(reason).or_default() += 1;
                    decision.going_bytes += one.object.stored_len;
                    keys.push(log.place.key(one.object));
                }
            }
            told.push(decision);
        }
        (keys, told)
    }
}

impl LogToPrune {
    fn snapshots(&self, all: &[Snapshot], going: &BTreeSet<SnapshotId>) -> Vec<SnapshotWal> {
        let of_log = all.iter().filter(|snapshot| {
            snapshot.source == self.place.source && !going.contains(&snapshot.id)
        });
        of_cluster(of_log, self.place.system)
    }
}

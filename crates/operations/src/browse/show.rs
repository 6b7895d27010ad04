//! Everything that is known of one snapshot, and where it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_model::{
    BackupKind, EnvironmentClass, EnvironmentName, RegionName, SnapshotId, SourceKind, SourceName,
    Tier,
};
use lifeboat_repository::{Receipt, Repository, Snapshot, Totals};
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use super::View;
use crate::error::OperationError;
use crate::session::Session;

/// What a commit record says, and where the snapshot is.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The environment it is of.
    pub environment: EnvironmentName,
    /// What that environment was for when it was taken.
    pub class: EnvironmentClass,
    /// The source it is of.
    pub source: SourceName,
    /// What kind of source that is.
    pub source_kind: SourceKind,
    /// The tier it was taken for.
    pub tier: Tier,
    /// Whether it built on a parent.
    pub kind: BackupKind,
    /// The snapshot it was compared with. It is not needed any more.
    pub parent: Option<SnapshotId>,
    /// The moment whose state it holds.
    pub instant: Timestamp,
    /// When reading began.
    pub started: Timestamp,
    /// When it was committed.
    pub finished: Timestamp,
    /// The host that took it.
    pub host: String,
    /// The program and version that took it.
    pub program: String,
    /// Whether it is a masked copy.
    pub masked: bool,
    /// Whether every item could be read.
    pub complete: bool,
    /// Counts and sizes.
    pub totals: Totals,
    /// Length of its manifest, bytes.
    pub manifest_bytes: u64,
    /// What the source said about this state.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// What could not be read.
    pub skipped: Vec<SkippedItem>,
    /// The regions, and whether they hold it.
    pub regions: Vec<RegionHolding>,
}

/// An item that a backup could not read.
#[derive(Debug, Clone, Serialize)]
pub struct SkippedItem {
    /// Where it is in the source.
    pub path: String,
    /// Why it could not be read.
    pub reason: String,
}

/// What one region holds of a snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct RegionHolding {
    /// The region.
    pub region: RegionName,
    /// Whether it is the home of the environment.
    pub home: bool,
    /// Whether its commit record is there.
    pub present: bool,
    /// The proof that the rest was seen there too. The home needs none: it is where it was written.
    pub receipt: Option<Receipt>,
    /// Why the region cannot be asked, if so.
    pub fault: Option<String>,
}

/// Tells everything about a snapshot, and asks the regions of its environment whether they hold it.
///
/// # Errors
/// Never fails because of a region: what cannot be asked is part of the report.
pub async fn show(
    session: &Session,
    view: &View,
    snapshot: &Snapshot,
) -> Result<SnapshotReport, OperationError> {
    let skipped = snapshot.skipped.iter().map(|(path, reason)| SkippedItem {
        path: path.to_string(),
        reason: reason.clone(),
    });
    let fact = |text: &String| {
        serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.clone()))
    };
    Ok(SnapshotReport {
        snapshot: snapshot.id,
        environment: snapshot.environment.clone(),
        class: snapshot.class,
        source: snapshot.source.clone(),
        source_kind: snapshot.source_kind,
        tier: snapshot.tier,
        kind: snapshot.kind,
        parent: snapshot.parent,
        instant: snapshot.instant,
        started: snapshot.started,
        finished: snapshot.finished,
        host: snapshot.host.clone(),
        program: snapshot.program.clone(),
        masked: snapshot.masked,
        complete: snapshot.skipped.is_empty(),
        totals: snapshot.totals,
        manifest_bytes: snapshot.manifest_bytes(),
        facts: snapshot
            .facts
            .iter()
            .map(|(name, text)| (name.clone(), fact(text)))
            .collect(),
        skipped: skipped.collect(),
        regions: regions(session, view, snapshot).await,
    })
}

async fn regions(session: &Session, view: &View, snapshot: &Snapshot) -> Vec<RegionHolding> {
    let Some(environment) = session.config.environments.get(&snapshot.environment) else {
        // Without a project, the region at hand is the only one that can be asked.
        let store = &**view.repository.store();
        return vec![holding(
            &view.region,
            false,
            held(store, &view.region, snapshot).await,
        )];
    };
    let mut regions = Vec::new();
    for region in environment.regions() {
        let asked = async {
            let opened = session.open_region(region).await?;
            held(&*opened.store, region, snapshot).await
        };
        let home = *region == environment.home;
        regions.push(holding(region, home, asked.await));
    }
    regions
}

fn holding(
    region: &RegionName,
    home: bool,
    asked: Result<(bool, Option<Receipt>), OperationError>,
) -> RegionHolding {
    let ((present, receipt), fault) = match asked {
        Ok(found) => (found, None),
        Err(error) => ((false, None), Some(error.to_string())),
    };
    RegionHolding {
        region: region.clone(),
        home,
        present,
        receipt,
        fault,
    }
}

/// Asks a store for the commit record and the receipt of a snapshot. Needs no key.
async fn held(
    store: &dyn ObjectStore,
    region: &RegionName,
    snapshot: &Snapshot,
) -> Result<(bool, Option<Receipt>), OperationError> {
    let (environment, source) = (Some(&snapshot.environment), Some(&snapshot.source));
    let names = Repository::snapshot_names(store, environment, source).await?;
    let receipts = Receipt::list(store, region).await?;
    Ok((
        names.iter().any(|name| name.id == snapshot.id),
        receipts
            .into_iter()
            .find(|receipt| receipt.snapshot == snapshot.id),
    ))
}

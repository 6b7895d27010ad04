//! The versions of files: which snapshots hold what matches, and where it changed.

use jiff::Timestamp;
use lifeboat_model::{Entry, EntryKind, EnvironmentName, SnapshotId, SourceName};
use lifeboat_repository::{DamagedSnapshot, Listing, Pair, Snapshot};
use lifeboat_source_files::PathFilter;
use serde::Serialize;

use super::View;
use super::diff::{Change, compare};
use super::entries::EntryView;
use crate::error::OperationError;

/// An entry in one snapshot, compared with the snapshot before.
#[derive(Debug, Clone, Serialize)]
pub struct FoundVersion {
    /// The source.
    pub source: SourceName,
    /// The snapshot; for what was removed, the first one that lacks it.
    pub snapshot: SnapshotId,
    /// The moment whose state that holds.
    pub instant: Timestamp,
    /// How it differs from the snapshot before; `added` in the first.
    pub change: Change,
    /// The entry; for what was removed, as it was last.
    #[serde(flatten)]
    pub entry: EntryView,
}

/// What was looked through.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FindSummary {
    /// Number of snapshots that were looked through.
    pub snapshots: u64,
    /// Number of versions that matched, removals left out.
    pub found: u64,
    /// Snapshots that could not be looked through, by id, and why.
    pub damaged: Vec<(SnapshotId, String)>,
}

/// Looks through all snapshots of an environment, oldest first within each source, and gives each
/// entry that matches a glob to `each`. Memory does not grow with what is found.
///
/// # Errors
/// Fails if a glob is none, or a manifest is damaged; what was given before stands.
pub async fn find(
    view: &View,
    environment: &EnvironmentName,
    source: Option<&SourceName>,
    globs: &[String],
    mut each: impl FnMut(FoundVersion),
) -> Result<FindSummary, OperationError> {
    let filter = PathFilter::new(globs)?;
    let Listing { snapshots, damaged } = view.repository.listing(Some(environment), source).await?;
    let browser = view.repository.browse().await?;
    let describe = |damaged: DamagedSnapshot| (damaged.name.id, damaged.what);
    let mut summary = FindSummary {
        damaged: damaged.into_iter().map(describe).collect(),
        ..FindSummary::default()
    };
    for (before, after) in in_pairs(&snapshots) {
        summary.snapshots += 1;
        let mut comparison = browser.compare(before, Some(after));
        while let Some(pair) = comparison.next().await? {
            let entry = entry_of(&pair);
            if filter.is_match(&entry.path, entry.kind == EntryKind::Directory) {
                let version = version(&pair, after);
                summary.found += u64::from(version.change != Change::Removed);
                each(version);
            }
        }
    }
    Ok(summary)
}

/// Pairs each snapshot with the one before it of the same source, source by source.
fn in_pairs(snapshots: &[Snapshot]) -> Vec<(Option<&Snapshot>, &Snapshot)> {
    let mut ordered: Vec<&Snapshot> = snapshots.iter().collect();
    // The sort is stable: within a source, the oldest stays first.
    ordered.sort_by(|one, other| one.source.cmp(&other.source));
    let before = |number: usize| {
        let before = *ordered.get(number.checked_sub(1)?)?;
        (before.source == ordered[number].source).then_some(before)
    };
    let numbers = 0..ordered.len();
    numbers
        .map(|number| (before(number), ordered[number]))
        .collect()
}

fn entry_of(pair: &Pair) -> &Entry {
    let stored = pair.after.as_ref().or(pair.before.as_ref());
    &stored.expect("a pair has at least one side").entry
}

fn version(pair: &Pair, snapshot: &Snapshot) -> FoundVersion {
    let stored = pair.after.as_ref().or(pair.before.as_ref());
    FoundVersion {
        source: snapshot.source.clone(),
        snapshot: snapshot.id,
        instant: snapshot.instant,
        change: compare(pair).change,
        entry: EntryView::of(stored.expect("a pair has at least one side")),
    }
}

//! How a repository uses its room.

use lifeboat_model::{EnvironmentName, RegionName};
use lifeboat_repository::Usage;
use serde::Serialize;

use super::View;
use crate::error::OperationError;

/// How the repository in one region uses its room.
#[derive(Debug, Clone, Serialize)]
pub struct StatsReport {
    /// The region.
    pub region: RegionName,
    /// Lengths of all objects together, bytes.
    pub total_bytes: u64,
    /// Bytes that restoring every snapshot would write, per byte of different chunks stored for
    /// them: what deduplication saves. `None` if there is no snapshot.
    pub dedup_ratio: Option<f64>,
    /// Bytes of the frames once opened, per byte stored: what compression saves.
    pub compression_ratio: Option<f64>,
    /// What takes up the room.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Measures the repository in a region. The sources of one environment are told if it is named; the
/// rest is of the whole repository, which its environments share.
///
/// # Errors
/// Fails if the store cannot be read; damaged snapshots are part of the report.
pub async fn stats(
    view: &View,
    environment: Option<&EnvironmentName>,
) -> Result<StatsReport, OperationError> {
    // Listed before the index is loaded, so that the index holds all they need.
    let listing = view.repository.listing(None, None).await?;
    let mut usage = view.repository.browse().await?.usage(&listing).await?;
    let restored: u64 = usage
        .sources
        .iter()
        .map(|source| source.restored_bytes)
        .sum();
    let raw = usage.data.raw_bytes;
    let stored = usage.data.stored_bytes + usage.metadata.stored_bytes;
    let opened = usage.data.raw_bytes + usage.metadata.raw_bytes;
    usage
        .sources
        .retain(|source| environment.is_none_or(|name| source.environment == *name));
    Ok(StatsReport {
        region: view.region.clone(),
        total_bytes: usage.total_bytes(),
        dedup_ratio: ratio(restored, raw),
        compression_ratio: ratio(opened, stored),
        usage,
    })
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| of as f64 / to as f64)
}

//! The report of a drill: what an auditor asks for.

use jiff::Timestamp;
use lifeboat_model::{
    EnvironmentName, RegionName, RunId, SnapshotId, SourceKind, SourceName, Verdict,
};
use serde::Serialize;

use crate::checks::Check;
use crate::phases::Phase;
use crate::scenario::Scenario;

/// What a drill did, measured and found.
#[derive(Debug, Clone, Serialize)]
pub struct DrillReport {
    /// The run in the ledger.
    pub drill: RunId,
    /// What was pretended to be lost.
    pub scenario: Scenario,
    /// The environment.
    pub environment: EnvironmentName,
    /// The source that was recovered.
    pub source: SourceName,
    /// What kind of source it is.
    pub source_kind: SourceKind,
    /// The region that served.
    pub region: RegionName,
    /// Regions that were denied to the drill.
    pub denied: Vec<RegionName>,
    /// The snapshot that was restored: also the digest of its commit record.
    pub snapshot: SnapshotId,
    /// The moment whose state it holds.
    pub instant: Timestamp,
    /// When the fault was assumed and recovery declared: the start of both RTO and RPO.
    pub declared: Timestamp,
    /// Who ran it.
    pub operator: String,
    /// Where it ran.
    pub host: String,
    /// The phases in order.
    pub phases: Vec<Phase>,
    /// The checks in order.
    pub checks: Vec<Check>,
    /// Bytes restored.
    pub bytes: u64,
    /// From declaration until the last check passed, seconds: the tool's RTO.
    pub rto_secs: f64,
    /// The target, seconds.
    pub rto_target_secs: Option<f64>,
    /// Whether the target was met; `None` without a target.
    pub rto_verdict: Option<Verdict>,
    /// From the newest transaction proven present to the fault, seconds.
    pub rpo_secs: Option<f64>,
    /// The target, seconds.
    pub rpo_target_secs: Option<f64>,
    /// Whether the target was met; `None` without a target or for folders.
    pub rpo_verdict: Option<Verdict>,
    /// All checks together.
    pub checks_verdict: Verdict,
    /// Checks and objectives together.
    pub verdict: Verdict,
    /// Where it was restored to, and that nothing else was touched.
    pub isolation: String,
    /// Whether the scratch place is gone.
    pub cleaned_up: bool,
}

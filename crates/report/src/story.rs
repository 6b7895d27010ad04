//! What a page can tell, borrowed from those who recorded it.

use jiff::Timestamp;
use lifeboat_drill::DrillReport;
use lifeboat_model::Verdict;
use lifeboat_operations::{BackupReport, ReplicateReport};

/// Everything one page can tell; absent parts are left out.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a> {
    /// The heading of the page.
    pub title: &'a str,
    /// The project it is about.
    pub project: &'a str,
    /// When the page was made.
    pub generated: Timestamp,
    /// The program and version that made it.
    pub program: &'a str,
    /// Backups, oldest first.
    pub backups: &'a [BackupReport],
    /// Copies to other regions, oldest first.
    pub replications: &'a [ReplicateReport],
    /// Masked copies, oldest first.
    pub masking: &'a [MaskingView],
    /// Restore drills, oldest first.
    pub drills: &'a [DrillReport],
}

/// One masked copy of a source.
#[derive(Debug, Clone)]
pub struct MaskingView {
    /// Where the rows came from.
    pub source: String,
    /// Where the masked rows went.
    pub target: String,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows in all tables together.
    pub rows: u64,
    /// How long it took, seconds.
    pub secs: f64,
    /// All gates together.
    pub verdict: Verdict,
    /// The gates in order.
    pub gates: Vec<GateView>,
    /// Columns that went through unchanged, as `table.column`: what a reader has to agree with.
    pub kept: Vec<String>,
    /// What the copy was made with, such as the rules' hash, the key's id and versions: name and
    /// value.
    pub manifest: Vec<(String, String)>,
}

/// One gate that a masked copy had to pass before anybody got it.
#[derive(Debug, Clone)]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// What it found.
    pub verdict: Option<Verdict>,
    /// What it found, in a sentence; never a value of the data.
    pub detail: String,
    /// What it found where: table and column, and what; never a value of the data.
    pub findings: Vec<(String, String)>,
}

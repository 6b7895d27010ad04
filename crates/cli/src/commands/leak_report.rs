//! The leak report as a file: one HTML page, or JSON.

use std::path::Path;

use lifeboat_masking::{Finding, Gate, LeakReport};
use lifeboat_operations::{MaskReport, OperationError, Session};
use lifeboat_report::{GateView, MaskingView, Story};

/// Returns a masked copy as pages show it.
pub(super) fn view(source: &str, target: &str, report: &MaskReport) -> MaskingView {
    let leak_report = &report.leak_report;
    let manifest = leak_report.manifest();
    MaskingView {
        source: source.to_owned(),
        target: target.to_owned(),
        tables: report.tables,
        rows: report.rows,
        secs: report.mask_secs + report.verify_secs,
        verdict: leak_report.verdict(),
        gates: leak_report.gates().iter().map(gate).collect(),
        kept: report.kept.clone(),
        manifest: vec![
            ("rules hash".to_owned(), manifest.rules_hash.clone()),
            ("key id".to_owned(), manifest.key_id.clone()),
            ("word lists".to_owned(), manifest.word_lists.to_owned()),
            ("schema".to_owned(), manifest.schema_fingerprint.clone()),
        ],
    }
}

fn gate(gate: &Gate) -> GateView {
    // What is kept has a list of its own.
    let kept = gate.name == "coverage";
    let findings = gate.findings.iter().filter(|_| !kept).map(finding);
    GateView {
        name: gate.name.to_owned(),
        verdict: gate.verdict,
        detail: format!("{} checked. {}", gate.checked, gate.note),
        findings: findings.collect(),
    }
}

fn finding(finding: &Finding) -> (String, String) {
    let names = [&finding.table, &finding.column].map(String::as_str);
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    (
        names.join("."),
        format!("{} x {}", finding.count, finding.kind),
    )
}

/// Makes sure that a report can be written, before anything is done whose report it would be.
pub(super) fn can_write(file: &Path) -> Result<(), OperationError> {
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file);
    opened.map(drop).map_err(|source| OperationError::Io {
        op: "write",
        path: file.to_owned(),
        source,
    })
}

/// Writes the report to `file`: a page if it ends in `.html`, otherwise JSON.
pub(super) fn write(
    session: &Session,
    report: &LeakReport,
    view: &MaskingView,
    file: &Path,
) -> Result<(), OperationError> {
    let is_page = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
    let text = match is_page {
        true => lifeboat_report::html(&Story {
            title: "Leak report",
            project: &session.config.project,
            generated: session.world.clock.now(),
            program: &session.program,
            backups: &[],
            replications: &[],
            masking: std::slice::from_ref(view),
            drills: &[],
        }),
        false => serde_json::to_string_pretty(report).expect("reports are plain values") + "\n",
    };
    std::fs::write(file, text).map_err(|source| OperationError::Io {
        op: "write",
        path: file.to_owned(),
        source,
    })
}

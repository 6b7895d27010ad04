//! The gates: from counts to verdicts.

use std::collections::BTreeMap;

use lifeboat_model::Verdict;

use super::originals::{ColumnCounts, Originals};
use super::report::{ClassifiedColumn, Finding, Gate, LeakReport};
use super::scan::{Counts, OutputScan};
use crate::plan::{ColumnClass, ColumnPlan, Plan, TablePlan};

/// What only the caller can know.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Rows of each table, counted in the source apart from reading them for masking.
    pub source_rows: BTreeMap<String, u64>,
    /// What the target itself said about keys and constraints; what should have said something and did
    /// not is not verified.
    pub integrity: Vec<IntegrityCheck>,
    /// Whether the target knows no keys and constraints, as files of rows do not.
    pub is_keyless: bool,
    /// Version of the program that made the copy.
    pub tool_version: String,
    /// Hash of the finished output.
    pub output_hash: Option<String>,
}

/// One check of the target on itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityCheck {
    /// What was checked, such as `foreign_key_check`.
    pub name: String,
    /// The outcome.
    pub verdict: Verdict,
}

/// Judges a masked copy by what masking remembered and what reading back found.
pub fn verify(
    plan: &Plan,
    originals: &Originals,
    scan: &OutputScan<'_>,
    evidence: &Evidence,
) -> LeakReport {
    let gates = vec![
        coverage(plan, originals),
        row_accounting(plan, originals, scan, evidence),
        same_row_identity(plan, originals),
        value_reuse(originals, scan),
        detectors(plan, scan),
        integrity(evidence),
        scan.found.risk.gate(plan, &scan.found.rows),
        canaries(scan),
        manifest(evidence),
    ];
    LeakReport {
        verdict: Verdict::all(gates.iter().filter_map(|gate| gate.verdict)),
        gates,
        columns: columns(plan).collect(),
        manifest: plan.manifest().clone(),
        tool_version: evidence.tool_version.clone(),
        output_hash: evidence.output_hash.clone(),
    }
}

fn columns(plan: &Plan) -> impl Iterator<Item = ClassifiedColumn> {
    plan.tables.iter().flat_map(|table| {
        table.columns.iter().map(|column| ClassifiedColumn {
            table: table.name.clone(),
            column: column.name.clone(),
            class: column.class,
        })
    })
}

/// Lists what is kept as it is: that is what a reader has to agree with.
fn coverage(plan: &Plan, originals: &Originals) -> Gate {
    let checked = columns(plan).count() as u64;
    let mut findings = Vec::new();
    for table in &plan.tables {
        let rows = originals.tables[table.index].rows_read;
        findings.extend(table.columns.iter().filter_map(|column| {
            let (kind, count) = match column.class {
                ColumnClass::Kept => ("kept", rows),
                // Which rows its conditions keep is not counted.
                ColumnClass::Mixed => ("kept in some rows", 0),
                ColumnClass::Masked | ColumnClass::Inherited | ColumnClass::Policy => return None,
            };
            Some(Finding {
                table: table.name.clone(),
                column: column.name.clone(),
                count,
                kind: kind.to_owned(),
            })
        }));
        findings.extend(
            table
                .columns
                .iter()
                .filter_map(|column| kept_inside(table, column)),
        );
    }
    let kept = findings
        .iter()
        .filter(|finding| finding.kind == "kept")
        .count();
    Gate {
        name: "coverage",
        // A plan exists only if every column has its rule; a plan of nothing covers nothing.
        verdict: Some(if checked > 0 {
            Verdict::Pass
        } else {
            Verdict::NotVerified
        }),
        checked,
        findings,
        note: format!("every column has a rule; {kept} are kept"),
    }
}

/// Lists what is kept inside values of a column that is masked by and large.
fn kept_inside(table: &TablePlan, column: &ColumnPlan) -> Option<Finding> {
    let kept: Vec<String> = column
        .actions()
        .flat_map(|bound| bound.mask.kept_inside())
        .collect();
    (!kept.is_empty()).then(|| Finding {
        table: table.name.clone(),
        column: column.name.clone(),
        count: 0,
        kind: format!("kept inside its values: {}", kept.join(", ")),
    })
}

fn row_accounting(
    plan: &Plan,
    originals: &Originals,
    scan: &OutputScan<'_>,
    evidence: &Evidence,
) -> Gate {
    let mut findings = Vec::new();
    let mut uncounted = 0;
    let mut checked = 0;
    for table in &plan.tables {
        let counts = &originals.tables[table.index];
        let Some(&source) = evidence.source_rows.get(&table.name) else {
            uncounted += 1;
            continue;
        };
        checked += source;
        for (kind, found) in [
            ("rows read", counts.rows_read),
            ("rows masked", counts.rows_masked),
            ("rows read back", scan.found.rows[table.index]),
        ] {
            if found != source {
                findings.push(Finding {
                    table: table.name.clone(),
                    column: String::new(),
                    count: found.abs_diff(source),
                    kind: format!("{kind} differ from the source"),
                });
            }
        }
    }
    let verdict = match (findings.is_empty(), uncounted) {
        (false, _) => Verdict::Fail,
        (true, 0) => Verdict::Pass,
        (true, _) => Verdict::NotVerified,
    };
    Gate {
        name: "row_accounting",
        verdict: Some(verdict),
        checked,
        findings,
        note: format!("source rows = rows masked = rows read back; {uncounted} tables not counted"),
    }
}

fn same_row_identity(plan: &Plan, originals: &Originals) -> Gate {
    let mut gate = Gate {
        name: "same_row_identity",
        verdict: Some(Verdict::Pass),
        checked: 0,
        findings: Vec::new(),
        note: "masked values that equal their own original; permuted ids and rounded numbers may, \
               within what chance allows"
            .to_owned(),
    };
    for table in &plan.tables {
        let counts = &originals.tables[table.index].columns;
        for (column, counts) in table.columns.iter().zip(counts) {
            gate.checked += counts.masked;
            if counts.same == 0 {
                continue;
            }
            // A foreign key repeats what its target got; the target is the one to judge.
            let judged = column.class != ColumnClass::Inherited;
            let failed = judged && counts.same as f64 > accepted(*counts);
            if failed {
                gate.verdict = Some(Verdict::Fail);
            }
            gate.findings.push(Finding {
                table: table.name.clone(),
                column: column.name.clone(),
                count: counts.same,
                kind: if failed {
                    "more than chance"
                } else {
                    "within chance"
                }
                .to_owned(),
            });
        }
    }
    gate
}

/// Returns how many identities chance explains: the expectation and six deviations, and three
/// because small expectations have heavy tails. No chance at all explains none.
fn accepted(counts: ColumnCounts) -> f64 {
    let expected = counts.same_expected;
    if expected == 0.0 {
        return 0.0;
    }
    expected + 6.0 * expected.sqrt() + 3.0
}

fn value_reuse(originals: &Originals, scan: &OutputScan<'_>) -> Gate {
    let mut findings = findings(&scan.found.reused);
    let failed = !findings.is_empty();
    for mut coincidence in self::findings(&scan.found.coincidences) {
        coincidence.kind.push_str(", a word of the public list");
        findings.push(coincidence);
    }
    Gate {
        name: "value_reuse",
        verdict: Some(verdict_of(scan, failed)),
        checked: scan.found.cells,
        findings,
        note: format!(
            "{} original values{} looked for in every cell, word run and document leaf{}; values of \
             dates, postcodes, ids and other small spaces are not, the columns' identity gate \
             covers them",
            originals.len(),
            match originals.sampling() {
                1 => String::new(),
                each => format!(", one of every {each},"),
            },
            if scan.found.in_passing {
                " as it was written, each row among the originals read until then"
            } else {
                ""
            }
        ),
    }
}

fn detectors(plan: &Plan, scan: &OutputScan<'_>) -> Gate {
    let (names, allowed_names) = scan.found.names.found(plan);
    let (chance, detected): (Counts, Counts) = scan
        .found
        .detected
        .clone()
        .into_iter()
        .partition(|(place, count)| *count as f64 <= scan.explained(place));
    let mut findings = findings(&detected);
    findings.extend(self::findings(&names));
    let failed = !findings.is_empty();
    for mut chance in self::findings(&chance) {
        chance
            .kind
            .push_str(", as often as chance makes them of ids");
        findings.push(chance);
    }
    let allowed = self::findings(&scan.found.allowed).into_iter();
    for mut allowed in allowed.chain(self::findings(&allowed_names)) {
        allowed.kind.push_str(", allowed with a reason");
        findings.push(allowed);
    }
    Gate {
        name: "detectors",
        verdict: Some(verdict_of(scan, failed)),
        checked: scan.found.cells,
        findings,
        note:
            "kept columns included; values from reserved ranges, as masks make them, do not count"
                .to_owned(),
    }
}

/// A scan that saw no cell proves nothing, unless there was nothing to see.
fn verdict_of(scan: &OutputScan<'_>, failed: bool) -> Verdict {
    let nothing_read = scan.found.cells == 0 && scan.originals_rows() > 0;
    match (failed, nothing_read) {
        (true, _) => Verdict::Fail,
        (false, true) => Verdict::NotVerified,
        (false, false) => Verdict::Pass,
    }
}

fn integrity(evidence: &Evidence) -> Gate {
    let failed = |check: &&IntegrityCheck| check.verdict != Verdict::Pass;
    let findings = evidence
        .integrity
        .iter()
        .filter(failed)
        .map(|check| Finding {
            table: String::new(),
            column: String::new(),
            count: 1,
            kind: format!("{}: {}", check.name, check.verdict),
        });
    let verdicts = evidence.integrity.iter().map(|check| check.verdict);
    Gate {
        name: "integrity",
        verdict: (!evidence.is_keyless).then(|| Verdict::all(verdicts)),
        checked: evidence.integrity.len() as u64,
        findings: findings.collect(),
        note: if evidence.is_keyless {
            "files of rows declare no keys or constraints"
        } else {
            "keys and constraints as the target itself sees them"
        }
        .to_owned(),
    }
}

fn canaries(scan: &OutputScan<'_>) -> Gate {
    let declared = scan.canaries.is_declared();
    let verdict = declared.then(|| {
        if !scan.found.planted.is_empty() {
            Verdict::Fail
        } else if !scan.canaries.is_ready() {
            Verdict::NotVerified
        } else {
            verdict_of(scan, false)
        }
    });
    Gate {
        name: "canaries",
        verdict,
        checked: scan.canaries.count() as u64,
        findings: findings(&scan.found.planted),
        note: if declared {
            "planted values looked for in all text".to_owned()
        } else {
            "no value was planted in the source".to_owned()
        },
    }
}

fn manifest(evidence: &Evidence) -> Gate {
    let missing = [
        ("tool version", evidence.tool_version.is_empty()),
        ("output hash", evidence.output_hash.is_none()),
    ];
    let findings: Vec<Finding> = missing
        .iter()
        .filter(|(_, missing)| *missing)
        .map(|(name, _)| Finding {
            table: String::new(),
            column: String::new(),
            count: 1,
            kind: format!("no {name}"),
        })
        .collect();
    Gate {
        name: "manifest",
        verdict: Some(if findings.is_empty() {
            Verdict::Pass
        } else {
            Verdict::NotVerified
        }),
        checked: 6,
        findings,
        note: "rules, key id, word lists, schema, tool version and output hash are on record"
            .to_owned(),
    }
}

fn findings(counts: &Counts) -> Vec<Finding> {
    counts
        .iter()
        .map(|(place, count)| Finding {
            table: place.table.clone(),
            column: place.column.clone(),
            count: *count,
            kind: place.kind.clone(),
        })
        .collect()
}

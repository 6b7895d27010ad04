//! The risk gate: how many rows share a combination of values that together may point at a person.

use std::collections::{HashMap, HashSet};

use lifeboat_model::Verdict;

use super::report::{Finding, Gate};
use crate::batch::{Cell, RowBatch};
use crate::plan::{ColumnClass, Plan, TablePlan};
use crate::sip::SipKey;

/// Combinations that are counted; with more of them nearly every row stands alone anyway.
const COMBINATIONS_MAX: usize = 4_000_000;
/// A masked column with at most so many values can be told by how often each comes.
const SMALL_DOMAIN: usize = 16;
/// Rows from which that matters.
const ROWS_MIN: u64 = 1_000;

/// Counts of combinations and of values in small columns. Holds keyed hashes only.
#[derive(Debug, Clone)]
pub(super) struct RiskCounts {
    key: SipKey,
    /// By table: how many rows share a combination.
    combinations: Vec<HashMap<u64, u32>>,
    /// By table and column: different values, as long as they are few.
    values: Vec<Vec<HashSet<u64>>>,
    overflowed: bool,
}

impl RiskCounts {
    pub(super) fn new(plan: &Plan) -> Self {
        let columns = |table: &TablePlan| vec![HashSet::new(); table.columns.len()];
        Self {
            key: plan.originals_key.clone(),
            combinations: vec![HashMap::new(); plan.tables.len()],
            values: plan.tables.iter().map(columns).collect(),
            overflowed: false,
        }
    }

    pub(super) fn observe(&mut self, plan: &Plan, table: &TablePlan, batch: &RowBatch) {
        let quasi = plan
            .risk
            .as_ref()
            .map_or(&[][..], |risk| &risk.columns[table.index]);
        let mut bytes = Vec::new();
        let values = &mut self.values[table.index];
        let mut small: Vec<usize> = (0..values.len())
            .filter(|at| table.columns[*at].class != ColumnClass::Kept)
            .collect();
        for row in batch.rows() {
            small.retain(|at| values[*at].len() <= SMALL_DOMAIN);
            if small.is_empty() && (quasi.is_empty() || self.overflowed) {
                break;
            }
            for at in &small {
                bytes.clear();
                push(row.cell(*at), &mut bytes);
                values[*at].insert(self.key.hash(&bytes));
            }
            if quasi.is_empty() || self.overflowed {
                continue;
            }
            bytes.clear();
            for at in quasi {
                push(row.cell(*at), &mut bytes);
            }
            *self.combinations[table.index]
                .entry(self.key.hash(&bytes))
                .or_default() += 1;
        }
        self.bound();
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (ours, theirs) in self.combinations.iter_mut().zip(other.combinations) {
            for (combination, count) in theirs {
                *ours.entry(combination).or_default() += count;
            }
        }
        let ours = self.values.iter_mut().flatten();
        for (ours, theirs) in ours.zip(other.values.into_iter().flatten()) {
            ours.extend(theirs.into_iter().take(SMALL_DOMAIN + 1));
        }
        self.overflowed |= other.overflowed;
        self.bound();
    }

    /// Gives up counting what does not fit into memory.
    fn bound(&mut self) {
        if self.combinations.iter().map(HashMap::len).sum::<usize>() > COMBINATIONS_MAX {
            self.overflowed = true;
            self.combinations.iter_mut().for_each(HashMap::clear);
        }
    }

    /// Judges the counts; `rows` are those read back of each table.
    pub(super) fn gate(&self, plan: &Plan, rows: &[u64]) -> Gate {
        let mut findings = Vec::new();
        let mut checked = 0;
        let declared = plan.risk.as_ref();
        let mut histogram = [0_u64; 4];
        for (table, counts) in plan.tables.iter().zip(&self.combinations) {
            let Some(risk) = declared.filter(|risk| !risk.columns[table.index].is_empty()) else {
                continue;
            };
            let mut exposed = 0;
            for count in counts.values().map(|count| u64::from(*count)) {
                checked += count;
                exposed += if count < risk.k { count } else { 0 };
                histogram[match count {
                    1 => 0,
                    _ if count < risk.k => 1,
                    _ if count < 10 * risk.k => 2,
                    _ => 3,
                }] += count;
            }
            if exposed > 0 {
                let names = risk.columns[table.index]
                    .iter()
                    .map(|at| table.columns[*at].name.as_str());
                findings.push(Finding {
                    table: table.name.clone(),
                    column: names.collect::<Vec<_>>().join(" + "),
                    count: exposed,
                    kind: format!(
                        "rows that share a combination with fewer than {} rows",
                        risk.k
                    ),
                });
            }
        }
        let verdict = declared.map(|_| match (findings.is_empty(), self.overflowed) {
            (_, true) => Verdict::NotVerified,
            (true, false) => Verdict::Pass,
            (false, false) => Verdict::Fail,
        });
        findings.extend(self.small_domains(plan, rows));
        Gate {
            name: "risk",
            verdict,
            checked,
            findings,
            note: match declared {
                None => "no quasi-identifiers are declared in `[risk]`".to_owned(),
                Some(_) if self.overflowed => "there are too many combinations to count".to_owned(),
                Some(risk) => format!(
                    "rows alone with their combination: {}; in groups below {}: {}; below {}: {}; larger: {}",
                    histogram[0],
                    risk.k,
                    histogram[1],
                    10 * risk.k,
                    histogram[2],
                    histogram[3]
                ),
            },
        }
    }

    /// Masked columns whose values may be told by how often they come. Information, no fault.
    fn small_domains<'p>(
        &'p self,
        plan: &'p Plan,
        rows: &'p [u64],
    ) -> impl Iterator<Item = Finding> + 'p {
        plan.tables.iter().flat_map(move |table| {
            let columns = table.columns.iter().zip(&self.values[table.index]);
            columns.filter_map(move |(column, values)| {
                let few = (2..=SMALL_DOMAIN).contains(&values.len());
                let masked = column.class == ColumnClass::Masked;
                (few && masked && rows[table.index] >= ROWS_MIN).then(|| Finding {
                    table: table.name.clone(),
                    column: column.name.clone(),
                    count: values.len() as u64,
                    kind: "different values, which their frequency may give away".to_owned(),
                })
            })
        })
    }
}

/// Appends a value so that no two rows of cells read alike.
fn push(cell: Cell<'_>, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => out.push(0),
        Cell::Integer(number) => {
            out.push(1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Cell::Real(number) => {
            out.push(2);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Cell::Text(bytes) | Cell::Blob(bytes) => {
            out.push(3);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

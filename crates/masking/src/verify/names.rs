//! Names in kept columns: one by one they prove nothing, many of them in one column do.

use super::scan::{Counts, Place};
use crate::batch::{Cell, RowBatch};
use crate::detect::{HitKind, NameLike, name_like};
use crate::plan::{ColumnClass, Plan, TablePlan};

/// Texts from which a share means something.
const TEXTS_MIN: u64 = 20;
/// Rows of a table that are looked at before these counts are merged with others: a share needs no
/// more, and looking up words is slow.
const ROWS_MAX: usize = 128;
/// A column is about people if so many of a hundred texts look like full names.
const PERCENT: u64 = 30;

/// How many texts of each column that rules keep look like names of people.
#[derive(Debug, Clone)]
pub(super) struct NameCounts {
    tables: Vec<Vec<(u64, u64)>>,
    /// By table: rows looked at.
    rows: Vec<usize>,
}

impl NameCounts {
    pub(super) fn new(plan: &Plan) -> Self {
        let columns = |table: &TablePlan| vec![(0, 0); table.columns.len()];
        Self {
            tables: plan.tables.iter().map(columns).collect(),
            rows: vec![0; plan.tables.len()],
        }
    }

    pub(super) fn observe(&mut self, table: &TablePlan, batch: &RowBatch) {
        let rows = batch.len().min(ROWS_MAX - self.rows[table.index]);
        self.rows[table.index] += rows;
        for (at, column) in table.columns.iter().enumerate() {
            // What a mask made is made of names, and no find.
            if !matches!(column.class, ColumnClass::Kept) {
                continue;
            }
            let (texts, names) = &mut self.tables[table.index][at];
            for row in batch.rows().take(rows) {
                if let Cell::Text(text @ [_, ..]) = row.cell(at) {
                    *texts += 1;
                    *names += u64::from(name_like(text) == Some(NameLike::Full));
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        let ours = self.tables.iter_mut().flatten();
        for (ours, theirs) in ours.zip(other.tables.into_iter().flatten()) {
            ours.0 += theirs.0;
            ours.1 += theirs.1;
        }
        // Rows of the same table may follow, which are as good as these.
        self.rows.fill(0);
    }

    /// Returns the columns that are about people: those to object to, and those that a reason covers.
    pub(super) fn found(&self, plan: &Plan) -> (Counts, Counts) {
        let (mut found, mut allowed) = (Counts::new(), Counts::new());
        for (table, counts) in plan.tables.iter().zip(&self.tables) {
            for (column, (texts, names)) in table.columns.iter().zip(counts) {
                if *texts < TEXTS_MIN || names * 100 < texts * PERCENT {
                    continue;
                }
                let place = Place {
                    table: table.name.clone(),
                    column: column.name.clone(),
                    kind: HitKind::Name.name().to_owned(),
                };
                let counts = if column.allow.contains(&HitKind::Name) {
                    &mut allowed
                } else {
                    &mut found
                };
                counts.insert(place, *names);
            }
        }
        (found, allowed)
    }
}

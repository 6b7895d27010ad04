//! What sampled rows look like, counted; the rows themselves are forgotten.

use std::collections::BTreeMap;

use super::stats::ColumnStats;
use crate::batch::RowBatch;
use crate::schema::Schema;

/// Counts over some rows of each table. Holds no value.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    tables: BTreeMap<String, TableSample>,
}

#[derive(Debug, Clone, Default)]
struct TableSample {
    /// Names of the columns that batches hold: all but generated ones.
    columns: Vec<String>,
    stats: Vec<ColumnStats>,
    rows: usize,
}

impl Sample {
    /// Rows of a table that are looked at; more are passed over.
    pub const ROWS_MAX: usize = 10_000;

    /// Starts with no row seen.
    pub fn new(schema: &Schema) -> Self {
        let tables = schema.tables.iter().map(|table| {
            let stored = table.columns.iter().filter(|column| !column.generated);
            let columns: Vec<String> = stored.map(|column| column.name.clone()).collect();
            let sample = TableSample {
                stats: vec![ColumnStats::default(); columns.len()],
                columns,
                rows: 0,
            };
            (table.name.clone(), sample)
        });
        Self {
            tables: tables.collect(),
        }
    }

    /// Looks at rows of a table. Their cells are those of its columns in order, without generated ones.
    ///
    /// A table that the schema does not have, and rows of another width, are passed over.
    pub fn observe(&mut self, table: &str, batch: &RowBatch) {
        let Some(table) = self.tables.get_mut(table) else {
            return;
        };
        if batch.columns() != table.columns.len() {
            return;
        }
        let room = Self::ROWS_MAX.saturating_sub(table.rows);
        for row in batch.rows().take(room) {
            table.rows += 1;
            for (cell, stats) in row.cells().zip(&mut table.stats) {
                stats.observe(cell);
            }
        }
    }

    /// Returns how many rows of a table were looked at.
    pub fn rows(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, |table| table.rows)
    }

    pub(super) fn column(&self, table: &str, column: &str) -> Option<&ColumnStats> {
        let table = self.tables.get(table)?;
        let at = table.columns.iter().position(|name| name == column)?;
        table.stats.get(at)
    }
}

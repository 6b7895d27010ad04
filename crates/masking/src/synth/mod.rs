//! Synthetic data: rows of a given number from a schema and rules alone. No production row is read.
//!
//! A row is made in two steps. First each column gets a *raw* value that depends on nothing but seed,
//! column and row number, in the form that its rule takes. Then the row goes through the same rules as
//! production rows do. So what comes out looks as a masked copy looks, and is as whole: a foreign key's
//! raw value is that of the row it refers to, and both columns mask alike.

mod limit;
mod raw;
mod rules_schema;
mod shape;

use std::collections::BTreeMap;

use lifeboat_model::Problems;
use rayon::prelude::*;

use crate::batch::{Cell, RowBatch};
use crate::key::MaskKey;
use crate::plan::{MaskError, Plan};
use crate::rules::RuleSet;
use crate::schema::Schema;
use raw::{Raw, RawColumn};

pub use rules_schema::schema_of_rules;

/// How many rows each table gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of a table that is not named below.
    pub each: u64,
    /// Rows of some tables, by name.
    pub of: BTreeMap<String, u64>,
}

/// A data set that can be made, any part of it at any time.
#[derive(Debug)]
pub struct Synthesis {
    plan: Plan,
    tables: Vec<SynthTable>,
    seed: u64,
}

#[derive(Debug)]
struct SynthTable {
    name: String,
    columns: Vec<RawColumn>,
    rows: u64,
}

impl Synthesis {
    /// Fits rules to a schema and decides how each column is made.
    ///
    /// Equal arguments make equal data. A table gets fewer rows than asked for where its constraints
    /// allow no more, such as one that may hold a single row.
    ///
    /// # Errors
    /// Returns every problem of the rules against the schema, as [`Plan::compile`] does.
    pub fn compile(
        rules: &RuleSet,
        schema: &Schema,
        seed: u64,
        rows: &RowCounts,
    ) -> Result<(Self, Problems), Problems> {
        let asked = |name: &String| rows.of.get(name).copied().unwrap_or(rows.each);
        let counts = limit::rows(schema, &asked);
        let mut schema = schema.clone();
        for (table, count) in schema.tables.iter_mut().zip(&counts) {
            table.rows = Some(*count);
        }
        let (plan, warnings) = Plan::compile(rules, &schema, &key(seed))?;
        let tables = schema
            .tables
            .iter()
            .zip(&counts)
            .map(|(table, rows)| SynthTable {
                name: table.name.clone(),
                columns: shape::columns(rules, &schema, table, &counts),
                rows: *rows,
            });
        let tables = tables.collect();
        Ok((Self { plan, tables, seed }, warnings))
    }

    /// Iterates over the tables with the number of their rows, in schema order.
    pub fn tables(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tables
            .iter()
            .map(|table| (table.name.as_str(), table.rows))
    }

    /// Returns the names of the columns that batches of a table hold: all but generated ones.
    pub fn columns(&self, table: &str) -> Vec<&str> {
        let plan = self.plan.table(table);
        plan.map_or_else(Vec::new, |plan| {
            plan.columns().map(|(name, _)| name).collect()
        })
    }

    /// Makes `count` rows of a table from row `first` on; fewer where the table ends before.
    ///
    /// # Errors
    /// Fails if a rule cannot take the raw values of its column; the error says which.
    pub fn rows(&self, table: &str, first: u64, count: u64) -> Result<RowBatch, MaskError> {
        let found = self.tables.iter().zip(self.plan.tables());
        let Some((table, plan)) = found.into_iter().find(|(have, _)| have.name == table) else {
            return Ok(RowBatch::new(0, first));
        };
        let mut batch = RowBatch::new(table.columns.len(), first);
        let mut text = Vec::new();
        let mut cells: Vec<Made> = Vec::with_capacity(table.columns.len());
        for row in first..first.saturating_add(count).min(table.rows) {
            text.clear();
            cells.clear();
            for column in &table.columns {
                cells.push(self.raw(column, row, &mut text));
            }
            batch.push_row(cells.iter().map(|made| made.cell(&text)));
        }
        plan.mask(&batch)
    }

    /// Makes rows in parallel on the current rayon pool, in batches of `size` rows and in order.
    ///
    /// # Errors
    /// Fails as [`Synthesis::rows`] does.
    pub fn batches(
        &self,
        table: &str,
        first: u64,
        batches: u64,
        size: u64,
    ) -> Result<Vec<RowBatch>, MaskError> {
        let made: Vec<_> = (0..batches)
            .into_par_iter()
            .map(|n| self.rows(table, first + n * size, size))
            .collect();
        made.into_iter().collect()
    }

    /// Makes a raw value; a foreign key's is that of the column it refers to, in the row it refers to.
    fn raw(&self, column: &RawColumn, row: u64, text: &mut Vec<u8>) -> Made {
        let (mut column, mut row) = (column, row);
        loop {
            match column.step(self.seed, row) {
                raw::Step::Null => return Made::Null,
                raw::Step::Here => break,
                raw::Step::At {
                    table,
                    column: at,
                    row: there,
                } => {
                    column = &self.tables[table].columns[at];
                    row = there;
                }
            }
        }
        let start = text.len();
        match column.raw.make(column.word(self.seed, row), row, text) {
            Raw::TEXT => Made::Text(start, text.len()),
            made => made,
        }
    }
}

/// A raw value; texts stand in a buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    Null,
    Integer(i64),
    Real(f64),
    Text(usize, usize),
    Blob([u8; 16]),
}

impl Made {
    fn cell<'t>(&'t self, text: &'t [u8]) -> Cell<'t> {
        match self {
            Self::Null => Cell::Null,
            Self::Integer(number) => Cell::Integer(*number),
            Self::Real(number) => Cell::Real(*number),
            Self::Text(start, end) => Cell::Text(&text[*start..*end]),
            Self::Blob(bytes) => Cell::Blob(bytes),
        }
    }
}

/// The key of a synthetic data set is no secret: there is no original behind its pseudonyms.
fn key(seed: u64) -> MaskKey {
    let secret = blake3::derive_key("lifeboat masking 2026-11 synthesis", &seed.to_le_bytes());
    MaskKey::new(&secret, "stable:synthesis").expect("32 bytes and a scope make a key")
}

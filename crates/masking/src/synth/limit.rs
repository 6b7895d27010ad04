//! How many rows a table can have: fewer than asked for where its constraints allow no more.

use crate::limits::Limits;
use crate::schema::{ColumnSchema, Schema, TableSchema};

/// Rounds after which tables that limit each other in a circle are left as they are.
const ROUNDS: usize = 8;

pub(super) fn rows(schema: &Schema, asked: &dyn Fn(&String) -> u64) -> Vec<u64> {
    let mut counts: Vec<u64> = schema
        .tables
        .iter()
        .map(|table| asked(&table.name).min(own_limit(table)))
        .collect();
    for _ in 0..ROUNDS {
        let before = counts.clone();
        for (at, table) in schema.tables.iter().enumerate() {
            counts[at] = counts[at].min(limit_by_keys(schema, table, &before));
        }
        if counts == before {
            break;
        }
    }
    counts
}

/// A unique column with a list of values allows a row for each of them.
fn own_limit(table: &TableSchema) -> u64 {
    let unique = table
        .columns
        .iter()
        .filter(|column| column.unique || column.primary_key);
    let listed = unique.filter_map(|column| {
        let limits = Limits::of(column);
        let range = limits
            .min
            .zip(limits.max)
            .map(|(min, max)| (max - min + 1.0).max(0.0) as u64);
        limits.allowed.map(|allowed| allowed.len() as u64).or(range)
    });
    listed.min().unwrap_or(u64::MAX)
}

/// A unique foreign key allows a row for each row it can refer to; several that are unique only
/// together, one for each combination.
fn limit_by_keys(schema: &Schema, table: &TableSchema, counts: &[u64]) -> u64 {
    let target_rows = |column: &ColumnSchema| {
        let (target, _) = column.references.as_ref()?;
        let at = schema
            .tables
            .iter()
            .position(|table| table.name == *target)?;
        Some(counts[at])
    };
    let unique = table
        .columns
        .iter()
        .filter(|column| column.unique || column.primary_key);
    let single = unique.filter_map(target_rows).min().unwrap_or(u64::MAX);
    let parts: Vec<_> = table
        .columns
        .iter()
        .filter(|column| column.key_part)
        .collect();
    let together = parts
        .iter()
        .map(|column| target_rows(column))
        .try_fold(1_u64, |product, rows| Some(product.saturating_mul(rows?)));
    let together = together.filter(|_| !parts.is_empty()).unwrap_or(u64::MAX);
    // Without a row to refer to, a column that must refer to one allows none.
    let needed = table.columns.iter().filter(|column| column.not_null);
    let nothing = needed.filter_map(target_rows).any(|rows| rows == 0);
    if nothing { 0 } else { single.min(together) }
}

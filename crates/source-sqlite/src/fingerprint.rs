//! A short proof of what a database holds, the same however its rows are stored.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};

use crate::error::SqliteError;
use crate::rows::{RowRange, RowReader};
use crate::schema::{DatabaseSchema, TableInfo, TableKind, read_schema};

/// One table's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFingerprint {
    /// The table.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Sum modulo 2^128 of the rows' hashes, 32 hex digits. The order of rows does not matter, their
    /// values, types and number do.
    pub checksum: String,
}

/// A whole database's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFingerprint {
    /// Tables by name. SQLite's own and virtual ones are left out: what virtual tables hold lies in
    /// their shadow tables, which are in.
    pub tables: Vec<TableFingerprint>,
    /// Hash of the statements that make up the schema, 32 hex digits.
    pub schema: String,
}

/// What two fingerprints disagree about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "difference")]
pub enum Difference {
    /// The statements that make up the schema differ.
    Schema,
    /// The table is expected and absent.
    TableMissing {
        /// The table.
        table: String,
    },
    /// The table is there and not expected.
    TableUnexpected {
        /// The table.
        table: String,
    },
    /// The table has another number of rows.
    Rows {
        /// The table.
        table: String,
        /// Rows it should have.
        expected: u64,
        /// Rows it has.
        actual: u64,
    },
    /// The number of rows is right, what they hold is not.
    Content {
        /// The table.
        table: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema => f.write_str("the schema differs"),
            Self::TableMissing { table } => write!(f, "table `{table}` is missing"),
            Self::TableUnexpected { table } => write!(f, "table `{table}` was not expected"),
            Self::Rows {
                table,
                expected,
                actual,
            } => write!(f, "table `{table}` has {actual} rows instead of {expected}"),
            Self::Content { table } => write!(f, "table `{table}` has rows with other values"),
        }
    }
}

/// Reads a whole database that nobody writes to and returns its fingerprint.
///
/// # Errors
/// Fails if the database cannot be read.
pub fn fingerprint(database: &Path) -> Result<DatabaseFingerprint, SqliteError> {
    let schema = read_schema(database)?;
    let reader = RowReader::open(database)?;
    let mut tables = Vec::new();
    for table in &schema.tables {
        if !matches!(table.kind, TableKind::Virtual(_)) {
            tables.push(fingerprint_table(&reader, table)?);
        }
    }
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(DatabaseFingerprint {
        tables,
        schema: fingerprint_schema(&schema),
    })
}

/// Returns every disagreement, in the order of table names.
pub fn compare(expected: &DatabaseFingerprint, actual: &DatabaseFingerprint) -> Vec<Difference> {
    let mut pairs: BTreeMap<&str, [Option<&TableFingerprint>; 2]> = BTreeMap::new();
    for (side, fingerprint) in [expected, actual].into_iter().enumerate() {
        for table in &fingerprint.tables {
            pairs.entry(&table.table).or_default()[side] = Some(table);
        }
    }
    let schema = (expected.schema != actual.schema).then_some(Difference::Schema);
    let tables = pairs.into_iter().filter_map(|(name, pair)| {
        let table = name.to_owned();
        match pair {
            [Some(_), None] => Some(Difference::TableMissing { table }),
            [None, Some(_)] => Some(Difference::TableUnexpected { table }),
            [Some(a), Some(b)] if a.rows != b.rows => Some(Difference::Rows {
                table,
                expected: a.rows,
                actual: b.rows,
            }),
            [Some(a), Some(b)] if a.checksum != b.checksum => Some(Difference::Content { table }),
            _ => None,
        }
    });
    schema.into_iter().chain(tables).collect()
}

fn fingerprint_table(
    reader: &RowReader,
    table: &TableInfo,
) -> Result<TableFingerprint, SqliteError> {
    let columns: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    let mut sum = 0_u128;
    let mut row = Vec::new();
    let rows = reader.read(table, &columns, RowRange::All, |values| {
        row.clear();
        encode(values, &mut row);
        sum = sum.wrapping_add(short_hash(&row));
        Ok::<_, SqliteError>(())
    })?;
    Ok(TableFingerprint {
        table: table.name.clone(),
        rows,
        checksum: format!("{sum:032x}"),
    })
}

/// Writes a row so that no two different rows have the same bytes: count, then type, length, value.
fn encode(values: &[ValueRef<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(&(values.len() as u64).to_le_bytes());
    for value in values {
        match value {
            ValueRef::Null => out.push(0),
            ValueRef::Integer(number) => {
                out.push(1);
                out.extend_from_slice(&number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                out.push(2);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            ValueRef::Text(bytes) => encode_bytes(3, bytes, out),
            ValueRef::Blob(bytes) => encode_bytes(4, bytes, out),
        }
    }
}

fn encode_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn fingerprint_schema(schema: &DatabaseSchema) -> String {
    let tables = schema.tables.iter().map(|table| (&table.name, &table.sql));
    let others = schema.others.iter().map(|item| (&item.name, &item.sql));
    let mut statements: Vec<_> = tables.chain(others).collect();
    statements.sort();
    let mut bytes = Vec::new();
    for (name, sql) in statements {
        encode_bytes(0, name.as_bytes(), &mut bytes);
        encode_bytes(1, sql.as_bytes(), &mut bytes);
    }
    format!("{:032x}", short_hash(&bytes))
}

fn short_hash(bytes: &[u8]) -> u128 {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(short)
}

//! Reads SQLite databases consistently under concurrent writers, fingerprints them, builds masked
//! ones from rows and puts them back.
//!
//! This crate must never know what a repository, a policy or a masking rule is, and never put a cell
//! value into an error.

mod catalog;
mod check;
mod copy;
mod ddl;
mod error;
mod fingerprint;
mod install;
mod open;
mod publish;
mod rebuild;
mod rows;
mod schema;
mod stamp;

pub use check::{assertion, check_integrity, newest_commit};
pub use copy::{CopyOptions, SqliteCopy};
pub use ddl::strip_comments;
pub use error::SqliteError;
pub use fingerprint::{DatabaseFingerprint, Difference, TableFingerprint, compare, fingerprint};
pub use install::install;
pub use publish::{Published, may_replace, publish};
pub use rebuild::{Rebuild, RebuildReport};
pub use rows::{RowRange, RowReader};
pub use rusqlite::types::{ToSqlOutput, Value, ValueRef};
pub use schema::{
    ColumnInfo, DatabaseSchema, DatabaseSettings, SchemaItem, SchemaItemKind, TableInfo, TableKind,
    VirtualContent, parse_schema, read_schema, read_schema_of_sql,
};

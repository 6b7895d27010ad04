//! What the masking engine must know of a PostgreSQL database.

use lifeboat_masking::{ColumnSchema, ColumnType, Schema, TableSchema};
use lifeboat_source_postgres::logical::{BaseType, Catalog, CopyColumn, CopyTable};

/// Describes the tables that hold rows.
pub(crate) fn describe(catalog: &Catalog) -> Schema {
    let describe_one = |table: &CopyTable| TableSchema {
        name: table.name.to_string(),
        columns: table.columns.iter().map(column).collect(),
        rows: Some(table.rows_estimate),
    };
    Schema {
        tables: catalog.tables.iter().map(describe_one).collect(),
    }
}

fn column(column: &CopyColumn) -> ColumnSchema {
    let references = column.references.as_ref();
    ColumnSchema {
        not_null: column.not_null,
        unique: column.unique,
        primary_key: column.primary_key,
        references: references.map(|(table, column)| (table.to_string(), column.clone())),
        generated: column.generated,
        max_chars: column.max_chars.and_then(|chars| chars.try_into().ok()),
        declared: column.declared.clone(),
        key_part: column.key_part,
        identity: column.identity,
        labels: column.labels.clone(),
        checks: column.checks.clone(),
        ..ColumnSchema::new(&column.name, column_type(column.base))
    }
}

/// Returns what masks must make for a type. A server takes most types as text, and says so if the
/// text is none of the type's.
fn column_type(base: BaseType) -> ColumnType {
    match base {
        BaseType::Integer => ColumnType::Integer,
        BaseType::Real => ColumnType::Real,
        BaseType::Bytes => ColumnType::Blob,
        BaseType::Text
        | BaseType::Date
        | BaseType::Timestamp
        | BaseType::Uuid
        | BaseType::Network
        | BaseType::Json => ColumnType::Text,
        BaseType::Numeric
        | BaseType::Bool
        | BaseType::Enum
        | BaseType::Array
        | BaseType::Composite
        | BaseType::Range
        | BaseType::Other => ColumnType::Any,
    }
}

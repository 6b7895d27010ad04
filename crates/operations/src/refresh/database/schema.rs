//! What the masking engine must know of a PostgreSQL database.

use lifeboat_masking::{ColumnSchema, ColumnType, Schema, TableSchema, ValueForm};
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
        form: form(column),
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

/// Returns how a column's values are written, so that what masks make is known to fit.
fn form(column: &CopyColumn) -> ValueForm {
    match column.base {
        BaseType::Composite => ValueForm::Composite,
        BaseType::Range => ValueForm::Range,
        BaseType::Array => {
            let items = column.value_type.strip_suffix("[]").unwrap_or_default();
            ValueForm::Array(Box::new(form_of_type(items)))
        }
        _ => form_of_type(&column.value_type),
    }
}

/// Types that are not here take any text, or are left to the server.
fn form_of_type(name: &str) -> ValueForm {
    match name {
        "int2" => ValueForm::Integer(16),
        "int4" => ValueForm::Integer(32),
        "int8" => ValueForm::Integer(64),
        "float4" | "float8" | "numeric" => ValueForm::Decimal,
        "bool" => ValueForm::Boolean,
        "date" => ValueForm::Date,
        "time" | "timetz" => ValueForm::Time,
        "timestamp" | "timestamptz" => ValueForm::Timestamp,
        "interval" => ValueForm::Interval,
        "uuid" => ValueForm::Uuid,
        "inet" | "cidr" => ValueForm::Address,
        "macaddr" | "macaddr8" => ValueForm::Mac,
        "json" | "jsonb" => ValueForm::Json,
        "point" => ValueForm::Point,
        "hstore" => ValueForm::Hstore,
        _ => ValueForm::Free,
    }
}

/// Returns what kind of cell masks must make for a type. A server takes most types as text.
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

//! What the caller knows about the tables to mask. Owns plain data; never asks a database.

use crate::form::ValueForm;

/// The tables of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// The tables, in any order.
    pub tables: Vec<TableSchema>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    /// The name as rules write it: `customers` or `public.customers`.
    pub name: String,
    /// The columns in table order.
    pub columns: Vec<ColumnSchema>,
    /// How many rows there are, if somebody counted; decides collision bounds.
    pub rows: Option<u64>,
}

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Whole numbers.
    Integer,
    /// Floating point numbers.
    Real,
    /// Text.
    Text,
    /// Bytes.
    Blob,
    /// Anything: the source does not say, or does not enforce it.
    Any,
}

impl ColumnType {
    /// Returns what people call this type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
            Self::Any => "any",
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSchema {
    /// The column's name.
    pub name: String,
    /// What it may hold.
    pub ty: ColumnType,
    /// How its values are written, if the source enforces that.
    pub form: ValueForm,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether a unique index covers this column alone.
    pub unique: bool,
    /// Whether this column alone is the primary key.
    pub primary_key: bool,
    /// The table and column a foreign key points at.
    pub references: Option<(String, String)>,
    /// Whether the database computes it; such columns are skipped.
    pub generated: bool,
    /// The longest value the column takes, in bytes.
    pub max_len: Option<usize>,
    /// The longest value the column takes, in characters.
    pub max_chars: Option<usize>,
    /// The type as the source writes it, such as `varchar(80)`; empty if it is not known.
    pub declared: String,
    /// Whether it is one of several columns that only together identify a row.
    pub key_part: bool,
    /// Whether the database numbers it by itself (`GENERATED .. AS IDENTITY`); it is stored all the same.
    pub identity: bool,
    /// The labels of an enumeration type; empty if it is none.
    pub labels: Vec<String>,
    /// The CHECK expressions that speak of this column, as the source writes them.
    pub checks: Vec<String>,
}

impl ColumnSchema {
    /// Makes a nullable column without constraints, to be refined by the caller.
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self {
            name: name.into(),
            ty,
            form: ValueForm::Free,
            not_null: false,
            unique: false,
            primary_key: false,
            references: None,
            generated: false,
            max_len: None,
            max_chars: None,
            declared: String::new(),
            key_part: false,
            identity: false,
            labels: Vec::new(),
            checks: Vec::new(),
        }
    }
}

impl Schema {
    /// Returns the table called `name`.
    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Returns the fingerprint of names, types and constraints, as hex.
    ///
    /// Two copies of one source that differ in it have drifted apart. Row counts do not enter.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut tables: Vec<_> = self.tables.iter().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        for table in tables {
            // Debug text of plain data is a stable, unambiguous form within one version.
            hasher.update(format!("{:?}{:?}", table.name, table.columns).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl TableSchema {
    /// Returns the column called `name` with its position.
    pub fn column(&self, name: &str) -> Option<(usize, &ColumnSchema)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == name)
    }
}

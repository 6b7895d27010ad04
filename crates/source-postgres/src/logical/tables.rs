//! Tables that hold rows, and their columns.

use serde::{Deserialize, Serialize};

use super::names::{RelationName, quoted};

/// What kind of values a column holds, domains looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaseType {
    /// Whole numbers.
    Integer,
    /// Floating point numbers.
    Real,
    /// Decimal numbers.
    Numeric,
    /// Text of any length.
    Text,
    /// `bytea`.
    Bytes,
    /// `boolean`.
    Bool,
    /// A day.
    Date,
    /// A moment, with or without a zone.
    Timestamp,
    /// `json` and `jsonb`.
    Json,
    /// `uuid`.
    Uuid,
    /// Addresses of hosts and networks.
    Network,
    /// An array of anything.
    Array,
    /// A row type.
    Composite,
    /// An enumeration.
    Enum,
    /// A range or several.
    Range,
    /// Anything else.
    Other,
}

/// A table as people know it: partitions are part of their root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyTable {
    /// Its number.
    pub oid: u32,
    /// Its name.
    pub name: RelationName,
    /// Its columns, in order.
    pub columns: Vec<CopyColumn>,
    /// Where its rows are: the table itself, or its partitions.
    pub leaves: Vec<CopyLeaf>,
    /// How many rows the server thinks it has.
    pub rows_estimate: u64,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyLeaf {
    /// Its name.
    pub name: RelationName,
    /// Its length, pages.
    pub pages: u64,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyColumn {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub declared: String,
    /// What kind of values that is.
    pub base: BaseType,
    /// The built-in type of its values as the catalog calls it, domains looked through: `int4`, or
    /// `inet[]` for an array. Empty if the type is somebody's own.
    #[serde(default)]
    pub value_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether the server computes it: it is not copied.
    pub generated: bool,
    /// Whether the server numbers it.
    pub identity: bool,
    /// Whether it alone is unique.
    pub unique: bool,
    /// Whether it alone is the primary key.
    pub primary_key: bool,
    /// Whether it is one of several columns of a key.
    pub key_part: bool,
    /// What a foreign key of this column alone points at.
    pub references: Option<(RelationName, String)>,
    /// The longest value, characters.
    pub max_chars: Option<u32>,
    /// The labels of an enumeration.
    pub labels: Vec<String>,
    /// The CHECK expressions that speak of it, its domain's included.
    pub checks: Vec<String>,
    /// The sequence that numbers it.
    pub sequence: Option<RelationName>,
}

impl CopyColumn {
    /// Returns the name as SQL takes it.
    pub fn quoted(&self) -> String {
        quoted(&self.name)
    }
}

impl CopyTable {
    /// Returns the columns that are copied, as SQL lists them.
    pub(crate) fn column_list(&self) -> String {
        let columns = self.columns.iter().filter(|column| !column.generated);
        columns
            .map(CopyColumn::quoted)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns how many columns are copied.
    pub fn copied_columns(&self) -> usize {
        self.columns
            .iter()
            .filter(|column| !column.generated)
            .count()
    }
}

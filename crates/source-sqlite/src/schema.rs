//! What a database consists of: tables, columns, keys, and how its file is set up.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::SqliteError;
use crate::open::open_private;
use crate::{catalog, ddl};

/// What kind of table it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// Holds its rows itself.
    Ordinary,
    /// Made by a module such as FTS5 or R-Tree.
    Virtual(VirtualContent),
    /// Belongs to a virtual table, which fills it: never read or written on its own.
    Shadow,
}

/// Where a virtual table's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VirtualContent {
    /// They are read from and inserted into the virtual table itself.
    Rows,
    /// A full-text index over another table; [`crate::Rebuild::finish`] indexes that one's rows.
    External {
        /// The table or view that holds the text.
        table: String,
    },
    /// A full-text index that keeps no text: its rows cannot be read back, a rebuild leaves it empty.
    Contentless,
    /// A view on other tables or on the database itself; it holds no rows.
    Derived,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The type as declared; empty if none is.
    pub declared_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Place in the primary key, from 1; 0 if it is no part of it.
    pub primary_key: u8,
    /// Whether no two rows may have the same value here, by this column alone.
    pub unique: bool,
    /// Whether it is one of several columns that together are a primary key or unique.
    pub key_part: bool,
    /// Computed from other columns: readable, never inserted.
    pub generated: bool,
    /// Hidden column of a virtual table: an argument or function, no content.
    pub hidden: bool,
    /// The `n` of a declared `VARCHAR(n)` and the like, characters. SQLite does not enforce it.
    pub max_len: Option<u64>,
    /// Table and column that this one refers to by a foreign key, alone or as a part of one.
    pub references: Option<(String, String)>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// The statement that made it, comments included.
    pub sql: String,
    /// Whether it is stored by its primary key.
    pub without_rowid: bool,
    /// Whether types are enforced.
    pub strict: bool,
    /// What kind it is.
    pub kind: TableKind,
    /// Its columns, in order.
    pub columns: Vec<ColumnInfo>,
    /// The name by which a row's number is read and written, if the table numbers its rows and no
    /// column is that number. Full-text indexes over other tables refer to rows by it.
    pub rowid: Option<String>,
    /// The `INTEGER PRIMARY KEY` column, which is the row's number.
    pub rowid_column: Option<String>,
}

impl TableInfo {
    /// Reports whether rows are read from this table and inserted into a new one.
    pub fn holds_rows(&self) -> bool {
        matches!(
            self.kind,
            TableKind::Ordinary | TableKind::Virtual(VirtualContent::Rows)
        )
    }

    /// Returns the columns that hold content: those to read and to insert.
    pub fn stored_columns(&self) -> impl Iterator<Item = &ColumnInfo> {
        self.columns
            .iter()
            .filter(|column| !column.generated && !column.hidden)
    }

    /// Returns the CHECK expressions that speak of a column, as they stand in the statement.
    pub fn checks_of(&self, column: &str) -> Vec<String> {
        let speaks = |check: &String| ddl::names_column(check, column);
        ddl::checks(&self.sql).into_iter().filter(speaks).collect()
    }

    /// Returns the name that rows are ordered and divided by.
    pub(crate) fn row_number(&self) -> Option<&str> {
        self.rowid_column.as_deref().or(self.rowid.as_deref())
    }
}

/// What a schema item is, tables apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaItemKind {
    /// An index with a statement of its own.
    Index,
    /// A view.
    View,
    /// A trigger.
    Trigger,
}

/// An index, view or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaItem {
    /// What it is.
    pub kind: SchemaItemKind,
    /// Its name.
    pub name: String,
    /// The table it belongs to; a view's own name.
    pub table: String,
    /// The statement that made it, comments included.
    pub sql: String,
}

/// Settings that are part of a database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Size of a page, bytes.
    pub page_size: u32,
    /// `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    /// Free for the application's use, often its schema version.
    pub user_version: i32,
    /// Says which application's file it is.
    pub application_id: i32,
    /// 0 none, 1 full, 2 incremental.
    pub auto_vacuum: u8,
    /// Whether the file asks for WAL mode.
    pub wal: bool,
    /// Whether statistics for the query planner had been gathered.
    pub analyzed: bool,
}

/// Everything about a database but its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSchema {
    /// Settings of the file.
    pub settings: DatabaseSettings,
    /// Tables in the order they were made; SQLite's own are left out.
    pub tables: Vec<TableInfo>,
    /// Indexes, views and triggers in the order they were made.
    pub others: Vec<SchemaItem>,
    /// The highest number given so far in each `AUTOINCREMENT` table.
    pub sequences: Vec<(String, i64)>,
}

impl DatabaseSchema {
    /// Returns the table of that name.
    pub fn table(&self, name: &str) -> Option<&TableInfo> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Reads the schema of a database that nobody writes to.
///
/// # Errors
/// Fails if the file is missing or no SQLite database, or if it uses a module that is not built in.
pub fn read_schema(database: &Path) -> Result<DatabaseSchema, SqliteError> {
    let connection = open_private(database)?;
    catalog::schema_of(&connection)
        .map_err(|error| SqliteError::sqlite("read the schema of", database, error))
}

/// Reads the schema that the SQL statements in a file make, `CREATE TABLE` and the like. Rows that they
/// insert are forgotten with the private database in which they run.
///
/// # Errors
/// Fails if the file cannot be read, or if SQLite refuses a statement.
pub fn read_schema_of_sql(file: &Path) -> Result<DatabaseSchema, SqliteError> {
    let sql =
        std::fs::read_to_string(file).map_err(|error| SqliteError::io("read", file, error))?;
    parse_schema(&sql, file)
}

/// Reads the schema that SQL statements make, which the user knows as `file`.
///
/// # Errors
/// Fails if SQLite refuses a statement.
pub fn parse_schema(sql: &str, file: &Path) -> Result<DatabaseSchema, SqliteError> {
    let run = || {
        let connection = Connection::open_in_memory()?;
        // Old schemas write texts in double quotes.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, true)?;
        connection.execute_batch(sql)?;
        catalog::schema_of(&connection)
    };
    run().map_err(|error| SqliteError::sqlite("read the schema in", file, error))
}

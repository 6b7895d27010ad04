//! Builds a new database from a schema and rows.
//!
//! Must never copy a page: what was deleted or masked in the original must not exist in the new file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ToSql};

use crate::check::problems_of;
use crate::ddl::{quote, strip_comments};
use crate::error::SqliteError;
use crate::install::refuse_companions;
use crate::schema::{DatabaseSchema, DatabaseSettings, SchemaItemKind, TableKind, VirtualContent};
use crate::stamp::{sync_file, sync_folder_of};

/// What a rebuild found in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Rows inserted.
    pub rows: u64,
    /// What SQLite's integrity and foreign key checks object to; empty means that it is sound.
    pub problems: Vec<String>,
    /// Full-text indexes that keep no text and so start out empty.
    pub emptied: Vec<String>,
}

/// A database under construction: tables first, then rows, then everything that depends on rows.
///
/// A rebuild that is dropped unfinished removes its file.
#[derive(Debug)]
pub struct Rebuild {
    connection: Option<Connection>,
    path: PathBuf,
    schema: DatabaseSchema,
    loading: Option<Loading>,
    rows: u64,
}

/// The table being filled, in a transaction of its own.
#[derive(Debug)]
struct Loading {
    table: String,
    columns: Vec<String>,
    sql: String,
}

impl Rebuild {
    /// Makes the file `new_path`, which must not exist, with the settings and tables of `schema`.
    /// Comments are left out of every statement.
    ///
    /// # Errors
    /// Fails if `new_path` or one of its companion files exists, or if SQLite refuses a statement.
    pub fn create(new_path: &Path, schema: &DatabaseSchema) -> Result<Rebuild, SqliteError> {
        refuse_companions(new_path)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(new_path)
            .map_err(|error| SqliteError::io("create", new_path, error))?;
        let mut rebuild = Rebuild {
            connection: None,
            path: new_path.to_owned(),
            schema: schema.clone(),
            loading: None,
            rows: 0,
        };
        let connection = configure(new_path, &schema.settings)
            .map_err(|error| SqliteError::sqlite("create", new_path, error))?;
        rebuild.connection = Some(connection);
        let is_virtual = |kind: &TableKind| matches!(kind, TableKind::Virtual(_));
        let ordinary = schema
            .tables
            .iter()
            .filter(|t| t.kind == TableKind::Ordinary);
        let modules = schema.tables.iter().filter(|table| is_virtual(&table.kind));
        for table in ordinary.chain(modules) {
            rebuild.execute("create table", &table.name, &strip_comments(&table.sql))?;
        }
        Ok(rebuild)
    }

    /// Inserts one row. Rows of one table should come together: each change of table or columns ends
    /// a transaction. `columns` may name [`crate::TableInfo::rowid`] besides columns.
    ///
    /// # Errors
    /// Fails if SQLite refuses the row, for example because a value that must be unique is not. Drop
    /// the rebuild then: nothing can be rolled back, since no journal ever holds a row.
    pub fn insert<V: ToSql>(
        &mut self,
        table: &str,
        columns: &[&str],
        values: &[V],
    ) -> Result<(), SqliteError> {
        let current = |loading: &Loading| loading.table == table && loading.columns == columns;
        if !self.loading.as_ref().is_some_and(current) {
            self.start_loading(table, columns)?;
        }
        let loading = self.loading.as_ref().expect("loading has been started");
        let inserted = self
            .connection()
            .prepare_cached(&loading.sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(values)));
        inserted.map_err(|error| self.failed("insert into table", table, error))?;
        self.rows += 1;
        Ok(())
    }

    /// Makes indexes and views, fills full-text indexes from their tables, makes triggers (which thus
    /// never fire while loading), sets sequences, gathers statistics if the original had some, checks
    /// the result and makes it durable.
    ///
    /// # Errors
    /// Fails if SQLite refuses a statement. Problems that its checks find are in the report.
    pub fn finish(mut self) -> Result<RebuildReport, SqliteError> {
        self.end_loading()?;
        self.create_items(SchemaItemKind::Index, "create index")?;
        self.create_items(SchemaItemKind::View, "create view")?;
        let emptied = self.fill_indexes()?;
        self.create_items(SchemaItemKind::Trigger, "create trigger")?;
        self.set_sequences()?;
        if self.schema.settings.analyzed {
            self.execute("analyze", "main", "ANALYZE")?;
        }
        let problems = problems_of(self.connection())
            .map_err(|error| SqliteError::sqlite("check", &self.path, error))?;
        self.close()?;
        Ok(RebuildReport {
            rows: self.rows,
            problems,
            emptied,
        })
    }

    fn start_loading(&mut self, table: &str, columns: &[&str]) -> Result<(), SqliteError> {
        self.end_loading()?;
        self.execute("fill table", table, "BEGIN")?;
        let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let places = vec!["?"; columns.len()];
        self.loading = Some(Loading {
            table: table.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            sql: format!(
                "INSERT INTO {} ({}) VALUES ({})",
                quote(table),
                names.join(", "),
                places.join(", ")
            ),
        });
        Ok(())
    }

    fn end_loading(&mut self) -> Result<(), SqliteError> {
        match self.loading.take() {
            Some(loading) => self.execute("fill table", &loading.table, "COMMIT"),
            None => Ok(()),
        }
    }

    fn create_items(&self, kind: SchemaItemKind, op: &str) -> Result<(), SqliteError> {
        let items = self.schema.others.iter().filter(|item| item.kind == kind);
        for item in items {
            self.execute(op, &item.name, &strip_comments(&item.sql))?;
        }
        Ok(())
    }

    /// Indexes the text of other tables; returns the indexes whose text is nowhere.
    fn fill_indexes(&self) -> Result<Vec<String>, SqliteError> {
        let mut emptied = Vec::new();
        for table in &self.schema.tables {
            match &table.kind {
                TableKind::Virtual(VirtualContent::External { .. }) => {
                    let name = quote(&table.name);
                    let sql = format!("INSERT INTO {name}({name}) VALUES ('rebuild')");
                    self.execute("fill index", &table.name, &sql)?;
                }
                TableKind::Virtual(VirtualContent::Contentless) => emptied.push(table.name.clone()),
                _ => {}
            }
        }
        Ok(emptied)
    }

    /// A number that was given once is never given again, also not by the rebuilt table.
    fn set_sequences(&self) -> Result<(), SqliteError> {
        for (table, number) in &self.schema.sequences {
            let failed = |error| self.failed("set the sequence of table", table, error);
            let connection = self.connection();
            let update = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            let insert = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
            if connection
                .execute(update, (table, number))
                .map_err(failed)?
                == 0
            {
                connection
                    .execute(insert, (table, number))
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), SqliteError> {
        let failed = |error| SqliteError::sqlite("close", &self.path, error);
        let connection = self.connection.take().expect("closed only here");
        if self.schema.settings.wal {
            connection
                .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
                .map_err(failed)?;
        }
        connection.close().map_err(|(_, error)| failed(error))?;
        sync_file(&self.path)?;
        sync_folder_of(&self.path)
    }

    fn execute(&self, op: &str, item: &str, sql: &str) -> Result<(), SqliteError> {
        self.connection()
            .execute_batch(sql)
            .map_err(|error| self.failed(op, item, error))
    }

    fn failed(&self, op: &str, item: &str, error: rusqlite::Error) -> SqliteError {
        SqliteError::item(format!("{op} `{item}` in"), &self.path, error)
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("open until closed")
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            // Nobody knows of the file yet, and a failure to remove it has nobody to be told to.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn configure(path: &Path, settings: &DatabaseSettings) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Rows may arrive in any order of their keys: room for the inner pages of large tables, in KiB.
    connection.pragma_update(None, "cache_size", -65_536)?;
    // Old schemas write texts in double quotes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, true)?;
    // What shapes the file comes before the first table.
    connection.pragma_update(None, "page_size", settings.page_size)?;
    connection.pragma_update(None, "encoding", &settings.encoding)?;
    connection.pragma_update(None, "auto_vacuum", settings.auto_vacuum)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "application_id", settings.application_id)?;
    connection.pragma_update(None, "user_version", settings.user_version)?;
    Ok(connection)
}

//! One moment of a database, and sessions that read it.

use futures::StreamExt as _;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::catalog::{Catalog, table_list};
use super::names::literal;
use super::subset::{Cut, Subset};
use super::tables::CopyTable;
use crate::backup::get;
use crate::connect::SqlSession;
use crate::conninfo::Conninfo;
use crate::error::{PostgresError, ServerAnswer};

/// Settings under which every session reads and writes the same text for the same value.
pub(super) const SESSION: &str = "
    SET search_path = ''; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex';
    SET extra_float_digits = 3; SET xmloption = 'content'; SET row_security = off;
    SET synchronize_seqscans = off; SET standard_conforming_strings = on;
    SET default_transaction_read_only = off; SET client_min_messages = warning";

/// Lifts the limits on sessions that wait long, as far as the version has them.
pub(super) const NO_TIMEOUTS: &str = "
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
     WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                    'idle_session_timeout', 'transaction_timeout')";

/// How long a table may be locked by others before nobody waits any more.
const LOCK_TIMEOUT: &str = "60s";
/// How often the tables are locked anew because some came or went meanwhile.
const LOCK_ATTEMPTS: u32 = 10;
/// Length of a page in the largest sound range, so that no multiplication overflows.
const PAGE_BYTES: u64 = 8192;
/// From here on a scan can be told to read a range of pages.
const RANGES_SINCE: u32 = 140_000;

/// A view of one database that many sessions share. The moment lasts as long as this lives.
pub struct LogicalSource {
    session: SqlSession,
    conninfo: Conninfo,
    snapshot: String,
    catalog: Catalog,
    version: u32,
    cut: Cut,
}

/// A stretch of a table: pages of one of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRange {
    /// Position of the table in the catalog.
    pub table: usize,
    /// Position of the file among the table's leaves.
    pub leaf: usize,
    /// Its number within the table.
    pub range: u32,
    /// About how long it is, bytes.
    pub bytes_estimate: u64,
    /// The first page, and the one after the last. The last range of a file has no end: the file may
    /// have grown since it was measured.
    pages: Option<(u64, Option<u64>)>,
}

impl LogicalSource {
    /// Connects, fixes the moment, and reads the catalog.
    ///
    /// # Errors
    /// Fails if the server cannot be reached, somebody holds a table locked, or the role may not read
    /// every table.
    pub async fn open(conninfo: &Conninfo) -> Result<Self, PostgresError> {
        Self::open_cut(conninfo, Cut::default()).await
    }

    /// Opens only a part of a database that is nobody else's: what stays is worked out in it.
    ///
    /// # Errors
    /// Fails as [`LogicalSource::open`] does, or if the part names what is not there.
    pub async fn open_part(conninfo: &Conninfo, part: &Subset) -> Result<Self, PostgresError> {
        Self::open_cut(conninfo, part.cut(conninfo).await?).await
    }

    async fn open_cut(conninfo: &Conninfo, cut: Cut) -> Result<Self, PostgresError> {
        let session = connect(conninfo).await?;
        lock_tables(&session).await?;
        let fail = PostgresError::server("fix a moment of the database");
        let sql = "SELECT pg_catalog.pg_export_snapshot(),
                          pg_catalog.current_setting('server_version_num')::int4";
        let row = session.query_one(sql, &[]).await.map_err(&fail)?;
        let (snapshot, version) = (get(&row, 0)?, get::<i32>(&row, 1)?.unsigned_abs());
        Ok(Self {
            catalog: Catalog::read(&session, version).await?,
            conninfo: conninfo.clone(),
            session,
            snapshot,
            version,
            cut,
        })
    }

    /// Returns what the database consists of.
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns `server_version_num`.
    pub const fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn snapshot(&self) -> &str {
        &self.snapshot
    }

    pub(super) const fn conninfo(&self) -> &Conninfo {
        &self.conninfo
    }

    /// Opens another session on the same moment.
    ///
    /// # Errors
    /// Fails if the server does not accept it, or the moment is over.
    pub async fn reader(&self) -> Result<CopyReader, PostgresError> {
        if self.session.is_closed() {
            return Err(PostgresError::TimedOut {
                waited: "with the session that held the moment",
                limit: std::time::Duration::ZERO,
            });
        }
        let session = connect(&self.conninfo).await?;
        // Whoever wants a table for itself waits for the moment to end, and we must not wait for them.
        let limit = format!("SET lock_timeout = '{LOCK_TIMEOUT}'");
        let limited = session.batch_execute(&limit).await;
        limited.map_err(PostgresError::server("prepare a session"))?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            literal(&self.snapshot)
        );
        let begun = session.batch_execute(&begin).await;
        begun.map_err(PostgresError::server("join the moment of the database"))?;
        let cut = self.cut.clone();
        Ok(CopyReader { session, cut })
    }

    /// Splits the tables into stretches of about `bytes`, the largest tables first.
    pub fn ranges(&self, bytes: u64) -> Vec<CopyRange> {
        let step = (bytes / PAGE_BYTES).max(1);
        let mut tables: Vec<_> = self.catalog.tables.iter().enumerate().collect();
        let pages = |table: &CopyTable| table.leaves.iter().map(|leaf| leaf.pages).sum::<u64>();
        tables.sort_by_key(|(_, table)| std::cmp::Reverse(pages(table)));
        let tables = tables.into_iter();
        tables
            .flat_map(|(at, table)| self.ranges_of(at, table, step))
            .collect()
    }

    fn ranges_of(&self, at: usize, table: &CopyTable, step: u64) -> Vec<CopyRange> {
        let mut ranges = Vec::new();
        for (leaf, file) in table.leaves.iter().enumerate() {
            let mut push = |pages, length: u64| {
                ranges.push(CopyRange {
                    table: at,
                    leaf,
                    range: 0,
                    bytes_estimate: length * PAGE_BYTES,
                    pages,
                });
            };
            if self.version < RANGES_SINCE || file.pages <= step {
                push(None, file.pages);
                continue;
            }
            let mut start = 0;
            while start + step < file.pages {
                push(Some((start, Some(start + step))), step);
                start += step;
            }
            push(Some((start, None)), file.pages - start);
        }
        for (number, range) in (0..).zip(&mut ranges) {
            range.range = number;
        }
        ranges
    }
}

/// A session that reads rows.
#[derive(Debug)]
pub struct CopyReader {
    session: SqlSession,
    cut: Cut,
}

impl CopyReader {
    /// Reads a stretch as COPY text, and hands it over in pieces, cut anywhere, until `take` says
    /// stop.
    ///
    /// # Errors
    /// Fails if the server does not let the rows be read, or the connection breaks.
    pub async fn copy_out(
        &self,
        table: &CopyTable,
        range: &CopyRange,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<(), PostgresError> {
        let part = self.cut.condition(&table.name);
        let sql = format!("COPY ({}) TO STDOUT", select(table, range, part));
        self.copy(&sql, table, take).await
    }

    async fn copy(
        &self,
        sql: &str,
        table: &CopyTable,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::Relation {
            op: "read the rows of",
            name: table.name.to_string(),
            answer: ServerAnswer::without_message(&error),
        };
        let rows = self.session.copy_out(sql).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(chunk) = rows.next().await {
            if !take(&chunk.map_err(failed)?) {
                break;
            }
        }
        Ok(())
    }

    /// Reads at most `rows` rows of a table as COPY text.
    ///
    /// # Errors
    /// Fails as [`CopyReader::copy_out`] does.
    pub async fn sample(
        &self,
        table: &CopyTable,
        rows: usize,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<(), PostgresError> {
        let (columns, name) = (table.column_list(), table.name.quoted());
        let sql = format!("COPY (SELECT {columns} FROM {name} LIMIT {rows}) TO STDOUT");
        self.copy(&sql, table, take).await
    }

    /// Counts the rows of a table.
    ///
    /// # Errors
    /// Fails as [`CopyReader::copy_out`] does.
    pub async fn count(&self, table: &CopyTable) -> Result<u64, PostgresError> {
        let mut rows = 0;
        for leaf in &table.leaves {
            let part = self.cut.condition(&table.name);
            let part = part.unwrap_or_else(|| "true".to_owned());
            let leaf = leaf.name.quoted();
            let sql = format!("SELECT count(*) FROM ONLY {leaf} t WHERE {part}");
            let row = self.session.query_one(&sql, &[]).await;
            let row = row.map_err(PostgresError::server("count the rows of a table"))?;
            rows += get::<i64>(&row, 0)?.unsigned_abs();
        }
        Ok(rows)
    }
}

fn select(table: &CopyTable, range: &CopyRange, part: Option<String>) -> String {
    let leaf = table.leaves[range.leaf].name.quoted();
    let columns = table.column_list();
    let tid = |page: u64| format!("'({page},0)'::pg_catalog.tid");
    let mut conditions = Vec::new();
    if let Some((start, end)) = range.pages {
        conditions.push(format!("ctid >= {}", tid(start)));
        conditions.extend(end.map(|end| format!("ctid < {}", tid(end))));
    }
    conditions.extend(part);
    let within = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    format!("SELECT {columns} FROM ONLY {leaf} t{within}")
}

/// Opens a session in which every value has one text.
pub(super) async fn connect(conninfo: &Conninfo) -> Result<SqlSession, PostgresError> {
    let session = SqlSession::connect(conninfo).await;
    let session = session.map_err(|source| PostgresError::Connect { source })?;
    let set = session
        .batch_execute(&format!("{SESSION}; {NO_TIMEOUTS}"))
        .await;
    set.map_err(PostgresError::server("prepare a session"))?;
    Ok(session)
}

/// Begins a transaction, and locks every table in it against being changed or dropped; rows may change
/// as they like.
///
/// The moment is fixed by the first query of the transaction, and locking is none. So a table that is
/// rewritten or emptied before it is locked, which no snapshot shows as it was, is seen as it is then.
async fn lock_tables(client: &Client) -> Result<(), PostgresError> {
    let fail = PostgresError::server("lock the tables against changes");
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
    );
    let mut last = None;
    for _ in 0..LOCK_ATTEMPTS {
        let listed = list_tables(client).await?;
        client.batch_execute(&begin).await.map_err(&fail)?;
        match lock(client, &listed).await {
            Ok(()) if list_tables(client).await? == listed => return Ok(()),
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => last = Some(error),
            Err(error) => return Err(fail(error)),
        }
        client.batch_execute("ROLLBACK").await.map_err(&fail)?;
    }
    Err(match last {
        Some(error) => fail(error),
        None => PostgresError::TablesComeAndGo,
    })
}

async fn list_tables(client: &Client) -> Result<Vec<String>, PostgresError> {
    let rows = client.query(&table_list(), &[]).await;
    let rows = rows.map_err(PostgresError::server("list the tables"))?;
    let names = rows.iter().map(|row| super::catalog::name_at(row, 1));
    names.map(|name| Ok(name?.quoted())).collect()
}

async fn lock(client: &Client, tables: &[String]) -> Result<(), tokio_postgres::Error> {
    for some in tables.chunks(500) {
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", some.join(", "));
        client.batch_execute(&sql).await?;
    }
    Ok(())
}

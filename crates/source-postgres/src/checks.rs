//! Questions about a restored cluster: are its tables and indexes sound, does it hold what it must?
//!
//! Answers name relations and count problems; a value never leaves the server.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::backup::{get, quoted_identifier};
use crate::error::{PostgresError, ServerAnswer};
use crate::scratch_cluster::ScratchCluster;

/// What PostgreSQL's `amcheck` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmcheckOutcome {
    /// It ran.
    Checked(AmcheckReport),
    /// It could not run: nothing is proven.
    NotRun {
        /// Why, as a sentence without a full stop.
        why: String,
    },
}

/// What PostgreSQL's `amcheck` looked at, over all databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AmcheckReport {
    /// Tables, materialized views and TOAST tables that were looked at.
    pub tables: u64,
    /// B-tree indexes that were looked at, each against its table.
    pub indexes: u64,
    /// Relations with problems.
    pub damaged: Vec<RelationProblems>,
    /// Relations that could not be looked at.
    pub unchecked: Vec<RelationProblems>,
}

/// A relation with problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationProblems {
    /// Its database.
    pub database: String,
    /// Its name with its schema.
    pub relation: String,
    /// How many problems were found.
    pub problems: u64,
}

/// The relations of a database that `amcheck` can look at. Temporary ones are other sessions'.
const RELATIONS: &str = "
    SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
           a.amname = 'btree'
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_am a ON a.oid = c.relam
      LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
     WHERE c.relpersistence <> 't'
       AND (a.amname = 'heap' AND c.relkind IN ('r', 'm', 't')
            OR a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND i.indisready)
     ORDER BY c.oid";

const EXTENSION: &str = "
    SELECT n.nspname::text FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'";

/// Looks at every table and B-tree index of every database. Tables only from PostgreSQL 14 on.
///
/// The server must be open for writing unless the databases have the extension already.
///
/// # Errors
/// Fails if the server stops answering.
pub async fn amcheck(scratch: &ScratchCluster) -> Result<AmcheckOutcome, PostgresError> {
    let client = scratch.connect_to_any().await?;
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn ORDER BY oid";
    let databases = client.query(sql, &[]).await;
    let databases = databases.map_err(PostgresError::server("list the databases"))?;
    let mut report = AmcheckReport::default();
    for row in databases {
        let database: String = get(&row, 0)?;
        let client = scratch.connect(&database).await?;
        let Some(schema) = extension_schema(&client).await? else {
            let why = format!("the extension `amcheck` cannot be made in database `{database}`");
            return Ok(AmcheckOutcome::NotRun { why });
        };
        check_database(&client, &database, &schema, &mut report).await?;
    }
    Ok(AmcheckOutcome::Checked(report))
}

/// Makes the extension if it is missing, and returns where its functions are.
async fn extension_schema(client: &Client) -> Result<Option<String>, PostgresError> {
    // Fails where it is not installed, or the server is not open: the question below tells.
    let make = "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog";
    client.batch_execute(make).await.ok();
    let found = client.query_opt(EXTENSION, &[]).await;
    let found = found.map_err(PostgresError::server("look for the extension `amcheck`"))?;
    found.map(|row| get(&row, 0)).transpose()
}

async fn check_database(
    client: &Client,
    database: &str,
    schema: &str,
    report: &mut AmcheckReport,
) -> Result<(), PostgresError> {
    let schema = quoted_identifier(schema);
    let table = format!(
        "SELECT count(*) FROM {schema}.verify_heapam(
             relation => $1::oid::regclass, check_toast => true)"
    );
    let index = format!("SELECT 0::int8 FROM {schema}.bt_index_check($1::oid::regclass, true)");
    let has_tables = server_version(client).await? >= 140_000;
    let relations = client.query(RELATIONS, &[]).await;
    for row in relations.map_err(PostgresError::server("list the relations"))? {
        let (oid, relation, is_index): (u32, String, bool) =
            (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
        if !is_index && !has_tables {
            continue;
        }
        let sql = if is_index { &index } else { &table };
        let problems = |problems| RelationProblems {
            database: database.to_owned(),
            relation: relation.clone(),
            problems,
        };
        match client.query_one(sql, &[&oid]).await {
            Ok(row) => match get::<i64>(&row, 0)?.unsigned_abs() {
                0 => {}
                count => report.damaged.push(problems(count)),
            },
            Err(error) if is_damage(&error) => report.damaged.push(problems(1)),
            Err(error) if error.code().is_some() => report.unchecked.push(problems(0)),
            Err(error) => return Err(PostgresError::server("check a relation")(error)),
        }
        *(if is_index {
            &mut report.indexes
        } else {
            &mut report.tables
        }) += 1;
    }
    Ok(())
}

async fn server_version(client: &Client) -> Result<i32, PostgresError> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::int4";
    let row = client.query_one(sql, &[]).await;
    get(
        &row.map_err(PostgresError::server("ask for the server's version"))?,
        0,
    )
}

/// Data or an index is damaged, as the server's class of internal errors says.
fn is_damage(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|state| state.code().starts_with("XX"))
}

/// Asks a yes-or-no question: whether the first value of the first row of `sql` is true, or a number
/// other than zero. No row is no.
///
/// # Errors
/// Fails if the query does, writes, takes longer than `limit`, or answers something else.
pub async fn assertion(client: &Client, sql: &str, limit: Duration) -> Result<bool, PostgresError> {
    let answer = first_value(client, sql, limit).await?;
    match answer.as_deref() {
        None | Some("f") => Ok(false),
        Some("t") => Ok(true),
        Some(number) => match number.parse::<f64>() {
            Ok(number) => Ok(number != 0.0),
            Err(_) => Err(PostgresError::BadQuery {
                why: "answers neither yes nor no".to_owned(),
                hint: "compare something, as in `SELECT count(*) > 0 FROM orders`",
            }),
        },
    }
}

/// Asks for the time of the newest commit: the first value of the first row of `sql`, a
/// `timestamptz` or unix seconds. No row and NULL mean that there is none.
///
/// # Errors
/// Fails if the query does, writes, takes longer than `limit`, or answers something else.
pub async fn newest_commit(
    client: &Client,
    sql: &str,
    limit: Duration,
) -> Result<Option<Timestamp>, PostgresError> {
    let Some(text) = first_value(client, sql, limit).await? else {
        return Ok(None);
    };
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.and_then(|secs| jiff::SignedDuration::try_from_secs_f64(secs).ok());
    let time = match seconds {
        Some(since) => Timestamp::from_duration(since).ok(),
        None => text.parse().ok(),
    };
    time.map(Some).ok_or_else(|| PostgresError::BadQuery {
        why: "answers no point in time".to_owned(),
        hint: "answer a `timestamptz`, as in `SELECT max(updated_at) FROM orders`",
    })
}

/// Returns the first value of a query as text, without fetching more than one row of it and without
/// letting it write.
async fn first_value(
    client: &Client,
    sql: &str,
    limit: Duration,
) -> Result<Option<String>, PostgresError> {
    let sql = sql.trim().trim_end_matches(';');
    let script = format!(
        "BEGIN READ ONLY;
         SET LOCAL DateStyle = 'ISO'; SET LOCAL TimeZone = 'UTC'; SET LOCAL statement_timeout = {};
         DECLARE lifeboat_check NO SCROLL CURSOR FOR {sql}
         ;
         FETCH 1 FROM lifeboat_check",
        limit.as_millis()
    );
    let answer = client.simple_query(&script).await;
    // Ends the transaction whether it failed or not; if it cannot, the next question fails.
    client.batch_execute("ROLLBACK").await.ok();
    // A message can quote a value that could not be converted, so only its class is told.
    let messages = answer.map_err(|error| PostgresError::Server {
        op: "run the query of a check",
        answer: ServerAnswer::without_message(&error),
    })?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(|row| row.get(0)).map(str::to_owned))
}

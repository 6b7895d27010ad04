//! Filling a new database.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::task::JoinSet;
use tokio_postgres::CopyInSink;

use super::catalog::Catalog;
use super::ddl::{Ddl, Section, Statement, StatementKind};
use super::names::RelationName;
use super::read::connect;
use super::tables::CopyTable;
use crate::checks;
use crate::connect::SqlSession;
use crate::conninfo::Conninfo;
use crate::error::{FILL, LOAD, MAKE, PostgresError, ServerAnswer};

/// Nobody reads the database before it is whole, so nothing has to be on the disk before that.
const LOADING: &str = "SET synchronous_commit = off; SET maintenance_work_mem = '256MB';
                       SET lock_timeout = 0";

/// A transaction that writes to the log: the commit of one that does not waits for nothing.
const COMMIT_WITH_LOG: &str =
    "SELECT pg_catalog.pg_logical_emit_message(true, 'lifeboat', 'the rows are loaded')";

/// A database that is being made.
pub struct TargetDatabase {
    pub(super) sessions: Vec<SqlSession>,
    conninfo: Conninfo,
}

impl TargetDatabase {
    /// Opens `jobs` sessions.
    ///
    /// # Errors
    /// Fails if the server does not accept them.
    pub async fn open(conninfo: &Conninfo, jobs: usize) -> Result<Self, PostgresError> {
        let mut sessions = Vec::with_capacity(jobs);
        for _ in 0..jobs.max(1) {
            sessions.push(loading_session(conninfo).await?);
        }
        Ok(Self {
            sessions,
            conninfo: conninfo.clone(),
        })
    }

    /// Makes types, functions, tables and views.
    ///
    /// # Errors
    /// Fails with the name of what could not be made.
    pub async fn run_pre_data(&self, ddl: &Ddl) -> Result<(), PostgresError> {
        for statement in ddl.section(Section::PreData) {
            run(&self.sessions[0], statement).await?;
        }
        // What the script set is over with it.
        set(&self.sessions[0], super::read::SESSION).await?;
        set(&self.sessions[0], LOADING).await
    }

    /// Opens a session that loads rows.
    ///
    /// # Errors
    /// Fails if the server does not accept it.
    pub async fn loader(&self) -> Result<CopyWriter, PostgresError> {
        let session = loading_session(&self.conninfo).await?;
        Ok(CopyWriter { session })
    }

    /// Brings the sessions back to how they load, whatever a script has set.
    pub(super) async fn prepare_sessions(&self) -> Result<(), PostgresError> {
        for session in &self.sessions {
            set(session, LOADING).await?;
        }
        Ok(())
    }

    /// Takes functions that run with their owner's rights from PUBLIC: who may call them in production
    /// is not copied, and the default is everybody.
    pub(super) async fn close_definer_functions(&self) -> Result<(), PostgresError> {
        const SQL: &str = "
            SELECT pg_catalog.format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', p.oid::pg_catalog.regprocedure)
              FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')";
        let fail = PostgresError::server("close functions that run with their owner's rights");
        let session = &self.sessions[0];
        for row in session.query(SQL, &[]).await.map_err(&fail)? {
            let sql: String = crate::backup::get(&row, 0)?;
            session.batch_execute(&sql).await.map_err(&fail)?;
        }
        Ok(())
    }

    /// Lists keys and checks that the server has not held against the rows, as production has them too,
    /// and indexes that are none.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn not_validated(&self) -> Result<NotValidated, PostgresError> {
        let fail = PostgresError::server("ask which keys were checked");
        let session = &self.sessions[0];
        let names = |rows: Vec<tokio_postgres::Row>| {
            let names = rows.iter().map(|row| crate::backup::get(row, 0));
            names.collect::<Result<Vec<String>, PostgresError>>()
        };
        let sql = "SELECT pg_catalog.format('%s on %s', conname, conrelid::pg_catalog.regclass)
                     FROM pg_catalog.pg_constraint WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1";
        let constraints = session.query(sql, &[]).await.map_err(&fail)?;
        let sql = "SELECT indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index
                    WHERE NOT indisvalid ORDER BY 1";
        let indexes = session.query(sql, &[]).await.map_err(&fail)?;
        Ok(NotValidated {
            constraints: names(constraints)?,
            indexes: names(indexes)?,
        })
    }

    /// Makes the event triggers: last, or they would act on what fills the database.
    ///
    /// # Errors
    /// Fails with the name of one that could not be made; only a superuser may.
    pub async fn make_event_triggers(&self, ddl: &Ddl) -> Result<(), PostgresError> {
        let triggers = ddl.section(Section::PostData);
        for statement in triggers.filter(|one| one.kind == StatementKind::EventTrigger) {
            run(&self.sessions[0], statement).await?;
        }
        Ok(())
    }

    /// Runs statements in any order, one at a time on each session.
    pub(super) async fn in_parallel(
        &mut self,
        statements: Vec<Statement>,
    ) -> Result<(), PostgresError> {
        let queue = Arc::new(Mutex::new(VecDeque::from(statements)));
        let mut working = JoinSet::new();
        for session in std::mem::take(&mut self.sessions) {
            let queue = queue.clone();
            working.spawn(async move {
                let next = || queue.lock().expect("no holder panics").pop_front();
                while let Some(statement) = next() {
                    if let Err(error) = run(&session, &statement).await {
                        // The others end what they are at, and begin nothing.
                        queue.lock().expect("no holder panics").clear();
                        return (session, Err(error));
                    }
                }
                (session, Ok(()))
            });
        }
        let mut outcome = Ok(());
        while let Some(done) = working.join_next().await {
            let (session, done) = done.expect("running a statement does not panic");
            self.sessions.push(session);
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Lets sequences go on behind what is there.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub async fn set_sequences(&self, catalog: &Catalog) -> Result<(), PostgresError> {
        let script = catalog.sequence_statements().join("\n");
        let set = self.sessions[0].batch_execute(&script).await;
        set.map_err(PostgresError::server("set the sequences"))
    }

    /// Fills materialized views, each after those that it reads.
    ///
    /// # Errors
    /// Fails with the name of the view.
    pub async fn refresh_materialized_views(&self, catalog: &Catalog) -> Result<(), PostgresError> {
        for view in &catalog.materialized_views {
            let sql = format!("REFRESH MATERIALIZED VIEW {}", view.quoted());
            let filled = self.sessions[0].batch_execute(&sql).await;
            filled.map_err(|error| PostgresError::Relation {
                op: FILL,
                name: view.to_string(),
                answer: ServerAnswer::without_values(&error),
            })?;
        }
        Ok(())
    }

    /// Collects statistics, several tables at a time.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub async fn analyze(&mut self, catalog: &Catalog) -> Result<(), PostgresError> {
        let tables = catalog.tables.iter().map(|table| &table.name);
        let all = tables.chain(&catalog.materialized_views);
        self.for_each_table("ANALYZE", "statistics", all).await
    }

    /// Notes of each page of the tables that all may see all its rows. Whoever reads the rows first would
    /// have to, and write each page again; and keys are checked out of indexes alone where that is noted.
    /// Nothing else may use the database meanwhile.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub async fn vacuum(&mut self, catalog: &Catalog) -> Result<(), PostgresError> {
        // Nothing is noted of a commit that is not on the disk yet. One that waits brings all before it
        // there.
        for sql in ["SET synchronous_commit = on", COMMIT_WITH_LOG, LOADING] {
            set(&self.sessions[0], sql).await?;
        }
        let tables = catalog.tables.iter().map(|table| &table.name);
        self.for_each_table("VACUUM", "visibility map", tables)
            .await
    }

    async fn for_each_table(
        &mut self,
        command: &str,
        what: &str,
        tables: impl Iterator<Item = &RelationName>,
    ) -> Result<(), PostgresError> {
        let statement = |name: &RelationName| Statement {
            sql: format!("{command} {}", name.quoted()),
            kind: StatementKind::Other,
            subject: format!("{what} of {name}"),
            section: Section::PostData,
        };
        self.in_parallel(tables.map(statement).collect()).await
    }

    /// Runs a script in a session as users have it.
    ///
    /// # Errors
    /// Fails with what the server says.
    pub async fn run_script(&self, script: &str) -> Result<(), PostgresError> {
        let session = self.plain_session().await?;
        let done = session.batch_execute(script).await;
        done.map_err(PostgresError::server("run the script"))
    }

    /// Asks whether something holds, in a session as users have it.
    ///
    /// # Errors
    /// Fails if it is no question that can be answered with yes or no, or takes longer than `limit`.
    pub async fn assertion(&self, sql: &str, limit: Duration) -> Result<bool, PostgresError> {
        let session = self.plain_session().await?;
        checks::assertion(&session, sql, limit).await
    }

    async fn plain_session(&self) -> Result<SqlSession, PostgresError> {
        let session = SqlSession::connect(&self.conninfo).await;
        session.map_err(|source| PostgresError::Connect { source })
    }
}

/// What a server has not held against the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotValidated {
    /// Constraints that are NOT VALID.
    pub constraints: Vec<String>,
    /// Indexes that are none.
    pub indexes: Vec<String>,
}

/// A session that loads rows.
#[derive(Debug)]
pub struct CopyWriter {
    session: SqlSession,
}

/// Rows on their way into a table.
pub struct RowsIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    table: String,
}

impl CopyWriter {
    /// Begins to load rows into a table, as COPY text. Rows of partitions go through their root,
    /// since masks may have moved them.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub async fn begin(&mut self, table: &CopyTable) -> Result<RowsIn, PostgresError> {
        let (name, columns) = (table.name.quoted(), table.column_list());
        let sql = format!("COPY {name} ({columns}) FROM STDIN");
        let table = table.name.to_string();
        let sink = self.session.copy_in(&sql).await;
        let sink = sink.map_err(|error| not_loaded(&table, &error))?;
        Ok(RowsIn {
            sink: Box::pin(sink),
            table,
        })
    }
}

impl RowsIn {
    /// Sends a piece, cut anywhere.
    ///
    /// # Errors
    /// Fails if the server has refused a row, or the connection breaks.
    pub async fn feed(&mut self, chunk: Bytes) -> Result<(), PostgresError> {
        let sent = self.sink.send(chunk).await;
        sent.map_err(|error| not_loaded(&self.table, &error))
    }

    /// Ends the rows, and returns how many the server took.
    ///
    /// # Errors
    /// Fails if the server refuses a row.
    pub async fn finish(mut self) -> Result<u64, PostgresError> {
        let finished = self.sink.as_mut().finish().await;
        finished.map_err(|error| not_loaded(&self.table, &error))
    }
}

/// What a server says of a row can quote it.
fn not_loaded(table: &str, error: &tokio_postgres::Error) -> PostgresError {
    PostgresError::Relation {
        op: LOAD,
        name: table.to_owned(),
        answer: ServerAnswer::without_message(error),
    }
}

async fn loading_session(conninfo: &Conninfo) -> Result<SqlSession, PostgresError> {
    let session = connect(conninfo).await?;
    set(&session, LOADING).await?;
    Ok(session)
}

pub(super) async fn set(session: &SqlSession, settings: &str) -> Result<(), PostgresError> {
    let set = session.batch_execute(settings).await;
    set.map_err(PostgresError::server("prepare a session"))
}

pub(super) async fn run(session: &SqlSession, statement: &Statement) -> Result<(), PostgresError> {
    let done = session.batch_execute(&statement.sql).await;
    done.map_err(|error| PostgresError::Relation {
        op: MAKE,
        name: statement.subject.clone(),
        answer: ServerAnswer::without_values(&error),
    })
}

//! The server that takes a copy: may it, under which name, and how a copy takes the old one's place.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::catalog::{Catalog, DatabaseSettings};
use super::names::{literal, quoted};
use super::read::NO_TIMEOUTS;
use super::takeover::take_over;
use crate::backup::get;
use crate::connect::SqlSession;
use crate::conninfo::Conninfo;
use crate::error::PostgresError;

/// Databases that nearly every server has, to ask about it as a whole.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// Longest name of anything, bytes.
const NAME_MAX: usize = 63;
/// How often a swap is tried while clients come back.
const SWAP_ATTEMPTS: u32 = 5;
/// How often the sessions of a database that is swapped are ended.
const END_SESSIONS_EVERY: Duration = Duration::from_millis(50);

/// A server on which databases are made, dropped and renamed. As long as this lives, nobody else
/// refreshes the same database.
pub struct TargetServer {
    session: SqlSession,
    conninfo: Conninfo,
}

/// Something that a server lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetProblem {
    /// An extension is not installed.
    Extension(String),
    /// A role that row policies name is not there.
    Role(String),
    /// The server is older than the database's.
    Older {
        /// The target's major version.
        target: u32,
        /// The source's.
        source: u32,
    },
    /// The role may make no database.
    MayNotCreate(String),
}

impl fmt::Display for TargetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(name) => write!(f, "the extension `{name}` is not installed there"),
            Self::Role(name) => {
                write!(
                    f,
                    "there is no role `{name}`, which a row policy names (`CREATE ROLE`)"
                )
            }
            Self::Older { target, source } => {
                write!(
                    f,
                    "it is PostgreSQL {target}, the database comes from {source}"
                )
            }
            Self::MayNotCreate(role) => {
                write!(
                    f,
                    "role `{role}` may not create databases (`ALTER ROLE … CREATEDB`)"
                )
            }
        }
    }
}

impl TargetServer {
    /// Connects, and makes sure that nobody else refreshes the database that `conninfo` names.
    ///
    /// # Errors
    /// Fails if the server cannot be reached, or somebody does.
    pub async fn connect(conninfo: &Conninfo) -> Result<Self, PostgresError> {
        let mut last = None;
        // The database that is replaced cannot be renamed from within.
        let others = MAINTENANCE
            .into_iter()
            .filter(|name| *name != conninfo.dbname);
        for database in others {
            match SqlSession::connect(&conninfo.clone().with_dbname(database)).await {
                Ok(session) => {
                    let server = Self {
                        session,
                        conninfo: conninfo.clone().with_dbname(database),
                    };
                    server.run("prepare a session", NO_TIMEOUTS).await?;
                    server.lock(&conninfo.dbname).await?;
                    return Ok(server);
                }
                Err(error) => last = Some(error),
            }
        }
        let source = last.expect("something was tried");
        Err(PostgresError::Connect { source })
    }

    async fn lock(&self, published: &str) -> Result<(), PostgresError> {
        let sql = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('lifeboat refresh'),
                                                          pg_catalog.hashtext($1))";
        let row = self.session.query_one(sql, &[&published]).await;
        let row = row.map_err(PostgresError::server(
            "ask whether somebody refreshes already",
        ))?;
        match get(&row, 0)? {
            true => Ok(()),
            false => Err(PostgresError::BeingRefreshed {
                database: published.to_owned(),
            }),
        }
    }

    /// Lists what keeps the server from taking a database.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn check(
        &self,
        catalog: &Catalog,
        source_version: u32,
    ) -> Result<Vec<TargetProblem>, PostgresError> {
        let fail = PostgresError::server("ask what the server has");
        let mut problems = Vec::new();
        let sql = "SELECT pg_catalog.current_setting('server_version_num')::int4, rolname::text,
                          rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
        let row = self.session.query_one(sql, &[]).await.map_err(&fail)?;
        let target = get::<i32>(&row, 0)?.unsigned_abs() / 10_000;
        let source = source_version / 10_000;
        if target < source {
            problems.push(TargetProblem::Older { target, source });
        }
        if !get::<bool>(&row, 2)? {
            problems.push(TargetProblem::MayNotCreate(get(&row, 1)?));
        }
        let there = "SELECT name::text FROM pg_catalog.pg_available_extensions";
        let missing = self.missing(&catalog.extensions, there).await?;
        problems.extend(missing.into_iter().map(TargetProblem::Extension));
        let there = "SELECT rolname::text FROM pg_catalog.pg_roles";
        let missing = self.missing(&catalog.policy_roles, there).await?;
        problems.extend(missing.into_iter().map(TargetProblem::Role));
        Ok(problems)
    }

    /// Returns those of `names` that the query `there` does not list.
    async fn missing(&self, names: &[String], there: &str) -> Result<Vec<String>, PostgresError> {
        let sql = format!("SELECT x FROM unnest($1::text[]) x WHERE x NOT IN ({there})");
        let rows = self.session.query(&sql, &[&names]).await;
        let rows = rows.map_err(PostgresError::server("ask what the server has"))?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Names a database for the time until it is published, so that no two runs meet and nobody else
    /// gives the name. `run` is hex.
    pub fn unfinished_name(published: &str, run: &str) -> String {
        let run = &run[..RUN_CHARS.min(run.len())];
        format!("{}{run}", unfinished_prefix(published))
    }

    /// Refuses to replace what must not be replaced: a database that every server needs, one that is
    /// no copy, and the one that the copy is made of.
    ///
    /// # Errors
    /// Says which of these it is, or fails if the server does not answer.
    pub async fn may_replace(
        &self,
        published: &str,
        source: Option<&DatabaseIdentity>,
        adopt: Adopt,
    ) -> Result<(), PostgresError> {
        let refused = |why, hint| {
            Err(PostgresError::NotReplaced {
                database: published.to_owned(),
                why,
                hint,
            })
        };
        if ["postgres", "template0", "template1"].contains(&published) {
            let hint = "name the database in `database`, as in `dbname=shop`";
            return refused("every server needs it", hint);
        }
        if source == Some(&self.identity(published).await?) {
            let hint = "name another server, or another database";
            return refused("the copy is made of it", hint);
        }
        if adopt == Adopt::OnlyCopies && !self.is_copy_or_absent(published).await? {
            let hint = "if a copy may take its place, write `adopt = true` into `[refresh]`: it stays as \
                        an earlier copy, and goes as those go";
            return refused("no refresh has made it", hint);
        }
        Ok(())
    }

    /// Tells which database a name means here.
    async fn identity(&self, database: &str) -> Result<DatabaseIdentity, PostgresError> {
        identity_of(&self.session, database).await
    }

    async fn is_copy_or_absent(&self, database: &str) -> Result<bool, PostgresError> {
        let sql = "SELECT pg_catalog.shobj_description(oid, 'pg_database') IS NOT DISTINCT FROM $2
                     FROM pg_catalog.pg_database WHERE datname = $1";
        let mark = Published.text(database);
        let row = self.session.query_opt(sql, &[&database, &mark]).await;
        let row = row.map_err(PostgresError::server("ask who made the database"))?;
        row.map_or(Ok(true), |row| get(&row, 0))
    }

    /// Makes an empty database that will be published as `published`. Without `owner` it belongs to
    /// who owns that one now, or else to who connects.
    ///
    /// # Errors
    /// Fails if the server refuses: it does not know the locale, or the role may not.
    pub async fn create(
        &self,
        name: &str,
        published: &str,
        settings: &DatabaseSettings,
        owner: Option<&str>,
    ) -> Result<(), PostgresError> {
        let owner = match owner {
            Some(owner) => Some(owner.to_owned()),
            None => self.owner_of(published).await?,
        };
        let owner = owner.map_or_else(String::new, |owner| format!(" OWNER {}", quoted(&owner)));
        let sql = format!(
            "CREATE DATABASE {} TEMPLATE template0{owner} ENCODING {} LC_COLLATE {} LC_CTYPE {}{}",
            quoted(name),
            literal(&settings.encoding),
            literal(&settings.collate),
            literal(&settings.ctype),
            provider(settings, self.version().await?)
        );
        self.run("make the new database", &sql).await?;
        let comment = mark(name, New, published);
        self.run("mark the new database", &comment).await
    }

    /// Returns the server's major version.
    async fn version(&self) -> Result<u32, PostgresError> {
        let sql = "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000";
        let row = self.session.query_one(sql, &[]).await;
        let row = row.map_err(PostgresError::server("ask for the server's version"))?;
        Ok(get::<i32>(&row, 0)?.unsigned_abs())
    }

    async fn owner_of(&self, database: &str) -> Result<Option<String>, PostgresError> {
        let sql = "SELECT r.rolname::text FROM pg_catalog.pg_database d
                     JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE d.datname = $1";
        let row = self.session.query_opt(sql, &[&database]).await;
        let row = row.map_err(PostgresError::server("ask who owns the database"))?;
        row.map(|row| get(&row, 0)).transpose()
    }

    /// Lists the databases that refreshes of `published` began and never published.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn leftovers(&self, published: &str) -> Result<Vec<String>, PostgresError> {
        // One that died between making a database and marking it left the name, which is ours alone.
        let prefix = unfinished_prefix(published);
        let sql = "SELECT datname::text FROM pg_catalog.pg_database
                    WHERE pg_catalog.starts_with(datname, $1) ORDER BY 1";
        self.names(sql, &prefix).await
    }

    /// Lists the earlier copies of `published`, the newest first.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn previous(&self, published: &str) -> Result<Vec<String>, PostgresError> {
        // A name that somebody has changed since is a copy that somebody wants to keep.
        let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d
                    WHERE pg_catalog.shobj_description(d.oid, 'pg_database') = $1
                      AND d.datname ~ '_previous_[0-9]{14}$' ORDER BY 1 DESC";
        self.names(sql, &Previous.text(published)).await
    }

    async fn names(&self, sql: &str, value: &str) -> Result<Vec<String>, PostgresError> {
        let rows = self.session.query(sql, &[&value]).await;
        let rows = rows.map_err(PostgresError::server("list the databases"))?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Drops a database, and ends the sessions on it.
    ///
    /// # Errors
    /// Fails if the role may not.
    pub async fn drop(&self, name: &str) -> Result<(), PostgresError> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        self.run("drop a database", &sql).await
    }

    /// Gives a new database the name that people use, in one transaction; the old one keeps its data
    /// under a name with `stamp`, which is returned. Settings and grants of the old database go over.
    ///
    /// # Errors
    /// Fails if the role may not rename, or sessions on the old one cannot be ended; then nothing
    /// has changed.
    pub async fn publish(
        &self,
        new: &str,
        published: &str,
        stamp: Timestamp,
    ) -> Result<Option<String>, PostgresError> {
        let old = self
            .owner_of(published)
            .await?
            .map(|_| previous_name(published, stamp));
        if old.is_some() {
            take_over(&self.session, published, new).await?;
        }
        let mut sql = String::from("BEGIN;\n");
        if let Some(old) = &old {
            sql.push_str(&format!(
                "ALTER DATABASE {} RENAME TO {};\n{};\n",
                quoted(published),
                quoted(old),
                mark(old, Previous, published)
            ));
        }
        sql.push_str(&format!(
            "ALTER DATABASE {} RENAME TO {};\n{};\nCOMMIT",
            quoted(new),
            quoted(published),
            mark(published, Published, published)
        ));
        self.swap(&sql, &[new, published]).await?;
        Ok(old)
    }

    /// Runs the transaction of a swap. A rename waits for sessions that are there and keeps new ones
    /// out, so those that are there are ended meanwhile.
    async fn swap(&self, sql: &str, databases: &[&str]) -> Result<(), PostgresError> {
        let connecting = SqlSession::connect(&self.conninfo).await;
        let other = connecting.map_err(|source| PostgresError::Connect { source })?;
        let names: Vec<String> = databases.iter().map(|name| (*name).to_owned()).collect();
        for attempt in 1.. {
            // The swap is never given up while it runs: nobody could say how it ended.
            let swapped = tokio::select! {
                swapped = self.session.batch_execute(sql) => swapped,
                () = end_sessions(&other, &names) => unreachable!("it goes on until the swap is done"),
            };
            let Err(error) = swapped else {
                break;
            };
            // Fails only if the session is gone, and then the next statement says so.
            self.session.batch_execute("ROLLBACK").await.ok();
            if error.code() != Some(&SqlState::OBJECT_IN_USE) || attempt == SWAP_ATTEMPTS {
                let op = "put the new database in the old one's place";
                return Err(PostgresError::server(op)(error));
            }
        }
        Ok(())
    }

    async fn run(&self, op: &'static str, sql: &str) -> Result<(), PostgresError> {
        self.session
            .batch_execute(sql)
            .await
            .map_err(PostgresError::server(op))
    }
}

/// Ends the sessions of clients on some databases, again and again.
async fn end_sessions(session: &SqlSession, databases: &[String]) {
    let list = "SELECT pid FROM pg_catalog.pg_stat_activity
                 WHERE datname = ANY($1) AND backend_type = 'client backend'";
    loop {
        let pids = session.query(list, &[&databases]).await.unwrap_or_default();
        for row in pids {
            let pid: i32 = row.get(0);
            // Who may not be ended keeps the rename waiting, which then says so.
            let end = "SELECT pg_catalog.pg_terminate_backend($1)";
            session.query(end, &[&pid]).await.ok();
        }
        tokio::time::sleep(END_SESSIONS_EVERY).await;
    }
}

/// Which database of which running server: the same by whatever way it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseIdentity {
    system: i64,
    /// Copies of a cluster have its system identifier, and are other servers.
    started: Timestamp,
    database: String,
}

/// Asks which database of which server a connection string means.
///
/// # Errors
/// Fails if the server cannot be reached or does not tell.
pub async fn database_identity(conninfo: &Conninfo) -> Result<DatabaseIdentity, PostgresError> {
    let session = SqlSession::connect(conninfo).await;
    let session = session.map_err(|source| PostgresError::Connect { source })?;
    identity_of(&session, &conninfo.dbname).await
}

async fn identity_of(
    session: &SqlSession,
    database: &str,
) -> Result<DatabaseIdentity, PostgresError> {
    let sql = "SELECT system_identifier, pg_catalog.pg_postmaster_start_time()
                 FROM pg_catalog.pg_control_system()";
    let row = session.query_one(sql, &[]).await;
    let row = row.map_err(PostgresError::server("ask which cluster this is"))?;
    Ok(DatabaseIdentity {
        system: get(&row, 0)?,
        started: get(&row, 1)?,
        database: database.to_owned(),
    })
}

/// Whether a database that no refresh has made may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// Whatever is there becomes an earlier copy.
    Anything,
    /// Only copies are replaced.
    OnlyCopies,
}

/// What a database of ours is, as its comment says.
#[derive(Clone, Copy)]
enum What {
    New,
    Published,
    Previous,
}
use What::{New, Previous, Published};

impl What {
    fn text(self, published: &str) -> String {
        match self {
            New => format!("lifeboat: unfinished refresh of {published}"),
            Published => format!("lifeboat: masked copy {published}"),
            Previous => format!("lifeboat: earlier copy of {published}"),
        }
    }
}

fn mark(database: &str, what: What, published: &str) -> String {
    format!(
        "COMMENT ON DATABASE {} IS {}",
        quoted(database),
        literal(&what.text(published))
    )
}

fn provider(settings: &DatabaseSettings, target: u32) -> String {
    let locale = settings.locale.as_deref().map(literal).unwrap_or_default();
    match settings.provider.as_str() {
        "i" => format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}"),
        "b" => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
        // A server may be made for another provider than the one that every version knows.
        _ if target >= 15 => " LOCALE_PROVIDER libc".to_owned(),
        _ => String::new(),
    }
}

/// Characters of a run's id in the name of a database.
const RUN_CHARS: usize = 12;

/// Returns what the names of all unfinished copies of a database begin with: nobody else's do, and not
/// those of another database.
fn unfinished_prefix(published: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, published.as_bytes());
    let hex = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"));
    format!("lifeboat_new_{}_", hex.collect::<String>())
}

fn previous_name(published: &str, stamp: Timestamp) -> String {
    let suffix = format!("_previous_{}", stamp.strftime("%Y%m%d%H%M%S"));
    let end = published.floor_char_boundary(NAME_MAX - suffix.len());
    format!("{}{suffix}", &published[..end])
}

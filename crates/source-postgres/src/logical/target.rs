//! The server that takes a copy: may it, under which name, and how a copy takes the old one's place.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::catalog::{Catalog, DatabaseSettings};
use super::names::{literal, quoted};
use super::read::NO_TIMEOUTS;
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
        let missing = "SELECT x FROM unnest($1::text[]) x
                        WHERE x NOT IN (SELECT name::text FROM pg_catalog.pg_available_extensions)";
        for row in self
            .session
            .query(missing, &[&catalog.extensions])
            .await
            .map_err(&fail)?
        {
            problems.push(TargetProblem::Extension(get(&row, 0)?));
        }
        let missing = "SELECT x FROM unnest($1::text[]) x
                        WHERE x NOT IN (SELECT rolname::text FROM pg_catalog.pg_roles)";
        for row in self
            .session
            .query(missing, &[&catalog.policy_roles])
            .await
            .map_err(&fail)?
        {
            problems.push(TargetProblem::Role(get(&row, 0)?));
        }
        Ok(problems)
    }

    /// Names a database for the time until it is published, so that no two runs meet. `run` is hex.
    pub fn unfinished_name(published: &str, run: &str) -> String {
        let run = &run[..RUN_CHARS.min(run.len())];
        format!("{}{run}", unfinished_prefix(published))
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
        let mut found = self.marked(New, published).await?;
        // One that died between making a database and marking it left a name that nobody else gives.
        let sql = "SELECT datname::text FROM pg_catalog.pg_database d
                    WHERE pg_catalog.starts_with(datname, $1) AND datname ~ '_[0-9a-f]{12}$'
                      AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NULL
                      AND pg_catalog.length(datname) = pg_catalog.length($1) + 12";
        let prefix = unfinished_prefix(published);
        let rows = self.session.query(sql, &[&prefix]).await;
        for row in rows.map_err(PostgresError::server("list the databases"))? {
            found.push(get(&row, 0)?);
        }
        Ok(found)
    }

    /// Lists the earlier copies of `published`, the newest first.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn previous(&self, published: &str) -> Result<Vec<String>, PostgresError> {
        self.marked(Previous, published).await
    }

    async fn marked(&self, what: What, published: &str) -> Result<Vec<String>, PostgresError> {
        let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d
                    WHERE pg_catalog.shobj_description(d.oid, 'pg_database') = $1 ORDER BY 1 DESC";
        let rows = self.session.query(sql, &[&what.text(published)]).await;
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
        let mut sql = String::from("BEGIN;\n");
        if let Some(old) = &old {
            for statement in self.taken_over(published, new).await? {
                sql.push_str(&statement);
            }
            sql.push_str(&format!(
                "ALTER DATABASE {} RENAME TO {};\n{};\n",
                quoted(published),
                quoted(old),
                mark(old, Previous, published)
            ));
        }
        sql.push_str(&format!(
            "ALTER DATABASE {0} RENAME TO {1};\nCOMMENT ON DATABASE {1} IS NULL;\nCOMMIT",
            quoted(new),
            quoted(published)
        ));
        self.swap(&sql, &[new, published]).await?;
        Ok(old)
    }

    /// Runs the transaction of a swap. A rename waits for sessions that are there and keeps new ones
    /// out, so those that are there are ended meanwhile.
    async fn swap(&self, sql: &str, databases: &[&str]) -> Result<(), PostgresError> {
        let connecting = SqlSession::connect(&self.conninfo).await;
        let other = connecting.map_err(|source| PostgresError::Connect { source })?;
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
              WHERE datname IN ({})",
            databases
                .iter()
                .map(|name| literal(name))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let ending = async {
            loop {
                if let Err(error) = other.batch_execute(&end).await {
                    return PostgresError::server("end the sessions on the old database")(error);
                }
                tokio::time::sleep(END_SESSIONS_EVERY).await;
            }
        };
        let mut ending = std::pin::pin!(ending);
        for attempt in 1.. {
            let swapped = tokio::select! {
                swapped = self.session.batch_execute(sql) => swapped,
                error = &mut ending => return Err(error),
            };
            let Err(error) = swapped else {
                break;
            };
            // Fails only if the session is gone, and then the next statement says so.
            self.session.batch_execute("ROLLBACK").await.ok();
            if error.code() != Some(&SqlState::OBJECT_IN_USE) || attempt == SWAP_ATTEMPTS {
                return Err(PostgresError::server(
                    "put the new database in the old one's place",
                )(error));
            }
        }
        Ok(())
    }

    /// Returns statements that give `new` the settings and grants of `old`.
    async fn taken_over(&self, old: &str, new: &str) -> Result<Vec<String>, PostgresError> {
        let fail = PostgresError::server("read the settings of the old database");
        let mut statements = Vec::new();
        let sql = "SELECT r.rolname::text, pg_catalog.split_part(c, '=', 1),
                          pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
                     FROM pg_catalog.pg_db_role_setting s
                     JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
                     LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
                    CROSS JOIN LATERAL unnest(s.setconfig) c WHERE d.datname = $1";
        for row in self.session.query(sql, &[&old]).await.map_err(&fail)? {
            let role: Option<String> = get(&row, 0)?;
            let (name, value): (String, String) = (get(&row, 1)?, get(&row, 2)?);
            let of = match role {
                Some(role) => format!("ROLE {} IN DATABASE {}", quoted(&role), quoted(new)),
                None => format!("DATABASE {}", quoted(new)),
            };
            // Lists are stored with each item quoted already.
            let is_list = name == "search_path"
                || name == "temp_tablespaces"
                || name.ends_with("preload_libraries");
            let value = if is_list { value } else { literal(&value) };
            statements.push(format!("ALTER {of} SET {} = {value};\n", quoted(&name)));
        }
        let sql = "SELECT COALESCE(r.rolname::text, ''), a.privilege_type::text, a.is_grantable
                     FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
                     LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                    WHERE d.datname = $1 AND a.grantee <> d.datdba";
        let grants = self.session.query(sql, &[&old]).await.map_err(&fail)?;
        let has_acl = "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = $1";
        let row = self
            .session
            .query_one(has_acl, &[&old])
            .await
            .map_err(&fail)?;
        if get::<bool>(&row, 0)? {
            statements.push(format!(
                "REVOKE ALL ON DATABASE {} FROM PUBLIC;\n",
                quoted(new)
            ));
        }
        for row in grants {
            let (role, privilege): (String, String) = (get(&row, 0)?, get(&row, 1)?);
            let role = if role.is_empty() {
                "PUBLIC".to_owned()
            } else {
                quoted(&role)
            };
            let option = if get::<bool>(&row, 2)? {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            statements.push(format!(
                "GRANT {privilege} ON DATABASE {} TO {role}{option};\n",
                quoted(new)
            ));
        }
        Ok(statements)
    }

    async fn run(&self, op: &'static str, sql: &str) -> Result<(), PostgresError> {
        self.session
            .batch_execute(sql)
            .await
            .map_err(PostgresError::server(op))
    }
}

/// What a database of ours is, as its comment says.
#[derive(Clone, Copy)]
enum What {
    New,
    Previous,
}
use What::{New, Previous};

impl What {
    fn text(self, published: &str) -> String {
        match self {
            New => format!("lifeboat: unfinished refresh of {published}"),
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

fn unfinished_prefix(published: &str) -> String {
    let suffix = "_new_";
    let end = published.floor_char_boundary(NAME_MAX - suffix.len() - RUN_CHARS);
    format!("{}{suffix}", &published[..end])
}

fn previous_name(published: &str, stamp: Timestamp) -> String {
    let suffix = format!("_previous_{}", stamp.strftime("%Y%m%d%H%M%S"));
    let end = published.floor_char_boundary(NAME_MAX - suffix.len());
    format!("{}{suffix}", &published[..end])
}

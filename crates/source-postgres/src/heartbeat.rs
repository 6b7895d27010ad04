//! The heartbeat: a table of one row whose time proves how new a restored database is.

use jiff::Timestamp;
use lifeboat_model::{Diagnose, ErrorKind, Lsn};
use tokio_postgres::Client;

use crate::connect::ServerError;

/// The heartbeat could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The role may not make or write the table.
    #[error("`{role}` may not {op}")]
    NotPermitted {
        /// Who.
        role: String,
        /// What, as a verb.
        op: &'static str,
        /// The server's answer.
        #[source]
        source: ServerError,
    },
    /// A standby takes no writes; the row arrives from its primary.
    #[error("the server is a standby, which cannot take a heartbeat of its own")]
    Standby,
    /// Transactions are read-only.
    #[error("the server takes no writes: its transactions are read-only")]
    ReadOnly,
    /// The server refused, or the connection broke.
    #[error("failed to {op}")]
    Server {
        /// What was tried, as a verb.
        op: &'static str,
        /// The server's answer, or what became of the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether the same may succeed later.
        passing: bool,
    },
}

impl Diagnose for HeartbeatError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotPermitted { .. } => ErrorKind::Denied,
            Self::Standby | Self::ReadOnly => ErrorKind::Refused,
            Self::Server { passing: true, .. } => ErrorKind::Transient,
            Self::Server { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPermitted { role, .. } => format!(
                "as a superuser: {CREATE_SCHEMA}; {CREATE_TABLE}; GRANT USAGE ON SCHEMA lifeboat TO \
                 \"{role}\"; GRANT SELECT, INSERT, UPDATE ON lifeboat.heartbeat TO \"{role}\"; or \
                 set `heartbeat = false`"
            ),
            Self::Standby => {
                "name the primary for the heartbeat, or set `heartbeat = false`".into()
            }
            Self::ReadOnly => {
                "see `default_transaction_read_only`, or set `heartbeat = false`".into()
            }
            Self::Server { .. } => return None,
        })
    }
}

/// The schema of its table.
pub(crate) const SCHEMA: &str = "lifeboat";
/// Its table.
pub(crate) const TABLE: &str = "heartbeat";

/// Asked first: even with IF NOT EXISTS, a server wants the right to make schemas for one that is there.
const SCHEMA_EXISTS: &str = "SELECT pg_catalog.to_regnamespace('lifeboat') IS NOT NULL";
const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS lifeboat";
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS lifeboat.heartbeat \
    (id integer PRIMARY KEY CHECK (id = 1), at timestamptz NOT NULL)";
const EXISTS: &str = "SELECT pg_catalog.to_regclass('lifeboat.heartbeat') IS NOT NULL";

/// A heartbeat that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Its time, by the server's clock.
    pub at: Timestamp,
    /// The log up to here holds it.
    pub end: Lsn,
}

/// Makes the table if it is not there.
///
/// # Errors
/// Says which right the role lacks, or that the server is a standby.
pub async fn create(client: &Client) -> Result<(), HeartbeatError> {
    const OP: &str = "make the heartbeat's table";
    refuse_standby(client).await?;
    for (exists, make) in [(SCHEMA_EXISTS, CREATE_SCHEMA), (EXISTS, CREATE_TABLE)] {
        let made = async {
            // Without USAGE on the schema, even looking is refused.
            match client.query_one(exists, &[]).await?.get(0) {
                true => Ok(()),
                false => client.batch_execute(make).await,
            }
        };
        if let Err(error) = made.await {
            return Err(sort(client, OP, error).await);
        }
    }
    Ok(())
}

/// Writes the time of now and commits it.
///
/// # Errors
/// Fails if the table is not there or not writable, or the server is a standby.
pub async fn beat(client: &Client) -> Result<Beat, HeartbeatError> {
    const OP: &str = "write the heartbeat";
    const WRITE: &str = "INSERT INTO lifeboat.heartbeat (id, at) \
        VALUES (1, pg_catalog.clock_timestamp()) \
        ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING at";
    // Asked for after the commit, so that the position lies behind its record.
    const END: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text";
    let at = match client.query_one(WRITE, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => return Err(sort(client, OP, error).await),
    };
    let end = match client.query_one(END, &[]).await {
        Ok(row) => row.get::<_, String>(0),
        Err(error) => return Err(sort(client, OP, error).await),
    };
    let end = end.parse().map_err(|error| HeartbeatError::Server {
        op: OP,
        source: Box::new(error),
        passing: false,
    })?;
    Ok(Beat { at, end })
}

/// Reads the newest heartbeat: none if there is no table or no row. Standbys can be asked too.
///
/// # Errors
/// Fails if the table may not be read.
pub async fn read(client: &Client) -> Result<Option<Timestamp>, HeartbeatError> {
    const OP: &str = "read the heartbeat";
    let exists: bool = match client.query_one(EXISTS, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => return Err(sort(client, OP, error).await),
    };
    if !exists {
        return Ok(None);
    }
    let row = client.query_opt("SELECT at FROM lifeboat.heartbeat", &[]);
    match row.await {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        Err(error) => Err(sort(client, OP, error).await),
    }
}

async fn refuse_standby(client: &Client) -> Result<(), HeartbeatError> {
    let row = client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
    match row.await {
        Ok(row) if row.get(0) => Err(HeartbeatError::Standby),
        Ok(_) => Ok(()),
        Err(error) => Err(sort(client, "ask whether the server is a standby", error).await),
    }
}

async fn sort(client: &Client, op: &'static str, error: tokio_postgres::Error) -> HeartbeatError {
    let Some(source) = ServerError::of_sql(&error) else {
        return HeartbeatError::Server {
            op,
            passing: error.is_closed(),
            source: Box::new(error),
        };
    };
    match source.code.as_str() {
        "42501" => {
            let role = client
                .query_one("SELECT current_user::pg_catalog.text", &[])
                .await;
            // Who we are is only for the message; not knowing it must not hide the refusal.
            let role = role.map_or_else(|_| "the role".to_owned(), |row| row.get(0));
            HeartbeatError::NotPermitted { role, op, source }
        }
        "25006" if is_in_recovery(client).await => HeartbeatError::Standby,
        "25006" => HeartbeatError::ReadOnly,
        code => HeartbeatError::Server {
            op,
            passing: source.is_passing() || code.starts_with("53") || code.starts_with("40"),
            source: Box::new(source),
        },
    }
}

/// Reports whether it is recovery that forbids writes.
async fn is_in_recovery(client: &Client) -> bool {
    let row = client
        .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])
        .await;
    row.is_ok_and(|row| row.get(0))
}

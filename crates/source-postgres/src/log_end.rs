//! How far a server's log goes, and on which timeline.

use lifeboat_model::{Lsn, Timeline};
use tokio_postgres::Client;

use crate::backup::{get, position};
use crate::error::PostgresError;

/// Returns the position after the last byte that a server has in its log, or a standby has received.
///
/// # Errors
/// Fails if the server does not answer.
pub async fn log_end(client: &Client) -> Result<Lsn, PostgresError> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
                    THEN coalesce(greatest(pg_catalog.pg_last_wal_receive_lsn(),
                                           pg_catalog.pg_last_wal_replay_lsn()), '0/0')
                    ELSE pg_catalog.pg_current_wal_lsn() END::text";
    let row = client.query_one(sql, &[]).await;
    position(
        &row.map_err(PostgresError::server("ask how far the log goes"))?,
        0,
    )
}

/// Returns the timeline that a primary writes; `None` for a standby, which may follow several.
///
/// # Errors
/// Fails if the server does not answer.
pub async fn log_timeline(client: &Client) -> Result<Option<Timeline>, PostgresError> {
    // The last checkpoint may be older than the promotion. The name of a segment begins with it.
    let sql = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
                    pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)
               END";
    let row = client.query_one(sql, &[]).await;
    let row = row.map_err(PostgresError::server("ask for the timeline"))?;
    let digits: Option<String> = get(&row, 0)?;
    let timeline = digits.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
    Ok(timeline.map(Timeline::new))
}

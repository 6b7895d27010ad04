//! How far a server's log goes.

use lifeboat_model::Lsn;
use tokio_postgres::Client;

use crate::backup::position;
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

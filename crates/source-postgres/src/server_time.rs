//! What a server's clock says: moments of one cluster are only compared by that clock.

use jiff::Timestamp;
use tokio_postgres::Client;

use crate::backup::get;
use crate::error::PostgresError;

/// Returns the time by the server's clock.
///
/// # Errors
/// Fails if the server does not answer.
pub async fn server_time(client: &Client) -> Result<Timestamp, PostgresError> {
    let row = client.query_one("SELECT pg_catalog.clock_timestamp()", &[]);
    get(
        &row.await
            .map_err(PostgresError::server("ask for the time"))?,
        0,
    )
}

//! A table whose committed rows are known for each moment: what a recovery must bring back, no row
//! less and no row more.

use std::time::Duration;

use lifeboat_testkit::PgCluster;

/// Makes the table, and tables for pgbench beside it.
pub(crate) fn prepare(cluster: &PgCluster, scale: u32) {
    cluster.psql(
        "CREATE TABLE history (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())",
    );
    cluster.pgbench(&["-i", "-q", "-s", &scale.to_string()]);
}

/// Commits rows, one transaction each.
pub(crate) fn commit(cluster: &PgCluster, rows: u32) {
    let one = "INSERT INTO history DEFAULT VALUES;";
    for _ in 0..rows {
        cluster.psql(one);
    }
}

/// Returns the server's time, as text that it reads back exactly.
pub(crate) fn now(cluster: &PgCluster) -> String {
    cluster.psql(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
}

/// Returns count and checksum of the rows that were committed up to a moment, as the server that is
/// still there knows them.
pub(crate) fn committed_until(cluster: &PgCluster, moment: &str) -> String {
    cluster.psql(&format!(
        "SELECT count(*), coalesce(sum(hashint8(id)::numeric), 0) FROM history
          WHERE pg_xact_commit_timestamp(xmin) <= '{moment}'::timestamptz"
    ))
}

/// Returns count and checksum of all rows, in a cluster that was restored.
pub(crate) const ALL: &str =
    "SELECT count(*), coalesce(sum(hashint8(id)::numeric), 0) FROM history";

/// Waits for something that other processes bring about.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..600 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it did not happen within a minute: {what}");
}

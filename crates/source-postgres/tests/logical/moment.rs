//! Every session sees one moment, whatever goes on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::logical::LogicalSource;
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{RANGE_BYTES, conninfo, conninfo_as, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_see_one_moment_while_rows_move() {
    for installation in PgInstallation::all_or_skip("one moment") {
        let cluster = Arc::new(PgCluster::on(installation).without_fsync().start());
        // Money moves between accounts, and every move writes both rows anew, at other places.
        cluster.psql(
            "CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL, filler text) WITH (fillfactor = 100);
             INSERT INTO accounts SELECT i, 100, repeat('x', 200) FROM generate_series(1, 5000) i",
        );
        let (stop, moves) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let moving = move_money(&cluster, stop.clone(), moves.clone());
        while moves.load(Ordering::Relaxed) < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let source = LogicalSource::open(&conninfo(&cluster, "postgres"))
            .await
            .unwrap();
        let ranges = source.ranges(RANGE_BYTES);
        let on_ranges_since = 14;
        assert!(
            ranges.len() > 2 || installation.major < on_ranges_since,
            "{ranges:?}"
        );
        let table = source.catalog().tables[0].clone();
        let (mut ids, mut sum) = (Vec::new(), 0);
        for range in &ranges {
            // The table changes between any two of them.
            let seen = moves.load(Ordering::Relaxed);
            while moves.load(Ordering::Relaxed) < seen + 3 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let reader = source.reader().await.unwrap();
            let rows = read(&reader, &table, range).await;
            for row in rows.lines() {
                let mut cells = row
                    .split('\t')
                    .map(|cell| cell.parse::<i64>().unwrap_or_default());
                ids.push(cells.next().unwrap());
                sum += cells.next().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        moving.await.unwrap();
        ids.sort_unstable();
        assert_eq!(ids, (1..=5000).collect::<Vec<_>>());
        assert_eq!(sum, 500_000);
    }
}

/// Moves money from account to account until told to stop.
fn move_money(
    cluster: &Arc<PgCluster>,
    stop: Arc<AtomicBool>,
    moves: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<()> {
    let conninfo = conninfo(cluster, "postgres");
    tokio::spawn(async move {
        let session = SqlSession::connect(&conninfo).await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            // From one end of the table to the other.
            let from = moves.load(Ordering::Relaxed) * 37 % 2500 + 1;
            let sql = format!(
                "UPDATE accounts SET amount = amount + CASE id WHEN {from} THEN -1 ELSE 1 END
                  WHERE id IN ({from}, {})",
                5001 - from
            );
            session.batch_execute(&sql).await.unwrap();
            moves.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// A table that is emptied looks empty to every snapshot, older ones included. A copy must hold what it
/// held before, or what it holds afterwards, and not nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_being_rewritten_is_waited_for() {
    let Some(cluster) = PgCluster::or_skip("rewritten table") else {
        return;
    };
    cluster.psql("CREATE TABLE t AS SELECT 'before' AS said");
    let writer = SqlSession::connect(&conninfo(&cluster, "postgres"))
        .await
        .unwrap();
    let rewrite = "BEGIN; TRUNCATE t; INSERT INTO t VALUES ('after')";
    writer.batch_execute(rewrite).await.unwrap();
    let target = conninfo(&cluster, "postgres");
    let opening = tokio::spawn(async move { LogicalSource::open(&target).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while cluster.psql(waiting) == "0" {
        assert!(!opening.is_finished(), "nobody waited");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer.batch_execute("COMMIT").await.unwrap();
    let source = opening.await.unwrap().unwrap();
    let reader = source.reader().await.unwrap();
    let (table, range) = (&source.catalog().tables[0], &source.ranges(RANGE_BYTES)[0]);
    assert_eq!(read(&reader, table, range).await, "after\n");
}

#[tokio::test]
async fn a_standby_holds_a_moment_for_several_sessions() {
    let Some(primary) = PgCluster::or_skip("moment of a standby") else {
        return;
    };
    primary.psql("CREATE TABLE t AS SELECT 'before' AS said");
    let standby = PgCluster::standby_of(&primary);
    let source = LogicalSource::open(&conninfo(&standby, "postgres"))
        .await
        .unwrap();
    let first = source.reader().await.unwrap();
    primary.psql("INSERT INTO t VALUES ('after')");
    while standby.psql("SELECT count(*) FROM t") == "1" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = source.reader().await.unwrap();
    let (table, range) = (&source.catalog().tables[0], &source.ranges(RANGE_BYTES)[0]);
    for reader in [first, second] {
        assert_eq!(read(&reader, table, range).await, "before\n");
    }
}

/// Without every row, a copy is wrong and looks right.
#[tokio::test]
async fn a_role_that_sees_half_of_a_table_is_refused() {
    let Some(cluster) = PgCluster::or_skip("row security") else {
        return;
    };
    cluster.psql("CREATE ROLE half LOGIN; CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
    cluster.psql("GRANT SELECT ON t TO half; ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    cluster.psql("CREATE POLICY even ON t USING (id % 2 = 0)");
    let source = LogicalSource::open(&conninfo_as(&cluster, "half", "postgres"))
        .await
        .unwrap();
    let reader = source.reader().await.unwrap();
    let (table, range) = (&source.catalog().tables[0], &source.ranges(RANGE_BYTES)[0]);
    let error = reader
        .copy_out(table, range, &mut |_| true)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("public.t"), "{error}");
}

/// Servers end sessions that wait long; a copy takes longer than they allow for.
#[tokio::test]
async fn limits_on_sessions_do_not_end_a_copy() {
    let Some(cluster) = PgCluster::or_skip("session limits") else {
        return;
    };
    cluster.psql("CREATE TABLE t AS SELECT 'here' AS said");
    cluster.psql("ALTER ROLE postgres SET statement_timeout = '150ms'");
    cluster.psql("ALTER ROLE postgres SET idle_in_transaction_session_timeout = '150ms'");
    cluster.psql("ALTER ROLE postgres SET idle_session_timeout = '150ms'");
    let target = conninfo(&cluster, "somewhere");
    let server = lifeboat_source_postgres::logical::TargetServer::connect(&target)
        .await
        .unwrap();
    let source = LogicalSource::open(&conninfo(&cluster, "postgres"))
        .await
        .unwrap();
    let reader = source.reader().await.unwrap();
    cluster.psql("SET statement_timeout = 0; SELECT pg_sleep(0.5)");
    let (table, range) = (&source.catalog().tables[0], &source.ranges(RANGE_BYTES)[0]);
    assert_eq!(read(&reader, table, range).await, "here\n");
    assert_eq!(
        server.leftovers("somewhere").await.unwrap(),
        [] as [&str; 0]
    );
}

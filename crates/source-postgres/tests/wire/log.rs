//! Pages and records of real logs, beside what the server and `pg_waldump` say of them.

use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline};
use lifeboat_source_postgres::wal::{BlockSize, RecordScanner, ScanEnd, WalFlaw, check_segment};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{SMALL, identity, position};

/// Commits, rolls back, prepares, sets restore points, switches: all that the scanner looks for.
fn fill_log(cluster: &PgCluster) {
    cluster.psql("CREATE TABLE t (id int PRIMARY KEY, body text)");
    for turn in 0..4 {
        cluster.psql(&format!(
            "INSERT INTO t SELECT n + {turn} * 1000, repeat('x', 300) FROM generate_series(1, 1000) n"
        ));
        cluster.psql("BEGIN; DELETE FROM t; ROLLBACK");
        cluster.psql(&format!(
            "BEGIN; UPDATE t SET body = 'p'; PREPARE TRANSACTION 'p{turn}'"
        ));
        cluster.psql(&format!("COMMIT PREPARED 'p{turn}'"));
        cluster.psql(&format!("SELECT pg_create_restore_point('point {turn}')"));
        if turn % 2 == 0 {
            cluster.psql("SELECT pg_switch_wal()");
        }
    }
    // A commit with many subtransactions is a record of more than a page.
    cluster.psql(
        "DO $$ BEGIN FOR n IN 1..4000 LOOP BEGIN INSERT INTO t VALUES (-n, 's'); \
         EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$",
    );
}

struct Dump {
    commits: usize,
    aborts: usize,
    records: usize,
}

/// Asks `pg_waldump`, where the installation has it.
fn dump(cluster: &PgCluster, start: Lsn, end: Lsn) -> Option<Dump> {
    let installation = cluster.installation();
    if !installation.program("pg_waldump").exists() {
        return None;
    }
    let folder = cluster.data_dir().join("pg_wal");
    let text = installation.run(
        "pg_waldump",
        &[
            "-p",
            folder.to_str()?,
            "-s",
            &start.to_string(),
            "-e",
            &end.to_string(),
        ],
    );
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    Some(Dump {
        commits: count("desc: COMMIT"),
        aborts: count("desc: ABORT"),
        records: count("rmgr: "),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_the_server_and_pg_waldump_say() {
    for installation in PgInstallation::all_or_skip("reading the log") {
        let cluster = PgCluster::on(installation)
            .wal_segment_mib(1)
            .without_fsync()
            .conf("wal_keep_size = 1GB")
            .conf("track_commit_timestamp = on")
            .conf("max_prepared_transactions = 5")
            .conf("autovacuum = off")
            .start();
        cluster.psql("SELECT pg_switch_wal()");
        let start = Segment::holding(
            Timeline::new(1),
            position(&cluster, "pg_current_wal_insert_lsn()"),
            SMALL,
        );
        let start = start.start(SMALL);
        fill_log(&cluster);
        let newest = cluster
            .psql("SELECT (extract(epoch FROM timestamp) * 1000000)::bigint FROM pg_last_committed_xact()");
        let end = position(&cluster, "pg_current_wal_insert_lsn()");
        let end = Lsn::new(end.get());
        let system_id = identity(&cluster).await.system_id;

        let mut scanner = RecordScanner::new(start, SMALL, BlockSize::DEFAULT);
        let mut segment = Segment::holding(Timeline::new(1), start, SMALL);
        while segment.start(SMALL) < end {
            let file = cluster.data_dir().join("pg_wal").join(segment.to_string());
            let bytes = std::fs::read(file).unwrap();
            let name = segment.to_string().parse().unwrap();
            let facts = check_segment(&bytes, &name, system_id).unwrap();
            assert_eq!(facts.major_version, installation.major);
            assert_eq!(facts.segment_size, SMALL);
            // Odd pieces, so that nothing depends on where they are cut.
            bytes.chunks(4099).for_each(|piece| scanner.feed(piece));
            segment = segment.next(SMALL);
        }
        let scanned = scanner.finish();
        assert_eq!(scanned.end, Some(ScanEnd::EndOfLog), "{scanned:?}");
        assert!(scanned.valid_end >= end, "{scanned:?} against {end}");
        let at = scanned.newest_commit.unwrap().at;
        assert_eq!(at.as_microsecond().to_string(), newest);
        let points: Vec<_> = scanned
            .restore_points
            .iter()
            .map(|point| &*point.name)
            .collect();
        assert_eq!(points, ["point 0", "point 1", "point 2", "point 3"]);
        if let Some(dump) = dump(&cluster, start, scanned.valid_end) {
            assert_eq!(scanned.commits as usize, dump.commits);
            assert_eq!(scanned.aborts as usize, dump.aborts);
            assert_eq!(scanned.records as usize, dump.records);
            assert!(dump.records > 10_000);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_another_cluster_or_under_another_name_is_told() {
    let Some(cluster) = PgCluster::or_skip("foreign segments") else {
        return;
    };
    let size = SegmentSize::DEFAULT;
    let own = identity(&cluster).await;
    let segment = Segment::holding(own.timeline, own.end, size);
    let bytes = std::fs::read(cluster.data_dir().join("pg_wal").join(segment.to_string())).unwrap();
    let name = |segment: Segment| segment.to_string().parse().unwrap();
    assert!(check_segment(&bytes, &name(segment), own.system_id).is_ok());
    let renamed = check_segment(&bytes, &name(segment.next(size)), own.system_id);
    assert!(matches!(renamed, Err(WalFlaw::OtherPlace { .. })));
    let foreign = lifeboat_model::SystemId::new(own.system_id.get() + 1);
    let foreign = check_segment(&bytes, &name(segment), foreign);
    assert!(matches!(foreign, Err(WalFlaw::OtherCluster { .. })));
}

//! Receiving the log while the server works, crashes and is promoted.

use std::time::Duration;

use lifeboat_model::{Lsn, Segment, Timeline};
use lifeboat_source_postgres::replication::{WalEvent, WalReceiver};
use lifeboat_source_postgres::wal::TimelineHistory;
use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

use crate::support::{PATIENCE, Received, SMALL, conninfo, from_here, position};

fn busy_cluster(installation: &PgInstallation) -> PgCluster {
    let cluster = PgCluster::on(installation)
        .wal_segment_mib(1)
        .conf("wal_keep_size = 2GB")
        .conf("max_wal_size = 64MB")
        .without_fsync()
        .start();
    cluster.pgbench(&["--initialize", "--scale=1", "--quiet"]);
    cluster
}

/// Uses up segments, so that more of them can be compared whole.
fn write_segments(cluster: &PgCluster, count: u32) -> Lsn {
    for _ in 0..count {
        cluster.psql("SELECT txid_current(); SELECT pg_switch_wal()");
    }
    position(cluster, "pg_current_wal_flush_lsn()")
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_byte_is_received_once() {
    for installation in PgInstallation::all_or_skip("receiving the log") {
        let cluster = busy_cluster(installation);
        let options = from_here(&cluster).await;
        let timeline = options.timeline;
        let load =
            cluster.pgbench_in_background(&["--client=2", "--transactions=2000", "--no-vacuum"]);
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        let start = receiver.position();
        let end = Lsn::new(start.get() + u64::from(SMALL.bytes()) / 2);
        received.take_until(&mut receiver, end).await;
        assert!(load.finish());
        let end = write_segments(&cluster, 4);
        received.take_until(&mut receiver, end).await;
        assert_eq!(received.disconnections, 0);
        assert!(received.compare(timeline, cluster.data_dir()) >= 5);
        receiver.stop().await;
        let left = cluster.psql("SELECT count(*) FROM pg_stat_replication");
        assert_eq!(left, "0", "the goodbye came after the connection's end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_of_the_server_the_log_goes_on_without_a_gap() {
    for installation in PgInstallation::all_or_skip("receiving over a crash") {
        let mut cluster = busy_cluster(installation);
        let options = from_here(&cluster).await;
        let timeline = options.timeline;
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        for round in 1..=2 {
            let load = cluster.pgbench_in_background(&["--client=2", "--time=30", "--no-vacuum"]);
            let end = Lsn::new(receiver.position().get() + u64::from(SMALL.bytes()) / 2);
            received.take_until(&mut receiver, end).await;
            cluster.kill_9();
            load.stop();
            while received.disconnections < round {
                received.take_one(&mut receiver).await;
            }
            cluster.start();
        }
        let end = write_segments(&cluster, 4);
        received.take_until(&mut receiver, end).await;
        assert!(received.compare(timeline, cluster.data_dir()) >= 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_waits_for_what_is_durable_and_no_longer() {
    for installation in PgInstallation::all_or_skip("shutting down") {
        let mut cluster = busy_cluster(installation);
        let options = from_here(&cluster).await;
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        // A server does not wait for receivers that have not started yet.
        let streaming = Lsn::new(receiver.position().get() + 1);
        received.take_until(&mut receiver, streaming).await;
        let stopping = tokio::task::spawn_blocking(move || {
            cluster.stop(StopMode::Fast);
            cluster
        });
        while received.disconnections == 0 {
            received.take_one(&mut receiver).await;
        }
        let mut cluster = stopping.await.unwrap();
        let at_shutdown = receiver.position();
        cluster.start();
        let redo = position(&cluster, "redo_lsn FROM pg_control_checkpoint()");
        assert!(
            at_shutdown > redo,
            "the shutdown's checkpoint at {redo} was not received"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_followed_to_the_next_timeline() {
    for installation in PgInstallation::all_or_skip("following a promotion") {
        let primary = busy_cluster(installation);
        let standby = PgCluster::standby_of(&primary);
        // Some packages come with the programs of a later version, which write a connection string
        // that the server's own library does not know.
        let way = primary.conninfo();
        standby.psql(&format!("ALTER SYSTEM SET primary_conninfo = '{way}'"));
        standby.psql("SELECT pg_reload_conf()");
        let options = from_here(&standby).await;
        let first = options.timeline;
        let mut receiver = WalReceiver::new(conninfo(&standby), options);
        let mut received = Received::default();
        let end = write_segments(&primary, 2);
        received.take_until(&mut receiver, end).await;
        primary.pgbench(&["--transactions=50", "--no-vacuum"]);
        standby.promote();
        let (at, next, history) = loop {
            match receiver.next(PATIENCE).await.unwrap() {
                WalEvent::TimelineEnded {
                    timeline,
                    at,
                    next,
                    history,
                } => {
                    assert_eq!(timeline, first);
                    break (at, next, history);
                }
                WalEvent::Idle => panic!("no end of the timeline"),
                _ => receiver.confirm(receiver.position()),
            }
        };
        assert_eq!(next, Timeline::new(first.get() + 1));
        let history = TimelineHistory::parse(next, &history).unwrap();
        assert_eq!(history.end_of(first), Some(at));
        let segment = Segment::holding(next, at, SMALL);
        assert_eq!(receiver.position(), segment.start(SMALL));
        let end = write_segments(&standby, 3);
        received.take_until(&mut receiver, end).await;
        assert!(received.compare(next, standby.data_dir()) >= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_caller_does_not_lose_the_connection() {
    let Some(installation) = PgInstallation::newest_or_skip("a slow caller") else {
        return;
    };
    let cluster = busy_cluster(installation);
    cluster.append_conf("wal_sender_timeout = 1s");
    cluster.psql("SELECT pg_reload_conf()");
    let mut options = from_here(&cluster).await;
    options.status_every = Duration::from_millis(200);
    let mut receiver = WalReceiver::new(conninfo(&cluster), options);
    let mut received = Received::default();
    received.take_one(&mut receiver).await;
    // Far more than fits into the queue, and nobody takes it for three timeouts.
    cluster.pgbench(&["--initialize", "--scale=4", "--quiet"]);
    cluster.psql("SELECT pg_sleep(3)");
    let end = write_segments(&cluster, 1);
    received.take_until(&mut receiver, end).await;
    assert_eq!(received.disconnections, 0);
    received.compare(Timeline::new(1), cluster.data_dir());
}

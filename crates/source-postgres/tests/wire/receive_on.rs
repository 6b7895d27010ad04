//! Where receiving ends: slots, removed segments, other clusters.

use std::time::Duration;

use lifeboat_model::{Diagnose as _, ErrorKind, Lsn, SystemId, Timeline};
use lifeboat_source_postgres::replication::{
    ReceiverOptions, ReceiverSlot, ReplicationError, SlotGuard, SlotKind, SlotName, Unprotected,
    WalEvent, WalReceiver,
};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{PATIENCE, Received, conninfo, from_here, identity, position, sender};

fn cluster(installation: &PgInstallation) -> PgCluster {
    PgCluster::on(installation)
        .wal_segment_mib(1)
        .without_fsync()
        .conf("min_wal_size = 2MB")
        .conf("max_wal_size = 2MB")
        .start()
}

fn slot_name() -> SlotName {
    "lifeboat_test".parse().unwrap()
}

fn lasting(guard: SlotGuard) -> ReceiverSlot {
    ReceiverSlot::Lasting {
        name: slot_name(),
        guard,
    }
}

async fn make_slot(cluster: &PgCluster) {
    let mut sender = sender(cluster).await;
    sender
        .create_slot(&slot_name(), SlotKind::Lasting)
        .await
        .unwrap();
    let again = sender.create_slot(&slot_name(), SlotKind::Lasting).await;
    assert!(
        matches!(again, Err(ReplicationError::SlotExists { .. })),
        "{again:?}"
    );
    let position = sender.read_slot(&slot_name()).await.unwrap().unwrap();
    assert!(position.restart.is_some());
    let none = sender.read_slot(&"no_such_slot".parse().unwrap()).await;
    assert_eq!(none.unwrap(), None);
    sender.close().await;
}

fn use_segments(cluster: &PgCluster, count: u32) {
    for _ in 0..count {
        cluster.psql("SELECT txid_current(); SELECT pg_switch_wal()");
    }
    cluster.psql("CHECKPOINT");
    cluster.psql("CHECKPOINT");
}

fn restart_of_slot(cluster: &PgCluster) -> Lsn {
    position(cluster, "restart_lsn FROM pg_replication_slots")
}

/// Takes events until the receiver gives up.
async fn failure(receiver: &mut WalReceiver) -> ReplicationError {
    loop {
        match receiver.next(PATIENCE).await {
            Ok(WalEvent::Idle) => panic!("nothing happened"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_keeps_the_log_until_it_is_confirmed() {
    for installation in PgInstallation::all_or_skip("slots") {
        let cluster = cluster(installation);
        make_slot(&cluster).await;
        let mut options = from_here(&cluster).await;
        options.slot = lasting(SlotGuard::Off);
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        use_segments(&cluster, 3);
        let end = position(&cluster, "pg_current_wal_flush_lsn()");
        let before = restart_of_slot(&cluster);
        while receiver.position() < end {
            receiver.next(PATIENCE).await.unwrap();
        }
        use_segments(&cluster, 5);
        let after = restart_of_slot(&cluster);
        assert!(
            after <= before.max(receiver_start(&before)),
            "{after} was let go unconfirmed"
        );
        receiver.confirm(end);
        while restart_of_slot(&cluster) < end {
            receiver
                .next(std::time::Duration::from_millis(50))
                .await
                .unwrap();
        }
        receiver.stop().await;
        let mut sender = sender(&cluster).await;
        sender.drop_slot(&slot_name()).await.unwrap();
        let again = sender.drop_slot(&slot_name()).await;
        assert!(
            matches!(again, Err(ReplicationError::NoSlot { .. })),
            "{again:?}"
        );
    }
}

/// Confirming where one starts moves a slot to the start of that segment at most.
fn receiver_start(before: &Lsn) -> Lsn {
    Lsn::new(before.get() - before.get() % (1 << 20) + (1 << 20))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_segment_is_named() {
    for installation in PgInstallation::all_or_skip("removed segments") {
        let cluster = cluster(installation);
        let options = from_here(&cluster).await;
        let first = options.start;
        use_segments(&cluster, 12);
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        match failure(&mut receiver).await {
            ReplicationError::SegmentRemoved { segment, from, .. } => {
                assert_eq!(from, first);
                assert_eq!(segment.timeline, Timeline::new(1));
            }
            other => panic!("{other:?}"),
        }
        // Asked again it tries again, and says the same.
        let again = failure(&mut receiver).await;
        assert_eq!(again.kind(), ErrorKind::NotFound);
        assert!(again.hint().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_keeps_too_much_is_dropped_before_it_fills_the_disk() {
    for installation in PgInstallation::all_or_skip("the guard of a slot") {
        let cluster = cluster(installation);
        make_slot(&cluster).await;
        let mut options = from_here(&cluster).await;
        options.slot = lasting(SlotGuard::Refuse { kept_max: 3 << 20 });
        let mut receiver = WalReceiver::new(conninfo(&cluster), options.clone());
        let mut received = Received::default();
        received.take_one(&mut receiver).await;
        use_segments(&cluster, 6);
        match failure(&mut receiver).await {
            ReplicationError::SlotBehind {
                kept,
                allowed,
                dropped,
                ..
            } => {
                assert!(kept > allowed && !dropped);
            }
            other => panic!("{other:?}"),
        }
        // A fresh receiver sees it before it receives anything.
        options.slot = lasting(SlotGuard::Drop { kept_max: 3 << 20 });
        let error = failure(&mut WalReceiver::new(conninfo(&cluster), options)).await;
        assert!(
            matches!(error, ReplicationError::SlotBehind { dropped: true, .. }),
            "{error:?}"
        );
        assert_eq!(
            cluster.psql("SELECT count(*) FROM pg_replication_slots"),
            "0"
        );
    }
}

fn slots(cluster: &PgCluster) -> String {
    cluster.psql("SELECT count(*) FROM pg_replication_slots WHERE temporary")
}

fn wait_for_slots(cluster: &PgCluster, count: &str) {
    for _ in 0..600 {
        if slots(cluster) == count {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{} temporary slots, not {count}", slots(cluster));
}

/// Takes the next connection; what comes before it is kept.
async fn connection(receiver: &mut WalReceiver, received: &mut Received) -> Option<Unprotected> {
    loop {
        match receiver.next(PATIENCE).await.unwrap() {
            WalEvent::Connected { unprotected, .. } => return unprotected,
            event => received.take(receiver, event),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_slot_keeps_the_log_for_a_slow_receiver_and_ends_with_it() {
    for installation in PgInstallation::all_or_skip("temporary slots") {
        let cluster = cluster(installation);
        let mut options = from_here(&cluster).await;
        let timeline = options.timeline;
        options.slot = ReceiverSlot::Temporary { kept_max: 1 << 30 };
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        let unprotected = connection(&mut receiver, &mut received).await;
        assert!(unprotected.is_none(), "{unprotected:?}");
        wait_for_slots(&cluster, "1");
        // More than waits for the receiver and in the system's buffers.
        use_segments(&cluster, 40);
        let end = position(&cluster, "pg_current_wal_flush_lsn()");
        received.take_until(&mut receiver, end).await;
        assert_eq!(received.disconnections, 0);
        assert!(received.logs[&timeline].1.len() >= 40 << 20);
        drop(receiver);
        wait_for_slots(&cluster, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_slot_to_give_is_received_without() {
    for installation in PgInstallation::all_or_skip("no free slot") {
        let cluster = PgCluster::on(installation)
            .wal_segment_mib(1)
            .without_fsync()
            .conf("max_replication_slots = 1")
            .start();
        make_slot(&cluster).await;
        let mut options = from_here(&cluster).await;
        options.slot = ReceiverSlot::Temporary { kept_max: 1 << 30 };
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        let unprotected = connection(&mut receiver, &mut received).await;
        match unprotected {
            Some(Unprotected::Refused(error)) => assert!(error.hint().is_some(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        use_segments(&cluster, 1);
        let end = position(&cluster, "pg_current_wal_flush_lsn()");
        received.take_until(&mut receiver, end).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_slot_that_keeps_too_much_is_given_up_and_taken_again() {
    for installation in PgInstallation::all_or_skip("the guard of a temporary slot") {
        let cluster = cluster(installation);
        cluster.append_conf("wal_keep_size = 1GB");
        cluster.psql("SELECT pg_reload_conf()");
        let mut options = from_here(&cluster).await;
        options.slot = ReceiverSlot::Temporary { kept_max: 3 << 20 };
        options.status_every = Duration::from_millis(100);
        let mut receiver = WalReceiver::new(conninfo(&cluster), options);
        let mut received = Received::default();
        let unprotected = connection(&mut receiver, &mut received).await;
        assert!(unprotected.is_none(), "{unprotected:?}");
        wait_for_slots(&cluster, "1");
        // Nobody takes anything, so that nothing is read any more: it is noticed all the same.
        use_segments(&cluster, 40);
        wait_for_slots(&cluster, "0");
        let unprotected = connection(&mut receiver, &mut received).await;
        assert!(
            matches!(unprotected, Some(Unprotected::Behind { kept, allowed }) if kept > allowed),
            "{unprotected:?}"
        );
        let unprotected = connection(&mut receiver, &mut received);
        let writes = async {
            loop {
                use_segments(&cluster, 1);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let unprotected = tokio::select! {
            unprotected = unprotected => unprotected,
            () = writes => unreachable!("it goes on for ever"),
        };
        assert!(unprotected.is_none(), "{unprotected:?}");
        wait_for_slots(&cluster, "1");
        assert_eq!(received.disconnections, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_or_history_is_refused() {
    let Some(installation) = PgInstallation::newest_or_skip("foreign servers") else {
        return;
    };
    let cluster = cluster(installation);
    let own = identity(&cluster).await;
    let start = |system_id, timeline, at| {
        let options = ReceiverOptions::new(system_id, timeline, at);
        WalReceiver::new(conninfo(&cluster), options)
    };
    let foreign = SystemId::new(own.system_id.get() ^ 1);
    let error = failure(&mut start(foreign, own.timeline, own.end)).await;
    assert!(
        matches!(error, ReplicationError::OtherCluster { .. }),
        "{error:?}"
    );
    let error = failure(&mut start(own.system_id, Timeline::new(7), own.end)).await;
    assert!(
        matches!(error, ReplicationError::Diverged { .. }),
        "{error:?}"
    );
    let mut ahead = start(
        own.system_id,
        own.timeline,
        Lsn::new(own.end.get() + (1 << 30)),
    );
    let event = ahead.next(PATIENCE).await.unwrap();
    assert!(
        matches!(
            event,
            WalEvent::Disconnected {
                error: ReplicationError::Ahead { .. },
                ..
            }
        ),
        "{event:?}"
    );
    cluster.psql("CREATE ROLE plain LOGIN");
    let mut stranger = conninfo(&cluster);
    stranger.user = "plain".to_owned();
    let options = from_here(&cluster).await;
    let error = failure(&mut WalReceiver::new(stranger, options)).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}

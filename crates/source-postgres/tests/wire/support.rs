//! What the tests of this folder share.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline};
use lifeboat_source_postgres::conninfo::{Conninfo, Surroundings};
use lifeboat_source_postgres::replication::{
    ReceiverOptions, SystemIdentity, WalEvent, WalReceiver, WalSender,
};
use lifeboat_testkit::PgCluster;

/// How long a test waits for one thing to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What clusters with small segments have.
pub(crate) const SMALL: SegmentSize = SegmentSize::new(1 << 20).expect("a power of two");

pub(crate) fn parse(text: &str) -> Conninfo {
    Conninfo::parse(text, Surroundings::NONE).expect("the test wrote it")
}

pub(crate) fn conninfo(cluster: &PgCluster) -> Conninfo {
    parse(&cluster.conninfo())
}

pub(crate) async fn sender(cluster: &PgCluster) -> WalSender {
    WalSender::connect(&conninfo(cluster)).await.unwrap()
}

pub(crate) async fn identity(cluster: &PgCluster) -> SystemIdentity {
    let mut sender = sender(cluster).await;
    let identity = sender.identify_system().await.unwrap();
    sender.close().await;
    identity
}

/// Returns options that receive from the start of the segment that is being written.
pub(crate) async fn from_here(cluster: &PgCluster) -> ReceiverOptions {
    let identity = identity(cluster).await;
    let segment = Segment::holding(identity.timeline, identity.end, SMALL);
    ReceiverOptions::new(identity.system_id, identity.timeline, segment.start(SMALL))
}

/// A position of the server's log, by SQL.
pub(crate) fn position(cluster: &PgCluster, expression: &str) -> Lsn {
    cluster
        .psql(&format!("SELECT {expression}"))
        .parse()
        .unwrap()
}

/// Bytes as they come, put together by timeline; a gap panics.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) logs: BTreeMap<Timeline, (Lsn, Vec<u8>)>,
    pub(crate) disconnections: u32,
    pub(crate) switches: Vec<(Timeline, Lsn, Timeline)>,
}

impl Received {
    /// Takes events until the log reaches `end` on the receiver's timeline, and confirms them.
    pub(crate) async fn take_until(&mut self, receiver: &mut WalReceiver, end: Lsn) {
        while receiver.position() < end {
            self.take_one(receiver).await;
        }
    }

    pub(crate) async fn take_one(&mut self, receiver: &mut WalReceiver) {
        let event = receiver.next(PATIENCE).await.unwrap();
        self.take(receiver, event);
    }

    pub(crate) fn take(&mut self, receiver: &mut WalReceiver, event: WalEvent) {
        match event {
            WalEvent::Bytes {
                timeline,
                start,
                bytes,
            } => {
                let (first, log) = self.logs.entry(timeline).or_insert((start, Vec::new()));
                assert_eq!(first.get() + log.len() as u64, start.get(), "a gap");
                log.extend_from_slice(&bytes);
                receiver.confirm(receiver.position());
            }
            WalEvent::TimelineEnded {
                timeline, at, next, ..
            } => self.switches.push((timeline, at, next)),
            WalEvent::Disconnected { .. } => self.disconnections += 1,
            WalEvent::Connected { segment_size, .. } => assert_eq!(segment_size, SMALL),
            WalEvent::Idle => panic!("nothing came at {}", receiver.position()),
        }
    }

    /// Compares the whole segments that were received with the server's, byte for byte, and returns
    /// how many there were.
    pub(crate) fn compare(&self, timeline: Timeline, data_dir: &Path) -> usize {
        let (start, log) = &self.logs[&timeline];
        let mut segment = Segment::holding(timeline, *start, SMALL);
        assert_eq!(segment.start(SMALL), *start);
        let whole = log.chunks_exact(SMALL.bytes() as usize);
        let count = whole.len();
        for received in whole {
            let stored = std::fs::read(data_dir.join("pg_wal").join(segment.to_string())).unwrap();
            assert!(stored == received, "{segment} differs");
            segment = segment.next(SMALL);
        }
        count
    }
}

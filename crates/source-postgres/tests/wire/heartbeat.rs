//! The heartbeat on primaries, standbys, and without rights.

use lifeboat_model::{Diagnose as _, Segment, SegmentSize};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::heartbeat::{self, HeartbeatError};
use lifeboat_source_postgres::wal::scan_segment;
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{conninfo, identity};

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_is_committed_before_the_position_it_returns() {
    for installation in PgInstallation::all_or_skip("the heartbeat") {
        let cluster = PgCluster::on(installation).start();
        let session = SqlSession::connect(&conninfo(&cluster)).await.unwrap();
        assert_eq!(heartbeat::read(&session).await.unwrap(), None);
        heartbeat::create(&session).await.unwrap();
        heartbeat::create(&session).await.unwrap();
        assert_eq!(heartbeat::read(&session).await.unwrap(), None);
        heartbeat::beat(&session).await.unwrap();
        let beat = heartbeat::beat(&session).await.unwrap();
        assert_eq!(heartbeat::read(&session).await.unwrap(), Some(beat.at));
        assert_eq!(cluster.psql("SELECT count(*) FROM lifeboat.heartbeat"), "1");

        let size = SegmentSize::DEFAULT;
        let segment = Segment::holding(identity(&cluster).await.timeline, beat.end, size);
        let file = cluster.data_dir().join("pg_wal").join(segment.to_string());
        let bytes = std::fs::read(file).unwrap();
        let up_to = (beat.end.get() - segment.start(size).get()) as usize;
        let scanned = scan_segment(&bytes[..up_to], segment.start(size), size);
        let newest = scanned
            .newest_commit
            .expect("the beat's commit is before its end");
        assert!(newest.at >= beat.at, "{newest:?} is older than {beat:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_and_a_role_without_rights_are_told() {
    let Some(primary) = PgCluster::or_skip("the heartbeat's refusals") else {
        return;
    };
    primary.psql("CREATE ROLE plain LOGIN");
    let mut plain = conninfo(&primary);
    plain.user = "plain".to_owned();
    let session = SqlSession::connect(&plain).await.unwrap();
    let error = heartbeat::create(&session).await.unwrap_err();
    assert!(
        matches!(error, HeartbeatError::NotPermitted { .. }),
        "{error:?}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("TO \"plain\"") && hint.contains("heartbeat = false"),
        "{hint}"
    );
    // What the hint says helps.
    let statements = hint.strip_prefix("as a superuser: ").unwrap();
    let (statements, _) = statements.split_once("; or ").unwrap();
    primary.psql(statements);
    heartbeat::create(&session).await.unwrap();
    heartbeat::beat(&session).await.unwrap();

    // Whoever owns the schema need not be allowed to make one, as the documentation has it.
    primary.psql("CREATE ROLE owner LOGIN");
    primary.psql("DROP SCHEMA lifeboat CASCADE; CREATE SCHEMA lifeboat AUTHORIZATION owner");
    let mut owner = conninfo(&primary);
    owner.user = "owner".to_owned();
    let session = SqlSession::connect(&owner).await.unwrap();
    heartbeat::create(&session).await.unwrap();
    heartbeat::create(&session).await.unwrap();
    heartbeat::beat(&session).await.unwrap();

    let standby = PgCluster::standby_of(&primary);
    let session = SqlSession::connect(&conninfo(&standby)).await.unwrap();
    let error = heartbeat::create(&session).await.unwrap_err();
    assert!(matches!(error, HeartbeatError::Standby), "{error:?}");
    let error = heartbeat::beat(&session).await.unwrap_err();
    assert!(matches!(error, HeartbeatError::Standby), "{error:?}");
    assert!(heartbeat::read(&session).await.unwrap().is_some());
}

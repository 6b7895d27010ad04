//! Logging in, and being refused.

use lifeboat_model::Diagnose as _;
use lifeboat_source_postgres::connect::{ConnectError, SqlSession};
use lifeboat_source_postgres::conninfo::Conninfo;
use lifeboat_source_postgres::replication::{ReplicationError, WalSender};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::{conninfo, parse};

/// A password that every layer would get wrong if it quoted carelessly.
const PASSWORD: &str = r"it's a \ p@ss";

/// Puts lines before the ones that initdb wrote: the first that fits decides.
fn prepend_hba(cluster: &PgCluster, lines: &str) {
    let path = cluster.data_dir().join("pg_hba.conf");
    let old = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{lines}\n{old}")).unwrap();
    cluster.psql("SELECT pg_reload_conf()");
    // A reload is asked for, not waited for; a new connection may still see the old rules.
    while cluster.psql("SELECT count(*) FROM pg_hba_file_rules WHERE user_name @> '{plain}'") == "0"
    {
    }
}

fn loopback(cluster: &PgCluster, user: &str, password: &str) -> Conninfo {
    let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
    let port = cluster.port();
    parse(&format!(
        "host=127.0.0.1 port={port} user={user} password='{quoted}' dbname=postgres sslmode=disable"
    ))
}

fn cluster_with_roles(installation: &PgInstallation) -> PgCluster {
    let cluster = PgCluster::on(installation).loopback(PASSWORD).start();
    let quoted = PASSWORD.replace('\'', "''");
    cluster.psql(&format!(
        "CREATE ROLE plain LOGIN REPLICATION PASSWORD '{quoted}'"
    ));
    cluster.psql(&format!(
        "SET password_encryption = 'md5'; CREATE ROLE md LOGIN REPLICATION PASSWORD '{quoted}'"
    ));
    prepend_hba(
        &cluster,
        "host all md 127.0.0.1/32 md5\nhost replication md 127.0.0.1/32 md5\n\
         host all plain 127.0.0.1/32 password\nhost replication plain 127.0.0.1/32 password\n\
         host all stranger 127.0.0.1/32 reject\nhost replication stranger 127.0.0.1/32 reject",
    );
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_log_in_works_for_sql_and_for_replication() {
    for installation in PgInstallation::all_or_skip("logging in") {
        let cluster = cluster_with_roles(installation);
        let ways = [
            conninfo(&cluster),
            loopback(&cluster, "postgres", PASSWORD),
            loopback(&cluster, "md", PASSWORD),
            loopback(&cluster, "plain", PASSWORD),
        ];
        for way in ways {
            let session = SqlSession::connect(&way).await.unwrap();
            let row = session.query_one("SELECT current_user::text", &[]).await;
            assert_eq!(row.unwrap().get::<_, String>(0), way.user);
            let mut sender = WalSender::connect(&way).await.unwrap();
            assert_eq!(sender.major_version(), installation.major);
            let identity = sender.identify_system().await.unwrap();
            let by_sql = cluster.psql("SELECT system_identifier FROM pg_control_system()");
            assert_eq!(identity.system_id.to_string(), by_sql);
            assert_eq!(sender.show("wal_block_size").await.unwrap(), "8192");
            assert_eq!(sender.segment_size().await.unwrap().bytes(), 16 << 20);
            sender.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_own_error_and_hint() {
    use ConnectError as E;
    let Some(installation) = PgInstallation::newest_or_skip("refusals") else {
        return;
    };
    let cluster = cluster_with_roles(installation);
    let right = loopback(&cluster, "postgres", PASSWORD);
    let mut without_password = right.clone();
    without_password.hosts[0].password = None;
    let mut elsewhere = right.clone();
    elsewhere.hosts[0].port = 1;
    let port = cluster.port();
    let must_encrypt = parse(&format!(
        "host=127.0.0.1 port={port} user=postgres password=x sslmode=require"
    ));
    type Refusal = (Conninfo, fn(&E) -> bool);
    let refusals: [Refusal; 6] = [
        (loopback(&cluster, "postgres", "wrong"), |e| {
            matches!(e, E::Login { .. })
        }),
        (loopback(&cluster, "stranger", "x"), |e| {
            matches!(e, E::NotAllowed { .. })
        }),
        (without_password, |e| matches!(e, E::NoPassword { .. })),
        (elsewhere, |e| matches!(e, E::NoServer { .. })),
        (must_encrypt, |e| matches!(e, E::TlsRefused { .. })),
        (conninfo(&cluster).with_dbname("nowhere"), |e| {
            matches!(e, E::NoDatabase { .. })
        }),
    ];
    for (number, (wrong, is_right)) in refusals.iter().enumerate() {
        let error = SqlSession::connect(wrong).await.unwrap_err();
        assert!(is_right(&error), "SQL {number}: {error:?}");
        assert!(error.hint().is_some(), "{number}");
        if number == 5 {
            continue;
        }
        match WalSender::connect(wrong).await.unwrap_err() {
            ReplicationError::Connect(error) => {
                assert!(is_right(&error), "replication {number}: {error:?}");
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("p@ss"), "{shown}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_host_that_will_do_is_taken() {
    let Some(primary) = PgCluster::or_skip("several hosts") else {
        return;
    };
    let standby = PgCluster::standby_of(&primary);
    let (first, second) = (standby.socket_dir(), primary.socket_dir());
    let hosts = |target: &str| {
        parse(&format!(
            "host=/nowhere,{},{} user=postgres target_session_attrs={target}",
            first.display(),
            second.display()
        ))
    };
    for (target, expected) in [
        ("any", &standby),
        ("primary", &primary),
        ("standby", &standby),
    ] {
        let session = SqlSession::connect(&hosts(target)).await.unwrap();
        let folder = expected.socket_dir();
        assert!(
            session
                .host()
                .to_string()
                .starts_with(folder.to_str().unwrap())
        );
    }
    drop(primary);
    let error = SqlSession::connect(&hosts("primary")).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::NoServer { .. } | ConnectError::WrongTarget { .. }
    ));
}

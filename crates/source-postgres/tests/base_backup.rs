//! Base backups of real servers: what is kept, what is refused, what is noticed.

mod support;

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose as _, ErrorKind, Lsn, SystemId};
use lifeboat_source_postgres::{
    ArchiverStatus, BackupLabel, BaseBackup, ClusterReader, ClusterState, ControlFile,
    DataDirectory, PageChecks, PostgresError, ServerFacts, switch_wal,
};
use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

use support::{Snapshot, back_up, connect, connect_with, options};

#[test]
fn the_control_file_says_what_pg_controldata_says() {
    for installation in PgInstallation::all_or_skip("control file") {
        let mut cluster = PgCluster::on(installation)
            .wal_segment_mib(4)
            .without_fsync()
            .start();
        cluster.psql("CREATE TABLE t AS SELECT generate_series(1, 1000); CHECKPOINT");
        let running = ControlFile::read(cluster.data_dir()).unwrap();
        assert_eq!(running.state, ClusterState::InProduction);
        cluster.stop(StopMode::Fast);
        let control = ControlFile::read(cluster.data_dir()).unwrap();
        assert_eq!(control.state, ClusterState::ShutDown);
        if !installation.has("pg_controldata") {
            continue;
        }
        let said = installation.run(
            "pg_controldata",
            &["-D", cluster.data_dir().to_str().unwrap()],
        );
        let value = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}"))
                .trim()
                .to_owned()
        };
        let limits = control.limits;
        for (name, ours) in [
            ("Database system identifier:", control.system_id.to_string()),
            ("pg_control version number:", control.layout.to_string()),
            (
                "Catalog version number:",
                control.catalog_version.to_string(),
            ),
            (
                "Latest checkpoint location:",
                control.checkpoint.to_string(),
            ),
            (
                "Latest checkpoint's REDO location:",
                control.redo.to_string(),
            ),
            (
                "Latest checkpoint's TimeLineID:",
                control.timeline.to_string(),
            ),
            ("Database block size:", control.page_bytes.to_string()),
            (
                "Blocks per segment of large relation:",
                control.pages_per_file.to_string(),
            ),
            (
                "Bytes per WAL segment:",
                control.segment_size.bytes().to_string(),
            ),
            (
                "Data page checksum version:",
                u8::from(control.checksums).to_string(),
            ),
            (
                "max_connections setting:",
                limits.max_connections.to_string(),
            ),
            (
                "max_worker_processes setting:",
                limits.max_worker_processes.to_string(),
            ),
            (
                "max_wal_senders setting:",
                limits.max_wal_senders.to_string(),
            ),
            (
                "max_prepared_xacts setting:",
                limits.max_prepared_transactions.to_string(),
            ),
            (
                "max_locks_per_xact setting:",
                limits.max_locks_per_transaction.to_string(),
            ),
        ] {
            assert_eq!(ours, value(name), "{name}");
        }
        assert!(control.logs_enough);
        assert_eq!(control.min_recovery, None);
    }
}

#[test]
fn a_damaged_control_file_is_refused() {
    let Some(cluster) = PgCluster::or_skip("damaged control file") else {
        return;
    };
    let sound = fs::read(cluster.data_dir().join("global/pg_control")).unwrap();
    ControlFile::parse(&sound).unwrap();
    let checksum_end = if sound[8] == 8 { 296 } else { 292 };
    for at in 0..checksum_end {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        assert!(ControlFile::parse(&damaged).is_err(), "byte {at}");
    }
    assert!(ControlFile::parse(&sound[..100]).is_err());
}

/// Plants every kind of file that has a rule, and looks for each in the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_rule_holds() {
    for installation in PgInstallation::all_or_skip("file rules") {
        let mut cluster = PgCluster::on(installation).without_fsync().start();
        let data = cluster.data_dir().to_owned();
        let space = cluster.make_folder("space");
        cluster.psql(&format!(
            "CREATE TABLESPACE s LOCATION '{}'",
            space.display()
        ));
        cluster.psql(
            "CREATE TABLE logged AS SELECT generate_series(1, 1000) AS n;
             CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) AS n;
             CREATE TABLE far (n int) TABLESPACE s; INSERT INTO far VALUES (1);
             CREATE UNLOGGED TABLE far_unlogged TABLESPACE s AS SELECT generate_series(1, 9) AS n;",
        );
        cluster.psql("VACUUM logged");
        cluster.psql("VACUUM unlogged");
        let path = |table: &str| cluster.psql(&format!("SELECT pg_relation_filepath('{table}')"));
        let (logged, unlogged) = (path("logged"), path("unlogged"));
        let (far, far_unlogged) = (path("far"), path("far_unlogged"));
        cluster.stop(StopMode::Fast);
        plant(&data, &cluster.make_folder("elsewhere"));
        cluster.start();
        let client = connect(&cluster).await;
        client
            .batch_execute("CREATE TEMP TABLE mine AS SELECT generate_series(1, 1000) AS n")
            .await
            .unwrap();
        let row = client.query_one("SELECT pg_relation_filepath('mine')", &[]);
        let temporary: String = row.await.unwrap().get(0);
        assert!(data.join(&temporary).exists());

        let (snapshot, end, stats) = back_up(&cluster, "snapshot").await;

        assert_eq!(stats.damaged_pages, 0, "{:?}", stats.problems);
        assert!(stats.pages_verified > 500);
        for kept in [
            logged.clone(),
            format!("{logged}_fsm"),
            format!("{logged}_vm"),
            format!("{unlogged}_init"),
            "PG_VERSION".to_owned(),
            "postgresql.conf".to_owned(),
            "postgresql.auto.conf".to_owned(),
            "global/pg_filenode.map".to_owned(),
            "log/server.log".to_owned(),
            "log/latest".to_owned(),
            "conf.d".to_owned(),
            "pg_xact/0000".to_owned(),
            "pg_multixact/offsets/0000".to_owned(),
        ] {
            assert!(snapshot.has(&format!("data/{kept}")), "{kept} is missing");
        }
        let absent = [
            unlogged.clone(),
            format!("{unlogged}_fsm"),
            format!("{unlogged}_vm"),
            temporary.clone(),
            "global/pg_control".to_owned(),
            "postmaster.pid".to_owned(),
            "postmaster.opts".to_owned(),
            "postgresql.auto.conf.tmp".to_owned(),
            "current_logfiles.tmp".to_owned(),
            "backup_label.old".to_owned(),
            "tablespace_map.old".to_owned(),
            "backup_manifest".to_owned(),
            "recovery.done".to_owned(),
            "base/pgsql_tmp".to_owned(),
            "base/1/pg_internal.init".to_owned(),
            "base/1/pg_internal.init.99".to_owned(),
            "base/1/t7_16400".to_owned(),
            "base/1/t7_16400_fsm".to_owned(),
            "some.socket".to_owned(),
        ];
        for left_out in absent {
            let listed = snapshot.has(&format!("data/{left_out}"));
            assert!(!listed, "{left_out} is there");
        }
        for emptied in [
            "pg_dynshmem",
            "pg_notify",
            "pg_replslot",
            "pg_serial",
            "pg_snapshots",
            "pg_stat_tmp",
            "pg_subtrans",
            "pg_tblspc",
            "pg_wal",
        ] {
            let folder = snapshot.path("data").join(emptied);
            assert!(folder.symlink_metadata().unwrap().is_dir(), "{emptied}");
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{emptied}");
        }
        // A tablespace lies as a plain folder, with this version's part only.
        assert!(snapshot.has(&far), "{far}");
        assert!(!snapshot.has(&far_unlogged));
        assert!(snapshot.has(&format!("{far_unlogged}_init")));
        let map = String::from_utf8(end.tablespace_map.clone().unwrap()).unwrap();
        assert!(map.contains(space.to_str().unwrap()));
        // What makes it a cluster comes last.
        let tail: Vec<_> = snapshot
            .paths
            .iter()
            .filter(|path| path.starts_with("recovery"))
            .collect();
        assert!(
            snapshot
                .paths
                .ends_with(&tail.iter().map(|path| (*path).clone()).collect::<Vec<_>>())
        );
        assert_eq!(
            fs::read(snapshot.path("recovery/backup_label")).unwrap(),
            end.label
        );
        let control = fs::read(snapshot.path("recovery/pg_control")).unwrap();
        assert!(ControlFile::parse(&control).unwrap().checkpoint >= end.start);
        assert_eq!(BackupLabel::parse(&end.label).unwrap().start, end.start);
        for segment in end.segments() {
            assert!(snapshot.has(&format!("recovery/wal/{segment}")));
        }
    }
}

/// Puts oddities into a data directory whose server is stopped.
fn plant(data: &Path, elsewhere: &Path) {
    for file in [
        "postgresql.auto.conf.tmp",
        "current_logfiles.tmp",
        "backup_label.old",
        "tablespace_map.old",
        "backup_manifest",
        "recovery.done",
        "base/1/pg_internal.init.99",
        "base/1/t7_16400",
        "base/1/t7_16400_fsm",
    ] {
        fs::write(data.join(file), "x").unwrap();
    }
    fs::create_dir_all(data.join("log")).unwrap();
    fs::write(data.join("log/server.log"), "LOG").unwrap();
    symlink("server.log", data.join("log/latest")).unwrap();
    symlink("/etc/nothing", data.join("conf.d")).unwrap();
    drop(UnixListener::bind(data.join("some.socket")).unwrap());
    // The log, and a folder that is the server's own, on another disk.
    for name in ["pg_wal", "pg_xact"] {
        let there = elsewhere.join(name);
        fs::rename(data.join(name), &there).unwrap();
        symlink(&there, data.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_stops_nothing() {
    for installation in PgInstallation::all_or_skip("flipped bit") {
        let mut cluster = PgCluster::on(installation).without_fsync().start();
        cluster.psql("CREATE TABLE t AS SELECT generate_series(1, 20000) AS n; CHECKPOINT");
        let table = cluster.psql("SELECT pg_relation_filepath('t')");
        cluster.stop(StopMode::Fast);
        let mut file = fs::File::options()
            .write(true)
            .open(cluster.data_dir().join(&table))
            .unwrap();
        file.seek(SeekFrom::Start(3 * 8192 + 5000)).unwrap();
        file.write_all(b"\xee").unwrap();
        drop(file);
        cluster.start();
        let (_, _, stats) = back_up(&cluster, "snapshot").await;
        assert_eq!(stats.damaged_pages, 1, "{:?}", stats.problems);
        assert_eq!(stats.problems[0].path.to_string(), format!("data/{table}"));
        assert_eq!(stats.problems[0].block, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_fails_the_backup() {
    let Some(cluster) = PgCluster::or_skip("unreadable file") else {
        return;
    };
    let gone = cluster.data_dir().join("pg_xact/0001");
    symlink("/nowhere/at/all", &gone).unwrap();
    let directory = DataDirectory::open(cluster.data_dir()).unwrap();
    let reader = ClusterReader::start(directory, Lsn::default(), PageChecks::Off);
    let mut snapshot = Snapshot::new(cluster.make_folder("snapshot"));
    let error = snapshot.take(reader).await.unwrap_err();
    assert!(error.to_string().contains("pg_xact/0001"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_cluster_is_refused() {
    let Some(asked) = PgCluster::or_skip("another cluster") else {
        return;
    };
    let other = PgCluster::on(asked.installation()).create();
    let client = connect(&asked).await;
    // Clusters of the tests are copies of one, so their identifiers agree: no server runs there.
    let refused = |path: PathBuf| {
        let client = &client;
        let asked = &asked;
        async move {
            let mut options = options(asked);
            options.data_directory = Some(&path);
            BaseBackup::start(client, &options).await.unwrap_err()
        }
    };
    let error = refused(other.data_dir().to_owned()).await;
    assert!(
        matches!(error, PostgresError::OtherCluster { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("no server runs on it"),
        "{error}"
    );
    // A server runs there, but not this one.
    let mut twin = other;
    twin.append_conf("cluster_name = twin");
    twin.start();
    let error = refused(twin.data_dir().to_owned()).await;
    assert!(
        matches!(error, PostgresError::OtherCluster { .. }),
        "{error}"
    );
    // Another identifier.
    let foreign = PgCluster::on(asked.installation())
        .wal_segment_mib(1)
        .start();
    let error = refused(foreign.data_dir().to_owned()).await;
    assert!(error.to_string().contains("system identifier"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.hint().is_some());
    // No cluster at all.
    let error = refused(asked.make_folder("empty")).await;
    assert!(
        matches!(error, PostgresError::NotADataDirectory { .. }),
        "{error}"
    );
    // The server is still able to be backed up.
    BaseBackup::start(&client, &options(&asked))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_the_grants_and_they_suffice() {
    for installation in PgInstallation::all_or_skip("rights") {
        let cluster = PgCluster::on(installation).without_fsync().start();
        cluster.psql("CREATE ROLE backup LOGIN");
        let conninfo = cluster.conninfo().replace("user=postgres", "user=backup");
        let client = connect_with(&conninfo).await;
        let error = BaseBackup::start(&client, &options(&cluster))
            .await
            .unwrap_err();
        assert!(matches!(error, PostgresError::Privilege { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Denied);
        cluster.psql(&error.hint().unwrap());
        let backup = BaseBackup::start(&client, &options(&cluster))
            .await
            .unwrap();
        assert_eq!(backup.facts().data_directory, None);
        backup.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_minimal_log_is_refused() {
    let Some(installation) = PgInstallation::newest_or_skip("wal_level") else {
        return;
    };
    let cluster = PgCluster::on(installation)
        .conf("wal_level = minimal")
        .conf("max_wal_senders = 0")
        .start();
    let client = connect(&cluster).await;
    let error = BaseBackup::start(&client, &options(&cluster))
        .await
        .unwrap_err();
    assert!(matches!(error, PostgresError::WalLevelMinimal), "{error}");
    assert!(error.hint().unwrap().contains("wal_level = replica"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_what_a_backup_must_know() {
    for installation in PgInstallation::all_or_skip("facts") {
        let cluster = PgCluster::on(installation)
            .conf("archive_mode = on")
            .conf("archive_command = 'true'")
            .start();
        let client = connect(&cluster).await;
        let facts = ServerFacts::ask(&client).await.unwrap();
        let control = ControlFile::read(cluster.data_dir()).unwrap();
        assert_eq!(facts.version / 10_000, installation.major);
        assert_eq!(facts.system_id, control.system_id);
        assert_ne!(facts.system_id, SystemId::new(0));
        assert_eq!(facts.catalog_version, control.catalog_version);
        assert_eq!(facts.timeline, control.timeline);
        assert_eq!(facts.segment_size, control.segment_size);
        assert_eq!(facts.page_bytes, control.page_bytes);
        assert!(facts.checksums && facts.archives && !facts.in_recovery);
        assert_eq!(facts.bootstrap_role, "postgres");
        assert_eq!(facts.data_directory.as_deref(), Some(cluster.data_dir()));
        // A finished segment reaches the archive.
        cluster.psql("CREATE TABLE t ()");
        let switched = switch_wal(&client).await.unwrap();
        assert!(switched > control.checkpoint);
        let archived = async {
            loop {
                let status = ArchiverStatus::ask(&client).await.unwrap();
                if let Some((name, _)) = status.last_archived {
                    break name;
                }
                tokio::task::yield_now().await;
            }
        };
        let name = tokio::time::timeout(support::PATIENCE, archived)
            .await
            .unwrap();
        assert_eq!(name.timeline(), facts.timeline);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_aborts_the_backup_of_a_standby() {
    for installation in PgInstallation::all_or_skip("promotion") {
        let primary = PgCluster::on(installation).without_fsync().start();
        let standby = PgCluster::standby_of(&primary);
        let client = connect(&standby).await;
        let backup = BaseBackup::start(&client, &options(&standby))
            .await
            .unwrap();
        assert!(backup.facts().in_recovery);
        standby.promote();
        let error = backup.stop().await.unwrap_err();
        assert!(matches!(error, PostgresError::Promoted), "{error}");
    }
}

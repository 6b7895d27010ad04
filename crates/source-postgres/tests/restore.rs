//! Snapshots become clusters again, and the clusters hold what was committed.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_postgres::checks::{self, AmcheckOutcome};
use lifeboat_source_postgres::{
    PostgresError, Preload, RecoveryParts, RecoverySettings, RecoveryTarget, ScratchCluster,
    ScratchOptions, ScratchPhase, StopMode, TargetAction, TargetEdge, TargetMode, TimelineChoice,
    check_target, finish_restore, map_tablespaces, parse_tablespace_map,
};
use lifeboat_testkit::{PgCluster, PgInstallation};

use support::{PATIENCE, Snapshot, back_up, connect, programs};

/// Puts a snapshot in place as a restore does, with its tablespaces beside it.
fn restore(snapshot: &Snapshot, target: &Path, settings: &RecoverySettings) {
    let part = |name: &str| fs::read(snapshot.path("recovery").join(name)).unwrap();
    let map = snapshot.path("recovery/tablespace_map");
    let old = parse_tablespace_map(&fs::read(map).unwrap_or_default()).unwrap();
    let moved: Vec<(PathBuf, PathBuf)> = old
        .iter()
        .map(|space| {
            let new = target.with_extension(format!("space-{}", space.oid));
            (space.location.clone(), new)
        })
        .collect();
    let tablespaces = map_tablespaces(&old, &moved).unwrap();
    check_target(target, &tablespaces, TargetMode::Empty).unwrap();
    copy(&snapshot.path("data"), target);
    for space in &tablespaces {
        let from = snapshot.path("pg_tblspc").join(space.oid.to_string());
        copy(&from, &space.location);
    }
    let wal = snapshot.path("recovery/wal");
    if wal.exists() {
        for file in fs::read_dir(wal).unwrap() {
            let file = file.unwrap();
            copy(&file.path(), &target.join("pg_wal").join(file.file_name()));
        }
    }
    let (label, control) = (part("backup_label"), part("pg_control"));
    finish_restore(
        target,
        &RecoveryParts {
            label: &label,
            control: &control,
            tablespaces: &tablespaces,
            settings,
        },
    )
    .unwrap();
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

fn start(cluster: &PgCluster, target: &Path, settings: &[String]) -> ScratchCluster {
    let programs = programs(cluster);
    ScratchCluster::start(&ScratchOptions {
        programs: &programs,
        data_directory: target,
        folder: &target.with_extension("run"),
        role: "postgres",
        preload: Preload::Nothing,
        settings,
    })
    .unwrap()
}

async fn open(scratch: &mut ScratchCluster) {
    let ready = scratch
        .wait_for(ScratchPhase::Open, PATIENCE, &mut |_| {})
        .await;
    ready.unwrap();
}

async fn holds(scratch: &ScratchCluster, sql: &str) -> bool {
    let client = scratch.connect("postgres").await.unwrap();
    checks::assertion(&client, sql, PATIENCE).await.unwrap()
}

async fn assert_sound(scratch: &ScratchCluster) {
    match checks::amcheck(scratch).await.unwrap() {
        AmcheckOutcome::Checked(report) => {
            assert_eq!(report.damaged, []);
            assert_eq!(report.unchecked, []);
            assert!(report.indexes > 100);
        }
        AmcheckOutcome::NotRun { why } => {
            let sql = "SELECT count(*) = 0 FROM pg_available_extensions WHERE name = 'amcheck'";
            assert!(holds(scratch, sql).await, "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_load_becomes_a_consistent_cluster() {
    for installation in PgInstallation::all_or_skip("copy under load") {
        if !installation.program("pgbench").exists() {
            continue;
        }
        let cluster = PgCluster::on(installation).without_fsync().start();
        let space = cluster.make_folder("space");
        cluster.psql(&format!(
            "CREATE TABLESPACE s LOCATION '{}'",
            space.display()
        ));
        cluster.pgbench(&["-i", "-q", "-s", "5", "--tablespace=s"]);
        cluster.psql("CREATE UNLOGGED TABLE volatile AS SELECT generate_series(1, 9) AS n");
        let load = cluster.pgbench_in_background(&["-c", "2", "-T", "600"]);
        let before = cluster.psql("SELECT count(*) FROM pgbench_history");
        let (snapshot, _, stats) = back_up(&cluster, "snapshot").await;
        let after = cluster.psql("SELECT count(*) FROM pgbench_history");
        load.stop();
        assert_eq!(stats.damaged_pages, 0, "{:?}", stats.problems);

        let target = cluster.data_dir().with_file_name("restored");
        restore(&snapshot, &target, &RecoverySettings::default());
        let mut scratch = start(&cluster, &target, &[]);
        let mut phases = Vec::new();
        scratch
            .wait_for(ScratchPhase::Open, PATIENCE, &mut |status| {
                phases.push(status.phase);
            })
            .await
            .unwrap();
        assert_eq!(phases.last(), Some(&ScratchPhase::Open));
        assert!(phases.is_sorted());
        // Every transaction of pgbench adds the same amount in four places.
        for table in ["accounts WHERE abalance <> 0", "tellers", "branches"] {
            let column = &table[..1];
            let sql = format!(
                "SELECT (SELECT coalesce(sum({column}balance), 0) FROM pgbench_{table})
                      = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
            );
            assert!(holds(&scratch, &sql).await, "{table}");
        }
        let count = format!("SELECT count(*) BETWEEN {before} AND {after} FROM pgbench_history");
        assert!(holds(&scratch, &count).await);
        assert!(holds(&scratch, "SELECT count(*) = 0 FROM volatile").await);
        assert_sound(&scratch).await;
        scratch.stop(StopMode::Fast, PATIENCE).await.unwrap();
    }
}

/// A cluster with an archive, and a table that tells which of its rows were committed when.
fn archiving(installation: &PgInstallation) -> (PgCluster, PathBuf) {
    let mut cluster = PgCluster::on(installation).without_fsync().create();
    let archive = cluster.make_folder("archive");
    cluster.append_conf("archive_mode = on");
    cluster.append_conf(&format!(
        "archive_command = 'cp %p {}/%f'",
        archive.display()
    ));
    cluster.start();
    cluster.psql("CREATE TABLE ledger (n int PRIMARY KEY)");
    (cluster, archive)
}

async fn archived(cluster: &PgCluster, archive: &Path) {
    let name = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    cluster.psql("SELECT pg_switch_wal()");
    let waiting = async {
        while !archive.join(&name).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    // `cp` made the file a moment before it filled it.
    let done = format!("SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver");
    wait_until(cluster, &done).await;
}

async fn wait_until(cluster: &PgCluster, sql: &str) {
    let waiting = async {
        while cluster.psql(sql) != "t" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_target_is_reached_exactly() {
    for installation in PgInstallation::all_or_skip("targets") {
        let (cluster, archive) = archiving(installation);
        let (snapshot, ..) = back_up(&cluster, "snapshot").await;
        let mut targets = vec![(RecoveryTarget::Immediate, 0)];
        for n in 1..=4 {
            cluster.psql(&format!("INSERT INTO ledger VALUES ({n})"));
            let ask = |sql: &str| cluster.psql(sql);
            let target = match n {
                1 => RecoveryTarget::Time(
                    ask("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',
                                        'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
                    .parse()
                    .unwrap(),
                ),
                2 => {
                    RecoveryTarget::Lsn(ask("SELECT pg_current_wal_insert_lsn()").parse().unwrap())
                }
                3 => {
                    let sql = "SELECT xmin::text FROM ledger WHERE n = 3";
                    RecoveryTarget::Xid(ask(sql).parse().unwrap())
                }
                _ => {
                    ask("SELECT pg_create_restore_point('it''s \\here')");
                    RecoveryTarget::Name(r"it's \here".to_owned())
                }
            };
            targets.push((target, n));
        }
        cluster.psql("INSERT INTO ledger VALUES (5)");
        archived(&cluster, &archive).await;
        targets.push((RecoveryTarget::Latest, 5));
        for (number, (target, rows)) in targets.into_iter().enumerate() {
            let settings = RecoverySettings {
                target,
                restore_command: Some(format!("cp {}/%f \"%p\"", archive.display())),
                ..RecoverySettings::default()
            };
            let place = cluster.data_dir().with_file_name(format!("r{number}"));
            restore(&snapshot, &place, &settings);
            let mut scratch = start(&cluster, &place, &[]);
            open(&mut scratch).await;
            let sql = format!("SELECT count(*) = {rows} FROM ledger");
            assert!(holds(&scratch, &sql).await, "{settings:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_target_waits_until_it_is_promoted() {
    for installation in PgInstallation::all_or_skip("pause") {
        let (cluster, archive) = archiving(installation);
        let (snapshot, ..) = back_up(&cluster, "snapshot").await;
        cluster.psql("INSERT INTO ledger VALUES (1)");
        let xid = cluster.psql("SELECT xmin::text FROM ledger WHERE n = 1");
        archived(&cluster, &archive).await;
        let settings = RecoverySettings {
            target: RecoveryTarget::Xid(xid.parse().unwrap()),
            edge: TargetEdge::Excluded,
            action: TargetAction::Pause,
            timeline: TimelineChoice::OfBackup,
            restore_command: Some(format!("cp {}/%f \"%p\"", archive.display())),
            ..RecoverySettings::default()
        };
        let place = cluster.data_dir().with_file_name("restored");
        // What the cluster itself says about recovery must not get in the way.
        let own = snapshot.path("data/postgresql.conf");
        let mut text = fs::read_to_string(&own).unwrap();
        text.push_str("recovery_target_name = 'elsewhere'\nrestore_command = 'exit 200'\n");
        fs::write(&own, text).unwrap();
        restore(&snapshot, &place, &settings);
        let mut scratch = start(&cluster, &place, &[]);
        let status = scratch
            .wait_for(ScratchPhase::TargetReached, PATIENCE, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(status.phase, ScratchPhase::TargetReached);
        assert!(status.replayed.is_some());
        assert!(holds(&scratch, "SELECT count(*) = 0 FROM ledger").await);
        scratch.promote(PATIENCE).await.unwrap();
        let client = scratch.connect("postgres").await.unwrap();
        client
            .batch_execute("INSERT INTO ledger VALUES (9)")
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_the_log_does_not_reach_is_an_error_and_no_open_server() {
    for installation in PgInstallation::all_or_skip("unreachable target") {
        let (cluster, _) = archiving(installation);
        let (snapshot, ..) = back_up(&cluster, "snapshot").await;
        let settings = RecoverySettings {
            target: RecoveryTarget::Name("never made".to_owned()),
            ..RecoverySettings::default()
        };
        let place = cluster.data_dir().with_file_name("restored");
        restore(&snapshot, &place, &settings);
        let mut scratch = start(&cluster, &place, &[]);
        let waited = scratch
            .wait_for(ScratchPhase::Open, PATIENCE, &mut |_| {})
            .await;
        let error = waited.unwrap_err();
        assert!(
            matches!(error, PostgresError::ServerEnded { .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("before configured recovery target"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_can_be_backed_up_and_restored() {
    for installation in PgInstallation::all_or_skip("standby") {
        let (primary, archive) = archiving(installation);
        let standby = PgCluster::standby_of(&primary);
        primary.psql("INSERT INTO ledger VALUES (1); CHECKPOINT");
        let caught_up = format!(
            "SELECT pg_last_wal_replay_lsn() >= '{}'",
            primary.psql("SELECT pg_current_wal_lsn()")
        );
        wait_until(&standby, &caught_up).await;
        let (snapshot, end, stats) = back_up(&standby, "snapshot").await;
        assert_eq!(stats.damaged_pages, 0);
        assert!(end.stop > end.start);
        primary.psql("INSERT INTO ledger VALUES (2)");
        archived(&primary, &archive).await;
        let settings = RecoverySettings {
            restore_command: Some(format!("cp {}/%f \"%p\"", archive.display())),
            ..RecoverySettings::default()
        };
        let place = standby.data_dir().with_file_name("restored");
        restore(&snapshot, &place, &settings);
        assert!(!place.join("standby.signal").exists());
        let mut scratch = start(&standby, &place, &[]);
        open(&mut scratch).await;
        assert!(holds(&scratch, "SELECT count(*) = 2 FROM ledger").await);
        assert_sound(&scratch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_configuration_lies_elsewhere_starts_too() {
    let Some(cluster) = PgCluster::or_skip("configuration elsewhere") else {
        return;
    };
    cluster.psql("ALTER SYSTEM SET max_connections = 217");
    let (snapshot, ..) = back_up(&cluster, "snapshot").await;
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::remove_file(snapshot.path("data").join(name)).unwrap();
    }
    let place = cluster.data_dir().with_file_name("restored");
    restore(&snapshot, &place, &RecoverySettings::default());
    let mut scratch = start(&cluster, &place, &["shared_buffers=8MB".to_owned()]);
    open(&mut scratch).await;
    for (name, value) in [
        ("listen_addresses", ""),
        ("archive_mode", "off"),
        ("shared_buffers", "8MB"),
        ("shared_preload_libraries", ""),
    ] {
        let sql = format!("SELECT current_setting('{name}') = '{value}'");
        assert!(holds(&scratch, &sql).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amcheck_names_a_damaged_table_and_a_damaged_index() {
    let Some(cluster) = PgCluster::or_skip("amcheck") else {
        return;
    };
    cluster.psql(
        "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000);
         CREATE TABLE u (n int PRIMARY KEY); INSERT INTO u SELECT generate_series(1, 5000)",
    );
    let path = |name: &str| cluster.psql(&format!("SELECT pg_relation_filepath('{name}')"));
    let (table, index) = (path("t"), path("u_pkey"));
    let (snapshot, ..) = back_up(&cluster, "snapshot").await;
    let place = cluster.data_dir().with_file_name("restored");
    restore(&snapshot, &place, &RecoverySettings::default());
    let overwrite = |file: &str, at: u64, bytes: &[u8]| {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::options()
            .write(true)
            .open(place.join(file))
            .unwrap();
        file.write_all_at(bytes, at).unwrap();
    };
    let settings = ["ignore_checksum_failure=on".to_owned()];
    let mut scratch = start(&cluster, &place, &settings);
    open(&mut scratch).await;
    scratch.stop(StopMode::Fast, PATIENCE).await.unwrap();
    // A tuple's header says that the tuple is longer than it is, and a leaf of the index is gone.
    overwrite(&table, 8192 + 8000, &[0xff; 60]);
    overwrite(&index, 2 * 8192 + 4000, &[0x00; 2000]);
    let mut scratch = start(&cluster, &place, &settings);
    open(&mut scratch).await;
    let AmcheckOutcome::Checked(report) = checks::amcheck(&scratch).await.unwrap() else {
        panic!("the newest installed version has no amcheck");
    };
    let named: Vec<_> = report
        .damaged
        .iter()
        .map(|found| found.relation.as_str())
        .collect();
    assert!(named.contains(&"public.u_pkey"), "{named:?}");
    if cluster.installation().major >= 14 {
        assert!(named.contains(&"public.t"), "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_by_sql_answer_yes_or_no_and_never_quote_a_value() {
    let Some(cluster) = PgCluster::or_skip("checks") else {
        return;
    };
    cluster.psql("CREATE TABLE secret AS SELECT 'hunter2'::text AS word, now() AS at");
    let client = connect(&cluster).await;
    let ask = async |sql: &str| checks::assertion(&client, sql, PATIENCE).await;
    for (sql, answer) in [
        ("SELECT true", true),
        ("SELECT count(*) FROM secret;", true),
        ("SELECT 0 -- none", false),
        ("SELECT NULL::bool", false),
        ("SELECT 1 WHERE false", false),
    ] {
        assert_eq!(ask(sql).await.unwrap(), answer, "{sql}");
    }
    for sql in [
        "SELECT word FROM secret",
        "SELECT word::int FROM secret",
        "DELETE FROM secret",
        "SELECT 1; DROP TABLE secret",
        "SELECT pg_sleep(0), nothing",
    ] {
        let error = ask(sql).await.unwrap_err();
        let text = lifeboat_model::error_chain(&error);
        assert!(!text.contains("hunter2"), "{text}");
    }
    let slow = checks::assertion(&client, "SELECT pg_sleep(60)", Duration::from_millis(50)).await;
    assert_eq!(slow.unwrap_err().kind(), ErrorKind::Interrupted);
    let time = |sql: &'static str| checks::newest_commit(&client, sql, PATIENCE);
    let at = time("SELECT max(at) FROM secret").await.unwrap().unwrap();
    let unix = time("SELECT extract(epoch FROM max(at)) FROM secret")
        .await
        .unwrap()
        .unwrap();
    assert!(at.duration_since(unix).abs() < jiff::SignedDuration::from_millis(1));
    assert_eq!(
        time("SELECT max(at) FROM secret WHERE false")
            .await
            .unwrap(),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_never_overwrites_a_running_cluster_or_files() {
    let Some(cluster) = PgCluster::or_skip("target") else {
        return;
    };
    for mode in [TargetMode::Empty, TargetMode::Delta] {
        let error = check_target(cluster.data_dir(), &[], mode).unwrap_err();
        assert!(matches!(error, PostgresError::Running { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
    let used = cluster.make_folder("used");
    fs::write(used.join("file"), "").unwrap();
    let error = check_target(&used, &[], TargetMode::Empty).unwrap_err();
    assert!(matches!(error, PostgresError::NotEmpty { .. }), "{error}");
    let missing = used.join("missing");
    check_target(&missing, &[], TargetMode::Empty).unwrap();
    let space = lifeboat_source_postgres::Tablespace {
        oid: 1,
        location: used,
    };
    let error = check_target(&missing, &[space], TargetMode::Empty).unwrap_err();
    assert!(matches!(error, PostgresError::NotEmpty { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_scratch_server_is_gone() {
    let Some(cluster) = PgCluster::or_skip("drop") else {
        return;
    };
    let (snapshot, ..) = back_up(&cluster, "snapshot").await;
    let place = cluster.data_dir().with_file_name("restored");
    restore(&snapshot, &place, &RecoverySettings::default());
    let mut scratch = start(&cluster, &place, &[]);
    open(&mut scratch).await;
    let directory = lifeboat_source_postgres::DataDirectory::open(&place).unwrap();
    assert!(directory.running_server().unwrap().is_some());
    drop(scratch);
    assert_eq!(directory.running_server().unwrap(), None);
}

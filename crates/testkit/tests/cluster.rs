//! The servers that tests stand on do what the tests believe of them.

use std::path::Path;
use std::time::Duration;

use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

#[test]
fn a_killed_server_keeps_what_was_committed_and_a_dropped_one_leaves_nothing() {
    for installation in PgInstallation::all_or_skip("kill") {
        let mut cluster = PgCluster::on(installation).start();
        cluster.psql("CREATE TABLE kept AS SELECT 42 AS answer");
        cluster.kill_9();
        assert!(!cluster.is_running());
        cluster.start();
        assert_eq!(cluster.psql("SELECT answer FROM kept"), "42");
        cluster.stop(StopMode::Fast);
        let data = cluster.data_dir().to_path_buf();
        drop(cluster);
        // It is removed in the background.
        for _ in 0..600 {
            if !data.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!data.exists());
    }
}

#[test]
fn options_reach_the_server() {
    for installation in PgInstallation::all_or_skip("options") {
        let cluster = PgCluster::on(installation)
            .without_checksums()
            .wal_segment_mib(1)
            .without_fsync()
            .conf("work_mem = '5MB'")
            .loopback("it's secret")
            .start();
        for (name, value) in [
            ("data_checksums", "off"),
            ("wal_segment_size", "1MB"),
            ("fsync", "off"),
            ("work_mem", "5MB"),
            ("listen_addresses", "127.0.0.1"),
        ] {
            assert_eq!(cluster.psql(&format!("SHOW {name}")), value, "{name}");
        }
        let conninfo = cluster.conninfo_loopback().unwrap() + " password='it\\'s secret'";
        let login = installation.run("psql", &["-XAt", "-d", &conninfo, "-c", "SELECT 1"]);
        assert_eq!(login.trim(), "1");
    }
}

#[test]
fn a_standby_follows_and_can_be_promoted() {
    for installation in PgInstallation::all_or_skip("standby") {
        let primary = PgCluster::on(installation).start();
        let standby = PgCluster::standby_of(&primary);
        assert_eq!(standby.psql("SELECT pg_is_in_recovery()"), "t");
        standby.promote();
        standby.psql("CREATE TABLE writable ()");
    }
}

#[test]
fn pgbench_runs_as_load() {
    for installation in PgInstallation::all_or_skip("pgbench") {
        if !Path::new(&installation.program("pgbench")).exists() {
            continue;
        }
        let cluster = PgCluster::on(installation).without_fsync().start();
        cluster.pgbench(&["-i", "-q", "-s", "1"]);
        let load = cluster.pgbench_in_background(&["-t", "10"]);
        assert!(load.finish());
        assert_eq!(cluster.psql("SELECT count(*) FROM pgbench_history"), "10");
    }
}

//! The receiver: how little is lost when everything is killed.

use std::time::Duration;

use lifeboat_testkit::s3::{S3Options, S3Server};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::history::{self, ALL};
use crate::project::{Log, Project};

#[test]
fn what_a_receiver_kept_outlives_the_host_to_the_second() {
    let Some(project) = Project::or_skip("a receiver outlives the host", Log::Unpushed) else {
        return;
    };
    let mut project = project;
    history::prepare(&project.cluster, 1);
    let mut receiver = project.start(&["wal", "receive", "prod", "main"]);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let mut committed = Vec::new();
    for _ in 0..30 {
        let row = project.cluster.psql(
            "INSERT INTO history DEFAULT VALUES RETURNING id, extract(epoch FROM clock_timestamp())",
        );
        committed.push(row);
        std::thread::sleep(Duration::from_millis(100));
    }
    let dead_at: f64 = project
        .cluster
        .psql("SELECT extract(epoch FROM clock_timestamp())")
        .parse()
        .unwrap();
    project.cluster.kill_9();
    assert!(receiver.is_alive());
    receiver.kill();
    let to = project.place("recovered");
    project.must(&[
        "restore",
        "prod",
        "main",
        "--region",
        "away",
        "--to",
        to.to_str().unwrap(),
    ]);
    let mut restored = PgCluster::adopt(project.cluster.installation(), &to);
    restored.start();
    restored.wait_until_open();
    let newest: f64 = restored
        .psql("SELECT extract(epoch FROM max(at)) FROM history")
        .parse()
        .unwrap();
    let lost = dead_at - newest;
    assert!(lost < 5.0, "{lost} s of commits are lost");
    let count: usize = restored
        .psql("SELECT count(*) FROM history")
        .parse()
        .unwrap();
    // What is there is a beginning of what was committed, without a hole.
    assert_eq!(
        restored.psql(ALL),
        restored.psql("SELECT count(*), sum(hashint8(id)::numeric) FROM generate_series(1, (SELECT max(id) FROM history)) id"),
        "{count} rows"
    );
}

#[test]
fn a_slot_makes_the_server_keep_what_a_receiver_that_is_away_will_need() {
    let Some(project) = Project::or_skip("a slot", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    project.cluster.append_conf("wal_keep_size = 0");
    project.cluster.psql("SELECT pg_reload_conf()");
    project.configure("slot = \"lifeboat\"");
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let receiver = project.start(&receive);
    project.must(&["backup", "prod", "main"]);
    let behind = "SELECT pg_current_wal_flush_lsn() - restart_lsn FROM pg_replication_slots
                   WHERE slot_name = 'lifeboat' AND active";
    history::wait_until("the slot follows what is durable", || {
        cluster.psql(behind) == "0"
    });
    receiver.kill();
    // Without the slot, the checkpoint would let go of all segments but the last.
    for _ in 0..4 {
        history::commit(cluster, 3);
        cluster.psql("SELECT pg_switch_wal()");
    }
    cluster.psql("CHECKPOINT");
    let mut receiver = project.start(&receive);
    project.wait_until_received("home");
    project.must(&["wal", "status", "prod", "--region", "home"]);
    assert!(receiver.is_alive(), "{}", project.said(&receive));
    let expected = cluster.psql(ALL);
    project.restore("restored", &[]);
    assert_eq!(crate::restored::ask(&project, "restored", ALL), expected);
    // Somebody who drops it is no reason to receive nothing any more.
    receiver.kill();
    history::wait_until("the slot was dropped", || {
        cluster.psql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
        );
        cluster.psql("SELECT count(*) FROM pg_replication_slots") == "0"
    });
    history::commit(cluster, 1);
    let mut receiver = project.start(&receive);
    project.wait_until_received("home");
    assert!(receiver.is_alive(), "{}", project.said(&receive));
    assert_eq!(
        cluster.psql("SELECT count(*) FROM pg_replication_slots"),
        "1"
    );
}

const TEMPORARY_SLOTS: &str = "SELECT count(*) FROM pg_replication_slots WHERE temporary";

#[test]
fn checkpoints_take_nothing_from_a_receiver_that_stands_still() {
    let Some(project) = Project::or_skip("a receiver that stands still", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    cluster.append_conf("wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 32MB");
    cluster.psql("SELECT pg_reload_conf()");
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.must(&["backup", "prod", "main"]);
    project.wait_until_received("home");
    receiver.pause();
    for _ in 0..6 {
        history::commit(cluster, 3);
        cluster.psql("SELECT pg_switch_wal()");
    }
    cluster.psql("CHECKPOINT");
    cluster.psql("CHECKPOINT");
    receiver.resume();
    project.wait_until_received("home");
    project.must(&["wal", "status", "prod", "--region", "home"]);
    assert!(receiver.is_alive(), "{}", project.said(&receive));
    assert_eq!(cluster.psql(TEMPORARY_SLOTS), "1");
    let expected = cluster.psql(ALL);
    project.restore("restored", &[]);
    assert_eq!(crate::restored::ask(&project, "restored", ALL), expected);
    // What is left of a receiver must not fill the server's disk.
    receiver.kill();
    history::wait_until("the slot went with the receiver", || {
        cluster.psql(TEMPORARY_SLOTS) == "0"
    });
}

#[test]
fn a_server_without_a_free_slot_is_received_from_with_one_warning() {
    let Some(installation) = PgInstallation::newest_or_skip("no free slot") else {
        return;
    };
    let project = Project::on(installation, Log::Unpushed, |options| {
        options
            .conf("max_replication_slots = 1")
            .conf("wal_keep_size = 256MB")
    });
    let cluster = &project.cluster;
    cluster.psql("SELECT pg_create_physical_replication_slot('taken')");
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 3);
    project.wait_until_received("home");
    // The connection after a lost one says nothing new.
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    history::commit(cluster, 3);
    project.wait_until_received("home");
    assert!(receiver.is_alive());
    let said = project.said(&receive);
    assert_eq!(
        said.matches("without a replication slot").count(),
        1,
        "{said}"
    );
    assert!(said.contains("replication slots are in use"), "{said}");
    project.must(&["wal", "status", "prod", "--region", "home"]);
}

#[test]
fn pieces_are_begun_no_oftener_than_a_region_needs_them() {
    let Some(project) = Project::or_skip("the pace of pieces", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    let mut receiver = project.start(&["wal", "receive", "prod", "main"]);
    project.wait_until_received("home");
    let now = || -> f64 {
        let now = cluster.psql("SELECT extract(epoch FROM clock_timestamp())");
        now.parse().unwrap()
    };
    let kept = |region: &str| project.objects(region, "/00000001").len() as f64;
    let (start, home, away) = (now(), kept("home"), kept("away"));
    cluster.pgbench(&["-n", "-c", "2", "-R", "100", "-T", "5"]);
    let (home, away) = (kept("home") - home, kept("away") - away);
    let secs = now() - start;
    assert!(receiver.is_alive());
    // A full segment is one object more, and so is what was under way at the start.
    assert!(
        home <= secs / 0.4 + 3.0,
        "{home} objects at home in {secs} s"
    );
    assert!(away <= secs + 3.0, "{away} objects away in {secs} s");
    assert!(home > away, "{home} objects at home, {away} away");
    assert!(away >= 2.0, "{away} objects away in {secs} s");
}

#[test]
fn a_home_that_is_slower_than_the_pace_is_not_outrun() {
    let Some(project) = Project::or_skip("a slow home", Log::Unpushed) else {
        return;
    };
    // A piece takes longer than the 0.75 s after which the next one is due.
    let options = S3Options {
        delay: Duration::from_millis(800),
        ..S3Options::default()
    };
    let server = S3Server::start(options).unwrap();
    let key = server.admin();
    project.write("keys/home.s3", &format!("{}:{}\n", key.id, key.secret));
    let place = format!(
        "url = \"s3://{}/log\"\nendpoint = \"{}\"\ns3_region = \"{}\"\ncredentials = \"file:keys/home.s3\"",
        server.bucket(),
        server.endpoint(),
        server.region()
    );
    project.replace("lifeboat.toml", "url = \"regions/home\"", &place);
    std::fs::remove_dir_all(project.place("regions")).unwrap();
    for role in ["writer", "reader", "auditor", "pruner"] {
        std::fs::remove_file(project.place(&format!("keys/{role}.key"))).unwrap();
    }
    project.must(&["init"]);
    history::prepare(&project.cluster, 1);
    let mut receiver = project.start(&["wal", "receive", "prod", "main"]);
    // Many small messages, each flushed by a commit of its own.
    let load = ["-n", "-c", "4", "-R", "200", "-T", "6"];
    project.cluster.pgbench(&load);
    let caught_up = || {
        let status = project.json(&["wal", "status", "prod", "main"]).to_string();
        status.contains("\"pending_bytes\":0")
    };
    // What came under load takes two or three pieces; a message each would take minutes.
    let in_time = (0..15).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        caught_up()
    });
    assert!(receiver.is_alive());
    assert!(in_time, "the log outran a slow home");
    receiver.kill();
}

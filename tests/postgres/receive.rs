//! The receiver: how little is lost when everything is killed.

use std::time::Duration;

use lifeboat_testkit::PgCluster;

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

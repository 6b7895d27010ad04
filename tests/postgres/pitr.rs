//! Backups under load, and recovery to moments between them.

use lifeboat_testkit::{PgCluster, StopMode};
use serde_json::Value;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// Targets in the everyday run; `LIFEBOAT_PITR_TARGETS` asks for more.
const TARGETS: usize = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "who runs the test decides how long"
)]
fn targets() -> usize {
    std::env::var("LIFEBOAT_PITR_TARGETS").map_or(TARGETS, |targets| {
        targets.parse().expect("LIFEBOAT_PITR_TARGETS is a number")
    })
}

#[test]
fn any_moment_between_backups_comes_back_exactly() {
    let Some(project) = Project::or_skip("any moment comes back", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 2);
    let load = cluster.pgbench_in_background(&["-c", "2", "-R", "200", "-T", "600", "-n"]);
    project.must(&["backup", "prod", "main", "--tier", "daily"]);
    let mut moments = Vec::new();
    let mut rounds = targets().div_ceil(3);
    while moments.len() < targets() {
        for _ in 0..3 {
            history::commit(cluster, 7);
            moments.push(history::now(cluster));
            history::commit(cluster, 5);
            let backup = project.json(&["backup", "prod", "main", "--tier", "hourly"]);
            assert!(backup[0]["parent"].is_string(), "{backup}");
        }
        rounds = rounds.saturating_sub(1);
        if rounds == 0 {
            break;
        }
    }
    history::commit(cluster, 3);
    drop(load);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    moments.truncate(targets());
    for (number, moment) in moments.iter().enumerate() {
        let place = format!("restored-{number}");
        let to = project.place(&place);
        let restore = [
            "restore",
            "prod",
            "main",
            "--at",
            moment,
            "--to",
            to.to_str().unwrap(),
        ];
        project.must(&restore);
        let expected = history::committed_until(cluster, moment);
        assert_eq!(
            restored::ask_and_check(&project, &place, ALL),
            expected,
            "at {moment}"
        );
    }
}

#[test]
fn the_latest_state_comes_back_with_every_commit_that_was_archived() {
    let Some(project) = Project::or_skip("the latest state comes back", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 20);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let to = project.place("latest");
    project.must(&["restore", "prod", "main", "--to", to.to_str().unwrap()]);
    let expected = cluster.psql(ALL);
    assert_eq!(restored::ask(&project, "latest", ALL), expected);
}

#[test]
fn a_snapshot_that_carries_its_log_needs_no_archive() {
    let Some(project) = Project::or_skip("a snapshot carries its log", Log::InSnapshot) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    history::commit(cluster, 10);
    let expected = cluster.psql(ALL);
    let backup = project.json(&["backup", "prod", "main"]);
    history::commit(cluster, 10);
    let id = backup[0]["snapshot"].as_str().unwrap();
    let to = project.place("alone");
    project.must(&[
        "restore",
        "prod",
        "main",
        "--at",
        id,
        "--to",
        to.to_str().unwrap(),
    ]);
    assert_eq!(restored::ask(&project, "alone", ALL), expected);
    let later = history::now(cluster);
    let said = project.must_fail(
        &["restore", "prod", "main", "--at", &later, "--to", "nowhere"],
        1,
    );
    assert!(said.contains("recover"), "{said}");
}

#[test]
fn a_delta_restore_brings_a_cluster_back_over_itself() {
    let Some(project) = Project::or_skip("a delta restore", Log::InSnapshot) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    history::commit(cluster, 4);
    let expected = cluster.psql(ALL);
    let backup = project.json(&["backup", "prod", "main"]);
    let id = backup[0]["snapshot"].as_str().unwrap();
    let to = project.place("again");
    let restore = [
        "restore",
        "prod",
        "main",
        "--at",
        id,
        "--to",
        to.to_str().unwrap(),
    ];
    project.must(&restore);
    assert_eq!(restored::ask(&project, "again", ALL), expected);
    // It has lived on: other pages, another log, another timeline.
    let changed = "DELETE FROM history; VACUUM; SELECT count(*) FROM history";
    let mut alive = PgCluster::adopt(project.cluster.installation(), &to);
    alive.start();
    alive.wait_until_open();
    for statement in changed.split(';') {
        alive.psql(statement);
    }
    let busy = project.must_fail(&[restore.as_slice(), &["--delta"]].concat(), 11);
    assert!(busy.contains("a server runs on"), "{busy}");
    alive.stop(StopMode::Fast);
    drop(alive);
    let delta = [restore.as_slice(), &["--delta"]].concat();
    refuses_what_is_not_its_own(&project, &delta);
    let report: Value = project.json(&delta);
    assert!(report["delta"]["kept"].as_u64().unwrap() > 500, "{report}");
    assert_eq!(restored::ask(&project, "again", ALL), expected);
}

/// A delta removes what the snapshot lacks: not from another cluster, nor from any other folder.
fn refuses_what_is_not_its_own(project: &Project, delta: &[&str]) {
    let into = |folder: &str| {
        let mut args = delta.to_vec();
        let to = args.iter().position(|arg| *arg == "--to").unwrap();
        args[to + 1] = folder;
        project.must_fail(&args, 7)
    };
    let papers = project.cluster.make_folder("papers");
    std::fs::write(papers.join("thesis"), "years of work").unwrap();
    let said = into(papers.to_str().unwrap());
    assert!(said.contains("no data directory"), "{said}");
    assert!(papers.join("thesis").exists());
    let other = PgCluster::on(project.cluster.installation()).without_checksums();
    let other = other.create();
    let said = into(other.data_dir().to_str().unwrap());
    assert!(said.contains("it is cluster"), "{said}");
    assert!(other.data_dir().join("global/pg_control").exists());
}

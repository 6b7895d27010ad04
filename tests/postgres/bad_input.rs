//! What people get wrong: each is told apart, names the next step, and nothing is lost.

use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::history;
use crate::project::{Log, Project};

#[test]
fn an_archive_that_nobody_fills_is_told_before_anything_is_copied() {
    let Some(project) = Project::or_skip("nobody archives", Log::Unpushed) else {
        return;
    };
    let said = project.must_fail(&["backup", "prod", "main"], 1);
    assert!(said.contains("`archive_mode` is off"), "{said}");
    assert!(said.contains("wal receive"), "{said}");
    assert_eq!(project.json(&["snapshots", "prod"]), serde_json::json!([]));
}

#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let Some(project) = Project::or_skip("another data directory", Log::InSnapshot) else {
        return;
    };
    let newest = PgInstallation::newest_or_skip("another data directory").unwrap();
    let other = PgCluster::on(newest).start();
    let set = format!(
        "environments.prod.source.main.data_directory={}",
        other.data_dir().display()
    );
    let said = project.must_fail(&["--set", &set, "backup", "prod", "main"], 7);
    assert!(said.contains("does not belong to the server"), "{said}");
}

#[test]
fn the_log_of_another_cluster_is_refused_and_an_edited_segment_too() {
    let Some(project) = Project::or_skip("a foreign log", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    let newest = PgInstallation::newest_or_skip("a foreign log").unwrap();
    // A cluster of its own: those of these tests are copies of one that was made once.
    let other = PgCluster::on(newest).without_checksums().start();
    let segment = other.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    let foreign = other.data_dir().join("pg_wal").join(&segment);
    let said = project.must_fail(
        &["wal", "push", "prod", "main", foreign.to_str().unwrap()],
        7,
    );
    assert!(said.contains("is of cluster"), "{said}");
    // On a host that has another data directory, or none, the newest snapshot tells.
    let set = "environments.prod.source.main.data_directory=/nowhere";
    let push = ["--set", set, "wal", "push", "prod", "main"];
    let said = project.must_fail(&[&push, [foreign.to_str().unwrap()].as_slice()].concat(), 7);
    assert!(said.contains("its newest snapshot"), "{said}");
    let own = project
        .cluster
        .psql("SELECT pg_walfile_name(pg_switch_wal())");
    let own = project.cluster.data_dir().join("pg_wal").join(own);
    project.must(&[&push, [own.to_str().unwrap()].as_slice()].concat());
    let status = project.json(&["wal", "status", "prod"]).to_string();
    let id = other.psql("SELECT system_identifier FROM pg_control_system()");
    assert!(!status.contains(&id), "{status}");
}

#[test]
fn a_copy_of_the_cluster_cannot_overwrite_its_log() {
    let Some(project) = Project::or_skip("a copy of the cluster", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    // The same system identifier, as a promoted standby or a started copy has it.
    let newest = PgInstallation::newest_or_skip("a copy of the cluster").unwrap();
    let copy = PgCluster::on(newest).start();
    let segment = copy.data_dir().join("pg_wal/000000010000000000000001");
    let push = ["wal", "push", "prod", "main", segment.to_str().unwrap()];
    let said = project.must_fail(&push, 1);
    assert!(said.contains("with other content already"), "{said}");
    assert!(said.contains("nothing was overwritten"), "{said}");
}

#[test]
fn a_moment_that_cannot_be_recovered_is_refused_with_what_can() {
    let Some(project) = Project::or_skip("a moment out of reach", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    let to = project.place("nowhere");
    let to = to.to_str().unwrap();
    for (moment, why) in [
        ("2001-01-01T00:00:00Z", "before"),
        ("2099-01-01T00:00:00Z", "after"),
    ] {
        let said = project.must_fail(&["restore", "prod", "main", "--at", moment, "--to", to], 1);
        assert!(said.contains(why), "{said}");
        assert!(said.contains("hint:") && said.contains(" to "), "{said}");
    }
    assert!(!project.place("nowhere").exists());
}

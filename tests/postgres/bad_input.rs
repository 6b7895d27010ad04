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
    let said = project.must_fail(&["--set", &set, "backup", "prod", "main"], 2);
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
    let other = PgCluster::on(newest).start();
    let segment = other.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    let foreign = other.data_dir().join("pg_wal").join(&segment);
    let said = project.must_fail(
        &["wal", "push", "prod", "main", foreign.to_str().unwrap()],
        7,
    );
    assert!(said.contains("is of cluster"), "{said}");
    let status = project.json(&["wal", "status", "prod"]);
    assert!(
        !status
            .to_string()
            .contains(&other.psql("SELECT system_identifier FROM pg_control_system()"))
    );
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

//! Pruning with a log: what can be recovered stays recoverable.

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

#[test]
fn a_prune_takes_the_log_that_no_promise_needs() {
    let Some(project) = Project::or_skip("a prune with a log", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    project.configure("point_in_time = \"1s\"");
    history::prepare(cluster, 1);
    let mut expected = Vec::new();
    for _ in 0..2 {
        let backup = project.json(&["backup", "prod", "main", "--tier", "daily"]);
        let id = backup[0]["snapshot"].as_str().unwrap().to_owned();
        expected.push((id, cluster.psql(ALL)));
        for _ in 0..3 {
            history::commit(cluster, 2);
            cluster.psql("SELECT pg_switch_wal()");
        }
        project.wait_for_archive();
    }
    let whole = project.objects("home", "/wal/").len();
    let plan = project.must(&["prune", "prod", "--region", "home", "--dry-run"]);
    assert!(plan.contains("log of main"), "{plan}");
    assert!(plan.contains("no snapshot needs it"), "{plan}");
    assert_eq!(project.objects("home", "/wal/").len(), whole, "a dry run");
    project.must(&["prune", "prod", "--region", "home"]);
    let left = project.objects("home", "/wal/").len();
    assert!(left < whole, "{left} of {whole} objects are left");
    for (number, (snapshot, expected)) in expected.iter().enumerate() {
        let place = format!("snapshot-{number}");
        project.restore(&place, &["--at", snapshot]);
        assert_eq!(&restored::ask(&project, &place, ALL), expected);
    }
    project.restore("latest", &[]);
    assert_eq!(restored::ask(&project, "latest", ALL), cluster.psql(ALL));
    // A hole that was made on purpose is no gap, and no snapshot is lost by it.
    let status = project.json(&["wal", "status", "prod", "--region", "home"]);
    let log = &status[0]["regions"][0]["clusters"][0];
    assert_eq!(log["lost"], serde_json::json!([]), "{status}");
    // So it is no damage either, and a repair leaves it, though the other region has what was there.
    project.must(&["verify", "prod", "--region", "home"]);
    let repaired = project.json(&["repair", "prod", "--region", "home"]);
    assert_eq!(repaired["repaired"], serde_json::json!({}), "{repaired}");
    assert_eq!(project.objects("home", "/wal/").len(), left);
}

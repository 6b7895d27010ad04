//! Backups over the replication protocol alone.

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

#[test]
fn a_cluster_on_another_host_is_backed_up_and_comes_back() {
    let Some(project) = Project::or_skip("a cluster on another host", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    let space = cluster.make_folder("space");
    history::prepare(cluster, 2);
    cluster.psql(&format!(
        "CREATE TABLESPACE other LOCATION '{}'",
        space.display()
    ));
    cluster.psql("CREATE TABLE away TABLESPACE other AS SELECT generate_series(1, 5000) AS id");
    project.forget_data_directory();
    let load = cluster.pgbench_in_background(&["-c", "2", "-R", "100", "-T", "60", "-n"]);
    history::commit(cluster, 3);
    let full = project.json(&["backup", "prod", "main"]);
    history::commit(cluster, 3);
    let next = project.json(&["backup", "prod", "main", "--tier", "hourly"]);
    assert_eq!(next[0]["parent"], full[0]["snapshot"], "{next}");
    history::commit(cluster, 2);
    let moment = history::now(cluster);
    history::commit(cluster, 2);
    drop(load);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let elsewhere = project.place("elsewhere");
    let mapping = format!("{}={}", space.display(), elsewhere.display());
    project.restore("restored", &["--at", &moment, "--tablespace", &mapping]);
    let all = format!("{ALL}; SELECT count(*) FROM away");
    let found = restored::ask(&project, "restored", &all);
    let expected = history::committed_until(cluster, &moment);
    assert_eq!(found, format!("{expected}\n5000"));
}

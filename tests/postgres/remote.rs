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
    for line in ["log_disconnections = on", "log_line_prefix = '%n %b '"] {
        cluster.append_conf(line);
    }
    cluster.psql("SELECT pg_reload_conf()");
    let load = cluster.pgbench_in_background(&["-c", "2", "-R", "100", "-T", "60", "-n"]);
    history::commit(cluster, 3);
    let full = project.json(&["backup", "prod", "main"]);
    assert!(
        instant(&project) <= sent_until(&project),
        "by the server's clock"
    );
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

/// Returns the moment whose state the one snapshot holds, seconds since 1970.
fn instant(project: &Project) -> f64 {
    let snapshots = project.json(&["snapshots", "prod"]);
    let instant = snapshots[0]["instant"].as_str().expect("an instant");
    let instant: jiff::Timestamp = instant.parse().unwrap();
    instant.as_microsecond() as f64 / 1e6
}

/// Returns when the server had sent its last backup, seconds since 1970.
fn sent_until(project: &Project) -> f64 {
    let log = std::fs::read_to_string(project.cluster.log_file()).unwrap();
    let mut lines = log.lines().rev();
    let ended = lines.find_map(|line| {
        let (at, rest) = line.split_once(" walsender ")?;
        rest.contains("disconnection").then_some(at)
    });
    ended.expect("the connection ended").parse().unwrap()
}

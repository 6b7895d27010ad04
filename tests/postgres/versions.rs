//! Every installed version: backed up, recovered, drilled.

use lifeboat_testkit::PgInstallation;
use serde_json::Value;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

#[test]
#[expect(
    clippy::print_stderr,
    reason = "which versions were there must be seen"
)]
fn every_installed_version_is_backed_up_and_comes_back() {
    for installation in PgInstallation::all_or_skip("every version") {
        let verdict = whole_way(installation);
        eprintln!("PostgreSQL {}: drill {verdict}", installation.major);
    }
}

/// Goes the whole way with one version, and returns the verdict of a drill.
fn whole_way(installation: &PgInstallation) -> String {
    let version = installation.major;
    let project = Project::on(installation, Log::Pushed, |options| options);
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    let load = cluster.pgbench_in_background(&["-c", "2", "-R", "100", "-T", "60", "-n"]);
    let full = project.json(&["backup", "prod", "main"]);
    history::commit(cluster, 3);
    let next = project.json(&["backup", "prod", "main", "--tier", "hourly"]);
    assert_eq!(next[0]["parent"], full[0]["snapshot"], "{version}: {next}");
    history::commit(cluster, 3);
    let moment = history::now(cluster);
    history::commit(cluster, 2);
    drop(load);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    project.restore("restored", &["--at", &moment]);
    let expected = history::committed_until(cluster, &moment);
    let found = restored::ask(&project, "restored", ALL);
    assert_eq!(found, expected, "PostgreSQL {version}");
    let output = project.run(&["drill", "run", "prod", "main", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let verdict = report["verdict"].as_str().unwrap().to_owned();
    // A package may lack amcheck: then a drill must say that it could not verify.
    let amcheck =
        cluster.psql("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'");
    let expected = if amcheck == "1" {
        ("pass", 0)
    } else {
        ("not_verified", 6)
    };
    let found = (verdict.as_str(), output.status.code().unwrap());
    assert_eq!(found, expected, "PostgreSQL {version}: {report}");
    verdict
}

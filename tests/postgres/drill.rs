//! Drills of a cluster: what they prove, and that nothing is left of them.

use std::fs;

use serde_json::Value;

use crate::history;
use crate::project::{Log, Project};

const PHASES: [&str; 7] = [
    "detect the fault",
    "select the recovery point",
    "first byte",
    "restore the data",
    "open the engine",
    "check the data",
    "cut the service over",
];

/// Runs a drill that must end with `code`, and returns its report.
fn drill(project: &Project, args: &[&str], code: i32) -> Value {
    let args = [&["drill", "run", "prod", "main", "--json"], args].concat();
    // Where its socket goes.
    let temporary = project.place("t");
    let output = project.command(&args).env("TMPDIR", &temporary).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}{report}");
    assert_nothing_left(project);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_nothing_left(project: &Project) {
    for folder in [project.place("t"), project.place(".lifeboat/scratch")] {
        let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let root = project.root.to_str().unwrap();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // A process may be gone by now.
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let of_scratch = line.contains(root) && line.contains("scratch");
        assert!(!of_scratch, "a server still runs: {line}");
    }
}

fn check<'r>(report: &'r Value, name: &str) -> &'r Value {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let found = checks.find(|check| check["name"].as_str().unwrap().contains(name));
    found.unwrap_or_else(|| panic!("no check is called `{name}`: {report}"))
}

#[test]
fn a_drill_proves_the_data_and_both_objectives_and_leaves_nothing() {
    let Some(project) = Project::or_skip("a drill of a cluster", Log::Unpushed) else {
        return;
    };
    project.write("t/.keep", "");
    fs::remove_file(project.place("t/.keep")).unwrap();
    history::prepare(&project.cluster, 1);
    project.configure(r#"checks = ["SELECT count(*) >= 5 FROM history"]"#);
    let _receiver = project.start(&["wal", "receive", "prod", "main"]);
    project.must(&["backup", "prod", "main"]);
    history::commit(&project.cluster, 5);
    project.wait_until_received("home");
    let report = drill(&project, &[], 0);
    assert_eq!(report["verdict"], "pass", "{report}");
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, PHASES);
    for name in [
        "content hashes",
        "completeness",
        "engine opens it",
        "newest commit",
        "page checksums",
        "tables and indexes",
        "assertion",
    ] {
        assert_eq!(check(&report, name)["verdict"], "pass", "{report}");
    }
    let newest = check(&report, "newest commit")["detail"].as_str().unwrap();
    assert!(newest.contains("heartbeat"), "{newest}");
    assert!(report["rpo_secs"].as_f64().unwrap() < 30.0, "{report}");
    assert_eq!(report["rpo_verdict"], "pass", "{report}");
    assert_eq!(report["rto_verdict"], "pass", "{report}");
    assert_eq!(report["cleaned_up"], true, "{report}");
    // The other region alone does it, too.
    project.must(&["replicate", "prod"]);
    let report = drill(&project, &["--scenario", "region-loss"], 0);
    assert_eq!(report["region"], "away", "{report}");
    assert_eq!(report["denied"], serde_json::json!(["home"]), "{report}");
    assert_eq!(report["verdict"], "pass", "{report}");
}

#[test]
fn a_drill_fails_on_a_check_that_does_not_hold_and_on_a_missed_objective() {
    let Some(project) = Project::or_skip("a drill that fails", Log::InSnapshot) else {
        return;
    };
    project.write("t/.keep", "");
    fs::remove_file(project.place("t/.keep")).unwrap();
    history::prepare(&project.cluster, 1);
    history::commit(&project.cluster, 2);
    project.must(&["backup", "prod", "main"]);
    project.configure(r#"checks = ["SELECT count(*) = 2 FROM history"]"#);
    let objective = "environments.prod.objectives.rto=1ms";
    let report = drill(&project, &["--set", objective], 5);
    assert_eq!(report["checks_verdict"], "pass", "{report}");
    project.replace("environments/prod.toml", "count(*) = 2", "count(*) = 3");
    let report = drill(&project, &[], 4);
    assert_eq!(check(&report, "assertion")["verdict"], "fail", "{report}");
    assert_eq!(report["cleaned_up"], true, "{report}");
    project.replace("environments/prod.toml", "FROM history", "FROM nowhere");
    let report = drill(&project, &[], 6);
    let broken = check(&report, "assertion");
    assert_eq!(broken["verdict"], "not_verified", "{report}");
}

#[test]
fn whoever_may_read_the_regions_can_drill_root_too() {
    let Some(project) = Project::or_skip("a drill as root", Log::InSnapshot) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    let mut drill = project.command_as_caller(&["drill", "run", "prod", "main", "--json"]);
    let output = drill.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

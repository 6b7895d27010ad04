//! Looking into the repository: what there is, where it is, and what changed.

use std::path::PathBuf;

use crate::project::Project;

/// The commit records of a source in the home region, oldest first.
fn records(project: &Project, source: &str) -> Vec<PathBuf> {
    let folder = project.path(&format!("regions/eu-central/snapshots/prod/{source}"));
    let mut records: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|record| record.unwrap().path())
        .collect();
    records.sort();
    records
}

/// Flips a bit in the middle of a file.
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_commit_record_hides_no_other_and_is_shown_as_damaged() {
    let project = Project::new();
    for _ in 0..2 {
        project.ok(&["backup", "prod", "config"]);
    }
    damage(&records(&project, "config")[1]);
    let says = ["damaged:", "on-demand"];
    project.fails(&["snapshots", "prod"], 4, &says);
    let output = project
        .command(&["snapshots", "prod", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(listed[0]["damaged"].is_null() && listed[0]["bytes"].is_u64());
    assert!(listed[1]["damaged"].is_string() && listed[1]["bytes"].is_null());
    assert_eq!(listed[1]["source"], "config");
    project.fails(&["status", "prod"], 4, &["DAMAGED: snapshot"]);
}

#[test]
fn the_newest_snapshot_that_can_be_read_is_restored_and_the_damaged_one_is_named() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    project.write("production/config/shop.toml", "port = 1\n");
    project.ok(&["backup", "prod", "config"]);
    let newest = records(&project, "config").pop().unwrap();
    damage(&newest);
    let args = ["restore", "prod", "config", "--to", "older"];
    let output = project.command(&args).output().unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    let id = &name.split_once('-').unwrap().1[..8];
    let says = format!("the commit record of snapshot {id}");
    crate::project::assert_exit(&output, 0, &[&says, "an older one is taken"], &args);
    assert_ne!(
        std::fs::read(project.path("older/shop.toml")).unwrap(),
        b"port = 1\n"
    );
    // Who names the damaged one gets no other.
    let args = ["restore", "prod", "config", "--at", id, "--to", "none"];
    project.fails(&args, 4, &["is damaged"]);
    assert!(!project.path("none").exists());
}

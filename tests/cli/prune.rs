//! Pruning and repairing, as people and schedules run them.

use crate::project::Project;

/// A project with five hourly snapshots of one hour: retention keeps the newest, and two so that there are
/// three at least.
fn project() -> Project {
    let project = Project::new();
    for port in 0..5 {
        project.write("production/config/shop.toml", &format!("port = {port}\n"));
        project.ok(&["backup", "prod", "config", "--tier", "hourly"]);
    }
    project
}

fn snapshots(project: &Project) -> usize {
    let listed = project.json(&["snapshots", "prod", "--region", "eu-central"]);
    listed.as_array().unwrap().len()
}

#[test]
fn a_dry_run_tells_each_decision_with_its_reason_and_changes_nothing() {
    let project = project();
    let packs = project.packs("eu-central");
    let said = project.ok(&["prune", "prod", "--region", "eu-central", "--dry-run"]);
    assert_eq!(said.matches("DELETE").count(), 2, "{said}");
    for part in [
        "no rule keeps it",
        "newest",
        "at least 3 are kept",
        "nothing was changed",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert_eq!(
        (snapshots(&project), project.packs("eu-central")),
        (5, packs)
    );
    let plan = project.json(&["prune", "prod", "--region", "eu-central", "--dry-run"]);
    let decisions = plan[0]["decisions"].as_array().unwrap();
    assert_eq!(
        decisions.iter().filter(|one| one["keep"] == true).count(),
        3
    );
}

#[test]
fn a_prune_needs_no_key_that_reads_and_leaves_what_retention_keeps() {
    let project = project();
    for key in ["writer", "reader"] {
        std::fs::rename(project.path(&format!("keys/{key}.key")), project.path(key)).unwrap();
    }
    let runs = project.json(&["prune", "prod"]);
    assert_eq!(runs[0]["region"], "eu-central");
    assert_eq!(
        (&runs[0]["snapshots"], &runs[0]["kept"]),
        (&2.into(), &3.into())
    );
    assert_eq!(snapshots(&project), 3);
    for key in ["writer", "reader"] {
        std::fs::rename(project.path(key), project.path(&format!("keys/{key}.key"))).unwrap();
    }
    project.ok(&[
        "verify",
        "prod",
        "--level",
        "full",
        "--region",
        "eu-central",
    ]);
    project.ok(&["restore", "prod", "config", "--to", "back"]);
    let restored = std::fs::read_to_string(project.path("back/shop.toml")).unwrap();
    assert_eq!(restored, "port = 4\n");
    // The next incremental builds on what is left, and replication takes it from there.
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    project.ok(&["verify", "prod", "--level", "full"]);
}

#[test]
fn a_writer_key_cannot_prune() {
    let project = project();
    project.edit("lifeboat.toml", "pruner = ", "# pruner = ");
    project.fails(&["prune", "prod"], 12, &["pruner"]);
    assert_eq!(snapshots(&project), 5);
}

#[test]
fn a_region_that_fails_keeps_none_of_the_others_from_being_pruned() {
    let project = project();
    project.ok(&["replicate", "prod"]);
    let home = project.path("regions/eu-central");
    std::fs::rename(&home, project.path("away")).unwrap();
    project.fails(
        &["prune", "prod"],
        10,
        &["eu-west: 2 snapshots deleted, 3 kept"],
    );
    std::fs::rename(project.path("away"), &home).unwrap();
    let listed = project.json(&["snapshots", "prod", "--region", "eu-west"]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[test]
fn a_region_is_repaired_from_the_other_one() {
    let project = project();
    project.ok(&["replicate", "prod"]);
    let (pack, size) = project.packs("eu-central").remove(0);
    let bytes = std::fs::read(&pack).unwrap();
    let mut damaged = bytes.clone();
    damaged[size as usize / 2] ^= 1;
    std::fs::write(&pack, damaged).unwrap();
    project.fails(
        &["verify", "prod", "--level", "full"],
        4,
        &["lifeboat repair"],
    );
    let would = "1 object would be brought back";
    project.fails(&["repair", "prod", "--dry-run"], 4, &[would]);
    let said = project.ok(&["repair", "prod"]);
    assert!(said.contains("nothing is damaged now"), "{said}");
    assert_eq!(std::fs::read(&pack).unwrap(), bytes);
    project.ok(&["verify", "prod", "--level", "full"]);
}

#[test]
fn what_no_region_has_is_told_with_exit_code_4() {
    let project = project();
    let (pack, _) = project.packs("eu-central").remove(0);
    std::fs::write(&pack, "gone").unwrap();
    project.fails(&["repair", "prod"], 4, &["STILL DAMAGED", "is affected"]);
}

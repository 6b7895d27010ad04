//! Looking into the repository: what there is, where it is, and what changed.

use std::path::PathBuf;

use serde_json::Value;

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

/// Takes two snapshots of the configuration folder, and returns their ids.
fn two_snapshots(project: &Project) -> [String; 2] {
    let backup = || {
        let report = project.json(&["backup", "prod", "config"]);
        report[0]["snapshot"].as_str().unwrap().to_owned()
    };
    let first = backup();
    project.write("production/config/shop.toml", "port = 1\n");
    project.write("production/config/new/file.txt", "new\n");
    std::fs::remove_file(project.path("production/config/features.json")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(project.path("production/config/nginx/mime.types"), mode).unwrap();
    let link = project.path("production/config/nginx/enabled/shop.conf");
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "a file now").unwrap();
    [first, backup()]
}

/// The items of a list that have this value under a name, as their paths.
fn paths_with(list: &Value, name: &str, value: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.filter(|item| item[name] == value)
        .map(|item| item["path"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn show_tells_all_of_a_snapshot_and_where_it_is_with_the_auditor_key_alone() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    for key in ["writer", "reader"] {
        std::fs::remove_file(project.path(&format!("keys/{key}.key"))).unwrap();
    }
    let shown = project.json(&["show", "prod/shop"]);
    assert_eq!(shown["source_kind"], "sqlite");
    assert_eq!(shown["complete"], true);
    let tables = &shown["facts"]["sqlite.fingerprint"]["tables"];
    assert!(tables.as_array().unwrap().len() >= 5, "{shown}");
    let regions = shown["regions"].as_array().unwrap();
    assert_eq!(regions.len(), 2);
    assert!(regions[0]["home"] == true && regions[0]["receipt"].is_null());
    assert!(regions[1]["receipt"]["packs"].as_u64() > Some(0), "{shown}");
    // By its id and from the other region it is the same; a lost region hides nothing else.
    let id = &shown["snapshot"].as_str().unwrap()[..8];
    let there = project.json(&["show", id, "--region", "eu-west"]);
    assert_eq!(there["snapshot"], shown["snapshot"]);
    std::fs::remove_dir_all(project.path("regions/eu-central")).unwrap();
    let text = project.ok(&["show", id, "--region", "eu-west"]);
    assert!(text.contains("cannot be asked"), "{text}");
    assert!(text.contains("customers"), "{text}");
    for bad in ["0000", "ffff"] {
        project.fails(
            &["show", bad, "--region", "eu-west"],
            1,
            &["no snapshot has"],
        );
    }
    project.fails(&["show", "prod"], 2, &["ENV/SOURCE"]);
}

#[test]
fn ls_lists_a_folder_of_a_snapshot_and_all_below_if_asked() {
    let project = Project::new();
    let [first, _] = two_snapshots(&project);
    let listed = project.json(&["ls", &first]);
    let folders = paths_with(&listed["entries"], "kind", "folder");
    assert_eq!(folders, ["bin", "mail", "nginx", "spool"]);
    assert_eq!(listed["count"], listed["entries"].as_array().unwrap().len());
    let text = project.ok(&["ls", &first, "nginx/"]);
    assert!(
        text.contains("nginx/mime.types") && text.contains("drwx"),
        "{text}"
    );
    assert!(!text.contains("shop.conf"), "{text}");
    let text = project.ok(&["ls", &first, "./nginx", "-R"]);
    assert!(text.contains("-> ../sites/shop.conf"), "{text}");
    assert!(!text.contains("shop.toml"), "{text}");
    let text = project.ok(&["ls", &first, "shop.toml"]);
    assert!(
        text.starts_with("-rw-------") && text.lines().count() == 1,
        "{text}"
    );
    project.fails(
        &["ls", &first, "no/such"],
        2,
        &["holds nothing at `no/such`"],
    );
    project.fails(&["ls", &first, "../etc"], 2, &["is not a relative path"]);
}

#[test]
fn find_shows_the_versions_of_a_file_and_where_it_changed() {
    let project = Project::new();
    let [first, second] = two_snapshots(&project);
    project.ok(&["backup", "prod", "config"]);
    let found = project.json(&["find", "prod", "config", "--path", "shop.toml"]);
    let versions = found["versions"].as_array().unwrap();
    let changes: Vec<_> = versions
        .iter()
        .map(|one| one["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["added", "content", "same"]);
    assert_eq!(versions[0]["snapshot"], *first);
    assert_eq!(
        (&versions[1]["snapshot"], &versions[1]["size"]),
        (&second.into(), &9.into())
    );
    assert_eq!(found["summary"]["snapshots"], 3);
    let text = project.ok(&["find", "prod", "--path", "features.json", "--changed"]);
    assert_eq!(text.matches("features.json").count(), 2, "{text}");
    assert!(
        text.contains("REMOVED") && text.contains("1 version in 3 snapshots"),
        "{text}"
    );
    project.fails(
        &["find", "prod", "--path", "[", "--json"],
        2,
        &["\"error\""],
    );
    let misspelt = ["find", "prod", "confgi", "--path", "*"];
    project.fails(&misspelt, 2, &["confgi", "config"]);
    // What cannot be looked through is said.
    damage(&records(&project, "config")[1]);
    let says = ["DAMAGED, not looked through", "in 2 snapshots"];
    project.fails(&["find", "prod", "--path", "shop.toml"], 4, &says);
}

#[test]
fn diff_tells_added_removed_and_changed_entries_apart() {
    let project = Project::new();
    let [first, second] = two_snapshots(&project);
    let diff = project.json(&["diff", &first, &second]);
    let entries = &diff["entries"];
    assert_eq!(
        paths_with(entries, "change", "added"),
        ["new", "new/file.txt"]
    );
    assert_eq!(paths_with(entries, "change", "removed"), ["features.json"]);
    assert_eq!(paths_with(entries, "change", "content"), ["shop.toml"]);
    assert_eq!(
        paths_with(entries, "change", "kind"),
        ["nginx/enabled/shop.conf"]
    );
    let metadata = paths_with(entries, "change", "metadata");
    assert!(
        metadata.contains(&"nginx/mime.types".to_owned()),
        "{metadata:?}"
    );
    assert_eq!(diff["summary"]["bytes_added"], 4);
    let text = project.ok(&["diff", &first, &second]);
    assert!(
        text.contains("(symlink -> 10 B)") && text.contains("(mode)"),
        "{text}"
    );
    let same = project.json(&["diff", &second, &second]);
    assert_eq!(same["entries"], serde_json::json!([]));
}

#[test]
fn diff_of_databases_counts_the_rows_of_each_table() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let shop = rusqlite::Connection::open(project.shop()).unwrap();
    shop.execute("DELETE FROM support_notes WHERE rowid <= 3", [])
        .unwrap();
    drop(shop);
    project.ok(&["backup", "prod", "shop", "--tier", "hourly"]);
    let ids: Vec<String> = project
        .json(&["snapshots", "prod", "shop"])
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["snapshot"].as_str().unwrap().to_owned())
        .collect();
    let diff = project.json(&["diff", &ids[0], "prod/shop"]);
    let tables = diff["tables"].as_array().unwrap();
    assert_eq!(
        (tables.len(), &tables[0]["table"]),
        (1, &"support_notes".into())
    );
    let rows = |name: &str| tables[0][name].as_u64().unwrap();
    assert_eq!(rows("rows_before") - rows("rows_after"), 3);
}

#[test]
fn stats_measures_what_takes_up_the_room() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    project.ok(&["backup", "prod"]);
    let stats = project.json(&["stats", "prod"]);
    let stats = &stats[0];
    let on_disk: u64 = project.packs("eu-central").iter().map(|pack| pack.1).sum();
    assert_eq!(stats["objects"]["packs"]["bytes"], on_disk);
    assert!(stats["dedup_ratio"].as_f64().unwrap() > 1.5, "{stats}");
    assert!(
        stats["compression_ratio"].as_f64().unwrap() > 1.0,
        "{stats}"
    );
    assert_eq!(stats["sources"].as_array().unwrap().len(), 2);
    assert_eq!(stats["waste"]["unused_bytes"], 0);
    let text = project.ok(&["stats"]);
    assert!(
        text.contains("prod/shop") && text.contains("deduplication"),
        "{text}"
    );
}

#[test]
fn without_a_project_the_folder_and_a_key_let_one_look_in() {
    let project = Project::new();
    let [first, second] = two_snapshots(&project);
    let (from, key) = (
        project.path("regions/eu-central"),
        project.path("keys/auditor.key"),
    );
    let rescue = [
        "--from",
        from.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let elsewhere = tempfile::tempdir().unwrap();
    for command in [
        &["show", &first[..6]][..],
        &["show", "prod/config@latest"],
        &["ls", "prod/config", "-R"],
        &["find", "prod", "--path", "*.toml"],
        &["diff", &first, &second],
        &["stats"],
    ] {
        let output = crate::project::lifeboat()
            .args(command)
            .args(rescue)
            .current_dir(elsewhere.path())
            .output()
            .unwrap();
        crate::project::assert_exit(&output, 0, &[], command);
    }
}

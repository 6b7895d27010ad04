//! Replication, drills and status: what a DR team relies on.

use crate::project::{Project, query};

#[test]
fn the_second_region_alone_recovers_everything() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let report = project.json(&["replicate", "prod"]);
    assert_eq!(report[0]["receipts_new"].as_array().unwrap().len(), 2);
    std::fs::remove_dir_all(project.path("regions/eu-central")).unwrap();
    std::fs::rename(project.path("production"), project.path("gone")).unwrap();
    project.ok(&[
        "restore", "prod", "shop", "--region", "eu-west", "--to", "shop.db",
    ]);
    assert_eq!(
        query(&project.path("shop.db"), "PRAGMA integrity_check"),
        "ok"
    );
    // The shop's newest transaction is old, so this drill proves the data and misses the RPO.
    let drill = [
        "drill",
        "run",
        "prod",
        "--scenario",
        "region-loss",
        "--json",
    ];
    project.fails(
        &drill,
        5,
        &["\"checks_verdict\": \"pass\"", "\"rto_verdict\": \"pass\""],
    );
}

#[test]
fn replication_goes_on_where_it_stopped_and_needs_no_key() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    for key in ["writer", "reader", "auditor"] {
        std::fs::rename(project.path(&format!("keys/{key}.key")), project.path(key)).unwrap();
    }
    project.ok(&["replicate", "prod"]);
    let again = project.json(&["replicate", "prod"]);
    // The run itself leaves an entry in the ledger; nothing else is new.
    assert!(again[0]["objects"].as_u64() <= Some(2), "{again}");
    assert!(again[0]["receipts_new"].as_array().unwrap().is_empty());
    let (pack, _) = project.packs("eu-west").into_iter().next().unwrap();
    std::fs::remove_file(&pack).unwrap();
    project.ok(&["replicate", "prod"]);
    assert!(pack.exists(), "a lost object was not copied again");
}

#[test]
fn damage_at_the_source_is_neither_copied_nor_receipted() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let (pack, _) = project
        .packs("eu-central")
        .into_iter()
        .max_by_key(|pack| pack.1)
        .unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    project.fails(
        &["replicate", "prod"],
        4,
        &["its bytes do not match its name"],
    );
    assert!(
        !project.path("regions/eu-west/snapshots").exists(),
        "a commit record went ahead"
    );
    assert!(!project.path("regions/eu-west/receipts").exists());
}

#[test]
fn a_drill_proves_rto_and_rpo_and_leaves_nothing_behind() {
    let project = Project::new();
    // The shop's newest transaction is old, so the RPO cannot be met, and the drill says so.
    project.ok(&["backup", "prod", "shop"]);
    let missed = project
        .command(&["drill", "run", "prod", "--json"])
        .output()
        .unwrap();
    assert_eq!(
        missed.status.code(),
        Some(5),
        "{}",
        crate::project::text(&missed)
    );
    let missed: serde_json::Value = serde_json::from_slice(&missed.stdout).unwrap();
    assert_eq!(
        (&missed["rto_verdict"], &missed["rpo_verdict"]),
        (&"pass".into(), &"fail".into())
    );
    assert_eq!(missed["checks_verdict"], "pass");
    // A commit of now, backed up, makes it pass.
    let shop = rusqlite::Connection::open(project.shop()).unwrap();
    shop.execute(
        "UPDATE heartbeat SET at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        [],
    )
    .unwrap();
    drop(shop);
    project.ok(&["backup", "prod", "shop", "--tier", "hourly"]);
    let drill = project.json(&["drill", "run", "prod"]);
    assert_eq!(drill["verdict"], "pass");
    assert!(drill["rpo_secs"].as_f64().unwrap() < 60.0);
    assert_eq!(
        std::fs::read_dir(project.path(".lifeboat/scratch"))
            .unwrap()
            .count(),
        0
    );
    let status = project.json(&["status", "prod"]);
    assert_eq!(status[0]["last_drill"]["end"]["facts"]["verdict"], "pass");
}

#[test]
fn what_cannot_be_proven_is_not_a_pass() {
    let project = Project::new();
    project.edit(
        "environments/prod.toml",
        "newest_commit = \"SELECT at FROM heartbeat\"\n",
        "",
    );
    project.ok(&["backup", "prod", "shop"]);
    let output = project
        .command(&["drill", "run", "prod", "--json"])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(6),
        "{}",
        crate::project::text(&output)
    );
    let drill: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(drill["rpo_secs"].is_null());
    assert_eq!(
        (&drill["rpo_verdict"], &drill["verdict"]),
        (&"not_verified".into(), &"not_verified".into())
    );
}

#[test]
fn a_failed_assertion_fails_the_drill() {
    let project = Project::new();
    project.edit(
        "environments/prod.toml",
        "SELECT count(*) > 0 FROM customers",
        "SELECT count(*) > 1000000 FROM customers",
    );
    project.ok(&["backup", "prod", "shop"]);
    project.fails(&["drill", "run", "prod"], 4, &["it does not hold"]);
}

#[test]
fn a_folder_drill_judges_the_rto_alone() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    let drill = project.json(&["drill", "run", "prod", "config"]);
    assert_eq!(
        (&drill["rto_verdict"], &drill["verdict"]),
        (&"pass".into(), &"pass".into())
    );
    assert!(drill["rpo_secs"].is_null() && drill["rpo_verdict"].is_null());
}

#[test]
fn status_shows_replicas_that_lag_and_runs_that_died() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    project.ok(&["backup", "prod", "--tier", "hourly"]);
    let status = project.json(&["status", "prod"]);
    let replica = &status[0]["regions"][1];
    assert_eq!(
        (&replica["region"], &replica["behind"]),
        (&"eu-west".into(), &2.into())
    );
    assert_eq!(replica["lost_at_home"], 0, "{status}");
    assert!(replica["exposure_secs"].as_f64() > status[0]["regions"][0]["exposure_secs"].as_f64());
    assert!(status[0]["unfinished"].as_array().unwrap().is_empty());
    std::fs::rename(project.path("regions/eu-west"), project.path("lost")).unwrap();
    project.fails(&["status", "prod"], 3, &["eu-west", "failed to open"]);
    std::fs::rename(project.path("lost"), project.path("regions/eu-west")).unwrap();
    std::fs::remove_dir_all(project.path("regions/eu-central")).unwrap();
    // The replica tells what there is when the home is gone.
    project.fails(&["status", "prod"], 3, &["eu-central", "shop", "reachable"]);
}

#[test]
fn init_makes_a_project_that_checks_out_and_shows_the_recovery_code_once() {
    let place = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = crate::project::lifeboat()
            .args(args)
            .current_dir(place.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            crate::project::text(&output)
        );
        crate::project::text(&output)
    };
    assert!(run(&["init", "--name", "acme"]).contains("LIFEBOAT-ROOT-"));
    let output = crate::project::lifeboat()
        .arg("check")
        .current_dir(place.path())
        .output()
        .unwrap();
    // The starter's sources are the user's to bring; everything else is in order.
    crate::project::assert_exit(&output, 1, &["is sound", "MISSING: prod/app"], &["check"]);
    assert!(
        !run(&["init"]).contains("LIFEBOAT-ROOT-"),
        "a second init is harmless"
    );
    let key = std::fs::metadata(place.path().join("keys/reader.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
}

#[test]
fn the_recovery_code_and_one_disk_bring_everything_back_without_a_project() {
    let project = Project::without_repository();
    let output = project.command(&["init"]).output().unwrap();
    let shown = crate::project::text(&output);
    let code = shown
        .split_whitespace()
        .find(|word| word.starts_with("LIFEBOAT-ROOT-"))
        .unwrap();
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    // All that is left: the replica's disk and the paper.
    let rescue = tempfile::tempdir().unwrap();
    std::fs::write(rescue.path().join("code"), code).unwrap();
    let disk = project.path("regions/eu-west");
    std::fs::remove_dir_all(project.path("regions/eu-central")).unwrap();
    std::fs::remove_file(project.path("lifeboat.toml")).unwrap();
    let run = |args: &[&str]| {
        let mut command = crate::project::lifeboat();
        command
            .args(args)
            .arg("--from")
            .arg(&disk)
            .args(["--key", "code"]);
        let output = command.current_dir(rescue.path()).output().unwrap();
        assert!(output.status.success(), "{}", crate::project::text(&output));
        crate::project::text(&output)
    };
    assert!(run(&["snapshots"]).contains("prod/shop"));
    run(&["restore", "prod", "shop", "--to", "shop.db"]);
    crate::project::assert_same_rows(&project.shop(), &rescue.path().join("shop.db"));
}

#[test]
fn a_region_that_can_only_be_read_still_serves_a_restore() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let region = project.path("regions/eu-central");
    let mount = |args: &[&str]| {
        let mut command = std::process::Command::new("mount");
        command.args(args).arg(&region);
        command.status().is_ok_and(|status| status.success())
    };
    let path = region.to_str().unwrap();
    if !mount(&["--bind", path]) || !mount(&["-o", "remount,ro,bind"]) {
        return crate::project::skip("a folder cannot be mounted read-only here");
    }
    let restored = project
        .command(&["restore", "prod", "shop", "--to", "shop.db"])
        .output();
    let verified = project
        .command(&["verify", "prod", "--region", "eu-central"])
        .output();
    let backed_up = project.command(&["backup", "prod", "shop"]).output();
    std::process::Command::new("umount")
        .arg(&region)
        .status()
        .unwrap();
    let (restored, verified) = (restored.unwrap(), verified.unwrap());
    assert!(
        restored.status.success(),
        "{}",
        crate::project::text(&restored)
    );
    assert!(
        verified.status.success(),
        "{}",
        crate::project::text(&verified)
    );
    crate::project::assert_exit(
        &backed_up.unwrap(),
        1,
        &["ead-only file system"],
        &["backup"],
    );
}

#[test]
fn a_receipt_needs_every_index_object_that_a_snapshot_needs() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    for region in ["eu-central", "eu-west"] {
        std::fs::remove_dir_all(project.path(&format!("regions/{region}/index"))).ok();
    }
    project.fails(&["replicate", "prod"], 4, &["needs index object"]);
    assert!(
        !project.path("regions/eu-west/receipts").exists(),
        "a receipt for nothing"
    );
    project.fails(
        &[
            "verify",
            "prod",
            "--level",
            "quick",
            "--region",
            "eu-central",
        ],
        4,
        &["index"],
    );
}

#[test]
fn a_drill_of_a_lost_region_is_not_served_by_that_region() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let args = [
        "drill",
        "run",
        "prod",
        "--scenario",
        "region-loss",
        "--region",
        "eu-central",
    ];
    project.fails(&args, 2, &["pretended to be lost"]);
    let args = ["drill", "run", "prod", "--scenario", "region-loss"];
    project.fails(&args, 1, &["no snapshot of `prod/shop` in", "eu-west"]);
}

/// Takes the newest of several snapshots of `prod/config` out of the home, and returns its id.
fn home_without_its_newest_snapshot(project: &Project) -> String {
    for port in 0..3 {
        project.write("production/config/shop.toml", &format!("port = {port}\n"));
        project.ok(&["backup", "prod", "config"]);
    }
    project.ok(&["replicate", "prod"]);
    let records = project.path("regions/eu-central/snapshots/prod/config");
    let records = std::fs::read_dir(records).unwrap();
    // Their names begin with the moment.
    let newest = records.map(|entry| entry.unwrap().path()).max().unwrap();
    std::fs::remove_file(&newest).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    name.split_once('-').unwrap().1.to_owned()
}

#[test]
fn a_snapshot_that_the_home_does_not_list_is_found_in_the_region_that_does() {
    let project = Project::new();
    let newest = home_without_its_newest_snapshot(&project);
    for (place, at) in [("latest", "latest"), ("by-id", &newest[..8])] {
        let output = project
            .command(&[
                "restore", "prod", "config", "--at", at, "--to", place, "--json",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&report["snapshot"], &report["region"]),
            (&newest.as_str().into(), &"eu-west".into())
        );
        let lacks = format!(
            "region `eu-central` does not list snapshot `{}`",
            &newest[..8]
        );
        for part in [&lacks, "lifeboat verify prod --region eu-central"] {
            assert!(said.contains(part), "{part} is missing: {said}");
        }
        // That it is not there may be on purpose.
        assert!(report["damaged_copies"].is_null(), "{report}");
        let restored = std::fs::read_to_string(project.path(place).join("shop.toml")).unwrap();
        assert_eq!(restored, "port = 2\n");
    }
    let output = project.command(&["status", "prod"]).output().unwrap();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{status}");
    let lost = "LOST at home: 1 snapshot in eu-west newer than the newest there";
    assert!(status.contains(lost), "{status}");
    let drill = project.json(&["drill", "run", "prod", "config"]);
    assert_eq!(drill["region"], "eu-west", "{drill}");
    // Who names a region gets what it lists.
    let home = ["--region", "eu-central"];
    let restore = ["restore", "prod", "config", "--to", "home"];
    project.ok(&[&restore[..], &home].concat());
    let restored = std::fs::read_to_string(project.path("home/shop.toml")).unwrap();
    assert_eq!(restored, "port = 1\n");
    let by_id = ["restore", "prod", "config", "--at", &newest, "--to", "none"];
    project.fails(&[&by_id[..], &home].concat(), 1, &["no snapshot"]);
}

#[test]
fn a_region_that_cannot_be_asked_what_it_has_is_told_and_keeps_no_restore_from_its_end() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    project.ok(&["replicate", "prod"]);
    std::fs::rename(project.path("regions/eu-west"), project.path("lost")).unwrap();
    let restore = |place: &str, more: &[&str]| {
        let args = ["restore", "prod", "config", "--to", place];
        let output = project.command(&[&args, more].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let told = "what region `eu-west` alone has is not considered";
    let said = restore("back", &[]);
    assert!(said.contains(told), "{said}");
    let said = restore("home", &["--region", "eu-central"]);
    assert!(!said.contains(told), "{said}");
}

#[test]
fn a_region_that_holds_another_repository_is_told_of_and_not_read() {
    let project = Project::new();
    let other = Project::new();
    project.ok(&["backup", "prod", "config"]);
    std::fs::remove_dir_all(project.path("regions/eu-west")).unwrap();
    std::fs::rename(
        other.path("regions/eu-west"),
        project.path("regions/eu-west"),
    )
    .unwrap();
    let restore = ["restore", "prod", "config", "--to", "back"];
    let output = project.command(&restore).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told = "region `eu-west` holds another repository than `eu-central`";
    assert!(said.contains(told), "{said}");
}

#[test]
fn init_that_cannot_finish_still_shows_the_recovery_code_and_goes_on_later() {
    let project = Project::without_repository();
    project.write(
        "regions/eu-west",
        "a file where the region's folder should be",
    );
    let first = project.command(&["init"]).output().unwrap();
    assert_ne!(first.status.code(), Some(0));
    // Nothing was made yet, as the mistake was seen in time; or what was made was shown.
    let made = project.path("regions/eu-central/repo.json").exists();
    assert_eq!(
        made,
        crate::project::text(&first).contains("LIFEBOAT-ROOT-")
    );
    std::fs::remove_file(project.path("regions/eu-west")).unwrap();
    project.ok(&["init"]);
    project.ok(&["backup", "prod", "config"]);
    // Keys that are gone are not silently done without.
    std::fs::remove_dir_all(project.path("keys")).unwrap();
    project.fails(&["init"], 2, &["none of its keys is here", "recovery code"]);
}

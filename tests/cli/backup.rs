//! Backup and restore through the program.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lifeboat_demo::{INVARIANT_SQL, ShopWriter};

use crate::project::{Project, assert_same_rows, query};

#[test]
fn a_restored_database_equals_its_source_row_for_row() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop", "--tier", "daily"]);
    let restored = project.path("restored.db");
    project.ok(&[
        "restore",
        "prod",
        "shop",
        "--to",
        restored.to_str().unwrap(),
    ]);
    assert_same_rows(&project.shop(), &restored);
    assert_eq!(query(&restored, "PRAGMA integrity_check"), "ok");
}

#[test]
fn an_older_state_comes_back_by_instant_and_by_id() {
    let project = Project::new();
    let first = project.json(&["backup", "prod", "shop"]);
    let mut writer = ShopWriter::open(&project.shop(), 7).unwrap();
    for n in 0..50 {
        writer
            .commit_one(format!("2026-11-21T01:00:{:02}Z", n % 60).parse().unwrap())
            .unwrap();
    }
    let second = project.json(&["backup", "prod", "shop", "--tier", "hourly"]);
    assert_eq!(second[0]["parent"], first[0]["snapshot"]);
    let restore = |at: &str, name: &str| {
        let to = project.path(name);
        project.ok(&[
            "restore",
            "prod",
            "shop",
            "--at",
            at,
            "--to",
            to.to_str().unwrap(),
        ]);
        query(&to, "SELECT at FROM heartbeat")
    };
    let old = restore(first[0]["instant"].as_str().unwrap(), "by-instant.db");
    assert_eq!(
        old,
        restore(&first[0]["snapshot"].as_str().unwrap()[..8], "by-id.db")
    );
    let new = restore("latest", "latest.db");
    assert_eq!(new, query(&project.shop(), "SELECT at FROM heartbeat"));
    assert_ne!(old, new);
    let before = [
        "restore",
        "prod",
        "shop",
        "--at",
        "2020-01-01T00:00:00Z",
        "--to",
        "x.db",
    ];
    project.fails(&before, 1, &["is as old as", "they begin at"]);
}

/// Not a test of its own: the process that writes while another one backs up.
#[test]
#[ignore = "run by `a_backup_under_a_writing_process_is_one_consistent_state` in a process of its own"]
fn writing_process() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the parent process speaks through it"
    )]
    let shop = std::env::var("LIFEBOAT_TEST_SHOP").expect("the parent names the shop");
    let mut writer = ShopWriter::open(Path::new(&shop), 3).unwrap();
    // It is killed long before; the bound is for a parent that died.
    for n in 0_i64..60_000 {
        writer
            .commit_one(jiff::Timestamp::from_millisecond(1_800_000_000_000 + n).unwrap())
            .unwrap();
    }
}

fn start_writer(shop: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "backup::writing_process"])
        .env("LIFEBOAT_TEST_SHOP", shop)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_backup_under_a_writing_process_is_one_consistent_state() {
    let project = Project::new();
    let heartbeat = || query(&project.shop(), "SELECT at FROM heartbeat");
    let before = heartbeat();
    let mut writer = start_writer(&project.shop());
    while heartbeat() == before {
        assert!(writer.try_wait().unwrap().is_none(), "the writer died");
        std::thread::sleep(Duration::from_millis(1));
    }
    for (n, tier) in ["daily", "hourly", "hourly"].into_iter().enumerate() {
        project.ok(&["backup", "prod", "shop", "--tier", tier]);
        let restored = project.path(&format!("restored-{n}.db"));
        project.ok(&[
            "restore",
            "prod",
            "shop",
            "--to",
            restored.to_str().unwrap(),
        ]);
        assert_eq!(query(&restored, "PRAGMA integrity_check"), "ok");
        assert_eq!(
            query(&restored, INVARIANT_SQL),
            "1",
            "a transaction was cut in two"
        );
    }
    assert!(
        writer.try_wait().unwrap().is_none(),
        "the writer had stopped: nothing was tested"
    );
    writer.kill().unwrap();
    writer.wait().unwrap();
    let first = query(&project.path("restored-0.db"), "SELECT at FROM heartbeat");
    let last = query(&project.path("restored-2.db"), "SELECT at FROM heartbeat");
    assert!(first < last, "the database stood still: {first} {last}");
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let project = Project::new();
    let config = project.path("production/config");
    std::fs::write(config.join("ünïcode"), "x").unwrap();
    std::fs::write(config.join("secret"), "y").unwrap();
    std::fs::set_permissions(config.join("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("/does/not/exist", config.join("dangling")).unwrap();
    std::fs::hard_link(config.join("secret"), config.join("secret-too")).unwrap();
    project.ok(&["backup", "prod", "config"]);
    let to = project.path("restored");
    project.ok(&["restore", "prod", "config", "--to", to.to_str().unwrap()]);
    assert_eq!(listing(&config), listing(&to));
}

/// Every entry with its type, mode, mtime, link target, link count and content.
fn listing(root: &Path) -> String {
    let script = "find . -printf '%p %y %m %T@ %l %n\\n' | sort; \
                  find . -type f -print0 | sort -z | xargs -0 cat";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_unchanged_folder_costs_nothing_and_a_change_is_noticed() {
    let project = Project::new();
    // Files that rest are trusted; those of the last moments are read again.
    let old = "find production/config -exec touch -h -d '2026-01-01' {} +";
    Command::new("sh")
        .args(["-c", old])
        .current_dir(project.dir.path())
        .status()
        .unwrap();
    project.ok(&["backup", "prod", "config"]);
    let unchanged = project.json(&["backup", "prod", "config", "--incremental"]);
    assert_eq!(unchanged[0]["bytes_stored"], 0);
    std::fs::write(project.path("production/config/new"), "new").unwrap();
    let changed = project.json(&["backup", "prod", "config", "--incremental"]);
    assert!(changed[0]["bytes_stored"].as_u64() > Some(0));
    let to = project.path("restored");
    project.ok(&[
        "restore",
        "prod",
        "config",
        "--path",
        "new",
        "--to",
        to.to_str().unwrap(),
    ]);
    assert_eq!(std::fs::read_to_string(to.join("new")).unwrap(), "new");
    assert_eq!(
        std::fs::read_dir(&to).unwrap().count(),
        1,
        "`--path` restored more than asked"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let project = Project::new();
    let before = project.packs_or_none();
    let plan = project.ok(&["backup", "prod", "--dry-run"]);
    assert!(
        plan.contains("would back up prod/shop (on-demand, full)"),
        "{plan}"
    );
    let plan = project.json(&["backup", "prod", "--dry-run"]);
    assert_eq!(plan[0]["kind"], "full");
    assert_eq!(project.packs_or_none(), before);
    project.ok(&["backup", "prod"]);
    let to = project.path("never");
    let restore = [
        "restore",
        "prod",
        "config",
        "--to",
        to.to_str().unwrap(),
        "--dry-run",
    ];
    project.ok(&restore);
    assert!(!to.exists());
    project.ok(&["replicate", "prod", "--dry-run"]);
    assert!(!project.path("regions/eu-west/packs").exists());
}

impl Project {
    fn packs_or_none(&self) -> usize {
        if self.path("regions/eu-central/packs").exists() {
            self.packs("eu-central").len()
        } else {
            0
        }
    }
}

#[test]
fn a_source_that_fails_keeps_no_other_from_being_backed_up() {
    let project = Project::new();
    std::fs::remove_dir_all(project.path("production/config")).unwrap();
    project.fails(&["backup", "prod"], 1, &["production/config", "hint:"]);
    let listed = project.json(&["snapshots", "prod"]);
    assert_eq!(
        listed.as_array().unwrap().len(),
        1,
        "the database was not backed up"
    );
    assert_eq!(listed[0]["source"], "shop");
}

#[test]
fn what_a_lost_pack_held_is_stored_again_by_the_next_backup() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    for (n, kind) in ["--incremental", "--full"].into_iter().enumerate() {
        // One pack is cut short, the other is gone: content and manifest.
        let packs = project.packs("eu-central");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&packs[0].0)
            .unwrap();
        file.set_len(packs[0].1 / 2).unwrap();
        packs
            .iter()
            .skip(1)
            .for_each(|pack| std::fs::remove_file(&pack.0).unwrap());
        project.ok(&["backup", "prod", "shop", kind]);
        let to = project.path(&format!("restored-{n}.db"));
        project.ok(&["restore", "prod", "shop", "--to", to.to_str().unwrap()]);
        assert_same_rows(&project.shop(), &to);
        std::fs::remove_file(&packs[0].0).unwrap();
    }
}

#[test]
fn a_path_that_matches_nothing_is_an_error_and_a_link_brings_its_content() {
    let project = Project::new();
    let config = project.path("production/config");
    std::fs::write(config.join("first"), "content").unwrap();
    std::fs::hard_link(config.join("first"), config.join("second")).unwrap();
    project.ok(&["backup", "prod", "config"]);
    let restore = [
        "restore",
        "prod",
        "config",
        "--to",
        "out",
        "--path",
        "config/first",
    ];
    project.fails(
        &restore,
        2,
        &["nothing in snapshot", "paths begin inside the source"],
    );
    assert!(!project.path("out").exists());
    project.ok(&[
        "restore", "prod", "config", "--to", "out", "--path", "second",
    ]);
    assert_eq!(
        std::fs::read_to_string(project.path("out/second")).unwrap(),
        "content"
    );
}

#[test]
fn a_quiet_job_says_nothing_unless_something_is_wrong() {
    let project = Project::new();
    for args in [&["backup", "prod", "-q"][..], &["replicate", "prod", "-q"]] {
        let output = project.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(crate::project::text(&output), "", "{args:?} was not quiet");
    }
    std::fs::remove_dir_all(project.path("production/config")).unwrap();
    project.fails(
        &["backup", "prod", "-q"],
        1,
        &["production/config", "hint:"],
    );
}

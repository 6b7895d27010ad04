//! Restores over what is there, parts of folders, and what is left when one does not end.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Project, assert_same_rows, query, skip};

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

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A project whose folder has something of everything, backed up; with a restored copy of it.
struct Site {
    project: Project,
    config: PathBuf,
    to: PathBuf,
}

impl Site {
    fn new() -> Self {
        let project = Project::new();
        let config = project.path("production/config");
        for (path, content) in [
            ("same", noise(1, 3000)),
            ("sub/deep/file", b"deep".to_vec()),
            ("sub/neighbour", b"near".to_vec()),
            ("large", noise(2, 9_000_000)),
            ("linked", b"one inode".to_vec()),
            ("empty", Vec::new()),
        ] {
            let path = config.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::fs::hard_link(config.join("linked"), config.join("sub/linked-too")).unwrap();
        std::fs::hard_link(config.join("linked"), config.join("sub/linked-three")).unwrap();
        symlink("/does/not/exist", config.join("dangling")).unwrap();
        let mode = PermissionsExt::from_mode;
        std::fs::set_permissions(config.join("same"), mode(0o640)).unwrap();
        std::fs::set_permissions(config.join("sub/deep"), mode(0o710)).unwrap();
        project.ok(&["backup", "prod", "config"]);
        let to = project.path("restored");
        let site = Self {
            project,
            config,
            to,
        };
        site.restore(&[]);
        assert_eq!(listing(&site.config), listing(&site.to));
        site
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let to = self.to.to_str().unwrap();
        [&["restore", "prod", "config", "--to", to], more].concat()
    }

    fn restore(&self, more: &[&str]) -> serde_json::Value {
        self.project.json(&self.args(more))
    }
}

#[test]
fn a_delta_makes_the_tree_equal_the_snapshot_and_leaves_what_is_equal_alone() {
    let site = Site::new();
    let to = |path: &str| site.to.join(path);
    let inode = |path: &str| to(path).metadata().unwrap().ino();
    let untouched = inode("same");
    // Same length and time, other content: only reading it tells.
    let time = to("sub/neighbour").metadata().unwrap().modified().unwrap();
    std::fs::write(to("sub/neighbour"), "NEAR").unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(to("sub/neighbour"));
    file.unwrap().set_modified(time).unwrap();
    std::fs::set_permissions(to("empty"), PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::remove_file(to("dangling")).unwrap();
    symlink("elsewhere", to("dangling")).unwrap();
    std::fs::remove_dir_all(to("sub/deep")).unwrap();
    std::fs::write(to("sub/deep"), "a file where a folder belongs").unwrap();
    std::fs::create_dir_all(to("extra/inner")).unwrap();
    std::fs::write(to("extra/inner/file"), "too much").unwrap();
    std::fs::remove_file(to("shop.toml")).unwrap();
    std::fs::create_dir_all(to("shop.toml/a/folder")).unwrap();
    std::fs::remove_file(to("sub/linked-too")).unwrap();
    std::fs::write(to("sub/linked-too"), "one inode").unwrap();

    let before = listing(&site.to);
    let preview = site.restore(&["--delta", "--dry-run"]);
    assert_eq!(listing(&site.to), before, "a dry run changed something");
    let report = site.restore(&["--delta"]);
    assert_eq!(listing(&site.config), listing(&site.to));
    assert_eq!(inode("same"), untouched, "an equal file was written again");
    let delta = &report["delta"];
    assert_eq!(delta["removed"]["paths"], serde_json::json!(["extra"]));
    assert_eq!(preview["written"], delta["written"]);
    assert_eq!(preview["removed"], delta["removed"]);
    let written = delta["written"]["paths"].as_array().unwrap();
    for path in [
        "sub/neighbour",
        "dangling",
        "sub/deep",
        "sub/deep/file",
        "shop.toml",
    ] {
        assert!(written.contains(&path.into()), "{path}: {written:?}");
    }
    // And once more: there is nothing to do.
    let again = site.restore(&["--delta"]);
    assert_eq!(again["bytes"], 0);
    for kind in ["written", "adjusted", "removed"] {
        assert_eq!(again["delta"][kind]["count"], 0, "{again}");
    }
}

#[test]
fn a_delta_fetches_only_what_differs_within_a_file() {
    let site = Site::new();
    let mut large = std::fs::read(site.to.join("large")).unwrap();
    large[4_000_000] ^= 1;
    std::fs::write(site.to.join("large"), large).unwrap();
    let report = site.restore(&["--delta"]);
    let bytes = report["bytes"].as_u64().unwrap();
    assert!(
        (1..6_000_000).contains(&bytes),
        "{bytes} bytes were fetched"
    );
    assert_eq!(listing(&site.config), listing(&site.to));
}

#[test]
fn a_delta_relinks_every_name_of_a_file_that_it_makes_anew() {
    let site = Site::new();
    std::fs::write(site.to.join("sub/linked-too"), "all three").unwrap();
    site.restore(&["--delta"]);
    assert_eq!(listing(&site.config), listing(&site.to));
    assert_eq!(site.to.join("linked").metadata().unwrap().nlink(), 3);
}

#[test]
fn a_delta_that_trusts_times_leaves_files_of_equal_size_and_time_unread() {
    let site = Site::new();
    let path = site.to.join("same");
    let time = path.metadata().unwrap().modified().unwrap();
    std::fs::write(&path, noise(9, 3000)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    site.restore(&["--delta", "--trust-mtime"]);
    assert_eq!(std::fs::read(&path).unwrap(), noise(9, 3000));
    site.restore(&["--delta"]);
    assert_eq!(std::fs::read(&path).unwrap(), noise(1, 3000));
}

#[test]
fn a_delta_follows_no_link_out_of_its_target() {
    let site = Site::new();
    let outside = site.project.path("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    for file in ["deep/file", "neighbour", "precious"] {
        std::fs::write(outside.join(file), "stays").unwrap();
    }
    std::fs::remove_dir_all(site.to.join("sub")).unwrap();
    symlink(&outside, site.to.join("sub")).unwrap();
    std::fs::remove_file(site.to.join("same")).unwrap();
    symlink(outside.join("precious"), site.to.join("same")).unwrap();
    symlink(&outside, site.to.join("extra")).unwrap();
    let before = listing(&outside);
    site.restore(&["--delta"]);
    assert_eq!(listing(&outside), before);
    assert_eq!(listing(&site.config), listing(&site.to));
}

#[test]
fn a_delta_of_a_part_touches_nothing_else() {
    let site = Site::new();
    std::fs::write(site.to.join("same"), "not asked for").unwrap();
    std::fs::write(site.to.join("extra"), "not asked for").unwrap();
    std::fs::write(site.to.join("sub/extra"), "asked for").unwrap();
    std::fs::write(site.to.join("sub/neighbour"), "asked for").unwrap();
    site.restore(&["--delta", "--path", "sub/**"]);
    let read = |path: &str| std::fs::read_to_string(site.to.join(path)).unwrap();
    assert_eq!(
        (read("same"), read("extra")),
        ("not asked for".into(), "not asked for".into())
    );
    assert_eq!(read("sub/neighbour"), "near");
    assert!(!site.to.join("sub/extra").exists());
}

#[test]
fn a_delta_refuses_places_that_nobody_can_mean() {
    let site = Site::new();
    let refuses = |to: &str, says: &str| {
        let args = ["restore", "prod", "config", "--delta", "--to", to];
        site.project.fails(&args, 2, &[says, "hint:"]);
        let dry = [&args[..], &["--dry-run"]].concat();
        site.project.fails(&dry, 2, &[says]);
    };
    refuses("/", "root of all files");
    refuses(".", "holds a project");
    refuses("regions", "holds region");
    let home = site.project.path("home");
    std::fs::create_dir_all(home.join("me")).unwrap();
    std::fs::write(home.join("me/letter"), "dear").unwrap();
    for to in ["home", "home/me"] {
        let args = ["restore", "prod", "config", "--delta", "--to", to];
        let output = site
            .project
            .command(&args)
            .env("HOME", home.join("me"))
            .output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{to}");
    }
    assert!(home.join("me/letter").exists());
    assert!(site.project.path("lifeboat.toml").exists());
}

#[test]
fn a_folder_that_holds_something_is_refused_and_the_hint_names_delta() {
    let site = Site::new();
    let before = listing(&site.to);
    let args = site.args(&[]);
    site.project.fails(&args, 1, &["is not empty", "--delta"]);
    assert_eq!(listing(&site.to), before);
}

#[test]
fn a_delta_of_a_database_replaces_it_and_fetches_only_what_differs() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let to = project.path("restored.db");
    let restore = ["restore", "prod", "shop", "--to", to.to_str().unwrap()];
    project.ok(&restore);
    let size = to.metadata().unwrap().len();
    query(&to, "DELETE FROM heartbeat RETURNING 1");
    project.fails(&restore, 1, &["exists"]);
    let report = project.json(&[&restore[..], &["--delta"]].concat());
    assert_same_rows(&project.shop(), &to);
    assert!(report["bytes"].as_u64().unwrap() <= size);
    // Nothing differs now, so nothing is fetched.
    let report = project.json(&[&restore[..], &["--delta"]].concat());
    assert_eq!(report["bytes"], 0);
    assert_same_rows(&project.shop(), &to);
    assert!(!project.path("restored.db.restoring").exists());
}

#[test]
fn a_part_brings_the_folders_that_lead_to_it_and_keeps_links_linked() {
    let site = Site::new();
    let to = site.project.path("part");
    let args = ["restore", "prod", "config", "--to", to.to_str().unwrap()];
    let picked = ["--path", "sub/linked-*", "--path", "sub/deep/*"];
    site.project.ok(&[&args[..], &picked].concat());
    let mode = |path: &str| to.join(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!(
        mode("sub/deep"),
        0o710,
        "a folder on the way has its own permissions"
    );
    let of = |root: &Path, path: &str| root.join(path).metadata().unwrap();
    for path in ["sub", "sub/deep"] {
        let (restored, original) = (of(&to, path), of(&site.config, path));
        assert_eq!(restored.mtime(), original.mtime(), "{path}");
    }
    let (one, other) = (of(&to, "sub/linked-too"), of(&to, "sub/linked-three"));
    assert_eq!((one.ino(), one.nlink()), (other.ino(), 2));
    assert_eq!(
        std::fs::read(to.join("sub/linked-too")).unwrap(),
        b"one inode"
    );
    let names = std::fs::read_dir(&to).unwrap().count();
    assert_eq!(names, 1, "more than `sub` was restored");
}

#[test]
fn a_restore_into_an_empty_folder_keeps_the_folder_itself() {
    let site = Site::new();
    let empty = site.project.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let inode = empty.metadata().unwrap().ino();
    let args = ["restore", "prod", "config", "--to", empty.to_str().unwrap()];
    site.project.ok(&args);
    assert_eq!(listing(&site.config), listing(&empty));
    assert_eq!(empty.metadata().unwrap().ino(), inode);
}

#[test]
fn a_restore_that_fails_leaves_nothing_that_looks_whole() {
    let site = Site::new();
    let (pack, size) = site
        .project
        .packs("eu-central")
        .into_iter()
        .max_by_key(|p| p.1)
        .unwrap();
    let good = std::fs::read(&pack).unwrap();
    let mut bytes = good.clone();
    bytes[size as usize / 2] ^= 1;
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    let (missing, empty) = (site.project.path("missing"), site.project.path("empty"));
    std::fs::create_dir(&empty).unwrap();
    for to in [&missing, &empty] {
        let args = ["restore", "prod", "config", "--to", to.to_str().unwrap()];
        site.project.fails(&args, 4, &["damaged"]);
    }
    assert!(!missing.exists() && !site.project.path("missing.restoring").exists());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    // A delta that needs what is damaged says so in the folder, and another one completes it.
    std::fs::remove_file(site.to.join("large")).unwrap();
    site.project
        .fails(&site.args(&["--delta"]), 4, &["damaged"]);
    let mark = site.to.join(".lifeboat-restore-incomplete");
    assert!(mark.exists());
    site.project
        .fails(&site.args(&[]), 1, &["interrupted", "--delta"]);
    std::fs::write(&pack, good).unwrap();
    site.project.ok(&site.args(&["--delta"]));
    assert!(!mark.exists());
    assert_eq!(listing(&site.config), listing(&site.to));
}

#[test]
fn a_full_disk_fails_the_restore_and_leaves_nothing_half_made() {
    let site = Site::new();
    let small = site.project.path("small");
    std::fs::create_dir(&small).unwrap();
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&small);
    if !mount.status().is_ok_and(|status| status.success()) {
        return skip("a tmpfs cannot be mounted here");
    }
    for to in ["small", "small/new"] {
        let args = ["restore", "prod", "config", "--to", to];
        let output = site.project.command(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("No space left") && said.contains("hint: free some space"),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    }
    // What fits goes to the root of a mounted disk, which cannot be renamed over.
    let part = [
        "restore", "prod", "config", "--to", "small", "--path", "sub",
    ];
    site.project.ok(&part);
    assert_eq!(std::fs::read(small.join("sub/deep/file")).unwrap(), b"deep");
    assert!(
        Command::new("umount")
            .arg(&small)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_sparse_file_comes_back_sparse() {
    let project = Project::new();
    let sparse = project.path("production/config/sparse");
    let file = std::fs::File::create(&sparse).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 32 << 20).unwrap();
    drop(file);
    if sparse.metadata().unwrap().blocks() * 512 > 1 << 20 {
        return skip("the file system here keeps no holes");
    }
    project.ok(&["backup", "prod", "config"]);
    let to = project.path("restored");
    let args = ["restore", "prod", "config", "--to", to.to_str().unwrap()];
    project.ok(&args);
    let restored = to.join("sparse");
    assert_eq!(
        std::fs::read(&restored).unwrap(),
        std::fs::read(&sparse).unwrap()
    );
    assert!(restored.metadata().unwrap().blocks() * 512 < 1 << 20);
    // A delta finds the holes equal, and makes them again where something was put into one.
    let delta = [&args[..], &["--delta"]].concat();
    assert_eq!(project.json(&delta)["delta"]["written"]["count"], 0);
    let file = std::fs::File::options()
        .write(true)
        .open(&restored)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"dirt", 16 << 20).unwrap();
    drop(file);
    project.ok(&delta);
    assert_eq!(
        std::fs::read(&restored).unwrap(),
        std::fs::read(&sparse).unwrap()
    );
    assert!(restored.metadata().unwrap().blocks() * 512 < 1 << 20);
}

//! Bad input: each gives its exit code, names the thing and the next step, and breaks nothing.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Project, assert_exit, lifeboat, query, skip};

/// The last backup still restores: what failed in between broke nothing.
fn assert_still_restores(project: &Project) {
    let to = project.path("still-there.db");
    project.ok(&["restore", "prod", "shop", "--to", to.to_str().unwrap()]);
    assert_eq!(query(&to, "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_key_of_another_repository_opens_nothing() {
    let (project, other) = (Project::new(), Project::new());
    project.ok(&["backup", "prod"]);
    let key = project.path("keys/reader.key");
    let good = std::fs::read(&key).unwrap();
    std::fs::copy(other.path("keys/reader.key"), &key).unwrap();
    let restore = ["restore", "prod", "shop", "--to", "x.db"];
    project.fails(
        &restore,
        12,
        &["reader key opens no key of repository", "hint:", "[keys]"],
    );
    std::fs::write(&key, "LIFEBOAT-KEY-0011223344556677-AAAA\n").unwrap();
    project.fails(
        &restore,
        12,
        &["reader key is not in the form of a Lifeboat key"],
    );
    std::fs::remove_file(&key).unwrap();
    project.fails(
        &restore,
        12,
        &["reader key is not to be had", "keys/reader.key"],
    );
    std::fs::write(&key, good).unwrap();
    assert_still_restores(&project);
}

#[test]
fn a_writer_key_alone_backs_up_and_cannot_restore() {
    let project = Project::new();
    std::fs::remove_file(project.path("keys/reader.key")).unwrap();
    project.edit("lifeboat.toml", "reader = \"file:keys/reader.key\"\n", "");
    project.ok(&["backup", "prod"]);
    project.fails(
        &["restore", "prod", "shop", "--to", "x.db"],
        12,
        &["no key that can restore"],
    );
    let stolen = project.path("keys/writer.key");
    std::fs::copy(&stolen, project.path("keys/reader.key")).unwrap();
    project.edit(
        "lifeboat.toml",
        "[keys]\n",
        "[keys]\nreader = \"file:keys/reader.key\"\n",
    );
    project.fails(
        &["restore", "prod", "shop", "--to", "x.db"],
        12,
        &["writer key cannot read content"],
    );
    assert!(!project.path("x.db").exists());
}

#[test]
fn a_truncated_pack_is_located_and_never_restored_as_good() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.ok(&["replicate", "prod"]);
    let cut = |(pack, len): &(PathBuf, u64)| {
        let file = std::fs::OpenOptions::new().write(true).open(pack);
        file.unwrap().set_len(len / 2).unwrap();
    };
    let packs = project.packs("eu-central").into_iter();
    let pack = packs.max_by_key(|pack| pack.1).unwrap();
    cut(&pack);
    let largest = &pack.0;
    let name = largest.file_name().unwrap().to_str().unwrap();
    let verify = ["verify", "prod", "--region", "eu-central"];
    project.fails(
        &verify,
        4,
        &[
            "DAMAGED",
            name,
            "shop.db: a pack it needs is missing or damaged",
        ],
    );
    // The other region has a whole one.
    let restore = ["restore", "prod", "shop", "--to", "x.db"];
    let told = project.ok(&restore);
    assert!(told.contains("DAMAGED in eu-central: 1 object"), "{told}");
    let repair = "`lifeboat repair prod --region eu-central`";
    assert!(told.contains(repair), "{told}");
    let restored = project.path("x.db");
    assert_eq!(query(&restored, "PRAGMA integrity_check"), "ok");
    std::fs::remove_file(&restored).unwrap();
    // Now none has.
    let other = project.packs("eu-west").into_iter();
    let mut same = other.filter(|(path, _)| path.file_name() == largest.file_name());
    cut(&same.next().expect("it was replicated"));
    let says = [
        name,
        "`shop.db`",
        "eu-central",
        "eu-west",
        "hint:",
        "repair",
    ];
    project.fails(&restore, 4, &says);
    assert!(
        !restored.exists(),
        "half a database was left under the target's name"
    );
    assert!(
        !project.path("x.db.restoring").exists(),
        "the half-made restore was left behind"
    );
}

#[test]
fn a_flipped_byte_is_found_by_reading_everything() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let (largest, len) = project
        .packs("eu-central")
        .into_iter()
        .max_by_key(|pack| pack.1)
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[len as usize / 2] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    project.ok(&[
        "verify",
        "prod",
        "--level",
        "quick",
        "--region",
        "eu-central",
    ]);
    let full = [
        "verify",
        "prod",
        "--level",
        "full",
        "--region",
        "eu-central",
    ];
    project.fails(&full, 4, &["its bytes do not match its name"]);
    project.fails(
        &["restore", "prod", "shop", "--to", "x.db"],
        4,
        &["is not authentic"],
    );
}

#[test]
fn a_missing_region_folder_is_not_created_anew() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    let region = project.path("regions/eu-central");
    std::fs::rename(&region, project.path("unmounted")).unwrap();
    project.fails(
        &["backup", "prod"],
        10,
        &["regions/eu-central", "mounted", "hint:"],
    );
    assert!(
        !region.exists(),
        "an empty repository was made where a disk was to be mounted"
    );
    project.fails(&["check"], 1, &["eu-central"]);
    // An empty folder, such as a mount point without its disk, is no repository either.
    std::fs::create_dir(&region).unwrap();
    project.fails(&["backup", "prod"], 10, &["holds no repository"]);
    project.ok(&[
        "restore", "prod", "shop", "--to", "x.db", "--region", "eu-west",
    ]);
    std::fs::remove_dir(&region).unwrap();
    std::fs::rename(project.path("unmounted"), &region).unwrap();
    assert_still_restores(&project);
}

#[test]
fn swapped_regions_are_noticed_before_anything_is_written() {
    let project = Project::new();
    project.edit(
        "lifeboat.toml",
        "url = \"regions/eu-central\"",
        "url = \"regions/x\"",
    );
    project.edit(
        "lifeboat.toml",
        "url = \"regions/eu-west\"",
        "url = \"regions/eu-central\"",
    );
    project.edit(
        "lifeboat.toml",
        "url = \"regions/x\"",
        "url = \"regions/eu-west\"",
    );
    project.fails(
        &["backup", "prod"],
        7,
        &["its store says it is `eu-west`", "hint:"],
    );
}

#[test]
fn a_region_outside_the_residency_gets_no_byte() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    // The disk in the second region says it lies elsewhere than the configuration believes.
    project.edit(
        "regions/eu-west/region.json",
        "\"location\": \"eu\"",
        "\"location\": \"us\"",
    );
    project.fails(&["replicate", "prod"], 7, &["eu-west", "`us`"]);
    // A configuration that allows it on paper is refused before anything runs.
    project.edit(
        "lifeboat.toml",
        "url = \"regions/eu-west\"\nlocation = \"eu\"",
        "url = \"regions/eu-west\"\nlocation = \"us\"",
    );
    project.fails(&["replicate", "prod"], 2, &["eu-west", "residency"]);
    assert!(!project.path("regions/eu-west/packs").exists());
}

#[test]
fn a_full_disk_fails_the_backup_and_harms_no_earlier_one() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let small = project.path("small");
    std::fs::create_dir(&small).unwrap();
    let Some(_mounted) = Mounted::new(&small) else {
        return skip("a tmpfs cannot be mounted here");
    };
    let copy = Command::new("cp")
        .args(["-a", "regions/eu-central/."])
        .arg(&small)
        .current_dir(project.dir.path())
        .status()
        .unwrap();
    assert!(
        copy.success(),
        "the region does not fit the small disk to begin with"
    );
    let url = format!("region.eu-central.url={}", small.display());
    std::fs::write(project.path("production/config/large"), noise(700_000)).unwrap();
    let args = ["backup", "prod", "config", "--set", &url];
    project.fails(&args, 1, &["No space left", "hint: free some space"]);
    let listed = project.json(&["snapshots", "prod", "--set", &url]);
    assert_eq!(
        listed.as_array().unwrap().len(),
        1,
        "a snapshot of a failed backup appeared"
    );
    let to = project.path("restored.db");
    project.ok(&[
        "restore",
        "prod",
        "shop",
        "--set",
        &url,
        "--to",
        to.to_str().unwrap(),
    ]);
}

/// A mount that is undone on drop.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=600k", "tmpfs"])
            .arg(at);
        mount
            .status()
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0).status().unwrap();
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_mistake_in_the_configuration_is_told_at_once_with_its_line() {
    let project = Project::new();
    project.edit(
        "environments/prod.toml",
        "rpo = \"5min\"",
        "rpoo = \"5min\"",
    );
    project.edit(
        "environments/prod.toml",
        "kind = \"sqlite\"",
        "kind = \"sqlte\"",
    );
    project.edit("lifeboat.toml", "location = \"eu\"", "lokation = \"eu\"");
    let says = [
        "rpoo",
        "did you mean `rpo`",
        "environments/prod.toml:9",
        "sqlte",
        "lokation",
        "lifeboat.toml",
    ];
    project.fails(&["check"], 2, &says);
    project.fails(&["backup", "prod"], 2, &says);
}

#[test]
fn unknown_names_come_with_the_nearest_known_one() {
    let project = Project::new();
    project.fails(&["backup", "prdo"], 2, &["`prdo`", "did you mean `prod`"]);
    project.fails(
        &["backup", "prod", "shpo"],
        2,
        &["`shpo`", "did you mean `shop`"],
    );
    project.fails(
        &["backup", "prod", "--tier", "dayly"],
        2,
        &["dayly", "daily"],
    );
    project.fails(
        &["restore", "prod", "shop", "--to", "x", "--at", "noon"],
        2,
        &["noon", "latest"],
    );
}

#[test]
fn without_a_project_the_next_step_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let output = lifeboat()
        .arg("status")
        .current_dir(empty.path())
        .output()
        .unwrap();
    assert_exit(&output, 2, &["lifeboat.toml", "lifeboat init"], &["status"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_rest_is_kept() {
    let project = Project::new();
    let secret = project.path("production/config/unreadable");
    std::fs::write(&secret, "x").unwrap();
    Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(project.dir.path())
        .status()
        .unwrap();
    Command::new("chmod")
        .arg("000")
        .arg(&secret)
        .status()
        .unwrap();
    let args = ["backup", "prod", "config"];
    let mut command = project.command(&args);
    if rustix::process::geteuid().is_root() {
        // Root reads everything, so the program runs as nobody.
        Command::new("chown")
            .args(["-R", "65534:65534"])
            .arg(project.dir.path())
            .status()
            .unwrap();
        Command::new("chown")
            .arg("0:0")
            .arg(&secret)
            .status()
            .unwrap();
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    assert_exit(
        &output,
        3,
        &[
            "1 item of config missing or in doubt",
            "unreadable",
            "ermission denied",
        ],
        &args,
    );
    let to = project.path("restored");
    let restore = ["restore", "prod", "config", "--to", to.to_str().unwrap()];
    let output = project.command(&restore).output().unwrap();
    assert_exit(&output, 3, &["INCOMPLETE: unreadable"], &restore);
    assert!(to.join("shop.toml").exists() && !to.join("unreadable").exists());
}

#[test]
fn what_is_no_sqlite_database_is_refused_before_anything_is_stored() {
    let project = Project::new();
    let packs = || project.path("regions/eu-central/packs").exists();
    std::fs::write(
        project.shop(),
        "not a database, but some text that is long enough",
    )
    .unwrap();
    for companion in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{companion}", project.shop().display())).ok();
    }
    project.fails(
        &["backup", "prod", "shop"],
        4,
        &["shop.db", "is not a SQLite database", "hint:"],
    );
    std::fs::remove_file(project.shop()).unwrap();
    project.fails(&["backup", "prod", "shop"], 1, &["shop.db"]);
    assert!(!packs(), "something was stored");
}

#[test]
fn a_restore_never_overwrites() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let database = project.shop();
    let before = std::fs::metadata(&database).unwrap().modified().unwrap();
    let over = [
        "restore",
        "prod",
        "shop",
        "--to",
        database.to_str().unwrap(),
    ];
    project.fails(&over, 1, &["shop.db", "exists", "hint:"]);
    assert_eq!(
        std::fs::metadata(&database).unwrap().modified().unwrap(),
        before
    );
    let used = project.path("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("mine"), "mine").unwrap();
    let into = ["restore", "prod", "config", "--to", used.to_str().unwrap()];
    project.fails(&into, 1, &["used", "not empty", "hint:"]);
    assert_eq!(std::fs::read_dir(&used).unwrap().count(), 1);
}

#[test]
fn raw_production_data_goes_nowhere_but_production() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let restore = [
        "restore", "prod", "shop", "--to", "x.db", "--into", "staging",
    ];
    project.fails(
        &restore,
        7,
        &["unmasked production data", "staging", "hint:"],
    );
    assert!(!project.path("x.db").exists());
    // Where staging's database lives belongs to staging, whatever is said of it.
    std::fs::create_dir(project.path("staging")).unwrap();
    project.fails(
        &["restore", "prod", "shop", "--to", "staging/shop.db"],
        7,
        &["staging"],
    );
    project.fails(
        &["restore", "prod", "shop", "--to", "regions/eu-west/x.db"],
        2,
        &["eu-west"],
    );
    // Nor does a link make production's database somebody else's.
    std::os::unix::fs::symlink(project.shop(), project.path("staging/link.db")).unwrap();
    let staging = project.path("environments/staging.toml");
    let text = std::fs::read_to_string(&staging).unwrap();
    let source = "\n[source.copy]\nkind = \"sqlite\"\npath = \"staging/link.db\"\n";
    std::fs::write(&staging, text + source).unwrap();
    project.fails(&["backup", "staging"], 7, &["unmasked production data"]);
}

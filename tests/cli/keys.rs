//! Keys through the program: issued, listed, printed, revoked, in both regions.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;

use crate::project::{Project, assert_exit, text};

const HOME: &str = "eu-central";
const AWAY: &str = "eu-west";
const PASSPHRASE: &str = "five random words are enough";

/// A project whose recovery code is in `root.txt`, with a backup in both regions.
fn project() -> Project {
    let project = Project::without_repository();
    let output = project.command(&["init"]).output().unwrap();
    let all = text(&output);
    let code = all.lines().find(|line| line.contains("LIFEBOAT-ROOT-"));
    project.write(
        "root.txt",
        code.expect("init shows the recovery code").trim(),
    );
    project.ok(&["backup", "prod", "config"]);
    project.ok(&["replicate", "prod"]);
    project
}

/// Issues a key into `keys/new.key` and returns its id.
fn create(project: &Project, role: &str) -> String {
    let created = project.json(&[
        "key",
        "create",
        role,
        "--name",
        "laptop",
        "--out",
        "keys/new.key",
        "--root",
        "root.txt",
    ]);
    created["key"].as_str().unwrap().to_owned()
}

/// Lets the project use `keys/new.key` for a role.
fn use_new(project: &Project, role: &str) {
    let from = format!("{role} = \"file:keys/{role}.key\"");
    project.edit(
        "lifeboat.toml",
        &from,
        &format!("{role} = \"file:keys/new.key\""),
    );
}

fn object(project: &Project, region: &str, key: &str) -> std::path::PathBuf {
    project.path(&format!("regions/{region}/keys/{key}"))
}

fn restore<'a>(region: &'a str, to: &'a str) -> [&'a str; 7] {
    ["restore", "prod", "config", "--region", region, "--to", to]
}

fn run(project: &Project, args: &[&str]) -> Output {
    project.command(args).output().unwrap()
}

fn listed(project: &Project, key: &str) -> Value {
    let listing = project.json(&["key", "list"]);
    let keys = listing["keys"].as_array().unwrap();
    keys.iter()
        .find(|entry| entry["key"] == key)
        .unwrap()
        .clone()
}

#[test]
fn a_new_key_works_in_every_region_and_its_file_is_private() {
    let project = project();
    let key = create(&project, "reader");
    let mode = std::fs::metadata(project.path("keys/new.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    use_new(&project, "reader");
    project.ok(&restore(HOME, "one"));
    project.ok(&restore(AWAY, "two"));
    let entry = listed(&project, &key);
    assert_eq!(entry["regions"], serde_json::json!([HOME, AWAY]));
    assert_eq!(
        (&entry["role"], &entry["name"]),
        (&"reader".into(), &"laptop".into())
    );
    assert!(
        entry["issued"].is_null() && entry["revoked"].is_null(),
        "{entry}"
    );
    let all = project.json(&["key", "list", "--root", "root.txt"]);
    let all = all["keys"].as_array().unwrap().clone();
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|entry| entry["issued"] == true), "{all:?}");
}

#[test]
fn the_secret_alone_is_on_stdout_and_opens() {
    let project = project();
    let output = run(&project, &["key", "create", "reader", "--root", "root.txt"]);
    let secret = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        secret.starts_with("LIFEBOAT-KEY-") && secret.lines().count() == 1,
        "{secret}"
    );
    project.write("keys/new.key", &secret);
    use_new(&project, "reader");
    project.ok(&restore(HOME, "there"));
    // In JSON it is a field, and with a file it is not repeated.
    let json = project.json(&["key", "create", "writer", "--root", "root.txt"]);
    assert!(json["text"].as_str().unwrap().starts_with("LIFEBOAT-KEY-"));
    let output = run(
        &project,
        &[
            "key",
            "create",
            "writer",
            "--out",
            "keys/w.key",
            "--root",
            "root.txt",
            "--json",
        ],
    );
    assert!(
        !text(&output).contains("LIFEBOAT-KEY-"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_dry_run_makes_no_key_and_revokes_none() {
    let project = project();
    let before = project.json(&["key", "list"]);
    let plan = project.json(&[
        "key",
        "create",
        "writer",
        "--out",
        "keys/new.key",
        "--root",
        "root.txt",
        "--dry-run",
    ]);
    assert_eq!(plan["regions"], serde_json::json!([HOME, AWAY]));
    let key = before["keys"][0]["key"].as_str().unwrap();
    let plan = project.json(&["key", "revoke", key, "--root", "root.txt", "--dry-run"]);
    assert_eq!(plan["issued"], true);
    assert!(!project.path("keys/new.key").exists());
    assert_eq!(project.json(&["key", "list"]), before);
}

#[test]
fn what_cannot_be_issued_is_refused_before_anything_is_made() {
    let project = project();
    let before = project.json(&["key", "list"]);
    project.write("short.txt", "too short\n");
    let create = |rest: &[&'static str], code, says: &[&str]| {
        let args = [&["key", "create"], rest].concat();
        project.fails(&args, code, says);
    };
    create(&["replicator"], 2, &["a replicator needs no key"]);
    create(&["root"], 2, &["the root key is the recovery code"]);
    create(
        &["admin"],
        2,
        &["`admin` is no role", "auditor, pruner, writer, reader"],
    );
    create(
        &["writer"],
        12,
        &["no key that can issue or revoke keys", "--root FILE"],
    );
    create(
        &["writer", "--root", "keys/reader.key"],
        2,
        &["not the recovery code"],
    );
    create(
        &["writer", "--root", "root.txt", "--out", "keys/writer.key"],
        2,
        &["exists already"],
    );
    let inside = "regions/eu-west/keys/w.key";
    create(
        &["writer", "--root", "root.txt", "--out", inside],
        2,
        &["lies inside region"],
    );
    create(
        &["writer", "--root", "root.txt", "--name", "a\u{1b}[2Jb"],
        2,
        &["cannot be used"],
    );
    let short = "file:short.txt";
    create(
        &["reader", "--root", "root.txt", "--passphrase-from", short],
        2,
        &["fewer than 12"],
    );
    assert_eq!(project.json(&["key", "list"]), before);
}

#[test]
fn a_recovery_code_of_another_repository_issues_and_revokes_nothing() {
    let (project, other) = (project(), project());
    let foreign = other.path("root.txt");
    let foreign = foreign.to_str().unwrap();
    let key = project.json(&["key", "list"])["keys"][0]["key"].clone();
    let key = key.as_str().unwrap();
    project.fails(
        &["key", "create", "writer", "--root", foreign],
        12,
        &["opens no key"],
    );
    project.fails(
        &["key", "revoke", key, "--root", foreign],
        12,
        &["opens no key"],
    );
}

#[test]
fn a_passphrase_opens_and_a_wrong_one_is_a_wrong_key() {
    let project = project();
    project.write("phrase.txt", &format!("{PASSPHRASE}\n"));
    let created = text(&run(
        &project,
        &[
            "key",
            "create",
            "reader",
            "--passphrase-from",
            "file:phrase.txt",
            "--root",
            "root.txt",
        ],
    ));
    let from = "reader = \"file:keys/reader.key\"";
    project.edit("lifeboat.toml", from, "reader = \"passphrase:env:PHRASE\"");
    let with = |phrase: &str, args: &[&str]| {
        project
            .command(args)
            .env("PHRASE", phrase)
            .output()
            .unwrap()
    };
    assert_exit(
        &with(PASSPHRASE, &restore(AWAY, "good")),
        0,
        &[],
        &["restore"],
    );
    let says = ["the reader passphrase opens no key of repository"];
    assert_exit(
        &with("five random words are not", &restore(HOME, "bad")),
        12,
        &says,
        &["restore"],
    );
    assert!(!project.path("bad").exists());
    let checked = with(PASSPHRASE, &["check"]);
    assert_exit(
        &checked,
        0,
        &["reader key: opens the repository"],
        &["check"],
    );
    // The reference that names the key is the one that `create` prints.
    let all = text(&run(&project, &["key", "list", "--json"]));
    let all: Value = serde_json::from_str(&all).unwrap();
    let mut keys = all["keys"].as_array().unwrap().iter();
    let key = keys.find(|entry| entry["passphrase"] == true).unwrap()["key"].clone();
    let named = format!("passphrase:{}:env:PHRASE", key.as_str().unwrap());
    let says = format!(
        "`reader = \"passphrase:{}:file:phrase.txt\"`",
        key.as_str().unwrap()
    );
    assert!(created.contains(&says), "{created}");
    project.edit("lifeboat.toml", "passphrase:env:PHRASE", &named);
    assert_exit(
        &with(PASSPHRASE, &restore(HOME, "named")),
        0,
        &[],
        &["restore"],
    );
    // Without the project, a region and what somebody remembers are enough.
    let rescue = [
        "snapshots",
        "--from",
        "regions/eu-west",
        "--key",
        "passphrase:env:PHRASE",
    ];
    assert_exit(&with(PASSPHRASE, &rescue), 0, &["prod/config"], &rescue);
    assert_exit(
        &with("five random words are not", &rescue),
        12,
        &["opens no key"],
        &rescue,
    );
    project.fails(
        &["key", "export", "reader"],
        2,
        &["is no key in its text form"],
    );
}

#[test]
fn a_revoked_key_opens_nothing_in_any_region() {
    let project = project();
    let key = create(&project, "reader");
    use_new(&project, "reader");
    let said = project.ok(&["key", "revoke", &key[..6], "--root", "root.txt"]);
    assert!(
        said.contains("count everything backed up so far as read"),
        "{said}"
    );
    for region in [HOME, AWAY] {
        assert!(
            !object(&project, region, &key).exists(),
            "{region} holds the key"
        );
        project.fails(&restore(region, "nothing"), 12, &["was revoked"]);
    }
    assert!(!listed(&project, &key)["revoked"].is_null());
    // Again is fine.
    project.ok(&["key", "revoke", &key, "--root", "root.txt"]);
    project.fails(
        &["key", "revoke", "zz", "--root", "root.txt"],
        2,
        &["has a key `zz`"],
    );
}

#[test]
fn a_region_that_missed_a_revocation_is_named_and_cannot_bring_the_key_back() {
    for missed in [HOME, AWAY] {
        let project = project();
        let key = create(&project, "reader");
        use_new(&project, "reader");
        let region = project.path(&format!("regions/{missed}"));
        std::fs::rename(&region, project.path("unplugged")).unwrap();
        let says = [missed, "was not told", "run `lifeboat key revoke"];
        project.fails(&["key", "revoke", &key, "--root", "root.txt"], 3, &says);
        std::fs::rename(project.path("unplugged"), &region).unwrap();
        assert_eq!(
            listed(&project, &key)["opens_in"],
            serde_json::json!([missed])
        );
        project.ok(&restore(missed, "still"));
        // Replication takes the word of either region, and copies no revoked key.
        project.ok(&["replicate", "prod"]);
        for region in [HOME, AWAY] {
            project.fails(&restore(region, "nothing"), 12, &["was revoked"]);
        }
        let told = if missed == HOME { AWAY } else { HOME };
        assert!(
            !object(&project, told, &key).exists(),
            "the key came back to {told}"
        );
        // `init` copies keys too.
        std::fs::remove_dir_all(project.path(&format!("regions/{AWAY}"))).unwrap();
        project.ok(&["init"]);
        assert!(
            !object(&project, AWAY, &key).exists(),
            "init brought the key back"
        );
        project.fails(&restore(AWAY, "nothing"), 12, &["was revoked"]);
        project.ok(&["key", "revoke", &key, "--root", "root.txt"]);
        assert!(!object(&project, HOME, &key).exists());
    }
}

#[test]
fn a_region_that_cannot_be_written_keeps_no_other_from_being_told() {
    let project = project();
    let key = create(&project, "reader");
    use_new(&project, "reader");
    // A file where a folder must be made refuses even who is root on this machine.
    project.write(&format!("regions/{AWAY}/revoked"), "in the way");
    let says = [AWAY, "was not told"];
    project.fails(&["key", "revoke", &key, "--root", "root.txt"], 3, &says);
    project.fails(&restore(HOME, "no"), 12, &["was revoked"]);
    std::fs::remove_file(project.path(&format!("regions/{AWAY}/revoked"))).unwrap();
    project.ok(&["key", "revoke", &key, "--root", "root.txt"]);
    project.fails(&restore(AWAY, "no"), 12, &["was revoked"]);
}

#[test]
fn a_region_that_was_away_gets_a_new_key_with_the_next_replication() {
    let project = project();
    let region = project.path(&format!("regions/{AWAY}"));
    std::fs::rename(&region, project.path("unplugged")).unwrap();
    let args = [
        "key",
        "create",
        "reader",
        "--out",
        "keys/new.key",
        "--root",
        "root.txt",
    ];
    project.fails(&args, 3, &[AWAY, "has not got the key"]);
    std::fs::rename(project.path("unplugged"), &region).unwrap();
    project.ok(&["replicate", "prod"]);
    use_new(&project, "reader");
    project.ok(&restore(AWAY, "there"));
    // Without the home no key is made: nothing would carry it there.
    let home = project.path(&format!("regions/{HOME}"));
    std::fs::rename(&home, project.path("unplugged")).unwrap();
    let args = [
        "key",
        "create",
        "writer",
        "--out",
        "keys/w.key",
        "--root",
        "root.txt",
    ];
    project.fails(&args, 10, &["does not exist"]);
    assert!(!project.path("keys/w.key").exists());
}

#[test]
fn secrets_are_printed_only_to_who_holds_them() {
    let project = project();
    let code = std::fs::read_to_string(project.path("root.txt")).unwrap();
    assert_eq!(
        project
            .ok(&["key", "export", "root", "--root", "root.txt"])
            .trim(),
        code
    );
    let held = std::fs::read_to_string(project.path("keys/writer.key")).unwrap();
    assert_eq!(project.ok(&["key", "export", "writer"]), held);
    let id = &held["LIFEBOAT-KEY-".len()..][..16];
    let json = project.json(&["key", "export", id]);
    assert_eq!(json["text"], held.trim());
    assert_eq!(
        (&json["role"], &json["opens_in"]),
        (&"writer".into(), &HOME.into())
    );
    // Of others the repository holds nothing that could be printed.
    let other = create(&project, "writer");
    let says = [
        "is among those that the configuration names here",
        "in no repository",
    ];
    project.fails(&["key", "export", &other], 2, &says);
    project.fails(&["key", "export", "root"], 12, &["--root FILE"]);
    // Nor is paper wasted on a key that opens nothing.
    project.ok(&["key", "revoke", id, "--root", "root.txt"]);
    project.fails(&["key", "export", "writer"], 12, &["was revoked"]);
}

#[test]
fn a_pruner_lists_and_a_writer_backs_up_but_neither_restores() {
    for role in ["pruner", "writer"] {
        let project = project();
        for other in ["auditor", "pruner", "writer", "reader"] {
            let line = format!("{other} = \"file:keys/{other}.key\"\n");
            let kept = if other == role {
                line.clone()
            } else {
                String::new()
            };
            project.edit("lifeboat.toml", &line, &kept);
        }
        project.ok(&["snapshots", "prod"]);
        project.ok(&["verify", "prod", "--level", "full"]);
        project.fails(&restore(HOME, "no"), 12, &["names no key that can restore"]);
        let backup = run(&project, &["backup", "prod", "config"]);
        let code = if role == "writer" { 0 } else { 12 };
        assert_eq!(backup.status.code(), Some(code), "{}", text(&backup));
        // The configuration is no wall: the key itself opens no content.
        let line = format!("{role} = \"file:");
        project.edit("lifeboat.toml", &line, "reader = \"file:");
        let says = [&format!("a {role} key cannot read content") as &str];
        project.fails(&restore(HOME, "no"), 12, &says);
    }
}

#[test]
fn a_changed_label_is_told_by_the_list_and_opens_nothing() {
    let project = project();
    let key = create(&project, "reader");
    use_new(&project, "reader");
    let path = object(&project, AWAY, &key);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(6)
        .position(|window| window == b"laptop")
        .unwrap();
    bytes[at..at + 6].copy_from_slice(b"server");
    std::fs::write(&path, bytes).unwrap();
    project.fails(&restore(AWAY, "no"), 12, &["opens no key"]);
    project.fails(
        &["key", "list"],
        4,
        &["its label is not that of other regions"],
    );
    project.ok(&restore(HOME, "good"));
}

//! The real program, killed at random moments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lifeboat_demo::{Shop, ShopOptions};

/// Rounds in the everyday run; `LIFEBOAT_CRASH_ROUNDS` asks for more.
const ROUNDS: u64 = 12;

fn lifeboat(project: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lifeboat"));
    command
        .args(args)
        .current_dir(project)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn must(project: &Path, args: &[&str]) -> String {
    let output = lifeboat(project, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        (
            "lifeboat.toml",
            include_str!("../../crates/cli/src/demo_project/lifeboat.toml"),
        ),
        (
            "environments/prod.toml",
            include_str!("../../crates/cli/src/demo_project/prod.toml"),
        ),
        (
            "schedules/production.toml",
            include_str!("../../schedules/production.toml"),
        ),
    ];
    for (file, text) in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir_all(dir.path().join("production/config")).unwrap();
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let options = ShopOptions {
        customers: 5000,
        seed: 1,
        now,
    };
    Shop::create(&dir.path().join("production/shop.db"), &options).unwrap();
    must(dir.path(), &["init"]);
    dir
}

/// So many tries are made for each kill: some backups end before their moment has come.
const ATTEMPTS: u64 = 20;

#[expect(
    clippy::disallowed_methods,
    reason = "a killed process dies in real time"
)]
fn duration_of(project: &Path, args: &[&str]) -> Duration {
    let started = std::time::Instant::now();
    must(project, args);
    started.elapsed()
}

#[expect(
    clippy::disallowed_methods,
    reason = "who runs the test decides how long"
)]
fn rounds() -> u64 {
    std::env::var("LIFEBOAT_CRASH_ROUNDS").map_or(ROUNDS, |rounds| {
        rounds.parse().expect("LIFEBOAT_CRASH_ROUNDS is a number")
    })
}

/// Moments spread over a backup's whole length, different in each round and the same in each run.
fn delay(round: u64, whole: Duration) -> Duration {
    let scattered = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    whole.mul_f64(scattered as f64 / f64::from(1_u32 << 24))
}

#[test]
fn a_backup_killed_at_any_moment_loses_no_snapshot_and_hinders_no_later_one() {
    let rounds = rounds();
    let project = project();
    must(
        project.path(),
        &["backup", "prod", "shop", "--tier", "daily"],
    );
    let whole = duration_of(project.path(), &["backup", "prod", "shop", "--full"]);
    let count = || {
        let listed = must(project.path(), &["snapshots", "prod", "--json"]);
        serde_json::from_str::<serde_json::Value>(&listed)
            .unwrap()
            .as_array()
            .unwrap()
            .len()
    };
    let mut killed = 0;
    for round in 0..ATTEMPTS * rounds {
        if killed == rounds {
            break;
        }
        let before = count();
        let mut backup = lifeboat(project.path(), &["backup", "prod", "shop", "--full"])
            .spawn()
            .unwrap();
        std::thread::sleep(delay(round, whole));
        if backup.try_wait().unwrap().is_some() {
            continue;
        }
        // SIGKILL: nothing of ours gets to clean up.
        killed += 1;
        backup.kill().unwrap();
        backup.wait().unwrap();
        let after = count();
        assert!(
            (before..=before + 1).contains(&after),
            "round {round}: {before} became {after}"
        );
        must(
            project.path(),
            &[
                "verify",
                "prod",
                "--level",
                "full",
                "--region",
                "eu-central",
            ],
        );
    }
    assert_eq!(killed, rounds, "backups ended before they could be killed");
    let before = count();
    must(
        project.path(),
        &["backup", "prod", "shop", "--tier", "hourly"],
    );
    assert_eq!(count(), before + 1);
    // A kill between making a folder and its lock leaves an empty one, which holds nobody's data.
    let scratch = std::fs::read_dir(project.path().join(".lifeboat/scratch"))
        .unwrap()
        .filter(|left| {
            std::fs::read_dir(left.as_ref().unwrap().path())
                .unwrap()
                .count()
                > 0
        })
        .count();
    assert_eq!(
        scratch, 0,
        "copies of production that killed runs left were not swept"
    );
    must(
        project.path(),
        &["restore", "prod", "shop", "--to", "restored.db"],
    );
}

#[test]
fn a_prune_killed_at_any_moment_loses_no_snapshot_and_hinders_no_later_one() {
    let rounds = rounds();
    let project = project();
    let config = project.path().join("production/config/shop.toml");
    let backup = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let hourly = ["backup", "prod", "config", "--tier", "hourly"];
        must(project.path(), &hourly);
    };
    let prune = ["prune", "prod", "--region", "eu-central"];
    backup("first");
    let whole = duration_of(project.path(), &prune);
    let mut killed = 0;
    for round in 0..ATTEMPTS * rounds {
        if killed == rounds {
            break;
        }
        backup(&format!("round {round}"));
        let mut pruning = lifeboat(project.path(), &prune).spawn().unwrap();
        std::thread::sleep(delay(round, whole));
        if pruning.try_wait().unwrap().is_some() {
            continue;
        }
        killed += 1;
        pruning.kill().unwrap();
        pruning.wait().unwrap();
        let full = [
            "verify",
            "prod",
            "--level",
            "full",
            "--region",
            "eu-central",
        ];
        must(project.path(), &full);
        // The dead prune hinders nobody on its own host: its process is gone, and that can be seen.
        must(project.path(), &prune);
        must(project.path(), &full);
    }
    assert_eq!(killed, rounds, "prunes ended before they could be killed");
    must(
        project.path(),
        &["restore", "prod", "config", "--to", "back"],
    );
    let left = |folder: &str| {
        let folder = project.path().join("regions/eu-central").join(folder);
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    };
    assert_eq!(left("tombstones"), 0);
}

#[test]
fn a_backup_that_is_asked_to_stop_stops_at_once_and_leaves_no_copy_of_production_behind() {
    let project = project();
    must(project.path(), &["backup", "prod", "shop"]);
    let whole = duration_of(project.path(), &["backup", "prod", "shop", "--full"]);
    let mut stopped = 0;
    for round in 0..3 * ATTEMPTS {
        if stopped == 3 {
            break;
        }
        let mut backup = lifeboat(project.path(), &["backup", "prod", "shop", "--full"])
            .spawn()
            .unwrap();
        std::thread::sleep(delay(round, whole));
        let pid = rustix::process::Pid::from_child(&backup);
        // One that has ended waits for us, so its number is nobody else's yet.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = backup.wait().unwrap();
        // Asked before it could listen, or after it was done, it ends as the system or it decides.
        stopped += u32::from(status.code() == Some(130));
        if status.code().is_some() {
            let scratch = project.path().join(".lifeboat/scratch");
            assert_eq!(
                std::fs::read_dir(scratch).unwrap().count(),
                0,
                "round {round}"
            );
        }
    }
    assert_eq!(stopped, 3, "backups ended before they could be stopped");
    must(
        project.path(),
        &[
            "verify",
            "prod",
            "--level",
            "full",
            "--region",
            "eu-central",
        ],
    );
}

/// Files of the folder that restores are killed over: enough that a restore takes a while.
const FILES: usize = 1500;
/// Restores that are killed, a third of each kind.
const KILLS: u64 = 6;

#[test]
fn a_restore_killed_at_any_moment_never_looks_whole_and_hinders_no_later_one() {
    let project = project();
    let config = project.path().join("production/config");
    for number in 0..FILES {
        let folder = config.join(format!("{:02}", number % 50));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join(number.to_string()),
            number.to_string().repeat(50),
        )
        .unwrap();
    }
    must(project.path(), &["backup", "prod", "config"]);
    let args = |to| ["restore", "prod", "config", "--to", to];
    let whole = duration_of(project.path(), &args("whole"));
    let same = |to: &str| {
        let mut diff = Command::new("diff");
        diff.args(["-r", "production/config", to])
            .stdout(Stdio::null());
        diff.current_dir(project.path()).status().unwrap().success()
    };
    assert!(same("whole"));
    // A place that is missing, one that is an empty folder, and one that is brought up to date.
    let delta = [&args("delta")[..], &["--delta"]].concat();
    must(project.path(), &args("delta"));
    std::fs::create_dir(project.path().join("empty")).unwrap();
    let mut killed = 0;
    for round in 0..ATTEMPTS * KILLS {
        if killed == KILLS {
            break;
        }
        let (to, command) = match round % 3 {
            0 => ("missing", args("missing").to_vec()),
            1 => ("empty", args("empty").to_vec()),
            _ => {
                std::fs::remove_dir_all(project.path().join("delta/07")).unwrap();
                std::fs::write(project.path().join("delta/11/11"), "other").unwrap();
                ("delta", delta.clone())
            }
        };
        let mut restore = lifeboat(project.path(), &command).spawn().unwrap();
        std::thread::sleep(delay(round, whole));
        let ended = restore.try_wait().unwrap().is_some();
        restore.kill().unwrap();
        restore.wait().unwrap();
        killed += u64::from(!ended);
        let target = project.path().join(to);
        let marked = [".lifeboat-restoring", ".lifeboat-restore-incomplete"]
            .iter()
            .any(|mark| target.join(mark).exists());
        let empty = std::fs::read_dir(&target).map_or(0, Iterator::count) == 0;
        assert!(
            marked || empty || to == "delta" || same(to),
            "round {round}: a part of a restore looks whole"
        );
        // Killed before its mark was set, a delta has not begun.
        must(project.path(), &[&args(to)[..], &["--delta"]].concat());
        assert!(same(to), "round {round}");
        if to != "delta" {
            std::fs::remove_dir_all(&target).unwrap();
        }
        if to == "empty" {
            std::fs::create_dir(&target).unwrap();
        }
    }
    assert_eq!(killed, KILLS, "restores ended before they could be killed");
    must(project.path(), &args("missing"));
    assert!(!project.path().join("missing.restoring").exists());
    must(
        project.path(),
        &[
            "verify",
            "prod",
            "--level",
            "full",
            "--region",
            "eu-central",
        ],
    );
}

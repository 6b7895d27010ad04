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

/// Moments spread over a backup's whole length, different in each round and the same in each run.
fn delay(round: u64, whole: Duration) -> Duration {
    let scattered = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    whole.mul_f64(scattered as f64 / f64::from(1_u32 << 24))
}

#[test]
fn a_backup_killed_at_any_moment_loses_no_snapshot_and_hinders_no_later_one() {
    #[expect(
        clippy::disallowed_methods,
        reason = "who runs the test decides how long"
    )]
    let rounds = std::env::var("LIFEBOAT_CRASH_ROUNDS").map_or(ROUNDS, |rounds| {
        rounds.parse().expect("LIFEBOAT_CRASH_ROUNDS is a number")
    });
    let project = project();
    #[expect(
        clippy::disallowed_methods,
        reason = "a killed process dies in real time"
    )]
    let started = std::time::Instant::now();
    must(
        project.path(),
        &["backup", "prod", "shop", "--tier", "daily"],
    );
    let whole = started.elapsed();
    let mut killed = 0;
    let count = || {
        let listed = must(project.path(), &["snapshots", "prod", "--json"]);
        serde_json::from_str::<serde_json::Value>(&listed)
            .unwrap()
            .as_array()
            .unwrap()
            .len()
    };
    for round in 0..rounds {
        let before = count();
        let mut backup = lifeboat(project.path(), &["backup", "prod", "shop", "--full"])
            .spawn()
            .unwrap();
        std::thread::sleep(delay(round, whole));
        if backup.try_wait().unwrap().is_none() {
            killed += 1;
        }
        // SIGKILL: nothing of ours gets to clean up.
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
    assert!(
        killed * 2 > rounds,
        "only {killed} of {rounds} were killed in time to test anything"
    );
    let before = count();
    must(
        project.path(),
        &["backup", "prod", "shop", "--tier", "hourly"],
    );
    assert_eq!(count(), before + 1);
    let scratch = std::fs::read_dir(project.path().join(".lifeboat/scratch"))
        .unwrap()
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
fn a_backup_that_is_asked_to_stop_stops_at_once_and_leaves_no_copy_of_production_behind() {
    let project = project();
    must(project.path(), &["backup", "prod", "shop"]);
    let mut stopped = 0;
    for round in 0..6 {
        let mut backup = lifeboat(project.path(), &["backup", "prod", "shop", "--full"])
            .spawn()
            .unwrap();
        std::thread::sleep(delay(round, Duration::from_millis(400)));
        let pid = rustix::process::Pid::from_child(&backup);
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
    assert!(stopped > 0, "no round stopped a backup on its way");
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

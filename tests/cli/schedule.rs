//! Schedules through the program: one line of cron drives every job.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::project::{Project, assert_exit, text};

/// What production must have and a copy, all due once a year: a new project runs each at once, and
/// nothing more falls due while a test runs.
const YEARLY: &str = r#"
[[job]]
name = "replicate"
run = "replicate"
cron = "0 0 1 1 *"
[[job]]
name = "hourly"
run = "backup"
cron = "0 0 1 1 *"
max_runtime = "50m"
[[job]]
name = "daily"
run = "backup"
cron = "0 0 1 1 *"
"#;

/// A project in which only production has a schedule, and that is this one.
fn project(schedule: &str) -> Project {
    let project = Project::without_repository();
    project.write("schedules/production.toml", schedule);
    project.edit("environments/staging.toml", "schedule = \"staging\"", "");
    project.ok(&["init"]);
    project
}

fn ledger(project: &Project, what: &str) -> Vec<(PathBuf, Value)> {
    let folder = project.path("regions/eu-central/runs/prod");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(what) {
            let entry = std::fs::read_to_string(&path).unwrap();
            found.push((path, serde_json::from_str(&entry).unwrap()));
        }
    }
    found
}

#[test]
fn one_command_runs_all_that_is_due_in_order_and_then_nothing() {
    let project = project(YEARLY);
    let said = project.ok(&["schedule", "run", "--due"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, job) in lines
        .iter()
        .zip(["prod/hourly", "prod/daily", "prod/replicate"])
    {
        assert!(line.starts_with(&format!("{job}: done in ")), "{said}");
    }
    assert!(lines[2].contains("receipts for all 4 snapshots"), "{said}");
    assert_eq!(
        project.ok(&["schedule", "run", "--due"]),
        "nothing is due\n"
    );
    let snapshots = project.json(&["snapshots", "prod"]);
    assert_eq!(snapshots.as_array().unwrap().len(), 4);
}

#[test]
fn a_quiet_run_says_nothing_on_success_and_what_failed_otherwise() {
    let project = project(YEARLY);
    let quiet = ["schedule", "run", "--due", "-q"];
    let done = project.command(&quiet).output().unwrap();
    assert_exit(&done, 0, &[], &quiet);
    assert_eq!(text(&done).trim(), "");
    std::fs::rename(project.path("regions/eu-west"), project.path("gone")).unwrap();
    let asked = ["schedule", "run", "prod", "replicate", "-q"];
    let failed = project.command(&asked).output().unwrap();
    assert_exit(
        &failed,
        10,
        &["error: prod/replicate: nothing was copied to eu-west"],
        &asked,
    );
    assert!(failed.stdout.is_empty());
}

#[test]
fn a_job_that_fails_is_told_and_keeps_no_other_from_running() {
    let project = project(YEARLY);
    std::fs::rename(project.shop(), project.path("gone.db")).unwrap();
    let says = [
        "error: prod/hourly: config ",
        "shop was not backed up",
        "prod/replicate: done",
    ];
    project.fails(&["schedule", "run", "--due"], 3, &says);
    // Neither is tried again at once, and why is told.
    assert_eq!(
        project.ok(&["schedule", "run", "--due"]),
        "nothing is due\n"
    );
    let due = project.json(&["schedule", "due", "prod"]);
    assert_eq!(
        (&due[0]["job"], &due[0]["state"]),
        (&"hourly".into(), &"retry".into())
    );
    assert_eq!(due[0]["last_success"], Value::Null);
    let error = due[0]["last_attempt"]["error"].as_str().unwrap();
    assert!(error.contains("shop was not backed up"), "{error}");
    assert!(
        project
            .ok(&["schedule", "due"])
            .contains("failed 1 time, next try")
    );
    std::fs::rename(project.path("gone.db"), project.shop()).unwrap();
    project.ok(&["schedule", "run", "prod", "hourly"]);
    assert_eq!(
        project.json(&["schedule", "due", "prod"])[0]["state"],
        "later"
    );
}

#[test]
fn a_dry_run_shows_what_is_due_and_leaves_no_trace() {
    let project = project(YEARLY);
    let would = project.json(&["schedule", "run", "--due", "--dry-run", "--only", "backup"]);
    let jobs: Vec<_> = would
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["job"])
        .collect();
    assert_eq!(jobs, ["hourly", "daily"]);
    assert!(!project.path("regions/eu-central/runs").exists());
}

#[test]
fn a_host_runs_only_the_actions_it_is_told_to() {
    let project = project(YEARLY);
    let only = ["schedule", "run", "--due", "--only", "drill,replicate"];
    let said = project.ok(&only);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("prod/replicate: done"), "{said}");
}

#[test]
fn a_run_that_goes_on_elsewhere_is_not_run_twice() {
    let project = project(YEARLY);
    project.ok(&["schedule", "run", "prod", "hourly"]);
    // As if that run had never ended and were another host's: its end and its lock are gone.
    let (end, _) = ledger(&project, ".hourly.end").remove(0);
    std::fs::remove_file(end).unwrap();
    std::fs::remove_dir_all(project.path(".lifeboat/jobs")).unwrap();
    let asked = ["schedule", "run", "prod", "hourly"];
    project.fails(
        &asked,
        75,
        &["prod/hourly: skipped: the run of ", "still going on"],
    );
    let said = project.ok(&["schedule", "run", "--due", "--only", "backup"]);
    assert!(
        said.starts_with("prod/hourly: left to another run: running since"),
        "{said}"
    );
    assert!(said.contains("prod/daily: done"), "{said}");
    // Of a run on this host the lock tells that it is over.
    let (begin, run) = ledger(&project, ".hourly.begin").remove(0);
    let lock = project.path(".lifeboat/jobs/prod.hourly.lock");
    std::fs::write(lock, run["run"].as_str().unwrap()).unwrap();
    project.ok(&asked);
    let end = begin.with_extension("end");
    assert!(
        std::fs::read_to_string(end)
            .unwrap()
            .contains("its process died")
    );
}

#[test]
fn invocations_at_the_same_moment_run_each_job_once() {
    let project = project(YEARLY);
    let start = || {
        let mut command = project.command(&["schedule", "run", "--due"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for child in [start(), start(), start()] {
        let output = child.wait_with_output().unwrap();
        assert_exit(&output, 0, &[], &["one of three"]);
    }
    let done = |what: &str| {
        let ends = ledger(&project, what).into_iter();
        ends.filter(|(_, end)| end["outcome"] == "done").count()
    };
    assert_eq!((done(".hourly.end"), done(".daily.end")), (1, 1));
    assert_eq!(
        project
            .json(&["snapshots", "prod"])
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn a_job_that_hangs_is_ended_in_time_and_leaves_no_copy_of_production() {
    let project = project(&YEARLY.replace("50m", "1s"));
    // Whoever holds the database exclusively makes a backup wait for half a minute.
    let holder = rusqlite::Connection::open(project.shop()).unwrap();
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;")
        .unwrap();
    let asked = ["schedule", "run", "prod", "hourly"];
    project.fails(
        &asked,
        1,
        &[
            "prod/hourly: ran longer than 1.0s and was ended",
            "max_runtime",
        ],
    );
    let failed: Vec<_> = ledger(&project, ".end")
        .into_iter()
        .filter(|(_, end)| end["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 2, "the job's run, and its backup of the shop");
    for (_, end) in failed {
        assert!(
            end["facts"]["error"]
                .as_str()
                .unwrap()
                .starts_with("ran longer than 1.0s")
        );
    }
    let scratch = std::fs::read_dir(project.path(".lifeboat/scratch")).unwrap();
    assert_eq!(scratch.count(), 0);
    drop(holder);
    project.edit("schedules/production.toml", "1s", "50m");
    project.ok(&asked);
}

#[test]
fn missed_runs_are_counted_and_told() {
    let minutely = YEARLY.replacen("cron = \"0 0 1 1 *\"\nmax", "cron = \"* * * * *\"\nmax", 1);
    let project = project(&minutely);
    project.ok(&["schedule", "run", "prod", "hourly"]);
    // As if that run had been yesterday's: ledger entries are named by the moment they began.
    for what in [".hourly.begin", ".hourly.end"] {
        let (path, _) = ledger(&project, what).remove(0);
        let entry = std::fs::read_to_string(&path).unwrap();
        let yesterday = jiff::Timestamp::from_second(seconds_now() - 86_400).unwrap();
        let stamp = yesterday.strftime("%Y%m%dT%H%M%S.000Z").to_string();
        let name = path.file_name().unwrap().to_str().unwrap();
        let moved = path.with_file_name(format!("{stamp}{}", &name[stamp.len()..]));
        let began = entry.find("\"began\": \"").map(|at| at + 10);
        let entry = match began {
            Some(at) => format!(
                "{}{yesterday}{}",
                &entry[..at],
                &entry[entry[at..].find('"').unwrap() + at..]
            ),
            None => entry,
        };
        std::fs::write(moved, entry).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    let due = project.json(&["schedule", "due", "prod"]);
    let missed = due[0]["missed"].as_u64().unwrap();
    assert!((1430..=1450).contains(&missed), "{due:#}");
    let said = project.ok(&["schedule", "run", "--due"]);
    assert!(said.contains("makes up for 14"), "{said}");
    assert!(
        said.lines().next().unwrap().contains("missed runs"),
        "{said}"
    );
}

/// The seconds of this machine's clock, as the files it writes have them.
fn seconds_now() -> i64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    let written = file.as_file().metadata().unwrap().modified().unwrap();
    let since = written.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn without_the_home_region_a_replica_tells_and_jobs_fail_by_name() {
    let project = project(YEARLY);
    project.ok(&["schedule", "run", "--due"]);
    std::fs::rename(project.path("regions/eu-central"), project.path("gone")).unwrap();
    let due = project
        .command(&["schedule", "due", "--json"])
        .output()
        .unwrap();
    assert_exit(
        &due,
        0,
        &["is read in `eu-west`, which may know of less"],
        &["due"],
    );
    let states: Value = serde_json::from_slice(&due.stdout).unwrap();
    assert_eq!(
        (&states[0]["job"], &states[0]["state"]),
        (&"hourly".into(), &"later".into())
    );
    let asked = ["schedule", "run", "prod", "daily"];
    project.fails(
        &asked,
        10,
        &["error: prod/daily: failed to open", "regions/eu-central"],
    );
}

#[test]
fn the_preview_says_what_the_clock_does() {
    let nightly = YEARLY.replace("0 0 1 1 *", "30 2 * * *");
    let project = project(&format!("timezone = \"Europe/Berlin\"\n{nightly}"));
    let said = project.ok(&[
        "schedule",
        "preview",
        "prod",
        "--count",
        "2",
        "--from",
        "2027-03-27",
    ]);
    assert!(said.contains("Sat 2027-03-27 02:30 +01:00"), "{said}");
    assert!(said.contains("Sun 2027-03-28 03:00 +02:00"), "{said}");
    assert!(said.contains("the clock skips 02:30"), "{said}");
    let json = project.json(&[
        "schedule",
        "preview",
        "--count",
        "1",
        "--from",
        "2027-10-30T22:00Z",
    ]);
    let remark = json[0]["remark"].as_str().unwrap();
    assert_eq!(remark, "the clock repeats this time; runs once", "{json:#}");
}

#[test]
fn a_blackout_skips_and_says_until_when() {
    let dark = YEARLY.replace(
        "max_runtime = \"50m\"",
        "blackout = [\"00:00..12:00\", \"12:00..23:59\"]",
    );
    let project = project(&dark);
    let asked = ["schedule", "run", "prod", "hourly"];
    let held = project.command(&asked).output().unwrap();
    // For one minute of the day there is none.
    if held.status.code() != Some(0) {
        assert_exit(
            &held,
            75,
            &["prod/hourly: skipped: a blackout holds it until"],
            &asked,
        );
    }
    project.ok(&["schedule", "run", "prod", "hourly", "--ignore-blackout"]);
}

#[test]
fn what_is_not_there_is_named() {
    let project = project(YEARLY);
    let says = [
        "`prod` has no job `nightly`",
        "its jobs are: replicate, hourly, daily",
    ];
    project.fails(&["schedule", "run", "prod", "nightly"], 2, &says);
    let says = [
        "environment `staging` has no schedule",
        "schedule = \"NAME\"",
    ];
    project.fails(&["schedule", "due", "staging"], 2, &says);
    project.fails(&["schedule", "run", "prod"], 2, &["<JOB>"]);
}

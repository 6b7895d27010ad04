//! Schedule files: those shipped, and broken ones.

mod support;

use jiff::Timestamp;
use lifeboat_config::parse_schedule;
use lifeboat_model::{BackupKind, Problems, Tier};
use lifeboat_policy::Schedule;
use support::assert_one;

const SHIPPED: [(&str, &str); 3] = [
    (
        "production",
        include_str!("../../../schedules/production.toml"),
    ),
    ("staging", include_str!("../../../schedules/staging.toml")),
    (
        "development",
        include_str!("../../../schedules/development.toml"),
    ),
];

fn parse(text: &str) -> (Schedule, Vec<String>) {
    let mut problems = Problems::new();
    let schedule = parse_schedule("s.toml", text, &mut problems);
    (schedule, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_shipped_schedule_parses_and_is_next_due_when_it_says() {
    // A Friday, 12:00.
    let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let mut lines = Vec::new();
    for (name, text) in SHIPPED {
        let (schedule, problems) = parse(text);
        assert_eq!(problems, [""; 0], "{name}");
        let timetable = schedule.timetable(7);
        for job in &schedule.jobs {
            let next = timetable.next(job, now).unwrap().at;
            let jitter = next.duration_since(&next.checked_sub(timetable.jitter(job)).unwrap());
            let written = (next - jitter).strftime("%a %d %H:%M");
            lines.push(format!("{name} {} {written}", job.name));
        }
    }
    assert_eq!(
        lines,
        [
            "production hourly Fri 20 12:05",
            "production daily Sat 21 01:35",
            "production replicate Fri 20 12:20",
            "production drill Sun 22 04:15",
            "production prune Sat 21 05:45",
            "staging daily Sat 21 02:40",
            "staging refresh Mon 23 03:30",
            "staging prune Sat 21 05:50",
            "development weekly Sun 22 03:10",
            "development prune Sun 22 06:10",
        ]
    );
}

#[test]
fn the_production_schedule_keeps_what_it_promises() {
    let (schedule, _) = parse(SHIPPED[0].1);
    let keep = schedule.retention();
    assert_eq!(
        (keep.hourly, keep.daily, keep.weekly),
        (Some(48), Some(14), Some(8))
    );
    assert_eq!(
        (keep.monthly, keep.yearly, keep.min_keep),
        (Some(12), Some(3), 3)
    );
    let hourly = schedule.backup_job(Tier::Hourly).unwrap();
    assert_eq!(hourly.kind, Some(BackupKind::Incremental));
}

#[test]
fn a_backup_s_tier_and_kind_follow_from_its_name() {
    let (schedule, problems) =
        parse("[[job]]\nname = 'daily'\nrun = 'backup'\ncron = '5 1 * * *'\n");
    assert_eq!(problems, [""; 0]);
    assert_eq!(schedule.jobs[0].tier, Some(Tier::Daily));
    assert_eq!(schedule.jobs[0].kind, Some(BackupKind::Full));
}

#[test]
fn every_mistake_of_a_schedule_is_told_at_its_line() {
    let text = r#"timezone = "Europe/Atlantis"
[[job]]
name = "daily"
run = "backup"
cron = "61 * * * *"
keep = { daily = 0, dayly = 3 }
[[job]]
name = "often"
run = "backup"
cron = "*/5 * * * *"
jitter = "10m"
max_runtime = "1h"
[[job]]
name = "often"
run = "drill"
cron = "0 4 * * Sun"
tier = "daily"
missed = "twice"
blackout = ["Sat..Sun"]
[[job]]
name = "never"
run = "verify"
cron = "0 4 * * *"
missed = "skip"
blackout = ["03:00..05:00"]
owerlap = "skip"
[[job]]
run = "bakup"
"#;
    let (_, problems) = parse(text);
    let expected = [
        (1, "`Europe/Atlantis` is not a known time zone"),
        (5, "`61 * * * *` is not a cron time of five fields"),
        (6, "`daily` must be 1 to 100000, not 0"),
        (6, "unknown key `dayly`"),
        (7, "job 2 needs `tier`"),
        (
            11,
            "a jitter of 10m 00s is no shorter than the 5m 00s between two runs",
        ),
        (
            12,
            "job `often` may run longer than the 5m 00s until its next start",
        ),
        (14, "there are two jobs called `often`"),
        (17, "`tier` is for backups, but this job runs `drill`"),
        (
            18,
            "`twice` is not what can happen to missed runs; one of: skip, once, all",
        ),
        (19, "`Sat..Sun` is not a blackout"),
        (25, "its blackouts leave job `never` no time to start"),
        (
            26,
            "unknown key `owerlap` in job 4 (hint: did you mean `overlap`?)",
        ),
        (27, "job 5 needs `name`"),
        (27, "job 5 needs `cron`"),
        (28, "`bakup` is not something a job can run"),
    ];
    for (line, what) in expected {
        assert_one(&problems, &format!("s.toml:{line}"), what);
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn a_schedule_without_jobs_is_an_error() {
    let (_, problems) = parse("timezone = 'UTC'\n");
    assert_one(&problems, "s.toml:1", "the schedule needs `job`");
}

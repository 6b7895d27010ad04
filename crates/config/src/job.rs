//! One `[[job]]` of a schedule file.

use std::cell::RefCell;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use lifeboat_document::{Reader, Table};
use lifeboat_model::{BackupKind, Problems, Severity, Tier, human_duration};
use lifeboat_policy::{Action, Job, Keep, Timetable};

use crate::read::required;

/// A Monday from which plans are judged: checks must not depend on the day they run.
pub(crate) const REFERENCE: Timestamp = Timestamp::constant(1_767_571_200, 0);

/// Reads the job that is `number`-th in its file; `before` are those above it.
pub(crate) fn read(
    number: usize,
    table: &Table,
    zone: &TimeZone,
    before: &[Job],
    problems: &RefCell<Problems>,
) -> Option<Job> {
    let reader = Reader::new(table, format!("job {number}"), problems);
    let name = reader.required_string("name", "a name to tell it by, such as `hourly`");
    let run = required(
        &reader,
        table,
        "run",
        "what it does, such as `run = \"backup\"`",
    );
    let cron = required(
        &reader,
        table,
        "cron",
        "when it recurs, such as `cron = \"5 * * * *\"`",
    );
    let (kind, tier) = (reader.parsed("kind"), reader.parsed("tier"));
    let keep = reader.table("keep").map(|table| keep(table, problems));
    let jitter = reader.duration("jitter");
    let missed = reader.parsed("missed");
    let catch_up = reader.duration("catch_up");
    let overlap = reader.parsed("overlap");
    let max_runtime = reader.duration("max_runtime");
    let blackout = reader.parsed_list("blackout");
    let made = (|| {
        let mut job = Job::new(name?, run?, cron?);
        job.keep = keep.unwrap_or_default();
        job.jitter = jitter.unwrap_or(job.jitter);
        job.missed = missed.unwrap_or(job.missed);
        job.catch_up = catch_up.unwrap_or(job.catch_up);
        job.overlap = overlap.unwrap_or(job.overlap);
        job.max_runtime = max_runtime;
        job.blackout = blackout.unwrap_or_default();
        Some(job)
    })();
    let job = made.map(|mut job| {
        set_tier(&mut job, kind, tier, table, &reader);
        check_name(&job, before, &reader);
        check_times(&job, zone, &reader);
        job
    });
    reader.finish();
    job
}

/// Reads a `keep` table.
fn keep(table: &Table, problems: &RefCell<Problems>) -> Keep {
    let reader = Reader::new(table, "`keep`", problems);
    let count = |name: &'static str| {
        let number = reader.integer(name)?;
        let count = u32::try_from(number)
            .ok()
            .filter(|n| (1..=MAX_KEEP).contains(n));
        if count.is_none() {
            let message = format!("`{name}` must be 1 to {MAX_KEEP}, not {number}");
            reader.reject(name, message, Some("leave it out to keep none".to_owned()));
        }
        count
    };
    let keep = Keep {
        last: count("last"),
        hourly: count("hourly"),
        daily: count("daily"),
        weekly: count("weekly"),
        monthly: count("monthly"),
        yearly: count("yearly"),
        on_demand: count("on_demand"),
        within: reader.duration("within"),
        min_keep: count("min_keep").unwrap_or(0),
    };
    reader.finish();
    keep
}

/// Eleven years of hours; more is a slip of the keyboard.
const MAX_KEEP: u32 = 100_000;

/// Sets what only backups have: a tier, by default the one the job is named after, and a kind.
fn set_tier(
    job: &mut Job,
    kind: Option<BackupKind>,
    tier: Option<Tier>,
    table: &Table,
    reader: &Reader<'_>,
) {
    if job.run == Action::Backup {
        job.tier = tier.or_else(|| job.name.parse().ok());
        job.kind = kind.or(job.tier.map(Tier::default_kind));
        if job.tier.is_none() && table.get("tier").is_none() {
            let hint = "name the job after its tier, or write `tier = \"daily\"`";
            reader.missing("tier", hint);
        }
        return;
    }
    for key in ["kind", "tier", "keep"] {
        if table.get(key).is_some() {
            let message = format!("`{key}` is for backups, but this job runs `{}`", job.run);
            reader.reject(key, message, Some("remove it".to_owned()));
        }
    }
}

fn check_name(job: &Job, before: &[Job], reader: &Reader<'_>) {
    if before.iter().any(|other| other.name == job.name) {
        let message = format!("there are two jobs called `{}`", job.name);
        reader.reject("name", message, Some("rename one of them".to_owned()));
    }
}

/// Checks the times of a job against each other.
fn check_times(job: &Job, zone: &TimeZone, reader: &Reader<'_>) {
    let timetable = Timetable {
        zone: zone.clone(),
        seed: 0,
    };
    if timetable.next(job, REFERENCE).is_none() {
        let message = format!("its blackouts leave job `{}` no time to start", job.name);
        reader.reject("blackout", message, None);
        return;
    }
    let Some(interval) = shortest_interval(job, &timetable) else {
        return;
    };
    if job.jitter >= interval {
        let message = format!(
            "a jitter of {} is no shorter than the {} between two runs",
            human_duration(job.jitter),
            human_duration(interval)
        );
        reader.reject("jitter", message, Some("shorten it".to_owned()));
    }
    if job.max_runtime.is_some_and(|limit| limit > interval) {
        let place = reader
            .node("max_runtime")
            .map_or(reader.origin(), |node| &node.origin);
        reader.push(place.problem(
            Severity::Advice,
            format!(
                "job `{}` may run longer than the {} until its next start",
                job.name,
                human_duration(interval)
            ),
            Some("shorten `max_runtime`, so that a run that hangs costs one start only".to_owned()),
        ));
    }
}

/// Returns the shortest time between two starts in a stretch of plan without jitter or blackout.
fn shortest_interval(job: &Job, timetable: &Timetable) -> Option<Duration> {
    let mut plain = job.clone();
    (plain.jitter, plain.blackout) = (Duration::ZERO, Vec::new());
    let starts = timetable.preview(&plain, REFERENCE, 32);
    let between = |pair: &[lifeboat_policy::Planned]| {
        let gap: SignedDuration = pair[0].at.duration_until(&pair[1].at);
        gap.unsigned_abs()
    };
    starts.windows(2).map(between).min()
}

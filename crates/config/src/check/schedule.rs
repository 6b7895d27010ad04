//! Schedules against what the environment has and promises.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_model::{EnvironmentClass, Tier, human_duration};
use lifeboat_policy::{Action, Schedule};

use super::Findings;
use crate::config::{Environment, NamedSchedule};
use crate::job::REFERENCE;

pub(super) fn check(findings: &mut Findings<'_>) {
    for environment in findings.environments() {
        if let Some(named) = &environment.schedule {
            jobs(environment, named, findings);
            objective(environment, named, findings);
            retention(environment, named, findings);
        }
    }
}

/// A job whose work the environment has nothing for would fail each time.
fn jobs(environment: &Environment, named: &NamedSchedule, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    let path = ["environments", name, "schedule"];
    let runs = |action| named.schedule.jobs.iter().any(|job| job.run == action);
    if runs(Action::Refresh) && !findings.is_written(&["environments", name, "refresh"]) {
        let message = format!(
            "schedule `{}` refreshes, but `{name}` has no `[refresh]`",
            named.name
        );
        let hint = "add the table, or choose a schedule without a `refresh` job";
        findings.warn(&path, message, hint);
    }
    if runs(Action::Replicate) && environment.replicas.is_empty() {
        let message = format!(
            "schedule `{}` replicates, but `{name}` has no replicas",
            named.name
        );
        let hint = "write `replicas`, or choose a schedule without a `replicate` job";
        findings.warn(&path, message, hint);
    }
    let is_staging = environment.class == EnvironmentClass::Staging;
    if is_staging
        && environment.refresh.is_some()
        && named.schedule.backup_job(Tier::Daily).is_none()
    {
        let message = format!(
            "schedule `{}` takes no daily backup of `{name}`",
            named.name
        );
        findings.advise(
            &path,
            message,
            "staging is best restored from yesterday's backup",
        );
    }
}

/// What is backed up every hour cannot lose five minutes only.
fn objective(environment: &Environment, named: &NamedSchedule, findings: &mut Findings<'_>) {
    let (Some(rpo), Some(gap)) = (environment.objectives.rpo, longest_gap(&named.schedule)) else {
        return;
    };
    if rpo.missed_by(gap).is_some() {
        findings.warn(
            &[
                "environments",
                environment.name.as_str(),
                "objectives",
                "rpo",
            ],
            format!(
                "an `rpo` of {} cannot be met: schedule `{}` leaves up to {} between backups",
                human_duration(rpo.limit()),
                named.name,
                human_duration(gap)
            ),
            "back up more often, or promise less",
        );
    }
}

/// Backups that nothing ever removes fill every store.
fn retention(environment: &Environment, named: &NamedSchedule, findings: &mut Findings<'_>) {
    let backs_up = named
        .schedule
        .jobs
        .iter()
        .any(|job| job.run == Action::Backup);
    if backs_up && named.schedule.retention().is_empty() {
        findings.advise(
            &["environments", environment.name.as_str(), "schedule"],
            format!("schedule `{}` keeps every backup for ever", named.name),
            "say how many to keep, such as `keep = { daily = 14 }` in its jobs",
        );
    }
}

/// Returns the longest time without a backup in a stretch of plan.
fn longest_gap(schedule: &Schedule) -> Option<Duration> {
    let timetable = schedule.timetable(0);
    let mut jobs = schedule.jobs.clone();
    jobs.retain(|job| job.run == Action::Backup);
    jobs.iter_mut().for_each(|job| job.jitter = Duration::ZERO);
    let next = |after: &Timestamp| {
        let starts = jobs.iter().filter_map(|job| timetable.next(job, *after));
        starts.map(|start| start.at.timestamp()).min()
    };
    let starts: Vec<_> = std::iter::successors(next(&REFERENCE), next)
        .take(STARTS)
        .enumerate()
        .take_while(|(n, at)| *n < 2 || at.duration_since(REFERENCE) < HORIZON)
        .map(|(_, at)| at)
        .collect();
    let between = |pair: &[Timestamp]| pair[1].duration_since(pair[0]).unsigned_abs();
    starts.windows(2).map(between).max()
}

/// Looks over a month, so that every weekday and a blackout of each have their turn.
const HORIZON: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Looks at no more starts than this: a week of one every five minutes.
const STARTS: usize = 7 * 24 * 12;

//! Turns: whether a job may start now, given what became of its earlier runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::job::Job;
use crate::timetable::{Due, Timetable};

/// An earlier run of a job, as a ledger tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub began: Timestamp,
    /// How it ended; `None` while it goes on, or if it died.
    pub ended: Option<Ended>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Whether it served its occurrence: the work was done, if not with every item.
    pub good: bool,
}

/// Whether a job may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It should start.
    Start {
        /// The occurrence it runs for.
        occurrence: Timestamp,
        /// How many runs to start, one after the other.
        runs: u32,
        /// How many occurrences before this one were missed and must be told.
        missed: u32,
    },
    /// An earlier run is going on.
    Running {
        /// When that began.
        began: Timestamp,
        /// When it will be taken for dead.
        dead_at: Timestamp,
        /// Whether it began after the occurrence and so serves it: nothing is left out then.
        serves: bool,
    },
    /// Its last run failed, and the next try has to wait.
    Retry {
        /// When it may be tried again.
        at: Timestamp,
        /// How many tries have failed since the last success.
        failures: u32,
    },
    /// It is due, but a blackout forbids it until then.
    Held {
        /// When the blackout ends.
        until: Timestamp,
    },
    /// It need not run yet.
    Later {
        /// When it will be due; `None` if its blackouts leave it no time ever.
        next: Option<Timestamp>,
    },
}

/// What becomes of an attempt that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulse {
    Going { dead_at: Timestamp },
    Dead { since: Timestamp },
}

impl Timetable {
    /// How long a job that failed once waits before it is tried again; doubled for each failure.
    pub const RETRY_FIRST: Duration = Duration::from_secs(5 * 60);

    /// The longest a job that keeps failing waits for its next try.
    pub const RETRY_LAST: Duration = Duration::from_secs(86_400);

    /// Decides whether `job` should start at `now`.
    ///
    /// `attempts` are its earlier runs, newest first, at least back to the last good one. Those
    /// that began further ahead than [`Timetable::GRACE`] were dated by a wrong clock and say
    /// nothing, so that they can neither serve an occurrence nor hold up a start.
    ///
    /// A job that failed is due until it succeeds. So that it does not fail every few minutes all
    /// day, each try waits twice as long as the one before; a new occurrence is always tried.
    pub fn turn(&self, job: &Job, attempts: &[Attempt], now: Timestamp) -> Turn {
        let attempts: Vec<Attempt> = believable(attempts, now).collect();
        let last_success = last_success(&attempts);
        let (occurrence, runs, missed) = match self.due(job, last_success, now) {
            Due::Later { next } => return Turn::Later { next },
            Due::Held { until } => return Turn::Held { until },
            Due::Now {
                occurrence,
                runs,
                missed,
            } => (occurrence, runs, missed),
        };
        // A job that never succeeded is due for this very moment, if no occurrence is near.
        let no_occurrence = last_success.is_none()
            && occurrence == now
            && job.cron.latest_within(now, now, &self.zone).is_none();
        let serves = |attempt: Timestamp| attempt >= occurrence || no_occurrence;
        if let Some((began, dead_at)) = going(job, &attempts, now) {
            let serves = serves(began);
            return Turn::Running {
                began,
                dead_at,
                serves,
            };
        }
        let failed = attempts.iter().take_while(|attempt| !is_good(attempt));
        let (newest, failures) = (attempts.first(), failed.count());
        if let Some(newest) = newest.filter(|_| failures > 0) {
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            let at = later(end_of(job, newest, now), retry_delay(failures));
            if serves(newest.began) && now < at {
                return Turn::Retry { at, failures };
            }
        }
        Turn::Start {
            occurrence,
            runs,
            missed,
        }
    }

    /// Decides whether `job` may start at `now` because somebody asks for it, due or not.
    pub fn turn_when_asked(&self, job: &Job, attempts: &[Attempt], now: Timestamp) -> Turn {
        let attempts: Vec<Attempt> = believable(attempts, now).collect();
        if let Some((began, dead_at)) = going(job, &attempts, now) {
            let serves = false;
            return Turn::Running {
                began,
                dead_at,
                serves,
            };
        }
        match self.held_until(job, now) {
            Some(until) => Turn::Held { until },
            None => Turn::Start {
                occurrence: now,
                runs: 1,
                missed: 0,
            },
        }
    }

    /// Reports whether an attempt never ended and is taken for dead.
    pub fn is_dead(&self, job: &Job, attempt: &Attempt, now: Timestamp) -> bool {
        matches!(pulse(job, attempt, now), Some(Pulse::Dead { .. }))
    }
}

/// Returns the attempts whose date can be true.
fn believable(attempts: &[Attempt], now: Timestamp) -> impl Iterator<Item = Attempt> {
    let latest = later(now, Timetable::GRACE);
    attempts
        .iter()
        .filter(move |attempt| attempt.began <= latest)
        .copied()
}

fn last_success(attempts: &[Attempt]) -> Option<Timestamp> {
    let good = attempts.iter().find(|attempt| is_good(attempt));
    good.map(|attempt| attempt.began)
}

fn is_good(attempt: &Attempt) -> bool {
    attempt.ended.is_some_and(|ended| ended.good)
}

/// Returns when the run began that is going on, and when it will be taken for dead.
fn going(job: &Job, attempts: &[Attempt], now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let going = |attempt: &Attempt| match pulse(job, attempt, now) {
        Some(Pulse::Going { dead_at }) => Some((attempt.began, dead_at)),
        _ => None,
    };
    attempts.iter().find_map(going)
}

/// A run that hangs or died must not silence its schedule: without an end it counts as going on for
/// as long as a run may take, and no longer.
fn pulse(job: &Job, attempt: &Attempt, now: Timestamp) -> Option<Pulse> {
    if attempt.ended.is_some() {
        return None;
    }
    let dead_at = later(attempt.began, job.dead_after());
    let from_the_future = attempt.began > later(now, Timetable::GRACE);
    Some(match now < dead_at && !from_the_future {
        true => Pulse::Going { dead_at },
        false => Pulse::Dead { since: dead_at },
    })
}

fn end_of(job: &Job, attempt: &Attempt, now: Timestamp) -> Timestamp {
    match (attempt.ended, pulse(job, attempt, now)) {
        (Some(ended), _) => ended.at,
        (None, Some(Pulse::Dead { since })) => since,
        (None, _) => attempt.began,
    }
}

fn retry_delay(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let delay = Timetable::RETRY_FIRST.saturating_mul(doubled);
    delay.min(Timetable::RETRY_LAST)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::job::Action;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    /// Due at five past each hour, ended after 50 minutes.
    fn hourly() -> Job {
        Job {
            max_runtime: Some(Duration::from_secs(50 * 60)),
            ..Job::new("hourly", Action::Backup, "5 * * * *".parse().unwrap())
        }
    }

    fn turn(attempts: &[Attempt], now: &str) -> Turn {
        let timetable = Timetable {
            zone: TimeZone::UTC,
            seed: 1,
        };
        timetable.turn(&hourly(), attempts, at(now))
    }

    fn ended(began: &str, end: &str, good: bool) -> Attempt {
        let end = Ended { at: at(end), good };
        Attempt {
            began: at(began),
            ended: Some(end),
        }
    }

    fn open(began: &str) -> Attempt {
        Attempt {
            began: at(began),
            ended: None,
        }
    }

    fn start(occurrence: &str, missed: u32) -> Turn {
        Turn::Start {
            occurrence: at(occurrence),
            runs: 1,
            missed,
        }
    }

    #[test]
    fn a_good_run_serves_its_occurrence_and_a_failed_one_does_not() {
        let good = ended("10:05:01", "10:06:00", true);
        let next = Some(at("11:05:00"));
        assert_eq!(turn(&[good], "10:30:00"), Turn::Later { next });
        assert_eq!(turn(&[good], "11:05:00"), start("11:05:00", 0));
        let failed = ended("11:05:01", "11:06:00", false);
        assert_eq!(turn(&[failed, good], "11:11:00"), start("11:05:00", 0));
    }

    #[test]
    fn a_job_that_keeps_failing_waits_longer_each_time_but_tries_each_occurrence() {
        let good = ended("09:05:01", "09:06:00", true);
        let first = ended("10:05:00", "10:06:00", false);
        let retry = |at_: &str, failures| Turn::Retry {
            at: at(at_),
            failures,
        };
        assert_eq!(turn(&[first, good], "10:10:59"), retry("10:11:00", 1));
        assert_eq!(turn(&[first, good], "10:11:00"), start("10:05:00", 0));
        let second = ended("10:11:00", "10:12:00", false);
        let both = [second, first, good];
        assert_eq!(turn(&both, "10:15:00"), retry("10:22:00", 2));
        let third = ended("10:50:00", "10:51:00", false);
        let all = [third, second, first, good];
        assert_eq!(turn(&all, "11:04:00"), retry("11:11:00", 3));
        assert_eq!(turn(&all, "11:05:00"), start("11:05:00", 1));
        assert_eq!(retry_delay(1), Timetable::RETRY_FIRST);
        assert_eq!(retry_delay(60), Timetable::RETRY_LAST);
    }

    #[test]
    fn a_job_that_never_succeeded_runs_once_at_a_time_and_waits_between_its_tries() {
        let mut yearly = hourly();
        yearly.cron = "0 0 1 1 *".parse().unwrap();
        let timetable = Timetable {
            zone: TimeZone::UTC,
            seed: 1,
        };
        let failed = [ended("10:05:00", "10:06:00", false)];
        let turn = timetable.turn(&yearly, &failed, at("10:07:00"));
        assert!(matches!(turn, Turn::Retry { failures: 1, .. }), "{turn:?}");
        let turn = timetable.turn(&yearly, &[open("10:05:00")], at("10:07:00"));
        assert!(
            matches!(turn, Turn::Running { serves: true, .. }),
            "{turn:?}"
        );
    }

    #[test]
    fn a_run_without_an_end_holds_the_next_up_only_as_long_as_it_may_take() {
        let good = ended("09:05:01", "09:06:00", true);
        let open = open("10:30:00");
        let running = |serves| Turn::Running {
            began: at("10:30:00"),
            dead_at: at("11:20:00"),
            serves,
        };
        assert_eq!(turn(&[open, good], "10:40:00"), running(true));
        // Another occurrence has come since.
        assert_eq!(turn(&[open, good], "11:06:00"), running(false));
        assert_eq!(turn(&[open, good], "11:20:00"), start("11:05:00", 1));
    }

    #[test]
    fn a_run_dated_by_a_wrong_clock_neither_serves_nor_holds_up() {
        let good = ended("09:05:01", "09:06:00", true);
        for wrong in [open("23:00:00"), ended("23:00:00", "23:01:00", true)] {
            assert_eq!(turn(&[wrong, good], "10:05:00"), start("10:05:00", 0));
        }
    }
}

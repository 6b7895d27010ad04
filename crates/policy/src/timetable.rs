//! Timetables: when a job is due on one host.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use crate::cron::{Clock, Occurrence};
use crate::job::{Job, Missed};

/// The clock and the host that jobs are timed for.
#[derive(Debug, Clone)]
pub struct Timetable {
    /// The zone whose wall clock the jobs follow.
    pub zone: TimeZone,
    /// A hash of the host's name: with the job's name it decides the jitter, the same each time.
    pub seed: u64,
}

/// Whether a job should run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// It should run.
    Now {
        /// The occurrence it runs for: the latest that has passed.
        occurrence: Timestamp,
        /// How many runs to start, one after the other; 1 unless the job makes up for each.
        runs: u32,
        /// How many occurrences before this one were missed and must be told.
        missed: u32,
    },
    /// It should run, but a blackout forbids it until then.
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

/// A start that lies ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When the job starts, jitter included.
    pub at: Zoned,
    /// What is unusual about it.
    pub remark: Option<Remark>,
}

/// What is unusual about a planned start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// The time written does not exist on this day: the clock is put forward past it.
    ClockSkips(jiff::civil::Time),
    /// The time written comes twice on this day; the job runs the first time only.
    ClockRepeats,
    /// A blackout put the start off until its end.
    AfterBlackout,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClockSkips(time) => {
                write!(f, "the clock skips {:02}:{:02}", time.hour(), time.minute())
            }
            Self::ClockRepeats => f.write_str("the clock repeats this time; runs once"),
            Self::AfterBlackout => f.write_str("put off until the blackout ends"),
        }
    }
}

impl Timetable {
    /// How late a job that skips missed runs may still start, and how far clocks may differ.
    pub const GRACE: Duration = Duration::from_secs(10 * 60);

    /// Returns how far this host puts off the starts of `job`: whole seconds, `job.jitter` at most.
    pub fn jitter(&self, job: &Job) -> Duration {
        // FNV-1a, then splitmix64's last step: small, and the same in every version of this program.
        let mut hash = 0xcbf2_9ce4_8422_2325;
        for byte in self.seed.to_le_bytes().iter().chain(job.name.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        Duration::from_secs(hash % (job.jitter.as_secs() + 1))
    }

    /// Decides whether `job` should run at `now`.
    ///
    /// `last_success` is when its last good run began, on whichever host: a run that began after
    /// an occurrence has served it. A job that never succeeded is due at once, unless it skips
    /// missed runs. A success further ahead than [`Timetable::GRACE`] was dated by a wrong clock
    /// and counts as none, so that it cannot silence the job: pass the newest that is not.
    pub fn due(&self, job: &Job, last_success: Option<Timestamp>, now: Timestamp) -> Due {
        let believable = plus(now, Self::GRACE);
        let last_success = last_success.filter(|at| *at <= believable);
        let passed = minus(now, self.jitter(job));
        let window = match job.missed {
            Missed::Skip => Self::GRACE,
            Missed::Once | Missed::All => job.catch_up,
        };
        let oldest = minus(passed, window);
        // An occurrence at the very instant of the last success was served by it.
        let from = match last_success {
            Some(at) => oldest.max(plus(at, Duration::from_nanos(1))),
            None => oldest,
        };
        let pending = job.cron.latest_within(from, passed, &self.zone);
        let never_ran = last_success.is_none() && job.missed != Missed::Skip;
        let (occurrence, missed) = match pending {
            // Without a first success there is no telling what was missed.
            Some((occurrence, _)) if last_success.is_none() => (occurrence, 0),
            Some(found) => found,
            None if never_ran => (now, 0),
            None => {
                let next = self.next(job, now).map(|planned| planned.at.timestamp());
                return Due::Later { next };
            }
        };
        if let Some(until) = self.held_until(job, now) {
            return Due::Held { until };
        }
        let runs = match job.missed {
            Missed::All => missed + 1,
            Missed::Skip | Missed::Once => 1,
        };
        Due::Now {
            occurrence,
            runs,
            missed,
        }
    }

    /// Returns the first planned start of `job` after `after`; `None` if there is none, ever.
    pub fn next(&self, job: &Job, after: Timestamp) -> Option<Planned> {
        let jitter = self.jitter(job);
        let mut from = minus(after, jitter);
        // A year of days: whatever a weekly blackout leaves free has come by then.
        for _ in 0..MAX_HELD {
            let found = job.cron.next(from, &self.zone)?;
            let start = plus(found.at, jitter);
            let Some(end) = self.held_until(job, start) else {
                return Some(self.planned(start, remark_of(found)));
            };
            if end == Timestamp::MAX {
                return None;
            }
            if job.missed != Missed::Skip {
                return Some(self.planned(end, Some(Remark::AfterBlackout)));
            }
            // What falls into the blackout is left out; the first candidate is at its end.
            from = minus(end, jitter + Duration::from_nanos(1));
        }
        None
    }

    /// Returns the next `n` planned starts of `job` after `from`.
    pub fn preview(&self, job: &Job, from: Timestamp, n: usize) -> Vec<Planned> {
        let first = self.next(job, from);
        let after = |planned: &Planned| self.next(job, planned.at.timestamp());
        std::iter::successors(first, after).take(n).collect()
    }

    fn planned(&self, at: Timestamp, remark: Option<Remark>) -> Planned {
        Planned {
            at: at.to_zoned(self.zone.clone()),
            remark,
        }
    }

    /// Returns when the blackouts that hold at `at` are over; the end of time if they never are.
    pub(crate) fn held_until(&self, job: &Job, at: Timestamp) -> Option<Timestamp> {
        let mut end = None;
        let mut local = self.zone.to_datetime(at);
        // Blackouts may follow on one another; each round ends at least one of a week's, so that
        // what still holds after a week's worth of rounds holds forever.
        for _ in 0..=7 * job.blackout.len() {
            let ends = job.blackout.iter().filter_map(|span| span.ends(local));
            match (ends.max(), end) {
                (Some(next), _) => (local, end) = (next, Some(next)),
                (None, Some(free)) => return self.zone.to_timestamp(free).ok(),
                (None, None) => return None,
            }
        }
        Some(Timestamp::MAX)
    }
}

const MAX_HELD: usize = 366;

fn remark_of(found: Occurrence) -> Option<Remark> {
    match found.clock {
        Clock::Steady => None,
        Clock::Skipped(civil) => Some(Remark::ClockSkips(civil.time())),
        Clock::Repeated => Some(Remark::ClockRepeats),
    }
}

/// Adds, and stays at the end of time rather than fail.
fn plus(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

/// Subtracts, and stays at the beginning of time rather than fail.
fn minus(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_sub(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Action;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn job(cron: &str) -> Job {
        Job::new("job", Action::Backup, cron.parse().unwrap())
    }

    fn utc() -> Timetable {
        Timetable {
            zone: TimeZone::UTC,
            seed: 1,
        }
    }

    fn berlin() -> Timetable {
        Timetable {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            seed: 1,
        }
    }

    fn now(occurrence: &str, runs: u32, missed: u32) -> Due {
        Due::Now {
            occurrence: at(occurrence),
            runs,
            missed,
        }
    }

    #[test]
    fn a_job_is_due_once_per_occurrence() {
        let hourly = job("5 * * * *");
        let before = at("2026-11-20T10:05:30Z");
        let later = Due::Later {
            next: Some(at("2026-11-20T11:05:00Z")),
        };
        assert_eq!(
            utc().due(&hourly, Some(before), at("2026-11-20T11:04:59Z")),
            later
        );
        assert_eq!(
            utc().due(&hourly, Some(before), at("2026-11-20T11:05:00Z")),
            now("2026-11-20T11:05:00Z", 1, 0)
        );
        // A success at the very instant of the occurrence has served it.
        let served = utc().due(
            &hourly,
            Some(at("2026-11-20T10:05:00Z")),
            at("2026-11-20T11:00:00Z"),
        );
        assert_eq!(served, later);
    }

    #[test]
    fn missed_runs_are_counted_and_made_up_for_as_the_job_says() {
        let mut hourly = job("5 * * * *");
        let last = Some(at("2026-11-20T07:05:30Z"));
        let awake = at("2026-11-20T11:30:00Z");
        assert_eq!(
            utc().due(&hourly, last, awake),
            now("2026-11-20T11:05:00Z", 1, 3)
        );
        hourly.missed = Missed::All;
        assert_eq!(
            utc().due(&hourly, last, awake),
            now("2026-11-20T11:05:00Z", 4, 3)
        );
        hourly.catch_up = 90 * MINUTE;
        assert_eq!(
            utc().due(&hourly, last, awake),
            now("2026-11-20T11:05:00Z", 2, 1)
        );
        hourly.missed = Missed::Skip;
        let later = Due::Later {
            next: Some(at("2026-11-20T12:05:00Z")),
        };
        assert_eq!(utc().due(&hourly, last, awake), later);
        let prompt = at("2026-11-20T11:09:00Z");
        assert_eq!(
            utc().due(&hourly, last, prompt),
            now("2026-11-20T11:05:00Z", 1, 0)
        );
    }

    #[test]
    fn a_job_that_never_succeeded_is_due_at_once() {
        let weekly = job("15 4 * * Sun");
        let instant = at("2026-11-20T11:00:00Z");
        assert_eq!(
            utc().due(&weekly, None, instant),
            now("2026-11-15T04:15:00Z", 1, 0)
        );
        let mut yearly = job("0 0 1 1 *");
        assert_eq!(
            utc().due(&yearly, None, instant),
            now("2026-11-20T11:00:00Z", 1, 0)
        );
        yearly.missed = Missed::Skip;
        let later = Due::Later {
            next: Some(at("2027-01-01T00:00:00Z")),
        };
        assert_eq!(utc().due(&yearly, None, instant), later);
    }

    #[test]
    fn a_success_dated_by_a_wrong_clock_silences_nothing() {
        let hourly = job("5 * * * *");
        let instant = at("2026-11-20T11:30:00Z");
        let wrong = Some(at("2031-01-01T00:00:00Z"));
        assert_eq!(
            utc().due(&hourly, wrong, instant),
            now("2026-11-20T11:05:00Z", 1, 0)
        );
        // Clocks of two hosts differ by seconds, and that is no reason to run again.
        let ahead = Some(at("2026-11-20T11:30:05Z"));
        assert!(matches!(
            utc().due(&hourly, ahead, instant),
            Due::Later { .. }
        ));
    }

    #[test]
    fn a_blackout_holds_a_due_job_until_its_end() {
        let mut daily = job("0 3 * * *");
        daily.blackout = vec!["Fri 22:00..Mon 06:00".parse().unwrap()];
        let last = Some(at("2026-11-20T03:00:10Z"));
        // A Saturday and the Monday after it.
        assert_eq!(
            utc().due(&daily, last, at("2026-11-21T03:00:00Z")),
            Due::Held {
                until: at("2026-11-23T06:00:00Z")
            }
        );
        assert_eq!(
            utc().due(&daily, last, at("2026-11-23T06:00:00Z")),
            now("2026-11-23T03:00:00Z", 1, 2)
        );
        let planned = utc().preview(&daily, at("2026-11-20T12:00:00Z"), 2);
        assert_eq!(planned[0].at.timestamp(), at("2026-11-23T06:00:00Z"));
        assert_eq!(planned[0].remark, Some(Remark::AfterBlackout));
        assert_eq!(planned[1].at.timestamp(), at("2026-11-24T03:00:00Z"));
        daily.missed = Missed::Skip;
        let next = utc().next(&daily, at("2026-11-20T12:00:00Z")).unwrap();
        assert_eq!(next.at.timestamp(), at("2026-11-24T03:00:00Z"));
    }

    #[test]
    fn blackouts_that_leave_no_time_leave_no_plan() {
        let mut daily = job("0 3 * * *");
        daily.blackout = vec![
            "00:00..12:00".parse().unwrap(),
            "12:00..00:00".parse().unwrap(),
        ];
        assert_eq!(utc().next(&daily, at("2026-11-20T12:00:00Z")), None);
        daily.blackout.pop();
        daily.missed = Missed::Skip;
        assert_eq!(utc().next(&daily, at("2026-11-20T12:00:00Z")), None);
    }

    #[test]
    fn the_preview_shows_what_the_clock_does_in_spring_and_autumn() {
        let nightly = job("30 2 * * *");
        let show = |from: &str| -> Vec<String> {
            let planned = berlin().preview(&nightly, at(from), 3);
            let text = |p: &Planned| {
                let remark = p
                    .remark
                    .map_or(String::new(), |remark| format!(" {remark}"));
                format!("{}{remark}", p.at.strftime("%d %b %H:%M %:z"))
            };
            planned.iter().map(text).collect()
        };
        assert_eq!(
            show("2026-03-27T12:00:00Z"),
            [
                "28 Mar 02:30 +01:00",
                "29 Mar 03:00 +02:00 the clock skips 02:30",
                "30 Mar 02:30 +02:00",
            ]
        );
        assert_eq!(
            show("2026-10-23T12:00:00Z"),
            [
                "24 Oct 02:30 +02:00",
                "25 Oct 02:30 +02:00 the clock repeats this time; runs once",
                "26 Oct 02:30 +01:00",
            ]
        );
    }

    #[test]
    fn a_run_in_the_fold_is_not_due_again_an_hour_later() {
        let nightly = job("30 2 * * *");
        let ran = at("2026-10-25T02:30:05+02:00");
        let due = berlin().due(&nightly, Some(ran), at("2026-10-25T02:30:05+01:00"));
        assert_eq!(
            due,
            Due::Later {
                next: Some(at("2026-10-26T02:30:00+01:00"))
            }
        );
    }

    #[test]
    fn jitter_is_stable_bounded_and_spreads_hosts() {
        let mut hourly = job("5 * * * *");
        hourly.jitter = 3 * MINUTE;
        let jitter = |seed, name: &str| {
            let timetable = Timetable {
                zone: TimeZone::UTC,
                seed,
            };
            timetable.jitter(&Job {
                name: name.to_owned(),
                ..hourly.clone()
            })
        };
        let spread: std::collections::BTreeSet<_> =
            (0..100).map(|seed| jitter(seed, "a")).collect();
        assert!(spread.len() > 50, "{spread:?}");
        assert!(*spread.last().unwrap() <= 3 * MINUTE);
        assert_ne!(jitter(1, "a"), jitter(1, "b"));
        // Pinned: a new version must not move everybody's start.
        assert_eq!(jitter(1, "hourly"), Duration::from_secs(155));
    }

    #[test]
    fn jitter_puts_off_the_start_and_moves_no_occurrence() {
        let mut hourly = job("5 * * * *");
        hourly.jitter = 30 * MINUTE;
        let own = utc().jitter(&hourly);
        assert!(own > MINUTE);
        let occurrence = at("2026-11-20T11:05:00Z");
        let start = occurrence + SignedDuration::try_from(own).unwrap();
        assert_eq!(
            utc()
                .next(&hourly, at("2026-11-20T11:00:00Z"))
                .unwrap()
                .at
                .timestamp(),
            start
        );
        let last = Some(at("2026-11-20T10:10:00Z"));
        assert_eq!(
            utc().due(&hourly, last, start - SignedDuration::from_secs(1)),
            Due::Later { next: Some(start) }
        );
        assert_eq!(
            utc().due(&hourly, last, start),
            now("2026-11-20T11:05:00Z", 1, 0)
        );
        // Another host with less jitter ran it already.
        let elsewhere = Some(at("2026-11-20T11:05:01Z"));
        assert!(matches!(
            utc().due(&hourly, elsewhere, start),
            Due::Later { .. }
        ));
    }
}

//! Cron times on a clock that is put forward in spring and back in autumn.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The text is not a cron time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a cron time of five fields: {why}")]
pub struct InvalidCron {
    text: String,
    why: String,
}

/// When a job recurs: minute, hour, day of month, month, day of week.
///
/// A pattern for every hour (`*` in the hour's field) follows elapsed time: it runs in both of
/// the hours that autumn repeats. Any other pattern follows the wall clock: a time that spring
/// leaves out runs at the next instant that exists, one that autumn repeats runs once, the first
/// time round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronTime {
    text: String,
    pattern: Cron,
    every_hour: bool,
}

/// An instant at which a pattern fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) at: Timestamp,
    pub(crate) clock: Clock,
}

/// What the clock did at an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Steady,
    /// The time written does not exist on this day.
    Skipped(DateTime),
    /// The time written exists twice on this day.
    Repeated,
}

impl CronTime {
    /// Returns the first occurrence after `after`, or `None` if time ends before it.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Occurrence> {
        if self.every_hour {
            let start = after.to_zoned(zone.clone());
            let found = self.pattern.find_next_occurrence(&start, false).ok()?;
            return Some(Occurrence {
                at: found.timestamp(),
                clock: Clock::Steady,
            });
        }
        let mut civil = zone.to_datetime(after);
        let mut inclusive = true;
        // Several written times can fall on one instant or before `after`, but only inside one
        // change of the clock, which is a few hours of minutes at most.
        for _ in 0..MAX_STEPS {
            civil = self.pattern.find_next_occurrence(&civil, inclusive).ok()?;
            inclusive = false;
            let found = resolve(civil, zone)?;
            if found.at > after {
                return Some(found);
            }
        }
        None
    }

    /// Returns the latest occurrence in `from ..= until`, with how many came before it in there.
    ///
    /// Counts up to [`CronTime::MAX_COUNT`] and then gives the latest it reached.
    pub(crate) fn latest_within(
        &self,
        from: Timestamp,
        until: Timestamp,
        zone: &TimeZone,
    ) -> Option<(Timestamp, u32)> {
        let mut before = from
            .checked_sub(SignedDuration::from_nanos(1))
            .unwrap_or(from);
        let mut latest = None;
        for earlier in 0..Self::MAX_COUNT {
            match self.next(before, zone) {
                Some(found) if found.at <= until => {
                    latest = Some((found.at, earlier));
                    before = found.at;
                }
                _ => break,
            }
        }
        latest
    }

    /// How many occurrences are counted at most: a week of minutes.
    pub(crate) const MAX_COUNT: u32 = 7 * 24 * 60;

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A day of minutes: no clock is moved further.
const MAX_STEPS: usize = 24 * 60;

/// Finds the instant of a time on the wall clock.
fn resolve(civil: DateTime, zone: &TimeZone) -> Option<Occurrence> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    Some(match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => Occurrence {
            at: ambiguous.unambiguous().ok()?,
            clock: Clock::Steady,
        },
        AmbiguousOffset::Fold { .. } => Occurrence {
            at: ambiguous.earlier().ok()?,
            clock: Clock::Repeated,
        },
        AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset from before the change, the time lies just after the change.
            let beyond = before.to_timestamp(civil).ok()?;
            let beyond = beyond.checked_add(SignedDuration::from_nanos(1)).ok()?;
            Occurrence {
                at: zone.preceding(beyond).next()?.timestamp(),
                clock: Clock::Skipped(civil),
            }
        }
    })
}

impl FromStr for CronTime {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let invalid = |why: String| InvalidCron {
            text: text.to_owned(),
            why,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let pattern = parser
            .parse(text)
            .map_err(|error| invalid(in_our_voice(&error.to_string())))?;
        let any_day = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
        let first = pattern.find_next_occurrence(&any_day, true);
        if first.is_err() {
            return Err(invalid("it names a time that never comes".to_owned()));
        }
        let hour = text.split_whitespace().nth(1);
        let every_hour = hour == Some("*") || text.trim().eq_ignore_ascii_case("@hourly");
        Ok(Self {
            text: text.to_owned(),
            pattern,
            every_hour,
        })
    }
}

/// Turns a foreign sentence into the form our messages have.
fn in_our_voice(sentence: &str) -> String {
    let mut chars = sentence.trim_end_matches('.').chars();
    let first = chars.next().into_iter().flat_map(char::to_lowercase);
    first.chain(chars).collect()
}

impl fmt::Display for CronTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn cron(text: &str) -> CronTime {
        text.parse().unwrap()
    }

    /// Lists the next `n` occurrences after a local time, as local times with their offset.
    fn following(pattern: &str, after: &str, n: usize) -> Vec<String> {
        let cron = cron(pattern);
        let civil: DateTime = after.parse().unwrap();
        let mut at = civil.to_zoned(berlin()).unwrap().timestamp();
        let mut step = || {
            at = cron.next(at, &berlin()).unwrap().at;
            let local = at.to_zoned(berlin());
            local.strftime("%d %H:%M%:z").to_string()
        };
        (0..n).map(|_| step()).collect()
    }

    // In 2026 Berlin's clocks go from 02:00 to 03:00 on 29 March, from 03:00 to 02:00 on 25 October.

    #[test]
    fn a_time_in_the_gap_runs_at_the_next_valid_instant() {
        assert_eq!(
            following("30 2 * * *", "2026-03-28T00:00", 3),
            ["28 02:30+01:00", "29 03:00+02:00", "30 02:30+02:00"]
        );
    }

    #[test]
    fn several_times_in_the_gap_run_once_together() {
        assert_eq!(
            following("0,30 2,3 * * *", "2026-03-29T00:00", 3),
            ["29 03:00+02:00", "29 03:30+02:00", "30 02:00+02:00"]
        );
    }

    #[test]
    fn a_time_in_the_fold_runs_once_the_first_time_round() {
        assert_eq!(
            following("30 2 * * *", "2026-10-24T12:00", 2),
            ["25 02:30+02:00", "26 02:30+01:00"]
        );
        assert_eq!(
            following("0,30 2 * * *", "2026-10-24T12:00", 3),
            ["25 02:00+02:00", "25 02:30+02:00", "26 02:00+01:00"]
        );
    }

    #[test]
    fn every_hour_means_elapsed_hours_on_both_days() {
        assert_eq!(
            following("5 * * * *", "2026-03-29T00:30", 3),
            ["29 01:05+01:00", "29 03:05+02:00", "29 04:05+02:00"]
        );
        assert_eq!(
            following("5 * * * *", "2026-10-25T01:30", 3),
            ["25 02:05+02:00", "25 02:05+01:00", "25 03:05+01:00"]
        );
    }

    #[test]
    fn the_next_valid_instant_is_the_end_of_the_gap_however_long_it_is() {
        // Lord Howe Island moves its clocks by half an hour: 02:00 to 02:30 on 4 October 2026.
        let zone = TimeZone::get("Australia/Lord_Howe").unwrap();
        let after: Timestamp = "2026-10-03T00:00:00Z".parse().unwrap();
        let found = cron("10 2 * * *").next(after, &zone).unwrap();
        let local = found.at.to_zoned(zone).strftime("%d %H:%M%:z").to_string();
        assert_eq!(local, "04 02:30+11:00");
    }

    #[test]
    fn around_a_change_of_clock_each_written_minute_runs_exactly_once() {
        let written = |time: DateTime| (1..=4).contains(&time.hour()) && time.minute() % 7 == 0;
        let cron = cron("*/7 1-4 * * *");
        for start in ["2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z"] {
            let start: Timestamp = start.parse().unwrap();
            let minutes = |n: i64| start + SignedDuration::from_mins(n);
            // The oracle walks every minute of three days and looks at the clock on the wall.
            let mut shown = std::collections::BTreeSet::new();
            let mut expected = Vec::new();
            for at in (1..3 * 24 * 60).map(minutes) {
                let local = berlin().to_datetime(at);
                let before = berlin().to_datetime(at - SignedDuration::from_mins(1));
                let mut skipped = Vec::new();
                let mut next = before + SignedDuration::from_mins(1);
                while next < local {
                    skipped.push(next);
                    next += SignedDuration::from_mins(1);
                }
                let owed = skipped.into_iter().any(written);
                if owed || (written(local) && !shown.contains(&local)) {
                    expected.push(at);
                }
                shown.insert(local);
            }
            let step = |at: &Timestamp| cron.next(*at, &berlin()).map(|found| found.at);
            let found: Vec<_> = std::iter::successors(step(&start), step)
                .take(expected.len())
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn patterns_that_cannot_fire_are_refused() {
        for bad in [
            "",
            "* * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "0 0 0 * * *",
            "whenever",
        ] {
            let error = bad.parse::<CronTime>();
            assert!(error.is_err(), "{bad:?} was accepted");
        }
        let error = "0 0 30 2 *".parse::<CronTime>().unwrap_err().to_string();
        assert!(
            error.ends_with("it names a time that never comes"),
            "{error}"
        );
    }
}

//! Blackouts: recurring spans in which a job must not start.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::{Span, ToSpan};

/// The text is not a blackout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a blackout: write `Fri 22:00..Mon 06:00` for each week or `01:00..05:00` for each day"
)]
pub struct InvalidBlackout(String);

/// A span of each week, or of each day, in which a job must not start: `Fri 22:00..Mon 06:00`.
///
/// The start belongs to it, the end does not. Times are those of the schedule's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blackout {
    from: Moment,
    to: Moment,
}

/// A time of day, on one weekday or on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    day: Option<Weekday>,
    time: Time,
}

impl Blackout {
    /// Returns when the blackout that holds at `local` ends, or `None` if it does not hold.
    pub fn ends(&self, local: DateTime) -> Option<DateTime> {
        // The last thing that happened was a start: then it holds until the next end.
        let since_start = self.from.minutes_since(local);
        let since_end = self.to.minutes_since(local);
        if since_start >= since_end {
            return None;
        }
        let cycle = self.to.cycle_minutes();
        let left: Span = (cycle - since_end).minutes();
        let this_minute = local.with().second(0).subsec_nanosecond(0).build().ok()?;
        this_minute.checked_add(left).ok()
    }
}

impl Moment {
    fn cycle_minutes(self) -> i64 {
        if self.day.is_some() {
            7 * 24 * 60
        } else {
            24 * 60
        }
    }

    /// Returns how many minutes ago this moment last was.
    fn minutes_since(self, local: DateTime) -> i64 {
        let minute = |time: Time| i64::from(time.hour()) * 60 + i64::from(time.minute());
        let days = self
            .day
            .map_or(0, |day| i64::from(local.weekday().since(day)));
        (days * 24 * 60 + minute(local.time()) - minute(self.time)).rem_euclid(self.cycle_minutes())
    }
}

impl FromStr for Blackout {
    type Err = InvalidBlackout;

    fn from_str(text: &str) -> Result<Self, InvalidBlackout> {
        let parse = || {
            let (from, to) = text.split_once("..")?;
            let (from, to) = (Moment::parse(from)?, Moment::parse(to)?);
            // One weekday without the other has no length; equal ends would be nothing or forever.
            let sound = from.day.is_some() == to.day.is_some() && from != to;
            sound.then_some(Self { from, to })
        };
        parse().ok_or_else(|| InvalidBlackout(text.to_owned()))
    }
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let mut words: Vec<_> = text.split_whitespace().collect();
        let (hour, minute) = words.pop()?.split_once(':')?;
        let time = Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
        let day = match words.as_slice() {
            [] => None,
            [word] => {
                let known = WEEKDAYS.iter().find(|(name, _)| name == word)?;
                Some(known.1)
            }
            _ => return None,
        };
        Some(Self { day, time })
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day| WEEKDAYS.iter().find(|(_, known)| *known == day);
        if let Some((name, _)) = self.day.and_then(name) {
            write!(f, "{name} ")?;
        }
        write!(f, "{:02}:{:02}", self.time.hour(), self.time.minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_weekend_reaches_from_friday_night_to_monday_morning() {
        let weekend: Blackout = "Fri 22:00..Mon 06:00".parse().unwrap();
        // 2026-11-20 is a Friday.
        let end = Some(at("2026-11-23T06:00"));
        assert_eq!(weekend.ends(at("2026-11-20T21:59:59")), None);
        assert_eq!(weekend.ends(at("2026-11-20T22:00")), end);
        assert_eq!(weekend.ends(at("2026-11-22T12:34:56")), end);
        assert_eq!(weekend.ends(at("2026-11-23T05:59:59")), end);
        assert_eq!(weekend.ends(at("2026-11-23T06:00")), None);
        assert_eq!(weekend.to_string(), "Fri 22:00..Mon 06:00");
    }

    #[test]
    fn a_nightly_span_may_cross_midnight() {
        let night: Blackout = "22:00..05:30".parse().unwrap();
        assert_eq!(
            night.ends(at("2026-11-20T23:00")),
            Some(at("2026-11-21T05:30"))
        );
        assert_eq!(
            night.ends(at("2026-11-21T05:00")),
            Some(at("2026-11-21T05:30"))
        );
        assert_eq!(night.ends(at("2026-11-21T12:00")), None);
    }

    #[test]
    fn spans_without_a_clear_length_are_refused() {
        for bad in [
            "",
            "22:00",
            "22:00..22:00",
            "Fri 22:00..06:00",
            "Fr 22:00..Mo 06:00",
            "25:00..26:00",
        ] {
            assert!(bad.parse::<Blackout>().is_err(), "{bad:?} was accepted");
        }
    }
}

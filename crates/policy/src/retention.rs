//! Retention: which snapshots of one source stay, each with its reason.
//!
//! The rules count periods that hold a snapshot, not periods of the calendar, so that a source
//! whose backups stopped does not lose its history to the passing of time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use lifeboat_model::{SnapshotId, Tier, human_duration};

/// How much history to keep. Each rule adds to what is kept; none takes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest this many snapshots of any tier.
    pub last: Option<u32>,
    /// One for each of the newest this many hours that have one.
    pub hourly: Option<u32>,
    /// One for each of the newest this many days.
    pub daily: Option<u32>,
    /// One for each of the newest this many weeks, which start on Monday.
    pub weekly: Option<u32>,
    /// One for each of the newest this many months.
    pub monthly: Option<u32>,
    /// One for each of the newest this many years.
    pub yearly: Option<u32>,
    /// The newest this many of those that somebody asked for by hand.
    pub on_demand: Option<u32>,
    /// Everything younger than this.
    pub within: Option<Duration>,
    /// Never leave fewer than this many; the newest one stays whatever this says.
    pub min_keep: u32,
}

impl Keep {
    /// Reports whether there is no rule at all, which keeps everything.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                min_keep: self.min_keep,
                ..Self::default()
            }
    }

    /// Returns what keeps everything that either of the two keeps.
    pub fn union(self, other: Self) -> Self {
        Self {
            last: self.last.max(other.last),
            hourly: self.hourly.max(other.hourly),
            daily: self.daily.max(other.daily),
            weekly: self.weekly.max(other.weekly),
            monthly: self.monthly.max(other.monthly),
            yearly: self.yearly.max(other.yearly),
            on_demand: self.on_demand.max(other.on_demand),
            within: self.within.max(other.within),
            min_keep: self.min_keep.max(other.min_keep),
        }
    }
}

/// Why a snapshot stays or goes. Ranks count from 1, the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no rule, so nothing may go.
    NoRules,
    /// It is the newest, which always stays.
    Newest,
    /// Its time lies in the future: a clock was wrong, so its age decides nothing.
    FromTheFuture,
    /// It is younger than `within`.
    Within(Duration),
    /// It is the `rank`-th newest of `of` to keep.
    Last {
        /// Its rank.
        rank: u32,
        /// How many the rule keeps.
        of: u32,
    },
    /// It stands for the `rank`-th newest of `of` periods.
    Period {
        /// The rule's period.
        period: Period,
        /// The period's rank.
        rank: u32,
        /// How many periods the rule keeps.
        of: u32,
    },
    /// It is the `rank`-th newest made by hand, of `of` to keep.
    OnDemand {
        /// Its rank.
        rank: u32,
        /// How many the rule keeps.
        of: u32,
    },
    /// No rule wants it, but fewer than this many would be left.
    MinKeep(u32),
    /// No rule wants it: it goes.
    Expired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRules => f.write_str("no retention rule is set"),
            Self::Newest => f.write_str("newest"),
            Self::FromTheFuture => f.write_str("dated in the future"),
            Self::Within(age) => write!(f, "within {}", human_duration(*age)),
            Self::Last { rank, of } => write!(f, "last {rank} of {of}"),
            Self::Period { period, rank, of } => write!(f, "{} {rank} of {of}", period.as_str()),
            Self::OnDemand { rank, of } => write!(f, "on-demand {rank} of {of}"),
            Self::MinKeep(least) => write!(f, "at least {least} are kept"),
            Self::Expired => f.write_str("no rule keeps it"),
        }
    }
}

/// The period of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// An hour.
    Hourly,
    /// A day.
    Daily,
    /// A week from Monday.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl Period {
    /// Returns the word people write for this period's rule.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// Returns how well a snapshot of `tier` stands for this period, or `None` if it cannot.
    ///
    /// A rule takes its own tier first, then the next shorter one. Never a longer one: the daily
    /// backups must not fill the places of the hourly rule when the hourly ones stop.
    fn suits(self, tier: Tier) -> Option<u8> {
        let length = match tier {
            Tier::OnDemand => 0,
            Tier::Hourly => 1,
            Tier::Daily => 2,
            Tier::Weekly => 3,
            Tier::Monthly => 4,
        };
        (length <= self as u8 + 1).then_some(length)
    }

    /// Returns what tells this period of `at` from every other; later periods compare greater.
    fn slot(self, at: Timestamp, zone: &TimeZone) -> (Date, i64) {
        let local = zone.to_datetime(at);
        let date = local.date();
        match self {
            // Elapsed hours, not those of the wall clock: the one it repeats in autumn is two.
            Self::Hourly => (Date::ZERO, at.as_second().div_euclid(3600)),
            Self::Daily => (date, 0),
            Self::Weekly => {
                let since_monday = i64::from(date.weekday().to_monday_zero_offset());
                // The first week of time has no Monday to go back to.
                let monday = date.checked_sub(since_monday.days()).unwrap_or(Date::MIN);
                (monday, 0)
            }
            Self::Monthly => (date.first_of_month(), 0),
            Self::Yearly => (date.first_of_year(), 0),
        }
    }
}

/// What retention decided about one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The snapshot.
    pub id: SnapshotId,
    /// Whether it stays.
    pub keep: bool,
    /// Why; the strongest reason if there are several.
    pub reason: Reason,
}

/// Decides for each snapshot of one source whether it stays, newest first.
///
/// `snapshots` are the good ones, in any order: a snapshot known to be damaged is left out, so
/// that it takes no place of one that restores, and nothing is decided about it. Periods are
/// those of the calendar in `zone`.
pub fn decide(
    snapshots: &[(SnapshotId, Timestamp, Tier)],
    keep: &Keep,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Decision> {
    let mut newest_first = snapshots.to_vec();
    newest_first.sort_by_key(|(id, at, _)| std::cmp::Reverse((*at, *id)));
    // Snapshots of the future come first in this order and must not pass for the newest.
    let future = newest_first
        .iter()
        .take_while(|(_, at, _)| *at > now)
        .count();
    let mut reasons: Vec<Option<Reason>> = vec![None; newest_first.len()];
    if keep.is_empty() {
        reasons.fill(Some(Reason::NoRules));
    } else {
        reasons[..future].fill(Some(Reason::FromTheFuture));
        apply_rules(
            &newest_first[future..],
            &mut reasons[future..],
            keep,
            now,
            zone,
        );
        spare_the_last(&mut reasons, keep.min_keep);
    }
    let decide = |((id, _, _), reason): ((SnapshotId, Timestamp, Tier), Option<Reason>)| Decision {
        id,
        keep: reason.is_some(),
        reason: reason.unwrap_or(Reason::Expired),
    };
    newest_first.into_iter().zip(reasons).map(decide).collect()
}

/// Notes the first reason to keep each snapshot; `snapshots` come newest first.
fn apply_rules(
    snapshots: &[(SnapshotId, Timestamp, Tier)],
    reasons: &mut [Option<Reason>],
    keep: &Keep,
    now: Timestamp,
    zone: &TimeZone,
) {
    let mut note = |n: usize, reason: Reason| {
        reasons[n].get_or_insert(reason);
    };
    if !snapshots.is_empty() {
        note(0, Reason::Newest);
    }
    for (period, of) in keep.periods() {
        for (rank, n) in (1..).zip(stand_ins(snapshots, period, of, zone)) {
            note(n, Reason::Period { period, rank, of });
        }
    }
    if let Some(of) = keep.on_demand {
        let by_hand = (0..snapshots.len()).filter(|n| snapshots[*n].2 == Tier::OnDemand);
        for (rank, n) in (1..=of).zip(by_hand) {
            note(n, Reason::OnDemand { rank, of });
        }
    }
    if let Some(of) = keep.last {
        for (rank, n) in (1..=of).zip(0..snapshots.len()) {
            note(n, Reason::Last { rank, of });
        }
    }
    if let Some(age) = keep.within {
        for (n, (_, at, _)) in snapshots.iter().enumerate() {
            if now.duration_since(*at).unsigned_abs() < age {
                note(n, Reason::Within(age));
            }
        }
    }
}

impl Keep {
    /// Returns the rules that count periods, longest first, so that the reason people read is the
    /// one that keeps a snapshot longest.
    fn periods(&self) -> impl Iterator<Item = (Period, u32)> {
        [
            (Period::Yearly, self.yearly),
            (Period::Monthly, self.monthly),
            (Period::Weekly, self.weekly),
            (Period::Daily, self.daily),
            (Period::Hourly, self.hourly),
        ]
        .into_iter()
        .filter_map(|(period, of)| Some((period, of?)))
    }
}

/// Returns the snapshot that stands for each of the newest `of` periods, newest first.
fn stand_ins(
    snapshots: &[(SnapshotId, Timestamp, Tier)],
    period: Period,
    of: u32,
    zone: &TimeZone,
) -> Vec<usize> {
    let mut best: BTreeMap<_, (u8, usize)> = BTreeMap::new();
    for (n, (_, at, tier)) in snapshots.iter().enumerate() {
        let Some(rank) = period.suits(*tier) else {
            continue;
        };
        let chosen = best.entry(period.slot(*at, zone)).or_insert((rank, n));
        // Strictly better only: of equals, the newest came first and stays.
        if rank > chosen.0 {
            *chosen = (rank, n);
        }
    }
    let newest_first = best.into_values().rev().take(of as usize);
    newest_first.map(|(_, n)| n).collect()
}

/// Keeps the newest of those that would go, until at least `least` stay.
fn spare_the_last(reasons: &mut [Option<Reason>], least: u32) {
    // What a wrong clock dated may be anything, so it stands for no other.
    let counts = |reason: &&Reason| !matches!(reason, Reason::FromTheFuture);
    let kept = reasons.iter().flatten().filter(counts).count();
    let short = (least as usize).saturating_sub(kept);
    let going = reasons.iter_mut().filter(|reason| reason.is_none());
    for reason in going.take(short) {
        *reason = Some(Reason::MinKeep(least));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

    fn id(n: usize) -> SnapshotId {
        let mut bytes = [0; SnapshotId::LEN];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        SnapshotId::from_bytes(bytes)
    }

    /// Makes snapshots that many minutes old; the n-th has the id `id(n)`.
    fn aged(ages: &[(i64, Tier)]) -> Vec<(SnapshotId, Timestamp, Tier)> {
        let made = |(n, (minutes, tier)): (usize, &(i64, Tier))| {
            (id(n), NOW - SignedDuration::from_mins(*minutes), *tier)
        };
        ages.iter().enumerate().map(made).collect()
    }

    fn reasons(snapshots: &[(SnapshotId, Timestamp, Tier)], keep: &Keep) -> Vec<String> {
        let decisions = decide(snapshots, keep, NOW, &TimeZone::UTC);
        let text = |decision: &Decision| format!("{}: {}", decision.keep, decision.reason);
        decisions.iter().map(text).collect()
    }

    const DAY: i64 = 24 * 60;

    #[test]
    fn each_tier_is_counted_on_its_own() {
        let snapshots = aged(&[
            (10, Tier::Hourly),
            (70, Tier::Hourly),
            (130, Tier::Hourly),
            (DAY, Tier::Daily),
            (2 * DAY, Tier::Daily),
            (3 * DAY, Tier::Daily),
        ]);
        let keep = Keep {
            hourly: Some(2),
            daily: Some(3),
            ..Keep::default()
        };
        // The newest day has no daily backup yet, so an hourly one stands for it.
        assert_eq!(
            reasons(&snapshots, &keep),
            [
                "true: newest",
                "true: hourly 2 of 2",
                "false: no rule keeps it",
                "true: daily 2 of 3",
                "true: daily 3 of 3",
                "false: no rule keeps it",
            ]
        );
    }

    /// Returns what two days keep of `snapshots`, by the calendar of `zone`.
    fn two_days(snapshots: &[(&str, Tier)], zone: &str) -> Vec<usize> {
        let made = |(n, (at, tier)): (usize, &(&str, Tier))| (id(n), at.parse().unwrap(), *tier);
        let snapshots: Vec<_> = snapshots.iter().enumerate().map(made).collect();
        let keep = Keep {
            daily: Some(2),
            ..Keep::default()
        };
        let decisions = decide(&snapshots, &keep, NOW, &TimeZone::get(zone).unwrap());
        let kept = kept(&decisions);
        (0..snapshots.len())
            .filter(|n| kept.contains(&id(*n)))
            .collect()
    }

    #[test]
    fn a_day_is_kept_by_its_daily_backup_not_by_its_last_hour() {
        let snapshots = [
            ("2026-09-18T01:00:00Z", Tier::Daily),
            ("2026-09-18T23:00:00Z", Tier::Hourly),
            ("2026-09-19T01:00:00Z", Tier::Daily),
        ];
        assert_eq!(two_days(&snapshots, "UTC"), [0, 2]);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let snapshots = [
            ("2026-09-18T01:00:00Z", Tier::Daily),
            ("2026-09-18T23:00:00Z", Tier::Daily),
            ("2026-09-19T01:00:00Z", Tier::Daily),
        ];
        assert_eq!(two_days(&snapshots, "UTC"), [1, 2]);
        // Five hours further west the first belongs to the day before, the others to one day.
        assert_eq!(two_days(&snapshots, "America/Bogota"), [0, 2]);
    }

    #[test]
    fn daily_backups_do_not_fill_the_places_of_hourly_ones() {
        let snapshots = aged(&[
            (10, Tier::Hourly),
            (DAY, Tier::Daily),
            (2 * DAY, Tier::Daily),
        ]);
        let keep = Keep {
            hourly: Some(48),
            ..Keep::default()
        };
        assert_eq!(
            reasons(&snapshots, &keep)[1..],
            ["false: no rule keeps it", "false: no rule keeps it"]
        );
    }

    #[test]
    fn backups_that_stopped_do_not_fade_away() {
        let snapshots = aged(&[(400 * DAY, Tier::Daily), (401 * DAY, Tier::Daily)]);
        let keep = Keep {
            daily: Some(7),
            ..Keep::default()
        };
        assert_eq!(
            reasons(&snapshots, &keep),
            ["true: newest", "true: daily 2 of 7"]
        );
    }

    #[test]
    fn a_snapshot_of_the_future_does_not_push_out_the_newest() {
        let snapshots = aged(&[
            (-500 * DAY, Tier::Daily),
            (10, Tier::Daily),
            (2 * DAY, Tier::Daily),
        ]);
        let keep = Keep {
            last: Some(1),
            ..Keep::default()
        };
        assert_eq!(
            reasons(&snapshots, &keep),
            [
                "true: dated in the future",
                "true: newest",
                "false: no rule keeps it"
            ]
        );
    }

    #[test]
    fn without_a_rule_nothing_goes() {
        let snapshots = aged(&[(1, Tier::Hourly), (2, Tier::Hourly)]);
        let keep = Keep {
            min_keep: 1,
            ..Keep::default()
        };
        assert_eq!(
            reasons(&snapshots, &keep),
            ["true: no retention rule is set"; 2]
        );
    }

    #[test]
    fn min_keep_spares_the_newest_of_those_that_would_go() {
        let snapshots = aged(&[(1, Tier::Daily), (2, Tier::Daily), (3, Tier::Daily)]);
        let keep = Keep {
            last: Some(1),
            min_keep: 2,
            ..Keep::default()
        };
        assert_eq!(
            reasons(&snapshots, &keep),
            [
                "true: newest",
                "true: at least 2 are kept",
                "false: no rule keeps it"
            ]
        );
    }

    #[test]
    fn the_hour_that_autumn_repeats_is_two() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let snapshots = [
            (id(0), at("2026-10-25T02:30:00+02:00"), Tier::Hourly),
            (id(1), at("2026-10-25T02:30:00+01:00"), Tier::Hourly),
        ];
        let keep = Keep {
            hourly: Some(2),
            ..Keep::default()
        };
        let now = at("2026-10-26T00:00:00Z");
        assert!(
            decide(&snapshots, &keep, now, &berlin)
                .iter()
                .all(|decision| decision.keep)
        );
    }

    fn snapshots() -> impl Strategy<Value = Vec<(SnapshotId, Timestamp, Tier)>> {
        let tier = (0..Tier::ALL.len()).prop_map(|n| Tier::ALL[n]);
        proptest::collection::vec((-DAY..900 * DAY, tier), 0..60).prop_map(|ages| aged(&ages))
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        let count = || proptest::option::of(1_u32..8);
        let within =
            proptest::option::of((0_u64..30).prop_map(|d| Duration::from_secs(d * 86_400)));
        let counts = (
            count(),
            count(),
            count(),
            count(),
            count(),
            count(),
            count(),
        );
        (counts, within, 0_u32..5).prop_map(|(counts, within, min_keep)| {
            let (last, hourly, daily, weekly, monthly, yearly, on_demand) = counts;
            Keep {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
                on_demand,
                within,
                min_keep,
            }
        })
    }

    fn kept(decisions: &[Decision]) -> Vec<SnapshotId> {
        let kept = decisions.iter().filter(|decision| decision.keep);
        kept.map(|decision| decision.id).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn every_snapshot_gets_one_decision_that_agrees_with_its_reason(all in snapshots(), keep in keeps()) {
            let decisions = decide(&all, &keep, NOW, &TimeZone::UTC);
            let mut ids: Vec<_> = decisions.iter().map(|decision| decision.id).collect();
            ids.sort();
            prop_assert_eq!(ids, (0..all.len()).map(id).collect::<Vec<_>>());
            for decision in decisions {
                prop_assert_eq!(decision.keep, decision.reason != Reason::Expired);
            }
        }

        #[test]
        fn the_newest_and_the_least_number_stay(all in snapshots(), keep in keeps()) {
            let kept = kept(&decide(&all, &keep, NOW, &TimeZone::UTC));
            prop_assert!(kept.len() >= all.len().min(keep.min_keep as usize));
            let past = all.iter().filter(|(_, at, _)| *at <= NOW);
            if let Some((newest, _, _)) = past.max_by_key(|(id, at, _)| (*at, *id)) {
                prop_assert!(kept.contains(newest));
            }
        }

        #[test]
        fn pruning_twice_removes_no_more_than_pruning_once(all in snapshots(), keep in keeps()) {
            let once = kept(&decide(&all, &keep, NOW, &TimeZone::UTC));
            let left: Vec<_> = all.into_iter().filter(|(id, _, _)| once.contains(id)).collect();
            prop_assert_eq!(kept(&decide(&left, &keep, NOW, &TimeZone::UTC)), once);
        }

        #[test]
        fn a_union_keeps_whatever_either_keeps(all in snapshots(), a in keeps(), b in keeps()) {
            // No rule at all means "keep everything", which a union with a rule ends.
            prop_assume!(!a.is_empty() && !b.is_empty());
            let both = kept(&decide(&all, &a.union(b), NOW, &TimeZone::UTC));
            let (a, b) = (Keep { min_keep: 0, ..a }, Keep { min_keep: 0, ..b });
            for keep in [a, b] {
                for id in kept(&decide(&all, &keep, NOW, &TimeZone::UTC)) {
                    prop_assert!(both.contains(&id));
                }
            }
        }

        #[test]
        fn the_order_of_the_list_decides_nothing(all in snapshots(), keep in keeps()) {
            let forward = decide(&all, &keep, NOW, &TimeZone::UTC);
            let mut turned = all;
            turned.reverse();
            prop_assert_eq!(forward, decide(&turned, &keep, NOW, &TimeZone::UTC));
        }
    }
}

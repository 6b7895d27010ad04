#![expect(
    clippy::single_range_in_vec_init,
    reason = "a list of stretches may have one"
)]

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::{
    Branch, Diagnose as _, Lsn, RecoveryTarget, Segment, SegmentSize, SnapshotId, SystemId,
    Timeline, WalContentId, WalFileName, WalHash, WalObject, WalRange,
};
use proptest::prelude::*;

use super::*;

const SIZE: SegmentSize = SegmentSize::new(1 << 20).unwrap();
const LEN: u64 = 1 << 20;

/// The instant of a test's minute.
fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn lsn(segments: f64) -> Lsn {
    Lsn::new((segments * LEN as f64) as u64)
}

fn object(timeline: u32, number: u64) -> WalObject {
    let segment = Segment::numbered(Timeline::new(timeline), number, SIZE);
    WalObject {
        file: WalFileName::Segment(segment),
        piece: None,
        branch: None,
        // The log of one minute fills one segment.
        newest_commit: Some(minute(number as i64)),
        content: WalContentId::from_bytes([1; 16]),
        hash: WalHash::from_bytes([1; 32]),
        stored_len: 1,
    }
}

fn piece(timeline: u32, number: u64, from: u32, to: u32) -> WalObject {
    WalObject {
        piece: Some(from..to),
        ..object(timeline, number)
    }
}

fn history(timeline: u32, parent: u32, at: Lsn) -> WalObject {
    WalObject {
        file: WalFileName::History(Timeline::new(timeline)),
        branch: Some(Branch {
            parent: Timeline::new(parent),
            at,
        }),
        newest_commit: None,
        ..object(timeline, 0)
    }
}

fn whole(timeline: u32, numbers: impl IntoIterator<Item = u64>) -> Vec<WalObject> {
    numbers.into_iter().map(|n| object(timeline, n)).collect()
}

/// A snapshot from the middle of segment `start` to the middle of segment `stop`.
fn snapshot(id: u8, timeline: u32, start: u64, stop: u64) -> SnapshotWal {
    SnapshotWal {
        id: SnapshotId::from_bytes([id; 32]),
        instant: minute(stop as i64),
        wal: WalRange {
            system: SystemId::new(7),
            timeline: Timeline::new(timeline),
            start: lsn(start as f64 + 0.5),
            stop: lsn(stop as f64 + 0.5),
            segment_size: SIZE,
            embedded: false,
        },
    }
}

fn archive(mut objects: Vec<WalObject>) -> WalArchive {
    objects.sort_by_key(WalObject::order);
    WalArchive::new(SIZE, &objects)
}

fn request(target: RecoveryTarget) -> RecoveryRequest {
    RecoveryRequest {
        target,
        timeline: None,
        base: None,
    }
}

fn number(snapshot: SnapshotId) -> u8 {
    snapshot.as_bytes()[0]
}

/// Which snapshot a target is reached from, or why it is not.
fn reached(
    target: RecoveryTarget,
    snapshots: &[SnapshotWal],
    archive: &WalArchive,
) -> Result<u8, Unreachable> {
    choose(&request(target), snapshots, archive)
        .map(|chosen| number(chosen.snapshot))
        .map_err(|refused| refused.why)
}

#[test]
fn an_unbroken_log_is_one_interval_from_its_oldest_snapshot_on() {
    let mut objects = whole(1, 2..9);
    objects.push(piece(1, 9, 0, 4096));
    let snapshots = [snapshot(2, 1, 5, 6), snapshot(1, 1, 3, 3)];
    let found = coverage(&snapshots, &archive(objects));
    let [interval] = found.intervals.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (interval.from, interval.to),
        (lsn(3.5), Lsn::new(9 * LEN + 4096))
    );
    assert_eq!(
        (interval.from_time, interval.to_time),
        (minute(3), minute(9))
    );
    let ids: Vec<u8> = interval.snapshots.iter().map(|id| number(*id)).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!((found.gaps, found.lost), (vec![], vec![]));
    assert_eq!(
        found.newest,
        Some((Timeline::new(1), Lsn::new(9 * LEN + 4096), Some(minute(9))))
    );
}

#[test]
fn a_missing_segment_parts_two_intervals_and_is_named() {
    let snapshots = [snapshot(1, 1, 2, 2), snapshot(2, 1, 6, 7)];
    let found = coverage(&snapshots, &archive(whole(1, [2, 3, 6, 7, 8])));
    assert_eq!(found.intervals.len(), 2);
    assert_eq!(found.intervals[0].to, lsn(4.0));
    assert_eq!(found.intervals[1].from, lsn(7.5));
    let [gap] = found.gaps.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(gap.first.to_string(), "000000010000000000000004");
    assert_eq!(gap.last.to_string(), "000000010000000000000005");
    assert_eq!(gap.segments, 2);
}

#[test]
fn a_segment_that_ends_early_is_a_gap_once_another_follows() {
    let mut objects = whole(1, [2, 4]);
    objects.push(piece(1, 3, 0, 4096));
    objects.push(piece(1, 3, 8192, 9000));
    let found = coverage(&[snapshot(1, 1, 2, 2)], &archive(objects));
    assert_eq!(found.intervals[0].to, Lsn::new(3 * LEN + 4096));
    assert_eq!(found.gaps.len(), 1);
    assert_eq!(found.gaps[0].first, found.gaps[0].last);
}

#[test]
fn a_snapshot_that_lacks_its_log_is_lost_unless_it_brings_it_along() {
    let alone = snapshot(1, 1, 2, 3);
    let archive = archive(whole(1, [2]));
    let found = coverage(&[alone], &archive);
    assert_eq!((found.intervals.len(), found.lost), (0, vec![alone.id]));
    let mut embedded = alone;
    embedded.wal.embedded = true;
    let found = coverage(&[embedded], &archive);
    assert_eq!(found.lost, []);
    let interval = &found.intervals[0];
    assert_eq!((interval.from, interval.to), (lsn(3.5), lsn(3.5)));
    let snapshots = [embedded];
    let id = RecoveryTarget::Snapshot(embedded.id);
    assert_eq!(reached(id, &snapshots, &archive), Ok(1));
    let later = RecoveryTarget::Time(minute(4));
    assert_eq!(
        reached(later, &snapshots, &archive),
        Err(Unreachable::AfterEnd)
    );
}

#[test]
fn each_target_is_reached_from_the_newest_snapshot_before_it() {
    let snapshots = [
        snapshot(1, 1, 2, 3),
        snapshot(2, 1, 6, 6),
        snapshot(3, 1, 8, 9),
    ];
    let archive = archive(whole(1, 2..12));
    let reached = |target| reached(target, &snapshots, &archive);
    let within = |at: i64| Timestamp::from_second(minute(at).as_second() + 30).unwrap();
    for (target, wanted) in [
        (RecoveryTarget::Latest, Ok(3)),
        (RecoveryTarget::Immediate, Ok(3)),
        (RecoveryTarget::Snapshot(snapshots[1].id), Ok(2)),
        (
            RecoveryTarget::Time(within(2)),
            Err(Unreachable::BeforeEverySnapshot),
        ),
        (RecoveryTarget::Time(within(3)), Ok(1)),
        (RecoveryTarget::Time(within(5)), Ok(1)),
        (RecoveryTarget::Time(within(6)), Ok(2)),
        (RecoveryTarget::Time(within(10)), Ok(3)),
        (RecoveryTarget::Time(minute(11)), Err(Unreachable::AfterEnd)),
        (
            RecoveryTarget::Lsn(lsn(3.4)),
            Err(Unreachable::BeforeEverySnapshot),
        ),
        (RecoveryTarget::Lsn(lsn(3.5)), Ok(1)),
        (RecoveryTarget::Lsn(lsn(6.4)), Ok(1)),
        (RecoveryTarget::Lsn(lsn(11.9)), Ok(3)),
        (RecoveryTarget::Lsn(lsn(12.0)), Err(Unreachable::AfterEnd)),
        // Nobody knows where they lie, so nothing before them may be left out.
        (RecoveryTarget::Xid(900), Ok(1)),
        (RecoveryTarget::Name("before_deploy".to_owned()), Ok(1)),
        (
            RecoveryTarget::Snapshot(SnapshotId::from_bytes([9; 32])),
            Err(Unreachable::NoSnapshot),
        ),
    ] {
        assert_eq!(reached(target.clone()), wanted, "{target}");
    }
}

#[test]
fn a_choice_says_which_segments_it_replays() {
    let snapshots = [snapshot(1, 1, 2, 3)];
    let archive = archive(whole(1, 2..12));
    let replay = |target| {
        let chosen = choose(&request(target), &snapshots, &archive).unwrap();
        (chosen.first.part, chosen.last.part)
    };
    assert_eq!(replay(RecoveryTarget::Latest), (2, 11));
    assert_eq!(replay(RecoveryTarget::Immediate), (2, 3));
    // The first commit that is later than minute 5 is in segment 6.
    assert_eq!(replay(RecoveryTarget::Time(minute(5))), (2, 6));
    assert_eq!(replay(RecoveryTarget::Lsn(lsn(7.2))), (2, 8));
}

#[test]
fn a_moment_that_another_timeline_has_is_refused_with_its_number() {
    // Timeline 1 went on after timeline 2 had left it, and on that nothing was committed yet.
    let mut objects = branched();
    objects.retain(|object| object.file.timeline().get() == 1 || object.segment().is_none());
    let archive = archive(objects);
    let snapshots = [snapshot(1, 1, 3, 4)];
    let on = |timeline| RecoveryRequest {
        timeline: Some(Timeline::new(timeline)),
        ..request(RecoveryTarget::Lsn(lsn(6.5)))
    };
    let chosen = choose(&on(1), &snapshots, &archive).unwrap();
    assert_eq!(chosen.timeline.get(), 1);
    let refused = choose(&on(2), &snapshots, &archive).unwrap_err();
    let hint = refused.hint().unwrap();
    assert!(hint.contains("add `--timeline 1`"), "{hint}");
}

#[test]
fn a_target_in_or_behind_a_gap_is_refused_and_what_is_recoverable_is_told() {
    let snapshots = [snapshot(1, 1, 2, 2)];
    let archive = archive(whole(1, [2, 3, 6, 7]));
    for target in [
        RecoveryTarget::Latest,
        RecoveryTarget::Time(minute(5)),
        RecoveryTarget::Time(minute(6)),
        RecoveryTarget::Lsn(lsn(4.5)),
        RecoveryTarget::Lsn(lsn(7.5)),
        RecoveryTarget::Xid(900),
    ] {
        let refused = choose(&request(target.clone()), &snapshots, &archive).unwrap_err();
        assert!(
            matches!(refused.why, Unreachable::InGap(gap) if gap.segments == 2),
            "{refused}"
        );
        assert_eq!(refused.intervals.len(), 1);
        assert!(
            refused.to_string().contains("`000000010000000000000004`"),
            "{refused}"
        );
        assert!(refused.hint().unwrap().contains("LSN 0/280000 to 0/400000"));
    }
    assert_eq!(
        reached(RecoveryTarget::Lsn(lsn(3.9)), &snapshots, &archive),
        Ok(1)
    );
    assert_eq!(
        reached(RecoveryTarget::Immediate, &snapshots, &archive),
        Ok(1)
    );
    assert_eq!(
        reached(RecoveryTarget::Latest, &[], &archive),
        Err(Unreachable::NoSnapshot)
    );
}

/// Timeline 1 was left at 5.5 for timeline 2, but its server went on.
fn branched() -> Vec<WalObject> {
    let mut objects = whole(1, 2..8);
    objects.extend(whole(2, 5..9));
    objects.push(history(2, 1, lsn(5.5)));
    objects
}

#[test]
fn a_recovery_follows_the_newest_timeline_from_a_snapshot_of_its_ancestors() {
    let archive = archive(branched());
    let snapshots = [snapshot(1, 1, 3, 4)];
    let chosen = choose(&request(RecoveryTarget::Latest), &snapshots, &archive).unwrap();
    assert_eq!((number(chosen.snapshot), chosen.timeline.get()), (1, 2));
    assert_eq!(chosen.first.to_string(), "000000010000000000000003");
    assert_eq!(chosen.last.to_string(), "000000020000000000000008");
    let path: Vec<(u32, u64)> = chosen
        .segments
        .iter()
        .map(|segment| (segment.timeline.get(), segment.number(SIZE)))
        .collect();
    assert_eq!(path, [(1, 3), (1, 4), (2, 5), (2, 6), (2, 7), (2, 8)]);
    // What a snapshot brings along is not counted on.
    let mut brings = snapshots;
    brings[0].wal.embedded = true;
    let immediate = request(RecoveryTarget::Immediate);
    let chosen = choose(&immediate, &brings, &archive).unwrap();
    assert_eq!(chosen.segments, []);
    let chosen = choose(&request(RecoveryTarget::Latest), &brings, &archive).unwrap();
    assert_eq!(chosen.segments.len(), 5);
    let found = coverage(&snapshots, &archive);
    let ends: Vec<(u32, Lsn)> = found
        .intervals
        .iter()
        .map(|interval| (interval.timeline.get(), interval.to))
        .collect();
    assert_eq!(ends, [(1, lsn(8.0)), (2, lsn(9.0))]);
}

#[test]
fn a_snapshot_behind_the_branch_is_not_on_the_new_timeline() {
    let archive = archive(branched());
    let behind = [snapshot(1, 1, 5, 6)];
    assert_eq!(
        reached(RecoveryTarget::Latest, &behind, &archive),
        Err(Unreachable::NotOnTimeline)
    );
    let on_its_own = RecoveryRequest {
        timeline: Some(Timeline::new(1)),
        ..request(RecoveryTarget::Latest)
    };
    let chosen = choose(&on_its_own, &behind, &archive).unwrap();
    assert_eq!(chosen.last.to_string(), "000000010000000000000007");
    // A snapshot that is asked for by name is followed along its own timeline.
    let named = RecoveryTarget::Snapshot(behind[0].id);
    assert_eq!(reached(named, &behind, &archive), Ok(1));
}

#[test]
fn without_its_history_nobody_can_say_what_a_timeline_descends_from() {
    let mut objects = branched();
    objects.retain(|object| object.branch.is_none());
    assert_eq!(
        reached(
            RecoveryTarget::Latest,
            &[snapshot(1, 1, 3, 4)],
            &archive(objects)
        ),
        Err(Unreachable::HistoryMissing(Timeline::new(2)))
    );
}

#[test]
fn the_left_timeline_serves_a_segment_only_up_to_the_branch() {
    let mut objects = branched();
    let missing = object(2, 5).file;
    objects.retain(|object| object.file != missing);
    let found = coverage(&[snapshot(1, 1, 3, 4)], &archive(objects));
    let on_two = found
        .intervals
        .iter()
        .find(|interval| interval.timeline.get() == 2)
        .unwrap();
    assert_eq!(on_two.to, lsn(5.5));
}

#[test]
fn histories_that_form_a_ring_end_the_search() {
    let mut objects = branched();
    objects.push(history(1, 2, lsn(1.0)));
    let chosen = choose(
        &request(RecoveryTarget::Latest),
        &[snapshot(1, 1, 3, 4)],
        &archive(objects),
    );
    assert_eq!(chosen.unwrap().timeline.get(), 2);
}

/// What `decide_wal` does with whole segments of timeline 1, by number.
fn kept(
    snapshots: &[SnapshotWal],
    numbers: std::ops::Range<u64>,
    keep: WalKeep,
    now: i64,
) -> Vec<u64> {
    let objects = whole(1, numbers);
    let decisions = decide_wal(snapshots, &objects, keep, minute(now));
    let kept = decisions.iter().filter(|decision| decision.reason.keeps());
    kept.map(|decision| decision.object.segment().unwrap().number(SIZE))
        .collect()
}

fn window(minutes: u64) -> WalKeep {
    WalKeep {
        point_in_time: Some(Duration::from_secs(minutes * 60)),
        unreadable: 0,
    }
}

#[test]
fn the_window_keeps_all_from_the_snapshot_that_serves_it_and_older_ones_their_restore_points() {
    let snapshots = [
        snapshot(1, 1, 2, 3),
        snapshot(2, 1, 10, 11),
        snapshot(3, 1, 20, 20),
        snapshot(4, 1, 30, 30),
    ];
    let numbers =
        |parts: &[std::ops::Range<u64>]| -> Vec<u64> { parts.iter().cloned().flatten().collect() };
    // The window begins at minute 25: the snapshot of minute 20 serves it.
    assert_eq!(
        kept(&snapshots, 0..40, window(15), 40),
        numbers(&[2..4, 10..12, 20..40])
    );
    // Exactly at its minute it serves as well.
    assert_eq!(
        kept(&snapshots, 0..40, window(20), 40),
        numbers(&[2..4, 10..12, 20..40])
    );
    assert_eq!(
        kept(&snapshots, 0..40, window(21), 40),
        numbers(&[2..4, 10..40])
    );
    // Older than every snapshot: all from the oldest on.
    assert_eq!(kept(&snapshots, 0..40, window(400), 40), numbers(&[2..40]));
    let points_only = WalKeep::default();
    assert_eq!(
        kept(&snapshots, 0..40, points_only, 40),
        numbers(&[2..4, 10..12, 20..21, 30..40])
    );
    let archive = archive(whole(1, 0..40));
    let bases = window_bases(&snapshots, &archive, window(15).point_in_time, minute(40));
    assert_eq!(Vec::from_iter(bases), [snapshots[2].id]);
}

#[test]
fn an_embedded_snapshot_needs_no_log_but_serves_the_window() {
    let mut old = snapshot(1, 1, 2, 3);
    old.wal.embedded = true;
    let new = snapshot(2, 1, 8, 8);
    assert_eq!(kept(&[old, new], 0..10, window(1), 10), [8, 9]);
    assert_eq!(kept(&[old, new], 0..5, window(5), 10), [2, 3, 4]);
}

#[test]
fn nothing_goes_while_anything_is_in_doubt() {
    let all: Vec<u64> = (0..10).collect();
    let snapshots = [snapshot(1, 1, 8, 8)];
    assert_eq!(kept(&snapshots, 0..10, window(1), 20), [8, 9]);
    assert_eq!(kept(&[], 0..10, window(1), 20), all, "no snapshot");
    assert_eq!(
        kept(&snapshots, 0..10, window(1), 7),
        all,
        "from the future"
    );
    let damaged = WalKeep {
        unreadable: 1,
        ..window(1)
    };
    assert_eq!(
        kept(&snapshots, 0..10, damaged, 20),
        all,
        "a damaged record"
    );
}

#[test]
fn a_younger_snapshot_at_a_lower_position_keeps_its_log() {
    // A recovery to position 5 began timeline 2, and a backup of that was taken.
    let mut later = snapshot(2, 2, 6, 6);
    later.instant = minute(50);
    let snapshots = [snapshot(1, 1, 20, 20), later];
    let mut objects = whole(2, 4..9);
    objects.push(history(2, 1, lsn(5.5)));
    let decisions = decide_wal(&snapshots, &objects, window(10), minute(55));
    for decision in &decisions {
        let older = decision
            .object
            .segment()
            .is_some_and(|segment| segment.number(SIZE) < 6);
        assert_eq!(decision.reason.keeps(), !older, "{decision:?}");
    }
}

#[test]
fn the_live_timeline_keeps_the_snapshot_and_the_log_that_lead_to_it() {
    // A recovery to position 5.5 began timeline 2, which has no backup of its own yet.
    let snapshots = [snapshot(1, 1, 2, 3), snapshot(2, 1, 7, 7)];
    let mut objects = branched();
    for object in &mut objects {
        object.newest_commit = object.newest_commit.map(|_| minute(30));
    }
    objects.sort_by_key(WalObject::order);
    let bases = window_bases(&snapshots, &archive(objects.clone()), None, minute(40));
    assert_eq!(Vec::from_iter(bases), [snapshots[0].id, snapshots[1].id]);
    let decisions = decide_wal(&snapshots, &objects, WalKeep::default(), minute(40));
    assert!(
        decisions.iter().all(|decision| decision.reason.keeps()),
        "{decisions:?}"
    );
}

#[test]
fn what_a_new_timeline_wrote_stays_until_a_snapshot_is_taken_on_it() {
    let snapshots = [snapshot(1, 1, 20, 20)];
    for decision in decide_wal(&snapshots, &whole(2, 4..9), window(10), minute(55)) {
        assert_eq!(decision.reason, WalReason::NewTimeline(Timeline::new(2)));
    }
}

#[test]
fn pieces_go_once_a_whole_segment_or_a_larger_piece_holds_them_and_histories_stay() {
    let mut objects = vec![
        object(1, 9),
        piece(1, 9, 0, 100),
        piece(1, 10, 0, 100),
        piece(1, 10, 0, 300),
        piece(1, 10, 300, 400),
        history(2, 1, lsn(1.0)),
    ];
    // Two servers wrote segment 11.
    let other = WalContentId::from_bytes([2; 16]);
    objects.extend([object(1, 11), piece(1, 11, 0, 100)]);
    objects.push(WalObject {
        content: other,
        ..object(1, 11)
    });
    objects.sort_by_key(WalObject::order);
    let snapshots = [snapshot(1, 1, 8, 8)];
    let decisions = decide_wal(&snapshots, &objects, window(1), minute(20));
    let gone: Vec<_> = decisions
        .iter()
        .filter(|decision| !decision.reason.keeps())
        .map(|decision| {
            (
                decision.object.segment().unwrap().part,
                decision.object.piece.clone(),
            )
        })
        .collect();
    assert_eq!(gone, [(9, Some(0..100)), (10, Some(0..100))]);
    let conflicts = decisions.iter().filter(|d| d.reason == WalReason::Conflict);
    assert_eq!(conflicts.count(), 3);
}

proptest! {
    /// Whatever was recoverable within the window still is after everything else has gone, and every
    /// snapshot that stays still is consistent.
    #[test]
    fn what_retention_deletes_takes_no_point_of_the_window_and_no_snapshot(
        starts in prop::collection::btree_set(0_u64..40, 1..6),
        missing in prop::collection::btree_set(0_u64..50, 0..4),
        minutes in 0_u64..60,
        branch in prop::option::of(0_u64..40),
    ) {
        let now = 50;
        let snapshots: Vec<SnapshotWal> = starts
            .iter()
            .map(|start| snapshot(*start as u8 + 1, 1, *start, start + 1))
            .collect();
        let mut objects = whole(1, (0..50).filter(|n| !missing.contains(n)));
        if let Some(at) = branch {
            objects.extend(whole(2, at..50));
            objects.push(history(2, 1, lsn(at as f64 + 0.5)));
        }
        objects.sort_by_key(WalObject::order);
        let decisions = decide_wal(&snapshots, &objects, window(minutes), minute(now));
        let left: Vec<WalObject> = decisions
            .iter()
            .filter(|decision| decision.reason.keeps())
            .map(|decision| decision.object.clone())
            .collect();
        let (before, after) = (WalArchive::new(SIZE, &objects), WalArchive::new(SIZE, &left));
        prop_assert_eq!(coverage(&snapshots, &before).lost, coverage(&snapshots, &after).lost);
        for timeline in [1, 2].map(Timeline::new) {
            for at in now - minutes as i64..now {
                let target = RecoveryRequest {
                    timeline: Some(timeline),
                    ..request(RecoveryTarget::Time(minute(at)))
                };
                let chosen = |archive| choose(&target, &snapshots, archive).ok();
                prop_assert_eq!(chosen(&before), chosen(&after), "minute {}", at);
            }
        }
    }

    /// Every position of an interval is chosen for, none outside is, and what is chosen is there.
    #[test]
    fn intervals_are_exactly_what_can_be_chosen(
        starts in prop::collection::btree_set(0_u64..20, 1..4),
        missing in prop::collection::btree_set(0_u64..24, 0..5),
        tenth in 0_u64..260,
    ) {
        let snapshots: Vec<SnapshotWal> = starts
            .iter()
            .map(|start| snapshot(*start as u8 + 1, 1, *start, start + 1))
            .collect();
        let archive = archive(whole(1, (0..24).filter(|n| !missing.contains(n))));
        let at = Lsn::new(tenth * LEN / 10);
        let covered = coverage(&snapshots, &archive)
            .intervals
            .iter()
            .any(|interval| interval.from <= at && at < interval.to);
        let chosen = choose(&request(RecoveryTarget::Lsn(at)), &snapshots, &archive);
        prop_assert_eq!(chosen.is_ok(), covered, "{:?}", &chosen);
        if let Ok(chosen) = chosen {
            for number in chosen.first.number(SIZE)..=at.get() / LEN {
                prop_assert!(!missing.contains(&number));
            }
        }
    }
}

//! Records made by hand, cut everywhere; the real log is compared with `pg_waldump` in the tests of
//! the whole crate.

use lifeboat_model::Lsn;
use proptest::prelude::*;

use super::*;

const SEGMENT: SegmentSize = SegmentSize::new(1 << 20).expect("a power of two");
const START: u64 = 3 << 20;
/// 2026-01-02T03:04:05Z in PostgreSQL's count.
const TIME: i64 = 820_638_245_000_000;

/// Writes records into pages as PostgreSQL does.
struct Writer {
    log: Vec<u8>,
    previous: u64,
}

impl Writer {
    fn new() -> Self {
        let log = Vec::new();
        let previous = START - 8;
        Self { log, previous }
    }

    fn position(&self) -> u64 {
        START + self.log.len() as u64
    }

    fn page_header(&mut self, remaining: u32) {
        let long = self.position().is_multiple_of(1 << 20);
        let flags = u16::from(remaining > 0) | if long { super::super::page::LONG } else { 0 };
        let position = self.position();
        self.log.extend(0xD110_u16.to_le_bytes());
        self.log.extend(flags.to_le_bytes());
        self.log.extend(1_u32.to_le_bytes());
        self.log.extend(position.to_le_bytes());
        self.log.extend(u64::from(remaining).to_le_bytes());
        if long {
            self.log.extend(7_u64.to_le_bytes());
            self.log.extend((1_u32 << 20).to_le_bytes());
            self.log.extend(8192_u32.to_le_bytes());
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            if self.position().is_multiple_of(8192) {
                let remaining = if at == 0 { 0 } else { bytes.len() - at };
                self.page_header(remaining as u32);
            }
            self.log.push(*byte);
        }
    }

    fn record(&mut self, rmgr: u8, info: u8, main: &[u8]) -> u64 {
        if self.position().is_multiple_of(8192) {
            self.page_header(0);
        }
        let start = self.position();
        let mut data = vec![254];
        data.extend((main.len() as u32).to_le_bytes());
        data.extend(main);
        let mut record = Vec::new();
        record.extend(((HEADER + data.len()) as u32).to_le_bytes());
        record.extend(9_u32.to_le_bytes());
        record.extend(self.previous.to_le_bytes());
        record.extend([info, rmgr, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&data), &record);
        record.extend(crc.to_le_bytes());
        record.extend(data);
        self.raw(&record);
        self.previous = start;
        while !self.position().is_multiple_of(8) {
            self.log.push(0);
        }
        self.position()
    }

    fn commit(&mut self, seconds: i64, padding: usize) -> u64 {
        let mut main = (TIME + seconds * 1_000_000).to_le_bytes().to_vec();
        main.resize(8 + padding, 0x5A);
        self.record(RMGR_XACT, 0x00, &main)
    }

    fn restore_point(&mut self, name: &str) -> u64 {
        let mut main = TIME.to_le_bytes().to_vec();
        main.extend(name.as_bytes());
        main.resize(72, 0);
        self.record(RMGR_XLOG, 0x70, &main)
    }
}

fn sample() -> (Vec<u8>, u64) {
    let mut writer = Writer::new();
    writer.commit(0, 9_000);
    writer.restore_point("before the release");
    for turn in 1..40 {
        writer.commit(turn, (turn * 97) as usize);
    }
    writer.record(RMGR_XACT, 0x20, &TIME.to_le_bytes());
    let end = writer.record(RMGR_XACT, 0x30, &(TIME - 1).to_le_bytes());
    (writer.log, end)
}

#[test]
fn commits_and_restore_points_are_found_across_pages() {
    let (log, end) = sample();
    let scanned = scan_segment(&log, Lsn::new(START), SEGMENT);
    assert_eq!(scanned.end, None);
    assert_eq!(scanned.valid_end, Lsn::new(end));
    assert_eq!((scanned.commits, scanned.aborts), (41, 1));
    let newest = scanned.newest_commit.unwrap().at;
    assert_eq!(newest.to_string(), "2026-01-02T03:04:44Z");
    assert_eq!(scanned.restore_points[0].name, "before the release");
}

#[test]
fn zeros_garbage_and_flipped_bits_end_the_records() {
    let (log, end) = sample();
    let scan = |bytes: &[u8]| scan_segment(bytes, Lsn::new(START), SEGMENT);
    let mut zeros = log.clone();
    zeros.resize(1 << 20, 0);
    assert_eq!(scan(&zeros).end, Some(ScanEnd::EndOfLog));
    assert_eq!(scan(&zeros).valid_end, Lsn::new(end));
    let mut flipped = log.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let at = flipped.len() - 9;
    flipped[at] ^= 1;
    assert_eq!(scan(&flipped).end, Some(ScanEnd::BadRecord));
    assert_eq!(scan(&flipped).commits, 40);
    let mut garbage = log;
    garbage.resize(garbage.len() + 100, 0xFF);
    assert_eq!(scan(&garbage).end, Some(ScanEnd::BadRecord));
}

#[test]
fn a_switch_uses_up_its_segment_and_the_next_one_goes_on() {
    let mut writer = Writer::new();
    writer.commit(0, 10);
    writer.record(RMGR_XLOG, 0x40, &[]);
    let scanned = scan_segment(&writer.log, Lsn::new(START), SEGMENT);
    assert_eq!(scanned.valid_end, Lsn::new(START + (1 << 20)));
    writer.log.resize(1 << 20, 0);
    writer.commit(1, 10);
    let scanned = scan_segment(&writer.log, Lsn::new(START), SEGMENT);
    assert_eq!((scanned.commits, scanned.end), (2, None));
}

#[test]
fn a_segment_that_begins_within_a_record_is_read_from_the_next_one() {
    let mut writer = Writer::new();
    writer.commit(0, (1 << 20) + 100);
    writer.commit(1, 0);
    let second = &writer.log[1 << 20..];
    let scanned = scan_segment(second, Lsn::new(START + (1 << 20)), SEGMENT);
    assert_eq!((scanned.commits, scanned.end), (1, None));
    assert_eq!(scanned.valid_end.get(), writer.position());
}

#[test]
fn a_record_left_by_an_older_use_of_the_file_does_not_count() {
    let mut writer = Writer::new();
    writer.commit(0, 0);
    writer.previous -= 64;
    writer.commit(99, 0);
    let scanned = scan_segment(&writer.log, Lsn::new(START), SEGMENT);
    assert_eq!((scanned.commits, scanned.end), (1, Some(ScanEnd::EndOfLog)));
}

proptest! {
    #[test]
    fn pieces_of_any_length_say_the_same_as_the_whole(cuts in proptest::collection::vec(0_usize..9_000, 0..40)) {
        let (log, _) = sample();
        let whole = scan_segment(&log, Lsn::new(START), SEGMENT);
        let mut scanner = RecordScanner::new(Lsn::new(START), SEGMENT, BlockSize::DEFAULT);
        let mut rest = &log[..];
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            scanner.feed(piece);
            rest = after;
        }
        scanner.feed(rest);
        prop_assert_eq!(scanner.finish(), whole);
    }

    #[test]
    fn arbitrary_damage_never_panics_and_never_adds_records(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        start in any::<u64>(),
    ) {
        let (mut log, _) = sample();
        let sound = scan_segment(&log, Lsn::new(START), SEGMENT);
        for (at, value) in damage {
            let at = at.index(log.len());
            log[at] = value;
        }
        let scanned = scan_segment(&log, Lsn::new(START), SEGMENT);
        prop_assert!(scanned.records <= sound.records);
        // Anywhere in the log, up to its very end.
        scan_segment(&log, Lsn::new(start), SEGMENT);
    }
}

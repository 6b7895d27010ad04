//! Records of the write-ahead log: how far they go, when the newest transaction was committed, and
//! which restore points were set.
//!
//! The scanner takes the log in pieces of any length and keeps a few hundred bytes between them, so
//! that a record may cross pages, segments and pieces. It follows the layout of `xlogrecord.h` and
//! `xact.h`, which versions 13 to 18 share in what is read here.

use jiff::Timestamp;
use lifeboat_model::{Lsn, SegmentSize, Timeline};

use super::page::{
    BlockSize, FIRST_IS_CONTINUATION, FIRST_IS_OVERWRITE, LONG_HEADER, PageHeader, SHORT_HEADER,
    u32_at, u64_at,
};

/// Length of a record's header, `SizeOfXLogRecord`.
const HEADER: usize = 24;
/// Where in the header the checksum is. It covers the data first, then the header up to itself.
const CRC_AT: usize = 20;
/// How much of a record is kept. What is read of one lies within its first 120 bytes.
const PREFIX: usize = 256;
/// `XLogRecordMaxSize`: longer ones are garbage.
const RECORD_MAX: u32 = 1020 << 20;

const RMGR_XLOG: u8 = 0;
const RMGR_XACT: u8 = 1;

/// A restore point, set by `pg_create_restore_point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePoint {
    /// Its name.
    pub name: String,
    /// When it was set.
    pub at: Timestamp,
    /// The end of its record: where recovery to it stops.
    pub end: Lsn,
}

/// The commit with the newest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// The end of its record: the log up to here restores it.
    pub end: Lsn,
}

/// Why records end where they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanEnd {
    /// Nothing was written behind the last record: zeros, or what an older use of the file left.
    EndOfLog,
    /// A record does not match its checksum or its length is impossible.
    BadRecord,
    /// A page is not where it says, or is of a version that is not known.
    BadPage,
}

/// What was seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The newest commit.
    pub newest_commit: Option<Committed>,
    /// How many transactions were committed.
    pub commits: u64,
    /// How many were rolled back.
    pub aborts: u64,
    /// Restore points, in order; at most [`Scanned::RESTORE_POINTS_MAX`].
    pub restore_points: Vec<RestorePoint>,
    /// How many records were whole and sound.
    pub records: u64,
    /// The timeline of the newest page.
    pub timeline: Option<Timeline>,
    /// The end of the last whole record, or of the segment that it closed.
    pub valid_end: Lsn,
    /// Why scanning ended, if it did before the bytes.
    pub end: Option<ScanEnd>,
}

impl Scanned {
    /// How many restore points are remembered: more in one scan are somebody's mistake.
    pub const RESTORE_POINTS_MAX: usize = 1024;
}

/// Reads records out of pieces of the log that follow each other.
#[derive(Debug)]
pub struct RecordScanner {
    block: u64,
    segment: u64,
    position: u64,
    state: State,
    page_header: Partial<LONG_HEADER>,
    record: Record,
    previous: Option<u64>,
    scanned: Scanned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first record: `left` bytes belong to one that began earlier.
    Skipping { left: u64 },
    /// At a place where a record may begin, after padding.
    Between,
    /// Within a record.
    Inside,
    /// Behind a switch: nothing more in this segment.
    Switched,
    /// Nothing more to be had.
    Ended,
}

/// A few bytes that may come in several pieces.
#[derive(Debug)]
struct Partial<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Partial<N> {
    const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Takes from `bytes` until `wanted` are here; returns how many it took.
    fn fill(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let take = wanted.saturating_sub(self.len).min(bytes.len());
        self.bytes[self.len..self.len + take].copy_from_slice(&bytes[..take]);
        self.len += take;
        take
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The record being read.
#[derive(Debug)]
struct Record {
    start: u64,
    seen: u64,
    total: u64,
    prefix: Partial<PREFIX>,
    data_crc: u32,
}

impl Record {
    const fn new() -> Self {
        Self {
            start: 0,
            seen: 0,
            total: 0,
            prefix: Partial::new(),
            data_crc: 0,
        }
    }

    /// Takes bytes that are all of this record.
    fn take(&mut self, bytes: &[u8]) {
        self.prefix.fill(bytes, PREFIX);
        let of_header = (HEADER as u64)
            .saturating_sub(self.seen)
            .min(bytes.len() as u64);
        self.data_crc = crc32c::crc32c_append(self.data_crc, &bytes[of_header as usize..]);
        self.seen += bytes.len() as u64;
    }

    /// Returns its length once that is known: the first four bytes never cross a page.
    fn announced(&self) -> Option<u32> {
        u32_at(self.prefix.get(), 0)
    }

    fn is_sound(&self) -> bool {
        let header = self.prefix.get();
        let Some(crc) = u32_at(header, CRC_AT) else {
            return false;
        };
        crc32c::crc32c_append(self.data_crc, &header[..CRC_AT]) == crc
    }

    fn previous(&self) -> Option<u64> {
        u64_at(self.prefix.get(), 8)
    }

    /// Returns the resource manager and its operation.
    fn kind(&self) -> (u8, u8) {
        let header = self.prefix.get();
        (header[17], header[16] & 0xF0)
    }

    /// Returns the main data as far as it was kept, if the record touches no blocks. Those that are
    /// of interest do not.
    fn main_data(&self) -> Option<&[u8]> {
        let bytes = self.prefix.get();
        let mut at = HEADER;
        loop {
            let id = *bytes.get(at)?;
            at += 1;
            match id {
                // XLR_BLOCK_ID_DATA_SHORT and _LONG come last; the data follow.
                255 => return bytes.get(at + 1..),
                254 => return bytes.get(at + 4..),
                // XLR_BLOCK_ID_ORIGIN and _TOPLEVEL_XID.
                253 => at += 2,
                252 => at += 4,
                _ => return None,
            }
        }
    }
}

impl RecordScanner {
    /// Scans from `start`, where a segment, a page or a record begins.
    pub fn new(start: Lsn, segment: SegmentSize, block: BlockSize) -> Self {
        let block = u64::from(block.bytes());
        let on_page = start.get().is_multiple_of(block);
        // No log is longer than half of what its positions can count, so sums cannot overflow.
        let impossible = start.get() > u64::MAX / 2;
        Self {
            block,
            segment: u64::from(segment.bytes()),
            position: start.get(),
            state: if impossible {
                State::Ended
            } else if on_page {
                State::Skipping { left: 0 }
            } else {
                State::Between
            },
            page_header: Partial::new(),
            record: Record::new(),
            previous: None,
            scanned: Scanned {
                valid_end: start,
                end: impossible.then_some(ScanEnd::BadPage),
                ..Scanned::default()
            },
        }
    }

    /// Returns what was seen so far.
    pub const fn scanned(&self) -> &Scanned {
        &self.scanned
    }

    /// Returns what was seen.
    pub fn finish(self) -> Scanned {
        self.scanned
    }

    /// Takes the bytes that follow those before.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state != State::Ended {
            let took = if self.state == State::Switched {
                self.pass_switch(bytes)
            } else if self.in_page_header() {
                self.take_page_header(bytes)
            } else {
                self.take_content(bytes)
            };
            self.position += took as u64;
            bytes = &bytes[took..];
            self.close_page_header();
        }
    }

    fn end(&mut self, why: ScanEnd) {
        self.state = State::Ended;
        self.scanned.end = Some(why);
    }

    fn left_in_page(&self) -> u64 {
        self.block - self.position % self.block
    }

    fn header_len(&self) -> usize {
        let page = self.position - self.position % self.block;
        if page.is_multiple_of(self.segment) {
            LONG_HEADER
        } else {
            SHORT_HEADER
        }
    }

    fn in_page_header(&self) -> bool {
        let into = self.position % self.block;
        into == self.page_header.len as u64 && into < self.header_len() as u64
    }

    fn take_page_header(&mut self, bytes: &[u8]) -> usize {
        self.page_header.fill(bytes, self.header_len())
    }

    /// Judges a page's header once it is whole.
    fn close_page_header(&mut self) {
        if self.page_header.len == 0 || self.page_header.len < self.header_len() {
            return;
        }
        let header = PageHeader::read(self.page_header.get());
        self.page_header.len = 0;
        let page = self.position - self.position % self.block;
        let sound = |header: &PageHeader| {
            header.magic.major_version().is_some() && header.len() == self.header_len()
        };
        match header {
            Some(header) if sound(&header) && header.start.get() == page => {
                self.enter_page(&header);
            }
            Some(header) if header.magic.major_version().is_some() || is_blank(&header) => {
                self.end(ScanEnd::EndOfLog);
            }
            _ => self.end(ScanEnd::BadPage),
        }
    }

    fn enter_page(&mut self, header: &PageHeader) {
        self.scanned.timeline = Some(header.timeline);
        let continues = header.flags & FIRST_IS_CONTINUATION != 0;
        match self.state {
            State::Inside if continues => {
                if u64::from(header.remaining) != self.record.total - self.record.seen {
                    self.end(ScanEnd::EndOfLog);
                }
            }
            State::Inside if header.flags & FIRST_IS_OVERWRITE != 0 => {
                self.state = State::Between;
                self.previous = None;
            }
            State::Inside => self.end(ScanEnd::EndOfLog),
            State::Skipping { left: 0 } if continues => {
                self.state = State::Skipping {
                    left: u64::from(header.remaining),
                };
            }
            State::Skipping { left } if continues && left == u64::from(header.remaining) => {}
            State::Skipping { left: 0 } => self.state = State::Between,
            State::Skipping { .. } if header.flags & FIRST_IS_OVERWRITE != 0 => {
                self.state = State::Between;
            }
            State::Skipping { .. } => self.end(ScanEnd::EndOfLog),
            State::Between | State::Switched | State::Ended => {}
        }
    }

    /// Passes over what a switch left empty. The headers of these pages may be zeros.
    fn pass_switch(&mut self, bytes: &[u8]) -> usize {
        let left = self.segment - self.position % self.segment;
        let take = left.min(bytes.len() as u64);
        if take == left {
            self.state = State::Between;
        }
        take as usize
    }

    fn take_content(&mut self, bytes: &[u8]) -> usize {
        let here = &bytes[..self.left_in_page().min(bytes.len() as u64) as usize];
        match self.state {
            State::Skipping { left } => {
                let take = left.min(here.len() as u64);
                self.state = if take == left {
                    State::Between
                } else {
                    State::Skipping { left: left - take }
                };
                take as usize
            }
            State::Between => self.begin_record(here),
            State::Inside => self.continue_record(here),
            State::Switched | State::Ended => here.len(),
        }
    }

    /// Passes padding up to the next multiple of eight, then begins a record.
    fn begin_record(&mut self, here: &[u8]) -> usize {
        let padding = self.position.next_multiple_of(8) - self.position;
        if padding > 0 {
            return padding.min(here.len() as u64) as usize;
        }
        self.record = Record::new();
        self.record.start = self.position;
        self.state = State::Inside;
        0
    }

    fn continue_record(&mut self, here: &[u8]) -> usize {
        if self.record.seen < 4 {
            return self.take_length(here);
        }
        let take = (self.record.total - self.record.seen).min(here.len() as u64) as usize;
        self.record.take(&here[..take]);
        if self.record.seen == self.record.total {
            self.close_record(self.position + take as u64);
        }
        take
    }

    fn take_length(&mut self, here: &[u8]) -> usize {
        let take = here.len().min(4 - self.record.seen as usize);
        self.record.take(&here[..take]);
        match self.record.announced() {
            None => {}
            Some(0) => self.end(ScanEnd::EndOfLog),
            Some(total) if (total as usize) < HEADER || total > RECORD_MAX => {
                self.end(ScanEnd::BadRecord);
            }
            Some(total) => self.record.total = u64::from(total),
        }
        take
    }

    fn close_record(&mut self, end: u64) {
        let follows = match self.previous {
            Some(previous) => self.record.previous() == Some(previous),
            None => self
                .record
                .previous()
                .is_some_and(|at| at < self.record.start),
        };
        if !self.record.is_sound() {
            return self.end(ScanEnd::BadRecord);
        }
        // An older use of the file may have left a record that is sound, but has another predecessor.
        if !follows {
            return self.end(ScanEnd::EndOfLog);
        }
        self.previous = Some(self.record.start);
        self.scanned.records += 1;
        self.scanned.valid_end = Lsn::new(end.next_multiple_of(8));
        self.state = State::Between;
        match self.record.kind() {
            (RMGR_XLOG, 0x40) => self.close_segment(end),
            (RMGR_XLOG, 0x70) => self.note_restore_point(),
            (RMGR_XACT, info) => self.note_transaction(info & 0x70),
            _ => {}
        }
    }

    /// A switch uses its segment up; one that ends exactly there leaves nothing to pass over.
    fn close_segment(&mut self, end: u64) {
        let segment_end = end.next_multiple_of(self.segment);
        self.scanned.valid_end = Lsn::new(segment_end);
        if segment_end != end {
            self.state = State::Switched;
        }
    }

    fn note_transaction(&mut self, operation: u8) {
        // XLOG_XACT_COMMIT, _COMMIT_PREPARED; _ABORT, _ABORT_PREPARED.
        match operation {
            0x00 | 0x30 => self.scanned.commits += 1,
            0x20 | 0x40 => {
                self.scanned.aborts += 1;
                return;
            }
            _ => return,
        }
        let at = self.record.main_data().and_then(timestamp);
        let newest = self.scanned.newest_commit;
        if let Some(at) = at.filter(|at| newest.is_none_or(|newest| *at >= newest.at)) {
            let end = self.scanned.valid_end;
            self.scanned.newest_commit = Some(Committed { at, end });
        }
    }

    fn note_restore_point(&mut self) {
        let Some(data) = self.record.main_data() else {
            return;
        };
        let (Some(at), Some(name)) = (timestamp(data), data.get(8..)) else {
            return;
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if self.scanned.restore_points.len() < Scanned::RESTORE_POINTS_MAX {
            self.scanned.restore_points.push(RestorePoint {
                name: String::from_utf8_lossy(&name[..name.len().min(64)]).into_owned(),
                at,
                end: self.scanned.valid_end,
            });
        }
    }
}

/// A page that was never written.
fn is_blank(header: &PageHeader) -> bool {
    header.start == Lsn::new(0) && header.remaining == 0 && header.timeline == Timeline::new(0)
}

/// Microseconds since the start of 2000, UTC.
fn timestamp(data: &[u8]) -> Option<Timestamp> {
    const SINCE_1970: i64 = 946_684_800_000_000;
    let since_2000 = i64::from_le_bytes(data.get(..8)?.try_into().ok()?);
    Timestamp::from_microsecond(since_2000.checked_add(SINCE_1970)?).ok()
}

/// Scans one segment, or the piece of one from its start, that begins at `start`. The page length is
/// taken from its first page where that says one.
pub fn scan_segment(bytes: &[u8], start: Lsn, segment: SegmentSize) -> Scanned {
    let long = PageHeader::read(bytes).and_then(|header| header.segment);
    let block = long.and_then(|long| BlockSize::new(long.block_bytes));
    let mut scanner = RecordScanner::new(start, segment, block.unwrap_or(BlockSize::DEFAULT));
    scanner.feed(bytes);
    scanner.finish()
}

#[cfg(test)]
mod tests;

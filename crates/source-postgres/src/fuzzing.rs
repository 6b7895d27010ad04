//! Doors for the fuzz targets in `fuzz/`: what a server, a disk or a person wrote, through the real
//! parsers.
//!
//! Built for tests and under `--cfg fuzzing` only. Each door returns whether the bytes were taken for
//! whole, so that a test can tell that the seeds in `fuzz/seeds` still get there.

use lifeboat_model::{Lsn, SegmentSize, SystemId, Timeline, WalFileName};

use crate::conninfo::{Conninfo, Surroundings};
use crate::wal::{
    BlockSize, PageHeader, RecordScanner, Scanned, TimelineHistory, check_segment, scan_segment,
};

pub use crate::replication::fuzzing::{archive, messages};

/// Scans records, at once and in pieces, which must say the same.
pub fn log(bytes: &[u8]) -> bool {
    let segment: WalFileName = "000000010000000000000001".parse().expect("it is a name");
    // It is too short for a segment, but may be anything else before that is found.
    check_segment(bytes, &segment, SystemId::new(1)).ok();
    let start = PageHeader::read(bytes).map_or(Lsn::default(), |header| header.start);
    let size = SegmentSize::DEFAULT;
    let whole = scan_segment(bytes, start, size);
    let long = PageHeader::read(bytes).and_then(|header| header.segment);
    let block = long.and_then(|long| BlockSize::new(long.block_bytes));
    let step = bytes.first().map_or(1, |byte| usize::from(*byte).max(1));
    let mut scanner = RecordScanner::new(start, size, block.unwrap_or(BlockSize::DEFAULT));
    for piece in bytes.chunks(step) {
        scanner.feed(piece);
    }
    assert_eq!(scanner.finish(), whole);
    let Scanned { restore_points, .. } = &whole;
    assert!(restore_points.len() <= Scanned::RESTORE_POINTS_MAX);
    assert!(whole.valid_end.get() <= start.get().saturating_add(bytes.len() as u64 + (16 << 20)));
    whole.records > 0
}

/// Reads the history of a timeline, and asks it about places of the log.
pub fn history(text: &[u8]) -> bool {
    let Ok(history) = TimelineHistory::parse(Timeline::new(9), text) else {
        return false;
    };
    for line in history.ancestors() {
        assert_eq!(history.end_of(line.timeline), Some(line.end));
        assert!(history.continues(line.timeline, line.end));
    }
    assert!(history.continues(Timeline::new(9), Lsn::new(u64::MAX)));
    !history.ancestors().is_empty()
}

/// Reads a connection string. No file is looked into, and no password shown.
pub fn conninfo(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    // The words that make it read a file, which could be any.
    if ["service", "file", "PASS", "%"]
        .iter()
        .any(|word| text.contains(word))
    {
        return false;
    }
    let parsed = match Conninfo::parse(text, Surroundings::NONE) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    hides_its_password(text, &parsed);
    let written = parsed.to_libpq();
    let again = Conninfo::parse(&written, Surroundings::NONE).expect("what was written is read");
    assert_eq!(again.to_libpq(), written);
    true
}

/// Puts a password that nothing else could be in the place of the one in `text`, and looks for it
/// in all that may be shown.
fn hides_its_password(text: &str, parsed: &Conninfo) {
    const UNLIKELY: &str = "Zx9-Qv7-Kj5-Wp3";
    let Some(password) = parsed.password().map(|password| password.expose()) else {
        return;
    };
    if password.is_empty() || text.matches(password).count() != 1 {
        return;
    }
    let text = text.replacen(password, UNLIKELY, 1);
    let Ok(parsed) = Conninfo::parse(&text, Surroundings::NONE) else {
        return;
    };
    // Where the old one stood for something else too, this is not the password.
    if parsed.password().map(|password| password.expose()) == Some(UNLIKELY) {
        let shown = format!("{parsed} {parsed:?} {}", parsed.to_libpq());
        assert!(!shown.contains(UNLIKELY), "{shown}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Takes bytes, and tells whether they were whole.
    type Door = fn(&[u8]) -> bool;

    const DOORS: [(&str, Door); 5] = [
        ("pg_log", log),
        ("pg_history", history),
        ("pg_conninfo", conninfo),
        ("pg_archive", archive),
        ("pg_messages", messages),
    ];

    #[test]
    fn every_door_takes_a_seed_of_its_own_and_no_seed_breaks_it() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
        for (name, door) in DOORS {
            let files = std::fs::read_dir(seeds.join(name)).unwrap();
            let mut whole = 0;
            for file in files {
                let path = file.unwrap().path();
                let taken = door(&std::fs::read(&path).unwrap());
                // What once broke a parser is called so, and need not be whole.
                let broke = path
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"broke"));
                assert!(taken || broke, "`{}` is not whole", path.display());
                whole += usize::from(taken);
            }
            assert!(whole > 0, "`{name}` has no seed");
        }
    }
}

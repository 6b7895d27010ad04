//! Reads the finished output back and counts what should not be there.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;
use rayon::prelude::*;
use serde_json::Value;

use super::hash_set::{Sorted, identity};
use super::names::NameCounts;
use super::originals::{Originals, Source};
use super::risk::RiskCounts;
use super::tokens::{BYTES_MIN, WORDS_MAX, Words, digits_of};
use crate::batch::{Cell, RowBatch};
use crate::detect::{HitKind, detect};
use crate::mask::{Bound, Reuse, push_signed};
use crate::plan::{ColumnPlan, Plan, TablePlan};

/// Fewest digits of a whole number that is looked at, as of one that is remembered.
const NUMBER_MIN: u64 = 100_000;

/// Values planted in the source, which must be nowhere in the output.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    search: Option<AhoCorasick>,
    count: usize,
}

impl Canaries {
    /// Prepares to look for `planted` values, whatever the case of their letters.
    ///
    /// Empty texts are not looked for.
    pub fn new<T: AsRef<[u8]>>(planted: &[T]) -> Self {
        let planted: Vec<&[u8]> = planted
            .iter()
            .map(AsRef::as_ref)
            .filter(|text| !text.is_empty())
            .collect();
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&planted);
        Self {
            // Only a search of more than 2^31 states cannot be built; `None` is then not verified.
            search: search.ok().filter(|_| !planted.is_empty()),
            count: planted.len(),
        }
    }

    pub(super) fn is_declared(&self) -> bool {
        self.count > 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn is_ready(&self) -> bool {
        self.search.is_some()
    }
}

/// What was found, and in which place of the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) table: String,
    pub(super) column: String,
    pub(super) kind: String,
}

/// Counts by place.
pub(super) type Counts = BTreeMap<Place, u64>;

/// Looks through the output, read back from where it was written.
#[derive(Debug, Clone)]
pub struct OutputScan<'a> {
    plan: &'a Plan,
    originals: &'a Originals,
    pub(super) canaries: &'a Canaries,
    pub(super) found: ScanFindings,
}

/// What a scan has found so far.
#[derive(Debug, Clone)]
pub struct ScanFindings {
    pub(super) rows: Vec<u64>,
    pub(super) cells: u64,
    pub(super) reused: Counts,
    /// Output that equals an original and comes from a public word list.
    pub(super) coincidences: Counts,
    pub(super) detected: Counts,
    /// Finds that a kept column's reason covers.
    pub(super) allowed: Counts,
    pub(super) planted: Counts,
    pub(super) risk: RiskCounts,
    pub(super) names: NameCounts,
    /// Whether rows were looked at before all originals were known.
    pub(super) in_passing: bool,
}

impl ScanFindings {
    /// Starts with nothing found in the output of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self {
            rows: vec![0; plan.tables.len()],
            cells: 0,
            reused: Counts::new(),
            coincidences: Counts::new(),
            detected: Counts::new(),
            allowed: Counts::new(),
            planted: Counts::new(),
            risk: RiskCounts::new(plan),
            names: NameCounts::new(plan),
            in_passing: false,
        }
    }
}

/// Where a text stands and what made it.
#[derive(Clone, Copy)]
struct Origin<'a> {
    table: &'a str,
    column: &'a str,
    allow: &'a [HitKind],
    mask: Option<&'a Bound>,
}

/// What a scan does with the values it meets.
///
/// Nearly all are no originals, and looking each up by itself would wait for memory each time. So a
/// batch is walked once to collect the hashes of its values, which are then looked up together; only
/// if some are originals is it walked again, to say where they stand.
enum Probe {
    Collect(Vec<(u64, u16)>),
    Attribute(HashMap<u64, Source>),
}

/// Buffers that a walk uses again for each cell.
struct Walk {
    probe: Probe,
    words: Words,
    digits: Vec<u8>,
    number: Vec<u8>,
}

impl Walk {
    fn new(probe: Probe) -> Self {
        Self {
            probe,
            words: Words::default(),
            digits: Vec::new(),
            number: Vec::new(),
        }
    }
}

impl<'a> OutputScan<'a> {
    /// Starts a scan for what `originals` remembers and for planted values.
    pub fn new(plan: &'a Plan, originals: &'a Originals, canaries: &'a Canaries) -> Self {
        Self {
            plan,
            originals,
            canaries,
            found: ScanFindings::new(plan),
        }
    }

    /// Goes on with a scan that was put aside by [`OutputScan::pause`].
    ///
    /// For output that cannot be read back: what is scanned is compared with the originals of the
    /// rows read so far, and the report says so.
    pub fn resume(
        plan: &'a Plan,
        originals: &'a Originals,
        canaries: &'a Canaries,
        found: ScanFindings,
    ) -> Self {
        Self {
            plan,
            originals,
            canaries,
            found,
        }
    }

    /// Puts the scan aside, so that more originals can be remembered.
    pub fn pause(mut self) -> ScanFindings {
        self.found.in_passing = true;
        self.found
    }

    /// Looks through rows read back from the output of `table`.
    pub fn scan(&mut self, table: &TablePlan, batch: &RowBatch) {
        self.found.rows[table.index] += batch.len() as u64;
        self.found.cells += batch.slots.len() as u64;
        self.found.risk.observe(self.plan, table, batch);
        self.found.names.observe(table, batch);
        self.walk_twice(|scan, walk| {
            for row in batch.rows() {
                for (cell, column) in row.cells().zip(&table.columns) {
                    scan.scan_cell(table, column, cell, walk);
                }
            }
        });
    }

    /// Looks through many batches in parallel on the current rayon pool.
    pub fn scan_all(&mut self, table: &TablePlan, batches: &[RowBatch]) {
        let scans: Vec<OutputScan<'_>> = batches
            .par_iter()
            .map(|batch| {
                let mut scan = self.fresh();
                scan.scan(table, batch);
                scan
            })
            .collect();
        scans.into_iter().for_each(|scan| self.merge(scan));
    }

    /// Returns a scan of the same output that has seen nothing.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.plan, self.originals, self.canaries)
    }

    /// Looks through text that belongs to no row: DDL, comments, a file's name.
    ///
    /// `place` is what reports call it, such as `ddl`.
    pub fn scan_text(&mut self, place: &str, text: &str) {
        let origin = Origin {
            table: place,
            column: "",
            allow: &[],
            mask: None,
        };
        self.walk_twice(|scan, walk| scan.scan_value(origin, text.as_bytes(), walk));
    }

    fn walk_twice(&mut self, scan: impl Fn(&mut Self, &mut Walk)) {
        let mut walk = Walk::new(Probe::Collect(Vec::new()));
        scan(self, &mut walk);
        let Probe::Collect(hashes) = walk.probe else {
            return;
        };
        let found = self.originals.find(&Sorted::new(&hashes));
        if !found.is_empty() {
            walk.probe = Probe::Attribute(found.into_iter().collect());
            scan(self, &mut walk);
        }
    }

    /// Takes over what another thread found in the same output.
    pub fn merge(&mut self, other: OutputScan<'_>) {
        let (ours, other) = (&mut self.found, other.found);
        for (ours, theirs) in ours.rows.iter_mut().zip(other.rows) {
            *ours += theirs;
        }
        ours.cells += other.cells;
        ours.risk.merge(other.risk);
        ours.names.merge(other.names);
        for (ours, theirs) in [
            (&mut ours.reused, other.reused),
            (&mut ours.coincidences, other.coincidences),
            (&mut ours.detected, other.detected),
            (&mut ours.allowed, other.allowed),
            (&mut ours.planted, other.planted),
        ] {
            for (place, count) in theirs {
                *ours.entry(place).or_default() += count;
            }
        }
    }

    /// Returns how many rows were masked, and so must be here to be read back.
    pub(super) fn originals_rows(&self) -> u64 {
        self.originals
            .tables
            .iter()
            .map(|table| table.rows_masked)
            .sum()
    }

    fn scan_cell(
        &mut self,
        table: &TablePlan,
        column: &ColumnPlan,
        cell: Cell<'_>,
        walk: &mut Walk,
    ) {
        // Which arm made a cell is not known here: a word list counts only where all arms draw on it.
        let mask = match &column.arms[..] {
            [only] => only.action.as_ref(),
            _ => None,
        };
        let origin = Origin {
            table: &table.name,
            column: &column.name,
            allow: &column.allow,
            mask,
        };
        match cell {
            Cell::Null | Cell::Real(_) => {}
            Cell::Integer(number) => self.scan_number(origin, number, walk),
            Cell::Text(text) | Cell::Blob(text) => {
                match mask.and_then(|bound| bound.mask.parts()) {
                    Some(parts) => parts.each(text, &mut |leaf, mask| {
                        let origin = Origin { mask, ..origin };
                        self.scan_value(origin, leaf.bytes().unwrap_or_default(), walk);
                    }),
                    None => self.scan_value(origin, text, walk),
                }
            }
        }
    }

    fn scan_number(&mut self, origin: Origin<'_>, number: i64, walk: &mut Walk) {
        if number.unsigned_abs() < NUMBER_MIN {
            return;
        }
        walk.number.clear();
        push_signed(number, &mut walk.number);
        if let Probe::Collect(_) = walk.probe {
            // Ids and amounts look like phones; only check digits make a number speak for itself.
            for hit in detect(&walk.number) {
                if hit.kind == HitKind::Card && !hit.synthetic {
                    self.detect(origin, hit.kind);
                }
            }
        }
        self.probe(origin, &walk.number, &mut walk.probe);
    }

    fn scan_value(&mut self, origin: Origin<'_>, text: &[u8], walk: &mut Walk) {
        self.scan_plain(origin, text, walk);
        // A kept text may hold a document whose escapes hide what it says.
        if matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
            && text.contains(&b'\\')
            && let Ok(document) = serde_json::from_slice(text)
        {
            self.scan_document(origin, &document, walk);
        }
    }

    fn scan_document(&mut self, origin: Origin<'_>, value: &Value, walk: &mut Walk) {
        match value {
            Value::String(text) => self.scan_plain(origin, text.as_bytes(), walk),
            Value::Array(items) => {
                for item in items {
                    self.scan_document(origin, item, walk);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.scan_plain(origin, name.as_bytes(), walk);
                    self.scan_document(origin, member, walk);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn scan_plain(&mut self, origin: Origin<'_>, text: &[u8], walk: &mut Walk) {
        // Neither an original nor anything that detectors know is shorter.
        if text.len() >= BYTES_MIN {
            self.probe_words(origin, text, walk);
            if let Some(digits) = digits_of(text, &mut walk.digits) {
                self.probe(origin, digits, &mut walk.probe);
            }
            for hit in detect(text) {
                if let Some(digits) = digits_of(&text[hit.range], &mut walk.digits) {
                    self.probe(origin, digits, &mut walk.probe);
                }
                if !hit.synthetic && matches!(walk.probe, Probe::Collect(_)) {
                    self.detect(origin, hit.kind);
                }
            }
        }
        if matches!(walk.probe, Probe::Collect(_)) {
            self.look_for_canaries(origin, text);
        }
    }

    /// Probes each word, each run of words that may be an original, and a long text as a whole.
    fn probe_words(&mut self, origin: Origin<'_>, text: &[u8], walk: &mut Walk) {
        let originals = self.originals;
        let Walk { probe, words, .. } = walk;
        words.read(text);
        if words.len() > WORDS_MAX {
            self.probe(origin, words.whole(), probe);
        }
        for (first, word) in words.iter().enumerate() {
            self.probe(origin, word, probe);
            if originals.may_start_with(word) {
                let runs = originals.run_lengths();
                for run in runs.filter_map(|count| words.run(first, count)) {
                    self.probe(origin, run, probe);
                }
            }
        }
    }

    #[inline]
    fn probe(&mut self, origin: Origin<'_>, value: &[u8], probe: &mut Probe) {
        if value.len() < BYTES_MIN {
            return;
        }
        let hash = self.originals.hash(value);
        match probe {
            Probe::Collect(hashes) => hashes.push((hash, 0)),
            Probe::Attribute(found) => {
                if let Some(source) = found.get(&identity(hash)) {
                    self.reuse(origin, value, *source);
                }
            }
        }
    }

    fn reuse(&mut self, origin: Origin<'_>, value: &[u8], source: Source) {
        let listed = origin.mask.is_some_and(|bound| match bound.traits().reuse {
            Reuse::Listed(is_listed) => is_listed(value),
            Reuse::Leak | Reuse::Overlaps => false,
        });
        let kind = match source {
            Some((table, column)) => {
                let table = &self.plan.tables[table];
                format!("value of {}.{}", table.name, table.columns[column].name)
            }
            None => "value of a masked column".to_owned(),
        };
        let counts = if listed {
            &mut self.found.coincidences
        } else {
            &mut self.found.reused
        };
        count(counts, origin, kind);
    }

    fn detect(&mut self, origin: Origin<'_>, kind: HitKind) {
        let counts = if origin.allow.contains(&kind) {
            &mut self.found.allowed
        } else {
            &mut self.found.detected
        };
        count(counts, origin, kind.name().to_owned());
    }

    fn look_for_canaries(&mut self, origin: Origin<'_>, text: &[u8]) {
        let Some(search) = &self.canaries.search else {
            return;
        };
        for found in search.find_iter(text) {
            let kind = format!("canary {}", found.pattern().as_usize() + 1);
            count(&mut self.found.planted, origin, kind);
        }
    }
}

fn count(counts: &mut Counts, origin: Origin<'_>, kind: String) {
    let place = Place {
        table: origin.table.to_owned(),
        column: origin.column.to_owned(),
        kind,
    };
    *counts.entry(place).or_default() += 1;
}

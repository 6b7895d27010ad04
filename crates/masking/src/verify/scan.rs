//! Reads the finished output back and counts what should not be there.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use rayon::prelude::*;
use serde_json::Value;

use super::names::NameCounts;
use super::originals::Originals;
use super::risk::RiskCounts;
use super::tokens::{WORDS_MAX, Words, digits_of};
use crate::batch::{Cell, RowBatch};
use crate::detect::{HitKind, detect};
use crate::mask::{Bound, Reuse};
use crate::plan::{ColumnPlan, Plan, TablePlan};

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
}

/// Where a text stands and what made it.
#[derive(Clone, Copy)]
struct Origin<'a> {
    table: &'a str,
    column: &'a str,
    allow: &'a [HitKind],
    mask: Option<&'a Bound>,
}

impl<'a> OutputScan<'a> {
    /// Starts a scan for what `originals` remembers and for planted values.
    pub fn new(plan: &'a Plan, originals: &'a Originals, canaries: &'a Canaries) -> Self {
        Self {
            plan,
            originals,
            canaries,
            rows: vec![0; plan.tables.len()],
            cells: 0,
            reused: Counts::new(),
            coincidences: Counts::new(),
            detected: Counts::new(),
            allowed: Counts::new(),
            planted: Counts::new(),
            risk: RiskCounts::new(plan),
            names: NameCounts::new(plan),
        }
    }

    /// Looks through rows read back from the output of `table`.
    pub fn scan(&mut self, table: &TablePlan, batch: &RowBatch) {
        self.rows[table.index] += batch.len() as u64;
        self.risk.observe(self.plan, table, batch);
        self.names.observe(table, batch);
        let mut words = Words::default();
        for row in batch.rows() {
            for (cell, column) in row.cells().zip(&table.columns) {
                self.cells += 1;
                self.scan_cell(table, column, cell, &mut words);
            }
        }
    }

    /// Looks through many batches in parallel on the current rayon pool.
    pub fn scan_all(&mut self, table: &TablePlan, batches: &[RowBatch]) {
        let (plan, originals, canaries) = (self.plan, self.originals, self.canaries);
        let empty = || OutputScan::new(plan, originals, canaries);
        let found = batches
            .par_iter()
            .map(|batch| {
                let mut scan = empty();
                scan.scan(table, batch);
                scan
            })
            .reduce(empty, |mut a, b| {
                a.merge(b);
                a
            });
        self.merge(found);
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
        self.scan_value(origin, text.as_bytes(), &mut Words::default());
    }

    /// Takes over what another thread found in the same output.
    pub fn merge(&mut self, other: OutputScan<'_>) {
        for (ours, theirs) in self.rows.iter_mut().zip(other.rows) {
            *ours += theirs;
        }
        self.cells += other.cells;
        self.risk.merge(other.risk);
        self.names.merge(other.names);
        for (ours, theirs) in [
            (&mut self.reused, other.reused),
            (&mut self.coincidences, other.coincidences),
            (&mut self.detected, other.detected),
            (&mut self.allowed, other.allowed),
            (&mut self.planted, other.planted),
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
        words: &mut Words,
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
            Cell::Integer(number) => self.scan_number(origin, number),
            Cell::Text(text) | Cell::Blob(text) => match mask.and_then(|bound| bound.mask.json()) {
                Some(json) => json.leaves(text, &mut |leaf, mask| {
                    let origin = Origin { mask, ..origin };
                    self.scan_value(origin, leaf.bytes().unwrap_or_default(), words);
                }),
                None => self.scan_value(origin, text, words),
            },
        }
    }

    fn scan_number(&mut self, origin: Origin<'_>, number: i64) {
        let text = number.to_string();
        // Ids and amounts look like phones; only check digits make a number speak for itself.
        for hit in detect(text.as_bytes()) {
            if hit.kind == HitKind::Card && !hit.synthetic {
                self.detect(origin, hit.kind);
            }
        }
        self.probe(origin, text.as_bytes());
    }

    fn scan_value(&mut self, origin: Origin<'_>, text: &[u8], words: &mut Words) {
        self.scan_plain(origin, text, words);
        // A kept text may hold a document whose escapes hide what it says.
        if text.contains(&b'\\')
            && matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
            && let Ok(document) = serde_json::from_slice(text)
        {
            self.scan_document(origin, &document, words);
        }
    }

    fn scan_document(&mut self, origin: Origin<'_>, value: &Value, words: &mut Words) {
        match value {
            Value::String(text) => self.scan_plain(origin, text.as_bytes(), words),
            Value::Array(items) => {
                for item in items {
                    self.scan_document(origin, item, words);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.scan_plain(origin, name.as_bytes(), words);
                    self.scan_document(origin, member, words);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn scan_plain(&mut self, origin: Origin<'_>, text: &[u8], words: &mut Words) {
        let originals = self.originals;
        words.read(text);
        if words.len() > WORDS_MAX {
            self.probe(origin, words.whole());
        }
        for count in originals.word_counts() {
            for run in words.runs(count) {
                self.probe(origin, run);
            }
        }
        if let Some(digits) = digits_of(text) {
            self.probe(origin, &digits);
        }
        for hit in detect(text) {
            if let Some(digits) = digits_of(&text[hit.range]) {
                self.probe(origin, &digits);
            }
            if !hit.synthetic {
                self.detect(origin, hit.kind);
            }
        }
        self.look_for_canaries(origin, text);
    }

    fn probe(&mut self, origin: Origin<'_>, value: &[u8]) {
        let Some(source) = self.originals.source(value) else {
            return;
        };
        let listed = origin
            .mask
            .is_some_and(|bound| match bound.mask.traits().reuse {
                Reuse::Listed(is_listed) => is_listed(value),
                Reuse::Leak | Reuse::Overlaps => false,
            });
        let table = &self.plan.tables[source.table as usize];
        let column = &table.columns[source.column as usize];
        let kind = format!("value of {}.{}", table.name, column.name);
        let counts = if listed {
            &mut self.coincidences
        } else {
            &mut self.reused
        };
        count(counts, origin, kind);
    }

    fn detect(&mut self, origin: Origin<'_>, kind: HitKind) {
        let counts = if origin.allow.contains(&kind) {
            &mut self.allowed
        } else {
            &mut self.detected
        };
        count(counts, origin, kind.name().to_owned());
    }

    fn look_for_canaries(&mut self, origin: Origin<'_>, text: &[u8]) {
        let Some(search) = &self.canaries.search else {
            return;
        };
        for found in search.find_iter(text) {
            let kind = format!("canary {}", found.pattern().as_usize() + 1);
            count(&mut self.planted, origin, kind);
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

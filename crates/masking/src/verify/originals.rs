//! What must not come out: keyed hashes of original values, and counts taken while masking.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use super::tokens::{BYTES_MIN, WORDS_MAX, Words, digits_of};
use crate::batch::{Cell, Row, RowBatch};
use crate::detect::{HitKind, detect};
use crate::mask::{Bound, Identity, Reuse};
use crate::plan::{ColumnPlan, Plan, TablePlan};
use crate::sip::SipKey;

/// Fewest digits of a whole number that is remembered; smaller ones meet by chance.
const NUMBER_MIN: u64 = 100_000_000;

/// Keyed hashes of the original values of masked columns, and counts taken while masking.
///
/// Values of at least six bytes are remembered, prose also by what detectors find in it, documents
/// by their leaves. Values of masks that draw from the same small space as production (dates,
/// postcodes, ids) are not: finding them again would say nothing.
#[derive(Debug, Clone)]
pub struct Originals {
    key: SipKey,
    hashes: HashMap<u64, Source, BuildHasherDefault<AlreadyHashed>>,
    /// Bit n is set if some value has n words.
    word_counts: u16,
    pub(super) tables: Vec<TableCounts>,
}

/// The column a value came from, so that a report can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) table: u32,
    pub(super) column: u32,
}

/// Counts of one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TableCounts {
    pub(super) rows_read: u64,
    pub(super) rows_masked: u64,
    pub(super) columns: Vec<ColumnCounts>,
}

/// Counts of one column.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ColumnCounts {
    /// Cells that a mask was applied to and that were neither NULL nor empty.
    pub(super) masked: u64,
    /// Those of them that came out as they went in.
    pub(super) same: u64,
    /// How many of them may do so by the mask's own design; infinite if any number.
    pub(super) same_expected: f64,
}

impl Originals {
    /// Starts with nothing remembered.
    pub fn new(plan: &Plan) -> Self {
        let tables = plan.tables.iter().map(|table| TableCounts {
            columns: vec![ColumnCounts::default(); table.columns.len()],
            ..TableCounts::default()
        });
        Self {
            key: plan.originals_key.clone(),
            hashes: HashMap::default(),
            word_counts: 0,
            tables: tables.collect(),
        }
    }

    /// Remembers a batch and what became of it.
    pub fn observe(&mut self, table: &TablePlan, original: &RowBatch, masked: &RowBatch) {
        let counts = &mut self.tables[table.index];
        counts.rows_read += original.len() as u64;
        counts.rows_masked += masked.len() as u64;
        let mut words = Words::default();
        for (before, after) in original.rows().zip(masked.rows()) {
            for (at, column) in table.columns.iter().enumerate() {
                self.observe_cell(table.index, at, column, before, after, &mut words);
            }
        }
    }

    /// Remembers many batches in parallel on the current rayon pool.
    pub fn observe_all(&mut self, plan: &Plan, table: &TablePlan, pairs: &[(RowBatch, RowBatch)]) {
        let seen = pairs
            .par_iter()
            .map(|(original, masked)| {
                let mut originals = Originals::new(plan);
                originals.observe(table, original, masked);
                originals
            })
            .reduce(|| Originals::new(plan), Originals::merged);
        self.merge(seen);
    }

    /// Takes over what another thread remembers of the same plan.
    pub fn merge(&mut self, other: Originals) {
        for (hash, source) in other.hashes {
            self.insert(hash, source);
        }
        self.word_counts |= other.word_counts;
        for (ours, theirs) in self.tables.iter_mut().zip(other.tables) {
            ours.rows_read += theirs.rows_read;
            ours.rows_masked += theirs.rows_masked;
            for (ours, theirs) in ours.columns.iter_mut().zip(theirs.columns) {
                ours.masked += theirs.masked;
                ours.same += theirs.same;
                ours.same_expected += theirs.same_expected;
            }
        }
    }

    /// Returns how many values are remembered.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Reports whether no value is remembered.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    fn merged(mut self, other: Originals) -> Self {
        // The smaller set moves into the larger one.
        if self.hashes.len() >= other.hashes.len() {
            self.merge(other);
            return self;
        }
        let mut other = other;
        other.merge(self);
        other
    }

    fn observe_cell(
        &mut self,
        table: usize,
        at: usize,
        column: &ColumnPlan,
        before: Row<'_>,
        after: Row<'_>,
        words: &mut Words,
    ) {
        let cell = before.cell(at);
        let arm = column.arm(before);
        let Some(bound) = arm.and_then(|arm| arm.action.as_ref()) else {
            return;
        };
        if cell.is_blank() {
            return;
        }
        let same = alike(cell, after.cell(at));
        let identity = bound.mask.traits().identity;
        let counts = &mut self.tables[table].columns[at];
        counts.masked += 1;
        counts.same += u64::from(same);
        counts.same_expected += match identity {
            Identity::Never => 0.0,
            Identity::Chance(chance) => chance,
            Identity::Open => f64::INFINITY,
        };
        let source = Source {
            table: table as u32,
            column: at as u32,
        };
        // A value that was the mask's own constant before tells nobody anything.
        if !(same && matches!(identity, Identity::Open)) || bound.mask.json().is_some() {
            self.remember(cell, bound, source, words);
        }
    }

    fn remember(&mut self, cell: Cell<'_>, bound: &Bound, source: Source, words: &mut Words) {
        if let (Some(json), Some(document)) = (bound.mask.json(), cell.bytes()) {
            json.leaves(document, &mut |leaf, bound| {
                if let Some(bound) = bound {
                    self.remember(leaf, bound, source, &mut Words::default());
                }
            });
            return;
        }
        if matches!(bound.mask.traits().reuse, Reuse::Overlaps) {
            return;
        }
        match cell {
            Cell::Text(text) | Cell::Blob(text) => {
                if bound.mask.is_prose() {
                    for hit in detect(text) {
                        self.remember_text(&text[hit.range], source, words);
                    }
                }
                if !bound.mask.detects() && !belongs_to_nobody(bound, text) {
                    self.remember_text(text, source, words);
                }
            }
            Cell::Integer(number) if number.unsigned_abs() >= NUMBER_MIN => {
                self.remember_text(number.to_string().as_bytes(), source, words);
            }
            _ => {}
        }
    }

    fn remember_text(&mut self, text: &[u8], source: Source, words: &mut Words) {
        words.read(text);
        if words.whole().len() >= BYTES_MIN {
            if words.len() <= WORDS_MAX {
                self.word_counts |= 1 << words.len();
            }
            self.insert(self.key.hash(words.whole()), source);
        }
        if let Some(digits) = digits_of(text) {
            self.word_counts |= 1 << 1;
            self.insert(self.key.hash(&digits), source);
        }
    }

    /// Of several sources of one value the first in schema order is named, whatever the threads did.
    fn insert(&mut self, hash: u64, source: Source) {
        let entry = self.hashes.entry(hash).or_insert(source);
        *entry = source.min(*entry);
    }

    /// Returns where an evened-out value came from, if it is an original.
    pub(super) fn source(&self, value: &[u8]) -> Option<Source> {
        if value.len() < BYTES_MIN {
            return None;
        }
        self.hashes.get(&self.key.hash(value)).copied()
    }

    /// Iterates over the word counts that some remembered value has.
    pub(super) fn word_counts(&self) -> impl Iterator<Item = usize> + use<> {
        let counts = self.word_counts;
        (1..=WORDS_MAX).filter(move |count| counts >> count & 1 == 1)
    }
}

/// Reports whether a phone or card number is one that nobody can have.
///
/// Such a number in production is a test account's, and our masks draw from the same small ranges.
fn belongs_to_nobody(bound: &Bound, text: &[u8]) -> bool {
    let kind = bound.mask.hit_kind();
    matches!(kind, Some(HitKind::Phone | HitKind::Card))
        && matches!(&detect(text)[..], [hit] if hit.synthetic && Some(hit.kind) == kind)
}

/// Reports whether a cell came out as it went in, whatever the case of its letters.
fn alike(before: Cell<'_>, after: Cell<'_>) -> bool {
    match (before.bytes(), after.bytes()) {
        (Some(before), Some(after)) => before.trim_ascii().eq_ignore_ascii_case(after.trim_ascii()),
        _ => before == after,
    }
}

/// The keys are hashes already.
#[derive(Debug, Default, Clone)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

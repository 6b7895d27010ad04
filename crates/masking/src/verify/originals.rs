//! What must not come out: keyed hashes of original values, and counts taken while masking.

use rayon::prelude::*;

use super::hash_set::{HashSet, SOURCE_MAX, Sorted};
use super::tokens::{BYTES_MIN, FirstWords, WORDS_MAX, Words, digits_of};
use crate::batch::{Cell, Row, RowBatch};
use crate::detect::{HitKind, detect};
use crate::mask::{Bound, Identity, Reuse, push_signed};
use crate::plan::{ColumnPlan, Plan, TablePlan};
use crate::sip::SipKey;

/// Fewest digits of a whole number that is remembered; smaller ones meet by chance.
const NUMBER_MIN: u64 = 100_000_000;

/// Keyed hashes of the original values of masked columns, and counts taken while masking.
///
/// Values of at least six bytes are remembered, prose also by what detectors find in it, documents
/// by their leaves. Values of masks that draw from the same small space as production (dates,
/// postcodes, ids) are not: finding them again would say nothing.
///
/// Memory is bounded: of more than [`Originals::LEN_MAX`] different values every second is
/// remembered, then every fourth, and the report says so.
#[derive(Debug, Clone)]
pub struct Originals {
    key: SipKey,
    hashes: HashSet,
    /// Columns before each table, to count columns through all tables.
    columns_before: Vec<usize>,
    words: WordCounts,
    pub(super) tables: Vec<TableCounts>,
}

/// How many words remembered values have, and which come first.
#[derive(Debug, Clone, Default)]
struct WordCounts {
    /// Bit n is set if some value has n words.
    counts: u16,
    first: FirstWords,
}

/// The column a value came from, so that a report can name it; `None` beyond the columns that a
/// code can tell apart.
pub(super) type Source = Option<(usize, usize)>;

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
    /// Most values that are remembered: about 110 MB of them.
    pub const LEN_MAX: usize = 12 << 20;

    /// Starts with nothing remembered.
    pub fn new(plan: &Plan) -> Self {
        let tables = plan.tables.iter().map(|table| TableCounts {
            columns: vec![ColumnCounts::default(); table.columns.len()],
            ..TableCounts::default()
        });
        let columns_before = plan.tables.iter().scan(0, |before, table| {
            let here = *before;
            *before += table.columns.len();
            Some(here)
        });
        Self {
            key: plan.originals_key.clone(),
            hashes: HashSet::new(Self::LEN_MAX),
            columns_before: columns_before.collect(),
            words: WordCounts::default(),
            tables: tables.collect(),
        }
    }

    /// Remembers a batch and what became of it.
    pub fn observe(&mut self, table: &TablePlan, original: &RowBatch, masked: &RowBatch) {
        let observed = self.observed(table, original, masked);
        self.absorb(&[observed]);
    }

    /// Remembers many batches in parallel on the current rayon pool.
    pub fn observe_all(&mut self, _: &Plan, table: &TablePlan, pairs: &[(RowBatch, RowBatch)]) {
        let observed: Vec<Observed> = pairs
            .par_iter()
            .map(|(original, masked)| self.observed(table, original, masked))
            .collect();
        self.absorb(&observed);
    }

    fn observed(&self, table: &TablePlan, original: &RowBatch, masked: &RowBatch) -> Observed {
        let mut observer = self.observer(table);
        observer.rows(original.len() as u64, masked.len() as u64);
        for (before, after) in original.rows().zip(masked.rows()) {
            observer.row(table, before, after);
        }
        observer.finish()
    }

    /// Starts observing a batch of `table` apart from all others.
    pub(crate) fn observer(&self, table: &TablePlan) -> Observer {
        Observer {
            key: self.key.clone(),
            source: self.columns_before[table.index],
            table: table.index,
            counts: TableCounts {
                columns: vec![ColumnCounts::default(); table.columns.len()],
                ..TableCounts::default()
            },
            hashes: Vec::new(),
            words: WordCounts::default(),
            split: Words::default(),
            digits: Vec::new(),
        }
    }

    /// Remembers what was observed, in parallel on the current rayon pool.
    pub(crate) fn absorb(&mut self, observed: &[Observed]) {
        let hashes: Vec<&Sorted> = observed.iter().map(|batch| &batch.hashes).collect();
        self.hashes.extend(&hashes);
        for batch in observed {
            self.words.merge(&batch.words);
            self.tables[batch.table].merge(&batch.counts);
        }
    }

    /// Takes over what another thread remembers of the same plan.
    pub fn merge(&mut self, other: &Originals) {
        self.hashes.extend(&[&other.hashes.sorted()]);
        self.words.merge(&other.words);
        for (ours, theirs) in self.tables.iter_mut().zip(&other.tables) {
            ours.merge(theirs);
        }
    }

    /// Returns how many values are remembered.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Reports whether no value is remembered.
    pub fn is_empty(&self) -> bool {
        self.hashes.len() == 0
    }

    /// Returns how many values one that is remembered stands for: 1, or more if there were too many.
    pub fn sampling(&self) -> u64 {
        self.hashes.sampling()
    }

    /// Returns which of the sorted hashes are originals, by identity, and where they came from.
    pub(super) fn find(&self, hashes: &Sorted) -> Vec<(u64, Source)> {
        let found = self.hashes.find(hashes).into_iter();
        found
            .map(|(identity, code)| (identity, self.source(code)))
            .collect()
    }

    fn source(&self, code: u16) -> Source {
        if code == SOURCE_MAX {
            return None;
        }
        let code = usize::from(code);
        let table = self
            .columns_before
            .partition_point(|before| *before <= code)
            - 1;
        Some((table, code - self.columns_before[table]))
    }

    /// Returns the keyed hash of an evened-out value.
    pub(super) fn hash(&self, value: &[u8]) -> u64 {
        self.key.hash(value)
    }

    /// Reports whether a run of words that starts with `word` may be an original.
    pub(super) fn may_start_with(&self, word: &[u8]) -> bool {
        self.words.first.may_hold(word)
    }

    /// Iterates over the numbers of words, one by itself aside, that some original has.
    pub(super) fn run_lengths(&self) -> impl Iterator<Item = usize> + use<> {
        let counts = self.words.counts;
        (2..=WORDS_MAX).filter(move |count| counts >> count & 1 == 1)
    }
}

impl WordCounts {
    fn merge(&mut self, other: &Self) {
        if other.counts != 0 {
            self.counts |= other.counts;
            self.first.merge(&other.first);
        }
    }
}

impl TableCounts {
    fn merge(&mut self, other: &Self) {
        self.rows_read += other.rows_read;
        self.rows_masked += other.rows_masked;
        for (ours, theirs) in self.columns.iter_mut().zip(&other.columns) {
            ours.masked += theirs.masked;
            ours.same += theirs.same;
            ours.same_expected += theirs.same_expected;
        }
    }
}

/// What one batch adds to the originals.
#[derive(Debug)]
pub(crate) struct Observed {
    table: usize,
    counts: TableCounts,
    hashes: Sorted,
    words: WordCounts,
}

/// Observes the rows of one batch.
#[derive(Debug)]
pub(crate) struct Observer {
    key: SipKey,
    /// Code of the table's first column.
    source: usize,
    table: usize,
    counts: TableCounts,
    hashes: Vec<(u64, u16)>,
    words: WordCounts,
    split: Words,
    digits: Vec<u8>,
}

impl Observer {
    /// Counts rows read and rows masked.
    pub(crate) fn rows(&mut self, read: u64, masked: u64) {
        self.counts.rows_read += read;
        self.counts.rows_masked += masked;
    }

    /// Looks at a row before and after.
    pub(crate) fn row(&mut self, table: &TablePlan, before: Row<'_>, after: Row<'_>) {
        for &at in &table.masked {
            self.cell(at, &table.columns[at], before, after);
        }
    }

    /// Returns what was seen.
    pub(crate) fn finish(self) -> Observed {
        Observed {
            table: self.table,
            counts: self.counts,
            hashes: Sorted::new(&self.hashes),
            words: self.words,
        }
    }

    fn cell(&mut self, at: usize, column: &ColumnPlan, before: Row<'_>, after: Row<'_>) {
        let cell = before.cell(at);
        let arm = column.arm(before);
        let Some(bound) = arm.and_then(|arm| arm.action.as_ref()) else {
            return;
        };
        if cell.is_blank() {
            return;
        }
        let same = alike(cell, after.cell(at));
        let identity = bound.traits().identity;
        let counts = &mut self.counts.columns[at];
        counts.masked += 1;
        counts.same += u64::from(same);
        counts.same_expected += match identity {
            Identity::Never => 0.0,
            Identity::Chance(chance) => chance,
            Identity::Open => f64::INFINITY,
        };
        let source = (self.source + at).min(usize::from(SOURCE_MAX)) as u16;
        // A value that was the mask's own constant before tells nobody anything.
        if !(same && matches!(identity, Identity::Open)) || bound.mask.parts().is_some() {
            self.remember(cell, bound, source);
        }
    }

    fn remember(&mut self, cell: Cell<'_>, bound: &Bound, source: u16) {
        if let (Some(parts), Some(value)) = (bound.mask.parts(), cell.bytes()) {
            parts.each(value, &mut |leaf, bound| {
                if let Some(bound) = bound {
                    self.remember(leaf, bound, source);
                }
            });
            return;
        }
        if matches!(bound.traits().reuse, Reuse::Overlaps) {
            return;
        }
        match cell {
            Cell::Text(text) | Cell::Blob(text) => {
                if bound.mask.is_prose() {
                    for hit in detect(text) {
                        self.remember_text(&text[hit.range], source);
                    }
                }
                if !bound.mask.detects() && !belongs_to_nobody(bound, text) {
                    self.remember_text(text, source);
                }
            }
            Cell::Integer(number) if number.unsigned_abs() >= NUMBER_MIN => {
                let mut text = Vec::with_capacity(20);
                push_signed(number, &mut text);
                self.remember_text(&text, source);
            }
            _ => {}
        }
    }

    fn remember_text(&mut self, text: &[u8], source: u16) {
        self.split.read(text);
        if self.split.whole().len() >= BYTES_MIN {
            if self.split.len() <= WORDS_MAX {
                self.words.counts |= 1 << self.split.len();
                if self.split.len() > 1 {
                    let first = self.split.iter().next().expect("there are several words");
                    self.words.first.insert(first);
                }
            }
            self.hashes
                .push((self.key.hash(self.split.whole()), source));
        }
        if let Some(digits) = digits_of(text, &mut self.digits) {
            self.hashes.push((self.key.hash(digits), source));
        }
    }
}

/// Reports whether a phone or card number is one that nobody can have.
///
/// Such a number in production is a test account's, and our masks draw from the same small ranges.
fn belongs_to_nobody(bound: &Bound, text: &[u8]) -> bool {
    let kind = bound.hit_kind();
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

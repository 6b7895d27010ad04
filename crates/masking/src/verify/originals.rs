//! What must not come out: keyed hashes of original values, and counts taken while masking.

use rayon::prelude::*;

use super::hash_set::{HashSet, SOURCE_MAX, Sorted};
use super::tokens::{BYTES_MIN, Digits, HashFilter, WORDS_MAX, Words};
use super::word_key::WordKey;
use crate::batch::{Cell, Row, RowBatch};
use crate::detect::{Hit, HitKind, detect_into};
use crate::mask::{Alphabet, Bound, Identity, Reuse};
use crate::plan::{ColumnPlan, Plan, TablePlan};
use crate::signs::Signs;

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
    key: WordKey,
    hashes: HashSet,
    /// Columns before each table, to count columns through all tables.
    columns_before: Vec<usize>,
    /// Bit n is set if some value has n words.
    word_counts: u16,
    /// The first two words of values that have several: a text is full of words, and only a run that
    /// starts like an original can be one.
    beginnings: HashFilter,
    pub(super) tables: Vec<TableCounts>,
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
            key: WordKey::new(&plan.originals_key),
            hashes: HashSet::new(Self::LEN_MAX),
            columns_before: columns_before.collect(),
            word_counts: 0,
            beginnings: HashFilter::default(),
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
            word_counts: 0,
            beginnings: Vec::new(),
            words: Words::default(),
            digits: Digits::default(),
            hits: Vec::new(),
        }
    }

    /// Remembers what was observed, in parallel on the current rayon pool.
    pub(crate) fn absorb(&mut self, observed: &[Observed]) {
        let hashes: Vec<&Sorted> = observed.iter().map(|batch| &batch.hashes).collect();
        self.hashes.extend(&hashes);
        for batch in observed {
            self.word_counts |= batch.word_counts;
            for hash in &batch.beginnings {
                self.beginnings.insert(*hash);
            }
            self.tables[batch.table].merge(&batch.counts);
        }
    }

    /// Takes over what another thread remembers of the same plan.
    pub fn merge(&mut self, other: &Originals) {
        self.hashes.extend(&[&other.hashes.sorted()]);
        self.word_counts |= other.word_counts;
        self.beginnings.merge(&other.beginnings);
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

    /// Reports whether a value with this hash may be an original; most others are known not to be.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.hashes.may_hold(hash)
    }

    /// Returns where the original with this hash came from, if there is one.
    pub(super) fn find(&self, hash: u64) -> Option<Source> {
        self.hashes.source(hash).map(|code| self.source(code))
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

    /// Returns the key under which values are hashed.
    pub(super) fn key(&self) -> &WordKey {
        &self.key
    }

    /// Reports whether a run that starts with two words may be an original.
    #[inline]
    pub(super) fn may_start_with(&self, two_words: u64) -> bool {
        self.beginnings.may_hold(two_words)
    }

    /// Reports whether some original has so many words.
    #[inline]
    pub(super) fn has_words(&self, count: usize) -> bool {
        self.word_counts >> count & 1 == 1
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
    word_counts: u16,
    beginnings: Vec<u64>,
}

/// Observes the rows of one batch. Its buffers hold their values, so that it does not print.
pub(crate) struct Observer {
    key: WordKey,
    /// Code of the table's first column.
    source: usize,
    table: usize,
    counts: TableCounts,
    hashes: Vec<(u64, u16)>,
    word_counts: u16,
    beginnings: Vec<u64>,
    words: Words,
    digits: Digits,
    hits: Vec<Hit>,
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
            word_counts: self.word_counts,
            beginnings: self.beginnings,
        }
    }

    fn cell(&mut self, at: usize, column: &ColumnPlan, before: Row<'_>, after: Row<'_>) {
        let cell = before.cell(at);
        let arm = column.arm(before);
        let Some(bound) = arm.and_then(|arm| arm.action.as_ref()) else {
            return;
        };
        if cell.is_blank() || bound.mask.lets_pass(cell) {
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
            Identity::OfForm(alphabet) => share_of_form(cell, alphabet),
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
                    let mut hits = std::mem::take(&mut self.hits);
                    detect_into(text, &Signs::of(text), &mut hits);
                    for hit in &hits {
                        self.remember_text(&text[hit.range.clone()], source, None);
                    }
                    self.hits = hits;
                }
                if !bound.mask.detects() {
                    self.remember_text(text, source, bound.hit_kind());
                }
            }
            Cell::Integer(number) if number.unsigned_abs() >= NUMBER_MIN => {
                let hash = self.digits.hash_number(number, &self.key);
                self.hashes.push((hash, source));
            }
            _ => {}
        }
    }

    /// Remembers a text, which a mask took for one of a kind.
    fn remember_text(&mut self, text: &[u8], source: u16, kind: Option<HitKind>) {
        let signs = self.words.read(text, &self.key);
        if self.belongs_to_nobody(kind, text, &signs) {
            return;
        }
        let count = self.words.len();
        if let Some((hash, bytes)) = self.words.whole(&self.key)
            && bytes >= BYTES_MIN
        {
            self.hashes.push((hash, source));
            if (2..=WORDS_MAX).contains(&count) {
                self.word_counts |= 1 << count;
                let [first, second, ..] = self.words.hashes[..] else {
                    unreachable!("there are at least two words");
                };
                self.beginnings.push(self.key.join(first, second));
            }
        }
        if let Some(hash) = self.digits.hash(text, &signs, &self.key) {
            self.hashes.push((hash, source));
        }
    }

    /// Reports whether a phone or card number is one that nobody can have.
    ///
    /// Such a number in production is a test account's, and our masks draw from the same small ranges.
    fn belongs_to_nobody(&mut self, kind: Option<HitKind>, text: &[u8], signs: &Signs) -> bool {
        if !matches!(kind, Some(HitKind::Phone | HitKind::Card)) {
            return false;
        }
        detect_into(text, signs, &mut self.hits);
        matches!(&self.hits[..], [hit] if hit.synthetic && Some(hit.kind) == kind)
    }
}

/// Returns the share of a column's ids that may come out as themselves.
///
/// One that stays may come again in many rows, and of few ids some always stay: so a share is allowed,
/// and not the chance of a single value. Of fewer than ten thousand ids any number may.
fn share_of_form(cell: Cell<'_>, alphabet: Alphabet) -> f64 {
    const SHARE: f64 = 0.05;
    let numerals = cell.bytes().unwrap_or_default().iter();
    let numerals = numerals.filter(|byte| alphabet.numeral(**byte).is_some());
    let ids = (alphabet.radix() as f64).powi(numerals.count() as i32);
    if ids < 10_000.0 { f64::INFINITY } else { SHARE }
}

/// Reports whether a cell came out as it went in, whatever the case of its letters.
fn alike(before: Cell<'_>, after: Cell<'_>) -> bool {
    match (before.bytes(), after.bytes()) {
        (Some(before), Some(after)) => before.trim_ascii().eq_ignore_ascii_case(after.trim_ascii()),
        _ => before == after,
    }
}

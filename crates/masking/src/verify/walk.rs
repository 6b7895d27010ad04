//! Walks through the values of the output: hashes what may be an original, and runs the detectors.
//!
//! Nearly no value is an original, and waiting for memory at each would cost more than all else. So a
//! stretch of rows is walked once to collect the hashes of its values, which are then looked up
//! together; only cells some of whose values are originals are walked again, to say what they hold.

use std::collections::HashMap;

use serde_json::Value;

use super::canaries::Canaries;
use super::clean::CleanCells;
use super::origin::Origin;
use super::originals::{Originals, Source};
use super::scan::{Counts, Place, ScanFindings};
use super::tokens::{BYTES_MIN, Digits, WORDS_MAX, Words};
use crate::batch::Slot;
use crate::detect::{Hit, HitKind, detect_into};
use crate::mask::{Reuse, push_signed};
use crate::plan::Plan;
use crate::signs::Signs;

/// Fewest digits of a whole number that is looked at, as of one that is remembered in a text.
const NUMBER_MIN: u64 = 100_000;
/// From here on a number has the 13 digits of a card.
const CARD_MIN: u64 = 1_000_000_000_000;
/// Hashes that are collected before they are looked up: as many as a core's nearest cache holds.
const HASHES_MAX: usize = 4096;

/// What a walk looks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) plan: &'a Plan,
    pub(super) originals: &'a Originals,
    pub(super) canaries: &'a Canaries,
}

/// A cell that was looked at.
struct Seen {
    /// Its number among those of the walk.
    number: usize,
    first_hash: usize,
    /// Whether it may hold nothing at all: that is known once its hashes are looked up.
    maybe_clean: bool,
}

/// A walk through a batch. Its buffers are used again for each cell.
pub(super) struct Walk<'a> {
    plan: &'a Plan,
    originals: &'a Originals,
    canaries: &'a Canaries,
    /// The bytes in which the slots of cells stand.
    arena: &'a [u8],
    /// Whether a canary may stand in a cell's own bytes.
    planted: bool,
    hashes: Vec<u64>,
    cells: Vec<Seen>,
    /// Whether something was found in the cell that is looked at.
    found_here: bool,
    /// Hashes that are originals; only while cells are walked again.
    sources: Option<HashMap<u64, Source>>,
    words: Words,
    digits: Digits,
    hits: Vec<Hit>,
    number: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(wanted: Wanted<'a>, arena: &'a [u8]) -> Self {
        let Wanted {
            plan,
            originals,
            canaries,
        } = wanted;
        let mut words = Words::default();
        words.put_ahead(arena);
        Self {
            plan,
            originals,
            canaries,
            arena,
            planted: canaries.any(arena),
            hashes: Vec::with_capacity(HASHES_MAX + HASHES_MAX / 4),
            cells: Vec::new(),
            found_here: false,
            sources: None,
            words,
            digits: Digits::default(),
            hits: Vec::new(),
            number: Vec::new(),
        }
    }

    /// Looks at a cell, whose number among those of the walk tells it from others.
    #[inline]
    pub(super) fn cell(
        &mut self,
        number: usize,
        origin: Origin<'_>,
        slot: Slot,
        clean: &mut CleanCells,
        into: &mut ScanFindings,
    ) {
        let text = match slot {
            Slot::Text { start, len } | Slot::Blob { start, len } => {
                Some(&self.arena[start..start + len])
            }
            _ => None,
        };
        // Neither an original nor anything that detectors know is shorter.
        let long = text.is_some_and(|text| text.len() >= BYTES_MIN);
        // Forms are counted cell by cell.
        let long = long && origin.redraws.is_none();
        if long && text.is_some_and(|text| clean.holds(text)) {
            return;
        }
        let first_hash = self.hashes.len();
        self.found_here = false;
        self.slot(origin, slot, into);
        if long || self.hashes.len() > first_hash {
            self.cells.push(Seen {
                number,
                first_hash,
                maybe_clean: long && !self.found_here,
            });
        }
    }

    /// Walks a cell once more that holds originals.
    pub(super) fn cell_again(&mut self, origin: Origin<'_>, slot: Slot, into: &mut ScanFindings) {
        self.slot(origin, slot, into);
    }

    fn slot(&mut self, origin: Origin<'_>, slot: Slot, into: &mut ScanFindings) {
        match slot {
            Slot::Null => {}
            Slot::Integer(number) => self.whole_number(origin, number, into),
            Slot::Real(number) => self.fraction(origin, number, into),
            Slot::Text { start, len } | Slot::Blob { start, len } => {
                let text = &self.arena[start..start + len];
                match origin.mask.and_then(|bound| bound.mask.parts()) {
                    Some(parts) => parts.each(text, &mut |leaf, mask| {
                        let origin = origin.inside(mask);
                        self.value(origin, leaf.bytes().unwrap_or_default(), into);
                    }),
                    None => {
                        if len >= BYTES_MIN {
                            let range = start..start + len;
                            let key = self.originals.key();
                            let signs = self.words.read_ahead(text, range, key);
                            self.plain(origin, text, &signs, into);
                        }
                        if self.planted {
                            self.look_for_canaries(origin, text, into);
                        }
                        self.document(origin, text, into);
                    }
                }
            }
        }
    }

    /// Looks at a text that belongs to no row, as the only cell of the walk.
    pub(super) fn loose_text(&mut self, origin: Origin<'_>, text: &[u8], into: &mut ScanFindings) {
        if self.sources.is_none() {
            self.cells.push(Seen {
                number: 0,
                first_hash: 0,
                maybe_clean: false,
            });
        }
        self.value(origin, text, into);
    }

    fn value(&mut self, origin: Origin<'_>, text: &[u8], into: &mut ScanFindings) {
        self.text(origin, text, into);
        self.document(origin, text, into);
    }

    fn text(&mut self, origin: Origin<'_>, text: &[u8], into: &mut ScanFindings) {
        if text.len() >= BYTES_MIN {
            let signs = self.words.read(text, self.originals.key());
            self.plain(origin, text, &signs, into);
        }
        self.look_for_canaries(origin, text, into);
    }

    /// Looks into a document: a kept text may be one, whose escapes hide what it says.
    #[inline]
    fn document(&mut self, origin: Origin<'_>, text: &[u8], into: &mut ScanFindings) {
        if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
            && memchr::memchr(b'\\', text).is_some()
            && let Ok(document) = serde_json::from_slice(text)
        {
            self.leaves(origin, &document, into);
        }
    }

    fn leaves(&mut self, origin: Origin<'_>, value: &Value, into: &mut ScanFindings) {
        match value {
            Value::String(text) => self.text(origin, text.as_bytes(), into),
            Value::Array(items) => {
                for item in items {
                    self.leaves(origin, item, into);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.text(origin, name.as_bytes(), into);
                    self.leaves(origin, member, into);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn whole_number(&mut self, origin: Origin<'_>, number: i64, into: &mut ScanFindings) {
        if number.unsigned_abs() >= NUMBER_MIN {
            let hash = self.digits.hash_number(number, self.originals.key());
            self.probe(origin, hash, None, into);
        }
        let is_card = number >= CARD_MIN as i64 && self.sources.is_none();
        if !is_card && !self.canaries.may_be_numbers() {
            return;
        }
        let mut text = std::mem::take(&mut self.number);
        text.clear();
        push_signed(number, &mut text);
        if is_card {
            self.count_form(origin, &text, into);
            // Ids and amounts look like phones; only check digits make a number speak for itself.
            detect_into(&text, &Signs::of(&text), &mut self.hits);
            if matches!(&self.hits[..], [hit] if hit.kind == HitKind::Card && !hit.synthetic) {
                self.detected(origin, HitKind::Card, into);
            }
        }
        self.look_for_canaries(origin, &text, into);
        self.number = text;
    }

    fn fraction(&mut self, origin: Origin<'_>, number: f64, into: &mut ScanFindings) {
        if self.canaries.may_be_numbers() {
            self.look_for_canaries(origin, number.to_string().as_bytes(), into);
        }
    }

    /// Counts the form of a value that a mask made by chance.
    fn count_form(&self, origin: Origin<'_>, value: &[u8], into: &mut ScanFindings) {
        if let (Some(at), Some(alphabet), None) = (origin.at, origin.redraws, &self.sources) {
            let forms = into.forms.entry((at, alphabet)).or_default();
            forms.count(value, alphabet);
        }
    }

    /// Looks at a text whose words were read.
    fn plain(&mut self, origin: Origin<'_>, text: &[u8], signs: &Signs, into: &mut ScanFindings) {
        self.count_form(origin, text, into);
        self.probe_words(origin, into);
        let key = self.originals.key();
        if let Some(hash) = self.digits.hash(text, signs, key) {
            self.probe(origin, hash, None, into);
        }
        let mut hits = std::mem::take(&mut self.hits);
        detect_into(text, signs, &mut hits);
        for hit in &hits {
            // The digits of the whole text were looked at already.
            if hit.range.len() < text.len() {
                let found = &text[hit.range.clone()];
                if let Some(hash) = self.digits.hash(found, &Signs::of(found), key) {
                    self.probe(origin, hash, None, into);
                }
            }
            if !hit.synthetic && self.sources.is_none() {
                self.detected(origin, hit.kind, into);
            }
        }
        self.hits = hits;
    }

    /// Probes each word, each run of words that may be an original, and a long text as a whole.
    #[inline]
    fn probe_words(&mut self, origin: Origin<'_>, into: &mut ScanFindings) {
        let (key, count) = (self.originals.key(), self.words.len());
        for first in 0..count {
            let hash = self.words.hashes[first];
            if self.words.word_len(first) >= BYTES_MIN {
                self.probe(origin, hash, Some((first, 1)), into);
            }
            if let Some(second) = self.words.hashes.get(first + 1) {
                let two_words = key.join(hash, *second);
                if self.originals.may_start_with(two_words) {
                    self.probe_runs(origin, first, two_words, into);
                }
            }
        }
        if count > WORDS_MAX
            && let Some((hash, _)) = self.words.whole(key)
        {
            self.probe(origin, hash, Some((0, count)), into);
        }
    }

    /// Probes runs of two and more words from word `first` on.
    fn probe_runs(
        &mut self,
        origin: Origin<'_>,
        first: usize,
        two_words: u64,
        into: &mut ScanFindings,
    ) {
        let mut hash = two_words;
        for count in 2..=WORDS_MAX.min(self.words.len() - first) {
            if count > 2 {
                let next = self.words.hashes[first + count - 1];
                hash = self.originals.key().join(hash, next);
            }
            if self.originals.has_words(count) && self.words.bytes(first, count) >= BYTES_MIN {
                self.probe(origin, hash, Some((first, count)), into);
            }
        }
    }

    /// Looks up a hash, which may be that of so many words from that one on.
    #[inline]
    fn probe(
        &mut self,
        origin: Origin<'_>,
        hash: u64,
        words: Option<(usize, usize)>,
        into: &mut ScanFindings,
    ) {
        let Some(sources) = &self.sources else {
            return self.hashes.push(hash);
        };
        let Some(source) = sources.get(&hash) else {
            return;
        };
        let listed = match origin.mask.map(|bound| bound.traits().reuse) {
            Some(Reuse::Listed(is_listed)) => {
                words.is_some_and(|(first, count)| is_listed(&self.words.text(first, count)))
            }
            _ => false,
        };
        let kind = match source {
            Some((table, column)) => {
                let table = &self.plan.tables[*table];
                format!("value of {}.{}", table.name, table.columns[*column].name)
            }
            None => "value of a masked column".to_owned(),
        };
        let counts = match listed {
            true => &mut into.coincidences,
            false => &mut into.reused,
        };
        count(counts, origin, kind);
    }

    fn detected(&mut self, origin: Origin<'_>, kind: HitKind, into: &mut ScanFindings) {
        self.found_here = true;
        let counts = if origin.allow.contains(&kind) {
            &mut into.allowed
        } else {
            &mut into.detected
        };
        count(counts, origin, kind.name().to_owned());
    }

    fn look_for_canaries(&mut self, origin: Origin<'_>, text: &[u8], into: &mut ScanFindings) {
        if self.sources.is_none() {
            self.canaries.find(text, |number| {
                self.found_here = true;
                count(&mut into.planted, origin, format!("canary {number}"));
            });
        }
    }

    /// Reports whether it is time to look up what was collected.
    pub(super) fn is_full(&self) -> bool {
        self.hashes.len() >= HASHES_MAX
    }

    /// Looks up what was collected, and calls `again` with each cell that holds originals, which is to
    /// be walked once more, and `clean` with each in which nothing is.
    pub(super) fn settle(
        &mut self,
        mut again: impl FnMut(&mut Self, usize),
        mut clean: impl FnMut(usize),
    ) {
        let mut sources = HashMap::new();
        let mut found = Vec::new();
        for (n, hash) in self.hashes.iter().enumerate() {
            if self.originals.may_hold(*hash)
                && let Some(source) = self.originals.find(*hash)
            {
                sources.insert(*hash, source);
                let at = self.cells.partition_point(|cell| cell.first_hash <= n) - 1;
                self.cells[at].maybe_clean = false;
                found.push(self.cells[at].number);
            }
        }
        let cells = self.cells.drain(..).filter(|cell| cell.maybe_clean);
        cells.for_each(|cell| clean(cell.number));
        self.hashes.clear();
        if found.is_empty() {
            return;
        }
        found.dedup();
        self.sources = Some(sources);
        for cell in found {
            again(self, cell);
        }
        self.sources = None;
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

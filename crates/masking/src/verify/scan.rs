//! Reads the finished output back and counts what should not be there.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::canaries::Canaries;
use super::chance::Forms;
use super::clean::CleanCells;
use super::names::NameCounts;
use super::origin::Origin;
use super::originals::Originals;
use super::risk::RiskCounts;
use super::walk::{Walk, Wanted};
use crate::batch::{RowBatch, Slot};
use crate::mask::Alphabet;
use crate::plan::{Plan, TablePlan};

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
    /// Cells of a table, by column, that are known to hold nothing.
    clean: (usize, Vec<CleanCells>),
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
    /// By table, column and what its mask redraws: the forms of what it made.
    pub(super) forms: BTreeMap<((usize, usize), Alphabet), Forms>,
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
            forms: BTreeMap::new(),
            risk: RiskCounts::new(plan),
            names: NameCounts::new(plan),
            in_passing: false,
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
            clean: (0, Vec::new()),
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
            clean: (0, Vec::new()),
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
        let columns = 0..table.columns.len();
        let origins: Vec<_> = columns.map(|at| Origin::of(table, at)).collect();
        if self.clean.0 != table.index || self.clean.1.len() != origins.len() {
            self.clean = (table.index, vec![CleanCells::default(); origins.len()]);
        }
        let mut walk = Walk::new(self.wanted(), &batch.arena);
        for (row, slots) in batch.slots.chunks(origins.len().max(1)).enumerate() {
            let cells = origins.iter().zip(slots).zip(&mut self.clean.1);
            for (at, ((origin, slot), clean)) in cells.enumerate() {
                let number = row * origins.len() + at;
                walk.cell(number, *origin, *slot, clean, &mut self.found);
            }
            if walk.is_full() {
                self.settle(&mut walk, &origins, batch);
            }
        }
        self.settle(&mut walk, &origins, batch);
    }

    fn settle(&mut self, walk: &mut Walk<'_>, origins: &[Origin<'_>], batch: &RowBatch) {
        let (clean, found) = (&mut self.clean.1, &mut self.found);
        let origin = |cell: usize| origins[cell % origins.len()];
        walk.settle(
            |walk, cell| walk.cell_again(origin(cell), batch.slots[cell], found),
            |cell| {
                if let Slot::Text { start, len } | Slot::Blob { start, len } = batch.slots[cell] {
                    clean[cell % origins.len()].insert(&batch.arena[start..start + len]);
                }
            },
        );
    }

    fn wanted(&self) -> Wanted<'a> {
        Wanted {
            plan: self.plan,
            originals: self.originals,
            canaries: self.canaries,
        }
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
        let origin = Origin::place(place);
        let mut walk = Walk::new(self.wanted(), &[]);
        let found = &mut self.found;
        walk.loose_text(origin, text.as_bytes(), found);
        walk.settle(
            |walk, _| walk.loose_text(origin, text.as_bytes(), found),
            |_| {},
        );
    }

    /// Takes over what another thread found in the same output.
    pub fn merge(&mut self, other: OutputScan<'_>) {
        let (ours, other) = (&mut self.found, other.found);
        for (ours, theirs) in ours.rows.iter_mut().zip(other.rows) {
            *ours += theirs;
        }
        ours.cells += other.cells;
        for (place, forms) in &other.forms {
            ours.forms.entry(*place).or_default().merge(forms);
        }
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

    /// Returns how many finds of a kind the chance of a mask that redraws ids explains in a column.
    pub(super) fn explained(&self, place: &Place) -> f64 {
        let Ok(kind) = place.kind.parse() else {
            return 0.0;
        };
        let forms = self.found.forms.iter();
        let here = forms.filter(|(((table, column), _), _)| {
            let table = &self.plan.tables[*table];
            table.name == place.table && table.columns[*column].name == place.column
        });
        here.map(|((_, alphabet), forms)| forms.explained(*alphabet, kind))
            .sum()
    }

    /// Returns how many rows were masked, and so must be here to be read back.
    pub(super) fn originals_rows(&self) -> u64 {
        self.originals
            .tables
            .iter()
            .map(|table| table.rows_masked)
            .sum()
    }
}

//! Masks a table's rows in a text format, batch by batch.

use std::sync::Arc;

use rayon::prelude::*;

use super::splice::Splicer;
use super::{Face, TextBatch, TextFormat};
use crate::batch::RowBatch;
use crate::plan::{MaskError, Plan, TablePlan};
use crate::verify::{Observed, Observer, Originals, OutputScan};

/// Rows that are looked through at a time: what was read is still in a core's nearest caches then.
const STRETCH_BYTES: usize = 32 << 10;

/// Masks batches of one table in one text format.
///
/// Batches are independent of each other: any thread may mask any of them, and [`TextBatches`] has
/// numbered their rows.
///
/// [`TextBatches`]: super::TextBatches
#[derive(Debug, Clone)]
pub struct TextMasker {
    plan: Arc<Plan>,
    table: usize,
    format: TextFormat,
}

impl TextMasker {
    /// Masks the table called `table` of a plan; `None` if there is no such table.
    pub fn new(plan: Arc<Plan>, table: &str, format: TextFormat) -> Option<Self> {
        let table = plan.table(table)?.index;
        Some(Self {
            plan,
            table,
            format,
        })
    }

    /// Returns the plan of the table.
    pub fn table(&self) -> &TablePlan {
        &self.plan.tables[self.table]
    }

    /// Returns the format of the rows.
    pub fn format(&self) -> &TextFormat {
        &self.format
    }

    /// Masks one batch.
    ///
    /// # Errors
    /// Fails on the first row that is none of the format, and on the first value that its mask cannot
    /// take.
    pub fn mask(&self, batch: &TextBatch) -> Result<TextBatch, MaskError> {
        self.masked(batch, None)
    }

    /// Masks many batches in parallel on the current rayon pool, keeps their order, and lets
    /// `originals` remember what must not come out.
    ///
    /// # Errors
    /// Fails as [`TextMasker::mask`] does; of several failures the one of the earliest batch is
    /// returned.
    pub fn mask_all(
        &self,
        batches: &[TextBatch],
        originals: &mut Originals,
    ) -> Result<Vec<TextBatch>, MaskError> {
        let watching: &Originals = originals;
        let done: Vec<Result<(TextBatch, Observed), MaskError>> = batches
            .par_iter()
            .map(|batch| {
                let mut observer = watching.observer(self.table());
                let masked = self.masked(batch, Some(&mut observer))?;
                Ok((masked, observer.finish()))
            })
            .collect();
        let mut masked = Vec::with_capacity(done.len());
        let mut observed = Vec::with_capacity(done.len());
        for batch in done {
            let (batch, seen) = batch?;
            masked.push(batch);
            observed.push(seen);
        }
        originals.absorb(&observed);
        Ok(masked)
    }

    /// Looks through batches of a finished copy, in parallel on the current rayon pool.
    ///
    /// # Errors
    /// Fails on the first row that is none of the format.
    pub fn scan_all(
        &self,
        batches: &[TextBatch],
        scan: &mut OutputScan<'_>,
    ) -> Result<(), MaskError> {
        let fresh: &OutputScan<'_> = scan;
        let scans: Vec<Result<OutputScan<'_>, MaskError>> = batches
            .par_iter()
            .map(|batch| {
                let mut scan = fresh.fresh();
                self.scan(batch, &mut scan)?;
                Ok(scan)
            })
            .collect();
        for found in scans {
            scan.merge(found?);
        }
        Ok(())
    }

    /// Reads all rows of a batch.
    ///
    /// # Errors
    /// Fails on the first row that is none of the format.
    pub fn read(&self, batch: &TextBatch) -> Result<RowBatch, MaskError> {
        let mut all = RowBatch::new(self.table().columns.len(), batch.first_row);
        self.read_stretches(batch, usize::MAX, &mut |rows| {
            std::mem::swap(&mut all, rows);
        })?;
        Ok(all)
    }

    fn scan(&self, batch: &TextBatch, scan: &mut OutputScan<'_>) -> Result<(), MaskError> {
        self.read_stretches(batch, STRETCH_BYTES, &mut |rows| {
            scan.scan(self.table(), rows);
        })
    }

    /// Reads the rows of a batch, and hands them over in stretches of about `bytes_max`.
    fn read_stretches(
        &self,
        batch: &TextBatch,
        bytes_max: usize,
        take: &mut dyn FnMut(&mut RowBatch),
    ) -> Result<(), MaskError> {
        match &self.format {
            TextFormat::CopyText(face) => self.read_by(face, batch, bytes_max, take),
            TextFormat::Csv(face) => self.read_by(face, batch, bytes_max, take),
            TextFormat::JsonLines(face) => self.read_by(face, batch, bytes_max, take),
        }
    }

    fn read_by<F: Face>(
        &self,
        face: &F,
        batch: &TextBatch,
        bytes_max: usize,
        take: &mut dyn FnMut(&mut RowBatch),
    ) -> Result<(), MaskError> {
        let mut splicer = Splicer::new(self.table(), face);
        let mut rows = RowBatch::new(self.table().columns.len(), batch.first_row);
        let mut start = 0;
        while start < batch.bytes.len() {
            start = splicer.read_rows(&batch.bytes, start, bytes_max, &mut rows)?;
            let next_row = rows.first_row() + rows.len() as u64;
            take(&mut rows);
            rows.restart(next_row);
        }
        Ok(())
    }

    fn masked(
        &self,
        batch: &TextBatch,
        observer: Option<&mut Observer>,
    ) -> Result<TextBatch, MaskError> {
        match &self.format {
            TextFormat::CopyText(face) => self.masked_by(face, batch, observer),
            TextFormat::Csv(face) => self.masked_by(face, batch, observer),
            TextFormat::JsonLines(face) => self.masked_by(face, batch, observer),
        }
    }

    fn masked_by<F: Face>(
        &self,
        face: &F,
        batch: &TextBatch,
        observer: Option<&mut Observer>,
    ) -> Result<TextBatch, MaskError> {
        let (bytes, rows) = Splicer::new(self.table(), face).mask(batch, observer)?;
        let first_row = batch.first_row;
        Ok(TextBatch {
            bytes,
            first_row,
            rows,
        })
    }
}

//! The engine: masks row batches. One batch is one unit of work, and rows keep their order, so the
//! result does not depend on the number of threads.

use lifeboat_model::{Diagnose, ErrorKind};
use rayon::prelude::*;

use super::{ArmPlan, ColumnPlan, TablePlan};
use crate::batch::{Row, RowBatch, Slot};
use crate::face::Malformed;
use crate::mask::{Bound, Fault, Made, RowContext};
use crate::rules::written;

/// A value could not be masked. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to mask `{table}.{column}` in row {row}: {reason}")]
pub struct MaskError {
    /// The table.
    pub table: String,
    /// The column, or `*` for a whole row.
    pub column: String,
    /// The row, counted from 1 in the order read.
    pub row: u64,
    /// Why.
    pub reason: String,
    /// Whether the row is not in its format, or may not pass.
    pub kind: ErrorKind,
}

impl Diagnose for MaskError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        let Self { table, column, .. } = self;
        if self.kind == ErrorKind::Corrupt {
            return Some("mend that row in the source, or what writes it".to_owned());
        }
        if column == "*" {
            return Some("look at that row in the source".to_owned());
        }
        Some(format!(
            "look at that row in the source, or change the rule of `{column}` in `[table.{}]`",
            written::key(table)
        ))
    }
}

impl TablePlan {
    /// Masks the rows of one batch.
    ///
    /// # Errors
    /// Fails on the first value that its mask cannot take, or if the batch has another number of
    /// columns than the plan.
    pub fn mask(&self, batch: &RowBatch) -> Result<RowBatch, MaskError> {
        if batch.columns() != self.columns.len() {
            let (found, planned) = (batch.columns(), self.columns.len());
            let reason = format!("rows have {found} cells and the plan {planned} columns");
            return Err(self.error("*", batch.first_row(), reason));
        }
        let mut masked = RowBatch::sized_like(batch);
        for (row, number) in batch.rows().zip(batch.first_row()..) {
            self.mask_row(row, number, &mut masked)?;
        }
        Ok(masked)
    }

    /// Masks many batches in parallel on the current rayon pool and keeps their order.
    ///
    /// # Errors
    /// Fails as [`TablePlan::mask`] does; of several failures the one of the earliest batch is
    /// returned.
    pub fn mask_all(&self, batches: Vec<RowBatch>) -> Result<Vec<RowBatch>, MaskError> {
        let masked: Vec<Result<RowBatch, MaskError>> = batches
            .into_par_iter()
            .map(|batch| self.mask(&batch))
            .collect();
        masked.into_iter().collect()
    }

    fn mask_row(&self, row: Row<'_>, number: u64, into: &mut RowBatch) -> Result<(), MaskError> {
        let first = into.slots.len();
        into.slots.resize(first + self.columns.len(), Slot::Null);
        for &at in &self.masked {
            self.mask_cell(at, row, number, first, into)?;
        }
        for (at, column) in self.columns.iter().enumerate() {
            if column.arm(row).is_some_and(|arm| arm.action.is_none()) {
                into.slots[first + at] = into.store(row.cell(at));
            }
        }
        Ok(())
    }

    /// Masks one cell of a row into the row of `into` that starts with slot `first`, and reports
    /// whether it did: a rule may keep the values of some rows.
    #[inline]
    pub(crate) fn mask_cell(
        &self,
        at: usize,
        row: Row<'_>,
        number: u64,
        first: usize,
        into: &mut RowBatch,
    ) -> Result<bool, MaskError> {
        let column = &self.columns[at];
        match column.masked(at, row, number, first, into) {
            Ok(Some(slot)) => {
                into.slots[first + at] = slot;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Fault(reason)) => Err(self.error(&column.name, number, reason.into_owned())),
        }
    }

    #[cold]
    pub(crate) fn error(&self, column: &str, number: u64, reason: String) -> MaskError {
        MaskError {
            table: self.name.clone(),
            column: column.to_owned(),
            row: number + 1,
            reason,
            kind: ErrorKind::Refused,
        }
    }

    /// Says that a row is not in its format, or may not pass as a whole.
    #[cold]
    pub(crate) fn malformed(&self, column: &str, number: u64, why: Malformed) -> MaskError {
        MaskError {
            kind: why.kind,
            ..self.error(column, number, why.reason.into_owned())
        }
    }
}

impl ColumnPlan {
    /// Returns the masked value of a row's cell, or `None` if the rule keeps it.
    #[inline]
    fn masked(
        &self,
        at: usize,
        row: Row<'_>,
        number: u64,
        first: usize,
        into: &mut RowBatch,
    ) -> Result<Option<Slot>, Fault> {
        // The last arm has no condition, so one always holds; without arms there is no plan.
        let arm = self
            .arm(row)
            .ok_or(Fault::new("no arm of its rule holds"))?;
        let Some(bound) = &arm.action else {
            return Ok(None);
        };
        let context = RowContext {
            original: row,
            masked: &into.slots[first..],
            number,
        };
        let start = into.arena.len();
        let made = bound.apply(row.cell(at), context, &mut into.arena)?;
        let len = into.arena.len() - start;
        Ok(Some(match made {
            Made::Null => Slot::Null,
            Made::Integer(number) => Slot::Integer(number),
            Made::Real(number) => Slot::Real(number),
            Made::Text => Slot::Text { start, len },
            Made::Blob => Slot::Blob { start, len },
        }))
    }

    /// Iterates over the masks of its arms.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &Bound> {
        self.arms.iter().filter_map(|arm| arm.action.as_ref())
    }

    /// Returns the arm for an original row.
    #[inline]
    pub(crate) fn arm(&self, row: Row<'_>) -> Option<&ArmPlan> {
        self.arms
            .iter()
            .find(|arm| arm.when.as_ref().is_none_or(|when| when.holds(row)))
    }
}

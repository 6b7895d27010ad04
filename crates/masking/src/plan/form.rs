//! Whether masks make what a strictly typed column takes.
//!
//! Values of the column's form are put through the mask, and what comes out is held against the same
//! form. That needs no knowledge of any mask: a new one is judged as the others are.

use super::TablePlan;
use crate::batch::{Cell, Row, RowBatch, Slot};
use crate::form::{ValueForm, takes_integer};
use crate::mask::{Bound, Made, Parts, RowContext, parse_signed};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// How a mask and a form go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// No output is known that the column would refuse.
    Fits,
    /// It takes no value of the form, so the first row would stop the run.
    TakesNone,
    /// It makes what the column refuses.
    Breaks,
}

impl Fit {
    /// Judges a mask for a column of a table with `columns` columns.
    ///
    /// Those that are made of other masked columns are judged by [`Fit::of_rows`].
    pub(super) fn of(bound: &Bound, column: &ColumnSchema, columns: usize) -> Self {
        if bound.mask.reads_masked() {
            return Self::Fits;
        }
        let mut taken = match column.form {
            // A mask of numbers may be one of a range that no sample is in.
            ValueForm::Free | ValueForm::Integer(_) => true,
            ValueForm::Decimal => bound.wants_number(),
            _ => false,
        };
        let row = vec![Slot::Null; columns];
        let row = Row {
            slots: &row,
            arena: &[],
        };
        let mut out = Vec::new();
        for sample in column.form.samples() {
            out.clear();
            let context = RowContext {
                original: row,
                masked: row.slots,
                number: 0,
            };
            let input = cell(&column.form, &sample, bound.wants_number());
            let Ok(made) = bound.apply(input, context, &mut out) else {
                // Its rule speaks of other members than the sample has.
                let parts = bound.mask.parts();
                taken |= parts.is_some_and(|parts| reads(parts, &sample));
                continue;
            };
            taken = true;
            let made = match made {
                Made::Null => Cell::Null,
                Made::Integer(number) => Cell::Integer(number),
                Made::Real(number) => Cell::Real(number),
                Made::Text => Cell::Text(&out),
                Made::Blob => Cell::Blob(&out),
            };
            if !takes(&column.form, made) {
                return Self::Breaks;
            }
        }
        if taken { Self::Fits } else { Self::TakesNone }
    }

    /// Judges masks of column `at` that are made of other masked columns, by rows of samples.
    pub(super) fn of_rows(plan: &TablePlan, table: &TableSchema, at: usize) -> Self {
        let stored = table.columns.iter().filter(|column| !column.generated);
        let stored: Vec<&ColumnSchema> = stored.collect();
        let column = &plan.columns[at];
        if stored[at].form == ValueForm::Free
            || !column.actions().any(|bound| bound.mask.reads_masked())
        {
            return Self::Fits;
        }
        let samples: Vec<Vec<String>> = stored.iter().map(|column| column.form.samples()).collect();
        let mut batch = RowBatch::new(stored.len(), 0);
        for n in 0..ROWS {
            let cells = stored.iter().zip(&samples).zip(&plan.columns);
            batch.push_row(cells.map(|((column, samples), plan)| {
                let wants_number = plan.actions().any(Bound::wants_number);
                let sample = samples.get(n % samples.len().max(1));
                sample.map_or(Cell::Text(b"word"), |sample| {
                    cell(&column.form, sample, wants_number)
                })
            }));
        }
        // What these rows stop need not stop others.
        let Ok(masked) = plan.mask(&batch) else {
            return Self::Fits;
        };
        let mut cells = masked.rows().map(|row| row.cell(at));
        if cells.all(|cell| takes(&stored[at].form, cell)) {
            Self::Fits
        } else {
            Self::Breaks
        }
    }
}

/// Rows of samples that are tried.
const ROWS: usize = 8;

/// Returns what people call a column's type.
pub(super) fn type_name(column: &ColumnSchema) -> &str {
    match &*column.declared {
        "" => column.ty.name(),
        declared => declared,
    }
}

/// Says which masks make values of a column's type, in a hint.
pub(super) fn suited(column: &ColumnSchema) -> String {
    let masks = match (&column.form, column.ty) {
        (ValueForm::Free, ColumnType::Integer) => ValueForm::Integer(64).suited(),
        (ValueForm::Free, ColumnType::Real) => ValueForm::Decimal.suited(),
        (ValueForm::Free, ColumnType::Blob) => &["json", "null"],
        (ValueForm::Free, _) => &["text", "hash", "redact", "dict", "const", "null"],
        (form, _) => form.suited(),
    };
    let takes_null = !column.not_null && !column.primary_key;
    let masks = masks.iter().filter(|mask| takes_null || **mask != "null");
    let masks: Vec<String> = masks.map(|mask| format!("`{mask}`")).collect();
    format!("what fits is {}", masks.join(", "))
}

/// Reads a sample as the engine reads a field.
fn cell<'s>(form: &ValueForm, sample: &'s str, wants_number: bool) -> Cell<'s> {
    let number = matches!(form, ValueForm::Integer(_)) || wants_number;
    let integer = parse_signed(sample.as_bytes()).map(Cell::Integer);
    let real = || sample.parse().ok().map(Cell::Real);
    let number = number.then(|| integer.or_else(real)).flatten();
    number.unwrap_or(Cell::Text(sample.as_bytes()))
}

/// Reports whether a value is one of those that are taken apart: others are shown whole.
fn reads(parts: &dyn Parts, sample: &str) -> bool {
    let whole = Cell::Text(sample.as_bytes());
    let mut reads = true;
    parts.each(sample.as_bytes(), &mut |part, _| reads &= part != whole);
    reads
}

fn takes(form: &ValueForm, made: Cell<'_>) -> bool {
    match (made, form) {
        (Cell::Null | Cell::Blob(_), _) => true,
        (Cell::Integer(number), ValueForm::Integer(bits)) => takes_integer(*bits, number),
        (Cell::Integer(number), form) => form.takes(&number.to_string()),
        (Cell::Real(number), form) => form.takes(&number.to_string()),
        (Cell::Text(text), form) => std::str::from_utf8(text).is_ok_and(|text| form.takes(text)),
    }
}

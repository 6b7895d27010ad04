//! Whether masked values satisfy the column's own constraints: enumerations, CHECKs, lengths.
//!
//! A column takes only what its constraints allow, so these values are put through its rule, and what
//! comes out is held against the same constraints. That needs no knowledge of any mask.

use lifeboat_model::Severity;

use super::TablePlan;
use super::compile::Compiler;
use crate::batch::{Cell, RowBatch};
use crate::limits::{Limits, Literal};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// Most listed values that are tried.
const PROBES_MAX: usize = 1_000;

/// Reports rules whose output the database would refuse.
pub(super) fn check(compiler: &Compiler<'_>, table: &TableSchema, plan: &TablePlan) {
    let stored = table.columns.iter().filter(|column| !column.generated);
    for (at, column) in stored.enumerate() {
        let limits = Limits::of(column);
        let masked = plan.columns[at].arms.iter().any(|arm| arm.action.is_some());
        if !masked {
            continue;
        }
        let Some(decision) = compiler.decision(table, column) else {
            continue;
        };
        let place = format!("{}.{}", table.name, column.name);
        let origin = &decision.rule.origin;
        match outcome(plan, at, column, &limits) {
            Outcome::Fits => {}
            Outcome::Refused => {
                let message =
                    format!("the mask of `{place}` cannot take every value the column may hold");
                compiler.error(
                    origin,
                    message,
                    "keep it with a reason, or use `const`, `dict` or `null`",
                );
            }
            Outcome::Breaks => {
                let message = format!(
                    "the mask of `{place}` makes values that a constraint of the column refuses"
                );
                let hint = "use `dict` or `const` with values that the constraint allows, or keep it with a reason";
                compiler.error(origin, message, hint);
            }
        }
        for unread in &limits.unread {
            // An expression of the schema is code, yet it may list values: it is not repeated.
            let message = format!(
                "a CHECK of {} characters on `{place}` could not be read",
                unread.chars().count()
            );
            let hint =
                "the copy itself enforces it: a value that breaks it stops the run".to_owned();
            compiler.push(origin.problem(Severity::Advice, message, Some(hint)));
        }
    }
}

enum Outcome {
    Fits,
    /// Some value that the column may hold stops the run.
    Refused,
    /// Some output would be refused by the database.
    Breaks,
}

fn outcome(plan: &TablePlan, at: usize, column: &ColumnSchema, limits: &Limits) -> Outcome {
    let width = plan.columns.len();
    for probe in probes(column, limits) {
        let mut batch = RowBatch::new(width, 0);
        batch.push_row((0..width).map(|n| match (&probe, n == at) {
            (Probe::Integer(number), true) => Cell::Integer(*number),
            (Probe::Text(text), true) => Cell::Text(text.as_bytes()),
            _ => Cell::Null,
        }));
        let Ok(masked) = plan.mask(&batch) else {
            return Outcome::Refused;
        };
        let taken = masked.rows().all(|row| match row.cell(at) {
            Cell::Null => true,
            Cell::Integer(number) => limits.takes_number(number as f64),
            Cell::Real(number) => limits.takes_number(number),
            Cell::Text(text) | Cell::Blob(text) => {
                std::str::from_utf8(text).is_ok_and(|text| limits.takes_text(text))
            }
        });
        if !taken {
            return Outcome::Breaks;
        }
    }
    Outcome::Fits
}

enum Probe {
    Integer(i64),
    Text(String),
}

/// Values that the column may hold by its constraints; none if these say nothing.
fn probes(column: &ColumnSchema, limits: &Limits) -> Vec<Probe> {
    if let Some(allowed) = &limits.allowed {
        return allowed
            .iter()
            .take(PROBES_MAX)
            .map(|value| match value {
                Literal::Number(number) => Probe::Integer(*number as i64),
                Literal::Text(text) => Probe::Text(text.clone()),
            })
            .filter(|probe| !matches!(probe, Probe::Text(text) if text.is_empty()))
            .collect();
    }
    if column.ty == ColumnType::Integer && (limits.min.is_some() || limits.max.is_some()) {
        let (min, max) = match (limits.min, limits.max) {
            (Some(min), Some(max)) => (min as i64, max as i64),
            (Some(min), None) => (min as i64, (min as i64).saturating_add(1_000_000)),
            (None, max) => {
                let max = max.unwrap_or_default() as i64;
                (max.saturating_sub(1_000_000), max)
            }
        };
        let middle = min / 2 + max / 2;
        return [min, middle, max].into_iter().map(Probe::Integer).collect();
    }
    Vec::new()
}

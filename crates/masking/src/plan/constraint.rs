//! Whether masked values satisfy the column's own constraints: enumerations, CHECKs, lengths.
//!
//! A column takes only what its constraints allow, so these values are put through its rule, and what
//! comes out is held against the same constraints. That needs no knowledge of any mask.

use lifeboat_document::Origin;
use lifeboat_model::Severity;

use super::compile::Compiler;
use super::form::{self, Fit};
use super::{ArmPlan, TablePlan};
use crate::batch::{Cell, RowBatch};
use crate::limits::{Limits, Literal};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// Most listed values that are tried.
const PROBES_MAX: usize = 1_000;

/// Reports rules whose output the database would refuse.
pub(super) fn check(compiler: &Compiler<'_>, table: &TableSchema, plan: &TablePlan) {
    let plan = &complete(plan);
    let stored = table.columns.iter().filter(|column| !column.generated);
    for (at, column) in stored.enumerate() {
        if plan.columns[at].arms.iter().all(|arm| arm.action.is_none()) {
            continue;
        }
        if let Some(decision) = compiler.decision(table, column) {
            let place = format!("{}.{}", table.name, column.name);
            let origin = &decision.rule.origin;
            check_column(compiler, origin, &place, table, plan, at, column);
        }
    }
}

/// Lets columns stay for which rules are missing: that is reported elsewhere.
fn complete(plan: &TablePlan) -> TablePlan {
    let mut plan = plan.clone();
    for column in &mut plan.columns {
        if column.arms.is_empty() {
            column.arms.push(ArmPlan {
                when: None,
                action: None,
            });
        }
    }
    plan
}

fn check_column(
    compiler: &Compiler<'_>,
    origin: &Origin,
    place: &str,
    table: &TableSchema,
    plan: &TablePlan,
    at: usize,
    column: &ColumnSchema,
) {
    let limits = Limits::of(column);
    let masks: Vec<String> = plan.columns[at]
        .actions()
        .map(|bound| format!("`{}`", bound.name()))
        .collect();
    let masks = masks.join(" or ");
    if Fit::of_rows(plan, table, at) == Fit::Breaks {
        let ty = form::type_name(column);
        let message =
            format!("`{place}` has type `{ty}`, and {masks} makes values that are none of it");
        compiler.error(origin, message, form::suited(column));
    }
    let (probes, complete) = probes(column, &limits);
    let outcomes: Vec<Outcome> = probes
        .iter()
        .map(|probe| outcome(plan, at, probe, &limits))
        .collect();
    if outcomes.contains(&Outcome::Breaks) {
        let refuses = if column.labels.is_empty() {
            "a constraint of the column refuses".to_owned()
        } else {
            format!("are no label of its type `{}`", form::type_name(column))
        };
        let message = format!("{masks} of `{place}` makes values that {refuses}");
        let hint = "use `dict` or `const` with values that the constraint allows, or keep it with a \
                    reason";
        compiler.error(origin, message, hint);
    } else if complete && outcomes.contains(&Outcome::Refused) {
        let message = format!("{masks} of `{place}` cannot take every value the column may hold");
        let hint = "keep it with a reason, or use `const`, `dict` or `null`";
        compiler.error(origin, message, hint);
    }
    for unread in &limits.unread {
        // An expression of the schema is code, yet it may list values: it is not repeated.
        let chars = unread.chars().count();
        let message = format!("a CHECK of {chars} characters on `{place}` could not be read");
        let hint = "the copy itself enforces it: a value that breaks it stops the run".to_owned();
        compiler.push(origin.problem(Severity::Advice, message, Some(hint)));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fits,
    /// The value stops the run.
    Refused,
    /// The output would be refused by the database.
    Breaks,
}

fn outcome(plan: &TablePlan, at: usize, probe: &Probe, limits: &Limits) -> Outcome {
    let width = plan.columns.len();
    let mut batch = RowBatch::new(width, 0);
    batch.push_row((0..width).map(|n| match (probe, n == at) {
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
    if taken {
        Outcome::Fits
    } else {
        Outcome::Breaks
    }
}

#[derive(Debug)]
enum Probe {
    Integer(i64),
    Text(String),
}

/// Returns values that the column may hold by its constraints, and whether these are all of them.
fn probes(column: &ColumnSchema, limits: &Limits) -> (Vec<Probe>, bool) {
    if let Some(allowed) = &limits.allowed {
        let probes = allowed.iter().take(PROBES_MAX).map(|value| match value {
            Literal::Number(number) => Probe::Integer(*number as i64),
            Literal::Text(text) => Probe::Text(text.clone()),
        });
        return (probes.collect(), true);
    }
    if column.ty == ColumnType::Integer {
        let (min, max) = (
            limits.min.map(|min| min as i64),
            limits.max.map(|max| max as i64),
        );
        let middle = min.zip(max).map(|(min, max)| min / 2 + max / 2);
        let numbers = [min, middle, max].into_iter().flatten();
        return (numbers.map(Probe::Integer).collect(), false);
    }
    let len = limits
        .max_chars
        .or(limits.min_chars)
        .filter(|len| (1..=64).contains(len));
    let text = len.map(|len| Probe::Text("x".repeat(len)));
    (text.into_iter().collect(), false)
}

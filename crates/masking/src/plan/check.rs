//! Whether a column's rule fits the column.

use super::compile::{Compiler, Decision};
use super::form::{self, Fit};
use super::{ColumnClass, ColumnPlan, dangling, names};
use crate::discover::speaks_of_people;
use crate::limits::Limits;
use crate::mask::{Bound, Distinct, REDACTED};
use crate::rules::{Choice, Keep, written};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// Highest accepted chance that two of a unique column's masked values collide.
const COLLISION_MAX: f64 = 1e-9;

/// Rows assumed where nobody counted.
pub(super) const ROWS_ASSUMED: u64 = 1 << 24;

pub(super) fn column(
    compiler: &Compiler<'_>,
    table: &TableSchema,
    column: &ColumnSchema,
    decision: &Decision<'_>,
    plan: &ColumnPlan,
) {
    let place = format!("{}.{}", table.name, column.name);
    let origin = &decision.rule.origin;
    let report = |message: String, hint: String| compiler.error(origin, message, hint);
    for arm in plan.arms.iter().filter_map(|arm| arm.action.as_ref()) {
        for (message, hint) in misfits(&place, table, column, table.rows, arm) {
            report(message, hint);
        }
    }
    if plan.arms.len() > 1 && (column.unique || column.primary_key) {
        let masked = plan.arms.iter().filter(|arm| arm.action.is_some()).count();
        if masked > 1 || masked < plan.arms.len() {
            let message =
                format!("`{place}` is unique, and its arms may make the same value twice");
            report(
                message,
                "give a unique column one rule for all rows".to_owned(),
            );
        }
    }
    if decision.inherited && plan.arms.len() > 1 {
        let message = format!("`{place}` follows a column whose rule has conditions");
        report(
            message,
            "conditions read their own row; give both columns one domain".to_owned(),
        );
    }
    for arm in &decision.rule.arms {
        if let Choice::Keep(keep) = &arm.choice {
            check_keep(compiler, &place, column, decision, keep);
        }
    }
    if plan.class == ColumnClass::Kept && !decision.inherited {
        dangling::check(compiler, table, column, decision);
    }
    if !decision.inherited {
        check_foreign_key(compiler, &place, column, decision);
    }
}

fn check_keep(
    compiler: &Compiler<'_>,
    place: &str,
    column: &ColumnSchema,
    decision: &Decision<'_>,
    keep: &Keep,
) {
    let origin = &decision.rule.origin;
    let name = &column.name;
    let example = format!(
        "`{} = {{ mask = \"keep\", reason = \"..\" }}`",
        written::key(name)
    );
    let personal = names::personal_word(name).map(str::to_owned);
    // Words of more languages, and of two words, that discovery knows.
    match personal.or_else(|| speaks_of_people(name).then(|| name.clone())) {
        Some(word) if keep.reason.is_none() => {
            let message = format!("`{place}` is kept, but `{word}` in its name speaks of people");
            let hint = format!("mask it, or say why it may stay: {example}");
            compiler.error(origin, message, hint);
        }
        None if keep.reason.is_none() && !keep.allow.is_empty() => {
            let message = format!("`{place}` allows finds without a reason");
            compiler.error(origin, message, format!("say why they may stay: {example}"));
        }
        _ => {}
    }
}

/// Lists what is wrong with a mask on a column.
pub(super) fn misfits(
    place: &str,
    table: &TableSchema,
    column: &ColumnSchema,
    rows: Option<u64>,
    bound: &Bound,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (traits, name) = (bound.traits(), bound.name());
    let ty = form::type_name(column);
    if column.ty != ColumnType::Any && !traits.types.contains(&column.ty) {
        let message = format!("`{place}` has type `{ty}`, and `{name}` makes no values of it");
        found.push((message, form::suited(column)));
    } else {
        let wrong = match Fit::of(bound, column, table.columns.len()) {
            Fit::Fits => None,
            Fit::TakesNone => Some("takes no values of it"),
            Fit::Breaks => Some("makes values that are none of it"),
        };
        let message = wrong.map(|wrong| format!("`{place}` has type `{ty}`, and `{name}` {wrong}"));
        found.extend(message.map(|message| (message, form::suited(column))));
    }
    if traits.distinct == Distinct::Null && (column.not_null || column.primary_key) {
        let message = format!("`{place}` is NOT NULL, and its mask makes NULL");
        let hint = "use `redact`, `const` or a realistic mask";
        found.push((message, hint.to_owned()));
    }
    if column.unique || column.primary_key {
        let rows = rows.unwrap_or(ROWS_ASSUMED);
        if collision_bound(traits.distinct, rows) > COLLISION_MAX {
            let message =
                format!("`{place}` is unique, and its mask may make the same value twice");
            let hint = "use `permute_int`, `permute_id`, `uuid`, `hash`, or `email` with \
                        `unique = true`";
            found.push((message, hint.to_owned()));
        }
    }
    // Masks make ASCII of a length known beforehand: a byte is a character.
    let taken = column.max_len.into_iter().chain(column.max_chars).min();
    if let (Some(made), Some(taken)) = (traits.max_len, taken)
        && made > taken
    {
        let message =
            format!("the mask of `{place}` makes up to {made} bytes, the column takes {taken}");
        let hint = "choose a shorter mask, such as `hash` with `length`";
        found.push((message, hint.to_owned()));
    }
    found
}

/// Returns the chance that any two of `rows` values collide: at most n^2 / 2 over their number.
fn collision_bound(distinct: Distinct, rows: u64) -> f64 {
    let rows = rows as f64;
    match distinct {
        Distinct::Injective | Distinct::Null => 0.0,
        Distinct::Bits(bits) => rows * rows / 2.0 / bits.exp2(),
        Distinct::Few => 1.0,
    }
}

/// Reports a foreign key whose own rule differs from that of the column it points at.
fn check_foreign_key(
    compiler: &Compiler<'_>,
    place: &str,
    column: &ColumnSchema,
    decision: &Decision<'_>,
) {
    let Some((table, referenced)) = &column.references else {
        return;
    };
    let Some((target_table, target)) = compiler.find((table, referenced)) else {
        return;
    };
    let Some(theirs) = compiler.decision(target_table, target) else {
        return;
    };
    let same = match (&decision.rule.arms[..], &theirs.rule.arms[..]) {
        ([ours], [theirs]) => match (&ours.choice, &theirs.choice) {
            (Choice::Keep(_), Choice::Keep(_)) => true,
            (Choice::Domain(ours), Choice::Domain(theirs)) => ours == theirs,
            // All NULL joins nothing, and breaks nothing.
            (Choice::Mask(ours), _) => ours.mask.makes_null(),
            _ => false,
        },
        _ => false,
    };
    if !same {
        let message =
            format!("`{place}` is a foreign key and masks differently from `{table}.{referenced}`");
        let hint = "leave it out of the rules: it follows the column it points at";
        compiler.error(&decision.rule.origin, message, hint);
    }
}

/// Reports whether a column takes what `redact` writes.
pub(super) fn takes_redacted(column: &ColumnSchema) -> bool {
    matches!(column.ty, ColumnType::Text | ColumnType::Any)
        && column.form.takes(REDACTED)
        && Limits::of(column).takes_text(REDACTED)
}

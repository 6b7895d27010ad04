//! Kept columns that look like a masked key: references that would join nothing.

use lifeboat_model::Severity;

use super::compile::{Compiler, Decision};
use crate::rules::{Choice, written};
use crate::schema::{ColumnSchema, Schema, TableSchema};

/// Warns if a kept column looks like the key of a table, and that key is masked.
///
/// A reason for keeping it says that somebody looked, and ends the warning.
pub(super) fn check(
    compiler: &Compiler<'_>,
    table: &TableSchema,
    column: &ColumnSchema,
    decision: &Decision<'_>,
) {
    let reasoned = decision
        .rule
        .arms
        .iter()
        .any(|arm| matches!(&arm.choice, Choice::Keep(keep) if keep.reason.is_some()));
    if column.references.is_some() || reasoned {
        return;
    }
    let Some((target, key)) = looks_like(compiler.schema, table, column) else {
        return;
    };
    if !compiler.masks(target, key) {
        return;
    }
    let place = format!("{}.{}", target.name, key.name);
    let message = format!(
        "`{}.{}` looks like `{place}`, which is masked",
        table.name, column.name
    );
    let hint = format!(
        "give it the rule `{} = {{ references = {} }}`, or they no longer join; if it is something \
         else, keep it with a `reason`",
        written::key(&column.name),
        written::string(&place)
    );
    let origin = &decision.rule.origin;
    compiler.push(origin.problem(Severity::Warning, message, Some(hint)));
}

/// Returns the table and key that a column's name speaks of: `user_id` or `authorUserId` of
/// `users.id`.
pub(crate) fn looks_like<'s>(
    schema: &'s Schema,
    table: &TableSchema,
    column: &ColumnSchema,
) -> Option<(&'s TableSchema, &'s ColumnSchema)> {
    let name = snake(&column.name);
    let mut stem = name.strip_suffix("_id")?;
    loop {
        let found = schema.tables.iter().find_map(|target| {
            let is_meant = is_named_after(&target.name, &table.name, stem);
            let key = is_meant.then(|| key_of(target, &name))??;
            let is_itself = target.name == table.name && key.name == column.name;
            (!is_itself).then_some((target, key))
        });
        // `billing_customer` is nobody's table, `customer` is.
        match (found, stem.split_once('_')) {
            (Some(found), _) => return Some(found),
            (None, Some((_, rest))) => stem = rest,
            (None, None) => return None,
        }
    }
}

/// Reports whether `table`, in the same database schema as `beside`, holds what `stem` names.
fn is_named_after(table: &str, beside: &str, stem: &str) -> bool {
    let split = |name: &str| {
        let (schema, name) = name.rsplit_once('.').unwrap_or(("", name));
        (schema.to_owned(), snake(name))
    };
    let ((schema, name), (ours, _)) = (split(table), split(beside));
    let plural_in_y = stem.strip_suffix('y').map(|stem| format!("{stem}ies"));
    schema == ours
        && (name == stem
            || name == format!("{stem}s")
            || name == format!("{stem}es")
            || plural_in_y.is_some_and(|plural| name == plural))
}

/// Returns what identifies a table's rows: its key, or a column that is called so.
fn key_of<'s>(table: &'s TableSchema, name: &str) -> Option<&'s ColumnSchema> {
    let find = |is: &dyn Fn(&ColumnSchema) -> bool| table.columns.iter().find(|column| is(column));
    find(&|column| column.primary_key)
        .or_else(|| find(&|column| column.name.eq_ignore_ascii_case("id")))
        .or_else(|| find(&|column| snake(&column.name) == name))
}

/// Returns `authorUserId` as `author_user_id`.
fn snake(name: &str) -> String {
    let mut made = String::with_capacity(name.len() + 4);
    let mut lower_before = false;
    for c in name.chars() {
        if c.is_uppercase() && lower_before {
            made.push('_');
        }
        made.extend(c.to_lowercase());
        lower_before = c.is_lowercase() || c.is_ascii_digit();
    }
    made
}

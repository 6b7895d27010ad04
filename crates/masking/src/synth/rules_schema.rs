//! A schema from rules alone: the columns that they name, typed by what their masks make.

use lifeboat_document::{Node, Table, Value};

use crate::rules::{Choice, RuleSet};
use crate::schema::{ColumnSchema, ColumnType, Schema, TableSchema};

/// Returns the tables and columns that rules name, for which there is no database yet.
///
/// A column called `id` whose rule is one to one is the primary key; `references` are foreign keys.
pub fn schema_of_rules(rules: &RuleSet) -> Schema {
    let tables = rules.tables.iter().map(|table| TableSchema {
        name: table.name.clone(),
        columns: table
            .columns
            .iter()
            .map(|rule| {
                let mut column = ColumnSchema::new(&rule.name, ColumnType::Text);
                let word = rules
                    .written(&table.name, &rule.name)
                    .and_then(|node| mask_word(rules, node));
                if let Some("permute_int" | "noise" | "bucket") = word {
                    column.ty = ColumnType::Integer;
                }
                column.primary_key = rule.name == "id"
                    && matches!(word, Some("permute_int" | "permute_id" | "uuid"));
                column.unique = column.primary_key;
                column.not_null = column.primary_key;
                if let [arm] = &rule.arms[..]
                    && let Choice::References(target, key, _) = &arm.choice
                {
                    column.references = Some((target.clone(), key.clone()));
                }
                column
            })
            .collect(),
        rows: None,
    });
    let mut schema = Schema {
        tables: tables.collect(),
    };
    let typed = schema.clone();
    for column in schema
        .tables
        .iter_mut()
        .flat_map(|table| &mut table.columns)
    {
        if let Some((table, name)) = &column.references
            && let Some((_, target)) = typed.table(table).and_then(|table| table.column(name))
        {
            column.ty = target.ty;
        }
    }
    schema
}

/// Returns the mask that a rule names, or that its domain names.
fn mask_word<'r>(rules: &'r RuleSet, node: &'r Node) -> Option<&'r str> {
    let of = |table: &'r Table, name: &str| match &table.get(name)?.1.value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    match &node.value {
        Value::String(word) => Some(word),
        Value::Table(table) => {
            of(table, "mask").or_else(|| of(rules.written_domain(of(table, "domain")?)?, "mask"))
        }
        Value::Array(arms) => mask_word(rules, arms.last()?),
        _ => None,
    }
}

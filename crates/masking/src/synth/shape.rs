//! Which raw values a column gets: those that its rule takes, within its type and constraints.

use lifeboat_document::{Node, Table, Value};

use super::raw::{Choice, Member, OwnedCell, Raw, RawColumn, Source};
use crate::limits::{Limits, Literal};
use crate::plan::name_words;
use crate::rules::RuleSet;
use crate::schema::{ColumnSchema, ColumnType, Schema, TableSchema};

/// 1945-01-01 and 2006-01-01: births of people who are of age.
const BIRTHS: (i64, i64) = (-788_918_400, 1_136_073_600);
/// 2023-01-01 and 2026-01-01: what happened lately.
const EVENTS: (i64, i64) = (1_672_531_200, 1_767_225_600);

/// Decides how each stored column of a table is made.
pub(super) fn columns(
    rules: &RuleSet,
    schema: &Schema,
    table: &TableSchema,
    counts: &[u64],
) -> Vec<RawColumn> {
    let mut divisor = 1_u64;
    let stored = table.columns.iter().filter(|column| !column.generated);
    stored
        .map(|column| {
            let source = source(rules, schema, table, column, counts, &mut divisor);
            let keyed = column.unique || column.primary_key || column.key_part;
            let mut raw = raw(rules, table, column);
            let listed = Limits::of(column).allowed.is_some();
            if column.key_part && source == Source::Own && !column.unique && !listed {
                // The rest of the row number: a combination with the digits before never repeats.
                raw = unique_of(column);
            }
            RawColumn {
                salt: salt(&table.name, &column.name),
                nullable: !column.not_null && !keyed,
                source,
                raw,
            }
        })
        .collect()
}

fn salt(table: &str, column: &str) -> u64 {
    let hash = blake3::hash(format!("{table}\0{column}").as_bytes());
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes hold 8"))
}

fn source(
    rules: &RuleSet,
    schema: &Schema,
    table: &TableSchema,
    column: &ColumnSchema,
    counts: &[u64],
    divisor: &mut u64,
) -> Source {
    let written = rules
        .written(&table.name, &column.name)
        .and_then(|node| option(node, "references"));
    let said = written.and_then(|target| target.rsplit_once('.'));
    let declared = column.references.as_ref();
    let target = declared
        .map(|(table, column)| (table.as_str(), column.as_str()))
        .or(said);
    let Some((name, key)) = target else {
        return Source::Own;
    };
    let Some(at) = schema.tables.iter().position(|table| table.name == name) else {
        return Source::Own;
    };
    let stored = schema.tables[at]
        .columns
        .iter()
        .filter(|column| !column.generated);
    let Some(to) = stored.clone().position(|column| column.name == key) else {
        return Source::Own;
    };
    let rows = counts[at];
    let choice = if name == table.name {
        Choice::Before
    } else if column.unique || column.primary_key {
        Choice::Same
    } else if column.key_part {
        let digit = Choice::Digit { divisor: *divisor };
        *divisor = divisor.saturating_mul(rows.max(1));
        digit
    } else {
        Choice::Any
    };
    Source::Of {
        table: at,
        column: to,
        rows,
        choice,
    }
}

/// Returns an option of a rule that stands as an inline table.
fn option<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    match &node.value {
        Value::Table(table) => text_option(table, name),
        _ => None,
    }
}

fn text_option<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    match &table.get(name)?.1.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn number_option(table: &Table, name: &str) -> Option<i64> {
    match table.get(name)?.1.value {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}

fn raw(rules: &RuleSet, table: &TableSchema, column: &ColumnSchema) -> Raw {
    match rules.written(&table.name, &column.name) {
        Some(node) => of_rule(rules, node, column),
        None => kept(column),
    }
}

/// Reads what a rule's mask takes. Of several arms the last is for most rows.
fn of_rule(rules: &RuleSet, node: &Node, column: &ColumnSchema) -> Raw {
    match &node.value {
        Value::String(word) => of_mask(rules, word, None, column),
        Value::Table(table) => of_table(rules, table, column),
        Value::Array(arms) => arms
            .last()
            .map_or(Raw::Null, |last| of_rule(rules, last, column)),
        _ => kept(column),
    }
}

fn of_table(rules: &RuleSet, table: &Table, column: &ColumnSchema) -> Raw {
    if let Some(domain) = text_option(table, "domain").and_then(|name| rules.written_domain(name)) {
        return of_table(rules, domain, column);
    }
    match text_option(table, "mask") {
        Some(word) => of_mask(rules, word, Some(table), column),
        None => kept(column),
    }
}

fn of_mask(rules: &RuleSet, word: &str, options: Option<&Table>, column: &ColumnSchema) -> Raw {
    let unique = column.unique || column.primary_key;
    let numeric = matches!(column.ty, ColumnType::Integer | ColumnType::Real);
    let text = |text: String| Raw::OneOf(vec![OwnedCell::Text(text)]);
    let pattern = |pattern: &str| Raw::Pattern {
        pattern: pattern.to_owned(),
        unique,
    };
    match word {
        "keep" => kept(column),
        "null" => Raw::Null,
        "permute_int" => {
            let min = options.and_then(|table| number_option(table, "min"));
            Raw::Count {
                min: min.unwrap_or(0).max(1),
            }
        }
        "permute_id" | "fpe" => numbered(column, "ID-", 9),
        "phone" => pattern("+49 30 ########"),
        "card" => pattern("4000 #### #### ####"),
        "iban" => pattern("DE00 #### #### #### #### ##"),
        "ssn" => pattern("1##-##-####"),
        "postcode" | "generalize" => pattern("#####"),
        "ip" => Raw::Address4,
        "mac" => Raw::Mac,
        "uuid" => Raw::Uuid,
        "noise" | "bucket" => number(column, unique),
        "geo" if numeric => degrees(column),
        "geo" => pattern("4#.#####, 1#.#####"),
        // Empty ones suit whatever their items' masks take.
        "array" => text("{}".to_owned()),
        "hstore" => text(String::new()),
        "composite" => text(empty_row(options)),
        "shift_date" => match options.and_then(|table| text_option(table, "format")) {
            // Days and months that every calendar has.
            Some(form) => pattern(
                &form
                    .replace("YYYY", "19##")
                    .replace("MM", "10")
                    .replace("DD", "1#"),
            ),
            None => moment(column, is_birth(column)),
        },
        "text" => Raw::Sentences {
            max: column.max_chars.or(column.max_len).unwrap_or(400),
        },
        "json" => document(rules, options),
        _ if numeric => number(column, unique),
        _ => Raw::Numbered {
            before: "synthetic ".to_owned(),
            digits: 1,
            after: "",
        },
    }
}

/// A row literal whose fields are all NULL.
fn empty_row(options: Option<&Table>) -> String {
    let fields = options.and_then(|table| table.get("fields"));
    let count = match fields.map(|(_, node)| &node.value) {
        Some(Value::Array(fields)) => fields.len(),
        _ => 1,
    };
    format!("({})", ",".repeat(count.saturating_sub(1)))
}

/// Latitudes and longitudes alike: where most people live.
fn degrees(column: &ColumnSchema) -> Raw {
    let limits = Limits::of(column);
    let min = limits.min.unwrap_or(-50.0).max(-180.0);
    Raw::Real {
        min,
        max: limits.max.unwrap_or(min + 100.0).min(180.0),
    }
}

fn document(rules: &RuleSet, options: Option<&Table>) -> Raw {
    let paths = options
        .and_then(|table| table.get("paths"))
        .map(|(_, node)| &node.value);
    let Some(Value::Table(paths)) = paths else {
        return Raw::Null;
    };
    let leaves = paths.entries.iter().map(|(key, node)| {
        let steps = steps(&key.name);
        let name = steps.iter().rev().find_map(|step| match step {
            Member::Name(name) => Some(name.clone()),
            Member::Items => None,
        });
        let column = ColumnSchema::new(name.unwrap_or_default(), ColumnType::Any);
        (steps, of_rule(rules, node, &column))
    });
    Raw::Document(leaves.collect())
}

/// Takes `$.a.b[*].c` apart.
fn steps(path: &str) -> Vec<Member> {
    let parts = path
        .trim_start_matches('$')
        .split('.')
        .filter(|part| !part.is_empty());
    parts
        .flat_map(|part| {
            let name = part.trim_end_matches("[*]");
            let items = (part.len() - name.len()) / "[*]".len();
            let name = (!name.is_empty()).then(|| Member::Name(name.to_owned()));
            name.into_iter()
                .chain(std::iter::repeat_n(Member::Items, items))
        })
        .collect()
}

/// Values of a column that no mask changes.
fn kept(column: &ColumnSchema) -> Raw {
    let limits = Limits::of(column);
    let unique = column.unique || column.primary_key;
    if let Some(allowed) = &limits.allowed {
        return listed(allowed, column, unique);
    }
    if unique {
        return unique_of(column);
    }
    let words = name_words(&column.name);
    let says = |options: &[&str]| words.iter().any(|word| options.contains(&word.as_str()));
    let declared = column.declared.to_ascii_lowercase();
    let of_type = |options: &[&str]| options.iter().any(|word| declared.contains(word));
    let texts = |list: &[&str]| {
        Raw::OneOf(
            list.iter()
                .map(|text| OwnedCell::Text((*text).to_owned()))
                .collect(),
        )
    };
    let numeric = matches!(column.ty, ColumnType::Integer | ColumnType::Real);
    if of_type(&["date", "time"])
        || !numeric
            && says(&[
                "at",
                "date",
                "timestamp",
                "created",
                "updated",
                "since",
                "until",
            ])
    {
        return moment(column, is_birth(column));
    }
    if column.ty == ColumnType::Integer && says(&["at", "timestamp", "created", "updated"]) {
        return moment(column, false);
    }
    if of_type(&["bool"])
        || words
            .first()
            .is_some_and(|word| matches!(word.as_str(), "is" | "has"))
    {
        return Raw::OneOf(vec![OwnedCell::Integer(0), OwnedCell::Integer(1)]);
    }
    match column.ty {
        ColumnType::Integer | ColumnType::Real => number(column, false),
        ColumnType::Blob => Raw::Blob,
        ColumnType::Any if of_type(&["num", "dec", "real", "double", "float", "money"]) => {
            let (min, max) = range(&limits, 1_000.0);
            Raw::Real { min, max }
        }
        ColumnType::Any | ColumnType::Text => {
            let short = limits.max_chars.unwrap_or(usize::MAX);
            if says(&["currency"]) {
                return texts(&["EUR", "USD", "GBP", "CHF"]);
            }
            if says(&["country"]) {
                return if short < 8 {
                    texts(&["DE", "FR", "US", "GB"])
                } else {
                    texts(&["Germany", "France", "United States", "Poland"])
                };
            }
            if says(&["language", "lang", "locale"]) {
                return texts(&["en", "de", "fr", "es"]);
            }
            texts(&["alpha", "beta", "gamma", "delta"].map(|word| clip(word, short)))
        }
    }
}

fn clip(word: &'static str, chars: usize) -> &'static str {
    &word[..word.len().min(chars.max(1))]
}

/// The values that a constraint lists; each once if they must differ.
fn listed(allowed: &[Literal], column: &ColumnSchema, unique: bool) -> Raw {
    let values = allowed.iter().map(|value| match value {
        Literal::Number(number) if column.ty == ColumnType::Real => OwnedCell::Real(*number),
        Literal::Number(number) => OwnedCell::Integer(*number as i64),
        Literal::Text(text) => OwnedCell::Text(text.clone()),
    });
    let values: Vec<OwnedCell> = values.collect();
    match &values[..] {
        [OwnedCell::Integer(first), ..] if unique => Raw::Count { min: *first },
        [] => Raw::Null,
        _ => Raw::OneOf(values),
    }
}

fn unique_of(column: &ColumnSchema) -> Raw {
    let limits = Limits::of(column);
    match column.ty {
        ColumnType::Integer => Raw::Count {
            min: limits.min.map_or(1, |min| min as i64),
        },
        ColumnType::Blob => Raw::Blob,
        ColumnType::Real => Raw::Count { min: 1 },
        _ if column.declared.to_ascii_lowercase().contains("uuid") => Raw::Uuid,
        _ => numbered(column, "v", 1),
    }
}

/// A text with the row's number, within the column's length.
fn numbered(column: &ColumnSchema, before: &str, digits: usize) -> Raw {
    let chars = Limits::of(column).max_chars.unwrap_or(usize::MAX);
    let before = if chars < before.len() + 9 { "" } else { before };
    Raw::Numbered {
        before: before.to_owned(),
        digits: digits.min(chars),
        after: "",
    }
}

fn number(column: &ColumnSchema, unique: bool) -> Raw {
    let (min, max) = range(&Limits::of(column), 9_999.0);
    match column.ty {
        ColumnType::Real => Raw::Real { min, max },
        _ if unique => Raw::Count { min: min as i64 },
        _ => Raw::Integer {
            min: min as i64,
            max: max as i64,
        },
    }
}

/// Returns a range within the limits, `width` wide where only one end of it is given.
fn range(limits: &Limits, width: f64) -> (f64, f64) {
    let min = match (limits.min, limits.max) {
        (Some(min), _) => min,
        (None, Some(max)) => (max - width).min(1.0).min(max),
        (None, None) => 1.0,
    };
    (min, limits.max.unwrap_or(min + width))
}

fn is_birth(column: &ColumnSchema) -> bool {
    let words = name_words(&column.name);
    words
        .iter()
        .any(|word| word.contains("birth") || word == "dob" || word.contains("geburt"))
}

fn moment(column: &ColumnSchema, birth: bool) -> Raw {
    let (from, to) = if birth { BIRTHS } else { EVENTS };
    let declared = column.declared.to_ascii_lowercase();
    let day_only = birth
        || declared == "date"
        || column
            .max_chars
            .or(column.max_len)
            .is_some_and(|len| len < 19);
    Raw::Moment {
        from,
        to,
        time: !day_only,
        seconds: column.ty == ColumnType::Integer,
    }
}

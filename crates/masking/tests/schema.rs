//! The JSON Schema of rule files says what the parser says.

use std::collections::BTreeSet;

use lifeboat_document::{Table, Value as Written, parse};
use lifeboat_masking::{HitKind, RULES_SCHEMA, RuleSet};
use lifeboat_model::Problems;
use serde_json::{Map, Value};

const HEAD: &str = "version = 1\n[policy]\nkey = 'env:K'\n[domain.d]\nmask = 'uuid'\n";

fn schema() -> Value {
    serde_json::from_str(RULES_SCHEMA).unwrap()
}

/// Judges by the keywords that the schema uses, in draft 7.
fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else {
        return schema != &Value::Bool(false);
    };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.strip_prefix("#/definitions/").unwrap();
        return valid(root, &root["definitions"][name], value);
    }
    schema.iter().all(|(keyword, rule)| match keyword.as_str() {
        "type" => match rule {
            Value::String(name) => is_type(name, value),
            rule => rule
                .as_array()
                .unwrap()
                .iter()
                .any(|name| is_type(name.as_str().unwrap(), value)),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "oneOf" => {
            rule.as_array()
                .unwrap()
                .iter()
                .filter(|one| valid(root, one, value))
                .count()
                == 1
        }
        "required" => {
            let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
            !value.is_object() || rule.as_array().unwrap().iter().all(has)
        }
        "properties" => members(value)
            .all(|(name, member)| rule.get(name).is_none_or(|rule| valid(root, rule, member))),
        "additionalProperties" => members(value)
            .filter(|(name, _)| {
                schema
                    .get("properties")
                    .is_none_or(|known| known.get(name).is_none())
            })
            .all(|(_, member)| valid(root, rule, member)),
        "propertyNames" => members(value).all(|(name, _)| matches(&rule["pattern"], name)),
        "items" => value
            .as_array()
            .is_none_or(|items| items.iter().all(|item| valid(root, rule, item))),
        "minItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
        "minLength" => value
            .as_str()
            .is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
        "minimum" => value
            .as_f64()
            .is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value
            .as_f64()
            .is_none_or(|number| number <= rule.as_f64().unwrap()),
        "exclusiveMinimum" => value
            .as_f64()
            .is_none_or(|number| number > rule.as_f64().unwrap()),
        "exclusiveMaximum" => value
            .as_f64()
            .is_none_or(|number| number < rule.as_f64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| matches(rule, text)),
        "$schema" | "title" | "description" | "definitions" => true,
        other => panic!("`{other}` is not judged here"),
    })
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is not judged here"),
    }
}

/// The few patterns of the schema, by hand.
fn matches(pattern: &Value, text: &str) -> bool {
    match pattern.as_str().unwrap() {
        "^\\$" => text.starts_with('$'),
        "^(env|file|command):" => ["env:", "file:", "command:"]
            .iter()
            .any(|kind| text.starts_with(kind)),
        "^(snapshot|stable:.+)$" => {
            text == "snapshot" || text.len() > 7 && text.starts_with("stable:")
        }
        "." => text.contains('.'),
        other => panic!("`{other}` is not judged here"),
    }
}

fn json(table: &Table) -> Value {
    fn value(written: &Written) -> Value {
        match written {
            Written::String(text) | Written::Datetime(text) => text.as_str().into(),
            Written::Integer(number) => (*number).into(),
            Written::Float(number) => (*number).into(),
            Written::Boolean(flag) => (*flag).into(),
            Written::Array(items) => items.iter().map(|item| value(&item.value)).collect(),
            Written::Table(table) => json(table),
        }
    }
    let entries = table.entries.iter();
    entries
        .map(|(key, node)| (key.name.clone(), value(&node.value)))
        .collect::<Map<_, _>>()
        .into()
}

fn fits(text: &str) -> bool {
    let mut problems = Problems::new();
    let table = parse("r.toml", text, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    let schema = schema();
    valid(&schema, &schema, &json(&table))
}

#[test]
fn shipped_packs_and_the_examples_of_the_page_fit() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../masking-rules");
    let mut packs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(fits(&text), "{}", path.display());
            let parsed = RuleSet::parse(&path.display().to_string(), &text);
            assert!(
                parsed
                    .unwrap_or_else(|problems| panic!("{problems}"))
                    .1
                    .is_empty()
            );
            packs += 1;
        }
    }
    assert!(packs >= 4, "{packs} packs");
    let page = include_str!("../../../docs/masking.md");
    let rules = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rules = rules
        .map(|(rule, _)| rule)
        .filter(|rule| rule.starts_with(['"', '{']));
    let mut seen = 0;
    for rule in rules {
        assert!(
            fits(&format!("{HEAD}[table.t.columns]\nc = {rule}\n")),
            "{rule}"
        );
        seen += 1;
    }
    assert!(seen > 30, "{seen} examples");
}

#[test]
fn schema_and_parser_know_the_same_masks() {
    let schema = schema();
    let definitions = schema["definitions"].as_object().unwrap();
    let in_schema: BTreeSet<&str> = definitions
        .keys()
        .filter_map(|name| name.strip_prefix("mask_"))
        .collect();
    // The parser lists what it knows when it is asked for something that is like nothing.
    let problems = RuleSet::parse(
        "r.toml",
        &format!("{HEAD}[table.t.columns]\nc = 'qqqqqqqqqqqq'\n"),
    )
    .unwrap_err();
    let problems = problems.to_string();
    let (_, known) = problems.split_once("known masks: ").unwrap();
    let known: BTreeSet<&str> = known.trim_end_matches([')', '\n']).split(", ").collect();
    assert_eq!(in_schema, known);
}

#[test]
fn every_option_of_the_schema_is_one_of_the_parser() {
    let schema = schema();
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        let Some(mask) = name.strip_prefix("mask_") else {
            continue;
        };
        for option in definition["properties"].as_object().unwrap().keys() {
            if matches!(option.as_str(), "mask" | "when") {
                continue;
            }
            let text = format!(
                "{HEAD}[table.t.columns]\nc = {{ mask = '{mask}', {option} = 1979-05-27 }}\n"
            );
            let said = RuleSet::parse("r.toml", &text)
                .map_or_else(|problems| problems.to_string(), |_| String::new());
            let unknown = said.contains(&format!("unknown key `{option}`"));
            assert!(
                !said.is_empty() && !unknown,
                "`{option}` of `{mask}`: {said}"
            );
        }
    }
}

#[test]
fn detectors_in_the_schema_are_those_that_exist() {
    for name in schema()["definitions"]["find"]["enum"].as_array().unwrap() {
        name.as_str().unwrap().parse::<HitKind>().unwrap();
    }
    let known = "x".parse::<HitKind>().unwrap_err();
    let (_, known) = known.split_once("there are ").unwrap();
    assert_eq!(
        known.split(", ").count(),
        schema()["definitions"]["find"]["enum"]
            .as_array()
            .unwrap()
            .len()
    );
}

#[test]
fn what_the_parser_refuses_does_not_fit_either() {
    for bad in [
        "version = 2\n[policy]\nkey = 'env:K'\n",
        "version = 1\n[policy]\nkey = 'hunter2'\n",
        "version = 1\n[policy]\nkey = 'env:K'\nunlisted = 'keep'\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[domain.d]\nmask = 'keep'\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = 'emial'\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = { mask = 'hash', length = 4 }\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = { mask = 'email', uniqe = true }\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[table.t.columns]\nc = { mask = 'dict' }\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[risk]\nk = 1\nquasi = ['t.c']\n",
        "version = 1\n[policy]\nkey = 'env:K'\n[tables.t]\nkeep = ['a']\n",
    ] {
        assert!(!fits(bad), "{bad}");
        assert!(RuleSet::parse("r.toml", bad).is_err(), "{bad}");
    }
}

//! From text to [`RuleSet`].

use std::cell::RefCell;

use lifeboat_document::{Key, Node, Origin, Reader, Table, Value, parse};
use lifeboat_model::Problems;

use super::choice::{Choice, Nested};
use super::{
    Arm, ColumnRule, Condition, DomainRule, RiskRule, RulePolicy, RuleScope, RuleSet, TableRules,
    UNDECIDED, Unlisted, canonical, written,
};

const VERSION: i64 = 1;

/// Syntax errors that are shown: those after them mostly follow from them.
const SYNTAX_ERRORS_SHOWN: usize = 3;

pub(super) fn rule_set(file: &str, text: &str) -> Result<(RuleSet, Problems), Problems> {
    let mut problems = Problems::new();
    let tree = parse(file, text, &mut problems);
    if problems.has_errors() {
        return Err(first_few(file, text, &problems));
    }
    let problems = RefCell::new(problems);
    let root = Reader::new(&tree, "the rule file", &problems);
    version(&root);
    let policy = policy(&root, &problems);
    let risk = risk(&root, &problems);
    let domain_tables = root.named_tables("domain");
    let names: Vec<String> = domain_tables
        .iter()
        .map(|(key, _)| key.name.clone())
        .collect();
    let nested = Nested {
        problems: &problems,
        domains: &names,
    };
    let domains = domain_tables
        .iter()
        .filter_map(|(key, table)| domain(&nested, key, table))
        .collect();
    let tables = root
        .named_tables("table")
        .into_iter()
        .map(|(key, table)| table_rules(&nested, key, table))
        .collect();
    root.finish();
    let rules = RuleSet {
        file: file.into(),
        policy,
        domains,
        tables,
        risk,
        hash: canonical::hash(&tree),
        document: tree.into(),
    };
    problems.into_inner().into_result(rules)
}

/// Keeps the first syntax errors and counts the others.
fn first_few(file: &str, text: &str, all: &Problems) -> Problems {
    let mut few = Problems::new();
    few.add_text(file.into(), text.into());
    let mut errors: Vec<_> = all.iter().cloned().collect();
    errors.sort_by_key(|error| error.span.start);
    let hidden = errors.len().saturating_sub(SYNTAX_ERRORS_SHOWN);
    errors.truncate(SYNTAX_ERRORS_SHOWN);
    if let Some(last) = errors.last_mut().filter(|_| hidden > 0) {
        let hint = format!("correct these first; {hidden} more errors may follow from them");
        last.hint.get_or_insert(hint);
    }
    errors.into_iter().for_each(|error| few.push(error));
    few
}

fn version(root: &Reader<'_>) {
    match root.integer("version") {
        Some(VERSION) => {}
        Some(other) => root.reject(
            "version",
            format!("rules of version {other} are not known"),
            Some(format!("this program reads version {VERSION}")),
        ),
        None if root.node("version").is_none() => {
            root.missing("version", &format!("add `version = {VERSION}`"));
        }
        None => {}
    }
}

fn policy(root: &Reader<'_>, problems: &RefCell<Problems>) -> RulePolicy {
    let mut policy = RulePolicy {
        unlisted: Unlisted::Error,
        key: String::new(),
        scope: RuleScope::Snapshot,
        canaries: None,
    };
    let Some(table) = root.table("policy") else {
        root.missing(
            "policy",
            "add `[policy]` with `unlisted`, `key` and `scope`",
        );
        return policy;
    };
    let reader = Reader::new(table, "[policy]", problems);
    if let Some(unlisted) = unlisted(&reader) {
        policy.unlisted = unlisted;
    }
    if let Some(key) = reader.required_string("key", "for instance `key = \"env:MASK_KEY\"`") {
        if !is_reference(&key) {
            // What stands here may be the key itself, so it is not repeated.
            let hint = "the key itself never stands in a rule file".to_owned();
            let message = "`key` must be `env:NAME`, `file:PATH` or `command:LINE`";
            reader.reject("key", message, Some(hint));
        }
        policy.key = key;
    }
    if let Some(canaries) = reader.string("canaries") {
        if is_reference(&canaries) {
            policy.canaries = Some(canaries);
        } else {
            let hint = "write one planted value a line into that file".to_owned();
            let message = "`canaries` must be `env:NAME`, `file:PATH` or `command:LINE`";
            reader.reject("canaries", message, Some(hint));
        }
    }
    if let Some(text) = reader.string("scope") {
        match text.strip_prefix("stable:") {
            Some(name) if !name.is_empty() => policy.scope = RuleScope::Stable(name.to_owned()),
            _ if text == "snapshot" => {}
            _ => reader.reject(
                "scope",
                format!("`{text}` is not a scope"),
                Some("use `snapshot` or `stable:<name>`".to_owned()),
            ),
        }
    }
    reader.finish();
    policy
}

/// Reports whether a text says where a secret is to be had.
fn is_reference(text: &str) -> bool {
    ["env:", "file:", "command:"]
        .iter()
        .any(|kind| text.starts_with(kind))
}

/// Rows that must share a combination where nobody says how many.
const K_DEFAULT: i64 = 5;

fn risk(root: &Reader<'_>, problems: &RefCell<Problems>) -> Option<RiskRule> {
    let reader = Reader::new(root.table("risk")?, "[risk]", problems);
    let k = match reader.integer("k").unwrap_or(K_DEFAULT) {
        k @ 2..=1_000_000 => k as u64,
        k => {
            let hint = "use 2 to 1000000; 5 is usual".to_owned();
            reader.reject("k", format!("`k` is {k}, which does not do"), Some(hint));
            return None;
        }
    };
    let hint = "for instance `quasi = [\"customers.country\", \"customers.birth_date\"]`";
    if reader.node("quasi").is_none() {
        reader.missing("quasi", hint);
    }
    reader.strings("quasi");
    let mut quasi = Vec::new();
    if let Some(Value::Array(items)) = reader.node("quasi").map(|node| &node.value) {
        for item in items {
            let Value::String(place) = &item.value else {
                continue;
            };
            match place.rsplit_once('.') {
                Some((table, column)) if !table.is_empty() && !column.is_empty() => {
                    quasi.push((table.to_owned(), column.to_owned(), item.origin.clone()));
                }
                _ => {
                    let message = format!("`{place}` names no column");
                    reader.push(item.origin.error(message, Some(hint.to_owned())));
                }
            }
        }
    }
    reader.finish();
    Some(RiskRule { quasi, k })
}

/// Reads `unlisted`, which columns and JSON documents share.
pub(crate) fn unlisted(reader: &Reader<'_>) -> Option<Unlisted> {
    let text = reader.string("unlisted")?;
    match text.as_str() {
        "error" => return Some(Unlisted::Error),
        "null" => return Some(Unlisted::Null),
        "redact" => return Some(Unlisted::Redact),
        _ => {}
    }
    let message = format!("`unlisted` must be `error`, `null` or `redact`, not `{text}`");
    let hint = if text == "keep" {
        "a value that nobody classified would reach staging as it is; keep values by name"
    } else {
        "`error` stops the run, the others remove the value"
    };
    reader.reject("unlisted", message, Some(hint.to_owned()));
    None
}

fn domain(nested: &Nested<'_>, key: &Key, table: &Table) -> Option<DomainRule> {
    let what = format!("[domain.{}]", written::key(&key.name));
    let reader = Reader::new(table, what, nested.problems);
    let word = reader.required_string("mask", "a domain names the mask its columns share")?;
    let origin = reader.node("mask")?.origin.clone();
    if word == "keep" {
        let hint = "keep columns one by one, with a reason each".to_owned();
        reader.reject("mask", "a domain cannot keep its values", Some(hint));
        return None;
    }
    let rule = nested.mask_rule(&word, &origin, &reader)?;
    reader.finish();
    let name = key.name.clone();
    Some(DomainRule { name, rule })
}

fn table_rules(nested: &Nested<'_>, key: &Key, table: &Table) -> TableRules {
    let what = format!("[table.{}]", written::key(&key.name));
    let reader = Reader::new(table, what.clone(), nested.problems);
    let mut columns = Vec::new();
    let mut undecided = Vec::new();
    let lists_columns = reader.node("columns").is_some();
    reader.strings("keep");
    if let Some(Node {
        value: Value::Array(items),
        ..
    }) = reader.node("keep")
    {
        columns.extend(items.iter().filter_map(kept_column));
    }
    if let Some(listed) = reader.table("columns") {
        for (key, node) in &listed.entries {
            if node.value == Value::String(UNDECIDED.to_owned()) {
                undecided.push(key.clone());
                continue;
            }
            let Some(arms) = arms(nested, node, &format!("column `{}`", key.name)) else {
                continue;
            };
            columns.push(ColumnRule {
                name: key.name.clone(),
                origin: key.origin.clone(),
                arms,
            });
        }
    }
    reader.finish();
    report_twice(nested, &columns);
    TableRules {
        name: key.name.clone(),
        origin: key.origin.clone(),
        lists_columns,
        columns,
        undecided,
    }
}

fn kept_column(item: &Node) -> Option<ColumnRule> {
    let Value::String(name) = &item.value else {
        return None;
    };
    Some(ColumnRule {
        name: name.clone(),
        origin: item.origin.clone(),
        arms: vec![Arm {
            when: None,
            choice: Choice::Keep(super::choice::Keep::default()),
        }],
    })
}

fn report_twice(nested: &Nested<'_>, columns: &[ColumnRule]) {
    for (n, column) in columns.iter().enumerate() {
        if columns[..n].iter().any(|other| other.name == column.name) {
            let message = format!("column `{}` is named twice", column.name);
            let hint = "each column has one rule: take it out of `keep` or of `columns`";
            nested.push(column.origin.error(message, Some(hint.to_owned())));
        }
    }
}

/// Reads one unconditional choice, or an array of arms.
fn arms(nested: &Nested<'_>, node: &Node, what: &str) -> Option<Vec<Arm>> {
    let Value::Array(items) = &node.value else {
        let choice = nested.choice(node, what)?;
        return Some(vec![Arm { when: None, choice }]);
    };
    let arms: Vec<Arm> = items
        .iter()
        .filter_map(|item| arm(nested, item, what))
        .collect();
    if arms.len() != items.len() {
        return None;
    }
    let bad = |origin: &Origin, message: &str, hint: &str| {
        nested.push(origin.error(format!("{what}: {message}"), Some(hint.to_owned())));
    };
    let Some((last, before)) = arms.split_last() else {
        bad(&node.origin, "there is no arm", "add `{ mask = .. }`");
        return None;
    };
    if last.when.is_some() {
        let hint = "add an arm without `when` for all other rows";
        bad(&node.origin, "the last arm has a condition", hint);
    }
    if before.iter().any(|arm| arm.when.is_none()) {
        let hint = "an arm without `when` takes every row; put it last";
        bad(
            &node.origin,
            "an arm before the last has no condition",
            hint,
        );
    }
    Some(arms)
}

fn arm(nested: &Nested<'_>, item: &Node, what: &str) -> Option<Arm> {
    let Value::Table(table) = &item.value else {
        let choice = nested.choice(item, what)?;
        return Some(Arm { when: None, choice });
    };
    let reader = Reader::new(table, what, nested.problems);
    let mut when = None;
    if let Some(text) = reader.string("when") {
        match Condition::parse(&text) {
            Ok(condition) => when = Some(condition),
            Err(message) => {
                let message = format!("`when` is not a condition: {message}");
                let hint = "for instance `kind = 'demo' and team is not null`".to_owned();
                reader.reject("when", message, Some(hint));
                return None;
            }
        }
    }
    let choice = nested.table_choice(&reader)?;
    reader.finish();
    Some(Arm { when, choice })
}

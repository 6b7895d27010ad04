//! Proposals for columns that no rule names: a guess by name, or the most careful rule that fits.
//!
//! No proposal keeps a value: a line that is pasted unread must not let anything out.

use std::cell::RefCell;

use lifeboat_document::parse;
use lifeboat_model::Problems;

use super::compile::Compiler;
use super::{check, dangling, names};
use crate::detect::HitKind;
use crate::key::MaskKey;
use crate::mask::Bound;
use crate::rules::{Choice, MaskRule, Nested, UNDECIDED, written};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// A line for the rule file.
pub(super) struct Line {
    /// The rule, such as `email = { mask = "email" }`.
    pub(super) rule: String,
    guessed: bool,
}

impl Line {
    /// Returns what follows the line in a sentence.
    pub(super) fn why(&self) -> &'static str {
        if self.guessed {
            ", a guess by its name"
        } else {
            ""
        }
    }

    /// Returns the comment behind the line in a rule file.
    pub(super) fn comment(&self) -> &'static str {
        if self.guessed {
            "a guess, decide"
        } else {
            "decide"
        }
    }
}

/// Proposes the rule of a column.
pub(super) fn line(compiler: &Compiler<'_>, table: &TableSchema, column: &ColumnSchema) -> Line {
    let mut guesses = guesses(compiler, table, column).into_iter();
    let guess = guesses.find(|guess| fits(compiler, table, column, guess));
    let guessed = guess.is_some();
    let rule = guess.unwrap_or_else(|| careful(table, column));
    Line {
        rule: format!("{} = {rule}", written::key(&column.name)),
        guessed,
    }
}

/// Lists what the name says, best first; what does not fit the column is passed over.
fn guesses(compiler: &Compiler<'_>, table: &TableSchema, column: &ColumnSchema) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((target, key)) = dangling::looks_like(compiler.schema, table, column)
        && !column.primary_key
        && key.ty == column.ty
        && compiler
            .decision(target, key)
            .is_some_and(|decision| decision.rule.arms.len() == 1)
    {
        let place = written::string(&format!("{}.{}", target.name, key.name));
        found.push(format!("{{ references = {place} }}"));
    }
    if column.primary_key && column.ty == ColumnType::Integer {
        found.push("{ mask = \"permute_int\", min = 1, max = 999999999 }".to_owned());
    }
    let words = names::words(&column.name);
    let says = |options: &[&str]| words.iter().any(|word| options.contains(&word.as_str()));
    for (options, kind, rules) in SPEAKING {
        if !says(options) {
            continue;
        }
        let mut domains = compiler.rules.domains.iter();
        let domain = domains.find(|domain| kind.is_some() && domain.rule.mask.hit_kind() == *kind);
        if let Some(domain) = domain {
            let name = written::string(&domain.name);
            found.push(format!("{{ domain = {name} }}"));
        }
        found.extend(rules.iter().map(|rule| (*rule).to_owned()));
    }
    found
}

/// Words of a name, the finds whose domain serves as well, and rules that suit, best first.
type Speaking = (
    &'static [&'static str],
    Option<HitKind>,
    &'static [&'static str],
);

/// What words in names mean. The first that fits is taken: an `ip_address` is no street.
const SPEAKING: &[Speaking] = &[
    (
        &["email", "mail"],
        Some(HitKind::Email),
        &[
            "{ mask = \"email\" }",
            "{ mask = \"email\", unique = true }",
        ],
    ),
    (
        &["phone", "telephone", "tel", "mobile", "fax"],
        Some(HitKind::Phone),
        &["{ mask = \"phone\" }"],
    ),
    (&["iban"], Some(HitKind::Iban), &["{ mask = \"iban\" }"]),
    (&["ssn"], Some(HitKind::Ssn), &["{ mask = \"ssn\" }"]),
    (&["ip"], Some(HitKind::Ip), &["{ mask = \"ip\" }"]),
    (&["mac"], None, &["{ mask = \"mac\" }"]),
    (
        &["url", "website", "homepage"],
        None,
        &["{ mask = \"url\" }"],
    ),
    (&["uuid", "guid"], None, &["{ mask = \"uuid\" }"]),
    (
        &["password", "secret", "token", "hash"],
        None,
        &["{ mask = \"hash\" }"],
    ),
    (&["company", "employer"], None, &["{ mask = \"company\" }"]),
    (
        &["username", "login"],
        None,
        &["{ mask = \"hash\", length = 16 }"],
    ),
    (
        &["firstname", "forename"],
        None,
        &["{ mask = \"name\", part = \"first\" }"],
    ),
    (
        &["lastname", "surname"],
        None,
        &["{ mask = \"name\", part = \"last\" }"],
    ),
    (
        &["name", "fullname", "holder", "cardholder", "author"],
        None,
        &["{ mask = \"name\" }"],
    ),
    (&["card"], Some(HitKind::Card), &["{ mask = \"card\" }"]),
    (&["street", "address"], None, &["{ mask = \"address\" }"]),
    (&["city", "town"], None, &["{ mask = \"city\" }"]),
    (
        &["postcode", "zip", "zipcode"],
        None,
        &["{ mask = \"postcode\" }"],
    ),
    (
        &["birth", "birthdate", "birthday", "dob"],
        None,
        &["{ mask = \"shift_date\", max_days = 180 }"],
    ),
    (
        &["body", "comment", "note", "notes", "description", "bio"],
        None,
        &["{ mask = \"text\" }"],
    ),
];

/// Reports whether a rule may stand for a column.
fn fits(compiler: &Compiler<'_>, table: &TableSchema, column: &ColumnSchema, rule: &str) -> bool {
    let domains: Vec<String> = compiler
        .rules
        .domains
        .iter()
        .map(|domain| domain.name.clone())
        .collect();
    let rule = match read(rule, &domains) {
        Some(Choice::Mask(rule)) => rule,
        Some(Choice::Domain(name)) => match compiler.rules.domain(&name) {
            Some(domain) => domain.rule.clone(),
            None => return false,
        },
        // Names a column that has a rule.
        Some(Choice::References(..)) => return true,
        Some(Choice::Keep(_)) | None => return false,
    };
    mask_fits(table, column, &rule)
}

/// Reports whether a mask, written as in a rule file, may stand for a column.
pub(crate) fn rule_fits(table: &TableSchema, column: &ColumnSchema, rule: &str) -> bool {
    match read(rule, &[]) {
        Some(Choice::Mask(rule)) => mask_fits(table, column, &rule),
        _ => false,
    }
}

fn mask_fits(table: &TableSchema, column: &ColumnSchema, rule: &MaskRule) -> bool {
    // A table that is small today may grow: the rule should last.
    let rows = table.rows.unwrap_or(0).max(check::ROWS_ASSUMED);
    let key = MaskKey::new(&[0; 32], "stable:proposal").expect("the key is long enough");
    let bound = Bound::constant(rule, &key, "");
    check::misfits("", table, column, Some(rows), &bound).is_empty()
}

/// Reads a rule that stands alone.
fn read(rule: &str, domains: &[String]) -> Option<Choice> {
    let mut problems = Problems::new();
    let tree = parse("", &format!("rule = {rule}\n"), &mut problems);
    let problems = RefCell::new(problems);
    let nested = Nested {
        problems: &problems,
        domains,
    };
    let (_, node) = tree.get("rule")?;
    let choice = nested.choice(node, "a proposal");
    choice.filter(|_| !problems.borrow().has_errors())
}

/// Rules for columns whose name says nothing, the most careful first.
const CAREFUL: &[&str] = &[
    "{ mask = \"null\" }",
    "{ mask = \"redact\" }",
    "{ mask = \"hash\" }",
    "{ mask = \"permute_int\" }",
    "{ mask = \"const\", value = 0 }",
    "{ mask = \"uuid\" }",
    "{ mask = \"ip\" }",
    "{ mask = \"mac\" }",
    "{ mask = \"shift_date\", max_days = 180 }",
    "{ mask = \"const\", value = \"f\" }",
    "{ mask = \"const\", value = \"{}\" }",
];

/// Returns the most careful rule that fits a column; if none is known, a person has to decide.
fn careful(table: &TableSchema, column: &ColumnSchema) -> String {
    let keyed = column.primary_key || column.unique;
    let mut rules = CAREFUL.iter();
    // A key of NULLs identifies nothing.
    let fits = |rule: &&&str| !(keyed && rule.contains("null")) && rule_fits(table, column, rule);
    let rule = rules.find(fits).map(|rule| (*rule).to_owned());
    rule.unwrap_or_else(|| written::string(UNDECIDED))
}

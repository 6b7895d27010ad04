//! Masking rules as people write them: parsed, typed, every value with its place.
//!
//! Owns the language. Knows no schema and no key: whether a rule fits a table is decided by
//! [`crate::Plan::compile`], and the reference to the key is kept as text.

mod canonical;
mod choice;
mod condition;
mod parse;
pub(crate) mod written;

use std::sync::Arc;

use lifeboat_document::{Key, Node, Origin, Table, Value};
use lifeboat_model::Problems;

pub(crate) use choice::{Choice, Keep, MaskRule, Nested, Normalize};
pub(crate) use condition::{CompiledCondition, Condition};
pub(crate) use parse::unlisted;

/// The JSON Schema (draft 7) of the language, for editors.
pub const RULES_SCHEMA: &str = include_str!("../../../../masking-rules/schema.json");

/// A parsed rule file.
#[derive(Debug, Clone)]
pub struct RuleSet {
    pub(crate) file: Arc<str>,
    pub(crate) policy: RulePolicy,
    pub(crate) domains: Vec<DomainRule>,
    pub(crate) tables: Vec<TableRules>,
    pub(crate) risk: Option<RiskRule>,
    /// The file as it was read, for those who need a rule's own words.
    document: Arc<Table>,
    hash: String,
}

/// What the whole file demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePolicy {
    /// What happens to a column that no rule names.
    pub unlisted: Unlisted,
    /// Where the key is to be had (`env:NAME`, `file:PATH`, `command:LINE`); never the key.
    pub key: String,
    /// How long pseudonyms stay the same.
    pub scope: RuleScope,
    /// Where values are to be had that were planted in the source, one a line; the same forms as `key`.
    pub canaries: Option<String>,
}

/// Columns that together may point at a person, and how many rows must share each combination.
#[derive(Debug, Clone)]
pub(crate) struct RiskRule {
    /// Table and column, with where the rule names them.
    pub(crate) quasi: Vec<(String, String, Origin)>,
    pub(crate) k: u64,
}

/// What happens to something that no rule names. Keeping it is not among the choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// The run is refused.
    Error,
    /// It becomes NULL.
    Null,
    /// Its text is replaced by a constant.
    Redact,
}

/// How long pseudonyms stay the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleScope {
    /// A fresh derived key for each snapshot.
    Snapshot,
    /// The same pseudonyms in every refresh under this name.
    Stable(String),
}

impl RuleScope {
    /// Returns the scope to derive the key with, for the snapshot called `snapshot`.
    pub fn for_snapshot(&self, snapshot: &str) -> String {
        match self {
            Self::Snapshot => format!("snapshot:{snapshot}"),
            Self::Stable(name) => format!("stable:{name}"),
        }
    }
}

/// A named domain: columns that share it mask alike.
#[derive(Debug, Clone)]
pub(crate) struct DomainRule {
    pub(crate) name: String,
    pub(crate) rule: MaskRule,
}

/// The rules of one table.
#[derive(Debug, Clone)]
pub(crate) struct TableRules {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// Whether the file has a table of columns, which it then cannot have again.
    pub(crate) lists_columns: bool,
    pub(crate) columns: Vec<ColumnRule>,
    /// Columns whose rule says that somebody has still to decide.
    pub(crate) undecided: Vec<Key>,
}

/// The word that stands in place of a rule until somebody has decided.
pub(crate) const UNDECIDED: &str = "decide";

/// The rule of one column: arms in order, the last one unconditional.
#[derive(Debug, Clone)]
pub(crate) struct ColumnRule {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) arms: Vec<Arm>,
}

/// What to do when a condition holds.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub(crate) when: Option<Condition>,
    pub(crate) choice: Choice,
}

impl RuleSet {
    /// Reads a rule file, which the user knows as `file`, and reports every problem at once.
    ///
    /// # Errors
    /// Returns all problems if one of them is an error. Of syntax errors it returns the first few, and
    /// reads no rules then: one broken line makes the parser stumble over many others.
    pub fn parse(file: &str, text: &str) -> Result<(RuleSet, Problems), Problems> {
        parse::rule_set(file, text)
    }

    /// Returns what the whole file demands.
    pub fn policy(&self) -> &RulePolicy {
        &self.policy
    }

    /// Returns the file as the user named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the hex BLAKE3 of the parsed form, keys sorted.
    ///
    /// Comments, spacing and the order of keys do not enter; every rule and option does.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the names of the tables that have rules, in the order written.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.name.as_str())
    }

    /// Returns the names of the columns of `table` that have rules, in the order written.
    pub fn columns<'r>(&'r self, table: &'r str) -> impl Iterator<Item = &'r str> {
        let rules = self.tables.iter().filter(move |rules| rules.name == table);
        rules.flat_map(|rules| {
            let undecided = rules.undecided.iter().map(|key| key.name.as_str());
            let ruled = rules.columns.iter().map(|column| column.name.as_str());
            ruled.chain(undecided)
        })
    }

    /// Returns a problem for each column about which nobody has decided yet: no data can be masked
    /// by such rules, whatever its schema.
    pub fn undecided(&self) -> Problems {
        let mut problems = Problems::default();
        for table in &self.tables {
            for key in &table.undecided {
                let place = format!("{}.{}", table.name, key.name);
                let message = format!("nobody has decided yet what happens to `{place}`");
                let hint = "write a rule; `lifeboat mask check` proposes one".to_owned();
                problems.push(key.origin.error(message, Some(hint)));
            }
        }
        problems
    }

    /// Returns the rule of a column as it is written; `None` if the column is kept or has none.
    pub(crate) fn written(&self, table: &str, column: &str) -> Option<&Node> {
        let table = member(member(&self.document, "table")?, table)?;
        let (_, node) = member(table, "columns")?.get(column)?;
        Some(node)
    }

    /// Returns a domain as it is written.
    pub(crate) fn written_domain(&self, name: &str) -> Option<&Table> {
        member(member(&self.document, "domain")?, name)
    }

    pub(crate) fn domain(&self, name: &str) -> Option<&DomainRule> {
        self.domains.iter().find(|domain| domain.name == name)
    }
}

fn member<'t>(table: &'t Table, name: &str) -> Option<&'t Table> {
    match &table.get(name)?.1.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

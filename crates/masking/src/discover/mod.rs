//! Discovery: from a schema and a sample of its rows to a proposed rule file.
//!
//! [`Sample`] counts what values look like and forgets them; [`discover`] weighs the counts with what
//! names, types and constraints say. Whatever could not be told is left for a person to decide: the
//! proposal does not pass [`crate::Plan::compile`] before that. No value enters a proposal.

mod judge;
mod meaning;
mod sample;
mod stats;
mod suit;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub(crate) use meaning::speaks_of_people;
pub use sample::Sample;

use crate::detect::HitKind;
use crate::plan::looks_like_key;
use crate::schema::{ColumnSchema, Schema, TableSchema};
use judge::{Judgement, judge};
use stats::ColumnStats;
use suit::Suits;

/// How deep foreign keys are followed.
const FOLLOW_MAX: usize = 32;

/// What a column holds, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Something that belongs to a person, or identifies one.
    Personal,
    /// Nothing about people.
    Clean,
    /// It could not be told: a person has to decide.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Personal => "personal",
            Self::Clean => "clean",
            Self::Unknown => "unknown",
        })
    }
}

/// What speaks for a proposal. Shares are in percent of the sampled values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Clue {
    /// A word in the column's name.
    Name,
    /// A detector found so many of the values.
    Detector {
        /// Which.
        finds: HitKind,
        /// How many values.
        percent: u8,
    },
    /// So many values look like names of people.
    NameLists {
        /// How many values.
        percent: u8,
    },
    /// The values have the form of something: a date, a UUID, a document.
    Form {
        /// Of what.
        of: &'static str,
    },
    /// The column's type fits.
    Type,
    /// No two rows share a value.
    Unique,
    /// A constraint lists the values there may be.
    Constraint,
    /// There are few different values.
    FewValues,
    /// It is prose, in which anything may stand.
    FreeText,
    /// It refers to another column.
    ForeignKey,
    /// Name and values contradict each other.
    Contradiction,
}

impl fmt::Display for Clue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("its name"),
            Self::Detector { finds, percent } => write!(f, "{percent} % {}", finds.name()),
            Self::NameLists { percent } => write!(f, "{percent} % names of people"),
            Self::Form { of } => write!(f, "values are {of}"),
            Self::Type => f.write_str("its type"),
            Self::Unique => f.write_str("unique"),
            Self::Constraint => f.write_str("a constraint lists its values"),
            Self::FewValues => f.write_str("few different values"),
            Self::FreeText => f.write_str("free text"),
            Self::ForeignKey => f.write_str("refers to another column"),
            Self::Contradiction => f.write_str("its name says so, its values do not"),
        }
    }
}

/// A column and what is proposed for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscoveredColumn {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// What it holds.
    pub outcome: Outcome,
    /// How sure that is, in percent.
    pub confidence: u8,
    /// What speaks for it.
    pub clues: Vec<Clue>,
    /// The rule as a rule file has it: `"keep"`, `{ domain = "email" }`, or `"decide"`.
    pub rule: String,
    /// The paths of a document and their rules, if the rule is about documents.
    pub paths: BTreeMap<String, String>,
}

/// A proposed rule file, column by column, sorted by table and column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Discovery {
    /// Every column that needs a rule, once.
    pub columns: Vec<DiscoveredColumn>,
    #[serde(skip)]
    domains: Vec<(&'static str, &'static str)>,
}

impl Discovery {
    /// Returns how many columns came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        let mut columns = self.columns.iter();
        columns
            .by_ref()
            .filter(|column| column.outcome == outcome)
            .count()
    }

    /// Writes the proposal as a rule file. The same schema and sample give the same text.
    pub fn rules(&self) -> String {
        write::rules(self)
    }
}

/// Proposes a rule for every column of `schema`.
pub fn discover(schema: &Schema, sample: &Sample) -> Discovery {
    let nothing = ColumnStats::default();
    let judged: Vec<Vec<Judgement>> = schema
        .tables
        .iter()
        .map(|table| {
            let stats = |column: &ColumnSchema| sample.column(&table.name, &column.name);
            let columns = table.columns.iter();
            columns
                .map(|column| judge(column, stats(column).unwrap_or(&nothing)))
                .collect()
        })
        .collect();
    let mut suits = Suits::new();
    let mut columns = Vec::new();
    for (table, judgements) in schema.tables.iter().zip(&judged) {
        for (column, judgement) in table.columns.iter().zip(judgements) {
            if column.generated {
                continue;
            }
            let place = (table, column);
            let followed = follow(schema, &judged, table, column);
            columns.push(match followed {
                Followed::Nothing => {
                    let stats = sample.column(&table.name, &column.name);
                    suits.column(place, judgement, stats.unwrap_or(&nothing))
                }
                Followed::Column(target, theirs) => Suits::reference(place, target, theirs),
                Followed::Circle => Suits::circle(place),
            });
        }
    }
    columns.sort_by(|a, b| (&a.table, &a.column).cmp(&(&b.table, &b.column)));
    Discovery {
        columns,
        domains: suits.domains(),
    }
}

/// What decides about a column besides itself.
enum Followed<'a> {
    Nothing,
    /// The column it refers to, and what was found out about the one at the end of the chain.
    Column((&'a TableSchema, &'a ColumnSchema), &'a Judgement),
    Circle,
}

fn follow<'a>(
    schema: &'a Schema,
    judged: &'a [Vec<Judgement>],
    table: &'a TableSchema,
    column: &'a ColumnSchema,
) -> Followed<'a> {
    let Some(first) = target_of(schema, table, column) else {
        return Followed::Nothing;
    };
    let mut at = first;
    for _ in 0..FOLLOW_MAX {
        let Some(next) = target_of(schema, at.0, at.1) else {
            let table = schema
                .tables
                .iter()
                .position(|table| table.name == at.0.name);
            let column = at.0.column(&at.1.name).map(|(column, _)| column);
            return match table.zip(column) {
                Some((table, column)) => Followed::Column(first, &judged[table][column]),
                None => Followed::Nothing,
            };
        };
        at = next;
    }
    Followed::Circle
}

/// Returns the column that a declared foreign key or a name points at.
fn target_of<'a>(
    schema: &'a Schema,
    table: &'a TableSchema,
    column: &'a ColumnSchema,
) -> Option<(&'a TableSchema, &'a ColumnSchema)> {
    if let Some((target, name)) = &column.references {
        let target = schema.table(target)?;
        return Some((target, target.column(name)?.1));
    }
    if column.primary_key {
        return None;
    }
    looks_like_key(schema, table, column).filter(|(_, key)| key.ty == column.ty)
}

//! Which rule suits what was found out, and fits the column.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{Judgement, judge, percent};
use super::meaning::Meaning;
use super::stats::{ColumnStats, Form};
use super::{Clue, DiscoveredColumn, Outcome};
use crate::plan::rule_fits;
use crate::rules::{UNDECIDED, written};
use crate::schema::{ColumnSchema, ColumnType, TableSchema};

/// Meanings that are one kind of value in many places: their domain and its mask.
const DOMAINS: &[(Meaning, &str, &str)] = &[
    (
        Meaning::Card,
        "card",
        "mask = \"card\"\nnormalize = \"digits\"",
    ),
    (
        Meaning::Email,
        "email",
        "mask = \"email\"\nnormalize = [\"lower\", \"trim\"]\nunique = true",
    ),
    (
        Meaning::FirstName,
        "first_name",
        "mask = \"name\"\npart = \"first\"\nnormalize = [\"lower\", \"trim\"]",
    ),
    (Meaning::Iban, "iban", "mask = \"iban\""),
    (
        Meaning::LastName,
        "last_name",
        "mask = \"name\"\npart = \"last\"\nnormalize = [\"lower\", \"trim\"]",
    ),
    (
        Meaning::FullName,
        "person",
        "mask = \"name\"\nnormalize = [\"lower\", \"trim\"]",
    ),
    (
        Meaning::Phone,
        "phone",
        "mask = \"phone\"\nkeep_country = true",
    ),
];

type Place<'a> = (&'a TableSchema, &'a ColumnSchema);

/// Chooses rules, and remembers the domains they use.
pub(super) struct Suits {
    used: BTreeSet<&'static str>,
}

impl Suits {
    pub(super) fn new() -> Self {
        Self {
            used: BTreeSet::new(),
        }
    }

    /// Returns the domains that rules use, by name, with what they say.
    pub(super) fn domains(&self) -> Vec<(&'static str, &'static str)> {
        let used = |domain: &&(Meaning, &'static str, &'static str)| self.used.contains(domain.1);
        let mut domains: Vec<_> = DOMAINS
            .iter()
            .filter(used)
            .map(|(_, name, mask)| (*name, *mask))
            .collect();
        domains.sort_unstable();
        domains
    }

    /// Proposes the rule of a column that decides by itself.
    pub(super) fn column(
        &mut self,
        (table, column): Place<'_>,
        judgement: &Judgement,
        stats: &ColumnStats,
    ) -> DiscoveredColumn {
        let mut found = proposal((table, column), judgement);
        match judgement.outcome {
            Outcome::Clean => "\"keep\"".clone_into(&mut found.rule),
            Outcome::Unknown => {}
            Outcome::Personal if judgement.meaning == Some(Meaning::Document) => {
                self.document(&mut found, stats);
            }
            Outcome::Personal => {
                if let Some(rule) = self.personal(table, column, judgement.meaning, stats) {
                    found.rule = rule;
                } else {
                    found.outcome = Outcome::Unknown;
                }
            }
        }
        found
    }

    /// Proposes that a column follows the one it refers to.
    pub(super) fn reference(
        place: Place<'_>,
        target: Place<'_>,
        theirs: &Judgement,
    ) -> DiscoveredColumn {
        let mut found = proposal(place, theirs);
        found.clues = vec![Clue::ForeignKey];
        let target = written::string(&format!("{}.{}", target.0.name, target.1.name));
        found.rule = format!("{{ references = {target} }}");
        found
    }

    /// Leaves a column to be decided whose foreign key leads back to itself.
    pub(super) fn circle(place: Place<'_>) -> DiscoveredColumn {
        let judgement = Judgement {
            outcome: Outcome::Unknown,
            meaning: None,
            confidence: 0.0,
            clues: vec![Clue::ForeignKey],
        };
        proposal(place, &judgement)
    }

    fn personal(
        &mut self,
        table: &TableSchema,
        column: &ColumnSchema,
        meaning: Option<Meaning>,
        stats: &ColumnStats,
    ) -> Option<String> {
        let meaning = meaning?;
        let mut domains = DOMAINS.iter();
        if let Some((_, name, mask)) = domains.find(|(of, ..)| *of == meaning)
            && rule_fits(
                table,
                column,
                &format!("{{ {} }}", mask.replace('\n', ", ")),
            )
        {
            self.used.insert(name);
            return Some(format!("{{ domain = {} }}", written::string(name)));
        }
        let rules = candidates(meaning, table, column, stats);
        rules
            .into_iter()
            .find(|rule| rule_fits(table, column, rule))
    }

    /// Proposes rules for the leaves of documents; what is not surely clean does not survive.
    fn document(&mut self, found: &mut DiscoveredColumn, stats: &ColumnStats) {
        if stats.paths.is_empty() || stats.paths_incomplete {
            found.outcome = Outcome::Unknown;
            found.rule = written::string(UNDECIDED);
            return;
        }
        let mut paths = BTreeMap::new();
        for (path, leaf) in &stats.paths {
            let name = path
                .rsplit(['.', ']'])
                .find(|part| !part.is_empty() && *part != "[*");
            let name = name.unwrap_or("value").trim_end_matches("[*");
            let column = ColumnSchema::new(name, ColumnType::Any);
            let judgement = judge(&column, leaf);
            let table = TableSchema {
                name: String::new(),
                columns: Vec::new(),
                rows: None,
            };
            let rule = match judgement.outcome {
                Outcome::Clean => Some("\"keep\"".to_owned()),
                Outcome::Personal => self.personal(&table, &column, judgement.meaning, leaf),
                Outcome::Unknown => None,
            };
            // A leaf that nobody judged is removed, as the document's `unlisted` says.
            paths.extend(rule.map(|rule| (path.clone(), rule)));
        }
        if paths.is_empty() {
            paths.insert("$.none".to_owned(), "\"null\"".to_owned());
        }
        found.rule = "json".to_owned();
        found.paths = paths;
    }
}

fn proposal((table, column): Place<'_>, judgement: &Judgement) -> DiscoveredColumn {
    DiscoveredColumn {
        table: table.name.clone(),
        column: column.name.clone(),
        outcome: judgement.outcome,
        confidence: percent(judgement.confidence),
        clues: judgement.clues.clone(),
        rule: written::string(UNDECIDED),
        paths: BTreeMap::new(),
    }
}

/// Lists the rules that suit a meaning, best first.
fn candidates(
    meaning: Meaning,
    table: &TableSchema,
    column: &ColumnSchema,
    stats: &ColumnStats,
) -> Vec<String> {
    let mut rules: Vec<String> = suiting(meaning, table, column, stats);
    let shortest = column
        .max_len
        .or(column.max_chars)
        .filter(|len| (8..64).contains(len));
    if let Some(len) = shortest {
        rules.push(format!("{{ mask = \"hash\", length = {len} }}"));
    }
    for careful in [
        "\"hash\"",
        "\"null\"",
        "\"redact\"",
        "{ mask = \"const\", value = 0 }",
        "{ mask = \"const\", value = \"\" }",
    ] {
        rules.push(careful.to_owned());
    }
    rules
}

fn suiting(
    meaning: Meaning,
    table: &TableSchema,
    column: &ColumnSchema,
    stats: &ColumnStats,
) -> Vec<String> {
    let one = |rule: &str| vec![rule.to_owned()];
    match meaning {
        Meaning::Email => one("\"email\""),
        Meaning::Phone => one("\"phone\""),
        Meaning::FullName => one("\"name\""),
        Meaning::FirstName => one("{ mask = \"name\", part = \"first\" }"),
        Meaning::LastName => one("{ mask = \"name\", part = \"last\" }"),
        Meaning::Username => one("{ mask = \"hash\", length = 16 }"),
        Meaning::Company => one("\"company\""),
        Meaning::Street => one("\"address\""),
        Meaning::City => one("\"city\""),
        Meaning::Postcode => one("\"postcode\""),
        Meaning::Birth if stats.values == 0 || stats.share_of(Form::Date) >= 0.99 => {
            let mut key = table.columns.iter().filter(|column| column.primary_key);
            let by = key
                .next()
                .map(|key| format!("by = {}, ", written::string(&key.name)));
            vec![format!(
                "{{ mask = \"shift_date\", {}max_days = 180 }}",
                by.unwrap_or_default()
            )]
        }
        Meaning::Birth => one("{ mask = \"bucket\", size = 10 }"),
        Meaning::Iban => one("\"iban\""),
        Meaning::Card => one("\"card\""),
        Meaning::Ssn => one("\"ssn\""),
        Meaning::Ip => one("\"ip\""),
        Meaning::Mac => one("\"mac\""),
        Meaning::Url => one("\"url\""),
        Meaning::Uuid => one("\"uuid\""),
        Meaning::Prose => one("\"text\""),
        Meaning::Id => ids(column, stats),
        Meaning::NationalId => one("{ mask = \"hash\", length = 12 }"),
        Meaning::Secret | Meaning::Sensitive | Meaning::Geo => Vec::new(),
        _ => Vec::new(),
    }
}

/// Ids: whole numbers within a range that has room to grow, or the digits of a text.
fn ids(column: &ColumnSchema, stats: &ColumnStats) -> Vec<String> {
    if column.ty != ColumnType::Integer && stats.lowest.is_none() {
        return vec!["\"permute_id\"".to_owned()];
    }
    const USUAL: i64 = 999_999_999;
    let (lowest, highest) = (stats.lowest.unwrap_or(1), stats.highest.unwrap_or(1));
    // The sample may not hold the highest: keep far away from it.
    let range = match (lowest, highest) {
        (0.., ..=99_999_999) => format!("min = {}, max = {USUAL}", lowest.min(1)),
        (0.., _) => "min = 0".to_owned(),
        _ => format!("min = {}", i64::MIN / 2),
    };
    vec![format!("{{ mask = \"permute_int\", {range} }}")]
}

//! What a column holds: names, types and constraints weighed against counts of its values.

use super::meaning::{self, Meaning};
use super::stats::{ColumnStats, Form};
use super::{Clue, Outcome};
use crate::limits::Limits;
use crate::plan::name_words;
use crate::schema::{ColumnSchema, ColumnType};

/// Values from which counts are trusted to say that there is nothing.
const ENOUGH: u64 = 20;
/// Confidence from which a column may be called clean.
const CLEAN_FROM: f64 = 0.7;

/// What was found out about a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) meaning: Option<Meaning>,
    pub(super) confidence: f64,
    pub(super) clues: Vec<Clue>,
}

/// Collects what speaks for one meaning: independent clues leave less and less doubt.
struct Case {
    doubt: f64,
    clues: Vec<Clue>,
}

impl Case {
    fn new() -> Self {
        Self {
            doubt: 1.0,
            clues: Vec::new(),
        }
    }

    fn add(&mut self, weight: f64, clue: Clue) {
        self.doubt *= 1.0 - weight;
        self.clues.push(clue);
    }

    fn close(self, outcome: Outcome, meaning: Option<Meaning>) -> Judgement {
        Judgement {
            outcome,
            meaning,
            confidence: (1.0 - self.doubt).min(0.99),
            clues: self.clues,
        }
    }
}

/// Judges one column.
pub(super) fn judge(column: &ColumnSchema, stats: &ColumnStats) -> Judgement {
    let named = meaning::of_name(&column.name);
    let limits = Limits::of(column);
    if let Some(judgement) = by_values(column, stats, named) {
        return judgement;
    }
    match named {
        _ if is_key(column, named, &limits) => key(column, stats),
        Some(meaning) if meaning.is_personal() => by_name(meaning, column, stats),
        _ => harmless(column, stats, named, &limits),
    }
}

/// Values that speak for themselves.
fn by_values(
    column: &ColumnSchema,
    stats: &ColumnStats,
    named: Option<Meaning>,
) -> Option<Judgement> {
    let mut case = Case::new();
    let mut found = None;
    let best = stats.whole.iter().max_by_key(|(_, count)| **count);
    if let Some((kind, count)) = best.filter(|(_, count)| stats.share(**count) >= 0.3) {
        let share = stats.share(*count);
        let percent = percent(share);
        case.add(
            0.5 + 0.48 * share,
            Clue::Detector {
                finds: *kind,
                percent,
            },
        );
        found = Some(Meaning::of_hit(*kind));
    } else if let Some((meaning, share)) = by_name_lists(stats, named) {
        let percent = percent(share);
        case.add(0.4 + 0.5 * share, Clue::NameLists { percent });
        found = Some(meaning);
    } else if stats.share(stats.inside) >= 0.005 && stats.share_of(Form::Document) < 0.5 {
        case.add(0.9, Clue::FreeText);
        found = Some(Meaning::Prose);
    } else {
        for (form, meaning, of) in [
            (Form::Document, Meaning::Document, "documents"),
            (Form::Uuid, Meaning::Uuid, "UUIDs"),
            (Form::Mac, Meaning::Mac, "MAC addresses"),
            (Form::Digest, Meaning::Secret, "digests or keys"),
        ] {
            if stats.share_of(form) >= 0.9 {
                case.add(0.8, Clue::Form { of });
                found = Some(meaning);
            }
        }
    }
    let found = found?;
    if named == Some(found) {
        case.add(0.6, Clue::Name);
    }
    if column.unique || column.primary_key {
        case.add(0.2, Clue::Unique);
    }
    Some(case.close(Outcome::Personal, Some(found)))
}

fn by_name_lists(stats: &ColumnStats, named: Option<Meaning>) -> Option<(Meaning, f64)> {
    if stats.values < 5 {
        return None;
    }
    // A column that is called so needs fewer of them.
    let enough = |meaning| if named == Some(meaning) { 0.2 } else { 0.5 };
    let full = stats.share(stats.full_names);
    if full >= enough(Meaning::FullName) {
        return Some((Meaning::FullName, full));
    }
    // One word alone may be anything: rivers, products. The column has to be called so, too, or have many.
    let single = |meaning, count, share| {
        let found = stats.share(count);
        let needed = if named == Some(meaning) { 0.2 } else { share };
        (found >= needed && !stats.has_few_values()).then_some((meaning, found))
    };
    single(Meaning::FirstName, stats.first_names, 0.8)
        .or_else(|| single(Meaning::LastName, stats.last_names, 0.8))
}

/// Columns that identify rows.
fn is_key(column: &ColumnSchema, named: Option<Meaning>, limits: &Limits) -> bool {
    // A table of one row has a key that says nothing.
    let constant = limits
        .allowed
        .as_ref()
        .is_some_and(|allowed| allowed.len() == 1);
    let named = named == Some(Meaning::Id);
    (column.primary_key
        || column.unique && (named || column.ty == ColumnType::Integer)
        || column.key_part && named)
        && !constant
}

fn key(column: &ColumnSchema, stats: &ColumnStats) -> Judgement {
    let mut case = Case::new();
    let number = column.ty == ColumnType::Integer
        || stats.values > 0 && stats.share_of(Form::Number) + stats.share_of(Form::Digits) >= 0.99;
    case.add(0.7, Clue::Unique);
    if number {
        case.add(0.5, Clue::Type);
        return case.close(Outcome::Personal, Some(Meaning::Id));
    }
    case.doubt = 0.6;
    case.close(Outcome::Unknown, Some(Meaning::Id))
}

fn by_name(meaning: Meaning, column: &ColumnSchema, stats: &ColumnStats) -> Judgement {
    let mut case = Case::new();
    case.add(0.7, Clue::Name);
    let names = stats.first_names + stats.last_names + stats.full_names;
    // `name` is what products, plans and countries have, too; only people have a full one.
    let only_people = name_words(&column.name).iter().any(|word| word == "full");
    let contradicted = meaning == Meaning::FullName
        && !only_people
        && stats.values >= ENOUGH
        && stats.share(names) < 0.05;
    if contradicted {
        case.doubt = 0.6;
        case.clues.push(Clue::Contradiction);
        return case.close(Outcome::Unknown, Some(meaning));
    }
    if meaning == Meaning::Birth && stats.share_of(Form::Date) >= 0.9 {
        case.add(0.6, Clue::Form { of: "dates" });
    }
    if meaning == Meaning::Prose && stats.share(stats.prose) >= 0.5 {
        case.add(0.5, Clue::FreeText);
    }
    if column.unique {
        case.add(0.2, Clue::Unique);
    }
    case.close(Outcome::Personal, Some(meaning))
}

/// Columns of which neither name nor values speak of people.
fn harmless(
    column: &ColumnSchema,
    stats: &ColumnStats,
    named: Option<Meaning>,
    limits: &Limits,
) -> Judgement {
    let mut case = Case::new();
    let mut meaning = named;
    if named.is_some() {
        case.add(0.55, Clue::Name);
    }
    if limits.allowed.is_some() {
        case.add(0.75, Clue::Constraint);
        meaning = meaning.or(Some(Meaning::Category));
    }
    if fits_type(column, named) {
        case.add(0.4, Clue::Type);
    }
    if stats.has_few_values() {
        case.add(0.5, Clue::FewValues);
    } else if stats.share_of(Form::Date) >= 0.9 && named == Some(Meaning::Moment) {
        case.add(0.6, Clue::Form { of: "dates" });
    } else if stats.share_of(Form::Number) >= 0.9 && named == Some(Meaning::Amount) {
        case.add(0.5, Clue::Form { of: "numbers" });
    }
    let anything = stats.share(stats.prose) >= 0.3;
    if anything {
        case.clues.push(Clue::FreeText);
    }
    let confidence = 1.0 - case.doubt;
    let unclear =
        matches!(named, None | Some(Meaning::Id | Meaning::Document)) && limits.allowed.is_none();
    if anything || unclear || confidence < CLEAN_FROM || disagrees(stats, named) {
        case.doubt = case.doubt.max(0.5);
        return case.close(Outcome::Unknown, meaning);
    }
    case.close(Outcome::Clean, meaning)
}

fn fits_type(column: &ColumnSchema, named: Option<Meaning>) -> bool {
    let number = matches!(column.ty, ColumnType::Integer | ColumnType::Real);
    let declared = column.declared.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match named {
        Some(Meaning::Amount) => number || says(&["numeric", "decimal", "money"]),
        Some(Meaning::Flag) => column.ty == ColumnType::Integer || says(&["bool"]),
        Some(Meaning::Moment) => column.ty == ColumnType::Integer || says(&["date", "time"]),
        _ => false,
    }
}

/// Reports whether values are not what the name says.
fn disagrees(stats: &ColumnStats, named: Option<Meaning>) -> bool {
    if stats.values == 0 {
        return false;
    }
    match named {
        Some(Meaning::Amount) => stats.share_of(Form::Number) < 0.9,
        Some(Meaning::Moment) => stats.share_of(Form::Date) + stats.share_of(Form::Number) < 0.9,
        Some(Meaning::Category | Meaning::Flag) => {
            stats.values >= ENOUGH && !stats.has_few_values()
        }
        Some(Meaning::Label) => stats.share_of(Form::Date) > 0.5,
        _ => false,
    }
}

pub(super) fn percent(share: f64) -> u8 {
    (share * 100.0).round().clamp(0.0, 100.0) as u8
}

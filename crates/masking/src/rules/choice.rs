//! What a rule chooses for a value: keep it, a mask with options, a domain, or what another column
//! does. The same words serve columns, conditional arms, domains and JSON paths.

use std::cell::RefCell;
use std::sync::Arc;

use lifeboat_document::{Node, Origin, Reader, Table, Value, suggest};
use lifeboat_model::Problems;

use super::written;
use crate::detect::HitKind;
use crate::mask::{self, Mask};

/// What happens to a value.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// It stays.
    Keep(Keep),
    /// It is masked as written here.
    Mask(MaskRule),
    /// It is masked as the domain says.
    Domain(String),
    /// It is masked as another column is: a foreign key that the schema does not declare.
    References(String, String, Origin),
}

/// Why a value stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keep {
    pub(crate) reason: Option<String>,
    /// Detector hits that the reason covers.
    pub(crate) allow: Vec<HitKind>,
}

/// A mask with what applies to every kind of mask.
#[derive(Debug, Clone)]
pub(crate) struct MaskRule {
    /// What rules call it.
    pub(crate) name: &'static str,
    pub(crate) mask: Arc<dyn Mask>,
    pub(crate) normalize: Normalize,
}

/// What is evened out before a value is hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Normalize {
    pub(crate) lower: bool,
    pub(crate) trim: bool,
    pub(crate) digits: bool,
}

/// Reads choices inside one rule file.
pub(crate) struct Nested<'a> {
    pub(crate) problems: &'a RefCell<Problems>,
    pub(crate) domains: &'a [String],
}

impl Nested<'_> {
    /// Reads a choice from a plain word or an inline table, called `what` in messages.
    pub(crate) fn choice(&self, node: &Node, what: &str) -> Option<Choice> {
        match &node.value {
            Value::String(word) if word == "keep" => Some(Choice::Keep(Keep::default())),
            Value::String(word) => {
                // A word is a mask without options: read it from an empty table.
                let empty = Table {
                    entries: Vec::new(),
                    origin: node.origin.clone(),
                };
                let reader = Reader::new(&empty, what, self.problems);
                let normalize = Normalize::default();
                let rule = self.mask(word, &node.origin, &reader, normalize)?;
                Some(Choice::Mask(rule))
            }
            Value::Table(table) => {
                let reader = Reader::new(table, what, self.problems);
                let choice = self.table_choice(&reader);
                if choice.is_some() {
                    reader.finish();
                }
                choice
            }
            other => {
                let message = format!(
                    "{what} must be a mask name or a table, not {}",
                    other.type_name()
                );
                let hint = "for instance `\"redact\"` or `{ mask = \"email\" }`".to_owned();
                self.push(node.origin.error(message, Some(hint)));
                None
            }
        }
    }

    /// Reads a choice from a table whose reader is not finished yet.
    pub(crate) fn table_choice(&self, reader: &Reader<'_>) -> Option<Choice> {
        let origin_of = |name: &'static str| reader.node(name).map(|node| node.origin.clone());
        let mask = reader.string("mask").zip(origin_of("mask"));
        let domain = reader.string("domain").zip(origin_of("domain"));
        let references = reader.string("references").zip(origin_of("references"));
        match (mask, domain, references) {
            (Some((word, _)), None, None) if word == "keep" => Some(Choice::Keep(Keep {
                reason: reader.string("reason").filter(|text| !text.is_empty()),
                allow: reader.parsed_list("allow").unwrap_or_default(),
            })),
            (Some((word, origin)), None, None) => {
                self.mask_rule(&word, &origin, reader).map(Choice::Mask)
            }
            (None, Some((name, origin)), None) => self.domain(name, &origin),
            (None, None, Some((target, origin))) => self.references(&target, origin),
            (None, None, None) => {
                reader.missing("mask", "or `domain`, or `references = \"table.column\"`");
                None
            }
            _ => {
                let hint = Some("write only one of them".to_owned());
                let message = "`mask`, `domain` and `references` exclude each other";
                reader.push(reader.origin().error(message, hint));
                None
            }
        }
    }

    /// Reads a mask with its options, all but `finish`.
    pub(crate) fn mask_rule(
        &self,
        word: &str,
        origin: &Origin,
        reader: &Reader<'_>,
    ) -> Option<MaskRule> {
        let normalize = self.normalize(reader);
        self.mask(word, origin, reader, normalize)
    }

    fn mask(
        &self,
        word: &str,
        origin: &Origin,
        reader: &Reader<'_>,
        normalize: Normalize,
    ) -> Option<MaskRule> {
        let Some(kind) = mask::kind(word) else {
            let names = mask::names();
            let hint = match suggest(word, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "known masks: keep, {}",
                    names.collect::<Vec<_>>().join(", ")
                ),
            };
            self.push(origin.error(format!("unknown mask `{word}`"), Some(hint)));
            return None;
        };
        let mask = (kind.parse)(&mask::Options {
            reader,
            nested: self,
        })?;
        Some(MaskRule {
            name: kind.name,
            mask,
            normalize,
        })
    }

    fn normalize(&self, reader: &Reader<'_>) -> Normalize {
        let mut normalize = Normalize::default();
        for word in reader.strings("normalize").unwrap_or_default() {
            match word.as_str() {
                "lower" => normalize.lower = true,
                "trim" => normalize.trim = true,
                "digits" => normalize.digits = true,
                other => {
                    let hint = "use `lower`, `trim`, `digits` or a list of them".to_owned();
                    reader.reject(
                        "normalize",
                        format!("`{other}` is no normalisation"),
                        Some(hint),
                    );
                }
            }
        }
        normalize
    }

    fn domain(&self, name: String, origin: &Origin) -> Option<Choice> {
        if self.domains.contains(&name) {
            return Some(Choice::Domain(name));
        }
        let hint = match suggest(&name, self.domains.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add a table `[domain.{}]`", written::key(&name)),
        };
        self.push(origin.error(format!("unknown domain `{name}`"), Some(hint)));
        None
    }

    fn references(&self, target: &str, origin: Origin) -> Option<Choice> {
        // The table may itself hold a dot (`public.users.id`), so the column is what follows the last.
        match target.rsplit_once('.') {
            Some((table, column)) if !table.is_empty() && !column.is_empty() => Some(
                Choice::References(table.to_owned(), column.to_owned(), origin),
            ),
            _ => {
                let hint = Some("write `references = \"customers.id\"`".to_owned());
                self.push(origin.error(format!("`{target}` names no column"), hint));
                None
            }
        }
    }

    pub(crate) fn push(&self, problem: lifeboat_model::Problem) {
        self.problems.borrow_mut().push(problem);
    }
}

//! Names of people, from our own word lists.

use std::sync::Arc;

use lifeboat_document::suggest;

use super::contact::{UNIQUE_SUFFIX, push_email};
use super::{Binder, Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits};
use crate::batch::Cell;
use crate::words::{self, FIRST_NAME_MAX, Locale, PersonName, SURNAME_MAX};

/// Which part of a person is made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Full,
    First,
    Last,
    Email,
}

/// A name that belongs to the value, or, with `by`, to another column of the row.
#[derive(Debug)]
struct Name {
    part: Part,
    locale: Locale,
    by: Option<String>,
    by_index: Option<usize>,
}

pub(super) fn name(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let locale = locale(options)?;
    Options::done(Name {
        part: part(options, &["full", "first", "last"])?,
        locale,
        by: None,
        by_index: None,
    })
}

/// `person` makes the columns of one person agree: in one table the same `by` gives the same person.
pub(super) fn person(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let hint = "name the column that tells people apart, such as `by = \"id\"`";
    let by = options.reader.required_string("by", hint)?;
    let locale = locale(options)?;
    Options::done(Name {
        part: part(options, &["full", "first", "last", "email"])?,
        locale,
        by: Some(by),
        by_index: None,
    })
}

/// The language of names, English if none is said.
fn locale(options: &Options<'_>) -> Option<Locale> {
    let Some(text) = options.reader.string("locale") else {
        return Some(Locale::En);
    };
    let mut known = Locale::NAMES.iter();
    let found = known.find(|(name, _)| *name == text);
    if found.is_none() {
        let hint = format!(
            "use one of `{}`",
            Locale::NAMES.map(|(name, _)| name).join("`, `")
        );
        let message = format!("there are no names for locale `{text}`");
        options.reader.reject("locale", message, Some(hint));
    }
    found.map(|(_, locale)| *locale)
}

fn part(options: &Options<'_>, known: &[&str]) -> Option<Part> {
    let Some(text) = options.reader.string("part") else {
        return Some(Part::Full);
    };
    match text.as_str() {
        "full" => return Some(Part::Full),
        "first" => return Some(Part::First),
        "last" => return Some(Part::Last),
        "email" if known.contains(&"email") => return Some(Part::Email),
        _ => {}
    }
    let hint = match suggest(&text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of `{}`", known.join("`, `")),
    };
    let message = format!("`{text}` is no part of a person that this mask makes");
    options.reader.reject("part", message, Some(hint));
    None
}

impl Mask for Name {
    fn traits(&self) -> Traits {
        let max_len = match self.part {
            Part::Full => FIRST_NAME_MAX + 1 + SURNAME_MAX,
            Part::First => FIRST_NAME_MAX,
            Part::Last => SURNAME_MAX,
            Part::Email => FIRST_NAME_MAX + 1 + SURNAME_MAX + UNIQUE_SUFFIX + 12,
        };
        let identity = match (&self.by, self.part) {
            // Another name for one column would tear the person apart. First names are real ones.
            (Some(_), Part::First) => Identity::Chance(1.0 / self.locale.first_names() as f64),
            (Some(_), _) => Identity::Chance(0.0),
            (None, _) => Identity::Never,
        };
        let reuse = match self.part {
            Part::Email => Reuse::Leak,
            _ => Reuse::Listed(words::is_listed),
        };
        Traits {
            reuse,
            identity,
            ..Traits::text(Distinct::Few, Some(max_len))
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let subject = self.by_index.map_or(input, |at| cx.row.original.cell(at));
        let digest = cx.digest(subject);
        if self.part == Part::Email {
            push_email(&digest, UNIQUE_SUFFIX, self.locale, out);
            return Ok(Made::Text);
        }
        let name = PersonName::draw(self.locale, &mut digest.draws());
        if self.part != Part::Last {
            name.push_first(out);
        }
        if self.part == Part::Full {
            out.push(b' ');
        }
        if self.part != Part::First {
            name.push_surname(out);
        }
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let Some(by) = &self.by else {
            return Ok(None);
        };
        let by_index =
            (binder.position)(by).ok_or_else(|| format!("`by` names no column `{by}`"))?;
        Ok(Some(Arc::new(Name {
            part: self.part,
            locale: self.locale,
            by: self.by.clone(),
            by_index: Some(by_index),
        })))
    }

    fn label(&self, place: &str) -> Option<String> {
        let by = self.by.as_ref()?;
        let (table, _) = place.rsplit_once('.')?;
        Some(format!("person {table} by {by}"))
    }

    fn reads(&self) -> Option<usize> {
        self.by_index
    }
}

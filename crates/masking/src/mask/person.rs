//! Names of people, from our own word lists.

use std::sync::Arc;

use lifeboat_document::suggest;

use super::{Binder, Context, Distinct, Fault, Made, Mask, Options, Reuse, Traits};
use crate::batch::Cell;
use crate::key::Digest;
use crate::words;

/// Longest first name, surname and both with a blank.
const FIRST_MAX: usize = 8;
const SURNAME_MAX: usize = 14;

/// Which part of a name is made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Full,
    First,
    Last,
}

/// A name that belongs to the value, or, with `by`, to another column of the row.
#[derive(Debug)]
struct Name {
    part: Part,
    by: Option<String>,
    by_index: Option<usize>,
}

pub(super) fn name(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    // Accepted so that rules can say what they expect; version 1 has one list for all.
    if let Some(locale) = options
        .reader
        .string("locale")
        .filter(|locale| locale != "en")
    {
        let hint = "there is `en`".to_owned();
        let message = format!("there are no names for locale `{locale}`");
        options.reader.reject("locale", message, Some(hint));
    }
    Options::done(Name {
        part: part(options)?,
        by: None,
        by_index: None,
    })
}

/// `person` makes the columns of one person agree: the same `by` gives the same person.
pub(super) fn person(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let hint = "name the column that tells people apart, such as `by = \"id\"`";
    let by = options.reader.required_string("by", hint)?;
    Options::done(Name {
        part: part(options)?,
        by: Some(by),
        by_index: None,
    })
}

fn part(options: &Options<'_>) -> Option<Part> {
    let Some(text) = options.reader.string("part") else {
        return Some(Part::Full);
    };
    match text.as_str() {
        "full" => Some(Part::Full),
        "first" => Some(Part::First),
        "last" => Some(Part::Last),
        other => {
            let near = suggest(other, ["full", "first", "last"]);
            let hint = near.map_or("use `full`, `first` or `last`".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
            let message = format!("`{other}` is no part of a name");
            options.reader.reject("part", message, Some(hint));
            None
        }
    }
}

impl Mask for Name {
    fn traits(&self) -> Traits {
        let max_len = match self.part {
            Part::Full => FIRST_MAX + 1 + SURNAME_MAX,
            Part::First => FIRST_MAX,
            Part::Last => SURNAME_MAX,
        };
        Traits {
            reuse: Reuse::Listed(words::is_listed),
            ..Traits::text(Distinct::Few, Some(max_len))
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let subject = self.by_index.map_or(input, |at| cx.row.original.cell(at));
        let digest = cx.digest(subject);
        match self.part {
            Part::Full => push_full_name(&digest, out),
            Part::First => words::push_first_name(&digest, out),
            Part::Last => words::push_surname(&digest, out),
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
            by: self.by.clone(),
            by_index: Some(by_index),
        })))
    }
}

/// Appends first name and surname.
fn push_full_name(digest: &Digest, out: &mut Vec<u8>) {
    words::push_first_name(digest, out);
    out.push(b' ');
    words::push_surname(digest, out);
}

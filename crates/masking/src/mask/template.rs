//! `template` and `derive`: text made of other masked columns of the row, never of original ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_document::suggest;

use super::{
    Binder, Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits, push_signed,
};
use crate::batch::{Cell, Slot};

#[derive(Debug)]
struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Column { name: String, index: usize },
}

pub(super) fn template(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let hint = "for instance `format = \"{first_name}.{last_name}@example.com\"`";
    let format = options.reader.required_string("format", hint)?;
    match parse(&format) {
        Some(parts) => Options::done(Template { parts }),
        None => {
            let message = "a `{` lacks its `}`, or no column stands between them";
            options
                .reader
                .reject("format", message, Some(hint.to_owned()));
            None
        }
    }
}

fn parse(format: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if name.is_empty() || text.contains('}') {
            return None;
        }
        parts.push(Part::Text(text.to_owned()));
        parts.push(Part::Column {
            name: name.to_owned(),
            index: usize::MAX,
        });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Some(parts)
}

impl Mask for Template {
    fn traits(&self) -> Traits {
        Traits {
            reuse: Reuse::Overlaps,
            identity: Identity::Open,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, _: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Column { index, .. } => push_masked(cx, *index, out),
            }
        }
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        if binder.inside {
            return Err(
                "`template` reads columns, so it cannot stand inside a document".to_owned(),
            );
        }
        let mut parts = self.parts.clone();
        for part in &mut parts {
            if let Part::Column { name, index } = part {
                *index = masked_column(binder, "format", name)?;
            }
        }
        Ok(Some(Arc::new(Self { parts })))
    }

    fn reads_masked(&self) -> bool {
        true
    }
}

/// Appends the masked value of a column as text.
fn push_masked(cx: &Context<'_>, index: usize, out: &mut Vec<u8>) {
    match cx.row.masked[index] {
        Slot::Null => {}
        Slot::Integer(number) => push_signed(number, out),
        Slot::Real(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Slot::Text { start, len } | Slot::Blob { start, len } => {
            out.extend_from_within(start..start + len);
        }
    }
}

fn masked_column(binder: &Binder<'_>, option: &str, name: &str) -> Result<usize, String> {
    let index = (binder.position)(name);
    let index = index.ok_or_else(|| format!("`{option}` names no column `{name}`"))?;
    if (binder.masked)(name) {
        return Ok(index);
    }
    Err(format!(
        "`{option}` reads `{name}`, which is kept or made of other columns itself"
    ))
}

/// What a database or a program computed from other columns, computed again from masked ones.
#[derive(Debug)]
struct Derive {
    from: Vec<String>,
    how: How,
    columns: Vec<usize>,
}

/// What is computed. Columns are joined by a blank before.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Join,
    Lower,
    Upper,
    Initials,
    /// Words with their places, as PostgreSQL's `tsvector` of the dictionary `simple` has them.
    Tsvector,
}

impl How {
    const NAMES: [(&'static str, How); 5] = [
        ("join", How::Join),
        ("lower", How::Lower),
        ("upper", How::Upper),
        ("initials", How::Initials),
        ("tsvector", How::Tsvector),
    ];
}

pub(super) fn derive(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let from = options.reader.strings("from").unwrap_or_default();
    if from.is_empty() {
        let hint = "for instance `from = [\"first_name\", \"last_name\"]`";
        options.reader.missing("from", hint);
        return None;
    }
    let names = How::NAMES.map(|(name, _)| name);
    let how = options.reader.string("how");
    let how = how.as_deref().unwrap_or("join");
    let Some((_, how)) = How::NAMES.iter().find(|(name, _)| *name == how) else {
        let message = format!("`{how}` is nothing that can be derived");
        let hint = match suggest(how, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of `{}`", names.join("`, `")),
        };
        options.reader.reject("how", message, Some(hint));
        return None;
    };
    Options::done(Derive {
        from,
        how: *how,
        columns: Vec::new(),
    })
}

impl Mask for Derive {
    fn traits(&self) -> Traits {
        Traits {
            reuse: Reuse::Overlaps,
            identity: Identity::Open,
            ..Traits::text(Distinct::Few, None)
        }
    }

    fn apply(&self, _: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let start = out.len();
        for column in &self.columns {
            let before = out.len();
            if before > start {
                out.push(b' ');
            }
            let blank = out.len();
            push_masked(cx, *column, out);
            if out.len() == blank {
                out.truncate(before);
            }
        }
        if self.how == How::Join {
            return Ok(Made::Text);
        }
        let joined = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        let made = match self.how {
            How::Join => joined,
            How::Lower => joined.to_lowercase(),
            How::Upper => joined.to_uppercase(),
            How::Initials => {
                let words = joined.split_whitespace();
                words.filter_map(|word| word.chars().next()).collect()
            }
            How::Tsvector => tsvector(&joined),
        };
        out.extend_from_slice(made.as_bytes());
        Ok(Made::Text)
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        if binder.inside {
            return Err("`derive` reads columns, so it cannot stand inside a document".to_owned());
        }
        let columns = self
            .from
            .iter()
            .map(|name| masked_column(binder, "from", name));
        Ok(Some(Arc::new(Self {
            from: self.from.clone(),
            how: self.how,
            columns: columns.collect::<Result<_, _>>()?,
        })))
    }

    fn reads_masked(&self) -> bool {
        true
    }
}

/// Returns words in order, each with the places where it stands: `'cat':2 'fat':1,3`.
fn tsvector(text: &str) -> String {
    // PostgreSQL counts no places beyond this one.
    const PLACE_MAX: usize = 16_383;
    let lower = text.to_lowercase();
    let mut places: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    for (n, word) in words.filter(|word| !word.is_empty()).enumerate() {
        let place = (n + 1).min(PLACE_MAX).to_string();
        // The server sorts by length first.
        places.entry((word.len(), word)).or_default().push(place);
    }
    let words = places.iter();
    let shown = words.map(|((_, word), places)| format!("'{word}':{}", places.join(",")));
    shown.collect::<Vec<_>>().join(" ")
}

//! `template`: text put together from other masked columns of the row, never from original ones.

use std::sync::Arc;

use super::{Binder, Context, Distinct, Fault, Identity, Made, Mask, Options, Reuse, Traits, push_signed};
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
                Part::Column { index, .. } => match cx.row.masked[*index] {
                    Slot::Null => {}
                    Slot::Integer(number) => push_signed(number, out),
                    Slot::Real(number) => out.extend_from_slice(number.to_string().as_bytes()),
                    Slot::Text { start, len } | Slot::Blob { start, len } => {
                        out.extend_from_within(start..start + len);
                    }
                },
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
                *index = (binder.position)(name)
                    .ok_or_else(|| format!("`format` names no column `{name}`"))?;
                if !(binder.masked)(name) {
                    return Err(format!(
                        "`format` reads `{name}`, which is kept or a template itself"
                    ));
                }
            }
        }
        Ok(Some(Arc::new(Self { parts })))
    }

    fn reads_masked(&self) -> bool {
        true
    }
}

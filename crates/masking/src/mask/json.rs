//! `json`: masks leaves by path; a leaf that no path names is never passed on.
//!
//! Documents are parsed and written anew: order of members and values of kept numbers stay, blanks
//! do not, and of members with the same name the last one counts. What does not parse is an error.
//! Member names may be personal data themselves, so messages name only paths that rules name.

use std::fmt;
use std::sync::Arc;

use lifeboat_document::Node;
use serde_json::{Number, Value};

use super::{
    Binder, Bound, Context, Distinct, Fault, Identity, Made, Mask, Options, Parts, Reuse,
    RowContext, Traits,
};
use crate::batch::Cell;
use crate::rules::{Choice, Unlisted, unlisted};
use crate::schema::ColumnType;

/// Deepest nesting looked into.
const DEPTH_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct JsonMask {
    unlisted: Unlisted,
    rules: Vec<(Path, Choice)>,
    bound: Vec<(Path, Option<Bound>)>,
}

/// `$.a.b` or `$.items[*].x`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Member(String),
    Items,
}

impl Path {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::Items);
                rest = after;
                continue;
            }
            let member = rest.strip_prefix('.')?;
            let end = member.find(['.', '[']).unwrap_or(member.len());
            let name = &member[..end];
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Member(name.to_owned()));
            rest = &member[end..];
        }
        (!steps.is_empty()).then_some(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Member(name) => write!(f, ".{name}"),
            Step::Items => f.write_str("[*]"),
        })
    }
}

pub(super) fn json(options: &Options<'_>) -> Option<Arc<dyn Mask>> {
    let unlisted = match options.reader.node("unlisted") {
        Some(_) => unlisted(options.reader)?,
        None => Unlisted::Error,
    };
    let mut rules = Vec::new();
    let Some(paths) = options.reader.table("paths") else {
        let hint = "for instance `paths = { \"$.user.email\" = { domain = \"email\" } }`";
        options.reader.missing("paths", hint);
        return None;
    };
    let mut complete = true;
    for (key, node) in &paths.entries {
        match (
            Path::parse(&key.name),
            path_choice(options, &key.name, node),
        ) {
            (Some(path), Some(choice)) => rules.push((path, choice)),
            (None, _) => {
                complete = false;
                let message = format!("`{}` is not a path", key.name);
                let hint = "write `$.a.b` or `$.items[*].x`".to_owned();
                options.nested.push(key.origin.error(message, Some(hint)));
            }
            _ => complete = false,
        }
    }
    complete.then(|| -> Arc<dyn Mask> {
        Arc::new(JsonMask {
            unlisted,
            rules,
            bound: Vec::new(),
        })
    })
}

fn path_choice(options: &Options<'_>, path: &str, node: &Node) -> Option<Choice> {
    options.nested.choice(node, &format!("path `{path}`"))
}

impl Mask for JsonMask {
    fn traits(&self) -> Traits {
        Traits {
            types: &[ColumnType::Text, ColumnType::Blob],
            distinct: Distinct::Few,
            max_len: None,
            reuse: Reuse::Leak,
            // A document of kept leaves stays; its masked leaves are checked one by one.
            identity: Identity::Open,
        }
    }

    fn apply(&self, input: Cell<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Made, Fault> {
        let bytes = input.bytes().ok_or(NOT_JSON)?;
        let mut document: Value = serde_json::from_slice(bytes).map_err(|_| NOT_JSON)?;
        let mut walk = Walk {
            mask: self,
            row: cx.row,
            steps: Vec::new(),
            text: Vec::new(),
        };
        walk.value(&mut document)?;
        serde_json::to_writer(&mut *out, &document).map_err(|_| NOT_JSON)?;
        Ok(match input {
            Cell::Blob(_) => Made::Blob,
            _ => Made::Text,
        })
    }

    fn bind(&self, binder: &Binder<'_>) -> Result<Option<Arc<dyn Mask>>, String> {
        let mut bound = Vec::new();
        for (path, choice) in &self.rules {
            bound.push((path.clone(), binder.inside(choice, &path.to_string())?));
        }
        Ok(Some(Arc::new(Self {
            unlisted: self.unlisted,
            rules: self.rules.clone(),
            bound,
        })))
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }

    fn kept_inside(&self) -> Vec<String> {
        let kept = self.bound.iter().filter(|(_, bound)| bound.is_none());
        kept.map(|(path, _)| path.to_string()).collect()
    }

    fn is_json(&self) -> bool {
        true
    }
}

const NOT_JSON: Fault = Fault::new("the value is not valid JSON");

/// Where a walk stands: one step down from the root for each entry.
#[derive(Debug, Clone)]
enum At {
    Member(String),
    Item,
}

struct Walk<'a> {
    mask: &'a JsonMask,
    row: RowContext<'a>,
    steps: Vec<At>,
    text: Vec<u8>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value) -> Result<(), Fault> {
        if self.steps.len() > DEPTH_MAX {
            return Err(Fault::new("the JSON document is nested too deeply"));
        }
        match self.mask.find(&self.steps) {
            Some(Some(bound)) => return self.leaf(value, bound),
            Some(None) => return Ok(()),
            None => {}
        }
        match value {
            Value::Object(members) if self.mask.leads(&self.steps) => {
                for (name, member) in members.iter_mut() {
                    self.steps.push(At::Member(name.clone()));
                    self.value(member)?;
                    self.steps.pop();
                }
            }
            Value::Array(items) if self.mask.leads(&self.steps) => {
                self.steps.push(At::Item);
                items.iter_mut().try_for_each(|item| self.value(item))?;
                self.steps.pop();
            }
            other => match self.mask.unlisted {
                Unlisted::Error => return Err(self.unlisted()),
                Unlisted::Null => *other = Value::Null,
                Unlisted::Redact => *other = Value::String("[redacted]".to_owned()),
            },
        }
        Ok(())
    }

    /// Masks a value that a path names; below it everything is masked alike.
    fn leaf(&mut self, value: &mut Value, bound: &Bound) -> Result<(), Fault> {
        let made = match value {
            Value::Null => return Ok(()),
            Value::Array(items) => {
                return items.iter_mut().try_for_each(|item| self.leaf(item, bound));
            }
            // Member names below the path would survive.
            Value::Object(_) if bound.mask.makes_null() => {
                *value = Value::Null;
                return Ok(());
            }
            Value::Object(_) => {
                return Err(Fault::new(
                    "a JSON path that a mask is for holds an object; name its members",
                ));
            }
            Value::Bool(flag) => {
                let cell = Cell::Integer(i64::from(*flag));
                bound.apply(cell, self.row, &mut self.text)?
            }
            Value::Number(number) => {
                let cell = match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => Cell::Integer(whole),
                    (None, Some(real)) => Cell::Real(real),
                    (None, None) => return Err(Fault::new("a JSON number is out of range")),
                };
                bound.apply(cell, self.row, &mut self.text)?
            }
            Value::String(text) => {
                bound.apply(Cell::Text(text.as_bytes()), self.row, &mut self.text)?
            }
        };
        *value = match made {
            Made::Null => Value::Null,
            Made::Integer(number) => Value::Number(number.into()),
            Made::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            Made::Text | Made::Blob => {
                Value::String(String::from_utf8_lossy(&self.text).into_owned())
            }
        };
        self.text.clear();
        Ok(())
    }

    /// Names the deepest place that some rule names; what lies below it is not ours to print.
    fn unlisted(&self) -> Fault {
        let mut lens = (0..=self.steps.len()).rev();
        let len = lens.find(|len| self.mask.leads(&self.steps[..*len]));
        let shown = self.steps[..len.unwrap_or(0)]
            .iter()
            .map(|step| match step {
                At::Member(name) => Step::Member(name.clone()),
                At::Item => Step::Items,
            });
        let place = Path(shown.collect());
        Fault(format!("the JSON document has a value below `{place}` that no path names").into())
    }
}

impl JsonMask {
    /// Returns what a path says about the value at `steps`, if one names it.
    fn find(&self, steps: &[At]) -> Option<&Option<Bound>> {
        let mut paths = self.bound.iter();
        let found = paths.find(|(path, _)| path.0.len() == steps.len() && matches(&path.0, steps));
        found.map(|(_, bound)| bound)
    }

    /// Reports whether a path goes on below `steps`.
    fn leads(&self, steps: &[At]) -> bool {
        let mut paths = self.bound.iter().map(|(path, _)| &path.0);
        steps.is_empty() || paths.any(|path| path.len() > steps.len() && matches(path, steps))
    }

    fn visit<'m>(
        &'m self,
        value: &Value,
        steps: &mut Vec<At>,
        above: Option<&'m Bound>,
        visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>),
    ) {
        let bound = match self.find(steps) {
            Some(bound) => bound.as_ref(),
            None => above,
        };
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = number.to_string();
                visit(Cell::Text(text.as_bytes()), bound);
            }
            Value::String(text) => visit(Cell::Text(text.as_bytes()), bound),
            Value::Array(items) => {
                steps.push(At::Item);
                for item in items {
                    self.visit(item, steps, bound, visit);
                }
                steps.pop();
            }
            Value::Object(members) => {
                for (name, member) in members {
                    visit(Cell::Text(name.as_bytes()), None);
                    steps.push(At::Member(name.clone()));
                    self.visit(member, steps, bound, visit);
                    steps.pop();
                }
            }
        }
    }
}

impl Parts for JsonMask {
    fn each(&self, value: &[u8], visit: &mut dyn FnMut(Cell<'_>, Option<&Bound>)) {
        match serde_json::from_slice::<Value>(value) {
            Ok(document) => self.visit(&document, &mut Vec::new(), None, visit),
            // What is no document was not made by this mask.
            Err(_) => visit(Cell::Text(value), None),
        }
    }
}

fn matches(path: &[Step], steps: &[At]) -> bool {
    path.iter().zip(steps).all(|(step, at)| match (step, at) {
        (Step::Member(name), At::Member(found)) => name == found,
        (Step::Items, At::Item) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_written() {
        for good in ["$.a", "$.a.b", "$.items[*].x", "$[*]", "$[*][*].y"] {
            assert_eq!(Path::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "a", "$", "$.", "$.a.", "$.a[0]", "$..a", "$a"] {
            assert!(Path::parse(bad).is_none(), "{bad}");
        }
    }
}

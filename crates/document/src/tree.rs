//! The parsed tree: TOML values that know where they stand.

use std::ops::Range;
use std::sync::Arc;

use lifeboat_model::{Problem, Problems, Severity};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value or key was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file as the user named it, or what stands for one (`LIFEBOAT_* variables`).
    pub file: Arc<str>,
    /// Byte range in the file's text.
    pub span: Range<usize>,
    /// Line of the span's start, from 1; 0 if there is no text.
    pub line: usize,
}

impl Origin {
    /// Makes an error at this place.
    pub fn error(&self, message: impl Into<String>, hint: Option<String>) -> Problem {
        self.problem(Severity::Error, message, hint)
    }

    /// Makes a problem of any severity at this place.
    pub fn problem(
        &self,
        severity: Severity,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Problem {
        Problem {
            severity,
            file: self.file.clone(),
            span: self.span.clone(),
            line: self.line,
            message: message.into(),
            hint,
        }
    }
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key itself.
    pub name: String,
    /// Where it stands.
    pub origin: Origin,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// Where it stands.
    pub origin: Origin,
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// A 64-bit integer.
    Integer(i64),
    /// A floating point number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, time or both, as written.
    Datetime(String),
    /// A list.
    Array(Vec<Node>),
    /// A table, inline or not.
    Table(Table),
}

impl Value {
    /// Returns what people call this type, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// A table, its entries in the order written.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Keys with their values.
    pub entries: Vec<(Key, Node)>,
    /// Where the table stands.
    pub origin: Origin,
}

impl Table {
    /// Returns the entry of `name`.
    pub fn get(&self, name: &str) -> Option<(&Key, &Node)> {
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(key, node)| (key, node))
    }

    /// Lays `over` on top: its values win, tables merge key by key, everything else is replaced.
    pub fn overlay(&mut self, over: Table) {
        for (key, node) in over.entries {
            match self
                .entries
                .iter_mut()
                .find(|(have, _)| have.name == key.name)
            {
                Some((
                    _,
                    Node {
                        value: Value::Table(below),
                        ..
                    },
                )) if matches!(node.value, Value::Table(_)) => {
                    if let Value::Table(above) = node.value {
                        below.overlay(above);
                    }
                }
                Some(entry) => *entry = (key, node),
                None => self.entries.push((key, node)),
            }
        }
    }
}

/// Parses `text`, which the user knows as `file`.
///
/// Syntax errors go to `problems`, all of them; what could be read in spite of them is returned.
pub fn parse(file: &str, text: &str, problems: &mut Problems) -> Table {
    let file: Arc<str> = file.into();
    problems.add_text(file.clone(), text.into());
    let places = Places::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(places.origin(span).error(error.message().to_owned(), None));
    }
    places.table(table.get_ref(), table.span())
}

/// Turns byte offsets into origins.
struct Places {
    file: Arc<str>,
    line_starts: Vec<usize>,
}

impl Places {
    fn new(file: Arc<str>, text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(newlines.map(|(at, _)| at + 1))
            .collect();
        Self { file, line_starts }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let line = self
            .line_starts
            .partition_point(|start| *start <= span.start);
        Origin {
            file: self.file.clone(),
            span,
            line,
        }
    }

    fn table(&self, table: &DeTable<'_>, span: Range<usize>) -> Table {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name = key.get_ref().to_string();
                (
                    Key {
                        name,
                        origin: self.origin(key.span()),
                    },
                    self.node(value),
                )
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.origin.span.start);
        Table {
            entries,
            origin: self.origin(span),
        }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let origin = self.origin(span.clone());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                match i64::from_str_radix(&digits, number.radix()) {
                    Ok(number) => Value::Integer(number),
                    // Kept as text: whoever wants an integer reports it with its place.
                    Err(_) => Value::String(digits),
                }
            }
            DeValue::Float(number) => {
                Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(value) => Value::Datetime(value.to_string()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, span)),
        };
        Node { value, origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let mut problems = Problems::new();
        let table = parse("a.toml", "x = 1\n[t]\ny = \"z\"\n", &mut problems);
        assert!(problems.is_empty());
        assert_eq!(table.get("x").unwrap().1.origin.line, 1);
        let Value::Table(inner) = &table.get("t").unwrap().1.value else {
            panic!("no table")
        };
        let (key, node) = inner.get("y").unwrap();
        assert_eq!((key.origin.line, node.origin.line), (3, 3));
        assert_eq!(node.value, Value::String("z".into()));
    }

    #[test]
    fn an_overlay_replaces_values_and_keeps_the_rest() {
        let mut problems = Problems::new();
        let mut base = parse("base", "a = 1\n[t]\nx = 1\ny = [1]\n", &mut problems);
        base.overlay(parse("over", "[t]\ny = [2, 3]\nz = 4\n", &mut problems));
        let Value::Table(inner) = &base.get("t").unwrap().1.value else {
            panic!("no table")
        };
        assert_eq!(&*inner.get("x").unwrap().1.origin.file, "base");
        assert_eq!(&*inner.get("y").unwrap().1.origin.file, "over");
        assert!(inner.get("z").is_some());
        assert!(base.get("a").is_some());
    }

    #[test]
    fn all_syntax_errors_are_reported_with_their_line() {
        let mut problems = Problems::new();
        parse("bad.toml", "a = \nb = 1\nc = 'x\n", &mut problems);
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{lines:?}");
    }
}

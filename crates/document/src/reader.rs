//! Typed access to one table.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use lifeboat_model::{Problem, Problems};

use crate::duration::parse_duration;
use crate::tree::{Key, Node, Origin, Table, Value};

/// Takes typed values out of one table and notes every problem on the way.
///
/// Call [`Reader::finish`] at the end: it reports the keys that nobody asked for.
pub struct Reader<'a> {
    table: &'a Table,
    problems: &'a RefCell<Problems>,
    /// What the table is called in messages: `[region.home]`.
    what: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    /// Starts reading `table`, called `what` in messages.
    pub fn new(table: &'a Table, what: impl Into<String>, problems: &'a RefCell<Problems>) -> Self {
        Self {
            table,
            problems,
            what: what.into(),
            known: RefCell::default(),
        }
    }

    /// Returns where the table stands.
    pub fn origin(&self) -> &'a Origin {
        &self.table.origin
    }

    /// Notes a problem.
    pub fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Returns the raw value of `name` and marks the key as known.
    pub fn node(&self, name: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().push(name);
        self.table.get(name).map(|(_, node)| node)
    }

    /// Notes that `name` is missing.
    pub fn missing(&self, name: &str, hint: &str) {
        self.push(self.table.origin.error(
            format!("{} needs `{name}`", self.what),
            Some(hint.to_owned()),
        ));
    }

    /// Returns text.
    pub fn string(&self, name: &'static str) -> Option<String> {
        self.typed(name, "a string", |value| match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// Returns text, and notes a problem if there is none.
    pub fn required_string(&self, name: &'static str, hint: &str) -> Option<String> {
        if self.table.get(name).is_none() {
            self.known.borrow_mut().push(name);
            self.missing(name, hint);
            return None;
        }
        self.string(name)
    }

    /// Returns a boolean.
    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        self.typed(name, "`true` or `false`", |value| match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        })
    }

    /// Returns an integer.
    pub fn integer(&self, name: &'static str) -> Option<i64> {
        self.typed(name, "an integer", |value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        })
    }

    /// Returns a duration written with its unit.
    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        self.typed(
            name,
            "a duration such as `5min` or `1h 30m`",
            |value| match value {
                Value::String(text) => parse_duration(text).ok(),
                _ => None,
            },
        )
    }

    /// Returns a list of texts; a single text is a list of one.
    pub fn strings(&self, name: &'static str) -> Option<Vec<String>> {
        self.typed(name, "a list of strings", |value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|item| match &item.value {
                    Value::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// Returns a value that knows how to read itself from text.
    pub fn parsed<T>(&self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.string(name)?;
        text.parse()
            .map_err(|error: T::Err| self.reject(name, error.to_string(), None))
            .ok()
    }

    /// Returns a list of values that know how to read themselves from text.
    pub fn parsed_list<T>(&self, name: &'static str) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: String| {
            text.parse()
                .map_err(|error: T::Err| self.reject(name, error.to_string(), None))
                .ok()
        };
        Some(self.strings(name)?.into_iter().filter_map(parse).collect())
    }

    /// Returns a sub-table.
    pub fn table(&self, name: &'static str) -> Option<&'a Table> {
        let node = self.node(name)?;
        match &node.value {
            Value::Table(table) => Some(table),
            other => {
                self.push(type_problem(name, "a table", other, &node.origin));
                None
            }
        }
    }

    /// Returns the sub-tables of a table whose keys are names that people choose.
    pub fn named_tables(&self, name: &'static str) -> Vec<(&'a Key, &'a Table)> {
        let Some(table) = self.table(name) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, node) in &table.entries {
            match &node.value {
                Value::Table(inner) => found.push((key, inner)),
                other => self.push(type_problem(&key.name, "a table", other, &node.origin)),
            }
        }
        found
    }

    /// Returns the tables of an array of tables (`[[name]]`).
    pub fn tables(&self, name: &'static str) -> Vec<&'a Table> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::Array(items) = &node.value else {
            self.push(type_problem(
                name,
                "an array of tables",
                &node.value,
                &node.origin,
            ));
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items {
            match &item.value {
                Value::Table(table) => found.push(table),
                other => self.push(type_problem(name, "a table", other, &item.origin)),
            }
        }
        found
    }

    /// Notes that the value of `name` does not do, for a reason only the caller knows.
    pub fn reject(&self, name: &str, message: impl Into<String>, hint: Option<String>) {
        let origin = self
            .table
            .get(name)
            .map_or(&self.table.origin, |(_, node)| &node.origin);
        self.push(origin.error(message, hint));
    }

    /// Reports every key that nobody asked for, with the nearest known one.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in &self.table.entries {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let hint = match suggest(&key.name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            let message = format!("unknown key `{}` in {}", key.name, self.what);
            self.push(key.origin.error(message, Some(hint)));
        }
    }

    fn typed<T>(
        &self,
        name: &'static str,
        expected: &str,
        take: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(name)?;
        let taken = take(&node.value);
        if taken.is_none() {
            self.push(type_problem(name, expected, &node.value, &node.origin));
        }
        taken
    }
}

fn type_problem(name: &str, expected: &str, found: &Value, origin: &Origin) -> Problem {
    let message = match found {
        // The text of a wrong value helps; a secret never stands in these files (only references).
        Value::String(text) => format!("`{name}` must be {expected}, not `{text}`"),
        other => format!("`{name}` must be {expected}, not {}", other.type_name()),
    };
    origin.error(message, None)
}

/// Returns the candidate nearest to `word`, if one is near enough to be a slip.
pub fn suggest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse;

    #[test]
    fn one_reading_reports_every_mistake() {
        let mut problems = Problems::new();
        let table = parse("c.toml", "url = 5\nrtoo = '1h'\nrpo = '5'\n", &mut problems);
        let problems = RefCell::new(problems);
        let reader = Reader::new(&table, "[x]", &problems);
        assert_eq!(reader.string("url"), None);
        assert_eq!(reader.duration("rto"), None);
        assert_eq!(reader.duration("rpo"), None);
        assert_eq!(reader.required_string("name", "say who"), None);
        reader.finish();
        let texts: Vec<_> = problems.borrow().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "c.toml:1: `url` must be a string, not an integer",
                "c.toml:3: `rpo` must be a duration such as `5min` or `1h 30m`, not `5`",
                "c.toml:1: [x] needs `name` (hint: say who)",
                "c.toml:2: unknown key `rtoo` in [x] (hint: did you mean `rto`?)",
            ]
        );
    }
}

//! Problems in files that people write: configuration, masking rules, schedules.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file works, but could serve better.
    Advice,
    /// Probably not what was meant.
    Warning,
    /// The file cannot be used.
    Error,
}

/// One problem, with its place and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Byte range in the file's text; empty at 0 when the whole file is meant.
    pub span: Range<usize>,
    /// Line of the span's start, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong: lower case, no full stop, values in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}: {}", self.file, self.message)?,
        }
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// All problems found in one reading, so that people fix them in one go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    texts: Vec<(Arc<str>, Arc<str>)>,
}

impl Problems {
    /// Starts with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds a problem that concerns a whole file, or no file in particular.
    pub fn push_file(&mut self, file: &str, message: impl Into<String>, hint: Option<String>) {
        self.push(Problem {
            severity: Severity::Error,
            file: file.into(),
            span: 0..0,
            line: 0,
            message: message.into(),
            hint,
        });
    }

    /// Remembers a file's text, so that a renderer can show the lines that problems point at.
    pub fn add_text(&mut self, file: Arc<str>, text: Arc<str>) {
        if self.text_of(&file).is_none() {
            self.texts.push((file, text));
        }
    }

    /// Returns the text of `file`, if it was added.
    pub fn text_of(&self, file: &str) -> Option<&str> {
        self.texts
            .iter()
            .find(|(name, _)| &**name == file)
            .map(|(_, text)| &**text)
    }

    /// Iterates over the problems in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Reports whether any problem is an error.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// Reports whether there is no problem of any severity.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns how many problems there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes over all problems of `other`.
    pub fn merge(&mut self, other: Problems) {
        for (file, text) in other.texts {
            self.add_text(file, text);
        }
        self.list.extend(other.list);
    }

    /// Returns `value` if no problem is an error, else the problems.
    ///
    /// # Errors
    /// Returns all problems, warnings included, if one of them is an error.
    pub fn into_result<T>(self, value: T) -> Result<(T, Problems), Problems> {
        if self.has_errors() {
            Err(self)
        } else {
            Ok((value, self))
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.list.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

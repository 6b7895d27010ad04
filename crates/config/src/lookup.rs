//! Names asked for that are not there.

use lifeboat_document::suggest;
use lifeboat_model::{Diagnose, ErrorKind};

/// Nothing has the name asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`{}", did_you_mean(near.as_deref()))]
pub struct UnknownName {
    what: &'static str,
    name: String,
    near: Option<String>,
    known: Vec<String>,
}

impl UnknownName {
    pub(crate) fn new<'a>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<_> = known.map(str::to_owned).collect();
        Self {
            what,
            name: name.to_owned(),
            near: suggest(name, known.iter().map(String::as_str)).map(str::to_owned),
            known,
        }
    }
}

/// Writes the end of a message that names what was probably meant.
pub(crate) fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

impl Diagnose for UnknownName {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(if self.known.is_empty() {
            format!("no {} is configured", self.what)
        } else {
            format!("known {}s: {}", self.what, self.known.join(", "))
        })
    }
}

//! Names of relations, as rules and as SQL write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A relation with its schema. Shown as rules write it: `public.customers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema.
    pub schema: String,
    /// The name within it.
    pub name: String,
}

impl RelationName {
    /// Returns the name as SQL takes it, whatever is in it.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    crate::backup::quoted_identifier(name)
}

/// Quotes a text as an SQL literal, whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

//! The names of a store's calls, for the stores that count or record them.

use std::fmt;

/// One of the calls of an [`ObjectStore`](crate::ObjectStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `put`.
    Put,
    /// `get`.
    Get,
    /// `get_range`.
    GetRange,
    /// `head`.
    Head,
    /// `list`.
    List,
    /// `delete`.
    Delete,
}

impl Op {
    /// Tells whether the call can change what the store holds.
    pub fn is_write(self) -> bool {
        matches!(self, Op::Put | Op::Delete)
    }

    /// Returns the verb that errors use.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Op::Put => "write",
            Op::Get | Op::GetRange | Op::Head => "read",
            Op::List => "list",
            Op::Delete => "delete",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Put => "put",
            Op::Get => "get",
            Op::GetRange => "get_range",
            Op::Head => "head",
            Op::List => "list",
            Op::Delete => "delete",
        })
    }
}

//! Roles, and what each may do.
//!
//! Roles are no line from weak to strong: a pruner may delete and a writer may not, a writer may
//! make chunks and a pruner may not. So nothing compares roles; whoever wants to know asks for an
//! action.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the holder of a key is.
///
/// Who copies objects to another region is no role: that takes no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Lists and verifies; reads no content.
    Auditor,
    /// Lists, and decides what is deleted; reads no content, makes no chunks.
    Pruner,
    /// Backs up; reads no content, its own included.
    Writer,
    /// Restores.
    Reader,
    /// Holds every secret; the others derive from it.
    Root,
}

/// What a key may be needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read names, sizes and facts, and check structure: needs the metadata key.
    List,
    /// Decide what is deleted. The program asks for the role; the store enforces who may delete.
    Prune,
    /// Make chunks and snapshots: needs the id key and the content public key.
    BackUp,
    /// Open content: needs the content private key.
    ReadContent,
    /// Issue and revoke keys: needs the root secret.
    ManageKeys,
}

impl Role {
    /// All roles, from the one that holds the least to the one that holds the most.
    pub const ALL: [Role; 5] = [
        Role::Auditor,
        Role::Pruner,
        Role::Writer,
        Role::Reader,
        Role::Root,
    ];

    /// The roles that key objects are issued for. The root secret is in no object.
    pub const ISSUED: [Role; 4] = [Role::Auditor, Role::Pruner, Role::Writer, Role::Reader];

    /// Returns the role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Auditor => "auditor",
            Role::Pruner => "pruner",
            Role::Writer => "writer",
            Role::Reader => "reader",
            Role::Root => "root",
        }
    }

    /// Reports whether this role may do `action`.
    pub const fn may(self, action: Action) -> bool {
        match action {
            Action::List => true,
            Action::Prune => matches!(self, Role::Pruner | Role::Root),
            Action::BackUp => matches!(self, Role::Writer | Role::Reader | Role::Root),
            Action::ReadContent => matches!(self, Role::Reader | Role::Root),
            Action::ManageKeys => matches!(self, Role::Root),
        }
    }

    /// Reports whether this role may do all that `other` may.
    pub fn covers(self, other: Role) -> bool {
        let mut actions = Action::ALL.into_iter();
        actions.all(|action| self.may(action) || !other.may(action))
    }
}

impl Action {
    const ALL: [Action; 5] = [
        Action::List,
        Action::Prune,
        Action::BackUp,
        Action::ReadContent,
        Action::ManageKeys,
    ];

    /// Returns the role that holds the least of those that may do this.
    pub const fn weakest_role(self) -> Role {
        match self {
            Action::List => Role::Auditor,
            Action::Prune => Role::Pruner,
            Action::BackUp => Role::Writer,
            Action::ReadContent => Role::Reader,
            Action::ManageKeys => Role::Root,
        }
    }

    /// Returns what is done, as the end of a sentence that begins "cannot".
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::List => "list and verify",
            Action::Prune => "prune",
            Action::BackUp => "back up",
            Action::ReadContent => "read content",
            Action::ManageKeys => "issue or revoke keys",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let mut roles = Role::ALL.into_iter();
        let found = roles.find(|role| role.as_str() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_its_work_and_no_other() {
        use Action::{BackUp, List, Prune, ReadContent};
        for (role, may) in [
            (Role::Auditor, &[List][..]),
            (Role::Pruner, &[List, Prune]),
            (Role::Writer, &[List, BackUp]),
            (Role::Reader, &[List, BackUp, ReadContent]),
            (Role::Root, &Action::ALL),
        ] {
            for action in Action::ALL {
                let expected = may.contains(&action);
                assert_eq!(role.may(action), expected, "{role}, {action:?}");
            }
        }
    }

    #[test]
    fn the_weakest_role_is_the_first_that_may() {
        for action in Action::ALL {
            let first = Role::ALL.into_iter().find(|role| role.may(action));
            assert_eq!(first, Some(action.weakest_role()), "{action:?}");
        }
    }

    #[test]
    fn neither_a_pruner_nor_a_writer_covers_the_other() {
        assert!(!Role::Pruner.covers(Role::Writer) && !Role::Writer.covers(Role::Pruner));
        assert!(!Role::Reader.covers(Role::Pruner) && Role::Reader.covers(Role::Writer));
        assert!(Role::ALL.into_iter().all(|role| Role::Root.covers(role)));
    }
}

//! Replication slots: promises of a server to keep the log until it was received.

use std::fmt;
use std::str::FromStr;

use lifeboat_model::{Lsn, Timeline};

use super::error::ReplicationError;

/// The name of a slot: up to 63 of `a-z`, `0-9` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SlotName(String);

impl SlotName {
    /// Returns the name as text. It needs no quoting.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SlotName {
    type Err = ReplicationError;

    fn from_str(text: &str) -> Result<Self, ReplicationError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReplicationError::SlotName {
                name: text.to_owned(),
            })
        }
    }
}

/// How long a new slot lives, and from where it keeps the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Until it is dropped; keeps the log from its making.
    Lasting,
    /// Until the connection ends; keeps the log from its making.
    Temporary,
}

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotPosition {
    /// The first byte that the server keeps for it: none if it keeps nothing yet.
    pub restart: Option<Lsn>,
    /// The timeline of that byte.
    pub timeline: Option<Timeline>,
}

/// What happens to a slot that keeps too much of the log: a forgotten one fills the server's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotGuard {
    /// Nothing.
    Off,
    /// Receiving fails.
    Refuse {
        /// How much it may keep, bytes.
        kept_max: u64,
    },
    /// Receiving fails, and the slot is dropped.
    Drop {
        /// How much it may keep, bytes.
        kept_max: u64,
    },
}

impl SlotGuard {
    /// Returns the limit that `kept` bytes overstep, if they do.
    pub(super) fn overstepped(self, kept: u64) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Refuse { kept_max } | Self::Drop { kept_max } => {
                (kept > kept_max).then_some(kept_max)
            }
        }
    }

    pub(super) const fn drops(self) -> bool {
        matches!(self, Self::Drop { .. })
    }
}

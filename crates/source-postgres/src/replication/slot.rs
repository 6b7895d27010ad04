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

impl SlotName {
    /// Names the slot that a connection makes for itself: by the server's process that serves it, of
    /// which there is one at a time.
    pub(super) fn of_backend(process: i32) -> Self {
        Self(format!("lifeboat_{}", process.unsigned_abs()))
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

/// What makes the server keep the log until it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverSlot {
    /// Nothing: what a checkpoint lets go of before it was sent is lost.
    None,
    /// A slot that each connection makes for itself and that ends with it. Where the server gives none,
    /// or would keep too much for it, the log is received without.
    Temporary {
        /// How much it may keep, bytes.
        kept_max: u64,
    },
    /// A slot that is there, and stays when the connection is lost.
    Lasting {
        /// Its name.
        name: SlotName,
        /// What happens if it keeps too much.
        guard: SlotGuard,
    },
}

impl ReceiverSlot {
    /// Returns the limit that `kept` bytes overstep, if they do.
    pub(super) const fn overstepped(&self, kept: u64) -> Option<u64> {
        let allowed = match self {
            Self::Temporary { kept_max }
            | Self::Lasting {
                guard: SlotGuard::Refuse { kept_max } | SlotGuard::Drop { kept_max },
                ..
            } => *kept_max,
            Self::None
            | Self::Lasting {
                guard: SlotGuard::Off,
                ..
            } => return None,
        };
        if kept > allowed { Some(allowed) } else { None }
    }
}

/// Why the server keeps nothing for a receiver that would have a temporary slot.
#[derive(Debug)]
pub enum Unprotected {
    /// The server gave it no slot.
    Refused(ReplicationError),
    /// So much of the log is still to be received that a slot would keep more than it may.
    Behind {
        /// How much it would keep, bytes.
        kept: u64,
        /// How much it may keep, bytes.
        allowed: u64,
    },
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
    pub(super) const fn drops(self) -> bool {
        matches!(self, Self::Drop { .. })
    }
}

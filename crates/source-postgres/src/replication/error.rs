//! What can go wrong between a server and its receiver.

use lifeboat_model::{Diagnose, ErrorKind, Lsn, Segment, SystemId, Timeline};

use super::slot::SlotName;
use crate::connect::{ConnectError, ServerError};
use crate::wal::HistoryError;

/// The log or a base backup could not be received.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke off.
    #[error("failed to {op}: the connection to `{host}` broke off")]
    Broken {
        /// What was being done, as a verb.
        op: &'static str,
        /// The server.
        host: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The server ended the stream, as it does when it shuts down.
    #[error("the server at `{host}` ended the stream")]
    Ended {
        /// The server.
        host: String,
    },
    /// Nothing was heard for too long, not even an answer to a question.
    #[error("the server at `{host}` has been silent for {secs} s")]
    Silent {
        /// The server.
        host: String,
        /// For how long, seconds.
        secs: u64,
    },
    /// The server refused.
    #[error("failed to {op}")]
    Server {
        /// What was tried, as a verb.
        op: &'static str,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// The server answered what does not belong to the question.
    #[error("failed to {op}: the server's answer {why}")]
    Protocol {
        /// What was tried, as a verb.
        op: &'static str,
        /// What is odd, as the rest of a sentence.
        why: String,
    },
    /// The server does not have the log from where it is needed.
    #[error("the server has removed the segment `{segment}`, which holds the log from {from}")]
    SegmentRemoved {
        /// The segment.
        segment: Segment,
        /// The first byte that is missing.
        from: Lsn,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// The stream goes on somewhere else than where it stopped.
    #[error("the server sent the log from {found}, {expected} was next")]
    Gap {
        /// What should have come.
        expected: Lsn,
        /// What came.
        found: Lsn,
    },
    /// Another cluster answers at the same address.
    #[error("the server is of the cluster {found}, the log is of {expected}")]
    OtherCluster {
        /// Whose log it is.
        expected: SystemId,
        /// Whose server it is.
        found: SystemId,
    },
    /// The server's history does not contain what was received already.
    #[error(
        "the log followed to {at} on timeline {timeline} is no part of the server's timeline \
         {server}"
    )]
    Diverged {
        /// The timeline that was followed.
        timeline: Timeline,
        /// How far.
        at: Lsn,
        /// The server's timeline.
        server: Timeline,
    },
    /// The server's log does not reach as far as what was received.
    #[error("the server's log ends at {server_end}, before {at}, which was received already")]
    Ahead {
        /// How far was received.
        at: Lsn,
        /// How far the server is.
        server_end: Lsn,
    },
    /// The history of a timeline cannot be understood.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The role may not replicate.
    #[error("`{user}` may not {op}")]
    NotPermitted {
        /// Who.
        user: String,
        /// What, as a verb.
        op: &'static str,
        /// The server's answer.
        #[source]
        source: ServerError,
    },
    /// A name that no slot can have.
    #[error("`{name}` cannot be the name of a replication slot")]
    SlotName {
        /// The name.
        name: String,
    },
    /// There is no such slot.
    #[error("the server has no replication slot `{slot}`")]
    NoSlot {
        /// The slot.
        slot: SlotName,
    },
    /// There is one already.
    #[error("the server has a replication slot `{slot}` already")]
    SlotExists {
        /// The slot.
        slot: SlotName,
    },
    /// Another connection uses the slot.
    #[error("the replication slot `{slot}` is in use")]
    SlotBusy {
        /// The slot.
        slot: SlotName,
        /// The server's answer.
        #[source]
        source: ServerError,
    },
    /// The server gave up what the slot held.
    #[error("the server has given up the replication slot `{slot}`")]
    SlotLost {
        /// The slot.
        slot: SlotName,
        /// The server's answer.
        #[source]
        source: ServerError,
    },
    /// The slot keeps more of the log than it may.
    #[error(
        "the replication slot `{slot}` keeps {kept} bytes of the log on the server, more than the \
         {allowed} allowed{}", if *.dropped { ", and was dropped" } else { "" }
    )]
    SlotBehind {
        /// The slot.
        slot: SlotName,
        /// How much it keeps, bytes.
        kept: u64,
        /// How much it may keep, bytes.
        allowed: u64,
        /// Whether the guard dropped it.
        dropped: bool,
    },
    /// A base backup's archive is not what it should be.
    #[error("the base backup's archive `{archive}` {why}")]
    Archive {
        /// Which archive.
        archive: String,
        /// What is wrong, as the rest of a sentence.
        why: String,
    },
    /// All attempts to come back failed.
    #[error("gave up after {attempts} attempts to reach the server again")]
    GaveUp {
        /// How many.
        attempts: u32,
        /// Why the last one failed.
        #[source]
        source: Box<ReplicationError>,
    },
}

impl ReplicationError {
    pub(crate) fn protocol(op: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Protocol { op, why }
    }

    /// Sorts what the server answered into the cases that people can act upon.
    pub(crate) fn of_server(op: &'static str, user: &str, host: &str, source: ServerError) -> Self {
        let host = host.to_owned();
        match source.code.as_str() {
            "42501" => Self::NotPermitted {
                user: user.to_owned(),
                op,
                source,
            },
            _ if source.is_passing() => Self::Connect(ConnectError::NotNow { host, source }),
            _ => Self::Server { op, source },
        }
    }

    /// The same where the answer is about a slot that is being made: 55000 then means that the server
    /// writes too little into its log.
    pub(crate) fn about_new_slot(self, slot: &SlotName) -> Self {
        match self {
            Self::Server { source, op } if source.code == "55000" => Self::Server { op, source },
            other => other.about_slot(slot),
        }
    }

    /// The same where the answer is about a slot.
    pub(crate) fn about_slot(self, slot: &SlotName) -> Self {
        let slot = slot.clone();
        match self {
            Self::Server { source, .. } if source.code == "42704" => Self::NoSlot { slot },
            Self::Server { source, .. } if source.code == "42710" => Self::SlotExists { slot },
            Self::Server { source, .. } if source.code == "55006" => {
                Self::SlotBusy { slot, source }
            }
            Self::Server { source, .. } if source.code == "55000" => {
                Self::SlotLost { slot, source }
            }
            other => other,
        }
    }
}

impl Diagnose for ReplicationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::History(error) => error.kind(),
            Self::GaveUp { source, .. } => source.kind(),
            Self::Broken { .. } | Self::Ended { .. } | Self::Silent { .. } | Self::Ahead { .. } => {
                ErrorKind::Transient
            }
            Self::SlotBusy { .. } => ErrorKind::Busy,
            Self::NotPermitted { .. } => ErrorKind::Denied,
            Self::SegmentRemoved { .. } | Self::NoSlot { .. } => ErrorKind::NotFound,
            Self::OtherCluster { .. } | Self::Diverged { .. } | Self::SlotBehind { .. } => {
                ErrorKind::Refused
            }
            Self::SlotExists { .. } => ErrorKind::AlreadyExists,
            Self::SlotName { .. } => ErrorKind::Usage,
            Self::Gap { .. } | Self::Archive { .. } => ErrorKind::Corrupt,
            Self::Server { source, .. } if source.code.starts_with("53") => ErrorKind::Transient,
            Self::Server { .. } | Self::Protocol { .. } | Self::SlotLost { .. } => {
                ErrorKind::Failed
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect(error) => return error.hint(),
            Self::History(error) => return error.hint(),
            Self::GaveUp { source, .. } => return source.hint(),
            Self::NotPermitted { user, .. } => {
                return Some(format!("ALTER ROLE \"{user}\" REPLICATION"));
            }
            Self::Broken { .. } | Self::Ended { .. } | Self::Silent { .. } => {
                "see whether the server runs, then start again"
            }
            Self::SegmentRemoved { .. } => {
                "make a new base backup; a replication slot or `wal_keep_size` keeps the log longer"
            }
            Self::OtherCluster { .. } => "a cluster made anew needs a source of its own",
            Self::Diverged { .. } => {
                "transactions were received that the server never had: make a new base backup of it"
            }
            Self::Ahead { .. } => {
                "wait if it is a standby that is catching up; if not, it was set back to an older \
                 state and needs a new base backup"
            }
            Self::SlotName { .. } => "use up to 63 of a-z, 0-9 and `_`",
            Self::NoSlot { .. } => "create it, or receive without one",
            Self::SlotExists { .. } => "use it, or choose another name",
            Self::SlotBusy { .. } => {
                "see in `pg_stat_replication` who uses it; a dead receiver lets go after \
                 `wal_sender_timeout`"
            }
            Self::SlotLost { .. } => {
                "drop it, raise `max_slot_wal_keep_size`, and make a new base backup"
            }
            Self::SlotBehind { dropped: true, .. } => {
                "make a new base backup, and see why the log was not taken"
            }
            Self::SlotBehind { .. } => "drop it, or allow more, before it fills the server's disk",
            Self::Gap { .. } | Self::Archive { .. } => "start again; if it stays so, report it",
            Self::Server { source, .. } => return server_hint(source),
            Self::Protocol { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn server_hint(answer: &ServerError) -> Option<String> {
    let hint = match answer.code.as_str() {
        "53300" => "raise `max_wal_senders` or `max_connections`",
        "53400" => "raise `max_replication_slots`, or drop a slot that nobody uses",
        "55000" => "set `wal_level = replica` and restart the server",
        _ => return None,
    };
    Some(hint.to_owned())
}

//! What can go wrong in a repository.

use lifeboat_model::{Diagnose, ErrorKind};
use lifeboat_storage::{ObjectKey, StoreError};

use crate::role::Role;

/// A repository could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// A stored object is not what it must be.
    #[error("object `{object}` is damaged: {what}")]
    Corrupt {
        /// The object's key.
        object: String,
        /// What is wrong with it.
        what: String,
    },

    /// A chunk that a snapshot needs is in no index.
    #[error("chunk `{chunk}` is in no index of {store}")]
    MissingChunk {
        /// The chunk.
        chunk: lifeboat_model::ChunkId,
        /// The store that was asked.
        store: String,
    },

    /// The store holds no repository.
    #[error("{store} holds no repository")]
    NoRepository {
        /// The store that was asked.
        store: String,
    },

    /// The store holds a repository already.
    #[error("{store} holds a repository already (`{id}`)")]
    RepositoryExists {
        /// The store.
        store: String,
        /// The repository in it.
        id: lifeboat_model::RepositoryId,
    },

    /// The object was written by a newer program.
    #[error("`{object}` has format version {version}; this program reads up to {supported}")]
    NewerFormat {
        /// The object's key.
        object: String,
        /// The version it has.
        version: u32,
        /// The newest version this program reads.
        supported: u32,
    },

    /// The secret opens none of the repository's keys.
    #[error("the {secret} opens no key of repository `{id}`")]
    WrongKey {
        /// Which secret was tried, never its value: `writer key`, `recovery code`.
        secret: String,
        /// The repository.
        id: lifeboat_model::RepositoryId,
    },

    /// The key was good once.
    #[error("the {secret} (`{key}`) was revoked")]
    KeyRevoked {
        /// Which secret was tried, never its value.
        secret: String,
        /// The key it belongs to.
        key: lifeboat_model::KeyId,
    },

    /// No key object is made for this role.
    #[error("no key is issued for the role {role}")]
    NotIssued {
        /// The role.
        role: Role,
    },

    /// The text is not a key that Lifeboat wrote.
    #[error("the {secret} is not in the form of a Lifeboat key: {what}")]
    MalformedKey {
        /// Which secret, never its value.
        secret: String,
        /// What is wrong.
        what: &'static str,
    },

    /// The key that was given may not do this.
    #[error("a {have} key cannot {action}")]
    RoleTooWeak {
        /// The role at hand.
        have: Role,
        /// What was to be done.
        action: &'static str,
        /// The weakest role that can.
        need: Role,
    },

    /// Pruning took this session for dead, so it must commit nothing.
    #[error("this {work} was fenced: prune took session `{session}` for dead")]
    Fenced {
        /// The session.
        session: lifeboat_model::SessionId,
        /// What it does.
        work: crate::ledger::RunKind,
    },

    /// Somebody else is pruning.
    #[error("session `{session}` of host `{host}` is pruning {store} already")]
    PruneRunning {
        /// The other session.
        session: lifeboat_model::SessionId,
        /// Where it runs.
        host: String,
        /// The store.
        store: String,
    },

    /// A prune has marked objects that are needed here, and not finished.
    #[error("a prune of {store} has not finished, and has marked what is to be copied there")]
    PruneUnfinished {
        /// The store.
        store: String,
    },

    /// Two servers write different histories under one name.
    #[error(
        "`{file}` of system `{system}` is stored with other content already: `{stored}` has \
         content `{theirs}`, what is to be stored has `{ours}`"
    )]
    WalConflict {
        /// The file of the write-ahead log.
        file: lifeboat_model::WalFileName,
        /// The cluster.
        system: lifeboat_model::SystemId,
        /// The object's key.
        stored: String,
        /// What that holds.
        theirs: lifeboat_model::WalContentId,
        /// What another holds, or was to hold.
        ours: lifeboat_model::WalContentId,
    },

    /// The bytes cannot be what their name says.
    #[error("{len} bytes are no {what} `{file}`")]
    WalLength {
        /// The file of the write-ahead log.
        file: lifeboat_model::WalFileName,
        /// What they were said to be.
        what: &'static str,
        /// How many there are.
        len: usize,
    },

    /// A snapshot would not be consistent.
    #[error(
        "WAL segment `{segment}` of system `{system}` is not in {store} as far as it is needed"
    )]
    WalMissing {
        /// The segment.
        segment: lifeboat_model::Segment,
        /// The cluster.
        system: lifeboat_model::SystemId,
        /// The store that was asked.
        store: String,
    },

    /// A backup that stopped before it started, or that took longer than any can.
    #[error("`{start}` to `{stop}` is no stretch of a write-ahead log that a backup can need")]
    WalRange {
        /// Where it starts.
        start: lifeboat_model::Lsn,
        /// Where it stops.
        stop: lifeboat_model::Lsn,
    },

    /// No snapshot fits.
    #[error("no snapshot {wanted}")]
    NoSnapshot {
        /// What was looked for, as the rest of the sentence.
        wanted: String,
    },

    /// A snapshot prefix names several.
    #[error("`{prefix}` names {count} snapshots")]
    AmbiguousSnapshot {
        /// The prefix.
        prefix: String,
        /// How many it names.
        count: usize,
    },
}

impl RepositoryError {
    /// Makes the error for a damaged object.
    pub fn corrupt(object: &impl std::fmt::Display, what: impl Into<String>) -> Self {
        Self::Corrupt {
            object: object.to_string(),
            what: what.into(),
        }
    }
}

/// An error about the bytes of one object, before anyone knows which object it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The bytes are not what they must be.
    Damaged(String),
    /// The version is newer than this program.
    Newer(u32),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(what) => f.write_str(what),
            Self::Newer(version) => write!(f, "it has format version {version}"),
        }
    }
}

impl Flaw {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// Names the object.
    pub(crate) fn of(self, key: &ObjectKey) -> RepositoryError {
        match self {
            Flaw::Damaged(what) => RepositoryError::corrupt(key, what),
            Flaw::Newer(version) => RepositoryError::NewerFormat {
                object: key.to_string(),
                version,
                supported: u32::from(crate::format::VERSION),
            },
        }
    }
}

impl Diagnose for RepositoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Corrupt { .. } | Self::MissingChunk { .. } => ErrorKind::Corrupt,
            Self::NoRepository { .. } => ErrorKind::NoRepository,
            Self::RepositoryExists { .. } => ErrorKind::AlreadyExists,
            Self::NewerFormat { .. } => ErrorKind::Failed,
            Self::WrongKey { .. }
            | Self::KeyRevoked { .. }
            | Self::RoleTooWeak { .. }
            | Self::MalformedKey { .. } => ErrorKind::WrongKey,
            Self::NotIssued { .. } => ErrorKind::Usage,
            Self::Fenced { .. } => ErrorKind::Failed,
            Self::PruneRunning { .. } | Self::PruneUnfinished { .. } => ErrorKind::Busy,
            Self::WalConflict { .. } => ErrorKind::AlreadyExists,
            Self::WalLength { .. } => ErrorKind::Usage,
            Self::WalRange { .. } | Self::WalMissing { .. } => ErrorKind::Failed,
            Self::NoSnapshot { .. } => ErrorKind::NotFound,
            Self::AmbiguousSnapshot { .. } => ErrorKind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.hint(),
            Self::Corrupt { .. } | Self::MissingChunk { .. } => {
                "run `lifeboat verify` to see which files are affected; another region may serve: \
                 restore from it with `--region`, and mend this one with `lifeboat repair`"
                    .to_owned()
            }
            Self::NoRepository { .. } => {
                "check the region's `url`, and that its disk is mounted; a new project begins with \
                 `lifeboat init`"
                    .to_owned()
            }
            Self::RepositoryExists { .. } => {
                "use it as it is, or choose an empty place for a new one".to_owned()
            }
            Self::NewerFormat { .. } => "install a newer lifeboat".to_owned(),
            Self::WrongKey { .. } => {
                "check `[keys]` in lifeboat.toml: the key may belong to another repository"
                    .to_owned()
            }
            Self::KeyRevoked { .. } => {
                "who has the recovery code issues another with `lifeboat key create`; \
                 `lifeboat key list` shows when this one was revoked"
                    .to_owned()
            }
            Self::NotIssued { .. } => {
                "the recovery code is the root key; there is one, and no object holds it".to_owned()
            }
            Self::MalformedKey { .. } => "copy the key again, whole and in one line".to_owned(),
            Self::RoleTooWeak {
                need: Role::Root, ..
            } => "this needs the recovery code".to_owned(),
            Self::RoleTooWeak { need, .. } => format!("this needs the {need} key"),
            Self::Fenced { .. } => {
                "run it again; if this host was not asleep for an hour, compare its clock with that \
                 of the host that prunes"
                    .to_owned()
            }
            Self::PruneRunning { session, .. } => format!(
                "wait for it; if you know that it died, say so with `--fence {session}`, else it is \
                 taken for dead after an hour"
            ),
            Self::PruneUnfinished { .. } => {
                "prune that region again, then replicate again".to_owned()
            }
            Self::WalConflict { .. } => {
                "two servers archive as one source, such as a standby that was promoted beside its \
                 primary, or a copy that was started: stop the one that is not meant; nothing was \
                 overwritten"
                    .to_owned()
            }
            Self::WalMissing { .. } => {
                "see why the server's archiver lags or fails, wait until the segment has arrived, and \
                 back up again"
                    .to_owned()
            }
            Self::WalRange { .. } => {
                "take the backup again; if it fails the same way, the server's answers to its start \
                 and stop are of different clusters"
                    .to_owned()
            }
            Self::WalLength { .. } => {
                "hand over the file as PostgreSQL wrote it, whole; a piece has as many bytes as its \
                 range"
                    .to_owned()
            }
            Self::NoSnapshot { .. } => "`lifeboat snapshots` lists what there is".to_owned(),
            Self::AmbiguousSnapshot { .. } => "give more characters of the id".to_owned(),
        })
    }
}

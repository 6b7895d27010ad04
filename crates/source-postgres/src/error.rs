//! What can go wrong with a PostgreSQL cluster, never with a value of a row in the message.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_model::{Diagnose, ErrorKind, SystemId, WalFileName};
use tokio_postgres::error::{DbError, SqlState};

/// A cluster could not be reached, read, put back or started.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The system refused.
    #[error("failed to {op} `{}`", .path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The server refused, or the connection broke.
    #[error("failed to {op}")]
    Server {
        /// What was tried, as a verb with its object.
        op: &'static str,
        /// What came back.
        #[source]
        answer: ServerAnswer,
    },
    /// The folder does not hold a cluster.
    #[error("`{}` is not a data directory of PostgreSQL", .path.display())]
    NotADataDirectory {
        /// The folder.
        path: PathBuf,
    },
    /// A version that is older or newer than what is understood.
    #[error("PostgreSQL {version} is not supported")]
    UnsupportedVersion {
        /// Its major version, or what stands in its place.
        version: String,
    },
    /// `pg_control` cannot be understood, however often it is read.
    #[error("failed to read the control file `{}`", .path.display())]
    ControlFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: crate::ControlProblem,
    },
    /// The data directory is not the one that the server works in.
    #[error("the data directory `{}` does not belong to the server: {why}", .path.display())]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// The role of the connection lacks a right.
    #[error("role `{role}` may not {what}")]
    Privilege {
        /// Who is logged in.
        role: String,
        /// What it lacks, as a verb.
        what: &'static str,
        /// The statements that give it the right.
        grant: String,
    },
    /// The server's log would not suffice to make a backup consistent.
    #[error("the server's `wal_level` is `minimal`, which a backup cannot be made consistent with")]
    WalLevelMinimal,
    /// The standby became a primary, so that its log goes on on another timeline.
    #[error("the standby was promoted while it was backed up")]
    Promoted,
    /// A file of the log that a snapshot needs is not in `pg_wal` any more.
    #[error("the server has no file `{name}` in `pg_wal` any more")]
    WalGone {
        /// The file.
        name: WalFileName,
    },
    /// A tablespace's link leads nowhere.
    #[error("tablespace {oid} is not at `{}`", .location.display())]
    TablespaceGone {
        /// The tablespace.
        oid: u32,
        /// Where its link points.
        location: PathBuf,
    },
    /// A server works in the directory.
    #[error("a server runs on `{}` as process {pid}", .path.display())]
    Running {
        /// The data directory.
        path: PathBuf,
        /// The server.
        pid: u32,
    },
    /// Something is there already and must not be overwritten.
    #[error("`{}` exists already and is not empty", .path.display())]
    NotEmpty {
        /// The folder in the way.
        path: PathBuf,
    },
    /// A file of a snapshot says something that cannot be.
    #[error("the snapshot's `{file}` cannot be understood: {why}")]
    BadRecoveryFile {
        /// Its name.
        file: &'static str,
        /// What is wrong, as a sentence.
        why: String,
    },
    /// A setting cannot be written into PostgreSQL's configuration.
    #[error("the setting `{name}` {why}")]
    BadSetting {
        /// The setting.
        name: String,
        /// What is wrong, as the rest of a sentence.
        why: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The programs of a version are not installed.
    #[error("PostgreSQL {major} is not installed")]
    NotInstalled {
        /// The major version that is needed.
        major: u32,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A scratch server ended by itself.
    #[error("the scratch server ended while {phase}: {log}")]
    ServerEnded {
        /// How far it had come, as a present participle.
        phase: &'static str,
        /// The end of its log, on one line.
        log: String,
    },
    /// Something took longer than allowed.
    #[error("gave up after {} s {waited}", .limit.as_secs())]
    TimedOut {
        /// What was waited for, as `waiting for …`.
        waited: &'static str,
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// A check's SQL does not do what a check must.
    #[error("the query {why}")]
    BadQuery {
        /// What is wrong, as the rest of a sentence.
        why: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// One relation of a logical copy could not be read or made.
    #[error("failed to {op} {name}")]
    Relation {
        /// What was tried, as a verb.
        op: &'static str,
        /// The relation.
        name: String,
        /// What came back.
        #[source]
        answer: ServerAnswer,
    },
    /// No connection came about.
    #[error(transparent)]
    Connect {
        /// Why.
        source: crate::connect::ConnectError,
    },
    /// `pg_dump` failed.
    #[error("`pg_dump` failed: {said}")]
    Dump {
        /// What it said.
        said: String,
    },
    /// Tables are made and dropped so often that they cannot all be locked.
    #[error("failed to lock the tables: some come or go whenever they are listed")]
    TablesComeAndGo,
    /// Foreign keys of a new database are not those that were added.
    #[error("{added} foreign keys were added, and {found} are there to be checked")]
    KeysNotFound {
        /// How many were added.
        added: usize,
        /// How many the server has.
        found: usize,
    },
    /// A database that a copy must not replace.
    #[error("database `{database}` is not replaced: {why}")]
    NotReplaced {
        /// The database.
        database: String,
        /// Why.
        why: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody else makes a copy for the same database.
    #[error("database `{database}` is being refreshed already")]
    BeingRefreshed {
        /// The database.
        database: String,
    },
    /// Two clusters where one is expected.
    #[error("the cluster has system identifier {found}, not {expected}")]
    OtherSystem {
        /// What was expected.
        expected: SystemId,
        /// What is there.
        found: SystemId,
    },
}

/// What a server or the connection to it answered.
///
/// The server's DETAIL and CONTEXT are left out: they can hold values of rows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServerAnswer {
    message: String,
    state: Option<SqlState>,
    closed: bool,
}

impl ServerAnswer {
    /// Takes from `error` what may be shown.
    pub fn new(error: &tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            Some(answer) => format!("{}: {}", answer.severity(), answer.message()),
            None => lifeboat_model::error_chain(error),
        };
        Self {
            message,
            state: error.code().cloned(),
            closed: error.is_closed(),
        }
    }

    /// The same where even the message can hold a value: only the class of the error stays, and the
    /// name of the constraint.
    pub fn without_message(error: &tokio_postgres::Error) -> Self {
        let mut answer = Self::new(error);
        if let Some(state) = &answer.state {
            answer.message = format!("the server answered with SQLSTATE {}", state.code());
        }
        if let Some(constraint) = error.as_db_error().and_then(DbError::constraint) {
            answer
                .message
                .push_str(&format!(", constraint `{constraint}`"));
        }
        answer
    }

    /// The same for a statement that may read rows: the message stays only where the class of the
    /// error is about definitions, rights or means, so that no value of a row can be in it.
    pub(crate) fn without_values(error: &tokio_postgres::Error) -> Self {
        const ABOUT_NO_ROW: [&str; 12] = [
            "08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58",
        ];
        match error.code() {
            Some(state) if !ABOUT_NO_ROW.contains(&&state.code()[..2]) => {
                Self::without_message(error)
            }
            _ => Self::new(error),
        }
    }

    /// Returns the SQLSTATE, if the server answered at all.
    pub fn state(&self) -> Option<&SqlState> {
        self.state.as_ref()
    }

    fn breaks_a_constraint(&self) -> bool {
        let state = self.state.as_ref();
        state.is_some_and(|state| state.code().starts_with("23"))
    }

    fn kind(&self) -> ErrorKind {
        let Some(state) = &self.state else {
            return if self.closed {
                ErrorKind::Transient
            } else {
                ErrorKind::Failed
            };
        };
        match state.code() {
            "42501" | "28000" | "28P01" => ErrorKind::Denied,
            "53100" => ErrorKind::NoSpace,
            "XX001" | "XX002" => ErrorKind::Corrupt,
            "3D000" => ErrorKind::NotFound,
            "57014" => ErrorKind::Interrupted,
            code if ["08", "40", "53", "57"].contains(&&code[..2]) => ErrorKind::Transient,
            _ => ErrorKind::Failed,
        }
    }
}

/// What fails if a masked value does not fit its column.
pub(crate) const LOAD: &str = "load rows into";
/// What makes a definition of a copy.
pub(crate) const MAKE: &str = "make";
/// What fills a view of a copy.
pub(crate) const FILL: &str = "fill the materialized view";

impl PostgresError {
    pub(crate) fn io(op: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io {
            op,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// For use as `map_err(PostgresError::server("ask for …"))`.
    pub(crate) fn server(op: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |error| Self::Server {
            op,
            answer: ServerAnswer::new(&error),
        }
    }
}

impl Diagnose for PostgresError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Server { answer, .. } | Self::Relation { answer, .. } => answer.kind(),
            Self::Connect { source } => source.kind(),
            Self::BeingRefreshed { .. } | Self::TablesComeAndGo => ErrorKind::Busy,
            Self::NotReplaced { .. } => ErrorKind::Refused,
            Self::NotADataDirectory { .. } | Self::NotInstalled { .. } => ErrorKind::NotFound,
            Self::ControlFile { .. } | Self::BadRecoveryFile { .. } => ErrorKind::Corrupt,
            Self::OtherCluster { .. } | Self::OtherSystem { .. } => ErrorKind::Refused,
            Self::Privilege { .. } => ErrorKind::Denied,
            Self::Promoted => ErrorKind::Transient,
            Self::Running { .. } => ErrorKind::Busy,
            Self::NotEmpty { .. } => ErrorKind::AlreadyExists,
            Self::BadQuery { .. } | Self::BadSetting { .. } => ErrorKind::Usage,
            Self::UnsupportedVersion { .. }
            | Self::KeysNotFound { .. }
            | Self::WalLevelMinimal
            | Self::WalGone { .. }
            | Self::TablespaceGone { .. }
            | Self::ServerEnded { .. }
            | Self::Dump { .. }
            | Self::TimedOut { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotADataDirectory { .. } => {
                "name the folder that holds `PG_VERSION`: `SHOW data_directory` tells"
            }
            Self::UnsupportedVersion { .. } => "versions 13 to 18 are supported",
            Self::ControlFile { .. } => "compare with what `pg_controldata` says of the folder",
            Self::OtherCluster { .. } => {
                "name the folder that `SHOW data_directory` answers on this connection"
            }
            Self::Privilege { grant, .. } => grant,
            Self::WalLevelMinimal => "set `wal_level = replica` and restart the server",
            Self::Promoted => "back up again: the server is a primary now",
            Self::WalGone { .. } => {
                "keep the log with a replication slot or `wal_keep_size`, or archive it"
            }
            Self::TablespaceGone { .. } => "run where the server's tablespaces are mounted",
            Self::Running { .. } => "stop the server, or restore into another folder",
            Self::NotEmpty { .. } => {
                "name an empty folder; a tablespace goes elsewhere with `--tablespace OLD=NEW`"
            }
            Self::BadRecoveryFile { .. } => "verify the snapshot, and restore another if it fails",
            Self::BadSetting { hint, .. } => hint,
            Self::NotInstalled { looked, .. } => return Some(where_to_install(looked)),
            Self::ServerEnded { .. } => "the server's log says why",
            Self::TimedOut { .. } => "allow more time, or look at what the server waits for",
            Self::BadQuery { hint, .. } => hint,
            Self::OtherSystem { .. } => "a cluster made anew needs a source of its own",
            Self::Dump { .. } => "run as a role that may read every table",
            Self::KeysNotFound { .. } => {
                "somebody else changes the new database; nothing was published, refresh again"
            }
            Self::TablesComeAndGo => {
                "wait until whatever makes and drops them is done, or read a snapshot"
            }
            Self::NotReplaced { hint, .. } => hint,
            Self::BeingRefreshed { .. } => "wait for it; one that died holds nothing up",
            Self::Connect { source } => return source.hint(),
            Self::Relation { op, .. } if *op == LOAD => {
                "a masked value is none of its column's type, or breaks a constraint: compare the \
                 masks with the columns; nothing was published"
            }
            Self::Relation { answer, .. } if answer.breaks_a_constraint() => {
                "a row does not hold to it: in production itself, or because of its masks; nothing \
                 was published"
            }
            Self::Server { answer, .. } if answer.state() == Some(&SqlState::OBJECT_IN_USE) => {
                "end what uses it: `pg_prepared_xacts` lists prepared transactions, `pg_stat_activity` \
                 sessions, `pg_replication_slots` and `pg_subscription` the rest"
            }
            Self::Io { .. } | Self::Server { .. } | Self::Relation { .. } => {
                return self.general_hint();
            }
        };
        Some(hint.to_owned())
    }
}

impl PostgresError {
    /// Tells a server that takes a copy from one that is read.
    fn is_about_a_copy(&self) -> bool {
        matches!(self, Self::Relation { op, .. } if *op == MAKE || *op == FILL)
    }

    fn general_hint(&self) -> Option<String> {
        let hint = match self.kind() {
            ErrorKind::Denied if matches!(self, Self::Io { .. }) => {
                "run as the account that owns the data directory"
            }
            ErrorKind::Denied if self.is_about_a_copy() => {
                "grant the role of `database` in `[refresh]` what making this needs: event triggers and \
                 some extensions need a superuser; nothing was published"
            }
            ErrorKind::Denied => {
                "grant the role of `url` what the documentation lists; to read tables, it needs \
                 pg_read_all_data"
            }
            ErrorKind::NoSpace => "free some space or name another folder",
            ErrorKind::Corrupt => "restore from a backup that passes its checks",
            ErrorKind::Transient => "see whether the server runs, then try again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn where_to_install(looked: &[PathBuf]) -> String {
    let folders: Vec<_> = looked
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    format!(
        "install it, or name the folder of its programs; looked in {}",
        folders.join(", ")
    )
}

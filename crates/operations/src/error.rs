//! What can go wrong in an operation.

use std::path::PathBuf;

use lifeboat_model::{
    Diagnose, ErrorKind, Problems, RegionName, Segment, Severity, SnapshotId, SourceName, SystemId,
    WalFileName,
};

/// An operation could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The repository or its store failed.
    #[error(transparent)]
    Repository(#[from] lifeboat_repository::RepositoryError),

    /// What a file is made of is missing or damaged, and no region that was read has it.
    #[error("failed to restore file `{path}`")]
    Unreadable {
        /// The first file that needs it; others may, too.
        path: lifeboat_model::EntryPath,
        /// Why.
        source: Box<lifeboat_repository::RepositoryError>,
    },

    /// A folder could not be read or written.
    #[error(transparent)]
    Files(#[from] lifeboat_source_files::FilesError),

    /// One file could not be read or written, and the operation cannot do without it.
    #[error(transparent)]
    File(#[from] lifeboat_source_files::FileProblem),

    /// A SQLite database could not be read or written.
    #[error(transparent)]
    Sqlite(#[from] lifeboat_source_sqlite::SqliteError),

    /// A PostgreSQL cluster could not be read, written or started.
    #[error(transparent)]
    Postgres(#[from] lifeboat_source_postgres::PostgresError),

    /// How to connect to a cluster cannot be understood.
    #[error(transparent)]
    Conninfo(#[from] lifeboat_source_postgres::conninfo::ConninfoError),

    /// A cluster's server cannot be reached.
    #[error(transparent)]
    Connect(#[from] lifeboat_source_postgres::connect::ConnectError),

    /// The log or a base backup could not be received.
    #[error(transparent)]
    Replication(#[from] lifeboat_source_postgres::replication::ReplicationError),

    /// The heartbeat could not be written.
    #[error(transparent)]
    Heartbeat(#[from] lifeboat_source_postgres::heartbeat::HeartbeatError),

    /// The password of a cluster could not be fetched.
    #[error("the password of the cluster is not to be had")]
    Password {
        /// Why.
        source: lifeboat_runtime::SecretError,
    },

    /// A point that the log of a cluster does not lead to.
    #[error(transparent)]
    NotRecoverable(#[from] lifeboat_policy::NotRecoverable),

    /// A file is none of a cluster's log.
    #[error(transparent)]
    Wal(#[from] lifeboat_source_postgres::wal::WalFlaw),

    /// The log of another cluster than the source's.
    #[error(
        "the log is of cluster {found}, and source `{source_name}` is cluster {expected}, by {known_by}"
    )]
    ForeignWal {
        /// The source.
        source_name: SourceName,
        /// The cluster that it is.
        expected: SystemId,
        /// The cluster that the log is of.
        found: SystemId,
        /// How the source is known.
        known_by: String,
    },

    /// The log that a backup needs does not reach the repository.
    #[error(
        "segment {segment} of the log did not reach the repository within {secs} s of no progress"
    )]
    LogNotKept {
        /// The source.
        source_name: SourceName,
        /// The first segment that is missing.
        segment: Segment,
        /// How long nothing came.
        secs: u64,
        /// Whether the server hands finished segments over to an archive.
        archives: bool,
        /// The environment.
        environment: String,
    },

    /// What all regions together do not allow, one of them does.
    #[error("{source}")]
    OneRegionAllows {
        /// The region.
        region: RegionName,
        /// Why all together do not.
        source: Box<OperationError>,
    },

    /// The log has a hole where a recovery would take it to end.
    #[error("only {held} bytes of segment {segment} are there, and the log goes on after it")]
    WalGap {
        /// The segment.
        segment: Segment,
        /// How many of its bytes there are.
        held: u64,
    },

    /// A file of the log that a restore was planned with cannot be had.
    #[error("`{file}` was there when the restore was planned, and {}: {why}", there_is(*held))]
    WalUnmet {
        /// The file.
        file: WalFileName,
        /// How many of its bytes there are.
        held: u32,
        /// Where it may be, and why it cannot be had from there.
        why: String,
    },

    /// A secret could not be fetched.
    #[error("the {role} key is not to be had")]
    Secret {
        /// What the secret is for.
        role: &'static str,
        /// Why.
        source: lifeboat_runtime::SecretError,
    },

    /// The configuration names no key that could do this.
    #[error("the configuration names no key that can {action}")]
    NoKey {
        /// What was to be done.
        action: &'static str,
        /// The role that would do.
        role: &'static str,
    },

    /// A name that the configuration does not know.
    #[error(transparent)]
    Unknown(#[from] lifeboat_config::UnknownName),

    /// Files that people write have errors.
    #[error("{}", count(.problems))]
    Problems {
        /// The problems.
        problems: Box<Problems>,
        /// Wrong files are a matter of usage; rules that do not cover the data are a refusal.
        kind: ErrorKind,
    },

    /// A residency rule forbids it.
    #[error("region `{region}` must not hold data of environment `{environment}`")]
    Residency {
        /// The region.
        region: RegionName,
        /// The environment.
        environment: String,
        /// The rule.
        source: lifeboat_policy::ResidencyRefusal,
    },

    /// A rule on classes of environments forbids it.
    #[error(transparent)]
    RawData(#[from] lifeboat_policy::RawDataRefusal),

    /// A region's store is not what the configuration says.
    #[error("region `{region}` is not what the configuration says: {what}")]
    RegionMismatch {
        /// The region.
        region: RegionName,
        /// What differs.
        what: String,
        /// What to do.
        hint: String,
    },

    /// The environment has no such thing configured.
    #[error("environment `{environment}` has no {what}")]
    NotConfigured {
        /// The environment.
        environment: String,
        /// What is missing, as the user would write it.
        what: String,
        /// What to add.
        hint: String,
    },

    /// The masked copy did not pass its leak gates.
    #[error("nothing was published")]
    NotMasked(#[from] lifeboat_masking::NotMasked),

    /// A masked copy that passed every gate and is kept could not take the old database's place.
    #[error("{source}")]
    KeptUnpublished {
        /// The environment that gets the copy.
        environment: String,
        /// The copy.
        snapshot: SnapshotId,
        /// Why.
        source: Box<OperationError>,
    },

    /// Masking failed.
    #[error(transparent)]
    Mask(#[from] lifeboat_masking::MaskError),

    /// One file of several could not be masked.
    #[error("failed to mask the file `{}`", path.display())]
    InFile {
        /// Its place in the folder.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<OperationError>,
    },

    /// A file cannot be read as its format. Says nothing of what it holds.
    #[error("failed to read `{}` as {format}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// What is wrong, and in which line.
        what: String,
        /// What to do.
        hint: &'static str,
    },

    /// Somebody else replaces the same at this moment.
    #[error("`{}` is being refreshed", target.display())]
    BeingRefreshed {
        /// What is replaced.
        target: PathBuf,
    },

    /// A stream to mask holds a row without an end.
    #[error(transparent)]
    RowTooLong(#[from] lifeboat_masking::RowTooLong),

    /// The masking key cannot be used.
    #[error(transparent)]
    MaskKey(#[from] lifeboat_masking::KeyError),

    /// A restored database is not sound.
    #[error("the restored database `{}` is not sound: {what}", path.display())]
    NotSound {
        /// Where it was restored to.
        path: PathBuf,
        /// What SQLite says, or what differs.
        what: String,
    },

    /// A restore must not go there, or not now.
    #[error("nothing was restored to `{}`: {what}", path.display())]
    Target {
        /// The place as the user named it.
        path: PathBuf,
        /// What speaks against it.
        what: String,
        /// Which kind of objection that is.
        kind: ErrorKind,
        /// What to do.
        hint: String,
    },

    /// A file or folder of ours could not be read or written.
    #[error("failed to {op} `{}`", path.display())]
    Io {
        /// The verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A rule forbids what was asked.
    #[error("{message}")]
    Refused {
        /// What is refused, and why.
        message: String,
        /// What to do.
        hint: String,
    },

    /// What was asked makes no sense here.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

fn there_is(held: u32) -> String {
    match held {
        0 => "is not there now".to_owned(),
        some => format!("only {some} bytes of it are there now"),
    }
}

fn count(problems: &Problems) -> String {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    match errors {
        1 => "nothing was done because of this error".to_owned(),
        many => format!("nothing was done because of these {many} errors"),
    }
}

impl OperationError {
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            op,
            path: path.into(),
            source,
        }
    }
}

impl From<Problems> for OperationError {
    fn from(problems: Problems) -> Self {
        Self::Problems {
            problems: Box::new(problems),
            kind: ErrorKind::Usage,
        }
    }
}

impl From<lifeboat_storage::StoreError> for OperationError {
    fn from(error: lifeboat_storage::StoreError) -> Self {
        Self::Repository(error.into())
    }
}

impl Diagnose for OperationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Repository(error) => error.kind(),
            Self::Unreadable { source, .. } => source.kind(),
            Self::OneRegionAllows { source, .. } | Self::KeptUnpublished { source, .. } => {
                source.kind()
            }
            Self::Files(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Sqlite(error) => error.kind(),
            Self::Secret { .. } | Self::NoKey { .. } => ErrorKind::WrongKey,
            Self::Unknown(error) => error.kind(),
            Self::Problems { kind, .. } | Self::Target { kind, .. } => *kind,
            Self::NotConfigured { .. } | Self::Usage { .. } => ErrorKind::Usage,
            Self::Residency { .. }
            | Self::RegionMismatch { .. }
            | Self::NotMasked(_)
            | Self::Refused { .. } => ErrorKind::Refused,
            Self::RawData(error) => error.kind(),
            Self::Postgres(error) => error.kind(),
            Self::Conninfo(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Replication(error) => error.kind(),
            Self::Heartbeat(error) => error.kind(),
            Self::Password { source } => source.kind(),
            Self::NotRecoverable(error) => error.kind(),
            Self::Wal(error) => error.kind(),
            Self::ForeignWal { .. } => ErrorKind::Refused,
            Self::LogNotKept { .. } => ErrorKind::Failed,
            Self::WalGap { .. } | Self::WalUnmet { .. } => ErrorKind::NotFound,
            Self::Mask(error) => error.kind(),
            Self::RowTooLong(error) => error.kind(),
            Self::InFile { source, .. } => source.kind(),
            Self::BeingRefreshed { .. } => ErrorKind::Busy,
            Self::MaskKey(error) => error.kind(),
            Self::NotSound { .. } | Self::Malformed { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Unreadable { source, .. } => source.hint(),
            Self::KeptUnpublished { environment, snapshot, source } => {
                let hint = source.hint().map(|hint| format!("{hint}; then ")).unwrap_or_default();
                Some(format!(
                    "{hint}publish the copy, which passed every gate and is kept, without masking anew: `lifeboat refresh \
                     {environment} --masked {snapshot}`"
                ))
            }
            Self::OneRegionAllows { region, source } => {
                let hint = source.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
                Some(format!(
                    "{hint}region `{region}` by itself leads somewhere, maybe to an older branch: `--region {region} \
                     --dry-run` tells where"
                ))
            }
            Self::Files(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Sqlite(error) => error.hint(),
            Self::Postgres(error) => error.hint(),
            Self::Conninfo(error) => error.hint(),
            Self::Connect(error) => error.hint(),
            Self::Replication(error) => error.hint(),
            Self::Heartbeat(error) => error.hint(),
            Self::Password { source } => source.hint(),
            Self::NotRecoverable(error) => error.hint(),
            Self::Wal(error) => error.hint(),
            Self::ForeignWal { .. } => Some(
                "if the cluster was made anew or upgraded, point the source at it and back it up; else \
                 mend the `archive_command` of the server that sent this"
                    .to_owned(),
            ),
            Self::LogNotKept { archives: true, environment, source_name, .. } => Some(format!(
                "the server's log says how `archive_command` fails; it should be `lifeboat -C PROJECT wal \
                 push {environment} {source_name} %p`"
            )),
            Self::LogNotKept { environment, source_name, .. } => Some(format!(
                "`archive_mode` is off: set it with `archive_command = 'lifeboat -C PROJECT wal push \
                 {environment} {source_name} %p'` and restart the server, or run `lifeboat wal receive \
                 {environment}`, or let snapshots carry their log with `wal = \"in-snapshot\"`"
            )),
            Self::WalGap { .. } => Some(
                "`lifeboat wal status` names the gap; `lifeboat replicate` may bring the rest from another \
                 region"
                    .to_owned(),
            ),
            Self::WalUnmet { .. } => Some(
                "bring back the region that has it and start the server again, which goes on from there; or restore \
                 again, to what is left"
                    .to_owned(),
            ),
            Self::Secret { source, .. } => source.hint(),
            Self::NoKey { role: "root", .. } => Some(
                "give the recovery code in a file with `--root FILE`, or say where it is to be had \
                 as `root = \"env:NAME\"` in `[keys]`"
                    .to_owned(),
            ),
            Self::NoKey { role, .. } => Some(format!("add `{role} = \"file:…\"` to `[keys]`")),
            Self::Unknown(error) => error.hint(),
            Self::Residency { .. } => Some(
                "use a region within the environment's `residency`, or widen that if the law allows"
                    .to_owned(),
            ),
            Self::RawData(error) => error.hint(),
            Self::RegionMismatch { hint, .. }
            | Self::NotConfigured { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Refused { hint, .. }
            | Self::Target { hint, .. } => Some(hint.clone()),
            Self::NotMasked(_) => {
                Some("the leak report names the columns; mend the masking rules".to_owned())
            }
            Self::Mask(error) => error.hint(),
            Self::RowTooLong(error) => error.hint(),
            Self::InFile { source, .. } => source.hint(),
            Self::Malformed { hint, .. } => Some((*hint).to_owned()),
            Self::BeingRefreshed { .. } => {
                Some("wait for it; one that died holds nothing up".to_owned())
            }
            Self::MaskKey(error) => error.hint(),
            Self::NotSound { .. } => Some("restore another snapshot; `lifeboat snapshots` lists them".to_owned()),
            Self::Io { source, .. } if ErrorKind::of_io(source) == ErrorKind::NoSpace => {
                Some("free some space and run the command again".to_owned())
            }
            Self::Problems { .. } | Self::Io { .. } => None,
        }
    }

    fn problems(&self) -> Option<&Problems> {
        match self {
            Self::Problems { problems, .. } => Some(problems),
            _ => None,
        }
    }
}

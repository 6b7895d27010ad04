//! A base backup as the server sees it: when it starts, what must hold, when it stops.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_model::{Lsn, Segment, SegmentSize, SystemId, Timeline, WalFileName};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::control::ControlFile;
use crate::data_directory::{DataDirectory, Tablespace};
use crate::error::{PostgresError, ServerAnswer};
use crate::label::BackupLabel;

/// How far the clock of a server's lock file and that of its own answer may be apart.
const START_TIME_SLACK_SECS: u64 = 2;

/// How to take a backup.
#[derive(Debug, Clone)]
pub struct BackupOptions<'a> {
    /// A name that the server writes into `backup_label`.
    pub label: &'a str,
    /// Whether the first checkpoint may take its time.
    pub checkpoint: CheckpointPace,
    /// The data directory that will be read, if it is read here; it must be the server's.
    pub data_directory: Option<&'a Path>,
    /// Whether `pg_wal` must keep what is written meanwhile, for a snapshot that carries its log.
    pub wal: KeepWal,
}

/// How fast the checkpoint at the start of a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPace {
    /// At once, with as much writing as it takes.
    Fast,
    /// Spread over minutes, so that clients notice nothing.
    Spread,
}

/// Whether the server must keep its log while the session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepWal {
    /// An archive or a receiver has it.
    No,
    /// By a temporary replication slot, which goes when the session ends.
    UntilSessionEnds,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `server_version_num`: 150010.
    pub version: u32,
    /// What `initdb` drew.
    pub system_id: SystemId,
    /// Layout of the system catalogs.
    pub catalog_version: u32,
    /// The timeline of the last checkpoint.
    pub timeline: Timeline,
    /// Length of a WAL segment.
    pub segment_size: SegmentSize,
    /// Length of a page, bytes.
    pub page_bytes: u32,
    /// Whether pages carry checksums.
    pub checksums: bool,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Whether finished segments are handed to an archive: `archive_mode` is not `off`.
    pub archives: bool,
    /// Its data directory, if the role may know.
    pub data_directory: Option<PathBuf>,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// The role that `initdb` made, which every cluster has.
    pub bootstrap_role: String,
}

impl ServerFacts {
    /// Asks a server.
    ///
    /// # Errors
    /// Fails if it does not answer, or is of a version that is not understood.
    pub async fn ask(client: &Client) -> Result<Self, PostgresError> {
        let failed = PostgresError::server("ask the server about itself");
        prepare_session(client).await?;
        let row = client.query_one(FACTS, &[]).await.map_err(&failed)?;
        let version = unsigned(&row, 0)?;
        if !(130_000..190_000).contains(&version) {
            let version = (version / 10_000).to_string();
            return Err(PostgresError::UnsupportedVersion { version });
        }
        let segment_size = SegmentSize::new(unsigned(&row, 4)?);
        let tablespaces = client.query(TABLESPACES, &[]).await.map_err(&failed)?;
        Ok(Self {
            version,
            system_id: SystemId::new(get::<i64>(&row, 1)?.cast_unsigned()),
            catalog_version: unsigned(&row, 2)?,
            timeline: Timeline::new(unsigned(&row, 3)?),
            segment_size: segment_size.ok_or_else(|| PostgresError::UnsupportedVersion {
                version: "with segments of an odd length".to_owned(),
            })?,
            page_bytes: unsigned(&row, 5)?,
            checksums: unsigned(&row, 6)? != 0,
            in_recovery: get(&row, 7)?,
            archives: get::<String>(&row, 8)? != "off",
            data_directory: get::<Option<String>>(&row, 9)?.map(PathBuf::from),
            bootstrap_role: get(&row, 10)?,
            tablespaces: tablespaces
                .iter()
                .map(|row| {
                    Ok(Tablespace {
                        oid: get(row, 0)?,
                        location: PathBuf::from(get::<String>(row, 1)?),
                    })
                })
                .collect::<Result<_, PostgresError>>()?,
        })
    }
}

const FACTS: &str = "
    SELECT current_setting('server_version_num')::int4, s.system_identifier, s.catalog_version_no,
           c.timeline_id, i.bytes_per_wal_segment, i.database_block_size,
           i.data_page_checksum_version, pg_is_in_recovery(), current_setting('archive_mode'),
           CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                THEN current_setting('data_directory') END,
           (SELECT rolname::text FROM pg_roles WHERE oid = 10)
      FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i";

const TABLESPACES: &str = "
    SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace
     WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid";

/// Makes a session independent of what its role or database sets.
async fn prepare_session(client: &Client) -> Result<(), PostgresError> {
    client
        .batch_execute(
            "SET search_path = pg_catalog; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO';
             SELECT set_config(name, '0', false) FROM pg_settings
              WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',
                             'idle_in_transaction_session_timeout', 'idle_session_timeout')",
        )
        .await
        .map_err(PostgresError::server("prepare the session"))
}

/// A base backup that was started and not stopped yet. If its session ends before, the server
/// forgets it.
#[derive(Debug)]
pub struct BaseBackup<'c> {
    client: &'c Client,
    facts: ServerFacts,
    start: Lsn,
    started: Timestamp,
}

/// What a server says when a base backup is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupEnd {
    /// Where recovery begins.
    pub start: Lsn,
    /// How far recovery must at least go.
    pub stop: Lsn,
    /// The timeline of both.
    pub timeline: Timeline,
    /// Length of a WAL segment.
    pub segment_size: SegmentSize,
    /// When the backup was started.
    pub started: Timestamp,
    /// When it was stopped.
    pub stopped: Timestamp,
    /// `backup_label`, byte for byte.
    pub label: Vec<u8>,
    /// `tablespace_map`, byte for byte, if there are tablespaces.
    pub tablespace_map: Option<Vec<u8>>,
}

impl BackupEnd {
    /// Returns the segments that a restore needs, first to last.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + use<> {
        let (size, timeline) = (self.segment_size, self.timeline);
        let first = self.start.get() / u64::from(size.bytes());
        // The stop is the position after the last byte that is needed.
        let last = self.stop.get().saturating_sub(1) / u64::from(size.bytes());
        (first..=last).map(move |number| Segment::numbered(timeline, number, size))
    }
}

impl<'c> BaseBackup<'c> {
    /// Starts a base backup over `client`, which is held until it is stopped.
    ///
    /// A standby starts from its last restartpoint. It has replayed the log up to there already, so
    /// there is nothing to wait for.
    ///
    /// # Errors
    /// Fails if the server cannot be backed up, the role may not, or the data directory is another
    /// server's.
    pub async fn start(
        client: &'c Client,
        options: &BackupOptions<'_>,
    ) -> Result<Self, PostgresError> {
        let facts = ServerFacts::ask(client).await?;
        check_rights(client, &facts, options.wal).await?;
        if let Some(path) = options.data_directory {
            check_directory(client, &facts, path).await?;
        }
        if options.wal == KeepWal::UntilSessionEnds {
            keep_wal(client).await?;
        }
        let fast = options.checkpoint == CheckpointPace::Fast;
        let sql = match facts.version {
            150_000.. => "SELECT clock_timestamp(), pg_backup_start($1, $2)::text",
            _ => "SELECT clock_timestamp(), pg_start_backup($1, $2, false)::text",
        };
        let row = client.query_one(sql, &[&options.label, &fast]).await;
        let row = row.map_err(PostgresError::server("start a backup"))?;
        let backup = Self {
            client,
            facts,
            started: get(&row, 0)?,
            start: position(&row, 1)?,
        };
        match options
            .data_directory
            .map(|path| backup.check_checkpoint(path))
        {
            None | Some(Ok(())) => Ok(backup),
            Some(Err(error)) => {
                // The session may be used again. If stopping fails, the session is lost, and the
                // backup with it.
                backup.stop().await.ok();
                Err(error)
            }
        }
    }

    /// Returns what the server said of itself.
    pub const fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// Returns where recovery will begin.
    pub const fn start_lsn(&self) -> Lsn {
        self.start
    }

    /// Returns when the backup was started, by the server's clock.
    pub const fn started(&self) -> Timestamp {
        self.started
    }

    /// The server has just made a checkpoint at or after the start. A control file without it is
    /// not the server's: this proves what neither path nor identifier can.
    fn check_checkpoint(&self, path: &Path) -> Result<(), PostgresError> {
        let control = ControlFile::read(path)?;
        if control.checkpoint >= self.start {
            return Ok(());
        }
        let (checkpoint, start) = (control.checkpoint, self.start);
        Err(PostgresError::OtherCluster {
            path: path.to_owned(),
            why: format!(
                "its last checkpoint {checkpoint} is older than the backup's start {start}"
            ),
        })
    }

    /// Stops the backup. The log up to the stop may not be in an archive yet.
    ///
    /// # Errors
    /// Fails if the server does not answer, or if a standby was promoted meanwhile.
    pub async fn stop(self) -> Result<BackupEnd, PostgresError> {
        let function = match self.facts.version {
            150_000.. => "pg_backup_stop(false)",
            _ => "pg_stop_backup(false, false)",
        };
        // The files are wanted as the server has them, not turned into the client's encoding.
        let sql = format!(
            "SELECT lsn::text, convert_to(labelfile, getdatabaseencoding()),
                    convert_to(spcmapfile, getdatabaseencoding()), clock_timestamp()
               FROM {function}"
        );
        let row = self.client.query_one(&sql, &[]).await;
        let row = row.map_err(|error| self.stop_failed(&error))?;
        let label: Vec<u8> = get(&row, 1)?;
        let map: Option<Vec<u8>> = get(&row, 2)?;
        let parsed = BackupLabel::parse(&label)?;
        Ok(BackupEnd {
            start: parsed.start,
            stop: position(&row, 0)?,
            timeline: parsed.timeline,
            segment_size: self.facts.segment_size,
            started: self.started,
            stopped: get(&row, 3)?,
            label,
            tablespace_map: map.filter(|map| !map.is_empty()),
        })
    }

    fn stop_failed(&self, error: &tokio_postgres::Error) -> PostgresError {
        let not_ready = error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        if self.facts.in_recovery && not_ready {
            return PostgresError::Promoted;
        }
        PostgresError::Server {
            op: "stop the backup",
            answer: ServerAnswer::new(error),
        }
    }
}

/// Checks that the role may do all that a backup takes, before anything is done.
async fn check_rights(
    client: &Client,
    facts: &ServerFacts,
    wal: KeepWal,
) -> Result<(), PostgresError> {
    let (start, stop) = match facts.version {
        150_000.. => ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"),
        _ => (
            "pg_start_backup(text, boolean, boolean)",
            "pg_stop_backup(boolean, boolean)",
        ),
    };
    let sql = "SELECT current_user::text, current_setting('wal_level'),
                      has_function_privilege($1, 'EXECUTE') AND has_function_privilege($2, 'EXECUTE'),
                      (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)";
    let statement = client
        .prepare_typed(sql, &[Type::TEXT, Type::TEXT])
        .await
        .map_err(PostgresError::server("ask for the role's rights"))?;
    let row = client
        .query_one(&statement, &[&start, &stop])
        .await
        .map_err(PostgresError::server("ask for the role's rights"))?;
    let role: String = get(&row, 0)?;
    let quoted = quoted_identifier(&role);
    if !get::<bool>(&row, 2)? {
        let grant = format!("GRANT EXECUTE ON FUNCTION {start}, {stop} TO {quoted}");
        let what = "start and stop backups";
        return Err(PostgresError::Privilege { role, what, grant });
    }
    if wal == KeepWal::UntilSessionEnds && !get::<bool>(&row, 3)? {
        let grant = format!("ALTER ROLE {quoted} REPLICATION");
        let what = "keep the log with a replication slot";
        return Err(PostgresError::Privilege { role, what, grant });
    }
    if get::<String>(&row, 1)? == "minimal" {
        return Err(PostgresError::WalLevelMinimal);
    }
    Ok(())
}

/// Checks that the server works in the data directory that will be read.
async fn check_directory(
    client: &Client,
    facts: &ServerFacts,
    path: &Path,
) -> Result<(), PostgresError> {
    let other = |why: String| PostgresError::OtherCluster {
        path: path.to_owned(),
        why,
    };
    let directory = DataDirectory::open(path)?;
    let (here, there) = (directory.control().system_id, facts.system_id);
    if here != there {
        let why = format!("its system identifier is {here}, the server's is {there}");
        return Err(other(why));
    }
    let Some(running) = directory.running_server()? else {
        return Err(other("no server runs on it".to_owned()));
    };
    if is_same_folder(path, facts.data_directory.as_deref()) {
        return Ok(());
    }
    // The paths differ where the server runs in a container of its own, or is not telling. Two
    // clusters of one identifier on one host differ in their ports and start times.
    let sql = "SELECT current_setting('port')::int4,
                      extract(epoch FROM pg_postmaster_start_time())::int8";
    let row = client.query_one(sql, &[]).await;
    let row = row.map_err(PostgresError::server("ask the server about itself"))?;
    let apart = get::<i64>(&row, 1)?.abs_diff(running.started_secs);
    if unsigned(&row, 0)? != u32::from(running.port) || apart > START_TIME_SLACK_SECS {
        return Err(other("another server runs on it".to_owned()));
    }
    Ok(())
}

fn is_same_folder(here: &Path, there: Option<&Path>) -> bool {
    let there = there.and_then(|path| path.canonicalize().ok());
    there.is_some() && here.canonicalize().ok() == there
}

/// Makes the server keep its log from now on, until the session ends.
async fn keep_wal(client: &Client) -> Result<(), PostgresError> {
    let sql = "SELECT pg_create_physical_replication_slot(
                   'lifeboat_backup_' || pg_backend_pid(), true, true)";
    let made = client.query_one(sql, &[]).await;
    made.map(drop)
        .map_err(PostgresError::server("make a temporary replication slot"))
}

/// What a server's archiver did, as `pg_stat_archiver` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiverStatus {
    /// Files handed over since the figures were reset.
    pub archived: u64,
    /// The last of them, with its time.
    pub last_archived: Option<(WalFileName, Timestamp)>,
    /// Attempts that failed.
    pub failed: u64,
    /// The last of them, with its time.
    pub last_failed: Option<(WalFileName, Timestamp)>,
}

impl ArchiverStatus {
    /// Asks a server.
    ///
    /// # Errors
    /// Fails if it does not answer.
    pub async fn ask(client: &Client) -> Result<Self, PostgresError> {
        let sql = "SELECT archived_count, last_archived_wal, last_archived_time,
                          failed_count, last_failed_wal, last_failed_time
                     FROM pg_catalog.pg_stat_archiver";
        let row = client.query_one(sql, &[]).await;
        let row = row.map_err(PostgresError::server("ask for the archiver's status"))?;
        let last = |at: usize| -> Result<_, PostgresError> {
            let name: Option<String> = get(&row, at)?;
            let time: Option<Timestamp> = get(&row, at + 1)?;
            Ok(name.and_then(|name| name.parse().ok()).zip(time))
        };
        Ok(Self {
            archived: get::<i64>(&row, 0)?.unsigned_abs(),
            last_archived: last(1)?,
            failed: get::<i64>(&row, 3)?.unsigned_abs(),
            last_failed: last(4)?,
        })
    }
}

/// Makes a primary finish its current segment, so that an archive gets it; returns where it ended.
/// Nothing happens if nothing was written since the last switch.
///
/// # Errors
/// Fails on a standby, and for roles without the right.
pub async fn switch_wal(client: &Client) -> Result<Lsn, PostgresError> {
    let row = client
        .query_one("SELECT pg_catalog.pg_switch_wal()::text", &[])
        .await;
    position(
        &row.map_err(PostgresError::server("switch to the next segment"))?,
        0,
    )
}

pub(crate) fn quoted_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a column of a row, whose type a server of another kind may have changed.
pub(crate) fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    column: usize,
) -> Result<T, PostgresError> {
    row.try_get(column)
        .map_err(PostgresError::server("understand the server's answer"))
}

fn unsigned(row: &Row, column: usize) -> Result<u32, PostgresError> {
    Ok(get::<i32>(row, column)?.cast_unsigned())
}

pub(crate) fn position(row: &Row, column: usize) -> Result<Lsn, PostgresError> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| PostgresError::BadRecoveryFile {
        file: "position of the log",
        why: "the server answered something else".to_owned(),
    })
}

//! `global/pg_control`: what a cluster knows of itself without being started.
//!
//! The layout is `ControlFileData` of PostgreSQL's `src/include/catalog/pg_control.h`. All that is
//! read here lies at one place in versions 13 to 18. Version 17 put a number where only padding was;
//! 18 put one byte more before the nonce, which moves the checksum at the end. Numbers are in the byte order of the
//! machine, as PostgreSQL writes them.

use std::path::Path;
use std::thread;
use std::time::Duration;

use lifeboat_model::{Lsn, SegmentSize, SystemId, Timeline};

use crate::error::PostgresError;

/// How often a file that is being written is read again: the server writes it in an instant.
const READS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Length of the file, whatever its version uses of it, bytes.
const FILE_BYTES: usize = 8192;

/// The control file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlProblem {
    /// There is less than a control file.
    #[error("it is too short")]
    TooShort,
    /// A version of PostgreSQL, or a byte order, that is not understood.
    #[error("its layout {0} is none of PostgreSQL 13 to 18 on this machine")]
    Layout(u32),
    /// The bytes are not what the server wrote.
    #[error("its checksum is wrong")]
    Checksum,
    /// A number that cannot be.
    #[error("its {0} is out of range")]
    Field(&'static str),
}

/// What a cluster was doing when the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterState {
    /// Starting up for the first time.
    Startup,
    /// Shut down.
    ShutDown,
    /// A standby that was shut down.
    ShutDownInRecovery,
    /// Shutting down.
    ShuttingDown,
    /// Recovering from a crash.
    CrashRecovery,
    /// Recovering from an archive, or a standby.
    ArchiveRecovery,
    /// Running, or crashed.
    InProduction,
}

/// Limits that a standby must not fall short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedLimits {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_worker_processes`.
    pub max_worker_processes: u32,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: u32,
}

/// The content of `global/pg_control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// What `initdb` drew.
    pub system_id: SystemId,
    /// Layout of this file: 1300 (versions 13 to 16), 1700 or 1800.
    pub layout: u32,
    /// Layout of the system catalogs; part of the name of a tablespace's folder.
    pub catalog_version: u32,
    /// What the cluster was doing.
    pub state: ClusterState,
    /// Where the last checkpoint's record lies.
    pub checkpoint: Lsn,
    /// Where recovery from this checkpoint begins.
    pub redo: Lsn,
    /// The timeline of the checkpoint.
    pub timeline: Timeline,
    /// How far an archive recovery must at least go; `None` outside of one.
    pub min_recovery: Option<(Lsn, Timeline)>,
    /// Whether the log holds what a backup needs: `wal_level` is not `minimal`.
    pub logs_enough: bool,
    /// Limits that a standby must not fall short of.
    pub limits: SharedLimits,
    /// Length of a page, bytes.
    pub page_bytes: u32,
    /// How many pages one file of a relation holds.
    pub pages_per_file: u32,
    /// Length of a WAL segment.
    pub segment_size: SegmentSize,
    /// Whether pages carry checksums.
    pub checksums: bool,
    bytes: Vec<u8>,
}

impl ControlFile {
    /// Reads the control file of a data directory, again and again while the server writes it.
    ///
    /// Blocks the thread for up to a second.
    ///
    /// # Errors
    /// Fails if the file cannot be read or makes no sense.
    pub fn read(data_directory: &Path) -> Result<Self, PostgresError> {
        let path = data_directory.join("global/pg_control");
        let mut reads = 0;
        loop {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(PostgresError::NotADataDirectory {
                        path: data_directory.to_owned(),
                    });
                }
                Err(error) => return Err(PostgresError::io("read", &path, error)),
            };
            reads += 1;
            match Self::parse(&bytes) {
                Ok(control) => return Ok(control),
                Err(ControlProblem::Checksum | ControlProblem::TooShort) if reads < READS_MAX => {
                    thread::sleep(PAUSE);
                }
                Err(problem) => return Err(PostgresError::ControlFile { path, problem }),
            }
        }
    }

    /// Reads the bytes of a control file.
    ///
    /// # Errors
    /// Fails if the layout is unknown, the checksum is wrong, or a number cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlProblem> {
        let bytes = bytes.get(..FILE_BYTES).ok_or(ControlProblem::TooShort)?;
        let fields = Fields(bytes);
        let layout = fields.u32(8);
        let checksum_at = match layout {
            1300 | 1700 => 288,
            1800 => 292,
            _ => return Err(ControlProblem::Layout(layout)),
        };
        if crc32c::crc32c(&bytes[..checksum_at]) != fields.u32(checksum_at) {
            return Err(ControlProblem::Checksum);
        }
        let min_recovery = (fields.lsn(136), Timeline::new(fields.u32(144)));
        Ok(Self {
            system_id: SystemId::new(fields.u64(0)),
            layout,
            catalog_version: fields.u32(12),
            state: state_of(fields.u32(16))?,
            checkpoint: fields.lsn(32),
            redo: fields.lsn(40),
            timeline: Timeline::new(fields.u32(48)),
            min_recovery: (min_recovery.0 != Lsn::new(0)).then_some(min_recovery),
            logs_enough: fields.u32(172) != 0,
            limits: SharedLimits {
                max_connections: fields.u32(180),
                max_worker_processes: fields.u32(184),
                max_wal_senders: fields.u32(188),
                max_prepared_transactions: fields.u32(192),
                max_locks_per_transaction: fields.u32(196),
            },
            page_bytes: fields.u32(216),
            pages_per_file: fields.u32(220),
            segment_size: SegmentSize::new(fields.u32(228))
                .ok_or(ControlProblem::Field("length of a WAL segment"))?,
            checksums: fields.u32(252) != 0,
            bytes: bytes.to_vec(),
        })
    }

    /// Returns the file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The bytes of the file, long enough for every field that is asked for.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let field = self.0[at..].first_chunk();
        *field.expect("the length of the file was checked")
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    fn lsn(&self, at: usize) -> Lsn {
        Lsn::new(self.u64(at))
    }
}

fn state_of(number: u32) -> Result<ClusterState, ControlProblem> {
    Ok(match number {
        0 => ClusterState::Startup,
        1 => ClusterState::ShutDown,
        2 => ClusterState::ShutDownInRecovery,
        3 => ClusterState::ShuttingDown,
        4 => ClusterState::CrashRecovery,
        5 => ClusterState::ArchiveRecovery,
        6 => ClusterState::InProduction,
        _ => return Err(ControlProblem::Field("state")),
    })
}

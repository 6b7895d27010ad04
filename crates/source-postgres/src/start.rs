//! Starts a restored cluster for good, as its own configuration says, and waits until it has
//! recovered.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::account::Account;
use crate::control::{ClusterState, ControlFile};
use crate::data_directory::running_server;
use crate::error::PostgresError;
use crate::installation::ServerPrograms;

const POLL: Duration = Duration::from_millis(100);
/// How much of a server's log an error shows, bytes.
const LOG_TAIL: u64 = 2_000;

/// How far a started server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartedWhen {
    /// It has recovered, and takes writes.
    Open,
    /// It answers, and may wait at its target.
    Answering,
}

/// Starts the server of a data directory, and leaves it running. Its messages go to `log`.
///
/// # Errors
/// Fails if it does not start, ends while it recovers, or is not there within `limit`; the end of its
/// log is in the error.
pub async fn start_server(
    programs: &ServerPrograms,
    data_directory: &Path,
    log: &Path,
    when: StartedWhen,
    limit: Duration,
) -> Result<(), PostgresError> {
    let program = programs.program("pg_ctl");
    let mut command = Command::new(&program);
    command
        .arg("start")
        .args(["-w", "-s", "-t"])
        .arg(limit.as_secs().to_string())
        .arg("-D")
        .arg(data_directory)
        .arg("-l")
        .arg(log)
        .current_dir(data_directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(account) = Account::for_server(data_directory)? {
        let failed = |error| PostgresError::io("create", log, error);
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(failed)?;
        account.own(log)?;
        account.own(data_directory)?;
        account.apply(&mut command);
    }
    let ran = tokio::task::spawn_blocking(move || command.status()).await;
    let status = ran
        .expect("running a program does not panic")
        .map_err(|error| PostgresError::io("run", &program, error))?;
    if !status.success() {
        return Err(ended("starting", log));
    }
    match when {
        StartedWhen::Answering => Ok(()),
        StartedWhen::Open => wait_until_open(data_directory, log, limit).await,
    }
}

async fn wait_until_open(
    data_directory: &Path,
    log: &Path,
    limit: Duration,
) -> Result<(), PostgresError> {
    let waiting = async {
        loop {
            if ControlFile::read(data_directory)?.state == ClusterState::InProduction {
                return Ok(());
            }
            if running_server(data_directory)?.is_none() {
                return Err(ended("recovering", log));
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(done) => done,
        Err(_) => Err(PostgresError::TimedOut {
            waited: "waiting for the server to recover",
            limit,
        }),
    }
}

fn ended(phase: &'static str, log: &Path) -> PostgresError {
    let read = || {
        let mut file = File::open(log)?;
        let len = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL)))?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut tail)?;
        Ok::<_, std::io::Error>(tail)
    };
    // The error is worth telling without the log, too.
    let tail = read().unwrap_or_default();
    let lines: Vec<String> = String::from_utf8_lossy(&tail)
        .lines()
        .map(str::to_owned)
        .collect();
    PostgresError::ServerEnded {
        phase,
        log: lines.join("; "),
    }
}

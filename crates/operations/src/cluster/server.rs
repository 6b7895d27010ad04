//! Reaching a cluster's server as the configuration says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_config::Cluster;
use lifeboat_model::error_chain;
use lifeboat_runtime::{SecretBytes, SecretRef};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::conninfo::{Conninfo, Surroundings};
use lifeboat_source_postgres::heartbeat;
use lifeboat_source_postgres::{DataDirectory, ServerPrograms, StartedWhen, start_server};

use super::recovery::{Recovery, ThenDo};
use crate::error::OperationError;
use crate::session::Session;

/// The variable that clients of PostgreSQL take a password from.
const PASSWORD: &str = "PGPASSWORD";

/// Opens a session for SQL.
///
/// # Errors
/// Fails if the connection string is wrong, the password cannot be had, or no server answers.
pub(crate) async fn connect(
    session: &Session,
    cluster: &Cluster,
) -> Result<SqlSession, OperationError> {
    Ok(SqlSession::connect(&conninfo(session, cluster)?).await?)
}

/// Writes the heartbeat into what is being backed up, so that whoever restores it can tell how old it
/// is. Where it cannot be written, that is told, and the backup goes on.
pub(crate) async fn beat_once(cluster: &Cluster, server: &SqlSession, standby: bool) {
    // A standby gets the heartbeat of its primary.
    if !cluster.heartbeat || standby {
        return;
    }
    let beaten = match heartbeat::create(server).await {
        Ok(()) => heartbeat::beat(server).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = beaten.map_err(OperationError::from) {
        tracing::warn!("no heartbeat is written: {}", error_chain(&error));
    }
}

/// Reads how to connect, with the password if the configuration says where it is.
///
/// # Errors
/// Fails if the connection string is wrong, or the password cannot be had.
pub(crate) fn conninfo(session: &Session, cluster: &Cluster) -> Result<Conninfo, OperationError> {
    conninfo_of(session, &cluster.url, cluster.password.as_deref())
}

/// Reads a connection string, with the password from where `password` says it is.
///
/// # Errors
/// Fails if the connection string is wrong, or the password cannot be had.
pub(crate) fn conninfo_of(
    session: &Session,
    url: &str,
    password: Option<&str>,
) -> Result<Conninfo, OperationError> {
    let password = match password {
        Some(reference) => Some(fetch_password(session, reference)?),
        None => None,
    };
    let variable = |name: &str| match (&password, name) {
        (Some(password), PASSWORD) => Some(password.clone()),
        _ => session.variables.get(name).map(str::to_owned),
    };
    let surroundings = Surroundings {
        variable: &variable,
    };
    let conninfo = Conninfo::parse(url, surroundings)?;
    Ok(conninfo.with_application_name("lifeboat"))
}

/// Returns the database that a connection to the cluster opens. Fetches no password.
///
/// # Errors
/// Fails if the connection string is wrong.
pub fn cluster_database(session: &Session, cluster: &Cluster) -> Result<String, OperationError> {
    let variable = |name: &str| session.variables.get(name).map(str::to_owned);
    let surroundings = Surroundings {
        variable: &variable,
    };
    Ok(Conninfo::parse(&cluster.url, surroundings)?.dbname)
}

/// Finds the server programs of a version: where the configuration says, in the path, or where
/// packages put them.
///
/// # Errors
/// Fails if they are not installed here.
pub fn server_programs(
    session: &Session,
    cluster: Option<&Cluster>,
    version: u32,
) -> Result<ServerPrograms, OperationError> {
    let path = session.variables.get("PATH").unwrap_or_default();
    let configured = cluster
        .into_iter()
        .filter_map(|cluster| cluster.programs.clone());
    let search: Vec<PathBuf> = configured.chain(std::env::split_paths(path)).collect();
    Ok(ServerPrograms::find(version / 10_000, &search)?)
}

/// How long a recovery may take before nobody waits for it any more.
const RECOVERY_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl Session {
    /// Starts a cluster that was restored, waits until it has recovered, and leaves it running. Its
    /// messages go to a file beside it, whose name is returned.
    ///
    /// # Errors
    /// Fails if its PostgreSQL is not installed here, or it does not recover.
    pub async fn start_restored(
        &self,
        cluster: Option<&Cluster>,
        target: &Path,
        recovery: &Recovery,
    ) -> Result<PathBuf, OperationError> {
        let directory = DataDirectory::open(target)?;
        let programs = server_programs(self, cluster, directory.major() * 10_000)?;
        let mut log = target.as_os_str().to_owned();
        log.push(".log");
        let log = PathBuf::from(log);
        let when = match recovery.then {
            ThenDo::Promote => StartedWhen::Open,
            ThenDo::Pause => StartedWhen::Answering,
        };
        start_server(&programs, target, &log, when, RECOVERY_LIMIT).await?;
        Ok(log)
    }
}

fn fetch_password(session: &Session, reference: &str) -> Result<String, OperationError> {
    let unusable = |what: String| OperationError::Usage {
        message: format!("the password of the cluster {what}"),
        hint: "write `password = \"env:NAME\"`, `\"file:PATH\"` or `\"command:LINE\"`".to_owned(),
    };
    let reference: SecretRef = reference.parse().map_err(unusable)?;
    let fetched: Result<SecretBytes, _> =
        reference.fetch(Path::new(&session.config.root), &session.variables);
    let secret = fetched.map_err(|source| OperationError::Password { source })?;
    let text = String::from_utf8(secret.expose().to_vec());
    text.map_err(|_| unusable("is not UTF-8".to_owned()))
}

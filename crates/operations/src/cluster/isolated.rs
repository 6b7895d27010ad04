//! A restored cluster, started where nobody else can reach it: for drills, and to read it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use lifeboat_config::Cluster;
use lifeboat_model::RunId;
use lifeboat_repository::Snapshot;
use lifeboat_source_postgres::{
    PostgresError, Preload, ScratchCluster, ScratchOptions, ScratchPhase, ScratchStatus, StopMode,
};

use super::facts::ClusterFacts;
use super::server::server_programs;
use crate::error::OperationError;
use crate::scratch::Scratch;
use crate::session::Session;

/// How long a replay may take before nobody waits for it any more.
const REPLAY_LIMIT: Duration = Duration::from_secs(6 * 3600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// What its files are worth: they are removed afterwards.
const SETTINGS: [&str; 2] = ["shared_buffers=128MB", "fsync=off"];

/// A restored cluster that runs, and is gone when this is dropped.
#[derive(Debug)]
pub struct IsolatedCluster {
    /// The server.
    pub server: ScratchCluster,
    /// How far it came.
    pub status: ScratchStatus,
    /// What its snapshot knows of it.
    pub facts: ClusterFacts,
    /// The folder of its socket, whose path must be short.
    _folder: Scratch,
}

impl IsolatedCluster {
    /// Starts a restored data directory as a server that nobody else can reach, and waits until it
    /// has replayed its log and is open.
    ///
    /// # Errors
    /// Fails if there is no such PostgreSQL here, or the server does not come up.
    pub async fn start(
        session: &Session,
        cluster: &Cluster,
        snapshot: &Snapshot,
        data: &Path,
    ) -> Result<Self, OperationError> {
        let facts = ClusterFacts::of(snapshot).ok_or_else(|| OperationError::Usage {
            message: format!(
                "snapshot `{}` says nothing of its cluster",
                snapshot.id.short()
            ),
            hint: "choose another snapshot".to_owned(),
        })?;
        let programs = server_programs(session, Some(cluster), facts.version)?;
        let run = RunId::from_bytes(session.world.entropy.bytes());
        let folder = Scratch::create(&std::env::temp_dir(), &run.to_string())?;
        for path in [Some(folder.path()), data.parent()].into_iter().flatten() {
            let_through(path)?;
        }
        let socket = folder.path().join("s");
        let settings = SETTINGS.map(str::to_owned);
        let options = ScratchOptions {
            programs: &programs,
            data_directory: data,
            folder: &socket,
            role: &facts.bootstrap_role,
            preload: Preload::Nothing,
            settings: &settings,
        };
        let mut server = ScratchCluster::start(&options)?;
        let status = server
            .wait_for(ScratchPhase::Open, REPLAY_LIMIT, &mut |_| {})
            .await?;
        Ok(Self {
            server,
            status,
            facts,
            _folder: folder,
        })
    }

    /// Stops the server and waits until it is gone.
    ///
    /// # Errors
    /// Fails if that takes too long; the server is killed then.
    pub async fn stop(self) -> Result<(), PostgresError> {
        self.server.stop(StopMode::Immediate, STOP_LIMIT).await
    }
}

/// Lets the server's account through a private folder of root's, to what is its own in there: names
/// stay unreadable.
fn let_through(folder: &Path) -> Result<(), OperationError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for folder in folder.ancestors().take(3) {
        let failed = |op| move |error| OperationError::io(op, folder, error);
        let mode = std::fs::metadata(folder)
            .map_err(failed("read"))?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            let opened = std::fs::Permissions::from_mode(mode | 0o011);
            std::fs::set_permissions(folder, opened).map_err(failed("open the way through"))?;
        }
    }
    Ok(())
}

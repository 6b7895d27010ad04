//! Where production's rows are read: in a scratch cluster made of a snapshot, or on the server.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_config::Cluster;
use lifeboat_repository::Snapshot;
use lifeboat_source_files::PathFilter;
use lifeboat_source_postgres::ServerPrograms;
use lifeboat_source_postgres::logical::{LogicalSource, Subset};
use lifeboat_storage::ListedBy;

use super::{CopiedFrom, Job};
use crate::cluster::{
    ClusterFacts, IsolatedCluster, LogAccess, Recovery, cluster_database, conninfo, server_programs,
};
use crate::error::OperationError;
use crate::restore::{Onto, restore_snapshot};

/// One moment of production's database.
pub(super) struct Original {
    /// The view that every session shares.
    pub(super) view: LogicalSource,
    /// Its name.
    pub(super) database: String,
    /// The programs of its server's version.
    pub(super) programs: ServerPrograms,
    instant: Timestamp,
    /// Holds the raw files: gone with this.
    isolated: Option<IsolatedCluster>,
}

impl Original {
    /// Opens it. What is restored goes below `scratch`.
    pub(super) async fn open(job: &Job<'_>, scratch: &Path) -> Result<Self, OperationError> {
        match &job.way.from {
            CopiedFrom::Snapshot { record, recovery } => {
                let data = scratch.join("original");
                restore(job, record, recovery, &data).await?;
                Self::of_files(job, record, &data).await
            }
            CopiedFrom::Server | CopiedFrom::Masked(_) => Self::of_server(job).await,
        }
    }

    async fn of_files(
        job: &Job<'_>,
        record: &Snapshot,
        data: &Path,
    ) -> Result<Self, OperationError> {
        let cluster = cluster_of(job);
        let isolated = IsolatedCluster::start(job.session, cluster, record, data).await?;
        let database = cluster_database(job.session, cluster)?;
        let conninfo = isolated.server.conninfo(&database);
        let target = &job.way.target;
        let view = match target.subset.is_empty() {
            true => LogicalSource::open(&conninfo).await?,
            false => {
                let (rows, links) = (target.subset.clone(), target.links.clone());
                LogicalSource::open_part(&conninfo, &Subset { rows, links }).await?
            }
        };
        let replayed = isolated.status.last_transaction;
        Ok(Self {
            programs: server_programs(job.session, Some(cluster), view.version())?,
            view,
            database,
            instant: replayed.unwrap_or(record.instant).max(record.instant),
            isolated: Some(isolated),
        })
    }

    /// Opens it on the server of the source.
    pub(super) async fn of_server(job: &Job<'_>) -> Result<Self, OperationError> {
        let cluster = cluster_of(job);
        let instant = job.session.world.clock.now();
        let conninfo = conninfo(job.session, cluster)?;
        let view = LogicalSource::open(&conninfo).await?;
        Ok(Self {
            programs: server_programs(job.session, Some(cluster), view.version())?,
            view,
            database: conninfo.dbname,
            instant,
            isolated: None,
        })
    }

    /// Returns the moment whose state is read.
    pub(super) const fn instant(&self) -> Timestamp {
        self.instant
    }

    /// Says how it was opened.
    pub(super) const fn opened_by(&self) -> &'static str {
        match self.isolated {
            Some(_) => "restore and start the snapshot",
            None => "connect to the server",
        }
    }

    /// Stops what was started.
    pub(super) async fn close(self) -> Result<(), OperationError> {
        drop(self.view);
        if let Some(isolated) = self.isolated {
            isolated.stop().await?;
        }
        Ok(())
    }
}

fn cluster_of<'a>(job: &Job<'a>) -> &'a Cluster {
    let cluster = job.way.source.cluster();
    cluster.expect("the configuration was checked: it is a cluster")
}

/// Restores a cluster into a private folder, its tablespaces beside it.
async fn restore(
    job: &Job<'_>,
    record: &Snapshot,
    recovery: &Recovery,
    data: &Path,
) -> Result<(), OperationError> {
    let session = job.session;
    let origin = session.config.environment(record.environment.as_str())?;
    let (_, repository) = session
        .open_anywhere(origin, &job.plan.region, ListedBy::Any)
        .await?;
    let mut recovery = recovery.clone();
    recovery.tablespaces = beside(record, data);
    let onto = Onto {
        region: &job.plan.region,
        target: data,
        filter: &PathFilter::new(&[])?,
        delta: None,
        cluster: Some((&recovery, &LogAccess::Brought)),
    };
    restore_snapshot(&repository, record, &onto, session).await?;
    Ok(())
}

/// Maps tablespaces to folders beside `data`: where they are in production they must not go.
fn beside(record: &Snapshot, data: &Path) -> Vec<(PathBuf, PathBuf)> {
    let facts = ClusterFacts::of(record);
    let spaces = facts.into_iter().flat_map(|facts| facts.tablespaces);
    spaces
        .map(|space| {
            let folder = data.with_extension(format!("tablespace-{}", space.oid));
            (space.location, folder)
        })
        .collect()
}

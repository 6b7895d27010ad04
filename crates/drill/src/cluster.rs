//! A restored PostgreSQL cluster: started in isolation, asked, and stopped.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::{Cluster, Source};
use lifeboat_model::{Verdict, error_chain};
use lifeboat_operations::{
    ClusterFacts, IsolatedCluster, OperationError, Session, cluster_database,
};
use lifeboat_repository::Snapshot;
use lifeboat_source_postgres::checks::{AmcheckOutcome, amcheck, assertion};
use lifeboat_source_postgres::{PostgresError, heartbeat};

use crate::checks::Check;

/// How long one question may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(600);

/// A restored cluster that runs.
pub(crate) struct Recovered {
    isolated: IsolatedCluster,
    database: String,
}

impl Recovered {
    /// Starts a restored data directory as a server that nobody else can reach, and waits until it
    /// has replayed its log and is open.
    ///
    /// # Errors
    /// Fails if there is no such PostgreSQL here, or the server does not come up.
    pub(crate) async fn start(
        session: &Session,
        source: &Source,
        snapshot: &Snapshot,
        data: &Path,
    ) -> Result<Self, OperationError> {
        let cluster = source.cluster().expect("the source is a cluster");
        Ok(Self {
            isolated: IsolatedCluster::start(session, cluster, snapshot, data).await?,
            database: cluster_database(session, cluster)?,
        })
    }

    /// Says that the engine came up.
    pub(crate) fn opened(&self) -> Check {
        let replayed = self.isolated.status.replayed;
        let replayed = replayed.map_or_else(String::new, |lsn| format!(", replayed to {lsn}"));
        let version = self.isolated.facts.version / 10_000;
        let detail = format!("PostgreSQL {version} recovered and is open{replayed}");
        Check::new("engine opens it", Verdict::Pass, detail)
    }

    /// Finds when the newest transaction was committed: by the heartbeat, or by the last one that was
    /// replayed.
    pub(crate) async fn newest_commit(&self, before: Timestamp) -> (Option<Timestamp>, Check) {
        let name = "newest commit";
        let beat = match self.isolated.server.connect(&self.database).await {
            Ok(client) => heartbeat::read(&client).await.map_err(|e| error_chain(&e)),
            Err(error) => Err(error_chain(&error)),
        };
        let (beat, problem) = match beat {
            Ok(beat) => (beat, None),
            Err(problem) => (None, Some(problem)),
        };
        let newest = beat.max(self.isolated.status.last_transaction);
        match newest {
            Some(at) if at > before => {
                let why = format!("committed at {at}, after the fault: clocks disagree");
                (None, Check::new(name, Verdict::NotVerified, why))
            }
            Some(at) => {
                let by = match beat {
                    Some(beat) if beat == at => "by the heartbeat".to_owned(),
                    Some(beat) => {
                        format!("by the last transaction replayed; the last heartbeat is of {beat}")
                    }
                    None => "by the last transaction replayed".to_owned(),
                };
                let detail = format!("committed at {at}, {by}");
                (Some(at), Check::new(name, Verdict::Pass, detail))
            }
            None => {
                let why = problem.unwrap_or_else(|| {
                    "there is no heartbeat, and no transaction was replayed".to_owned()
                });
                (None, Check::new(name, Verdict::NotVerified, why))
            }
        }
    }

    /// Checks the data, cheap to dear.
    pub(crate) async fn check(&self, cluster: &Cluster) -> Vec<Check> {
        let mut found = vec![self.pages()];
        found.push(match amcheck(&self.isolated.server).await {
            Ok(outcome) => judged(outcome),
            Err(error) => Check::new(AMCHECK, Verdict::NotVerified, error_chain(&error)),
        });
        for sql in &cluster.checks {
            found.push(self.assertion(sql).await);
        }
        found
    }

    /// Tells what the backup saw of page checksums; every byte of it was compared since.
    fn pages(&self) -> Check {
        let ClusterFacts {
            checksums,
            pages_verified,
            pages_damaged,
            ..
        } = self.isolated.facts;
        let (verdict, detail) = match (checksums, pages_damaged) {
            (false, _) => (
                Verdict::NotVerified,
                "the cluster has no page checksums: `pg_checksums --enable`".to_owned(),
            ),
            (true, 0) => (
                Verdict::Pass,
                format!("{pages_verified} pages were right when they were backed up"),
            ),
            (true, damaged) => (
                Verdict::Fail,
                format!("{damaged} pages were damaged on the server already"),
            ),
        };
        Check::new("page checksums", verdict, detail)
    }

    async fn assertion(&self, sql: &str) -> Check {
        let name = format!("assertion `{sql}`");
        let held = async {
            let client = self.isolated.server.connect(&self.database).await?;
            assertion(&client, sql, QUESTION_LIMIT).await
        };
        match held.await {
            Ok(true) => Check::new(&name, Verdict::Pass, "it holds"),
            Ok(false) => Check::new(&name, Verdict::Fail, "it does not hold"),
            Err(error) => Check::new(&name, Verdict::NotVerified, error_chain(&error)),
        }
    }

    /// Stops the server and waits until it is gone.
    pub(crate) async fn stop(self) -> Result<(), PostgresError> {
        self.isolated.stop().await
    }
}

const AMCHECK: &str = "tables and indexes";

fn judged(outcome: AmcheckOutcome) -> Check {
    let report = match outcome {
        AmcheckOutcome::NotRun { why } => {
            return Check::new(AMCHECK, Verdict::NotVerified, why);
        }
        AmcheckOutcome::Checked(report) => report,
    };
    let looked = format!(
        "amcheck looked at {} tables and {} indexes",
        report.tables, report.indexes
    );
    match (report.damaged.first(), report.unchecked.first()) {
        (Some(first), _) => {
            let detail = format!(
                "{looked}: {} are damaged, the first: {} in database {}",
                report.damaged.len(),
                first.relation,
                first.database
            );
            Check::new(AMCHECK, Verdict::Fail, detail)
        }
        (None, Some(first)) => {
            let detail = format!(
                "{looked}; {} could not be looked at, the first: {} in database {}",
                report.unchecked.len(),
                first.relation,
                first.database
            );
            Check::new(AMCHECK, Verdict::NotVerified, detail)
        }
        (None, None) => Check::new(AMCHECK, Verdict::Pass, format!("{looked}: all are sound")),
    }
}

//! Runs in the ledger: the intent before the work, the outcome after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_config::Environment;
use lifeboat_model::{RunId, SourceName, Tier};
use lifeboat_repository::{Outcome, RunBegin, RunEnd, RunJob, RunKind};
use lifeboat_storage::ObjectStore;

use crate::error::OperationError;
use crate::place::Opened;
use crate::session::Session;

/// A run that has been announced in the ledger.
pub struct Run {
    begin: RunBegin,
    /// The ledger; `None` if it could not be written and need not be.
    store: Option<Arc<dyn ObjectStore>>,
}

/// What a run is about.
#[derive(Default)]
pub(crate) struct About<'a> {
    /// The source, if it is about one.
    pub(crate) source: Option<&'a SourceName>,
    /// The tier it counts for, if it is a backup.
    pub(crate) tier: Option<Tier>,
    /// The job it is for.
    pub(crate) job: Option<RunJob>,
}

/// What a run leaves in the ledger.
pub type Facts = BTreeMap<String, serde_json::Value>;

impl Session {
    /// Announces a run in a region's ledger.
    ///
    /// A region that can only be read, such as a disk mounted read-only after a disaster, must still
    /// serve a restore: what only reads goes on without its ledger entry.
    ///
    /// # Errors
    /// Fails if the ledger cannot be written and the run is to write there; then it must not begin.
    pub async fn begin_run(
        &self,
        region: &Opened,
        kind: RunKind,
        environment: &Environment,
        source: Option<&SourceName>,
    ) -> Result<Run, OperationError> {
        let job = self.job.as_ref().map(|job| job.part());
        let about = About {
            source,
            tier: None,
            job,
        };
        let run = RunId::from_bytes(self.world.entropy.bytes());
        self.announce(region, run, kind, environment, about).await
    }

    /// Announces the backup of a source, as [`Session::begin_run`] does.
    pub(crate) async fn begin_backup(
        &self,
        region: &Opened,
        environment: &Environment,
        source: &SourceName,
        tier: Tier,
    ) -> Result<Run, OperationError> {
        let about = About {
            source: Some(source),
            tier: Some(tier),
            job: self.job.as_ref().map(|job| job.part()),
        };
        let run = RunId::from_bytes(self.world.entropy.bytes());
        self.announce(region, run, RunKind::Backup, environment, about)
            .await
    }

    pub(crate) async fn announce(
        &self,
        region: &Opened,
        run: RunId,
        kind: RunKind,
        environment: &Environment,
        about: About<'_>,
    ) -> Result<Run, OperationError> {
        let begin = RunBegin {
            run,
            kind,
            environment: environment.name.clone(),
            source: about.source.cloned(),
            began: self.world.clock.now(),
            host: self.host.clone(),
            operator: self.operator.clone(),
            tier: about.tier,
            job: about.job,
        };
        let store = &region.store;
        let location = region
            .identity
            .region
            .as_ref()
            .map(|marker| &marker.location);
        if kind.only_reads() && environment.residency.decide(location).is_err() {
            // Names of environments and sources count too: what may only be read there leaves none.
            return Ok(Run { begin, store: None });
        }
        let store = match begin.write(&**store).await {
            Ok(()) => Some(store.clone()),
            Err(error) if kind.only_reads() => {
                tracing::warn!(%error, "this {kind} is not recorded in the ledger");
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let (Some(job), Some(store)) = (&self.job, &store) {
            job.opened(&begin, store);
        }
        Ok(Run { begin, store })
    }
}

impl Run {
    /// Returns the run's id.
    pub fn id(&self) -> RunId {
        self.begin.run
    }

    /// Returns what was announced.
    pub fn begin(&self) -> &RunBegin {
        &self.begin
    }

    /// Writes the outcome and passes on the result.
    ///
    /// If the work failed, its error is what people need to see, so a ledger that cannot be written
    /// then is only logged; the missing end shows the gap.
    ///
    /// # Errors
    /// Fails with the work's error, or because the outcome could not be written.
    pub async fn end<T>(
        self,
        session: &Session,
        result: Result<T, OperationError>,
        facts: impl FnOnce(&T) -> (Outcome, Facts),
    ) -> Result<T, OperationError> {
        let (outcome, facts) = match &result {
            Ok(done) => facts(done),
            Err(error) => (
                Outcome::Failed,
                Facts::from([("error".to_owned(), error.to_string().into())]),
            ),
        };
        let ended = session.world.clock.now();
        let end = RunEnd {
            run: self.begin.run,
            ended,
            outcome,
            facts,
        };
        let written = match &self.store {
            Some(store) => self.begin.write_end(&**store, &end).await,
            None => Ok(()),
        };
        if let Some(job) = &session.job {
            job.closed(self.begin.run);
        }
        match (result, written) {
            (Ok(done), Ok(())) => Ok(done),
            (Ok(done), Err(ledger)) if self.begin.kind.only_reads() => {
                tracing::warn!(%ledger, run = %self.begin.run, "the run's end was not recorded");
                Ok(done)
            }
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(error), written) => {
                if let Err(ledger) = written {
                    tracing::warn!(%ledger, run = %self.begin.run, "the run's end was not recorded");
                }
                Err(error)
            }
        }
    }
}

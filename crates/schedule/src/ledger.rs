//! What the ledger tells of a job: its runs back to the last good one.

use std::sync::Arc;

use futures::stream::TryStreamExt as _;
use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::RunId;
use lifeboat_operations::{OperationError, Session};
use lifeboat_policy::{Attempt, Ended, Job, Timetable};
use lifeboat_repository::{Outcome, RunBegin, RunEnd, RunName, RunRecord};
use lifeboat_storage::ObjectStore;

/// So many runs without a success are looked at. Whatever came before them decides nothing: a job
/// that fails so long is due, and waits the longest time between its tries.
const LOOKED_AT: usize = 100;

/// The ledger of an environment, listed at one moment.
pub(crate) struct Ledger {
    store: Arc<dyn ObjectStore>,
    names: Vec<RunName>,
}

/// The runs of one job, newest first, back to its last success.
pub(crate) struct History {
    pub(crate) runs: Vec<RunRecord>,
}

impl Ledger {
    /// Lists the ledger in the first region that can be read, the home if it can.
    ///
    /// A replica knows what was copied to it, so it may know of less; then jobs look due that are
    /// not, and starting one fails for want of the home.
    pub(crate) async fn read(
        session: &Session,
        environment: &Environment,
    ) -> Result<Self, OperationError> {
        let mut first_failure = None;
        for region in environment.regions() {
            let listed = async {
                let opened = session.open_region(region).await?;
                Self::list(opened.store, environment).await
            };
            match listed.await {
                Ok(ledger) => {
                    if first_failure.is_some() {
                        tracing::warn!(
                            "the ledger of `{}` is read in `{region}`, which may know of less",
                            environment.name
                        );
                    }
                    return Ok(ledger);
                }
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        Err(first_failure.expect("an environment has a home region"))
    }

    /// Lists the ledger in a store.
    pub(crate) async fn list(
        store: Arc<dyn ObjectStore>,
        environment: &Environment,
    ) -> Result<Self, OperationError> {
        let names = RunName::newest_first(&*store, &environment.name).await?;
        Ok(Self { store, names })
    }

    /// Records the end of a run on behalf of a process that is gone.
    pub(crate) async fn write_end(
        &self,
        begin: &RunBegin,
        end: &RunEnd,
    ) -> Result<(), OperationError> {
        Ok(begin.write_end(&*self.store, end).await?)
    }

    /// Reads the runs of a job back to its last success.
    pub(crate) async fn history(
        &self,
        job: &Job,
        now: Timestamp,
    ) -> Result<History, OperationError> {
        let own = |name: &&RunName| name.is_of_job(&job.name);
        let mut names = self.names.iter().filter(own).take(LOOKED_AT).cloned();
        let mut runs = Vec::new();
        // Most questions are answered by the newest run, so that one is read by itself.
        if let Some(newest) = names.next() {
            runs.extend(newest.read(&*self.store).await?);
        }
        if !runs.iter().any(|run| settles(run, now)) {
            let mut older = std::pin::pin!(RunName::read_all(&*self.store, names));
            while let Some(run) = older.try_next().await? {
                let settled = settles(&run, now);
                runs.push(run);
                if settled {
                    break;
                }
            }
        }
        // A run that left the work to another one says nothing about the job.
        runs.retain(|run| outcome(run) != Some(Outcome::Skipped));
        Ok(History { runs })
    }
}

impl History {
    /// Returns the runs as decisions see them.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.runs.iter().map(attempt).collect()
    }

    /// Returns the run's history as if `run` had never been.
    pub(crate) fn without(mut self, run: RunId) -> Self {
        self.runs.retain(|record| record.begin.run != run);
        self
    }
}

/// Returns a run as decisions see it.
pub(crate) fn attempt(run: &RunRecord) -> Attempt {
    Attempt {
        began: run.begin.began,
        ended: run.end.as_ref().map(|end| Ended {
            at: end.ended,
            good: is_good(end.outcome),
        }),
    }
}

/// A run that was incomplete has served its occurrence: what could not be read then would not be read
/// by trying again at once, and its exit code and outcome have told.
fn is_good(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Done | Outcome::Incomplete => true,
        Outcome::Failed | Outcome::Skipped => false,
    }
}

pub(crate) fn outcome(run: &RunRecord) -> Option<Outcome> {
    run.end.as_ref().map(|end| end.outcome)
}

/// Reports whether nothing older than this run can matter: a success whose date can be true.
fn settles(run: &RunRecord, now: Timestamp) -> bool {
    let latest = now
        .saturating_add(Timetable::GRACE)
        .unwrap_or(Timestamp::MAX);
    outcome(run).is_some_and(is_good) && run.begin.began <= latest
}

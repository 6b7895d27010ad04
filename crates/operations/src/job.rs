//! Jobs in the ledger: the run of a job, and the runs that are parts of its work.
//!
//! A job backs up several sources or copies to several regions, each a run of its own. The job's own
//! run stands above them: it says whether the job as a whole was done, and when it last was.

use std::sync::{Arc, Mutex};

use lifeboat_config::Environment;
use lifeboat_model::RunId;
use lifeboat_repository::{Outcome, RunBegin, RunEnd, RunJob, RunKind};
use lifeboat_storage::ObjectStore;

use crate::error::OperationError;
use crate::ledger::{About, Facts, Run};
use crate::place::Opened;
use crate::session::Session;

/// A job whose work is going on, with those of its runs that have not ended.
pub struct OpenJob {
    name: String,
    run: RunId,
    open: Mutex<Vec<(RunBegin, Arc<dyn ObjectStore>)>>,
}

impl OpenJob {
    /// Returns what a run says that is a part of this job's work.
    pub(crate) fn part(&self) -> RunJob {
        RunJob {
            name: self.name.clone(),
            run: Some(self.run),
            occurrence: None,
            missed: 0,
        }
    }

    pub(crate) fn opened(&self, begin: &RunBegin, store: &Arc<dyn ObjectStore>) {
        self.lock().push((begin.clone(), store.clone()));
    }

    pub(crate) fn closed(&self, run: RunId) {
        self.lock().retain(|(begin, _)| begin.run != run);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(RunBegin, Arc<dyn ObjectStore>)>> {
        self.open.lock().expect("no holder panics")
    }
}

impl Session {
    /// Announces the run of a job under an id that the caller has chosen.
    ///
    /// # Errors
    /// Fails if the ledger cannot be written; then the job must not begin.
    pub async fn begin_job(
        &self,
        region: &Opened,
        environment: &Environment,
        run: RunId,
        job: RunJob,
    ) -> Result<Run, OperationError> {
        let about = About {
            job: Some(job),
            ..About::default()
        };
        self.announce(region, run, RunKind::Job, environment, about)
            .await
    }

    /// Returns the session in which a job's work is done: its runs say which job they are for.
    pub fn for_job(&self, name: &str, run: RunId) -> Session {
        let job = OpenJob {
            name: name.to_owned(),
            run,
            open: Mutex::default(),
        };
        Session {
            job: Some(Arc::new(job)),
            ..self.clone()
        }
    }

    /// Records that the runs of this session's job that are still open were broken off.
    ///
    /// A ledger that cannot be written is only logged: the missing end shows the gap.
    pub async fn break_off(&self, why: &str) {
        let Some(job) = &self.job else {
            return;
        };
        let open = std::mem::take(&mut *job.lock());
        for (begin, store) in open {
            let end = RunEnd {
                run: begin.run,
                ended: self.world.clock.now(),
                outcome: Outcome::Failed,
                facts: Facts::from([("error".to_owned(), why.into())]),
            };
            if let Err(error) = begin.write_end(&*store, &end).await {
                tracing::warn!(%error, run = %begin.run, "the run's end was not recorded");
            }
        }
    }
}

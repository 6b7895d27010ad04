//! Running jobs: one after the other, each once, within its time, with a word of how it ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{Diagnose, RunId, error_chain, human_duration};
use lifeboat_operations::{Facts, Opened, OperationError, Run, Session};
use lifeboat_policy::{Action, Job, Overlap, Timetable, Turn};
use lifeboat_repository::{Outcome, RunEnd, RunJob, RunRecord};
use lifeboat_runtime::Stopwatch;

use crate::act::{Worked, act};
use crate::ledger::{History, Ledger, attempt};
use crate::limit::{Limited, within};
use crate::lock::{JobLock, Place};
use crate::report::{Gap, JobEnd, JobReport};
use crate::state::{Standing, gaps, schedule_of, states, timetable};

/// How often a job that waits for the run before looks whether that has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Why a job is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Because it is due, if it is.
    Due,
    /// Because somebody asks, due or not.
    Now,
    /// Because somebody asks, and not even a blackout holds it.
    NowDespiteBlackout,
}

/// What came of all that was due.
#[derive(Debug, Default)]
pub struct Overview {
    /// The jobs, in the order in which they were run.
    pub reports: Vec<JobReport>,
    /// Environments whose jobs nobody could tell the state of.
    pub unreadable: Vec<(String, OperationError)>,
}

/// Runs what is due in these environments, one job after the other: a job that fails keeps no other
/// from running. `only` limits the actions, if it names any; `tell` hears of each job as it ends.
pub async fn run_due(
    session: &Session,
    environments: &[&Environment],
    only: &[Action],
    tell: &mut dyn FnMut(&JobReport),
) -> Overview {
    let mut overview = Overview::default();
    for environment in environments {
        let listed = async {
            let due = states(session, environment).await?;
            Ok::<_, OperationError>((schedule_of(environment)?, due))
        };
        let (named, due) = match listed.await {
            Ok(listed) => listed,
            Err(error) => {
                overview
                    .unreadable
                    .push((environment.name.to_string(), error));
                continue;
            }
        };
        // One listing tells what is not due; what is gets a fresh look when its turn has come.
        for state in due.iter().filter(|state| wants_a_look(&state.standing)) {
            let job = named
                .schedule
                .job(&state.job)
                .expect("states are of its jobs");
            if !only.is_empty() && !only.contains(&job.run) {
                continue;
            }
            for report in run_job(session, environment, job, Ask::Due).await {
                tell(&report);
                overview.reports.push(report);
            }
        }
    }
    overview
}

fn wants_a_look(standing: &Standing) -> bool {
    match standing {
        Standing::Due { .. } | Standing::Running { .. } | Standing::Blackout { .. } => true,
        Standing::Retry { .. } | Standing::Later { .. } => false,
    }
}

/// Runs a job, if its turn has come. The list is empty if it is not due after all, and longer than
/// one if it makes up for each missed run.
pub async fn run_job(
    session: &Session,
    environment: &Environment,
    job: &Job,
    ask: Ask,
) -> Vec<JobReport> {
    let runner = Runner {
        session,
        environment,
        job,
        ask,
        watch: Stopwatch::start(&*session.world.clock),
    };
    match runner.go().await {
        Ok(reports) => reports,
        Err(error) => vec![runner.report(failure(&error))],
    }
}

/// A job on its way to be run.
struct Runner<'a> {
    session: &'a Session,
    environment: &'a Environment,
    job: &'a Job,
    ask: Ask,
    watch: Stopwatch<'a>,
}

/// A lock that the work keeps as long as it lives, even if it was left behind.
type SharedLock = Arc<Mutex<Option<JobLock>>>;

/// What a start is for.
#[derive(Clone, Copy)]
struct Start {
    occurrence: Option<Timestamp>,
    missed: u32,
    /// How many runs came before this one to make up for missed ones.
    number: u32,
}

impl Runner<'_> {
    async fn go(&self) -> Result<Vec<JobReport>, OperationError> {
        let mut waits = None;
        loop {
            let mut lock = self.take_lock(Place::Run);
            let history = self
                .look(lock.as_mut().ok().and_then(Option::as_mut))
                .await?;
            let turn = self.turn(&history)?;
            let left_out = match turn {
                Turn::Later { .. } | Turn::Retry { .. } => return Ok(Vec::new()),
                Turn::Held { until } => self.left_out(
                    JobEnd::Blackout,
                    format!("a blackout holds it until {until:.0}"),
                ),
                Turn::Running {
                    began,
                    serves: true,
                    ..
                } => self.left_out(JobEnd::Served, format!("running since {began:.0}")),
                Turn::Running { began, .. } => self.left_out(
                    JobEnd::Overlaps,
                    format!("the run of {began:.0} is still going on"),
                ),
                Turn::Start {
                    occurrence,
                    runs,
                    missed,
                } => match lock {
                    Ok(lock) => {
                        let start = Start {
                            occurrence: (self.ask == Ask::Due).then_some(occurrence),
                            missed,
                            number: 0,
                        };
                        return Ok(self.start_all(lock, start, runs, &history).await);
                    }
                    // It has the lock and is about to say so in the ledger.
                    Err(HeldElsewhere) => self.left_out(
                        JobEnd::Served,
                        "another process on this host begins it".to_owned(),
                    ),
                },
            };
            let waits_for_it =
                left_out.end == JobEnd::Overlaps && self.job.overlap == Overlap::Wait;
            if !waits_for_it {
                return Ok(vec![left_out]);
            }
            drop(lock);
            if waits.is_none() {
                match self.take_lock(Place::Wait) {
                    Ok(lock) => waits = Some(lock),
                    // One that waits is enough: it will start as soon as this one could.
                    Err(HeldElsewhere) => return Ok(vec![left_out]),
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn take_lock(&self, place: Place) -> Result<Option<JobLock>, HeldElsewhere> {
        let root = &self.session.config.root;
        match JobLock::take(root, &self.environment.name, &self.job.name, place) {
            Ok(Some(lock)) => Ok(Some(lock)),
            Ok(None) => Err(HeldElsewhere),
            Err(error) => {
                // The ledger keeps two runs apart too, if less promptly.
                tracing::warn!(%error, "job `{}` cannot be locked on this host", self.job.name);
                Ok(None)
            }
        }
    }

    /// Reads what became of the job's earlier runs, and records the end of one whose process died.
    async fn look(&self, lock: Option<&mut JobLock>) -> Result<History, OperationError> {
        let ledger = Ledger::read(self.session, self.environment).await?;
        let mut history = ledger.history(self.job, self.now()).await?;
        let over = lock.and_then(JobLock::last_run);
        let died = |run: &&mut RunRecord| run.end.is_none() && Some(run.begin.run) == over;
        if let Some(run) = history.runs.iter_mut().find(died) {
            let end = RunEnd {
                run: run.begin.run,
                ended: self.now(),
                outcome: Outcome::Failed,
                facts: Facts::from([("error".to_owned(), "its process died".into())]),
            };
            ledger.write_end(&run.begin, &end).await?;
            run.end = Some(end);
        }
        Ok(history)
    }

    fn turn(&self, history: &History) -> Result<Turn, OperationError> {
        let (timetable, attempts) = (self.timetable()?, history.attempts());
        Ok(match self.ask {
            Ask::Due => timetable.turn(self.job, &attempts, self.now()),
            Ask::Now => timetable.turn_when_asked(self.job, &attempts, self.now()),
            Ask::NowDespiteBlackout => {
                let free = Job {
                    blackout: Vec::new(),
                    ..self.job.clone()
                };
                timetable.turn_when_asked(&free, &attempts, self.now())
            }
        })
    }

    /// Starts a job so many times, one after the other, until one does not go well.
    async fn start_all(
        &self,
        lock: Option<JobLock>,
        start: Start,
        runs: u32,
        history: &History,
    ) -> Vec<JobReport> {
        let lock = Arc::new(Mutex::new(lock));
        let mut reports = Vec::new();
        for number in 0..runs.max(1) {
            let watch = Stopwatch::start(&*self.session.world.clock);
            let start = Start { number, ..start };
            let mut report = match self.start(&lock, start).await {
                Ok(report) => report,
                Err(error) => self.report(failure(&error)),
            };
            report.occurrence = start.occurrence;
            report.secs = watch.elapsed().as_secs_f64();
            if number == 0 {
                report.missed = start.missed;
                report.gaps = self.gaps(history);
            }
            let go_on = report.end.outcome() == Outcome::Done;
            reports.push(report);
            if !go_on {
                break;
            }
        }
        reports
    }

    /// Announces the run, makes sure that no other host was first, does the work and records its end.
    async fn start(&self, lock: &SharedLock, start: Start) -> Result<JobReport, OperationError> {
        let session = self.session;
        let run = RunId::from_bytes(session.world.entropy.bytes());
        let home = session
            .open_region_for(self.environment, &self.environment.home)
            .await?;
        if let Some(lock) = &mut *lock.lock().expect("no holder panics")
            && let Err(error) = lock.note(run)
        {
            tracing::warn!(%error, "the lock of job `{}` cannot be written", self.job.name);
        }
        let announced = self.announce(&home, run, start).await?;
        let other = self.left_to_another(&home, &announced, start).await;
        let (worked, left_behind) = match other {
            Ok(None) => self.work(lock, run).await,
            Ok(Some(told)) => (Ok(told), false),
            Err(error) => (Err(error), false),
        };
        let told = announced.end(session, worked, ledger_of).await;
        let mut report = self.report(told.unwrap_or_else(|error| failure(&error)));
        report.run = report.end.ran().then_some(run);
        report.left_behind = left_behind;
        Ok(report)
    }

    async fn announce(
        &self,
        home: &Opened,
        run: RunId,
        start: Start,
    ) -> Result<Run, OperationError> {
        let job = RunJob {
            name: self.job.name.clone(),
            run: None,
            occurrence: start.occurrence,
            missed: start.missed,
        };
        self.session
            .begin_job(home, self.environment, run, job)
            .await
    }

    /// Looks again now that this run is announced: of two that began at the same moment, each sees
    /// the other, and the one that comes first in time and id goes on. Says why this one does not.
    async fn left_to_another(
        &self,
        home: &Opened,
        announced: &Run,
        start: Start,
    ) -> Result<Option<Worked>, OperationError> {
        let own = announced.begin();
        let ledger = Ledger::list(home.store.clone(), self.environment).await?;
        let history = ledger.history(self.job, self.now()).await?;
        let others = history.without(own.run);
        let timetable = self.timetable()?;
        let alive = |run: &&RunRecord| {
            run.end.is_none() && !timetable.is_dead(self.job, &attempt(run), self.now())
        };
        let earlier = |run: &&RunRecord| (run.begin.began, run.begin.run) < (own.began, own.run);
        if let Some(rival) = others.runs.iter().filter(alive).find(earlier) {
            let (run, host) = (rival.begin.run, &rival.begin.host);
            return Ok(Some(left_to(&format!("run {run} on {host} began first"))));
        }
        // The run before this one may be our own, if each missed one is made up for.
        let may_be_served = self.ask == Ask::Due && start.number == 0;
        let served = may_be_served && matches!(self.turn(&others)?, Turn::Later { .. });
        Ok(served.then(|| left_to("another run has served it meanwhile")))
    }

    /// Does the work within its time.
    async fn work(&self, lock: &SharedLock, run: RunId) -> (Result<Worked, OperationError>, bool) {
        let inner = self.session.for_job(&self.job.name, run);
        let work = {
            let (session, lock) = (inner.clone(), lock.clone());
            let (environment, job) = (self.environment.clone(), self.job.clone());
            move || async move {
                let worked = act(&session, &environment, &job).await;
                drop(lock);
                worked
            }
        };
        let left_behind = match within(self.job.max_runtime, work).await {
            Limited::Ended(worked) => return (worked, false),
            Limited::Stopped => false,
            Limited::LeftBehind => true,
        };
        let limit = human_duration(self.job.max_runtime.unwrap_or_default());
        let told = format!("ran longer than {limit}");
        inner.break_off(&told).await;
        let worked = Worked {
            end: JobEnd::Overran,
            told: format!("{told} and was ended"),
            hint: Some(format!(
                "look at what it waited for, or raise `max_runtime` of job `{}`",
                self.job.name
            )),
        };
        (Ok(worked), left_behind)
    }

    fn gaps(&self, history: &History) -> Vec<Gap> {
        let Ok(timetable) = self.timetable() else {
            return Vec::new();
        };
        let gap = |run: &RunRecord| Gap {
            run: run.begin.run,
            began: run.begin.began,
            host: run.begin.host.clone(),
        };
        gaps(self.job, &timetable, history, self.now())
            .map(gap)
            .collect()
    }

    fn timetable(&self) -> Result<Timetable, OperationError> {
        Ok(timetable(self.session, schedule_of(self.environment)?))
    }

    fn now(&self) -> Timestamp {
        self.session.world.clock.now()
    }

    fn left_out(&self, end: JobEnd, told: String) -> JobReport {
        let hint = None;
        self.report(Worked { end, told, hint })
    }

    fn report(&self, worked: Worked) -> JobReport {
        JobReport {
            environment: self.environment.name.clone(),
            job: self.job.name.clone(),
            action: self.job.run.as_str(),
            end: worked.end,
            told: worked.told,
            hint: worked.hint,
            run: None,
            occurrence: None,
            missed: 0,
            gaps: Vec::new(),
            secs: self.watch.elapsed().as_secs_f64(),
            left_behind: false,
        }
    }
}

/// Another process on this host has the lock.
struct HeldElsewhere;

fn left_to(told: &str) -> Worked {
    Worked {
        end: JobEnd::Served,
        told: told.to_owned(),
        hint: None,
    }
}

fn failure(error: &OperationError) -> Worked {
    Worked {
        end: JobEnd::Failed(error.kind()),
        told: error_chain(error),
        hint: error.hint(),
    }
}

/// What the ledger keeps of a job.
fn ledger_of(worked: &Worked) -> (Outcome, Facts) {
    let outcome = worked.end.outcome();
    let fact = match outcome {
        Outcome::Failed => "error",
        Outcome::Done | Outcome::Incomplete | Outcome::Skipped => "told",
    };
    let facts = BTreeMap::from([
        ("end".to_owned(), worked.end.as_str().into()),
        (fact.to_owned(), worked.told.as_str().into()),
    ]);
    (outcome, facts)
}

//! Where jobs stand: when each last succeeded, and whether and why it is due.

use jiff::Timestamp;
use lifeboat_config::{Environment, NamedSchedule};
use lifeboat_model::{EnvironmentName, RunId, Tier};
use lifeboat_operations::{OperationError, Session};
use lifeboat_policy::{Job, Timetable, Turn};
use lifeboat_repository::{Outcome, RunRecord};
use serde::Serialize;

use crate::ledger::{History, Ledger, attempt, outcome};

/// Where one job stands.
#[derive(Debug, Clone, Serialize)]
pub struct JobState {
    /// The environment.
    pub environment: EnvironmentName,
    /// The job's name.
    pub job: String,
    /// What it does.
    pub action: &'static str,
    /// The tier its snapshots belong to, if it takes any.
    pub tier: Option<Tier>,
    /// When it recurs, as written.
    pub cron: String,
    /// How far this host puts its starts off, seconds.
    pub jitter_secs: u64,
    /// When its last good run began; `None` if there was none, or none for long.
    pub last_success: Option<Timestamp>,
    /// Its newest run.
    pub last_attempt: Option<Attempted>,
    /// Runs since the last success that never reported an end and are taken for dead.
    pub gaps: Vec<Attempted>,
    /// Whether it is due.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A run of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Attempted {
    /// The run in the ledger.
    pub run: RunId,
    /// When it began.
    pub began: Timestamp,
    /// The host it ran on.
    pub host: String,
    /// How it ended; `None` if it has not said.
    pub outcome: Option<Outcome>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Whether a job is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// It would start now.
    Due {
        /// The occurrence it is due for.
        since: Timestamp,
        /// How many runs it would take, one after the other.
        runs: u32,
        /// How many occurrences before that one were missed.
        missed: u32,
    },
    /// A run of it is going on.
    Running {
        /// When that began.
        since: Timestamp,
        /// When it will be taken for dead.
        dead_at: Timestamp,
        /// Whether an occurrence has come since it began.
        overdue: bool,
    },
    /// It failed and waits for its next try.
    Retry {
        /// When that is.
        at: Timestamp,
        /// How many tries have failed since the last success.
        failures: u32,
    },
    /// It is due, and a blackout holds it.
    Blackout {
        /// When that ends.
        until: Timestamp,
    },
    /// It is not due.
    Later {
        /// When it will be; `None` if its blackouts leave it no time ever.
        next: Option<Timestamp>,
    },
}

impl From<Turn> for Standing {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::Start {
                occurrence,
                runs,
                missed,
            } => Self::Due {
                since: occurrence,
                runs,
                missed,
            },
            Turn::Running {
                began,
                dead_at,
                serves,
            } => Self::Running {
                since: began,
                dead_at,
                overdue: !serves,
            },
            Turn::Retry { at, failures } => Self::Retry { at, failures },
            Turn::Held { until } => Self::Blackout { until },
            Turn::Later { next } => Self::Later { next },
        }
    }
}

impl Attempted {
    pub(crate) fn of(run: &RunRecord) -> Self {
        let end = run.end.as_ref();
        let error = end.and_then(|end| end.facts.get("error"));
        Self {
            run: run.begin.run,
            began: run.begin.began,
            host: run.begin.host.clone(),
            outcome: outcome(run),
            error: error.and_then(|text| text.as_str()).map(str::to_owned),
        }
    }
}

/// Returns the environments that have a schedule, production first; or the one that is named.
///
/// # Errors
/// Fails if the one named has none, or none at all has.
pub fn in_order<'a>(
    session: &'a Session,
    named: Option<&str>,
) -> Result<Vec<&'a Environment>, OperationError> {
    if let Some(name) = named {
        let environment = session.environment(name)?;
        schedule_of(environment)?;
        return Ok(vec![environment]);
    }
    let all = session.config.environments.values();
    let mut scheduled: Vec<&Environment> = all.filter(|e| e.schedule.is_some()).collect();
    if scheduled.is_empty() {
        return Err(OperationError::Usage {
            message: "no environment has a schedule".to_owned(),
            hint: "write `schedule = \"production\"` into an environment's file; \
                   `production` is schedules/production.toml"
                .to_owned(),
        });
    }
    scheduled.sort_by_key(|environment| !environment.class.holds_personal_data());
    Ok(scheduled)
}

/// Returns where each job of an environment stands, in the order in which those due would run.
/// Needs no key.
///
/// # Errors
/// Fails if the environment has no schedule, or no region's ledger can be read.
pub async fn states(
    session: &Session,
    environment: &Environment,
) -> Result<Vec<JobState>, OperationError> {
    let named = schedule_of(environment)?;
    let ledger = Ledger::read(session, environment).await?;
    let now = session.world.clock.now();
    let timetable = timetable(session, named);
    let mut states = Vec::new();
    for job in named.schedule.in_order() {
        let history = ledger.history(job, now).await?;
        states.push(state(environment, job, &timetable, &history, now));
    }
    Ok(states)
}

fn state(
    environment: &Environment,
    job: &Job,
    timetable: &Timetable,
    history: &History,
    now: Timestamp,
) -> JobState {
    let attempts = history.attempts();
    let good = |attempt: &&lifeboat_policy::Attempt| attempt.ended.is_some_and(|end| end.good);
    JobState {
        environment: environment.name.clone(),
        job: job.name.clone(),
        action: job.run.as_str(),
        tier: job.tier,
        cron: job.cron.as_str().to_owned(),
        jitter_secs: timetable.jitter(job).as_secs(),
        last_success: attempts.iter().rev().find(good).map(|last| last.began),
        last_attempt: history.runs.first().map(Attempted::of),
        gaps: gaps(job, timetable, history, now)
            .map(Attempted::of)
            .collect(),
        standing: timetable.turn(job, &attempts, now).into(),
    }
}

/// Returns the runs since the last success that are taken for dead.
pub(crate) fn gaps<'a>(
    job: &'a Job,
    timetable: &'a Timetable,
    history: &'a History,
    now: Timestamp,
) -> impl Iterator<Item = &'a RunRecord> {
    let dead = move |run: &&RunRecord| timetable.is_dead(job, &attempt(run), now);
    history.runs.iter().filter(dead)
}

/// Returns the timetable of this host.
pub(crate) fn timetable(session: &Session, named: &NamedSchedule) -> Timetable {
    let hash = blake3::hash(session.host.as_bytes());
    let (seed, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    named.schedule.timetable(u64::from_le_bytes(*seed))
}

pub(crate) fn schedule_of(environment: &Environment) -> Result<&NamedSchedule, OperationError> {
    environment
        .schedule
        .as_ref()
        .ok_or_else(|| OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "schedule".to_owned(),
            hint: format!(
                "write `schedule = \"NAME\"` into environments/{}.toml; \
                 `NAME` is schedules/NAME.toml",
                environment.name
            ),
        })
}

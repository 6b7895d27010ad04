//! What each action of a job does: the same operations that the commands use.

use lifeboat_config::Environment;
use lifeboat_drill::{DrillReport, DrillRequest, Scenario, plan_drill, run_drill};
use lifeboat_model::{Diagnose, ErrorKind, Verdict, error_chain, human_duration};
use lifeboat_operations::{CopyOf, OperationError, Session, VerifyPlan};
use lifeboat_policy::{Action, Job};
use lifeboat_repository::{CopyLimits, VerifyLevel};

use crate::report::JobEnd;

/// What the work of a job came to.
#[derive(Debug)]
pub(crate) struct Worked {
    pub(crate) end: JobEnd,
    /// What was done, or why it was not, in a line.
    pub(crate) told: String,
    pub(crate) hint: Option<String>,
}

/// Does the work of a job. What cannot be begun at all is an error; what was begun is told.
pub(crate) async fn act(
    session: &Session,
    environment: &Environment,
    job: &Job,
) -> Result<Worked, OperationError> {
    match job.run {
        Action::Backup => backup(session, environment, job).await,
        Action::Replicate => replicate(session, environment).await,
        Action::Refresh => refresh(session, environment).await,
        Action::Verify => verify(session, environment).await,
        Action::Drill => drill(session, environment).await,
        Action::Prune => prune(session, environment).await,
    }
}

/// Several pieces of work, of which one that fails keeps none of the others from being done.
struct Several {
    end: JobEnd,
    told: Vec<String>,
    hint: Option<String>,
}

impl Several {
    fn new() -> Self {
        Self {
            end: JobEnd::Done,
            told: Vec::new(),
            hint: None,
        }
    }

    fn done(&mut self, told: String) {
        self.told.push(told);
    }

    /// Notes what is short of done; what was worse before stays.
    fn flawed(&mut self, end: JobEnd, told: String) {
        if matches!(self.end, JobEnd::Done | JobEnd::Incomplete) {
            self.end = end;
        }
        self.told.push(told);
    }

    /// Notes a failure. The first decides the hint.
    fn failed(&mut self, what: &str, error: &OperationError) {
        let first = !matches!(self.end, JobEnd::Failed(_));
        if first {
            self.end = JobEnd::Failed(error.kind());
            self.hint = error.hint();
        }
        self.told.push(format!("{what}: {}", error_chain(error)));
    }

    fn worked(self) -> Worked {
        Worked {
            end: self.end,
            told: self.told.join("; "),
            hint: self.hint,
        }
    }
}

async fn backup(
    session: &Session,
    environment: &Environment,
    job: &Job,
) -> Result<Worked, OperationError> {
    let tier = job
        .tier
        .expect("the configuration gives each backup job a tier");
    let mut all = Several::new();
    if environment.sources.is_empty() && environment.refresh.is_some() {
        // All its data is the masked copy, and each refresh stores that one in the repository.
        all.done("no source of its own; refreshes store what they publish".to_owned());
        return Ok(all.worked());
    }
    for plan in session.plan_backup(environment, None, tier, job.kind)? {
        match session.backup(&plan).await {
            Ok(report) if report.skipped.is_empty() => {
                all.done(format!("{} {}", report.source, report.snapshot.short()));
            }
            Ok(report) => {
                let missing = report.skipped.len();
                let (source, snapshot) = (&report.source, report.snapshot.short());
                let told = format!("{source} {snapshot} with {missing} missing or in doubt");
                all.flawed(JobEnd::Incomplete, told);
            }
            Err(error) => all.failed(&format!("{} was not backed up", plan.source), &error),
        }
    }
    Ok(all.worked())
}

async fn replicate(session: &Session, environment: &Environment) -> Result<Worked, OperationError> {
    if environment.replicas.is_empty() {
        return Err(OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "region to copy to".to_owned(),
            hint: "add `replicas = [\"…\"]` to it".to_owned(),
        });
    }
    let mut all = Several::new();
    let targets = &environment.replicas;
    let copied = session.replicate_all(environment, targets, CopyLimits::default());
    for (region, copied) in targets.iter().zip(copied.await) {
        match copied {
            Ok(report) => all.done(format!(
                "{region} got {} objects, has receipts for all {} snapshots",
                report.objects, report.receipts
            )),
            Err(error) => all.failed(&format!("nothing was copied to {region}"), &error),
        }
    }
    Ok(all.worked())
}

async fn refresh(session: &Session, environment: &Environment) -> Result<Worked, OperationError> {
    let plan = session.plan_refresh(environment, CopyOf::Newest).await?;
    let report = session.refresh(environment, &plan).await?;
    Ok(match &report.published {
        Some(target) => Worked {
            end: JobEnd::Done,
            told: format!(
                "{} rows of {} masked and published as {}",
                report.rows(),
                report.from,
                target
            ),
            hint: None,
        },
        None => Worked {
            end: JobEnd::Refused,
            told: "nothing was published: a leak gate did not pass".to_owned(),
            hint: Some(format!(
                "`lifeboat refresh {}` shows the leak report",
                environment.name
            )),
        },
    })
}

/// In how many days a scheduled verification reads every pack once, if it runs daily.
const ROTATION_DAYS: u16 = 30;

async fn verify(session: &Session, environment: &Environment) -> Result<Worked, OperationError> {
    let days_since_1970 = session.world.clock.now().as_second() / 86_400;
    let level = VerifyLevel::Sample {
        days: ROTATION_DAYS,
        today: u32::try_from(days_since_1970).unwrap_or(0),
    };
    let mut all = Several::new();
    for region in environment.regions() {
        let plan = VerifyPlan {
            region: region.clone(),
            level,
        };
        match session.verify(environment, &plan).await {
            Ok(run) if run.report.damage.is_empty() && !run.gone.is_empty() => {
                let gone = run.gone.len();
                all.flawed(
                    JobEnd::Incomplete,
                    format!("{region}: no damage, but no region has {gone} parts of the log"),
                );
                let hint = format!("`lifeboat verify {}` names them", environment.name);
                all.hint.get_or_insert(hint);
            }
            Ok(run) if run.report.damage.is_empty() => {
                all.done(format!(
                    "{region}: no damage in {} objects",
                    run.report.objects
                ));
            }
            Ok(run) => {
                let damaged = run.report.damage.len();
                all.flawed(
                    JobEnd::Damaged,
                    format!("{region}: {damaged} damaged objects"),
                );
                let hint = format!("`lifeboat verify {}` names them", environment.name);
                all.hint.get_or_insert(hint);
            }
            Err(error) => all.failed(&format!("{region} was not verified"), &error),
        }
    }
    Ok(all.worked())
}

async fn drill(session: &Session, environment: &Environment) -> Result<Worked, OperationError> {
    let request = DrillRequest {
        scenario: Scenario::Latest,
        source: None,
        region: None,
    };
    let plan = plan_drill(session, environment, &request)?;
    let report = run_drill(session, environment, &plan).await?;
    let measured = |secs: Option<f64>| match secs {
        Some(secs) => human_duration(std::time::Duration::from_secs_f64(secs.max(0.0))),
        None => "not measured".to_owned(),
    };
    let end = end_of_drill(&report);
    let hint = (end != JobEnd::Done)
        .then(|| format!("`lifeboat drill run {}` shows each check", environment.name));
    Ok(Worked {
        end,
        told: format!(
            "{} from {}: {}, RTO {}, RPO {}",
            report.source,
            report.region,
            report.verdict,
            measured(Some(report.rto_secs)),
            measured(report.rpo_secs)
        ),
        hint,
    })
}

/// Damage outweighs a missed objective, and that outweighs a gap.
fn end_of_drill(report: &DrillReport) -> JobEnd {
    let mut objectives = [report.rto_verdict, report.rpo_verdict]
        .into_iter()
        .flatten();
    if report.checks_verdict == Verdict::Fail {
        return JobEnd::Damaged;
    }
    if objectives.any(|verdict| verdict == Verdict::Fail) {
        return JobEnd::ObjectiveMissed;
    }
    match report.verdict {
        Verdict::Pass => JobEnd::Done,
        Verdict::NotVerified => JobEnd::NotVerified,
        Verdict::Fail => JobEnd::Failed(ErrorKind::Failed),
    }
}

async fn prune(session: &Session, environment: &Environment) -> Result<Worked, OperationError> {
    let mut all = Several::new();
    for region in environment.regions() {
        let pruned = async {
            let plan = session.plan_prune(environment, region, Vec::new()).await?;
            session.prune(environment, &plan).await
        };
        match pruned.await {
            Ok(run) => {
                let told = format!(
                    "{region}: {} snapshots deleted, {} kept, {} bytes freed, {} waiting",
                    run.report.snapshots, run.kept, run.report.bytes, run.report.bytes_waiting
                );
                if run.report.locked.is_empty() && run.report.damaged.is_empty() {
                    all.done(told);
                } else {
                    all.flawed(JobEnd::Incomplete, told);
                }
            }
            Err(error) => all.failed(&format!("{region} was not pruned"), &error),
        }
    }
    Ok(all.worked())
}

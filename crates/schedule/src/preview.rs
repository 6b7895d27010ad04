//! The starts that lie ahead, with what the clock does to them.

use jiff::{Timestamp, Zoned};
use lifeboat_config::Environment;
use lifeboat_model::EnvironmentName;
use lifeboat_operations::{OperationError, Session};
use serde::Serialize;

use crate::state::{schedule_of, timetable};

/// A start that lies ahead.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStart {
    /// The environment.
    pub environment: EnvironmentName,
    /// The job.
    pub job: String,
    /// What it does.
    pub action: &'static str,
    /// When it starts on this host, jitter included, by the schedule's clock.
    pub at: Zoned,
    /// What is unusual about it: a change of clock, a blackout.
    pub remark: Option<String>,
}

/// Returns the next `count` starts of each job of an environment after `from`, soonest first.
///
/// # Errors
/// Fails if the environment has no schedule.
pub fn preview(
    session: &Session,
    environment: &Environment,
    from: Timestamp,
    count: usize,
) -> Result<Vec<PlannedStart>, OperationError> {
    let named = schedule_of(environment)?;
    let timetable = timetable(session, named);
    let mut starts = Vec::new();
    for job in &named.schedule.jobs {
        let planned = timetable.preview(job, from, count);
        starts.extend(planned.into_iter().map(|planned| PlannedStart {
            environment: environment.name.clone(),
            job: job.name.clone(),
            action: job.run.as_str(),
            at: planned.at,
            remark: planned.remark.map(|remark| remark.to_string()),
        }));
    }
    starts.sort_by_key(|start| start.at.timestamp());
    Ok(starts)
}

//! What came of a job.

use jiff::Timestamp;
use lifeboat_model::{EnvironmentName, ErrorKind, RunId};
use lifeboat_repository::Outcome;
use serde::{Serialize, Serializer};

/// How a job came off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It did its work.
    Done,
    /// It did, but some items failed.
    Incomplete,
    /// A check could not be carried out, so nothing is proven.
    NotVerified,
    /// RTO or RPO was missed.
    ObjectiveMissed,
    /// Stored or restored data is not what it must be.
    Damaged,
    /// A leak gate kept a masked copy back.
    Refused,
    /// It could not do its work.
    Failed(ErrorKind),
    /// It ran longer than it may and was ended.
    Overran,
    /// Another run serves the occurrence.
    Served,
    /// The run before is still going on, and its occurrence is left out.
    Overlaps,
    /// A blackout holds it.
    Blackout,
}

impl JobEnd {
    /// Returns the word for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::NotVerified => "not_verified",
            Self::ObjectiveMissed => "objective_missed",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Failed(_) => "failed",
            Self::Overran => "overran",
            Self::Served => "served",
            Self::Overlaps => "overlaps",
            Self::Blackout => "blackout",
        }
    }

    /// Reports whether the job was started.
    pub const fn ran(self) -> bool {
        !matches!(self, Self::Served | Self::Overlaps | Self::Blackout)
    }

    /// Returns how the ledger puts it.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Done => Outcome::Done,
            Self::Incomplete | Self::NotVerified => Outcome::Incomplete,
            Self::ObjectiveMissed
            | Self::Damaged
            | Self::Refused
            | Self::Failed(_)
            | Self::Overran => Outcome::Failed,
            Self::Served | Self::Overlaps | Self::Blackout => Outcome::Skipped,
        }
    }
}

impl Serialize for JobEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An earlier run that never reported its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The run in the ledger.
    pub run: RunId,
    /// When it began.
    pub began: Timestamp,
    /// The host it ran on.
    pub host: String,
}

/// What came of one job.
#[derive(Debug, Clone, Serialize)]
pub struct JobReport {
    /// The environment.
    pub environment: EnvironmentName,
    /// The job.
    pub job: String,
    /// What it does.
    pub action: &'static str,
    /// How it came off.
    pub end: JobEnd,
    /// What it did, or why it did not, in a line.
    pub told: String,
    /// What to do, if something went wrong.
    pub hint: Option<String>,
    /// The run in the ledger, if it was started.
    pub run: Option<RunId>,
    /// The occurrence it ran for; `None` if it was asked for.
    pub occurrence: Option<Timestamp>,
    /// How many occurrences before that one were missed.
    pub missed: u32,
    /// Earlier runs since the last success that never reported their end.
    pub gaps: Vec<Gap>,
    /// How long it took, seconds.
    pub secs: f64,
    /// Whether work that could not be stopped was left behind in this process.
    #[serde(skip)]
    pub left_behind: bool,
}

//! Jobs: what runs when, and what happens when it could not.

use std::time::Duration;

use jiff::tz::TimeZone;
use lifeboat_model::{BackupKind, Tier};

use crate::blackout::Blackout;
use crate::cron::CronTime;
use crate::retention::Keep;
use crate::timetable::Timetable;
use crate::word::words;

words!(
    /// What a job does.
    Action, "something a job can run" {
        /// Takes a backup of every source of the environment.
        Backup = "backup",
        /// Refreshes the environment from a masked snapshot.
        Refresh = "refresh",
        /// Restores into a scratch place, checks and measures.
        Drill = "drill",
        /// Verifies what the repository holds.
        Verify = "verify",
        /// Applies retention and removes what nothing needs.
        Prune = "prune",
        /// Copies to the other regions.
        Replicate = "replicate",
    }
);

words!(
    /// What happens to runs that were missed.
    Missed, "what can happen to missed runs" {
        /// They are left out.
        Skip = "skip",
        /// However many they are, one run makes up for them.
        Once = "once",
        /// Each is made up for.
        All = "all",
    }
);

words!(
    /// What happens when the run before is still going.
    Overlap, "what can happen when runs overlap" {
        /// The later one is left out.
        Skip = "skip",
        /// The later one waits.
        Wait = "wait",
    }
);

/// One recurring piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name, unique within the schedule.
    pub name: String,
    /// What it does.
    pub run: Action,
    /// The tier its snapshots belong to; set for backups.
    pub tier: Option<Tier>,
    /// Whether its backups build on earlier ones; set for backups.
    pub kind: Option<BackupKind>,
    /// When it recurs.
    pub cron: CronTime,
    /// The history it asks retention to keep.
    pub keep: Keep,
    /// How far a host may put its start off, so that hosts do not all start at once.
    pub jitter: Duration,
    /// What happens to runs that were missed.
    pub missed: Missed,
    /// How long a missed run may still be made up for.
    pub catch_up: Duration,
    /// What happens when the run before is still going.
    pub overlap: Overlap,
    /// How long a run may take before it is ended.
    pub max_runtime: Option<Duration>,
    /// When it must not start.
    pub blackout: Vec<Blackout>,
}

impl Job {
    /// How long a missed run may be made up for unless the job says otherwise.
    pub const DEFAULT_CATCH_UP: Duration = Duration::from_secs(7 * 86_400);

    /// How long a run that reports no end counts as going on, if the job does not limit its runs.
    pub const DEFAULT_DEAD_AFTER: Duration = Duration::from_secs(86_400);

    /// Makes a job with nothing but a name, work and time; the rest is as if left unsaid.
    pub fn new(name: impl Into<String>, run: Action, cron: CronTime) -> Self {
        Self {
            name: name.into(),
            run,
            tier: None,
            kind: None,
            cron,
            keep: Keep::default(),
            jitter: Duration::ZERO,
            missed: Missed::Once,
            catch_up: Self::DEFAULT_CATCH_UP,
            overlap: Overlap::Skip,
            max_runtime: None,
            blackout: Vec::new(),
        }
    }

    /// Returns how long a run that reports no end counts as going on; then it is taken for dead.
    pub fn dead_after(&self) -> Duration {
        self.max_runtime.unwrap_or(Self::DEFAULT_DEAD_AFTER)
    }
}

/// The jobs of an environment and the clock they go by.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The zone whose wall clock the jobs follow.
    pub zone: TimeZone,
    /// The jobs, in the order written.
    pub jobs: Vec<Job>,
}

impl Schedule {
    /// Returns the job called `name`.
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// Returns the timetable of these jobs on the host that `seed`, a hash of its name, stands for.
    pub fn timetable(&self, seed: u64) -> Timetable {
        Timetable {
            zone: self.zone.clone(),
            seed,
        }
    }

    /// Returns the jobs in the order in which those due at once run: what makes copies before what
    /// moves, uses and removes them; of one action, as they are written.
    pub fn in_order(&self) -> Vec<&Job> {
        let rank = |job: &&Job| match job.run {
            Action::Backup => 0,
            Action::Replicate => 1,
            Action::Refresh => 2,
            Action::Verify => 3,
            Action::Drill => 4,
            Action::Prune => 5,
        };
        let mut jobs: Vec<&Job> = self.jobs.iter().collect();
        jobs.sort_by_key(rank);
        jobs
    }

    /// Returns the retention that satisfies what every job asks to keep.
    pub fn retention(&self) -> Keep {
        let wishes = self.jobs.iter().map(|job| job.keep);
        wishes.fold(Keep::default(), Keep::union)
    }

    /// Returns the backup job of `tier`, if there is one.
    pub fn backup_job(&self, tier: Tier) -> Option<&Job> {
        self.jobs
            .iter()
            .find(|job| job.run == Action::Backup && job.tier == Some(tier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_s_retention_grants_every_job_s_wish() {
        let job = |name: &str, keep: Keep| Job {
            keep,
            ..Job::new(name, Action::Backup, "0 1 * * *".parse().unwrap())
        };
        let wish = |hourly, daily, min_keep| Keep {
            hourly,
            daily,
            min_keep,
            ..Keep::default()
        };
        let schedule = Schedule {
            zone: TimeZone::UTC,
            jobs: vec![
                job("a", wish(Some(48), Some(2), 1)),
                job("b", wish(None, Some(14), 3)),
            ],
        };
        assert_eq!(schedule.retention(), wish(Some(48), Some(14), 3));
    }

    #[test]
    fn of_jobs_due_at_once_backups_come_first_and_pruning_last() {
        let job = |name, run| Job::new(name, run, "0 1 * * *".parse().unwrap());
        let schedule = Schedule {
            zone: TimeZone::UTC,
            jobs: vec![
                job("prune", Action::Prune),
                job("drill", Action::Drill),
                job("daily", Action::Backup),
                job("replicate", Action::Replicate),
                job("hourly", Action::Backup),
            ],
        };
        let order: Vec<_> = schedule.in_order().iter().map(|j| &*j.name).collect();
        assert_eq!(order, ["daily", "hourly", "replicate", "drill", "prune"]);
    }

    #[test]
    fn an_unknown_word_names_the_allowed_ones() {
        let error = "bakup".parse::<Action>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`bakup` is not something a job can run; \
             one of: backup, refresh, drill, verify, prune, replicate"
        );
    }
}

//! Verifying what a region holds.

use lifeboat_config::Environment;
use lifeboat_model::RegionName;
use lifeboat_repository::{Damage, Outcome, Repository, Role, RunKind, VerifyLevel, VerifyReport};
use lifeboat_runtime::Stopwatch;
use serde::Serialize;

use crate::error::OperationError;
use crate::lease::HeldLease;
use crate::ledger::Facts;
use crate::session::Session;

/// What a verification will look at.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyPlan {
    /// The region.
    pub region: RegionName,
    /// How deep.
    pub level: VerifyLevel,
}

/// What a verification found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyRun {
    /// The region.
    pub region: RegionName,
    /// How deep it looked.
    pub level: VerifyLevel,
    /// What it found.
    #[serde(flatten)]
    pub report: VerifyReport,
    /// Parts of the log that no region has any more: lost, and nothing that could be repaired.
    pub gone: Vec<Damage>,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Verifies one region. Opens content only if the reader key is configured.
    ///
    /// # Errors
    /// Fails if the region cannot be read at all; damage is in the report.
    pub async fn verify(
        &self,
        environment: &Environment,
        plan: &VerifyPlan,
    ) -> Result<VerifyRun, OperationError> {
        let opened = self.open_region(&plan.region).await?;
        let can_read = environment.keys.reader.is_some() && plan.level == VerifyLevel::Full;
        let role = if can_read {
            Role::Reader
        } else {
            Role::Auditor
        };
        let repository = self.open_repository(environment, &opened, role).await?;
        let run = self
            .begin_run(&opened, RunKind::Verify, environment, None)
            .await?;
        let watch = Stopwatch::start(&*self.world.clock);
        self.progress
            .phase(&format!("verifying {}", plan.region), 0);
        let lease = HeldLease::for_reading(self, &opened.store, RunKind::Verify).await;
        let found = self.look_at(environment, plan, &repository).await;
        if let Some(lease) = lease {
            lease.end().await;
        }
        let result = found.map(|(report, gone)| VerifyRun {
            region: plan.region.clone(),
            level: plan.level,
            report,
            gone,
            secs: watch.elapsed().as_secs_f64(),
        });
        run.end(self, result, |run| {
            let damage = run.report.damage.len();
            let gone = run.gone.len();
            let outcome = match (damage, gone) {
                (0, 0) => Outcome::Done,
                (0, _) => Outcome::Incomplete,
                _ => Outcome::Failed,
            };
            let facts = [("damage", damage), ("gone", gone)];
            let facts = facts.map(|(name, count)| (name.to_owned(), count.into()));
            (outcome, Facts::from(facts))
        })
        .await
    }

    /// Verifies what is there, and looks for holes in the environment's logs: whether a part of a log
    /// is missing, only its window tells, which no repository knows.
    async fn look_at(
        &self,
        environment: &Environment,
        plan: &VerifyPlan,
        repository: &Repository,
    ) -> Result<(VerifyReport, Vec<Damage>), OperationError> {
        let mut report = repository.verify(plan.level).await?;
        let holes = self.log_holes(environment, (&plan.region, repository));
        let holes = holes.await?;
        report.damage.extend(holes.damage);
        Ok((report, holes.gone))
    }
}

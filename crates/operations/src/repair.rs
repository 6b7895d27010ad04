//! Repairing a region from the others.

use std::sync::Arc;

use lifeboat_config::Environment;
use lifeboat_model::{RegionName, error_chain};
use lifeboat_repository::{Damage, Outcome, RepairReport, Repository, Role, RunKind, VerifyLevel};
use lifeboat_runtime::Stopwatch;
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use crate::error::OperationError;
use crate::lease::HeldLease;
use crate::ledger::Facts;
use crate::session::Session;
use crate::wal::lacking_objects;

/// What a repair will do.
#[derive(Debug, Clone, Serialize)]
pub struct RepairPlan {
    /// The region that is repaired.
    pub region: RegionName,
    /// The regions that good copies are taken from, in this order.
    pub from: Vec<RegionName>,
    /// How deep to look for damage.
    pub level: VerifyLevel,
    /// Look, and write nothing.
    pub dry_run: bool,
}

/// What a repair did.
#[derive(Debug, Clone, Serialize)]
pub struct RepairRun {
    /// The region.
    pub region: RegionName,
    /// What it brought back, and what is still wrong.
    #[serde(flatten)]
    pub report: RepairReport,
    /// Parts of the log that no region has any more.
    pub gone: Vec<Damage>,
    /// Regions that could not be asked for good copies.
    pub unreachable: Vec<String>,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Plans a repair of one region from others; by default from all that the environment has.
    ///
    /// # Errors
    /// Fails if a region does not exist or is asked to repair itself.
    pub fn plan_repair(
        &self,
        environment: &Environment,
        region: &RegionName,
        from: Option<&str>,
        level: VerifyLevel,
        dry_run: bool,
    ) -> Result<RepairPlan, OperationError> {
        let from = match from {
            Some(name) => vec![self.config.region(name)?.name.clone()],
            None => environment.regions().cloned().collect(),
        };
        let from: Vec<RegionName> = from.into_iter().filter(|name| name != region).collect();
        // Without another region, the index may still be made anew.
        Ok(RepairPlan {
            region: region.clone(),
            from,
            level,
            dry_run,
        })
    }

    /// Carries out a repair. What has no good copy is in the report.
    ///
    /// # Errors
    /// Fails if the region cannot be read or written, or must not hold the environment's data.
    pub async fn repair(
        &self,
        environment: &Environment,
        plan: &RepairPlan,
    ) -> Result<RepairRun, OperationError> {
        let opened = self.open_region_for(environment, &plan.region).await?;
        let repository = self
            .open_repository(environment, &opened, Role::Pruner)
            .await?;
        let watch = Stopwatch::start(&*self.world.clock);
        let (sources, unreachable) = self.open_sources(plan, &opened.identity.repository).await;
        let done = |(report, gone)| RepairRun {
            region: plan.region.clone(),
            report,
            gone,
            unreachable,
            secs: watch.elapsed().as_secs_f64(),
        };
        self.progress
            .phase(&format!("repairing {}", plan.region), 0);
        if plan.dry_run {
            let found = self.bring_back(environment, plan, &repository, &sources);
            return Ok(done(found.await?));
        }
        let run = self
            .begin_run(&opened, RunKind::Repair, environment, None)
            .await?;
        // What is brought back must not be taken for garbage meanwhile.
        let lease = HeldLease::take(self, &opened.store, RunKind::Repair).await?;
        let found = self.bring_back(environment, plan, &repository, &sources);
        let found = found.await;
        lease.end().await;
        let result = found.map(done);
        run.end(self, result, |run| {
            let left = run.report.left.damage.len();
            let outcome = if left == 0 && run.gone.is_empty() {
                Outcome::Done
            } else {
                Outcome::Incomplete
            };
            let facts = Facts::from([
                ("repaired".to_owned(), run.report.repaired.len().into()),
                ("reindexed".to_owned(), run.report.reindexed.into()),
                ("damage".to_owned(), left.into()),
                ("gone".to_owned(), run.gone.len().into()),
            ]);
            (outcome, facts)
        })
        .await
    }

    /// Brings back what is damaged, and what the region lacks of the logs that it is to keep.
    async fn bring_back(
        &self,
        environment: &Environment,
        plan: &RepairPlan,
        repository: &Repository,
        sources: &[Arc<dyn ObjectStore>],
    ) -> Result<(RepairReport, Vec<Damage>), OperationError> {
        let mut report = repository.repair(plan.level, sources, plan.dry_run).await?;
        // Only when its records are whole can be said what of the log a region is to keep.
        let now = self.world.clock.now();
        let log = lacking_objects(repository, environment, sources, now).await?;
        let brought = repository.bring(&log, sources, plan.dry_run).await?;
        report.repaired.extend(brought);
        let holes = self.log_holes(environment, (&plan.region, repository));
        let holes = holes.await?;
        report.left.damage.extend(holes.damage);
        Ok((report, holes.gone))
    }

    /// Opens the regions to copy from; one that is gone keeps none of the others from helping.
    async fn open_sources(
        &self,
        plan: &RepairPlan,
        repository: &lifeboat_model::RepositoryId,
    ) -> (Vec<Arc<dyn ObjectStore>>, Vec<String>) {
        let (mut sources, mut unreachable) = (Vec::new(), Vec::new());
        for name in &plan.from {
            match self.open_region(name).await {
                Ok(opened) if opened.identity.repository == *repository => {
                    sources.push(opened.store);
                }
                Ok(_) => unreachable.push(format!("{name}: it holds another repository")),
                Err(error) => unreachable.push(format!("{name}: {}", error_chain(&error))),
            }
        }
        (sources, unreachable)
    }
}

//! Copying a repository to another region, without any key: who may hold what, leases, the ledger.
//!
//! What is copied, and in which order, is for [`Replication`] to say.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use lifeboat_config::Environment;
use lifeboat_model::{EnvironmentName, RegionName, SnapshotId};
use lifeboat_repository::{CopyLimits, Outcome, Receipt, Replication, RunKind, SnapshotName};
use lifeboat_runtime::{Progress, Stopwatch};
use serde::Serialize;

use crate::error::OperationError;
use crate::lease::HeldLease;
use crate::ledger::Facts;
use crate::place::Opened;
use crate::session::Session;

/// What a replication will copy.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicatePlan {
    /// The region it copies from.
    pub from: RegionName,
    /// The region it copies to.
    pub to: RegionName,
    /// Number of objects that are missing there.
    pub objects: u64,
    /// Their length together, bytes.
    pub bytes: u64,
    /// Number of objects that are there already.
    pub present: u64,
    /// Number of revoked keys that the replica knows of and the source does not; it is told.
    pub revocations_missed: u64,
    /// Time since the state of the newest snapshot that the replica has a receipt for, seconds;
    /// `None` if it has none.
    pub lag_secs: Option<f64>,
}

/// What a replication did.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicateReport {
    /// The region it copied from.
    pub from: RegionName,
    /// The region it copied to.
    pub to: RegionName,
    /// Number of objects copied, each checked by its name's hash where it has one.
    pub objects: u64,
    /// Their length together, bytes.
    pub bytes: u64,
    /// Number of objects that were there before.
    pub present: u64,
    /// Snapshots whose whole closure the region now has a receipt for.
    pub receipts: u64,
    /// Snapshots among them that got their receipt now.
    pub receipts_new: Vec<SnapshotId>,
    /// Time since the state of the newest snapshot that the region now has a receipt for, seconds.
    pub lag_secs: Option<f64>,
    /// How long it took, seconds.
    pub secs: f64,
}

/// Shows several copies as one phase, which has begun already.
struct SharedBar(Arc<dyn Progress>);

impl Progress for SharedBar {
    fn phase(&self, _name: &str, _total_bytes: u64) {}

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}

impl Session {
    /// Plans the copy of everything that a replica lacks.
    ///
    /// # Errors
    /// Fails if a region is not there, belongs to another repository, or must not hold the data.
    pub async fn plan_replicate(
        &self,
        environment: &Environment,
        to: &RegionName,
    ) -> Result<ReplicatePlan, OperationError> {
        if *to == environment.home {
            return Err(OperationError::Usage {
                message: format!(
                    "`{to}` is the home of `{}`: it is copied from",
                    environment.name
                ),
                hint: "name a replica".to_owned(),
            });
        }
        let from = self.open_region(&environment.home).await?;
        let target = self.open_region_for(environment, to).await?;
        if from.identity.repository != target.identity.repository {
            return Err(OperationError::RegionMismatch {
                region: to.clone(),
                what: "it holds another repository".to_owned(),
                hint: format!("give `{to}` a place of its own"),
            });
        }
        let found = self.look(&from, &target).await?;
        Ok(ReplicatePlan {
            from: from.region,
            to: to.clone(),
            objects: found.objects(),
            bytes: found.bytes(),
            present: found.present(),
            revocations_missed: found.revocations_missed(),
            lag_secs: self.lag_secs(&target, found.snapshots()).await?,
        })
    }

    /// Returns the time since the state of the newest of these snapshots that a replica has a receipt
    /// for, seconds. Nothing else is believed of what a replica holds.
    async fn lag_secs(
        &self,
        target: &Opened,
        snapshots: &[SnapshotName],
    ) -> Result<Option<f64>, OperationError> {
        let receipts = Receipt::list(&*target.store, &target.region).await?;
        let received: BTreeSet<SnapshotId> = receipts.iter().map(|one| one.snapshot).collect();
        let held = snapshots.iter().filter(|name| received.contains(&name.id));
        let newest = held.map(|name| name.instant).max();
        let now = self.world.clock.now();
        Ok(newest.map(|instant| now.duration_since(instant).as_secs_f64().max(0.0)))
    }

    /// Looks at what a target lacks, and whether it may hold it.
    async fn look(&self, from: &Opened, target: &Opened) -> Result<Replication, OperationError> {
        let found = Replication::plan(&*from.store, &*target.store).await?;
        self.decide_residency_for_all(found.snapshots(), target)
            .await?;
        Ok(found)
    }

    /// Packs hold chunks of every environment, so a region must be allowed for each that has
    /// snapshots in the repository.
    async fn decide_residency_for_all(
        &self,
        snapshots: &[SnapshotName],
        target: &Opened,
    ) -> Result<(), OperationError> {
        let names: BTreeSet<&EnvironmentName> =
            snapshots.iter().map(|name| &name.environment).collect();
        for name in names {
            let environment = self.config.environments.get(name).ok_or_else(|| {
                // Nobody could say where its data may lie.
                OperationError::NotConfigured {
                    environment: name.to_string(),
                    what: "configuration, but snapshots in the repository".to_owned(),
                    hint: format!("keep environments/{name}.toml as long as it has snapshots"),
                }
            })?;
            let location = self.prove_location(environment, target).await?;
            environment
                .residency
                .decide(location.as_ref())
                .map_err(|source| OperationError::Residency {
                    region: target.region.clone(),
                    environment: name.to_string(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Copies to several regions at once, each planned and carried out on its own: one that fails
    /// keeps none of the others from its copy.
    ///
    /// The limits hold for all of them together.
    pub async fn replicate_all(
        &self,
        environment: &Environment,
        targets: &[RegionName],
        limits: CopyLimits,
    ) -> Vec<Result<ReplicateReport, OperationError>> {
        let plans = targets
            .iter()
            .map(|to| self.plan_replicate(environment, to));
        let plans = join_all(plans).await;
        let planned = plans.iter().flatten();
        let bytes = planned.clone().map(|plan| plan.bytes).sum();
        let copying = planned.count();
        let limits = CopyLimits {
            memory_bytes: limits.memory_bytes / copying.max(1) as u64,
            small_at_once: limits.small_at_once / copying.max(1),
            ..limits
        };
        let session = match copying {
            0 | 1 => self.clone(),
            many => {
                let what = format!("replicating to {many} regions");
                self.progress.phase(&what, bytes);
                let progress = Arc::new(SharedBar(self.progress.clone()));
                Session {
                    progress,
                    ..self.clone()
                }
            }
        };
        let copies = plans.into_iter().map(async |plan| {
            let plan = plan?;
            session.replicate(environment, &plan, &limits).await
        });
        join_all(copies).await
    }

    /// Carries out a replication.
    ///
    /// # Errors
    /// Fails if an object cannot be copied or is damaged at its source; what was copied stays, and the
    /// next run goes on from there. No receipt is written unless everything is there.
    pub async fn replicate(
        &self,
        environment: &Environment,
        plan: &ReplicatePlan,
        limits: &CopyLimits,
    ) -> Result<ReplicateReport, OperationError> {
        let from = self.open_region(&plan.from).await?;
        let to = self.open_region_for(environment, &plan.to).await?;
        let run = self
            .begin_run(&from, RunKind::Replicate, environment, None)
            .await?;
        let result = self.copy_and_receipt(plan, (&from, &to), limits).await;
        run.end(self, result, |report| {
            let facts = Facts::from([
                ("region".to_owned(), report.to.to_string().into()),
                ("objects".to_owned(), report.objects.into()),
                ("bytes".to_owned(), report.bytes.into()),
                ("receipts_new".to_owned(), report.receipts_new.len().into()),
                ("lag_secs".to_owned(), report.lag_secs.into()),
                ("secs".to_owned(), report.secs.into()),
            ]);
            (Outcome::Done, facts)
        })
        .await
    }

    async fn copy_and_receipt(
        &self,
        plan: &ReplicatePlan,
        (from, to): (&Opened, &Opened),
        limits: &CopyLimits,
    ) -> Result<ReplicateReport, OperationError> {
        let watch = Stopwatch::start(&*self.world.clock);
        // Neither region may lose meanwhile what the plan counts on; so it is made under the leases.
        let reading = HeldLease::take(self, &from.store, RunKind::Replicate).await?;
        let writing = HeldLease::take(self, &to.store, RunKind::Replicate).await?;
        let found = self.look(from, to).await?;
        self.progress
            .phase(&format!("replicating to {}", plan.to), found.bytes());
        let advance = |bytes| self.progress.advance(bytes);
        found
            .copy_objects(&*from.store, &*to.store, limits, advance)
            .await?;
        let mut lease = writing.into_inner().await;
        found.commit(&*from.store, &mut lease).await?;
        lease.release().await?;
        reading.end().await;
        let now = self.world.clock.now();
        let receipts = found.write_receipts(&*from.store, &*to.store, &plan.to, now);
        let receipts_new = receipts.await?;
        Ok(ReplicateReport {
            from: plan.from.clone(),
            to: plan.to.clone(),
            objects: found.objects(),
            bytes: found.bytes(),
            present: found.present(),
            receipts: found.snapshots().len() as u64,
            receipts_new,
            lag_secs: self.lag_secs(to, found.snapshots()).await?,
            secs: watch.elapsed().as_secs_f64(),
        })
    }
}

//! Copying a repository to another region, without any key.
//!
//! Objects go over in the order they were written: packs, index, ledger, commit records. Each is
//! checked against the hash in its name on the way, and a receipt is written for a snapshot only
//! once the region was seen to hold its whole closure. Deletions are never copied.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_config::Environment;
use lifeboat_model::{EnvironmentName, RegionName, SnapshotId};
use lifeboat_repository::layout;
use lifeboat_repository::{
    ObjectClass, Outcome, Receipt, Repository, RepositoryError, RunKind, SnapshotName,
};
use lifeboat_runtime::{MemoryBudget, Stopwatch};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore};
use serde::Serialize;

use crate::error::OperationError;
use crate::key::revoked::RevokedKeys;
use crate::ledger::Facts;
use crate::place::Opened;
use crate::session::Session;

/// Objects copied at the same time.
const COPIES_AT_ONCE: usize = 8;
/// Memory that objects on their way may take, bytes.
const BUDGET_BYTES: u64 = 128 << 20;

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
    #[serde(skip)]
    missed_here: Vec<ObjectKey>,
    #[serde(skip)]
    steps: Vec<Vec<ObjectMeta>>,
    #[serde(skip)]
    snapshots: Vec<SnapshotName>,
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
    /// How long it took, seconds.
    pub secs: f64,
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
        let snapshots = Repository::snapshot_names(&*from.store, None, None).await?;
        self.decide_residency_for_all(&snapshots, &target)?;
        let revoked = RevokedKeys::between(&*from.store, &*target.store).await?;
        let (steps, present) = missing(&from, &target, &snapshots, &revoked).await?;
        Ok(ReplicatePlan {
            from: from.region,
            to: to.clone(),
            objects: steps.iter().map(|step| step.len() as u64).sum(),
            bytes: steps.iter().flatten().map(|meta| meta.size).sum(),
            present,
            revocations_missed: revoked.missed_here.len() as u64,
            missed_here: revoked.missed_here,
            steps,
            snapshots,
        })
    }

    /// Packs hold chunks of every environment, so a region must be allowed for each that has
    /// snapshots in the repository.
    fn decide_residency_for_all(
        &self,
        snapshots: &[SnapshotName],
        target: &Opened,
    ) -> Result<(), OperationError> {
        let names: BTreeSet<&EnvironmentName> =
            snapshots.iter().map(|name| &name.environment).collect();
        let location = target
            .identity
            .region
            .as_ref()
            .map(|marker| &marker.location);
        for name in names {
            let environment = self.config.environments.get(name).ok_or_else(|| {
                // Nobody could say where its data may lie.
                OperationError::NotConfigured {
                    environment: name.to_string(),
                    what: "configuration, but snapshots in the repository".to_owned(),
                    hint: format!("keep environments/{name}.toml as long as it has snapshots"),
                }
            })?;
            environment
                .residency
                .decide(location)
                .map_err(|source| OperationError::Residency {
                    region: target.region.clone(),
                    environment: name.to_string(),
                    source,
                })?;
        }
        Ok(())
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
    ) -> Result<ReplicateReport, OperationError> {
        let from = self.open_region(&plan.from).await?;
        let to = self.open_region_for(environment, &plan.to).await?;
        let run = self
            .begin_run(&from, RunKind::Replicate, environment, None)
            .await?;
        let result = self.copy_and_receipt(plan, &from, &to).await;
        run.end(self, result, |report| {
            let facts = Facts::from([
                ("region".to_owned(), report.to.to_string().into()),
                ("objects".to_owned(), report.objects.into()),
                ("bytes".to_owned(), report.bytes.into()),
                ("receipts_new".to_owned(), report.receipts_new.len().into()),
                ("secs".to_owned(), report.secs.into()),
            ]);
            (Outcome::Done, facts)
        })
        .await
    }

    async fn copy_and_receipt(
        &self,
        plan: &ReplicatePlan,
        from: &Opened,
        to: &Opened,
    ) -> Result<ReplicateReport, OperationError> {
        let watch = Stopwatch::start(&*self.world.clock);
        let budget = MemoryBudget::new(BUDGET_BYTES);
        self.progress
            .phase(&format!("replicating to {}", plan.to), plan.bytes);
        // What a region says of revoked keys goes both ways, and before any key does.
        for key in &plan.missed_here {
            copy_object(&*to.store, &*from.store, key).await?;
        }
        // One step after the other: an index object may only arrive after the packs it names.
        for step in &plan.steps {
            let copies = step.iter().map(|meta| async {
                let permit = budget.take(meta.size).await;
                copy_object(&*from.store, &*to.store, &meta.key).await?;
                drop(permit);
                self.progress.advance(meta.size);
                Ok::<_, RepositoryError>(())
            });
            stream::iter(copies)
                .buffer_unordered(COPIES_AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        let (receipts, receipts_new) = self.write_receipts(plan, from, to).await?;
        Ok(ReplicateReport {
            from: plan.from.clone(),
            to: plan.to.clone(),
            objects: plan.objects,
            bytes: plan.bytes,
            present: plan.present,
            receipts,
            receipts_new,
            secs: watch.elapsed().as_secs_f64(),
        })
    }

    /// Looks at what the region holds now and writes the receipts that are missing.
    async fn write_receipts(
        &self,
        plan: &ReplicatePlan,
        from: &Opened,
        to: &Opened,
    ) -> Result<(u64, Vec<SnapshotId>), OperationError> {
        let before: BTreeSet<SnapshotId> = Receipt::list(&*to.store, &plan.to)
            .await?
            .into_iter()
            .map(|receipt| receipt.snapshot)
            .collect();
        let closure = Closure::of(&*to.store).await?;
        let mut new = Vec::new();
        for name in &plan.snapshots {
            if before.contains(&name.id) {
                continue;
            }
            closure.check(&*to.store, name).await?;
            let receipt = closure.receipt(&plan.to, name, self.world.clock.now())?;
            // Both regions know: the home can tell what is safe, the replica can prove it alone.
            receipt.write(&*to.store).await?;
            receipt.write(&*from.store).await?;
            new.push(name.id);
        }
        Ok((plan.snapshots.len() as u64, new))
    }
}

/// Lists what the target lacks, step by step in the order of copying, and counts what it has.
async fn missing(
    from: &Opened,
    to: &Opened,
    snapshots: &[SnapshotName],
    revoked: &RevokedKeys,
) -> Result<(Vec<Vec<ObjectMeta>>, u64), OperationError> {
    // The source is listed after its commit records were, so nothing they need is overlooked.
    let index = Repository::index_packs(&*from.store).await?;
    let named: BTreeSet<ObjectKey> = index
        .iter()
        .flat_map(|(_, packs)| packs)
        .map(|pack| layout::pack(*pack))
        .collect();
    let indexed: BTreeSet<ObjectKey> = index.iter().map(|(id, _)| layout::index(*id)).collect();
    let commits: BTreeSet<ObjectKey> = snapshots.iter().map(SnapshotName::key).collect();
    let there: BTreeMap<ObjectKey, u64> = to
        .store
        .list("")
        .await?
        .into_iter()
        .map(|meta| (meta.key, meta.size))
        .collect();
    let source = from.store.list("").await?;
    let have: BTreeSet<&ObjectKey> = source.iter().map(|meta| &meta.key).collect();
    if let Some(lost) = named
        .iter()
        .find(|key| !have.contains(key) && !there.contains_key(key))
    {
        let what = format!("it is missing in `{}`, from which to copy it", from.region);
        return Err(RepositoryError::corrupt(lost, what).into());
    }
    let mut steps: BTreeMap<ObjectClass, Vec<ObjectMeta>> = BTreeMap::new();
    let mut present = 0;
    for meta in source.clone() {
        let class = ObjectClass::of(&meta.key);
        let wanted = match class {
            ObjectClass::Pack => named.contains(&meta.key),
            ObjectClass::Index => indexed.contains(&meta.key),
            ObjectClass::Snapshot => commits.contains(&meta.key),
            ObjectClass::Key => !revoked.left_out.contains(&meta.key),
            ObjectClass::Repository | ObjectClass::Revocation | ObjectClass::Run => true,
            ObjectClass::Receipt | ObjectClass::Region | ObjectClass::Unknown => false,
        };
        match there.get(&meta.key) {
            _ if !wanted => {}
            Some(size) if *size == meta.size => present += 1,
            Some(size) => {
                let what = format!("it has {size} bytes in `{}`, {} here", to.region, meta.size);
                return Err(RepositoryError::corrupt(&meta.key, what).into());
            }
            None => steps.entry(class).or_default().push(meta),
        }
    }
    // `ObjectClass` orders as copying must: commit records come after all they need.
    Ok((steps.into_values().collect(), present))
}

/// Copies one object, checked against the hash in its name.
async fn copy_object(
    from: &dyn ObjectStore,
    to: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<(), RepositoryError> {
    let bytes: Bytes = from.get(key).await?;
    if ObjectClass::name_matches(key, &bytes) == Some(false) {
        return Err(RepositoryError::corrupt(
            key,
            "its bytes do not match its name",
        ));
    }
    to.put(key, bytes).await?;
    Ok(())
}

/// Copies what makes a store a copy of the repository: `repo.json`, revocations and keys.
pub(crate) async fn copy_basics(
    from: &dyn ObjectStore,
    to: &dyn ObjectStore,
) -> Result<(), OperationError> {
    let revoked = RevokedKeys::between(from, to).await?;
    let mut basics: Vec<ObjectMeta> = from.list("").await?;
    basics.retain(|meta| match ObjectClass::of(&meta.key) {
        ObjectClass::Repository | ObjectClass::Revocation => true,
        ObjectClass::Key => !revoked.left_out.contains(&meta.key),
        _ => false,
    });
    // A store with `repo.json` counts as a repository, so it comes last, and keys come after what
    // revokes them.
    basics.sort_by_key(|meta| match ObjectClass::of(&meta.key) {
        ObjectClass::Revocation => 0,
        ObjectClass::Key => 1,
        _ => 2,
    });
    for meta in basics {
        copy_object(from, to, &meta.key).await?;
    }
    Ok(())
}

/// What a region was seen to hold.
struct Closure {
    commits: BTreeMap<SnapshotId, u64>,
    index_names: Vec<String>,
    index_objects: u64,
    packs: u64,
    bytes: u64,
    hash: String,
}

impl Closure {
    /// Lists a region's index objects and checks that every pack they name is there.
    async fn of(store: &dyn ObjectStore) -> Result<Self, OperationError> {
        let index = Repository::index_packs(store).await?;
        let sizes: BTreeMap<ObjectKey, u64> = store
            .list("")
            .await?
            .into_iter()
            .map(|meta| (meta.key, meta.size))
            .collect();
        let packs: BTreeSet<_> = index
            .iter()
            .flat_map(|(_, packs)| packs.iter().copied())
            .collect();
        let keys: BTreeSet<ObjectKey> = packs
            .iter()
            .map(|pack| layout::pack(*pack))
            .chain(index.iter().map(|(id, _)| layout::index(*id)))
            .collect();
        let mut bytes = 0;
        let mut hasher = blake3::Hasher::new();
        for key in &keys {
            let Some(size) = sizes.get(key) else {
                return Err(RepositoryError::corrupt(key, "it is missing from the replica").into());
            };
            bytes += size;
            hasher.update(key.as_str().as_bytes()).update(b"\n");
        }
        let commits = sizes
            .iter()
            .filter_map(|(key, size)| Some((SnapshotName::parse(key)?.id, *size)))
            .collect();
        let hash = hasher.finalize().to_hex().to_string();
        let index_names = index.iter().map(|(id, _)| id.to_string()).collect();
        let (index_objects, packs) = (index.len() as u64, packs.len() as u64);
        Ok(Self {
            commits,
            index_names,
            index_objects,
            packs,
            bytes,
            hash,
        })
    }

    /// Checks that every index object that existed when the snapshot was committed is here.
    async fn check(
        &self,
        store: &dyn ObjectStore,
        name: &SnapshotName,
    ) -> Result<(), OperationError> {
        let key = name.key();
        let record = store.get(&key).await?;
        for prefix in Repository::index_needed_by(&key, &record)? {
            if !self
                .index_names
                .iter()
                .any(|name| name.starts_with(&prefix))
            {
                let what = format!("it needs index object {prefix}…, which is missing");
                return Err(RepositoryError::corrupt(&key, what).into());
            }
        }
        Ok(())
    }

    fn receipt(
        &self,
        region: &RegionName,
        name: &SnapshotName,
        received: jiff::Timestamp,
    ) -> Result<Receipt, OperationError> {
        let key = name.key();
        let Some(size) = self.commits.get(&name.id) else {
            return Err(RepositoryError::corrupt(&key, "it is missing from the replica").into());
        };
        Ok(Receipt {
            region: region.clone(),
            snapshot: name.id,
            commit_record: key.to_string(),
            received,
            index_objects: self.index_objects,
            packs: self.packs,
            bytes: self.bytes + size,
            closure: self.hash.clone(),
        })
    }
}

//! Copying a repository to another store, without any key.
//!
//! Objects go over in the order they were written: packs, index, logs, ledger, commit records. Each is
//! checked against the hash in its name on the way, and a receipt is written for a snapshot only
//! once the target was seen to hold its whole closure. Deletions are never copied.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use futures::try_join;
use jiff::Timestamp;
use lifeboat_model::{RegionName, SnapshotId};
use lifeboat_runtime::{MemoryBudget, Throttle};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore, Put};
use tokio::sync::Semaphore;

use crate::closure::Closure;
use crate::error::RepositoryError;
use crate::index_catalog::IndexCatalog;
use crate::layout::{self, ObjectClass, SnapshotName};
use crate::lease::Lease;
use crate::prune::Tombstones;
use crate::receipt::Receipt;
use crate::repository::Repository;
use crate::revoked_keys::RevokedKeys;
use crate::wal::{WalCatalog, WalPlace, wal_needed_by};

/// Commit records that are committed together.
const RECORDS_AT_ONCE: usize = 64;

/// Objects up to this length, bytes, count as small: nearly all of their time is waiting for the
/// other end.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// How much a copy may take at a time.
#[derive(Debug)]
pub struct CopyLimits {
    /// Objects on their way at the same time, small ones not counted.
    pub at_once: usize,
    /// Objects on their way at the same time with small ones counted, unless that is less. Each may
    /// hold two connections, and a process has 1024 descriptors as a rule.
    pub small_at_once: usize,
    /// Memory that they may take together, bytes.
    pub memory_bytes: u64,
    /// The rate at which they may go, if there is a limit.
    pub throttle: Option<Throttle>,
}

impl Default for CopyLimits {
    /// Enough to fill a line between regions: most of a small object's time is waiting.
    fn default() -> Self {
        Self {
            at_once: 32,
            small_at_once: 128,
            memory_bytes: 96 << 20,
            throttle: None,
        }
    }
}

/// What a store lacks of another one.
#[derive(Debug)]
pub struct Replication {
    /// All but commit records, step by step in the order of copying.
    steps: Vec<Vec<ObjectMeta>>,
    records: Vec<ObjectMeta>,
    present: u64,
    /// What the source holds, with lengths.
    here: BTreeMap<ObjectKey, u64>,
    snapshots: Vec<SnapshotName>,
    /// Revocations that the target knows and the source does not.
    missed_here: Vec<ObjectKey>,
}

impl Replication {
    /// Looks at what `to` lacks of `from`.
    ///
    /// Whoever goes on to copy holds a lease at both, taken before.
    ///
    /// # Errors
    /// Fails if a store cannot be read, or something is lost in both.
    pub async fn plan(
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
    ) -> Result<Self, RepositoryError> {
        let snapshots = Repository::snapshot_names(from, None, None).await?;
        // The rest is listed after the commit records were, so nothing they need is overlooked.
        let index = IndexCatalog::read(from).await?;
        let sizes = |listed: Vec<ObjectMeta>| -> BTreeMap<ObjectKey, u64> {
            listed
                .into_iter()
                .map(|meta| (meta.key, meta.size))
                .collect()
        };
        let (there, here) = try_join!(to.list(""), from.list(""))?;
        let (there, here) = (sizes(there), sizes(here));
        let named: BTreeSet<ObjectKey> = index.packs().into_iter().map(layout::pack).collect();
        let lost = |key: &&ObjectKey| !here.contains_key(key) && !there.contains_key(key);
        if let Some(lost) = named.iter().find(lost) {
            let what = format!(
                "it is missing in {}, from which to copy it",
                from.describe()
            );
            return Err(RepositoryError::corrupt(lost, what));
        }
        let revoked = RevokedKeys::between(from, to).await?;
        let indexed: BTreeSet<ObjectKey> = index.objects().map(layout::index).collect();
        refuse_doomed(to, &there, named.iter().chain(&indexed)).await?;
        let metas = |sizes: &BTreeMap<ObjectKey, u64>| -> Vec<ObjectMeta> {
            let listed = sizes.iter();
            listed
                .map(|(key, size)| ObjectMeta {
                    key: key.clone(),
                    size: *size,
                })
                .collect()
        };
        let wal = WalWanted {
            here: WalCatalog::of(&metas(&here)),
            there: WalCatalog::of(&metas(&there)),
        };
        wal.refuse_doomed(from, to, &snapshots, &there).await?;
        let commits: BTreeSet<ObjectKey> = snapshots.iter().map(SnapshotName::key).collect();
        let wanted = |key: &ObjectKey| match ObjectClass::of(key) {
            ObjectClass::Pack => named.contains(key),
            ObjectClass::Index => indexed.contains(key),
            ObjectClass::Snapshot => commits.contains(key),
            ObjectClass::Key => !revoked.left_out.contains(key),
            ObjectClass::Wal => wal.wants(key, here.get(key)),
            ObjectClass::Repository | ObjectClass::Revocation | ObjectClass::Run => true,
            ObjectClass::Receipt
            | ObjectClass::Region
            | ObjectClass::Lease
            | ObjectClass::Tombstone
            | ObjectClass::Unknown => false,
        };
        let mut steps: BTreeMap<ObjectClass, Vec<ObjectMeta>> = BTreeMap::new();
        let mut present = 0;
        for (key, size) in here.iter().filter(|(key, _)| wanted(key)) {
            let (key, size) = (key.clone(), *size);
            match there.get(&key) {
                Some(have) if *have == size => present += 1,
                Some(have) => {
                    let what = format!("it has {have} bytes in {}, {size} here", to.describe());
                    return Err(RepositoryError::corrupt(&key, what));
                }
                None => {
                    let step = steps.entry(ObjectClass::of(&key)).or_default();
                    step.push(ObjectMeta { key, size });
                }
            }
        }
        let records = steps.remove(&ObjectClass::Snapshot).unwrap_or_default();
        // `ObjectClass` orders as copying must.
        let steps = steps.into_values().collect();
        Ok(Self {
            steps,
            records,
            present,
            here,
            snapshots,
            missed_here: revoked.missed_here,
        })
    }

    /// Returns the snapshots that the target will hold.
    pub fn snapshots(&self) -> &[SnapshotName] {
        &self.snapshots
    }

    /// Returns the number of objects that are missing there.
    pub fn objects(&self) -> u64 {
        self.missing().count() as u64
    }

    /// Returns their length together, bytes.
    pub fn bytes(&self) -> u64 {
        self.missing().map(|meta| meta.size).sum()
    }

    /// Returns the length of what is missing there, bytes, without the ledger: each run adds to that,
    /// a replication too.
    pub fn pending_bytes(&self) -> u64 {
        let is_data = |meta: &&ObjectMeta| ObjectClass::of(&meta.key) != ObjectClass::Run;
        self.missing().filter(is_data).map(|meta| meta.size).sum()
    }

    /// Returns the number of revoked keys that the target knows of and the source does not.
    pub fn revocations_missed(&self) -> u64 {
        self.missed_here.len() as u64
    }

    /// Returns the number of objects that are there already.
    pub fn present(&self) -> u64 {
        self.present
    }

    fn missing(&self) -> impl Iterator<Item = &ObjectMeta> {
        self.steps.iter().flatten().chain(&self.records)
    }

    /// Copies everything but the commit records. `advance` is told the bytes of each object.
    ///
    /// # Errors
    /// Fails if an object cannot be copied or is damaged at its source; what was copied stays.
    pub async fn copy_objects(
        &self,
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        limits: &CopyLimits,
        advance: impl Fn(u64),
    ) -> Result<(), RepositoryError> {
        // What a region says of revoked keys goes both ways, and before any key does.
        for key in &self.missed_here {
            copy_object(to, from, key).await?;
        }
        // One step after the other: an index object may only arrive after the packs it names.
        for step in &self.steps {
            copy_checked(from, to, step, limits, &advance).await?;
        }
        Ok(())
    }

    /// Copies the commit records: from then on the snapshots exist in the target, on which `lease` is.
    ///
    /// # Errors
    /// Fails if a record is damaged, a store fails, or the session was fenced.
    pub async fn commit(
        &self,
        from: &dyn ObjectStore,
        lease: &mut Lease,
    ) -> Result<(), RepositoryError> {
        for together in self.records.chunks(RECORDS_AT_ONCE) {
            let mut records = Vec::new();
            for meta in together {
                records.push((meta.key.clone(), read_checked(from, &meta.key).await?));
            }
            lease.commit(records).await?;
        }
        Ok(())
    }

    /// Looks at what the target holds now and writes the receipts that are missing, into both stores.
    /// Returns the snapshots that got theirs now.
    ///
    /// # Errors
    /// Fails if something is missing there, or a store fails.
    pub async fn write_receipts(
        &self,
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        region: &RegionName,
        now: Timestamp,
    ) -> Result<Vec<SnapshotId>, RepositoryError> {
        let before = Receipt::list(to, region).await?;
        let before: BTreeSet<SnapshotId> = before.iter().map(|receipt| receipt.snapshot).collect();
        let closure = Closure::of(to, &self.here).await?;
        let mut new = Vec::new();
        for name in self
            .snapshots
            .iter()
            .filter(|name| !before.contains(&name.id))
        {
            let wal = closure.check(to, name).await?;
            let receipt = closure.receipt(region, name, &wal, now)?;
            // Both regions know: the home can tell what is safe, the replica can prove it alone.
            receipt.write(to).await?;
            receipt.write(from).await?;
            new.push(name.id);
        }
        Ok(new)
    }
}

/// Refuses to count on objects that a prune of the target has marked and not deleted yet.
///
/// A prune that marks them later waits for the lease that was taken before.
async fn refuse_doomed(
    to: &dyn ObjectStore,
    there: &BTreeMap<ObjectKey, u64>,
    wanted: impl Iterator<Item = &ObjectKey>,
) -> Result<(), RepositoryError> {
    let tombstones = Tombstones::read(to).await?;
    let packs = tombstones.packs().into_iter().map(layout::pack);
    let index = tombstones.index().into_iter().map(layout::index);
    let doomed: BTreeSet<ObjectKey> = packs.chain(index).collect();
    let mut counted_on = wanted.filter(|key| there.contains_key(*key));
    if counted_on.any(|key| doomed.contains(key)) || !tombstones.damaged.is_empty() {
        let store = to.describe();
        return Err(RepositoryError::PruneUnfinished { store });
    }
    Ok(())
}

/// What to copy of write-ahead logs.
struct WalWanted {
    here: WalCatalog,
    there: WalCatalog,
}

impl WalWanted {
    /// Reports whether an object is to be copied: not a piece that another object holds.
    fn wants(&self, key: &ObjectKey, size: Option<&u64>) -> bool {
        let meta = ObjectMeta {
            key: key.clone(),
            size: size.copied().unwrap_or(0),
        };
        let parsed = WalPlace::parse(&meta);
        parsed.is_some_and(|(place, object)| {
            let superseded = |catalog: &WalCatalog| catalog.supersedes(&place, &object);
            !superseded(&self.here) && !superseded(&self.there)
        })
    }

    /// Refuses to count on objects for a snapshot that is about to be copied if a prune of the target
    /// has marked them and not deleted them yet.
    async fn refuse_doomed(
        &self,
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
        snapshots: &[SnapshotName],
        there: &BTreeMap<ObjectKey, u64>,
    ) -> Result<(), RepositoryError> {
        let doomed = Tombstones::read(to).await?.wal();
        if doomed.is_empty() {
            return Ok(());
        }
        for name in snapshots
            .iter()
            .filter(|name| !there.contains_key(&name.key()))
        {
            let record = read_checked(from, &name.key()).await?;
            let Some((place, range)) = wal_needed_by(name, &record)? else {
                continue;
            };
            let mut needed = self.there.needed(&place, range);
            if needed.any(|object| doomed.contains(&place.key(object))) {
                let store = to.describe();
                return Err(RepositoryError::PruneUnfinished { store });
            }
        }
        Ok(())
    }
}

/// Reads an object and checks it against the hash in its name, if it has one.
async fn read_checked(store: &dyn ObjectStore, key: &ObjectKey) -> Result<Bytes, RepositoryError> {
    let bytes = store.get(key).await?;
    if ObjectClass::name_matches(key, &bytes) == Some(false) {
        let what = "its bytes do not match its name";
        return Err(RepositoryError::corrupt(key, what));
    }
    Ok(bytes)
}

/// Copies objects in no order, each checked against the hash in its name, if it has one.
///
/// # Errors
/// Fails if an object cannot be copied or is damaged at its source; what was copied stays.
pub async fn copy_checked(
    from: &dyn ObjectStore,
    to: &dyn ObjectStore,
    objects: &[ObjectMeta],
    limits: &CopyLimits,
    advance: &impl Fn(u64),
) -> Result<(), RepositoryError> {
    let budget = MemoryBudget::new(limits.memory_bytes);
    let at_once = limits.at_once.max(1);
    let places = Semaphore::new(at_once);
    let copies = objects.iter().map(|meta| async {
        let _place = match meta.size > SMALL_BYTES_MAX {
            true => Some(places.acquire().await.expect("nobody closes it")),
            false => None,
        };
        let permit = budget.take(meta.size).await;
        if let Some(throttle) = &limits.throttle {
            throttle.take(meta.size).await;
        }
        copy_object(from, to, &meta.key).await?;
        drop(permit);
        advance(meta.size);
        Ok::<_, RepositoryError>(())
    });
    let under_way = limits.small_at_once.max(at_once);
    let copies = stream::iter(copies).buffer_unordered(under_way);
    copies.try_collect::<()>().await
}

pub(crate) async fn copy_object(
    from: &dyn ObjectStore,
    to: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<(), RepositoryError> {
    let bytes = read_checked(from, key).await?;
    if to.put(key, bytes).await? == Put::AlreadyExists {
        // Nobody has looked at what another writer put there meanwhile, and a receipt would vouch for it.
        read_checked(to, key).await?;
    }
    Ok(())
}

/// Copies what makes a store a copy of the repository: `repo.json`, revocations and keys.
///
/// # Errors
/// Fails if an object cannot be copied.
pub async fn copy_basics(
    from: &dyn ObjectStore,
    to: &dyn ObjectStore,
) -> Result<(), RepositoryError> {
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

//! Opening a region: its store, checked to be what the configuration says, and the repository.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use lifeboat_config::{Environment, Place, Region};
use lifeboat_model::{Diagnose as _, ErrorKind, Location, RegionName, error_chain};
use lifeboat_policy::{Placement, place_bucket};
use lifeboat_repository::{
    ObjectClass, RegionMarker, Repository, RepositoryError, Role, Snapshot, StoreIdentity,
};
use lifeboat_storage::{FailoverStore, ListedBy, ObjectKey, ObjectStore, StoreError};
use serde::Serialize;

use crate::error::OperationError;
use crate::keys;
use crate::session::Session;

/// Makes stores of regions. The program decides which kinds there are.
pub trait StoreOpener: Send + Sync {
    /// Opens a region's store, which must exist.
    ///
    /// # Errors
    /// Fails if the store is not there or may not be used.
    fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError>;

    /// Creates a region's store if it does not exist, and opens it.
    ///
    /// # Errors
    /// Fails if the store cannot be created.
    fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError>;
}

/// A region's store with what it says of itself.
#[derive(Clone)]
pub struct Opened {
    /// The region's name.
    pub region: RegionName,
    /// Its store.
    pub store: Arc<dyn ObjectStore>,
    /// What the store says it is.
    pub identity: StoreIdentity,
}

/// Which region is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom<'a> {
    /// This one alone tells what there is; others stand in for what of it cannot be had.
    Region(&'a RegionName),
    /// The environment's home, and what its other regions have besides.
    Anywhere,
}

/// An object that is damaged or missing in one region, and was read from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedCopy {
    /// The region that `repair` should be run on.
    pub region: String,
    /// The object's key.
    pub object: String,
}

impl Opened {
    /// Returns what was found damaged in one region and read from another so far.
    pub(crate) fn damaged_copies(&self) -> Vec<DamagedCopy> {
        let regions = self.store.as_failover();
        let damaged = regions.map(FailoverStore::damaged).unwrap_or_default();
        let copies = damaged.into_iter().map(|one| DamagedCopy {
            region: one.member,
            object: one.key.to_string(),
        });
        copies.collect()
    }

    /// Returns the region to read a snapshot from: the preferred one, or the first of the others if
    /// that does not list it, with a warning. A snapshot may be gone there on purpose.
    pub(crate) fn region_of(&self, snapshot: &Snapshot) -> RegionName {
        let Some(regions) = self.store.as_failover() else {
            return self.region.clone();
        };
        let key = snapshot.name().key();
        if !regions.is_lacking(&key) {
            return self.region.clone();
        }
        let lacking: Vec<&str> = regions.lacking(&key).iter().map(|one| one.name()).collect();
        let mut holders = regions.members().iter();
        let holder = holders.find(|member| !lacking.contains(&member.name()));
        let holder = holder.expect("who lacks it did not list it when another did");
        let (id, of) = (snapshot.id.short(), &snapshot.environment);
        tracing::warn!(
            "region `{0}` does not list snapshot `{id}` of `{of}/{1}`, and `{2}` is read, which does: \
             `lifeboat verify {of} --region {0}` tells whether more is missing there",
            self.region,
            snapshot.source,
            holder.name(),
        );
        let name = holder.name().parse();
        name.expect("members are called by their regions' names")
    }
}

impl Session {
    /// Opens the store of a region and asks it what it is.
    ///
    /// # Errors
    /// Fails if the store is not there, holds no repository, or belongs to another region.
    pub async fn open_region(&self, name: &RegionName) -> Result<Opened, OperationError> {
        let region = self.config.region(name.as_str())?;
        let store = self.open_store(region).await?;
        let identity = Repository::identify(&*store).await?;
        match &identity.region {
            Some(marker) => check_marker(region, marker)?,
            None => {
                return Err(OperationError::RegionMismatch {
                    region: name.clone(),
                    what: "its store has no region marker".to_owned(),
                    hint: "run `lifeboat init` to mark it".to_owned(),
                });
            }
        }
        Ok(Opened {
            region: name.clone(),
            store,
            identity,
        })
    }

    /// Opens a region's store where blocking is allowed: a folder may hang, and is waited for as long as
    /// the caller can wait, not as long as it hangs.
    async fn open_store(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, OperationError> {
        let (stores, region) = (self.stores.clone(), region.clone());
        let name = region.name.clone();
        match tokio::task::spawn_blocking(move || stores.open(&region)).await {
            Ok(opened) => Ok(opened?),
            Err(join) => match join.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(join) => {
                    let kind = ErrorKind::Interrupted;
                    Err(StoreError::new("open", "", name.as_str(), kind, join).into())
                }
            },
        }
    }

    /// Opens the regions of an environment as one to read from: the named one as long as it serves,
    /// and another where it fails or is slow. Whether the others tell what there is, too, is for
    /// `listed_by` to say.
    ///
    /// # Errors
    /// Fails if none can be read, or the named one is not what the configuration says.
    pub async fn open_for_reading(
        &self,
        environment: &Environment,
        name: &RegionName,
        listed_by: ListedBy,
    ) -> Result<Opened, OperationError> {
        // A lease and the ledger's entry of a restore go to every region that is read: to no other
        // than may hold them, then.
        let open = async |one: &RegionName| match one == name {
            true => self.open_region(one).await,
            false => self.open_region_for(environment, one).await,
        };
        let others = environment.regions().filter(|other| *other != name);
        let names: Vec<&RegionName> = std::iter::once(name).chain(others).collect();
        let opens = names.iter().map(|name| in_time(name, open(name)));
        let mut opened = join_all(opens).await.into_iter();
        let named = opened.next().expect("one region was named");
        if listed_by == ListedBy::Any {
            let failed = opened.as_slice().iter().zip(&names[1..]);
            failed.for_each(|(other, name)| warn_if_unknown(name, other));
        }
        let mut found: Vec<Opened> = opened.filter_map(Result::ok).collect();
        match named {
            Ok(named) => found.insert(0, named),
            Err(error) if !is_out_of_reach(&error) || found.is_empty() => return Err(error),
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!("region `{name}` cannot be read, another one is: {error}");
            }
        }
        let first = found[0].clone();
        let same = |one: &Opened| {
            let is_same = one.identity.repository == first.identity.repository;
            if !is_same {
                let (other, first) = (&one.region, &first.region);
                tracing::warn!(
                    "region `{other}` holds another repository than `{first}` and is not read: correct \
                     its `url`, or give it a store of its own"
                );
            }
            is_same
        };
        let stores: Vec<_> = found
            .into_iter()
            .filter(same)
            .map(|one| (one.region.to_string(), one.store))
            .collect();
        if stores.len() == 1 {
            return Ok(first);
        }
        Ok(Opened {
            store: as_one(stores, listed_by),
            ..first
        })
    }

    /// Opens an environment's repository to be read from the preferred region, and from others for what
    /// that one fails to give.
    ///
    /// # Errors
    /// Fails as [`Session::open_for_reading`] and [`Session::open_repository`] do.
    pub(crate) async fn open_anywhere(
        &self,
        environment: &Environment,
        preferred: &RegionName,
        listed_by: ListedBy,
    ) -> Result<(Opened, Repository), OperationError> {
        let opened = self
            .open_for_reading(environment, preferred, listed_by)
            .await?;
        let repository = self
            .open_repository(environment, &opened, Role::Reader)
            .await?;
        Ok((opened, repository))
    }

    /// Returns which region is read: the one of that name, or any.
    ///
    /// # Errors
    /// Fails if the configuration knows no such region.
    pub fn read_from(&self, region: Option<&str>) -> Result<ReadFrom<'_>, OperationError> {
        Ok(match region {
            Some(name) => ReadFrom::Region(&self.config.region(name)?.name),
            None => ReadFrom::Anywhere,
        })
    }

    /// Opens a region for writing an environment's data: residency is decided before anything else.
    ///
    /// # Errors
    /// Fails as [`Session::open_region`] does, or if the environment's data must not lie there.
    pub async fn open_region_for(
        &self,
        environment: &Environment,
        name: &RegionName,
    ) -> Result<Opened, OperationError> {
        let opened = self.open_region(name).await?;
        let location = self.prove_location(environment, &opened).await?;
        environment
            .residency
            .decide(location.as_ref())
            .map_err(|source| OperationError::Residency {
                region: name.clone(),
                environment: environment.name.to_string(),
                source,
            })?;
        Ok(opened)
    }

    /// Finds out where a region lies by asking its store: its own word counts, not the
    /// configuration's. `None` if it cannot tell.
    pub(crate) async fn prove_location(
        &self,
        environment: &Environment,
        opened: &Opened,
    ) -> Result<Option<Location>, OperationError> {
        let region = self.config.region(opened.region.as_str())?;
        let marker = opened.identity.region.as_ref();
        let declared = marker.map(|marker| marker.location.clone());
        let Place::Bucket(bucket) = &region.place else {
            return Ok(declared);
        };
        let told = match opened.store.location().await {
            Ok(told) => told,
            // Without a residency to keep, a missing right to ask is no harm.
            Err(error)
                if error.kind() == ErrorKind::Denied && environment.residency.is_unrestricted() =>
            {
                None
            }
            Err(error) => return Err(RepositoryError::from(error).into()),
        };
        let named = bucket.s3_region.as_deref();
        match place_bucket(told.as_deref(), &region.location, named) {
            Placement::Confirmed => Ok(declared),
            Placement::Unknown => Ok(None),
            Placement::Contradicted { why } => Err(OperationError::RegionMismatch {
                region: opened.region.clone(),
                what: why,
                hint: "correct `location` and `s3_region`, or use another bucket".to_owned(),
            }),
        }
    }

    /// Opens the repository in a region with the least of the configured keys that can do `role`'s
    /// work.
    ///
    /// # Errors
    /// Fails if no such key is configured or to be had, or it belongs to another repository.
    pub async fn open_repository(
        &self,
        environment: &Environment,
        opened: &Opened,
        role: Role,
    ) -> Result<Repository, OperationError> {
        let credential = keys::credential(self, environment, role)?;
        Ok(Repository::open(opened.store.clone(), &credential, self.world.clone()).await?)
    }
}

/// Joins stores of one repository, with their regions' names, to be read as one.
pub(crate) fn as_one(
    stores: Vec<(String, Arc<dyn ObjectStore>)>,
    listed_by: ListedBy,
) -> Arc<dyn ObjectStore> {
    let sound =
        |key: &ObjectKey, bytes: &[u8]| ObjectClass::name_matches(key, bytes) != Some(false);
    Arc::new(FailoverStore::new(stores, sound).with_listed_by(listed_by))
}

/// How long a region may take to open when there are others.
const OPEN_WITHIN: Duration = Duration::from_secs(15);

/// Gives up on a region that takes too long to open.
pub(crate) async fn in_time<T>(
    name: &RegionName,
    open: impl Future<Output = Result<T, OperationError>>,
) -> Result<T, OperationError> {
    let opened = tokio::time::timeout(OPEN_WITHIN, open).await;
    opened.unwrap_or_else(|_| Err(too_slow(name)))
}

fn too_slow(name: &RegionName) -> OperationError {
    let why = "it did not answer in time";
    let error = StoreError::new("open", "", name.as_str(), ErrorKind::Transient, why);
    RepositoryError::from(error).into()
}

/// Tells whether the fault is that a region does not serve, and not that it is the wrong one.
fn is_out_of_reach(error: &OperationError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Transient | ErrorKind::Denied | ErrorKind::NoRepository | ErrorKind::NotFound
    )
}

/// Warns of a region of which nobody can say what it has. One without a repository has nothing.
fn warn_if_unknown(name: &RegionName, opened: &Result<Opened, OperationError>) {
    match opened {
        Ok(_) | Err(OperationError::Repository(RepositoryError::NoRepository { .. })) => {}
        Err(error) => {
            let error = error_chain(error);
            tracing::warn!("what region `{name}` alone has is not considered: {error}");
        }
    }
}

fn check_marker(region: &Region, marker: &RegionMarker) -> Result<(), OperationError> {
    let mismatch = |what: String, hint: &str| {
        Err(OperationError::RegionMismatch {
            region: region.name.clone(),
            what,
            hint: hint.to_owned(),
        })
    };
    if marker.region != region.name {
        return mismatch(
            format!("its store says it is `{}`", marker.region),
            "two regions may have been given each other's `url`",
        );
    }
    if marker.location != region.location {
        return mismatch(
            format!(
                "its store lies in `{}`, the configuration says `{}`",
                marker.location, region.location
            ),
            "correct `location` in the configuration; a store's own word counts",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use lifeboat_config::Config;
    use lifeboat_runtime::{ComputePool, ManualClock, NoProgress, SeededEntropy, Variables, World};

    use super::*;

    /// A folder that hangs until the other end of the channel is gone.
    struct Hanging(Mutex<Receiver<()>>);

    impl StoreOpener for Hanging {
        fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
            let end = self.0.lock().unwrap();
            end.recv_timeout(Duration::from_secs(5)).ok();
            let (name, kind) = (region.name.as_str(), ErrorKind::Transient);
            Err(StoreError::new("open", "", name, kind, "it hung"))
        }

        fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
            self.open(region)
        }
    }

    #[tokio::test]
    async fn a_folder_that_hangs_while_it_is_opened_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "version = 1\nproject = \"test\"\n[region.home]\nurl = \"home\"\nlocation = \"eu\"\n";
        std::fs::write(dir.path().join("lifeboat.toml"), text).unwrap();
        let (hangs, end) = channel();
        let session = Session {
            config: Arc::new(Config::load(dir.path(), &[], &[]).unwrap().config),
            world: World {
                clock: Arc::new(ManualClock::new("2026-11-20T10:05:00Z".parse().unwrap())),
                entropy: Arc::new(SeededEntropy::new(1)),
                pool: ComputePool::inline(),
            },
            variables: Arc::new(Variables::default()),
            stores: Arc::new(Hanging(Mutex::new(end))),
            progress: Arc::new(NoProgress),
            host: "one".to_owned(),
            operator: "tester".to_owned(),
            program: "test".to_owned(),
            job: None,
        };
        let home = "home".parse().unwrap();
        let limit = Duration::from_millis(100);
        let opened = tokio::time::timeout(limit, session.open_region(&home)).await;
        assert!(opened.is_err(), "the limit did not fire");
        drop(hangs);
    }
}

//! Opening a region: its store, checked to be what the configuration says, and the repository.

use std::sync::Arc;

use lifeboat_config::{Environment, Region};
use lifeboat_model::RegionName;
use lifeboat_repository::{RegionMarker, Repository, Role, StoreIdentity};
use lifeboat_storage::{ObjectStore, StoreError};

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

impl Session {
    /// Opens the store of a region and asks it what it is.
    ///
    /// # Errors
    /// Fails if the store is not there, holds no repository, or belongs to another region.
    pub async fn open_region(&self, name: &RegionName) -> Result<Opened, OperationError> {
        let region = self.config.region(name.as_str())?;
        let store = self.stores.open(region)?;
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
        // The store's own word counts, not the configuration's.
        let location = opened
            .identity
            .region
            .as_ref()
            .map(|marker| &marker.location);
        environment
            .residency
            .decide(location)
            .map_err(|source| OperationError::Residency {
                region: name.clone(),
                environment: environment.name.to_string(),
                source,
            })?;
        Ok(opened)
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

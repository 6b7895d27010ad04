//! Recovering without a project: one region's folder and one key are all that is left.

use std::path::Path;

use lifeboat_config::Region;
use lifeboat_model::{EntryPath, EnvironmentName, RegionName, SourceName};
use lifeboat_repository::{Listing, Repository};
use lifeboat_runtime::SecretRef;
use lifeboat_source_files::PathFilter;

use crate::browse::View;
use crate::error::OperationError;
use crate::keys::parse_credential;
use crate::restore::{RestoreReport, restore_snapshot};
use crate::select::RestorePoint;
use crate::session::Session;

/// A repository that was opened by its place and a key, without any configuration.
pub struct Rescue {
    region: RegionName,
    repository: Repository,
}

impl Session {
    /// Opens the repository in a folder with a key file or a file that holds the recovery code.
    ///
    /// # Errors
    /// Fails if the folder holds no repository, or the key is no key or another repository's.
    pub async fn rescue(&self, from: &Path, key_file: &Path) -> Result<Rescue, OperationError> {
        let place = Region {
            name: "rescued".parse().expect("it is a name"),
            url: from.display().to_string(),
            path: from.to_owned(),
            location: "unknown".parse().expect("it is a name"),
        };
        let store = self.stores.open(&place)?;
        let identity = Repository::identify(&*store).await?;
        let secret = SecretRef::File(key_file.to_owned())
            .fetch(Path::new("."), &self.variables)
            .map_err(|source| OperationError::Secret {
                role: "given",
                source,
            })?;
        let credential = parse_credential(&secret, "given key")?;
        let repository = Repository::open(store, &credential, self.world.clone()).await?;
        let region = identity.region.map_or(place.name, |marker| marker.region);
        Ok(Rescue { region, repository })
    }
}

impl Rescue {
    /// Makes the region ready to be looked into.
    pub(crate) fn into_view(self) -> View {
        View {
            region: self.region,
            repository: self.repository,
        }
    }

    /// Lists every snapshot in the repository, oldest first, the damaged ones apart.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn listing(&self) -> Result<Listing, OperationError> {
        Ok(self.repository.listing(None, None).await?)
    }

    /// Restores one snapshot. Whoever holds the key decides where to; no configuration can object.
    ///
    /// # Errors
    /// Fails if there is no such snapshot, the target is in use, or anything is damaged.
    pub async fn restore(
        &self,
        session: &Session,
        (environment, source): (&EnvironmentName, &SourceName),
        point: &RestorePoint,
        target: &Path,
        paths: &[String],
    ) -> Result<RestoreReport, OperationError> {
        let now = session.world.clock.now();
        let snapshot = point
            .find(&self.repository, environment, source, now)
            .await?;
        let filter = PathFilter::new(paths)?;
        let wanted = |path: &EntryPath| filter.is_match(path);
        restore_snapshot(
            &self.repository,
            &snapshot,
            &self.region,
            target,
            wanted,
            session,
        )
        .await
    }
}

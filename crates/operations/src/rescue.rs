//! Recovering without a project: one region's folder or bucket and one key are all that is left.

use std::path::Path;

use lifeboat_config::Region;
use lifeboat_model::{EnvironmentName, RegionName, SourceName};
use lifeboat_repository::{Credential, Listing, PassphraseFor, Repository, Snapshot};
use lifeboat_runtime::SecretRef;
use lifeboat_source_files::PathFilter;

use crate::browse::View;
use crate::cluster::{ClusterRestore, Recovery};
use crate::delta::{Delta, DeltaReport};
use crate::error::OperationError;
use crate::keys::{KeySource, PASSPHRASE, parse_credential};
use crate::restore::{Onto, RestoreReport, preview_snapshot, restore_snapshot};
use crate::restore_target::refuse_precious;
use crate::select::RestorePoint;
use crate::session::Session;

/// A repository that was opened by its place and a key, without any configuration.
pub struct Rescue {
    region: RegionName,
    repository: Repository,
}

/// What to restore without a project, and where to.
#[derive(Debug, Clone)]
pub struct RescueRequest<'a> {
    /// The environment and the source.
    pub source: (&'a EnvironmentName, &'a SourceName),
    /// Which state.
    pub point: &'a RestorePoint,
    /// Where it goes.
    pub target: &'a Path,
    /// Globs that pick entries of a folder; none picks everything.
    pub paths: &'a [String],
    /// Bring what is at the target to the snapshot's state, instead of asking for an empty one.
    pub delta: Option<Delta>,
    /// What only a cluster can be asked for.
    pub cluster: &'a ClusterRestore,
}

/// What a restore was decided to be.
struct Decided {
    snapshot: Snapshot,
    recovery: Option<Recovery>,
    filter: PathFilter,
}

impl Session {
    /// Opens the repository in a folder or bucket with a key file, a file that holds the recovery code, or
    /// `passphrase:` and a reference.
    ///
    /// # Errors
    /// Fails if the place holds no repository, or the key is no key or another repository's.
    pub async fn rescue(&self, from: &Path, key_file: &Path) -> Result<Rescue, OperationError> {
        let url = from.to_string_lossy();
        let place =
            Region::of_url(&url, &self.config.root).map_err(|message| OperationError::Usage {
                message,
                hint: "give a folder, or `s3://BUCKET/PREFIX`".to_owned(),
            })?;
        let store = self.stores.open(&place)?;
        let identity = Repository::identify(&*store).await?;
        // A passphrase that somebody remembers may be the only key left.
        let source = match key_file.to_str() {
            Some(text) if text.starts_with(PASSPHRASE) => text.parse()?,
            _ => KeySource::Text(SecretRef::File(key_file.to_owned())),
        };
        let secret = source.fetch(Path::new("."), self, "given")?;
        let credential = match source {
            KeySource::Text(_) => parse_credential(&secret, "given key")?,
            KeySource::Passphrase(key, _) => {
                let wanted = PassphraseFor { role: None, key };
                Credential::Passphrase(secret, wanted, "given passphrase".to_owned())
            }
        };
        let repository = Repository::open(store, &credential, self.world.clone()).await?;
        let region = identity.region.map_or(place.name, |marker| marker.region);
        Ok(Rescue { region, repository })
    }
}

impl Rescue {
    /// Returns the repository that was opened.
    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

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
        request: &RescueRequest<'_>,
    ) -> Result<RestoreReport, OperationError> {
        let decided = self.prepare(session, request).await?;
        let onto = self.onto(request, &decided);
        restore_snapshot(&self.repository, &decided.snapshot, &onto, session).await
    }

    /// Tells what [`Rescue::restore`] would do to what is there. Changes nothing.
    ///
    /// # Errors
    /// Fails as that does.
    pub async fn preview(
        &self,
        session: &Session,
        request: &RescueRequest<'_>,
    ) -> Result<DeltaReport, OperationError> {
        let decided = self.prepare(session, request).await?;
        let onto = self.onto(request, &decided);
        preview_snapshot(&self.repository, &decided.snapshot, &onto, session).await
    }

    async fn prepare(
        &self,
        session: &Session,
        request: &RescueRequest<'_>,
    ) -> Result<Decided, OperationError> {
        if request.delta.is_some() {
            refuse_precious(session, request.target)?;
        }
        let now = session.world.clock.now();
        let (point, of) = (request.point, request.source);
        let (snapshot, recovery) = point
            .choose(&self.repository, of, request.cluster, now)
            .await?;
        Ok(Decided {
            snapshot,
            recovery,
            filter: PathFilter::new(request.paths)?,
        })
    }

    fn onto<'a>(&'a self, request: &RescueRequest<'a>, decided: &'a Decided) -> Onto<'a> {
        Onto {
            region: &self.region,
            target: request.target,
            filter: &decided.filter,
            delta: request.delta,
            cluster: decided.recovery.as_ref().zip(Some(&request.cluster.log)),
        }
    }
}

//! Creating the repository of a project in all its regions, and its keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_config::{KeyRefs, Region};
use lifeboat_model::{RegionName, RepositoryId};
use lifeboat_repository::{NewKeys, Repository, RepositoryError, Role};
use lifeboat_runtime::{SecretBytes, SecretRef};
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use crate::error::OperationError;
use crate::key::file;
use crate::session::Session;
use lifeboat_repository::copy_basics;

/// What an initialization will do.
#[derive(Debug, Clone, Serialize)]
pub struct InitPlan {
    /// The region where the repository is created.
    pub first: RegionName,
    /// The regions that get a copy of its basics.
    pub others: Vec<RegionName>,
    /// The key files that will be written.
    pub key_files: Vec<PathBuf>,
    #[serde(skip)]
    writes: Vec<(Role, PathBuf)>,
}

/// What an initialization did.
#[derive(Debug, Serialize)]
pub struct InitReport {
    /// The repository's id.
    pub repository: RepositoryId,
    /// Whether it was made now; else it was there before and only other regions may have got it.
    pub created: bool,
    /// The regions that hold it now.
    pub regions: Vec<RegionName>,
    /// The key files that were written.
    pub key_files: Vec<PathBuf>,
    /// The root secret, shown once; keep it on paper. `None` if the repository existed before.
    #[serde(skip)]
    pub recovery_code: Option<SecretBytes>,
    /// What failed after the keys were made; running `init` again goes on from there.
    #[serde(skip)]
    pub failure: Option<OperationError>,
}

impl Session {
    /// Plans the creation of the project's repository.
    ///
    /// # Errors
    /// Fails if no region is configured, or a key cannot be written where the configuration says.
    pub fn plan_init(&self) -> Result<InitPlan, OperationError> {
        let environments = self.config.environments.values();
        let home = environments.map(|environment| &environment.home).next();
        let Some(first) = home.or(self.config.regions.keys().next()).cloned() else {
            return Err(OperationError::Usage {
                message: "no region is configured".to_owned(),
                hint: "add `[region.NAME]` with `url` and `location` to lifeboat.toml".to_owned(),
            });
        };
        let others = self
            .config
            .regions
            .keys()
            .filter(|name| **name != first)
            .cloned()
            .collect();
        let writes = key_files(&self.config.keys, &self.config.root)?;
        let key_files = writes.iter().map(|(_, path)| path.clone()).collect();
        Ok(InitPlan {
            first,
            others,
            key_files,
            writes,
        })
    }

    /// Creates the repository, or brings its basics to regions that lack them.
    ///
    /// Once keys exist they are in the report, whatever fails afterwards: they are shown once.
    ///
    /// # Errors
    /// Fails if a region cannot be written, belongs to another repository, or a key file exists.
    pub async fn init(&self, plan: &InitPlan) -> Result<InitReport, OperationError> {
        let first = self.config.region(plan.first.as_str())?;
        let store = self.stores.create(first)?;
        // Every other region is opened before anything is made, so that a mistake is told in time.
        let mut others = Vec::new();
        for name in &plan.others {
            let region = self.config.region(name.as_str())?;
            others.push((region, self.stores.create(region)?));
        }
        let mut report = match Repository::identify(&*store).await {
            Ok(identity) => self.found(plan, identity.repository)?,
            Err(RepositoryError::NoRepository { .. }) => self.made(plan, first, &store).await?,
            Err(error) => return Err(error.into()),
        };
        let spread = async {
            for (region, other) in others {
                let (name, location) = (region.name.clone(), region.location.clone());
                Repository::claim_region(&*other, report.repository, name, location).await?;
                copy_basics(&*store, &*other).await?;
                report.regions.push(region.name.clone());
            }
            Ok(())
        };
        if let Err(error) = spread.await {
            // A key that could not be written weighs more: it was the only copy.
            report.failure.get_or_insert(error);
        }
        Ok(report)
    }

    /// Reports a repository that was there before. Keys that are missing cannot be made again.
    fn found(
        &self,
        plan: &InitPlan,
        repository: RepositoryId,
    ) -> Result<InitReport, OperationError> {
        if !plan.writes.is_empty() && plan.writes.iter().all(|(_, path)| !path.exists()) {
            return Err(OperationError::Usage {
                message: format!(
                    "region `{}` holds repository `{repository}`, and none of its keys is here",
                    plan.first
                ),
                hint: "bring its key files, or issue others with the recovery code \
                       (`lifeboat key create`); an empty folder makes a new repository"
                    .to_owned(),
            });
        }
        Ok(InitReport {
            repository,
            created: false,
            regions: vec![plan.first.clone()],
            key_files: Vec::new(),
            recovery_code: None,
            failure: None,
        })
    }

    /// Makes the repository and its keys.
    async fn made(
        &self,
        plan: &InitPlan,
        first: &Region,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<InitReport, OperationError> {
        refuse_existing(&plan.writes)?;
        for (_, path) in &plan.writes {
            file::prepare(path)?;
        }
        let (repository, keys) = self.create_repository(first, store).await?;
        let written = plan
            .writes
            .iter()
            .map(|(role, path)| file::write(path, &key_text(&keys, *role)));
        let failure = written.collect::<Result<Vec<()>, _>>().err();
        Ok(InitReport {
            repository,
            created: true,
            regions: vec![plan.first.clone()],
            key_files: plan.key_files.clone(),
            recovery_code: Some(keys.root.recovery_code()),
            failure,
        })
    }

    async fn create_repository(
        &self,
        region: &Region,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<(RepositoryId, NewKeys), OperationError> {
        let (name, location) = (region.name.clone(), region.location.clone());
        let created = Repository::create(store.clone(), name, location, self.world.clone());
        let (repository, keys) = created.await?;
        Ok((repository.id(), keys))
    }
}

/// The files that the configuration expects keys in.
fn key_files(keys: &KeyRefs, root: &Path) -> Result<Vec<(Role, PathBuf)>, OperationError> {
    let mut files = Vec::new();
    for (role, reference) in [
        (Role::Writer, &keys.writer),
        (Role::Reader, &keys.reader),
        (Role::Auditor, &keys.auditor),
        (Role::Pruner, &keys.pruner),
    ] {
        let Some(located) = reference else { continue };
        match located.value.parse() {
            Ok(SecretRef::File(path)) => files.push((role, root.join(path))),
            // Keys that come from elsewhere cannot be put there by us.
            _ => {
                return Err(OperationError::Usage {
                    message: format!("the {role} key is to come from `{}`", located.value),
                    hint:
                        "for `init` let it be `file:PATH`; move the key into the vault afterwards \
                           and change the reference"
                            .to_owned(),
                });
            }
        }
    }
    Ok(files)
}

fn refuse_existing(writes: &[(Role, PathBuf)]) -> Result<(), OperationError> {
    match writes.iter().find(|(_, path)| path.exists()) {
        Some((_, path)) => Err(OperationError::Usage {
            message: format!("the key file `{}` exists already", path.display()),
            hint: "it may open another repository: move it away before a new one is created"
                .to_owned(),
        }),
        None => Ok(()),
    }
}

fn key_text(keys: &NewKeys, role: Role) -> SecretBytes {
    let found = keys.secrets.iter().find(|(have, _)| *have == role);
    found
        .expect("a new repository has a key for each daily role")
        .1
        .to_text()
}

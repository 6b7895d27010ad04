//! Creating the repository of a project in all its regions, and its keys.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_config::{KeyRefs, Region};
use lifeboat_model::RegionName;
use lifeboat_repository::{NewKeys, Repository, RepositoryError, Role};
use lifeboat_runtime::{SecretBytes, SecretRef};
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use crate::error::OperationError;
use crate::replicate::copy_basics;
use crate::session::Session;

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
    pub repository: lifeboat_model::RepositoryId,
    /// The regions that hold it now.
    pub regions: Vec<RegionName>,
    /// The key files that were written.
    pub key_files: Vec<PathBuf>,
    /// The root secret, shown once; keep it on paper. `None` if the repository existed before.
    #[serde(skip)]
    pub recovery_code: Option<SecretBytes>,
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
    /// # Errors
    /// Fails if a region cannot be written, belongs to another repository, or a key file exists.
    pub async fn init(&self, plan: &InitPlan) -> Result<InitReport, OperationError> {
        let first = self.config.region(plan.first.as_str())?;
        let store = self.stores.create(first)?;
        let (repository, recovery_code, key_files) = match Repository::identify(&*store).await {
            Ok(identity) => (identity.repository, None, Vec::new()),
            Err(RepositoryError::NoRepository { .. }) => {
                refuse_existing(&plan.writes)?;
                let keys = self.create_repository(first, &store).await?;
                for (role, path) in &plan.writes {
                    write_key(path, &key_text(&keys, *role))?;
                }
                let id = Repository::identify(&*store).await?.repository;
                (id, Some(keys.root.recovery_code()), plan.key_files.clone())
            }
            Err(error) => return Err(error.into()),
        };
        for name in &plan.others {
            let region = self.config.region(name.as_str())?;
            let other = self.stores.create(region)?;
            let (name, location) = (region.name.clone(), region.location.clone());
            Repository::claim_region(&*other, repository, name, location).await?;
            copy_basics(&*store, &*other).await?;
        }
        let regions = std::iter::once(&plan.first)
            .chain(&plan.others)
            .cloned()
            .collect();
        Ok(InitReport {
            repository,
            regions,
            key_files,
            recovery_code,
        })
    }

    async fn create_repository(
        &self,
        region: &Region,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<NewKeys, OperationError> {
        let (name, location) = (region.name.clone(), region.location.clone());
        let created = Repository::create(store.clone(), name, location, self.world.clone());
        Ok(created.await?.1)
    }
}

/// The files that the configuration expects keys in.
fn key_files(keys: &KeyRefs, root: &Path) -> Result<Vec<(Role, PathBuf)>, OperationError> {
    let mut files = Vec::new();
    for (role, reference) in [
        (Role::Writer, &keys.writer),
        (Role::Reader, &keys.reader),
        (Role::Auditor, &keys.auditor),
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

fn write_key(path: &Path, text: &SecretBytes) -> Result<(), OperationError> {
    let failed = |error| OperationError::io("write the key file", path, error);
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.expose()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.sync_all().map_err(failed)
}

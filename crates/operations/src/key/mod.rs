//! Managing keys: who may do what in the repository, in all of its regions at once.
//!
//! Keys belong to the repository, not to an environment, so these verbs go to every region that the
//! project names. Secrets pass through here to the caller and to key files, and nowhere else.

mod create;
mod export;
pub(crate) mod file;
mod list;
mod revoke;

pub use create::{KeyCreatePlan, KeyCreateReport, KeyRequest};
pub use export::KeyExport;
pub use list::{DamagedKey, KeyEntry, KeyListing};
pub use revoke::{KeyRevokePlan, KeyRevokeReport, RevokedRegion};

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose as _, RegionName, RepositoryId, error_chain};
use lifeboat_repository::{Credential, Repository, Role, RootSecret};
use lifeboat_runtime::SecretRef;
use serde::Serialize;

use crate::error::OperationError;
use crate::keys::{self, KeySource};
use crate::place::Opened;
use crate::session::Session;

/// A region that could not be asked or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// The region.
    pub region: RegionName,
    /// Why, and what to do.
    pub why: String,
}

impl Unreached {
    fn new(region: &RegionName, error: &OperationError) -> Self {
        let why = match error.hint() {
            Some(hint) => format!("{} (hint: {hint})", error_chain(error)),
            None => error_chain(error),
        };
        Self {
            region: region.clone(),
            why,
        }
    }
}

/// The project's regions, as far as they are to be had now. Home first.
struct Regions {
    reached: Vec<Opened>,
    unreached: Vec<Unreached>,
}

impl Regions {
    /// Opens every region of the project.
    ///
    /// Fails only if none can be opened: what one region holds is told without the others.
    async fn open(session: &Session) -> Result<Self, OperationError> {
        let (mut reached, mut unreached) = (Vec::<Opened>::new(), Vec::new());
        let mut first_error = None;
        for name in region_names(session) {
            let opened = session.open_region(name).await;
            let repository = reached.first().map(|first| first.identity.repository);
            match opened.and_then(|opened| same_repository(opened, repository)) {
                Ok(opened) => reached.push(opened),
                Err(error) => {
                    unreached.push(Unreached::new(name, &error));
                    first_error = first_error.or(Some(error));
                }
            }
        }
        match (reached.is_empty(), first_error) {
            (true, Some(error)) => Err(error),
            (true, None) => Err(OperationError::Usage {
                message: "no region is configured".to_owned(),
                hint: "add `[region.NAME]` with `url` and `location` to lifeboat.toml".to_owned(),
            }),
            (false, _) => Ok(Self { reached, unreached }),
        }
    }

    /// Opens the repository with the root secret, in the first region there is.
    async fn open_root(
        &self,
        session: &Session,
        root: RootSecret,
    ) -> Result<Repository, OperationError> {
        let store = self.reached[0].store.clone();
        let credential = Credential::Root(root);
        Ok(Repository::open(store, &credential, session.world.clone()).await?)
    }
}

/// The names of the project's regions; the one that copies are taken from comes first.
fn region_names(session: &Session) -> Vec<&RegionName> {
    let config = &session.config;
    let homes = config.environments.values().map(|known| &known.home);
    let mut names: Vec<&RegionName> = Vec::new();
    for name in homes.take(1).chain(config.regions.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn same_repository(
    opened: Opened,
    expected: Option<RepositoryId>,
) -> Result<Opened, OperationError> {
    match expected {
        Some(expected) if expected != opened.identity.repository => {
            Err(OperationError::RegionMismatch {
                what: "it holds another repository".to_owned(),
                hint: format!("give `{}` a place of its own", opened.region),
                region: opened.region,
            })
        }
        _ => Ok(opened),
    }
}

/// Fetches the root secret: from the file named, else from where the configuration says.
fn root_secret(session: &Session, file: Option<&Path>) -> Result<RootSecret, OperationError> {
    let credential = match (file, &session.config.keys.root) {
        (Some(file), _) => {
            let source = KeySource::Text(SecretRef::File(file.to_owned()));
            let secret = source.fetch(Path::new("."), session, "root")?;
            keys::parse_credential(&secret, "root key")?
        }
        (None, Some(reference)) => keys::fetch(session, Role::Root, reference)?,
        (None, None) => {
            return Err(OperationError::NoKey {
                action: "issue or revoke keys",
                role: "root",
            });
        }
    };
    match credential {
        Credential::Root(root) => Ok(root),
        Credential::Key(..) | Credential::Passphrase(..) => Err(OperationError::Usage {
            message: "what was given as the root key is not the recovery code".to_owned(),
            hint: "it begins with LIFEBOAT-ROOT-; no other key can issue or revoke keys".to_owned(),
        }),
    }
}

/// Fails if a key would lie inside a region: it is stolen together with what it opens.
fn refuse_beside_data(session: &Session, path: &Path) -> Result<(), OperationError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let mut regions = session.config.regions.values();
    match regions.find(|region| region.holds(&path)) {
        Some(region) => Err(OperationError::Usage {
            message: format!("`{}` lies inside region `{}`", path.display(), region.name),
            hint: "keep keys away from the data they open".to_owned(),
        }),
        None => Ok(()),
    }
}

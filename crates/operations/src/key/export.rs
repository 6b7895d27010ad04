//! Printing a secret again, for paper or a vault: only what the caller holds already.
//!
//! The repository holds no secret that could be printed. So a key that nobody here holds is beyond
//! help, and the answer is to issue another.

use std::path::Path;

use lifeboat_config::Located;
use lifeboat_model::{KeyId, RegionName};
use lifeboat_repository::{Credential, KeySecret, Repository, Role};
use lifeboat_runtime::SecretBytes;
use serde::Serialize;

use super::{Regions, root_secret};
use crate::error::OperationError;
use crate::keys::{self, KeySource};
use crate::session::Session;

/// A secret that was printed again.
#[derive(Debug, Serialize)]
pub struct KeyExport {
    /// The key it belongs to; `None` for the root secret, which is in no object.
    pub key: Option<KeyId>,
    /// What it may do.
    pub role: Role,
    /// The region in which it was seen to open the repository; `None` if none could be asked.
    pub opens_in: Option<RegionName>,
    /// The text.
    #[serde(skip)]
    pub text: SecretBytes,
}

impl Session {
    /// Fetches a configured secret in the form that is printed: `root`, a role's, or a key's by id.
    ///
    /// # Errors
    /// Fails if the secret is not to be had here, comes from a passphrase, or opens nothing.
    pub async fn key_export(
        &self,
        which: &str,
        root: Option<&Path>,
    ) -> Result<KeyExport, OperationError> {
        let (configured, credential) = match which.parse() {
            Ok(Role::Root) => (Role::Root, Credential::Root(root_secret(self, root)?)),
            Ok(role) => (role, named(role, self.of_role(role)?)),
            Err(_) => {
                let (role, secret) = self.of_id(which)?;
                (role, named(role, secret))
            }
        };
        // A sheet of paper that opens nothing is found out too late.
        let (role, opens_in) = match Regions::open(self).await {
            Err(_) => (configured, None),
            Ok(regions) => {
                let first = &regions.reached[0];
                let world = self.world.clone();
                let opened = Repository::open(first.store.clone(), &credential, world).await?;
                (opened.role(), Some(first.region.clone()))
            }
        };
        let (key, text) = match &credential {
            Credential::Root(secret) => (None, secret.recovery_code()),
            Credential::Key(secret, _) => (Some(secret.key()), secret.to_text()),
            Credential::Passphrase(..) => return Err(no_text(role)),
        };
        Ok(KeyExport {
            key,
            role,
            opens_in,
            text,
        })
    }

    /// Fetches the key that the configuration names for a role.
    fn of_role(&self, role: Role) -> Result<KeySecret, OperationError> {
        let configured = keys::candidates(&self.config.keys);
        let found = configured.into_iter().find(|(have, _)| *have == role);
        let Some(reference) = found.and_then(|(_, reference)| reference) else {
            return Err(OperationError::NoKey {
                action: "be printed",
                role: role.as_str(),
            });
        };
        self.secret_at(role, reference)?
            .ok_or_else(|| no_text(role))
    }

    /// Finds the configured key with this id.
    fn of_id(&self, id: &str) -> Result<(Role, KeySecret), OperationError> {
        let environments = self.config.environments.values().map(|known| &known.keys);
        for keys in std::iter::once(&self.config.keys).chain(environments) {
            for (role, reference) in keys::candidates(keys) {
                let Some(reference) = reference else { continue };
                // A key that is not on this host, or no key at all, is not the one asked for.
                if let Ok(Some(secret)) = self.secret_at(role, reference)
                    && secret.key().to_string().starts_with(id)
                    && !id.is_empty()
                {
                    return Ok((role, secret));
                }
            }
        }
        Err(OperationError::Usage {
            message: format!("no key `{id}` is among those that the configuration names here"),
            hint: "a key's secret is in no repository: only who holds it can print it; \
                   `lifeboat key create` issues another"
                .to_owned(),
        })
    }

    /// Fetches a key secret; `None` if the reference yields something else.
    fn secret_at(
        &self,
        role: Role,
        reference: &Located<String>,
    ) -> Result<Option<KeySecret>, OperationError> {
        if let KeySource::Passphrase(..) = reference.value.parse()? {
            return Ok(None);
        }
        match keys::fetch(self, role, reference)? {
            Credential::Key(secret, _) => Ok(Some(secret)),
            Credential::Root(_) | Credential::Passphrase(..) => Ok(None),
        }
    }
}

fn named(role: Role, secret: KeySecret) -> Credential {
    Credential::Key(secret, format!("{role} key"))
}

fn no_text(role: Role) -> OperationError {
    OperationError::Usage {
        message: format!("what is configured as the {role} key is no key in its text form"),
        hint: "if it is a passphrase, keep that: there is nothing else to print".to_owned(),
    }
}

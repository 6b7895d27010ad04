//! Revoking a key: from then on it opens nothing, in every region that was told.
//!
//! It cannot take back what was opened before. So the report says which regions were told, and which
//! were not.

use std::path::Path;

use jiff::Timestamp;
use lifeboat_model::{KeyId, RegionName};
use lifeboat_repository::{KeyInfo, Repository, Revocation, Role};
use serde::Serialize;

use super::list::RegionKeys;
use super::{Regions, Unreached, root_secret};
use crate::error::OperationError;
use crate::place::Opened;
use crate::session::Session;

/// What a revocation will do.
#[derive(Serialize)]
pub struct KeyRevokePlan {
    /// The key.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// Whether it was issued with this root secret; one that was not is only deleted.
    pub issued: bool,
    /// The regions that are told.
    pub regions: Vec<RegionName>,
    /// The regions that cannot be told now.
    pub unreached: Vec<Unreached>,
    #[serde(skip)]
    revocation: Revocation,
    #[serde(skip)]
    stores: Vec<Opened>,
}

/// What a revocation did.
#[derive(Debug, Serialize)]
pub struct KeyRevokeReport {
    /// The key.
    pub key: KeyId,
    /// What it was allowed to do.
    pub role: Role,
    /// What it was called.
    pub name: Option<String>,
    /// Whether it was issued with this root secret.
    pub issued: bool,
    /// What became of it in each region that was told.
    pub regions: Vec<RevokedRegion>,
    /// The regions that were not told: there it may open still.
    pub unreached: Vec<Unreached>,
}

/// A region that was told of a revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevokedRegion {
    /// The region.
    pub region: RegionName,
    /// Why the key's object could not be deleted too, if so; it opens nothing all the same.
    pub kept: Option<String>,
}

impl KeyRevokeReport {
    /// Reports whether no region was left out.
    pub fn is_complete(&self) -> bool {
        self.unreached.is_empty() && self.regions.iter().all(|region| region.kept.is_none())
    }
}

impl Session {
    /// Plans the revocation of the key whose id begins with `id`. Needs the root secret.
    ///
    /// # Errors
    /// Fails if there is no such key or more than one, or the recovery code is not to be had or
    /// another repository's.
    pub async fn plan_key_revoke(
        &self,
        id: &str,
        root: Option<&Path>,
    ) -> Result<KeyRevokePlan, OperationError> {
        let root = root_secret(self, root)?;
        let regions = Regions::open(self).await?;
        let repository = regions.open_root(self, root).await?;
        let mut unreached = regions.unreached;
        let (mut stores, mut asked) = (Vec::new(), Vec::new());
        for opened in regions.reached {
            match RegionKeys::read(&opened).await {
                Ok(keys) => {
                    asked.push(keys);
                    stores.push(opened);
                }
                Err(error) => unreached.push(Unreached::new(&opened.region, &error)),
            }
        }
        let key = find(&asked, id)?;
        let (revocation, issued) = revocation_of(&asked, key, &repository)?;
        Ok(KeyRevokePlan {
            key,
            role: revocation.role,
            name: revocation.name.clone(),
            created: revocation.created,
            issued,
            regions: stores.iter().map(|opened| opened.region.clone()).collect(),
            unreached,
            revocation,
            stores,
        })
    }

    /// Revokes the key in every region of the plan. Doing so again is fine, and goes on where an
    /// earlier run could not.
    ///
    /// # Errors
    /// Fails if no region can be told. One that cannot is in the report.
    pub async fn key_revoke(&self, plan: KeyRevokePlan) -> Result<KeyRevokeReport, OperationError> {
        let mut unreached = plan.unreached;
        let (mut told, mut first_error) = (Vec::new(), None);
        for opened in &plan.stores {
            let store = &*opened.store;
            // First the revocation: with the object gone and nothing to say why, a copy of another
            // region would bring the key back.
            if let Err(error) = plan.revocation.write(store).await {
                let error = OperationError::from(error);
                unreached.push(Unreached::new(&opened.region, &error));
                first_error = first_error.or(Some(error));
                continue;
            }
            let deleted = Repository::delete_key_object(store, plan.key).await;
            told.push(RevokedRegion {
                region: opened.region.clone(),
                kept: deleted
                    .err()
                    .map(|error| lifeboat_model::error_chain(&error)),
            });
        }
        match first_error {
            Some(error) if told.is_empty() => Err(error),
            _ => Ok(KeyRevokeReport {
                key: plan.key,
                role: plan.role,
                name: plan.name,
                issued: plan.issued,
                regions: told,
                unreached,
            }),
        }
    }
}

/// Finds the one key whose id begins so.
fn find(asked: &[RegionKeys], prefix: &str) -> Result<KeyId, OperationError> {
    let ids = asked.iter().flat_map(|region| {
        let revoked = region.revocations.iter().map(|revocation| revocation.key);
        region.labels().map(|info| info.key).chain(revoked)
    });
    let mut ids: Vec<KeyId> = ids
        .filter(|id| id.to_string().starts_with(prefix))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let usage = |message: String, hint: &str| OperationError::Usage {
        message,
        hint: hint.to_owned(),
    };
    match ids.as_slice() {
        [id] if !prefix.is_empty() => Ok(*id),
        [] => Err(usage(
            format!("no region that can be read has a key `{prefix}`"),
            "`lifeboat key list` lists what there is",
        )),
        several => {
            let message = format!("`{prefix}` names {} keys", several.len());
            Err(usage(message, "give more characters of the id"))
        }
    }
}

/// Makes the revocation of a key, and says whether the root secret issued that.
fn revocation_of(
    asked: &[RegionKeys],
    key: KeyId,
    repository: &Repository,
) -> Result<(Revocation, bool), OperationError> {
    let labels = asked.iter().flat_map(RegionKeys::labels);
    let mut labels: Vec<&KeyInfo> = labels.filter(|info| info.key == key).collect();
    // A store may lie about a label. One that the root secret confirms counts before others.
    labels.sort_by_key(|info| repository.issued(info) == Some(false));
    if let Some(info) = labels.first() {
        let issued = repository.issued(info) != Some(false);
        return Ok((repository.make_revocation(info)?, issued));
    }
    let mut revocations = asked.iter().flat_map(|region| &region.revocations);
    let earlier = revocations.find(|revocation| revocation.key == key);
    let earlier = earlier.expect("the key was found by a label or by a revocation");
    Ok((earlier.clone(), true))
}

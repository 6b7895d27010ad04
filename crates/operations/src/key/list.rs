//! Listing keys: what each region says of each, and in which it still opens something.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use lifeboat_model::{KeyId, RegionName};
use lifeboat_repository::{KeyInfo, ListedKey, Repository, Revocation, Revocations, Role};
use serde::Serialize;

use super::{Regions, Unreached, root_secret};
use crate::error::OperationError;
use crate::place::Opened;
use crate::session::Session;

/// The keys of the repository.
#[derive(Debug, Serialize)]
pub struct KeyListing {
    /// The keys, oldest first.
    pub keys: Vec<KeyEntry>,
    /// Key objects that cannot be read, or that say other things than elsewhere.
    pub damaged: Vec<DamagedKey>,
    /// The regions that could not be asked.
    pub unreached: Vec<Unreached>,
}

/// One key, over all regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyEntry {
    /// Its id.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// Whether its secret comes from a passphrase; `None` if no region has its object any more.
    pub passphrase: Option<bool>,
    /// The regions that hold its object.
    pub regions: Vec<RegionName>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The regions that hold its object and have missed its revocation: there it opens still.
    pub opens_in: Vec<RegionName>,
    /// Whether it was issued with the root secret; `None` if that was not at hand.
    pub issued: Option<bool>,
}

/// A key object that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedKey {
    /// The region.
    pub region: RegionName,
    /// The object's name.
    pub object: String,
    /// What is wrong.
    pub what: String,
}

/// What one region says of keys.
pub(super) struct RegionKeys {
    pub(super) region: RegionName,
    pub(super) keys: Vec<ListedKey>,
    pub(super) revocations: Vec<Revocation>,
    pub(super) revoked: Revocations,
}

impl RegionKeys {
    pub(super) async fn read(opened: &Opened) -> Result<Self, OperationError> {
        let store = &*opened.store;
        Ok(Self {
            region: opened.region.clone(),
            keys: Repository::keys_in(store).await?,
            revocations: Revocation::list(store).await?,
            revoked: Revocations::of(store).await?,
        })
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &KeyInfo> {
        self.keys.iter().filter_map(|key| key.label.as_ref().ok())
    }
}

impl Session {
    /// Lists the keys in all regions. Needs no key; with the root secret it also says which keys
    /// that one issued.
    ///
    /// # Errors
    /// Fails if no region can be read, or a file with the recovery code was named and is none.
    pub async fn key_list(&self, root: Option<&Path>) -> Result<KeyListing, OperationError> {
        let regions = Regions::open(self).await?;
        let secret = match root_secret(self, root) {
            Ok(secret) => Some(secret),
            Err(error) if root.is_some() => return Err(error),
            // It belongs on paper: a host without it lists what the regions say.
            Err(_) => None,
        };
        let repository = match secret {
            Some(secret) => Some(regions.open_root(self, secret).await?),
            None => None,
        };
        let mut unreached = regions.unreached;
        let mut asked = Vec::new();
        for opened in &regions.reached {
            match RegionKeys::read(opened).await {
                Ok(keys) => asked.push(keys),
                Err(error) => unreached.push(Unreached::new(&opened.region, &error)),
            }
        }
        let (keys, damaged) = merge(&asked, repository.as_ref());
        Ok(KeyListing {
            keys,
            damaged,
            unreached,
        })
    }
}

/// Lays what the regions say side by side.
fn merge(asked: &[RegionKeys], root: Option<&Repository>) -> (Vec<KeyEntry>, Vec<DamagedKey>) {
    let mut entries: BTreeMap<KeyId, KeyEntry> = BTreeMap::new();
    let mut labels: BTreeMap<KeyId, &KeyInfo> = BTreeMap::new();
    let mut damaged = Vec::new();
    for region in asked {
        for key in &region.keys {
            let told = |what: String| DamagedKey {
                region: region.region.clone(),
                object: key.object.to_string(),
                what,
            };
            match &key.label {
                Err(error) => damaged.push(told(error.to_string())),
                Ok(info) => {
                    if *labels.entry(info.key).or_insert(info) != info {
                        damaged.push(told("its label is not that of other regions".to_owned()));
                    }
                    let entry = entries
                        .entry(info.key)
                        .or_insert_with(|| entry_of(info, root));
                    entry.regions.push(region.region.clone());
                }
            }
        }
    }
    for revocation in asked.iter().flat_map(|region| &region.revocations) {
        match labels.get(&revocation.key) {
            // Its object is gone everywhere, so nothing opens: what is said of it is for the record.
            None => {
                let entry = entry_of_revoked(revocation);
                entries.entry(revocation.key).or_insert(entry);
            }
            Some(info) if revocation.is_for(info) => {
                let entry = entries
                    .get_mut(&info.key)
                    .expect("labels and entries agree");
                entry.revoked = entry.revoked.or(Some(revocation.revoked));
            }
            Some(_) => {}
        }
    }
    for entry in entries.values_mut().filter(|entry| entry.revoked.is_some()) {
        let missed = asked.iter().filter(|region| {
            let mut own = region.labels().filter(|info| info.key == entry.key);
            own.any(|info| !region.revoked.revokes(info))
        });
        entry.opens_in = missed.map(|region| region.region.clone()).collect();
    }
    let mut keys: Vec<KeyEntry> = entries.into_values().collect();
    keys.sort_by_key(|entry| (entry.created, entry.key));
    (keys, damaged)
}

fn entry_of(info: &KeyInfo, root: Option<&Repository>) -> KeyEntry {
    KeyEntry {
        key: info.key,
        role: info.role,
        name: info.name.clone(),
        created: info.created,
        passphrase: Some(info.passphrase.is_some()),
        regions: Vec::new(),
        revoked: None,
        opens_in: Vec::new(),
        issued: root.and_then(|root| root.issued(info)),
    }
}

fn entry_of_revoked(revocation: &Revocation) -> KeyEntry {
    KeyEntry {
        key: revocation.key,
        role: revocation.role,
        name: revocation.name.clone(),
        created: revocation.created,
        passphrase: None,
        regions: Vec::new(),
        revoked: Some(revocation.revoked),
        opens_in: Vec::new(),
        issued: None,
    }
}

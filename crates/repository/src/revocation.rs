//! Revocations: objects that say a key must open nothing any more, in whichever region they lie.
//!
//! A key object says, in its authenticated label, what the name of its revocation hashes to. Only
//! the root secret yields that name. So anyone can check a revocation without any key, and nobody
//! but root can make one: whoever may merely write to the store locks nobody out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lifeboat_model::KeyId;
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::crypto::SymmetricKey;
use crate::error::RepositoryError;
use crate::key_object::{KeyInfo, is_key_name};
use crate::layout::{self, REVOKED};
use crate::repository::{put_new, to_json};
use crate::role::Role;

/// A key that was revoked: what its object said, for the list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The key.
    pub key: KeyId,
    /// What it was allowed to do.
    pub role: Role,
    /// What it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Timestamp,
    /// The last part of the object's name.
    pub token: Token,
}

/// What the name of a revocation ends with. Secret until the key is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(#[serde(with = "hex::serde")] [u8; 32]);

/// What a key object says of its revocation: the hash of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(#[serde(with = "hex::serde")] [u8; 32]);

impl Token {
    /// Computes the token of a key from root's revocation key.
    pub(crate) fn of(revocation_key: &SymmetricKey, key: KeyId, role: Role) -> Self {
        // The role is bound too: a key object that was given another one does not pass for issued.
        let mut salt = [0; 32];
        salt[..KeyId::LEN].copy_from_slice(key.as_bytes());
        let role = role.as_str().as_bytes();
        salt[KeyId::LEN..KeyId::LEN + role.len()].copy_from_slice(role);
        Self(revocation_key.for_object("lifeboat v1 revocation", &salt).0)
    }

    pub(crate) fn commitment(self) -> Commitment {
        Commitment(*blake3::hash(&self.0).as_bytes())
    }

    fn revokes(self, info: &KeyInfo) -> bool {
        // A key object from before there were revocations cannot tell a true one from a false.
        info.revocation
            .is_none_or(|commitment| self.commitment() == commitment)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Which keys a store says are revoked. What it says is checked against each key object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    tokens: BTreeSet<(KeyId, Token)>,
}

impl Revocations {
    /// Lists the revocations in a store. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn of(store: &dyn ObjectStore) -> Result<Self, RepositoryError> {
        Self::listed(store, REVOKED).await
    }

    /// Lists those of one key.
    pub(crate) async fn of_key(
        store: &dyn ObjectStore,
        key: KeyId,
    ) -> Result<Self, RepositoryError> {
        Self::listed(store, &format!("{REVOKED}{key}/")).await
    }

    async fn listed(store: &dyn ObjectStore, prefix: &str) -> Result<Self, RepositoryError> {
        let listed = store.list(prefix).await?;
        let tokens = listed.iter().filter_map(|meta| parse_name(&meta.key));
        Ok(Self {
            tokens: tokens.collect(),
        })
    }

    /// Reports whether the key with this label is revoked.
    pub fn revokes(&self, info: &KeyInfo) -> bool {
        self.object_for(info).is_some()
    }

    /// Returns the name of the object that revokes the key with this label.
    pub fn object_for(&self, info: &KeyInfo) -> Option<ObjectKey> {
        let mut own = self.tokens.iter().filter(|(key, _)| *key == info.key);
        let (key, token) = own.find(|(_, token)| token.revokes(info))?;
        Some(layout::revocation(*key, *token))
    }

    /// Reports whether anything claims that `key` is revoked, true or not.
    pub(crate) fn mentions(&self, key: KeyId) -> bool {
        self.tokens.iter().any(|(mentioned, _)| *mentioned == key)
    }

    /// Adds what another store says.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.tokens.extend(&other.tokens);
        self
    }
}

impl Revocation {
    /// Writes the revocation to a store. One that is there already is the same one.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        let key = layout::revocation(self.key, self.token);
        put_new(store, &key, to_json(self)).await
    }

    /// Reports whether this is the revocation of the key with this label.
    pub fn is_for(&self, info: &KeyInfo) -> bool {
        self.key == info.key && self.token.revokes(info)
    }

    /// Reads all revocations in a store, for people. What cannot be read is left out: a revocation
    /// holds by its name. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn list(store: &dyn ObjectStore) -> Result<Vec<Self>, RepositoryError> {
        let mut found: Vec<Self> = Vec::new();
        for meta in store.list(REVOKED).await? {
            let bytes = store.get(&meta.key).await?;
            let read = serde_json::from_slice(&bytes).ok();
            let named = |item: &Self| {
                let name = item.name.as_deref();
                name.is_none_or(is_key_name)
                    && parse_name(&meta.key) == Some((item.key, item.token))
            };
            found.extend(read.filter(named));
        }
        Ok(found)
    }
}

fn parse_name(key: &ObjectKey) -> Option<(KeyId, Token)> {
    let (id, token) = key.as_str().strip_prefix(REVOKED)?.split_once('/')?;
    Some((id.parse().ok()?, Token::parse(token)?))
}

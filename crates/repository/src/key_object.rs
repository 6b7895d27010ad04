//! Key objects: issuing, listing, opening and revoking the keys that lie in the repository.
//!
//! A key object is sealed under its holder's secret. Its label is public, so that anyone can say
//! which keys there are, and authenticated, so that nobody can make one key pass for another.

use jiff::Timestamp;
use lifeboat_model::{ErrorKind, KeyId, RepositoryId};
use lifeboat_runtime::{Entropy, SecretBytes, World};
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::error::{Flaw, RepositoryError};
use crate::format::{Kind, sealed};
use crate::keys::{KeyRing, KeySecret, wrap_context};
use crate::layout::{self, KEYS};
use crate::passphrase::{StretchError, Stretching};
use crate::repository::{PassphraseFor, Repository, put_new, to_json};
use crate::revocation::{Commitment, Revocation, Revocations, Token};
use crate::role::{Action, Role};

/// How many key objects a passphrase is tried on: each costs about 0.1 s, and anyone who can write
/// to the store could add more.
const TRIED_MAX: usize = 8;

/// How long the name of a key may be, characters.
pub const KEY_NAME_CHARS_MAX: usize = 64;

/// Reports whether a key may be called so: names are shown to people, and come from a store.
pub fn is_key_name(name: &str) -> bool {
    (1..=KEY_NAME_CHARS_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// The label of a key object, which anyone can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
    /// When it was issued.
    pub created: Timestamp,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How its secret comes from a passphrase; `None` if the holder has the secret as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Stretching>,
    /// What its revocation hashes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Commitment>,
}

/// A key that was made and is not stored yet.
///
/// Made and stored are two steps, so that the holder's secret can be safe on disk before anything
/// is in the repository.
pub struct NewKey {
    /// Its label.
    pub info: KeyInfo,
    /// The holder's secret, to be kept outside the repository.
    pub secret: KeySecret,
    object: Vec<u8>,
}

impl NewKey {
    /// Writes the key object to a store, which may be any region of the repository.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn write(&self, store: &dyn ObjectStore) -> Result<(), RepositoryError> {
        let key = layout::wrapped_key(self.info.key);
        put_new(store, &key, self.object.clone()).await
    }
}

/// A key object as a listing of a store finds it.
#[derive(Debug)]
pub struct ListedKey {
    /// The object's name.
    pub object: ObjectKey,
    /// Its label, or why that cannot be read.
    pub label: Result<KeyInfo, RepositoryError>,
}

impl Repository {
    /// Makes a key for `role`. Needs the root secret.
    ///
    /// With a passphrase the holder's secret is computed from it, else drawn.
    ///
    /// # Errors
    /// Fails if the repository was not opened with the root secret, or `role` is root.
    pub fn make_key(
        &self,
        role: Role,
        name: Option<String>,
        passphrase: Option<&SecretBytes>,
    ) -> Result<NewKey, RepositoryError> {
        let revocation_key = self.keys.revocation_key()?;
        if !Role::ISSUED.contains(&role) {
            return Err(RepositoryError::NotIssued { role });
        }
        let entropy: &dyn Entropy = &*self.world.entropy;
        let drawn = KeySecret::generate(entropy);
        let (secret, stretching) = match passphrase {
            None => (drawn, None),
            Some(passphrase) => {
                let stretching = Stretching::draw(entropy);
                let secret = stretching.derive(passphrase);
                let secret = secret.map_err(|why| stretch_error(why, drawn.key))?;
                let key = drawn.key;
                (KeySecret { key, secret }, Some(stretching))
            }
        };
        let info = KeyInfo {
            key: secret.key,
            role,
            created: self.world.clock.now(),
            name,
            passphrase: stretching,
            revocation: Some(Token::of(revocation_key, secret.key, role).commitment()),
        };
        let object = sealed::seal(
            Kind::WrappedKey,
            self.id,
            &secret.secret,
            entropy,
            &to_json(&info),
            &WrappedV1 {
                context: wrap_context(self.id, secret.key, role),
                secrets: self.keys.narrowed(role).to_bytes().expose().to_vec(),
            },
        );
        Ok(NewKey {
            info,
            secret,
            object,
        })
    }

    /// Makes the revocation of a key, to be written to every region. Needs the root secret.
    ///
    /// # Errors
    /// Fails if the repository was not opened with the root secret.
    pub fn make_revocation(&self, info: &KeyInfo) -> Result<Revocation, RepositoryError> {
        Ok(Revocation {
            key: info.key,
            role: info.role,
            name: info.name.clone(),
            created: info.created,
            revoked: self.world.clock.now(),
            token: Token::of(self.keys.revocation_key()?, info.key, info.role),
        })
    }

    /// Reports whether a key with this label was issued with the root secret that opened the
    /// repository; `None` if another key opened it, or the key is from before that could be told.
    pub fn issued(&self, info: &KeyInfo) -> Option<bool> {
        let revocation_key = self.keys.revocation_key().ok()?;
        let expected = Token::of(revocation_key, info.key, info.role).commitment();
        Some(info.revocation? == expected)
    }

    /// Lists the key objects in a store. Needs no key, so labels are what the store says.
    ///
    /// # Errors
    /// Fails if the store cannot be read. A damaged object is in the list.
    pub async fn keys_in(store: &dyn ObjectStore) -> Result<Vec<ListedKey>, RepositoryError> {
        let mut found = Vec::new();
        for meta in store.list(KEYS).await? {
            let bytes = match store.get(&meta.key).await {
                Ok(bytes) => bytes,
                // Revoked between the listing and now.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            found.push(ListedKey {
                label: label_of(&meta.key, &bytes),
                object: meta.key,
            });
        }
        Ok(found)
    }

    /// Lists the keys that were issued. Needs no secret beyond those that opened the repository.
    ///
    /// # Errors
    /// Fails if the store cannot be read or a key object is damaged.
    pub async fn key_list(&self) -> Result<Vec<KeyInfo>, RepositoryError> {
        let listed = Self::keys_in(&*self.store).await?;
        listed.into_iter().map(|key| key.label).collect()
    }

    /// Deletes a key object; one that is not there is fine. Without a revocation, a copy of another
    /// region brings it back.
    ///
    /// # Errors
    /// Fails if the store refuses.
    pub async fn delete_key_object(
        store: &dyn ObjectStore,
        key: KeyId,
    ) -> Result<(), RepositoryError> {
        Ok(store.delete(&layout::wrapped_key(key)).await?)
    }

    /// Fails unless the key that opened the repository may do `action`.
    ///
    /// # Errors
    /// Names the role at hand and the weakest one that may.
    pub fn require(&self, action: Action) -> Result<(), RepositoryError> {
        self.keys.require(action)
    }
}

#[derive(Serialize, Deserialize)]
struct WrappedV1 {
    context: Vec<u8>,
    secrets: Vec<u8>,
}

impl Drop for WrappedV1 {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secrets);
    }
}

/// Opens the key object that a secret belongs to. `what` names the secret in errors.
pub(crate) async fn open_with_secret(
    store: &dyn ObjectStore,
    id: RepositoryId,
    secret: &KeySecret,
    what: &str,
) -> Result<KeyRing, RepositoryError> {
    let key = layout::wrapped_key(secret.key);
    match store.get(&key).await {
        Ok(bytes) => open_object(store, id, secret, &bytes, what).await,
        Err(error) if error.kind == ErrorKind::NotFound => {
            let revocations = Revocations::of_key(store, secret.key).await?;
            Err(match revocations.mentions(secret.key) {
                true => revoked(secret.key, what),
                false => wrong(id, what),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens whichever key object a passphrase opens, among those wanted, newest first.
pub(crate) async fn open_with_passphrase(
    store: &dyn ObjectStore,
    id: RepositoryId,
    passphrase: &SecretBytes,
    wanted: PassphraseFor,
    what: &str,
    world: &World,
) -> Result<KeyRing, RepositoryError> {
    let listed = Repository::keys_in(store).await?;
    let labels = listed.into_iter().filter_map(|key| key.label.ok());
    let mut fitting: Vec<(KeyInfo, Stretching)> = labels
        .filter(|info| wanted.role.is_none_or(|role| role == info.role))
        .filter(|info| wanted.key.is_none_or(|key| key == info.key))
        .filter_map(|info| Some((info.clone(), info.passphrase?)))
        .collect();
    fitting.sort_by_key(|(info, _)| std::cmp::Reverse((info.created, info.key)));
    if fitting.len() > TRIED_MAX {
        tracing::warn!(
            "the {what} is tried on the newest {TRIED_MAX} of {} keys: name the key with \
             `passphrase:KEY-ID:…`",
            fitting.len()
        );
    }
    let mut refusal = None;
    for (info, stretching) in fitting.into_iter().take(TRIED_MAX) {
        let given = passphrase.clone();
        let stretched = world.pool.run(move || stretching.derive(&given)).await;
        let secret = match stretched {
            Ok(secret) => KeySecret {
                key: info.key,
                secret,
            },
            // Another key object may be sound: one that asks for too much must not shut it out.
            Err(why) => {
                refusal.get_or_insert(stretch_error(why, info.key));
                continue;
            }
        };
        match open_with_secret(store, id, &secret, what).await {
            Err(RepositoryError::WrongKey { .. }) => {}
            Err(error @ RepositoryError::KeyRevoked { .. }) => refusal = Some(error),
            other => return other,
        }
    }
    Err(refusal.unwrap_or_else(|| wrong(id, what)))
}

async fn open_object(
    store: &dyn ObjectStore,
    id: RepositoryId,
    secret: &KeySecret,
    bytes: &[u8],
    what: &str,
) -> Result<KeyRing, RepositoryError> {
    let key = layout::wrapped_key(secret.key);
    let info = label_of(&key, bytes)?;
    let wrapped: WrappedV1 =
        sealed::open(Kind::WrappedKey, id, &secret.secret, bytes).map_err(|flaw| match flaw {
            Flaw::Damaged(_) => wrong(id, what),
            newer @ Flaw::Newer(_) => newer.of(&key),
        })?;
    if wrapped.context != wrap_context(id, secret.key, info.role) {
        return Err(wrong(id, what));
    }
    // Only now is the label known to be true, and with it what revokes this key.
    if Revocations::of_key(store, secret.key).await?.revokes(&info) {
        return Err(revoked(secret.key, what));
    }
    KeyRing::from_bytes(info.role, &wrapped.secrets).ok_or_else(|| wrong(id, what))
}

fn label_of(key: &ObjectKey, bytes: &[u8]) -> Result<KeyInfo, RepositoryError> {
    let public = sealed::public(Kind::WrappedKey, bytes).map_err(|flaw| flaw.of(key))?;
    let info: KeyInfo = serde_json::from_slice(public)
        .map_err(|_| RepositoryError::corrupt(key, "its label cannot be read"))?;
    if !info.name.as_deref().is_none_or(is_key_name) {
        return Err(RepositoryError::corrupt(key, "its name cannot be shown"));
    }
    if layout::wrapped_key(info.key) != *key {
        return Err(RepositoryError::corrupt(key, "its label names another key"));
    }
    Ok(info)
}

fn wrong(id: RepositoryId, what: &str) -> RepositoryError {
    let secret = what.to_owned();
    RepositoryError::WrongKey { secret, id }
}

fn revoked(key: KeyId, what: &str) -> RepositoryError {
    let secret = what.to_owned();
    RepositoryError::KeyRevoked { secret, key }
}

fn stretch_error(why: StretchError, key: KeyId) -> RepositoryError {
    RepositoryError::corrupt(&layout::wrapped_key(key), format!("its passphrase {why}"))
}

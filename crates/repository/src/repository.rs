//! Opening and creating a repository, its keys, and finding snapshots.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use lifeboat_model::{
    EnvironmentName, KeyId, Location, RegionName, RepositoryId, SnapshotId, SourceName,
};
use lifeboat_runtime::{SecretBytes, World};
use lifeboat_storage::{ObjectStore, Put};
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::format::commit::{CommitPublic, CommitV1};
use crate::format::{Kind, VERSION, sealed};
use crate::key_object::{open_with_passphrase, open_with_secret};
use crate::keys::{KeyRing, KeySecret, RootSecret};
use crate::layout::{self, SNAPSHOTS, SnapshotName};
use crate::lease::Lease;
use crate::ledger::RunKind;
use crate::role::Role;
use crate::snapshot::Snapshot;
use crate::stored::list_told;

/// How many small objects are read at the same time.
pub(crate) const READS_AT_ONCE: usize = 16;

/// `repo.json`: the same bytes in every region.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RepositoryFile {
    format: u32,
    repository: RepositoryId,
    created: Timestamp,
    /// Tells whether a root secret is this repository's without revealing anything about it.
    root_check: String,
}

/// `region.json`: what a store says of itself. It is asked before anything is written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionMarker {
    /// The region's name.
    pub region: RegionName,
    /// The jurisdiction it lies in.
    pub location: Location,
    /// The repository it holds.
    pub repository: RepositoryId,
}

/// What can be known of a store without any key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The repository in the store.
    pub repository: RepositoryId,
    /// What the store says of its region; `None` if it says nothing.
    pub region: Option<RegionMarker>,
}

/// A secret that opens a repository.
pub enum Credential {
    /// A role's key, with what it is called in errors (`writer key`).
    Key(KeySecret, String),
    /// A passphrase, with which keys it is tried on and what it is called in errors.
    Passphrase(SecretBytes, PassphraseFor, String),
    /// The root secret, from paper.
    Root(RootSecret),
}

/// Which keys a passphrase is tried on: those for which everything named here is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassphraseFor {
    /// Keys of this role.
    pub role: Option<Role>,
    /// The key with this id.
    pub key: Option<KeyId>,
}

/// The keys made for a new repository. Shown once, kept by the caller.
pub struct NewKeys {
    /// The root secret, for paper.
    pub root: RootSecret,
    /// One secret for each role.
    pub secrets: Vec<(Role, KeySecret)>,
}

/// An open repository.
///
/// Which key opened it decides what it can do; each method says which role it needs.
#[derive(Clone)]
pub struct Repository {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) id: RepositoryId,
    pub(crate) keys: KeyRing,
    pub(crate) world: World,
}

impl Repository {
    /// Creates a repository in an empty store, with one key for each of the daily roles.
    ///
    /// `repo.json` is written last: a store where this was interrupted holds no repository.
    ///
    /// # Errors
    /// Fails if the store holds a repository already, or cannot be written.
    pub async fn create(
        store: Arc<dyn ObjectStore>,
        region: RegionName,
        location: Location,
        world: World,
    ) -> Result<(Self, NewKeys), RepositoryError> {
        if let Ok(identity) = Self::identify(&*store).await {
            let store = store.describe();
            return Err(RepositoryError::RepositoryExists {
                store,
                id: identity.repository,
            });
        }
        // An interrupted creation may have left the marker, which must not be contradicted.
        let id = match store.get(&layout::region()).await {
            Ok(bytes) => read_marker(&bytes)?.repository,
            Err(_) => RepositoryId::from_bytes(world.entropy.bytes()),
        };
        let root = RootSecret::generate(&*world.entropy);
        let repository = Self {
            store,
            id,
            keys: root.key_ring(),
            world,
        };
        let mut secrets = Vec::new();
        for role in [Role::Writer, Role::Reader, Role::Auditor, Role::Pruner] {
            let key = repository.make_key(role, None, None)?;
            key.write(&*repository.store).await?;
            secrets.push((role, key.secret));
        }
        mark_region(&*repository.store, id, region, location).await?;
        let file = RepositoryFile {
            format: u32::from(VERSION),
            repository: id,
            created: repository.world.clock.now(),
            root_check: root_check(id, &repository.keys),
        };
        put_new(&*repository.store, &layout::repository(), to_json(&file)).await?;
        Ok((repository, NewKeys { root, secrets }))
    }

    /// Opens the repository in `store` with one secret.
    ///
    /// # Errors
    /// Fails if there is no repository, or the secret belongs to another.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        credential: &Credential,
        world: World,
    ) -> Result<Self, RepositoryError> {
        let file = read_repository_file(&*store).await?;
        let id = file.repository;
        let keys = match credential {
            Credential::Root(root) => {
                let keys = root.key_ring();
                if root_check(id, &keys) != file.root_check {
                    let secret = "recovery code".to_owned();
                    return Err(RepositoryError::WrongKey { secret, id });
                }
                keys
            }
            Credential::Key(secret, what) => open_with_secret(&*store, id, secret, what).await?,
            Credential::Passphrase(passphrase, wanted, what) => {
                open_with_passphrase(&*store, id, passphrase, *wanted, what, &world).await?
            }
        };
        Ok(Self {
            store,
            id,
            keys,
            world,
        })
    }

    /// Asks a store what it holds. Needs no key.
    ///
    /// # Errors
    /// Fails if the store holds no repository or cannot be read.
    pub async fn identify(store: &dyn ObjectStore) -> Result<StoreIdentity, RepositoryError> {
        let file = read_repository_file(store).await?;
        let key = layout::region();
        let region = match store.get(&key).await {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .map_err(|_| RepositoryError::corrupt(&key, "it is not valid JSON"))?,
            ),
            Err(error) if error.kind == lifeboat_model::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(StoreIdentity {
            repository: file.repository,
            region,
        })
    }

    /// Makes an empty store the place of another copy of repository `id`.
    ///
    /// Writes only the region marker; replication brings the rest.
    ///
    /// # Errors
    /// Fails if the store is another region or repository already.
    pub async fn claim_region(
        store: &dyn ObjectStore,
        id: RepositoryId,
        region: RegionName,
        location: Location,
    ) -> Result<(), RepositoryError> {
        mark_region(store, id, region, location).await
    }

    /// Returns the repository's id.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// Returns the role of the key that opened the repository.
    pub fn role(&self) -> Role {
        self.keys.role()
    }

    /// Returns the store the repository lives in.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Returns the same repository as another store has it, or several.
    #[must_use]
    pub fn read_from(&self, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// Announces a session on the repository's store; take the lease before anything is read.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn lease(&self, work: RunKind, host: &str) -> Result<Lease, RepositoryError> {
        Lease::take(self.store.clone(), &self.world, work, host).await
    }

    /// Lists the names of all snapshots, oldest first within each source. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn snapshot_names(
        store: &dyn ObjectStore,
        environment: Option<&EnvironmentName>,
        source: Option<&SourceName>,
    ) -> Result<Vec<SnapshotName>, RepositoryError> {
        let prefix = match (environment, source) {
            (Some(environment), Some(source)) => format!("{SNAPSHOTS}{environment}/{source}/"),
            (Some(environment), None) => format!("{SNAPSHOTS}{environment}/"),
            (None, _) => SNAPSHOTS.to_owned(),
        };
        let listed = list_told(store, &prefix).await?;
        let names = listed
            .iter()
            .filter_map(|meta| SnapshotName::parse(&meta.key));
        Ok(names
            .filter(|name| source.is_none_or(|source| *source == name.source))
            .collect())
    }

    /// Reads a commit record. Needs any key.
    ///
    /// # Errors
    /// Fails if the record is gone, damaged, or not what its name says.
    pub async fn snapshot(&self, name: &SnapshotName) -> Result<Snapshot, RepositoryError> {
        let bytes = self.store.get(&name.key()).await?;
        self.open_commit(name, &bytes)
    }

    /// Opens the bytes of a commit record.
    pub(crate) fn open_commit(
        &self,
        name: &SnapshotName,
        bytes: &[u8],
    ) -> Result<Snapshot, RepositoryError> {
        let key = name.key();
        if *blake3::hash(bytes).as_bytes() != *name.id.as_bytes() {
            return Err(RepositoryError::corrupt(
                &key,
                "its bytes do not match its name",
            ));
        }
        let record: CommitV1 = sealed::open(Kind::Commit, self.id, self.keys.metadata(), bytes)
            .map_err(|flaw| flaw.of(&key))?;
        let snapshot = Snapshot::from_stored(name.id, record).map_err(|flaw| flaw.of(&key))?;
        // A record copied to another environment's folder must not pass for that environment's.
        if snapshot.name() != *name {
            return Err(RepositoryError::corrupt(
                &key,
                "it was stored under another name",
            ));
        }
        // Who has no key goes by the public part, so the two must not differ.
        let public = CommitPublic::of(bytes).map_err(|flaw| flaw.of(&key))?;
        if public.wal() != snapshot.wal.filter(|range| !range.embedded) {
            let what = "it needs another stretch of the log than it says in public";
            return Err(RepositoryError::corrupt(&key, what));
        }
        Ok(snapshot)
    }

    /// Checks that a snapshot still exists: one that was read before a lease was taken may have been
    /// pruned since.
    ///
    /// # Errors
    /// Fails if it does not, or the store cannot be read.
    pub async fn still_holds(&self, snapshot: &Snapshot) -> Result<(), RepositoryError> {
        match self.store.head(&snapshot.name().key()).await? {
            Some(_) => Ok(()),
            None => Err(RepositoryError::NoSnapshot {
                wanted: format!("`{}`: it has just been pruned", snapshot.id.short()),
            }),
        }
    }

    /// Reads the commit records of an environment, oldest first by the moment they hold.
    ///
    /// # Errors
    /// Fails if the store cannot be read or a record is damaged.
    pub async fn snapshots(
        &self,
        environment: Option<&EnvironmentName>,
        source: Option<&SourceName>,
    ) -> Result<Vec<Snapshot>, RepositoryError> {
        let names = Self::snapshot_names(&*self.store, environment, source).await?;
        let mut found: Vec<Snapshot> = stream::iter(&names)
            .map(|name| self.snapshot(name))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        found.sort_by_key(|snapshot| (snapshot.instant, snapshot.finished, snapshot.id));
        Ok(found)
    }

    /// Finds the snapshot whose id starts with `prefix`.
    ///
    /// # Errors
    /// Fails if there is none, or more than one.
    pub async fn find(&self, prefix: &str) -> Result<Snapshot, RepositoryError> {
        let mut names = Self::snapshot_names(&*self.store, None, None).await?;
        names.retain(|name| name.id.to_string().starts_with(prefix));
        match names.as_slice() {
            [name] => self.snapshot(name).await,
            [] => Err(RepositoryError::NoSnapshot {
                wanted: format!("has the id `{prefix}`"),
            }),
            several => Err(RepositoryError::AmbiguousSnapshot {
                prefix: prefix.to_owned(),
                count: several.len(),
            }),
        }
    }
}

async fn read_repository_file(store: &dyn ObjectStore) -> Result<RepositoryFile, RepositoryError> {
    let key = layout::repository();
    let bytes = match store.get(&key).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind == lifeboat_model::ErrorKind::NotFound => {
            return Err(RepositoryError::NoRepository {
                store: store.describe(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    // The version is read on its own first: a newer file may have other fields.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let broken = || RepositoryError::corrupt(&key, "it is not valid JSON");
    let Version { format } = serde_json::from_slice(&bytes).map_err(|_| broken())?;
    if format > u32::from(VERSION) {
        let (object, supported) = (key.to_string(), u32::from(VERSION));
        return Err(RepositoryError::NewerFormat {
            object,
            version: format,
            supported,
        });
    }
    serde_json::from_slice(&bytes).map_err(|_| broken())
}

fn read_marker(bytes: &[u8]) -> Result<RegionMarker, RepositoryError> {
    serde_json::from_slice(bytes)
        .map_err(|_| RepositoryError::corrupt(&layout::region(), "it is not valid JSON"))
}

async fn mark_region(
    store: &dyn ObjectStore,
    repository: RepositoryId,
    region: RegionName,
    location: Location,
) -> Result<(), RepositoryError> {
    let marker = RegionMarker {
        region,
        location,
        repository,
    };
    let key = layout::region();
    if store.put(&key, to_json(&marker).into()).await? == Put::Created {
        return Ok(());
    }
    let there = read_marker(&store.get(&key).await?)?;
    if there == marker {
        return Ok(());
    }
    Err(RepositoryError::RepositoryExists {
        store: store.describe(),
        id: there.repository,
    })
}

fn root_check(id: RepositoryId, keys: &KeyRing) -> String {
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(id.as_bytes());
    let check = keys.metadata().for_object("lifeboat v1 root check", &salt);
    hex::encode(&check.0[..8])
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("our structs serialize");
    text.push(b'\n');
    text
}

/// Writes an object whose name nobody else can have taken, except an earlier try of this very call.
pub(crate) async fn put_new(
    store: &dyn ObjectStore,
    key: &lifeboat_storage::ObjectKey,
    body: Vec<u8>,
) -> Result<(), RepositoryError> {
    store.put(key, Bytes::from(body)).await?;
    Ok(())
}

/// Returns the id that a commit record's bytes have.
pub(crate) fn snapshot_id(bytes: &[u8]) -> SnapshotId {
    SnapshotId::from_bytes(*blake3::hash(bytes).as_bytes())
}

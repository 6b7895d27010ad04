//! Opening and creating a repository, its keys, and finding snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use lifeboat_model::{
    EnvironmentName, IndexId, KeyId, Location, PackId, RegionName, RepositoryId, SnapshotId,
    SourceName,
};
use lifeboat_runtime::World;
use lifeboat_storage::{ObjectKey, ObjectStore, Put};
use serde::{Deserialize, Serialize};

use crate::chunk_index::ChunkIndex;
use crate::error::{Flaw, RepositoryError};
use crate::format::commit::CommitV1;
use crate::format::index::{IndexV1, IndexedPackV1, packs_of};
use crate::format::{Kind, VERSION, sealed};
use crate::keys::{KeyRing, KeySecret, Role, RootSecret, wrap_context};
use crate::layout::{self, INDEX, KEYS, PACKS, SNAPSHOTS, SnapshotName};
use crate::snapshot::Snapshot;

/// How many small objects are read at the same time.
const READS_AT_ONCE: usize = 16;

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
    /// The root secret, from paper.
    Root(RootSecret),
}

/// The keys made for a new repository. Shown once, kept by the caller.
pub struct NewKeys {
    /// The root secret, for paper.
    pub root: RootSecret,
    /// One secret for each role.
    pub secrets: Vec<(Role, KeySecret)>,
}

/// What is public about a key object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub key: KeyId,
    /// What it may do.
    pub role: Role,
    /// When it was issued.
    pub created: Timestamp,
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
        for role in [Role::Writer, Role::Reader, Role::Auditor] {
            secrets.push((role, repository.issue_key(role).await?));
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
            Credential::Key(secret, what) => unwrap_key(&*store, id, secret, what).await?,
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

    /// Issues a key for `role`. Needs the root secret.
    async fn issue_key(&self, role: Role) -> Result<KeySecret, RepositoryError> {
        let secret = KeySecret::generate(&*self.world.entropy);
        let info = KeyInfo {
            key: secret.key,
            role,
            created: self.world.clock.now(),
        };
        let wrapped = sealed::seal(
            Kind::WrappedKey,
            self.id,
            &secret.secret,
            &*self.world.entropy,
            &to_json(&info),
            &WrappedV1 {
                context: wrap_context(self.id, secret.key, role),
                secrets: self.keys.narrowed(role).to_bytes().expose().to_vec(),
            },
        );
        put_new(&*self.store, &layout::wrapped_key(secret.key), wrapped).await?;
        Ok(secret)
    }

    /// Lists the keys that were issued. Needs no secret beyond those that opened the repository.
    ///
    /// # Errors
    /// Fails if the store cannot be read or a key object is damaged.
    pub async fn key_list(&self) -> Result<Vec<KeyInfo>, RepositoryError> {
        let mut found = Vec::new();
        for meta in self.store.list(KEYS).await? {
            let bytes = self.store.get(&meta.key).await?;
            let public =
                sealed::public(Kind::WrappedKey, &bytes).map_err(|flaw| flaw.of(&meta.key))?;
            let info: KeyInfo = serde_json::from_slice(public)
                .map_err(|_| RepositoryError::corrupt(&meta.key, "its label cannot be read"))?;
            found.push(info);
        }
        Ok(found)
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
        let listed = store.list(&prefix).await?;
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
        let key = name.key();
        let bytes = self.store.get(&key).await?;
        if *blake3::hash(&bytes).as_bytes() != *name.id.as_bytes() {
            return Err(RepositoryError::corrupt(
                &key,
                "its bytes do not match its name",
            ));
        }
        let record: CommitV1 = sealed::open(Kind::Commit, self.id, self.keys.metadata(), &bytes)
            .map_err(|flaw| flaw.of(&key))?;
        let snapshot = Snapshot::from_stored(name.id, record).map_err(|flaw| flaw.of(&key))?;
        // A record copied to another environment's folder must not pass for that environment's.
        if snapshot.name() != *name {
            return Err(RepositoryError::corrupt(
                &key,
                "it was stored under another name",
            ));
        }
        Ok(snapshot)
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

    /// Returns the starts of the names of all index objects that existed when a snapshot was
    /// committed: without them it cannot be restored. Needs no key.
    ///
    /// # Errors
    /// Fails if the bytes are no commit record.
    pub fn index_needed_by(key: &ObjectKey, record: &[u8]) -> Result<Vec<String>, RepositoryError> {
        let public = sealed::public(Kind::Commit, record).map_err(|flaw| flaw.of(key))?;
        let ids = public.chunks_exact(INDEX_PREFIX_LEN);
        if !ids.remainder().is_empty() {
            return Err(RepositoryError::corrupt(
                key,
                "its list of index objects is cut short",
            ));
        }
        Ok(ids.map(hex::encode).collect())
    }

    /// Lists the index objects with the packs each names. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read or an index object is damaged.
    pub async fn index_packs(
        store: &dyn ObjectStore,
    ) -> Result<Vec<(IndexId, Vec<PackId>)>, RepositoryError> {
        let listed = store.list(INDEX).await?;
        let read = |meta: lifeboat_storage::ObjectMeta| async move {
            let bytes = store.get(&meta.key).await?;
            let public = sealed::public(Kind::Index, &bytes).map_err(|flaw| flaw.of(&meta.key))?;
            let packs = packs_of(public).map_err(|flaw| flaw.of(&meta.key))?;
            let id = meta.key.file_name().parse();
            let id = id.map_err(|_| RepositoryError::corrupt(&meta.key, "its name is no id"))?;
            Ok((id, packs))
        };
        stream::iter(listed)
            .map(read)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Loads the index, and lists the index objects it came from. Needs any key.
    ///
    /// Packs that the store has lost or cut are left out: a backup stores their chunks again instead
    /// of referring to them, and a restore finds the chunks where they are whole.
    ///
    /// Commit records that a caller relies on must be listed before: an index never names less than
    /// the records that existed when it was read.
    pub(crate) async fn load_index(&self) -> Result<(ChunkIndex, Vec<IndexId>), RepositoryError> {
        let objects = self.index_objects().await?;
        // Listed after the index, the packs of every index object must be there: they came first.
        let listed = self.store.list(PACKS).await?;
        let there: HashMap<ObjectKey, u64> = listed
            .into_iter()
            .map(|meta| (meta.key, meta.size))
            .collect();
        let mut index = ChunkIndex::default();
        let mut lost = 0;
        for pack in objects.iter().flat_map(|(_, object)| &object.packs) {
            match there.get(&layout::pack(PackId::from_bytes(pack.id))) {
                Some(size) if *size == pack.size => index.add(pack),
                _ => lost += 1,
            }
        }
        if lost > 0 {
            let store = self.store.describe();
            tracing::warn!("{lost} packs are missing or cut in `{store}`: run `lifeboat verify`");
        }
        Ok((index, objects.into_iter().map(|(id, _)| id).collect()))
    }

    async fn index_objects(&self) -> Result<Vec<(IndexId, IndexV1)>, RepositoryError> {
        let listed = self.store.list(INDEX).await?;
        let read = |meta: lifeboat_storage::ObjectMeta| async move {
            let bytes = self.store.get(&meta.key).await?;
            let id = meta.key.file_name().parse();
            let id = id.map_err(|_| RepositoryError::corrupt(&meta.key, "its name is no id"))?;
            Ok((
                id,
                self.open_index(&bytes).map_err(|flaw| flaw.of(&meta.key))?,
            ))
        };
        stream::iter(listed)
            .map(read)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    pub(crate) fn open_index(&self, bytes: &[u8]) -> Result<IndexV1, Flaw> {
        let index: IndexV1 = sealed::open(Kind::Index, self.id, self.keys.metadata(), bytes)?;
        if index.packs.iter().all(IndexedPackV1::is_sound) {
            Ok(index)
        } else {
            Err(Flaw::damaged("its numbers do not agree"))
        }
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

async fn unwrap_key(
    store: &dyn ObjectStore,
    id: RepositoryId,
    secret: &KeySecret,
    what: &str,
) -> Result<KeyRing, RepositoryError> {
    let wrong = || RepositoryError::WrongKey {
        secret: what.to_owned(),
        id,
    };
    let key = layout::wrapped_key(secret.key);
    let bytes = match store.get(&key).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind == lifeboat_model::ErrorKind::NotFound => return Err(wrong()),
        Err(error) => return Err(error.into()),
    };
    let public = sealed::public(Kind::WrappedKey, &bytes).map_err(|flaw| flaw.of(&key))?;
    let info: KeyInfo = serde_json::from_slice(public)
        .map_err(|_| RepositoryError::corrupt(&key, "its label cannot be read"))?;
    let wrapped: WrappedV1 =
        sealed::open(Kind::WrappedKey, id, &secret.secret, &bytes).map_err(|flaw| match flaw {
            Flaw::Damaged(_) => wrong(),
            newer @ Flaw::Newer(_) => newer.of(&key),
        })?;
    if wrapped.context != wrap_context(id, secret.key, info.role) {
        return Err(wrong());
    }
    KeyRing::from_bytes(info.role, &wrapped.secrets).ok_or_else(wrong)
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

/// Bytes of an index object's name that commit records keep: enough to tell them apart.
const INDEX_PREFIX_LEN: usize = 8;

/// Writes the public part of a commit record.
pub(crate) fn index_prefixes(mut ids: Vec<IndexId>) -> Vec<u8> {
    ids.sort_unstable();
    ids.dedup();
    ids.iter()
        .flat_map(|id| id.as_bytes()[..INDEX_PREFIX_LEN].to_vec())
        .collect()
}

/// Returns the id that a commit record's bytes have.
pub(crate) fn snapshot_id(bytes: &[u8]) -> SnapshotId {
    SnapshotId::from_bytes(*blake3::hash(bytes).as_bytes())
}

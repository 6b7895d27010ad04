//! A repository on any store, fed from trees in memory: the model that tests compare with.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use lifeboat_model::{
    BackupKind, Entry, EntryKind, EntryPath, EnvironmentClass, ErrorKind, Metadata, SourceKind,
    Tier,
};
use lifeboat_repository::{
    Credential, KeySecret, Layout, NewKeys, Repository, RepositoryError, Role, Snapshot,
    SnapshotDraft,
};
use lifeboat_runtime::{ComputePool, ManualClock, SeededEntropy, World};
use lifeboat_storage::ObjectStore;

/// A source: paths and contents. Names that end in `.db` are database files.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

pub(crate) const PAGE: usize = 4096;

pub(crate) struct Bench {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) world: World,
    pub(crate) keys: NewKeys,
}

pub(crate) fn start() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

pub(crate) fn world(seed: u64) -> (Arc<ManualClock>, World) {
    let clock = Arc::new(ManualClock::new(start()));
    let entropy = Arc::new(SeededEntropy::new(seed));
    (
        clock.clone(),
        World {
            clock,
            entropy,
            pool: ComputePool::inline(),
        },
    )
}

impl Bench {
    /// Creates a repository in `create_in` and goes on through `store`, another view of it.
    pub(crate) async fn create(
        create_in: Arc<dyn ObjectStore>,
        store: Arc<dyn ObjectStore>,
    ) -> Self {
        let (clock, world) = world(1);
        let region = "home".parse().unwrap();
        let (_, keys) = Repository::create(create_in, region, "eu".parse().unwrap(), world.clone())
            .await
            .unwrap();
        Self {
            store,
            clock,
            world,
            keys,
        }
    }

    /// Returns the same host with another way to the store.
    pub(crate) fn with_store(other: &Bench, store: Arc<dyn ObjectStore>) -> Self {
        let keys = NewKeys {
            root: other.keys.root.clone(),
            secrets: other.keys.secrets.clone(),
        };
        Self {
            store,
            clock: other.clock.clone(),
            world: other.world.clone(),
            keys,
        }
    }

    pub(crate) async fn in_memory() -> Self {
        let store = Arc::new(lifeboat_storage::MemoryStore::new("home"));
        Self::create(store.clone(), store).await
    }

    pub(crate) fn secret(&self, role: Role) -> &KeySecret {
        &self
            .keys
            .secrets
            .iter()
            .find(|(have, _)| *have == role)
            .unwrap()
            .1
    }

    pub(crate) async fn open(&self, role: Role) -> Result<Repository, RepositoryError> {
        let credential = match role {
            Role::Root => Credential::Root(self.keys.root.clone()),
            role => Credential::Key(self.secret(role).clone(), format!("{role} key")),
        };
        Repository::open(self.store.clone(), &credential, self.world.clone()).await
    }

    pub(crate) async fn backup(
        &self,
        tree: &Tree,
        kind: BackupKind,
    ) -> Result<Snapshot, RepositoryError> {
        let repository = self.open(Role::Writer).await?;
        let mut writer = repository.snapshot_writer(draft(kind)).await?;
        writer
            .add(entry(EntryPath::root(), EntryKind::Directory))
            .await?;
        for (path, bytes) in tree {
            let size = bytes.len() as u64;
            let entry = entry(
                EntryPath::new(path.as_str()).unwrap(),
                EntryKind::File { size },
            );
            let layout = match path.ends_with(".db") {
                true => Layout::Pages {
                    page_size: PAGE as u32,
                },
                false => Layout::Stream,
            };
            writer.begin_file(entry, layout).await?;
            for part in bytes.chunks(300_000) {
                writer.write(part).await?;
            }
            writer.end_file().await?;
        }
        self.clock.advance(std::time::Duration::from_secs(60));
        writer.commit(self.world.clock.now()).await
    }

    /// Restores a snapshot with the reader key.
    pub(crate) async fn restore(&self, snapshot: &Snapshot) -> Result<Tree, RepositoryError> {
        let repository = self.open(Role::Reader).await?;
        restore(&repository, snapshot).await
    }
}

pub(crate) async fn restore(
    repository: &Repository,
    snapshot: &Snapshot,
) -> Result<Tree, RepositoryError> {
    let manifest = repository.manifest(snapshot).await?;
    let mut files: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (number, stored) in manifest.entries.iter().enumerate() {
        if let EntryKind::File { size } = stored.entry.kind {
            files.insert(number, vec![0; size as usize]);
        }
    }
    let mut stream = Box::pin(
        manifest.fetch(
            files
                .keys()
                .map(|number| (*number, *number))
                .collect::<Vec<_>>(),
        )?,
    );
    while let Some(pieces) = stream.next().await {
        let pieces = pieces.map_err(|error| error.source)?;
        for piece in pieces.pieces {
            let start = piece.destination.offset as usize;
            let bytes = &pieces.bytes[piece.range];
            files.get_mut(&piece.destination.file).unwrap()[start..start + bytes.len()]
                .copy_from_slice(bytes);
        }
    }
    let name = |number: usize| manifest.entries[number].entry.path.to_string();
    Ok(files
        .into_iter()
        .map(|(number, bytes)| (name(number), bytes))
        .collect())
}

pub(crate) fn draft(kind: BackupKind) -> SnapshotDraft {
    SnapshotDraft {
        environment: "prod".parse().unwrap(),
        class: EnvironmentClass::Production,
        source: "shop".parse().unwrap(),
        source_kind: SourceKind::Files,
        tier: Tier::Hourly,
        kind,
        host: "host".to_owned(),
        program: "test".to_owned(),
        masked: false,
    }
}

pub(crate) fn entry(path: EntryPath, kind: EntryKind) -> Entry {
    Entry {
        path,
        kind,
        metadata: Metadata {
            mode: 0o644,
            ..Metadata::default()
        },
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A tree with every layout: empty, tiny, several-chunk and database files.
pub(crate) fn tree(seed: u64) -> Tree {
    let mut tree = Tree::new();
    tree.insert("a/empty".to_owned(), Vec::new());
    tree.insert("a/tiny".to_owned(), format!("tiny {seed}").into_bytes());
    tree.insert(
        "b/text".to_owned(),
        format!("line {seed}\n").repeat(20_000).into_bytes(),
    );
    tree.insert("b/large".to_owned(), noise(seed, 3_000_000));
    tree.insert("shop.db".to_owned(), noise(seed + 100, 600 * PAGE));
    tree
}

/// Reports whether an error is a fault of the store, rather than a wrong answer.
pub(crate) fn is_store_fault(error: &RepositoryError) -> bool {
    use lifeboat_model::Diagnose as _;
    matches!(
        error.kind(),
        ErrorKind::Transient | ErrorKind::Failed | ErrorKind::NoSpace
    )
}

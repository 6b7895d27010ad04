//! Many sessions on one store, interleaved call by call: writers, readers, pruners, deaths, failing
//! calls and clocks that jump.
//!
//! A seed decides everything, so a failing one can be replayed: `LIFEBOAT_SEED=n` runs that one alone,
//! `LIFEBOAT_SEEDS=n` the first n.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::{BackupKind, EntryKind, EntryPath, Lsn, SnapshotId, WalRange};
use lifeboat_repository::layout::{LEASES, PACKS, TOMBSTONES, WAL};
use lifeboat_repository::{
    Credential, Damage, IndexCatalog, Layout, NewKeys, PruneOptions, PruneReport, Repository,
    RepositoryError, Role, RunKind, Snapshot, SnapshotName, VerifyLevel, VerifyReport, WalPlace,
};
use lifeboat_runtime::{ComputePool, Entropy, ManualClock, SeededEntropy, World};
use lifeboat_storage::{
    FaultPlan, FaultRates, FaultyStore, MemoryStore, ObjectKey, ObjectMeta, ObjectStore, Put,
    StoreError,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{PAGE, Tree, draft, entry, noise, restore, start};
use crate::wal;

/// Seeds in the everyday run.
const SEEDS: u64 = 300;

/// Small numbers from a seed.
#[derive(Clone)]
struct Dice(Arc<SeededEntropy>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(SeededEntropy::new(seed)))
    }

    /// Returns a number below `sides`.
    fn roll(&self, sides: usize) -> usize {
        let entropy: &dyn Entropy = &*self.0;
        u32::from_le_bytes(entropy.bytes()) as usize % sides
    }

    fn one_in(&self, n: usize) -> bool {
        self.roll(n) == 0
    }
}

/// Lets one call at a time go on, in the order that the dice say.
#[derive(Default)]
struct Gate(Mutex<Vec<oneshot::Sender<()>>>);

impl Gate {
    async fn pass(&self) {
        let (open, opened) = oneshot::channel();
        self.0.lock().unwrap().push(open);
        // A gate that is gone stops nobody: the simulation has ended.
        let _ = opened.await;
    }

    /// Lets one of those who wait go on; returns whether anybody waited.
    fn release(&self, dice: &Dice) -> bool {
        let mut waiting = self.0.lock().unwrap();
        if waiting.is_empty() {
            return false;
        }
        let chosen = dice.roll(waiting.len());
        let _ = waiting.swap_remove(chosen).send(());
        true
    }
}

/// A store whose calls wait at the gate before they do their work, and again before they answer.
struct GatedStore {
    inner: Arc<MemoryStore>,
    gate: Arc<Gate>,
}

impl GatedStore {
    async fn gated<T>(&self, call: impl Future<Output = T>) -> T {
        self.gate.pass().await;
        let answer = call.await;
        self.gate.pass().await;
        answer
    }
}

#[async_trait]
impl ObjectStore for GatedStore {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        self.gated(self.inner.put(key, body)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.gated(self.inner.get(key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.gated(self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.gated(self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.gated(self.inner.list(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.gated(self.inner.delete(key)).await
    }
}

/// What must be true, whatever happens.
#[derive(Default)]
struct Model {
    /// Snapshots that were reported as committed.
    committed: BTreeMap<SnapshotId, Tree>,
    /// Snapshots that a prune was asked to delete.
    condemned: BTreeSet<SnapshotId>,
    /// Every tree that anybody began to back up, by source.
    tried: BTreeMap<String, Vec<Tree>>,
    pruned: PruneReport,
    restored: u64,
}

type Shared = Arc<Mutex<Model>>;

/// One host: its own clock, entropy and way to the store.
#[derive(Clone)]
struct Host {
    name: String,
    world: World,
    store: Arc<dyn ObjectStore>,
    dice: Dice,
    model: Shared,
}

struct Simulation {
    memory: Arc<MemoryStore>,
    gate: Arc<Gate>,
    keys: Arc<NewKeys>,
    clocks: Vec<Arc<ManualClock>>,
    dice: Dice,
    model: Shared,
    actors: Vec<JoinHandle<()>>,
}

impl Host {
    async fn open(&self, keys: &NewKeys, role: Role) -> Result<Repository, RepositoryError> {
        let (_, secret) = keys.secrets.iter().find(|(have, _)| *have == role).unwrap();
        let credential = Credential::Key(secret.clone(), format!("{role} key"));
        Repository::open(self.store.clone(), &credential, self.world.clone()).await
    }

    /// A tree of files whose contents are few, so that what was deleted comes back.
    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for file in 0..3 {
            let content = noise(self.dice.roll(6) as u64, 300);
            tree.insert(format!("file-{file}"), content);
        }
        let mut pages = noise(50, 3 * PAGE);
        pages[self.dice.roll(3) * PAGE] ^= self.dice.roll(4) as u8;
        tree.insert("shop.db".to_owned(), pages);
        tree
    }

    async fn backup(&self, keys: &NewKeys, source: &str) -> Result<(), RepositoryError> {
        let tree = self.tree();
        self.model
            .lock()
            .unwrap()
            .tried
            .entry(source.to_owned())
            .or_default()
            .push(tree.clone());
        let repository = self.open(keys, Role::Writer).await?;
        let kind = match self.dice.one_in(3) {
            true => BackupKind::Full,
            false => BackupKind::Incremental,
        };
        let mut draft = draft(kind);
        draft.source = source.parse().unwrap();
        draft.host = self.name.clone();
        let mut writer = repository.snapshot_writer(draft).await?;
        writer
            .add(entry(EntryPath::root(), EntryKind::Directory))
            .await?;
        for (path, bytes) in &tree {
            let size = bytes.len() as u64;
            let path_of = EntryPath::new(path.as_str()).unwrap();
            let mut file = entry(path_of, EntryKind::File { size });
            // Other content is another file: otherwise it would be taken for unchanged.
            file.metadata.inode =
                u64::from_le_bytes(blake3::hash(bytes).as_bytes()[..8].try_into().unwrap());
            if writer.reuse(&file).await? {
                continue;
            }
            let layout = match path.ends_with(".db") {
                true => Layout::Pages {
                    page_size: PAGE as u32,
                },
                false => Layout::Stream,
            };
            writer.begin_file(file, layout).await?;
            writer.write(bytes).await?;
            writer.end_file().await?;
        }
        if self.dice.one_in(2) {
            writer.set_wal(self.push(&repository, source).await?);
        }
        let snapshot = match writer.commit(self.world.clock.now()).await {
            // What the push found there already was marked: it must not be counted on.
            Err(RepositoryError::WalMissing { .. }) => return Ok(()),
            other => other?,
        };
        self.model
            .lock()
            .unwrap()
            .committed
            .insert(snapshot.id, tree);
        Ok(())
    }

    /// Pushes a piece of a log, one of few, and returns the stretch that it is.
    async fn push(
        &self,
        repository: &Repository,
        source: &str,
    ) -> Result<WalRange, RepositoryError> {
        let place = WalPlace {
            environment: "prod".parse().unwrap(),
            source: source.parse().unwrap(),
            ..wal::place()
        };
        let number = self.dice.roll(4) as u64;
        let (draft, len) = (
            wal::draft(number, Some(0..64)),
            u64::from(wal::SIZE.bytes()),
        );
        let known = Repository::wal_listing_beside(&*self.store, &place, draft.file).await?;
        let bytes = noise(number, 64).into();
        repository.put_wal(&place, &draft, bytes, &known).await?;
        Ok(WalRange {
            system: place.system,
            timeline: lifeboat_model::Timeline::new(1),
            start: Lsn::new(number * len + 1),
            stop: Lsn::new(number * len + 64),
            segment_size: wal::SIZE,
            embedded: false,
        })
    }

    async fn prune(&self, keys: &NewKeys) -> Result<(), RepositoryError> {
        let repository = self.open(keys, Role::Pruner).await?;
        let names = Repository::snapshot_names(&*self.store, None, None).await?;
        let mut delete: Vec<SnapshotName> = names;
        delete.retain(|_| self.dice.one_in(2));
        self.model
            .lock()
            .unwrap()
            .condemned
            .extend(delete.iter().map(|name| name.id));
        // A policy that knows nothing: the engine must keep what snapshots need all the same.
        let listed = self.store.list(WAL).await?;
        let mut wal: Vec<ObjectKey> = listed.into_iter().map(|meta| meta.key).collect();
        wal.retain(|_| self.dice.one_in(2));
        let options = PruneOptions {
            delete,
            wal,
            host: self.name.clone(),
            ..PruneOptions::default()
        };
        let report = repository.prune(&options).await?;
        let mut model = self.model.lock().unwrap();
        model.pruned.packs += report.packs;
        model.pruned.wal_objects += report.wal_objects;
        model.pruned.wal_waiting += report.wal_waiting;
        model.pruned.rescued += report.rescued;
        model.pruned.repacked += report.repacked;
        model.pruned.fenced.extend(report.fenced);
        model.pruned.packs_waiting += report.packs_waiting;
        Ok(())
    }

    /// Restores some snapshot under a lease. It gives the right bytes, or an error if the snapshot was
    /// deleted before or the session was fenced.
    async fn restore(&self, keys: &NewKeys) -> Result<(), RepositoryError> {
        let repository = self.open(keys, Role::Reader).await?;
        let lease = repository.lease(RunKind::Restore, &self.name).await?;
        let names = Repository::snapshot_names(&*self.store, None, None).await?;
        if let Some(name) = names.get(self.dice.roll(names.len().max(1))) {
            let snapshot = repository.snapshot(name).await?;
            let tree = restore(&repository, &snapshot).await?;
            let mut model = self.model.lock().unwrap();
            if let Some(expected) = model.committed.get(&name.id) {
                assert!(tree == *expected, "other bytes came back");
                model.restored += 1;
            }
        }
        lease.release().await
    }
}

impl Simulation {
    async fn create(seed: u64) -> Self {
        let memory = Arc::new(MemoryStore::new("home"));
        let world = World {
            clock: Arc::new(ManualClock::new(start())),
            entropy: Arc::new(SeededEntropy::new(seed)),
            pool: ComputePool::inline(),
        };
        let (region, location) = ("home".parse().unwrap(), "eu".parse().unwrap());
        let created = Repository::create(memory.clone(), region, location, world).await;
        Self {
            memory,
            gate: Arc::default(),
            keys: Arc::new(created.unwrap().1),
            clocks: Vec::new(),
            dice: Dice::new(seed ^ 0x5eed),
            model: Shared::default(),
            actors: Vec::new(),
        }
    }

    fn host(&mut self, name: &str, fault_rate: f64) -> Host {
        let seed = self.dice.roll(usize::MAX) as u64;
        // Clocks differ by up to two hours, which is more than a lease lives.
        let skew = Duration::from_secs(self.dice.roll(7200) as u64);
        let clock = Arc::new(ManualClock::new(start() + skew));
        self.clocks.push(clock.clone());
        let gated = GatedStore {
            inner: self.memory.clone(),
            gate: self.gate.clone(),
        };
        let rates = FaultRates {
            fail: fault_rate,
            lose_reply: fault_rate,
            ..FaultRates::default()
        };
        Host {
            name: name.to_owned(),
            world: World {
                clock,
                entropy: Arc::new(SeededEntropy::new(seed)),
                pool: ComputePool::inline(),
            },
            store: Arc::new(FaultyStore::new(gated, FaultPlan::seeded(seed, rates))),
            dice: Dice::new(seed + 1),
            model: self.model.clone(),
        }
    }

    fn start_actors(&mut self) {
        let rate = [0.0, 0.0, 0.01, 0.03][self.dice.roll(4)];
        for (name, source) in [("one", "shop"), ("two", "shop"), ("three", "config")] {
            let (host, keys) = (self.host(name, rate), self.keys.clone());
            self.actors.push(tokio::spawn(async move {
                for _ in 0..5 {
                    tolerate(host.backup(&keys, source).await);
                }
            }));
        }
        let pruners = 1 + usize::from(self.dice.one_in(3));
        for _ in 0..pruners {
            let (host, keys) = (self.host("pruner", rate), self.keys.clone());
            self.actors.push(tokio::spawn(async move {
                for _ in 0..6 {
                    tolerate(host.prune(&keys).await);
                }
            }));
        }
        let (host, keys) = (self.host("reader", rate), self.keys.clone());
        self.actors.push(tokio::spawn(async move {
            for _ in 0..4 {
                tolerate(host.restore(&keys).await);
            }
        }));
    }

    /// Lets the actors run to their ends, with deaths and jumps of clocks on the way.
    async fn run(&mut self) {
        let deadly = self.dice.one_in(2);
        let jumpy = self.dice.one_in(2);
        loop {
            // Everybody runs until everybody waits at the gate.
            for _ in 0..12 {
                tokio::task::yield_now().await;
            }
            if deadly && self.dice.one_in(150) {
                let victim = self.dice.roll(self.actors.len());
                self.actors[victim].abort();
            }
            if jumpy && self.dice.one_in(60) {
                let clock = self.dice.roll(self.clocks.len());
                let minutes = self.dice.roll(100) as u64;
                self.clocks[clock].advance(Duration::from_secs(60 * minutes));
            }
            self.clocks
                .iter()
                .for_each(|c| c.advance(Duration::from_secs(1)));
            if !self.gate.release(&self.dice) {
                break;
            }
        }
        for actor in self.actors.drain(..) {
            match actor.await {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                _ => {}
            }
        }
    }

    /// Checks everything that was promised, then that pruning leaves nothing behind.
    async fn check(&self) {
        let late = start() + Duration::from_secs(40 * 3600);
        let world = World {
            clock: Arc::new(ManualClock::new(late)),
            entropy: Arc::new(SeededEntropy::new(self.dice.roll(usize::MAX) as u64)),
            pool: ComputePool::inline(),
        };
        let host = Host {
            name: "auditor".to_owned(),
            world,
            store: self.memory.clone(),
            dice: self.dice.clone(),
            model: self.model.clone(),
        };
        let reader = host.open(&self.keys, Role::Reader).await.unwrap();
        // A session that was fenced while it wrote its index may leave one that names packs that are gone.
        // No snapshot needs it, and the next prune forgets it.
        let report = self.check_snapshots(&reader).await;
        assert!(report.affected.is_empty(), "{:?}", report.affected);
        let forgotten = |damage: &&Damage| damage.what != "it is missing";
        assert_eq!(report.damage.iter().find(forgotten), None);
        // The first run takes the dead for dead, and the second removes what it left of them.
        for _ in 0..2 {
            let options = PruneOptions {
                host: "auditor".to_owned(),
                ..PruneOptions::default()
            };
            let pruner = host.open(&self.keys, Role::Pruner).await.unwrap();
            let report = pruner.prune(&options).await.unwrap();
            assert_eq!(report.waiting_for, Vec::<String>::new());
        }
        let report = self.check_snapshots(&reader).await;
        assert_eq!(report.damage, []);
        self.check_no_garbage().await;
    }

    async fn check_snapshots(&self, reader: &Repository) -> VerifyReport {
        let found = reader.snapshots(None, None).await.unwrap();
        let trees: Vec<Tree> = {
            let mut trees = Vec::new();
            for snapshot in &found {
                trees.push(restore(reader, snapshot).await.unwrap());
            }
            trees
        };
        self.compare(&found, trees);
        reader.verify(VerifyLevel::Full).await.unwrap()
    }

    fn compare(&self, found: &[Snapshot], trees: Vec<Tree>) {
        let model = self.model.lock().unwrap();
        for (snapshot, tree) in found.iter().zip(trees) {
            match model.committed.get(&snapshot.id) {
                Some(expected) => assert!(tree == *expected, "other bytes came back"),
                // Its writer died, or was told of a failure, after it had come into being.
                None => assert!(model.tried[snapshot.source.as_str()].contains(&tree)),
            }
        }
        for id in model.committed.keys() {
            let there = found.iter().any(|snapshot| snapshot.id == *id);
            assert!(there || model.condemned.contains(id), "{id} was lost");
        }
    }

    async fn check_no_garbage(&self) {
        for prefix in [TOMBSTONES, LEASES] {
            let left = self.memory.list(prefix).await.unwrap();
            // What a fenced session may yet commit is kept until it did.
            let waits = |meta: &&ObjectMeta| meta.key.as_str().contains("/commit-");
            let folder =
                |meta: &ObjectMeta| meta.key.as_str().rsplit_once('/').unwrap().0.to_owned();
            let waiting: BTreeSet<String> = left.iter().filter(waits).map(folder).collect();
            let left: Vec<_> = left
                .iter()
                .filter(|meta| !waiting.contains(&folder(meta)))
                .collect();
            assert!(left.is_empty(), "{left:?} was left behind");
        }
        let named = IndexCatalog::read(&*self.memory).await.unwrap().packs();
        let packs = self.memory.list(PACKS).await.unwrap();
        assert_eq!(packs.len(), named.len(), "packs that no index object names");
    }
}

/// Nothing may fail but by what the simulation does: store faults, fences, deletions.
fn tolerate(result: Result<(), RepositoryError>) {
    match result {
        Ok(())
        | Err(
            RepositoryError::Store(_)
            | RepositoryError::Fenced { .. }
            | RepositoryError::PruneRunning { .. }
            | RepositoryError::Corrupt { .. }
            | RepositoryError::MissingChunk { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

fn simulate(seed: u64) -> Model {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut simulation = Simulation::create(seed).await;
        simulation.start_actors();
        simulation.run().await;
        simulation.check().await;
        std::mem::take(&mut *simulation.model.lock().unwrap())
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "who runs the test decides how long"
)]
fn variable(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the seed that failed, and what the others saw"
)]
fn many_sessions_at_once_lose_no_snapshot_whatever_happens() {
    let seeds = match variable("LIFEBOAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("LIFEBOAT_SEEDS").unwrap_or(SEEDS),
    };
    let alone = seeds.end - seeds.start == 1;
    let mut sum = Model::default();
    for seed in seeds {
        let model = std::panic::catch_unwind(|| simulate(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed} failed: run it alone with LIFEBOAT_SEED={seed}");
            std::panic::resume_unwind(panic)
        });
        sum.committed.extend(model.committed);
        sum.pruned.packs += model.pruned.packs;
        sum.pruned.rescued += model.pruned.rescued;
        sum.pruned.repacked += model.pruned.repacked;
        sum.pruned.packs_waiting += model.pruned.packs_waiting;
        sum.pruned.wal_objects += model.pruned.wal_objects;
        sum.pruned.wal_waiting += model.pruned.wal_waiting;
        sum.pruned.fenced.extend(model.pruned.fenced);
        sum.restored += model.restored;
    }
    let PruneReport {
        packs,
        rescued,
        repacked,
        packs_waiting,
        wal_objects,
        wal_waiting,
        fenced,
        ..
    } = &sum.pruned;
    let (committed, fenced) = (sum.committed.len(), fenced.len());
    println!(
        "{committed} committed, {} restored meanwhile, {packs} packs deleted, {repacked} rewritten, \
         {rescued} rescued, {packs_waiting} waited, {wal_objects} pieces of logs deleted, {wal_waiting} waited, {fenced} sessions fenced",
        sum.restored
    );
    if !alone {
        // A simulation in which none of this happens would prove nothing.
        let happened = [
            committed as u64,
            sum.restored,
            *packs,
            *rescued,
            *repacked,
            *packs_waiting,
            *wal_objects,
            *wal_waiting,
            fenced as u64,
        ];
        assert!(happened.iter().all(|count| *count > 0), "{happened:?}");
    }
}

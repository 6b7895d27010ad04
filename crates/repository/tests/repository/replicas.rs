//! Several stores with the same objects: what is vouched for, and what one does for another.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::{BackupKind, Diagnose as _, ErrorKind};
use lifeboat_repository::{
    CopyLimits, ObjectClass, Replication, Role, RunKind, Snapshot, copy_checked,
};
use lifeboat_storage::{
    FailoverStore, ListedBy, MemoryStore, ObjectKey, ObjectMeta, ObjectStore, Put, StoreError,
};

use crate::support::{Bench, Tree};

fn tree() -> Tree {
    let noise = |seed: u64, size: usize| {
        let mut bytes = vec![0; size];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    };
    Tree::from([
        ("notes".to_owned(), noise(1, 700_000)),
        ("shop.db".to_owned(), noise(2, 300_000)),
    ])
}

async fn backed_up() -> (Bench, Snapshot) {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(), BackupKind::Full).await.unwrap();
    (bench, snapshot)
}

async fn packs(store: &dyn ObjectStore) -> Vec<ObjectKey> {
    let listed = store.list("packs/").await.unwrap();
    listed.into_iter().map(|meta| meta.key).collect()
}

/// Copies everything but the last commit records.
async fn copied(bench: &Bench, target: &MemoryStore) -> Replication {
    let plan = Replication::plan(&*bench.store, target).await.unwrap();
    let limits = CopyLimits::default();
    let copy = plan.copy_objects(&*bench.store, target, &limits, |_| {});
    copy.await.unwrap();
    plan
}

async fn replace(store: &dyn ObjectStore, key: &ObjectKey, bytes: Bytes) {
    store.delete(key).await.unwrap();
    store.put(key, bytes).await.unwrap();
}

/// Copies the commit records as well.
async fn commit(bench: &Bench, plan: &Replication, target: &Arc<MemoryStore>) {
    let lease =
        lifeboat_repository::Lease::take(target.clone(), &bench.world, RunKind::Replicate, "host");
    let mut lease = lease.await.unwrap();
    plan.commit(&*bench.store, &mut lease).await.unwrap();
}

/// Reads the bench's store, and `away` where it fails.
fn joined(bench: &Bench, away: Arc<dyn ObjectStore>) -> Arc<FailoverStore> {
    Arc::new(reading(bench, away))
}

/// Reads the bench's store, and what `away` has besides.
fn joined_any(bench: &Bench, away: Arc<dyn ObjectStore>) -> FailoverStore {
    reading(bench, away).with_listed_by(ListedBy::Any)
}

fn reading(bench: &Bench, away: Arc<dyn ObjectStore>) -> FailoverStore {
    let sound =
        |key: &ObjectKey, bytes: &[u8]| ObjectClass::name_matches(key, bytes) != Some(false);
    let stores: Vec<(String, Arc<dyn ObjectStore>)> = vec![
        ("home".to_owned(), bench.store.clone()),
        ("away".to_owned(), away),
    ];
    FailoverStore::new(stores, sound)
}

#[tokio::test]
async fn what_another_writer_put_in_the_way_is_looked_at() {
    let (bench, _) = backed_up().await;
    let target = MemoryStore::new("away");
    let plan = Replication::plan(&*bench.store, &target).await.unwrap();
    let pack = &packs(&*bench.store).await[0];
    let sound = bench.store.get(pack).await.unwrap();
    let mut other = sound.to_vec();
    other[7] ^= 1;
    target.put(pack, other.into()).await.unwrap();
    let limits = CopyLimits::default();
    let copy = plan.copy_objects(&*bench.store, &target, &limits, |_| {});
    let error = copy.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(pack.as_str()), "{error}");
    // The same bytes are no harm.
    replace(&target, pack, sound).await;
    plan.copy_objects(&*bench.store, &target, &limits, |_| {})
        .await
        .unwrap();
}

#[tokio::test]
async fn no_receipt_vouches_for_an_object_of_another_length() {
    let (bench, _) = backed_up().await;
    let target = Arc::new(MemoryStore::new("away"));
    let plan = copied(&bench, &target).await;
    let lease =
        lifeboat_repository::Lease::take(target.clone(), &bench.world, RunKind::Replicate, "host");
    plan.commit(&*bench.store, &mut lease.await.unwrap())
        .await
        .unwrap();
    let pack = &packs(&*target).await[0];
    let sound = target.get(pack).await.unwrap();
    replace(&*target, pack, sound.slice(1..)).await;
    let away = "away".parse().unwrap();
    let now = bench.world.clock.now();
    let receipts = || plan.write_receipts(&*bench.store, &*target, &away, now);
    assert_eq!(receipts().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(target.list("receipts/").await.unwrap().is_empty());
    replace(&*target, pack, sound).await;
    assert_eq!(receipts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_a_pack_is_read_from_another_store_and_told() {
    let (bench, snapshot) = backed_up().await;
    let away = MemoryStore::new("away");
    let plan = copied(&bench, &away).await;
    drop(plan);
    for pack in packs(&*bench.store).await {
        let sound = bench.store.get(&pack).await.unwrap();
        let mut damaged = sound.to_vec();
        // Every sealed frame is longer than this.
        for at in (0..damaged.len()).step_by(64) {
            damaged[at] ^= 1;
        }
        replace(&*bench.store, &pack, damaged.into()).await;
    }
    let alone = bench.restore(&snapshot).await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Corrupt);
    let both = joined(&bench, Arc::new(away));
    let reader = Bench::with_store(&bench, both.clone());
    reader.open(Role::Reader).await.unwrap();
    assert_eq!(reader.restore(&snapshot).await.unwrap(), tree());
    let damaged = both.damaged();
    assert!(
        damaged.iter().all(|one| one.member == "home"),
        "{damaged:?}"
    );
    let told: Vec<_> = damaged.into_iter().map(|one| one.key).collect();
    assert_eq!(told, packs(&*bench.store).await);
}

/// Deletes a pack, or leaves so many bytes of it.
async fn lose(store: &dyn ObjectStore, pack: &ObjectKey, left: Option<usize>) {
    let bytes = store.get(pack).await.unwrap();
    store.delete(pack).await.unwrap();
    if let Some(left) = left {
        store.put(pack, bytes.slice(..left)).await.unwrap();
    }
}

#[tokio::test]
async fn packs_that_are_missing_or_cut_are_read_from_another_store_and_told() {
    for left in [None, Some(0), Some(60)] {
        let (bench, snapshot) = backed_up().await;
        let away = Arc::new(MemoryStore::new("away"));
        copied(&bench, &away).await;
        let lost = packs(&*bench.store).await;
        for pack in &lost {
            lose(&*bench.store, pack, left).await;
        }
        let both = joined(&bench, away.clone());
        let reader = Bench::with_store(&bench, both.clone());
        assert_eq!(reader.restore(&snapshot).await.unwrap(), tree(), "{left:?}");
        let told = both.damaged();
        assert!(told.iter().all(|one| one.member == "home"), "{told:?}");
        let told: Vec<_> = told.into_iter().map(|one| one.key).collect();
        assert_eq!(told, lost, "{left:?}");
        // Alone, or with the other one lost as well, it ends with the pack's name and the region's.
        let alone = bench.restore(&snapshot).await.unwrap_err();
        assert_eq!(alone.kind(), ErrorKind::Corrupt);
        let text = alone.to_string();
        assert!(text.contains("packs/") && text.contains("home"), "{text}");
        for pack in &lost {
            lose(&*away, pack, left).await;
        }
        let neither = reader.restore(&snapshot).await.unwrap_err();
        assert_eq!(neither.kind(), ErrorKind::Corrupt);
        let text = neither.to_string();
        assert!(
            lost.iter().any(|pack| text.contains(pack.as_str())),
            "{text}"
        );
        assert!(text.contains("`home`, `away`"), "{text}");
        assert!(neither.hint().unwrap().contains("repair"), "{neither}");
    }
}

#[tokio::test]
async fn an_index_object_that_is_missing_is_read_from_another_store_and_told() {
    let (bench, first) = backed_up().await;
    let mut changed = tree();
    changed.insert("more".to_owned(), vec![7; 100_000]);
    let second = bench.backup(&changed, BackupKind::Incremental).await;
    let second = second.unwrap();
    let away = Arc::new(MemoryStore::new("away"));
    let plan = copied(&bench, &away).await;
    commit(&bench, &plan, &away).await;
    let index = bench.store.list("index/").await.unwrap();
    assert_eq!(index.len(), 2);
    for lost in index.iter().map(|meta| &meta.key) {
        let bytes = bench.store.get(lost).await.unwrap();
        bench.store.delete(lost).await.unwrap();
        bench.restore(&second).await.unwrap_err();
        let both = Arc::new(joined_any(&bench, away.clone()));
        let reader = Bench::with_store(&bench, both.clone());
        assert_eq!(reader.restore(&second).await.unwrap(), changed);
        assert_eq!(reader.restore(&first).await.unwrap(), tree());
        let told = both.damaged();
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.member.as_str(), &one.key))
            .collect();
        assert_eq!(told, [("home", lost)]);
        // Who is told to go by the home's listing does not find it.
        let strict = Bench::with_store(&bench, joined(&bench, away.clone()));
        strict.restore(&second).await.unwrap_err();
        bench.store.put(lost, bytes).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_store_has_deleted_is_read_from_another_and_is_no_damage() {
    let (bench, first) = backed_up().await;
    let away = Arc::new(MemoryStore::new("away"));
    let plan = copied(&bench, &away).await;
    commit(&bench, &plan, &away).await;
    for prefix in ["snapshots/", "index/", "packs/"] {
        for meta in bench.store.list(prefix).await.unwrap() {
            bench.store.delete(&meta.key).await.unwrap();
        }
    }
    let new = Tree::from([("new".to_owned(), vec![1; 5000])]);
    let second = bench.backup(&new, BackupKind::Full).await.unwrap();
    // The one that lists the snapshot comes first, as a restore has it.
    let sound =
        |key: &ObjectKey, bytes: &[u8]| ObjectClass::name_matches(key, bytes) != Some(false);
    let stores: Vec<(String, Arc<dyn ObjectStore>)> = vec![
        ("away".to_owned(), away),
        ("home".to_owned(), bench.store.clone()),
    ];
    let both = FailoverStore::new(stores, sound).with_listed_by(ListedBy::Any);
    let both = Arc::new(both);
    let reader = Bench::with_store(&bench, both.clone());
    let repository = reader.open(Role::Reader).await.unwrap();
    let listed = repository.snapshots(None, None).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(listed, [first.id, second.id]);
    assert_eq!(reader.restore(&first).await.unwrap(), tree());
    assert_eq!(both.damaged(), []);
}

#[tokio::test]
async fn a_pack_that_one_store_lost_and_another_damaged_is_read_from_the_third() {
    let (bench, snapshot) = backed_up().await;
    let [damaged, whole] = ["damaged", "whole"].map(|name| Arc::new(MemoryStore::new(name)));
    copied(&bench, &damaged).await;
    copied(&bench, &whole).await;
    let all = packs(&*bench.store).await;
    for pack in &all {
        let mut bytes = damaged.get(pack).await.unwrap().to_vec();
        for at in (0..bytes.len()).step_by(64) {
            bytes[at] ^= 1;
        }
        replace(&*damaged, pack, bytes.into()).await;
        lose(&*bench.store, pack, None).await;
    }
    let sound =
        |key: &ObjectKey, bytes: &[u8]| ObjectClass::name_matches(key, bytes) != Some(false);
    let stores: Vec<(String, Arc<dyn ObjectStore>)> = vec![
        ("home".to_owned(), bench.store.clone()),
        ("damaged".to_owned(), damaged),
        ("whole".to_owned(), whole),
    ];
    let three = Arc::new(FailoverStore::new(stores, sound));
    let reader = Bench::with_store(&bench, three.clone());
    assert_eq!(reader.restore(&snapshot).await.unwrap(), tree());
    let told = three.damaged();
    for member in ["home", "damaged"] {
        let of_member = told.iter().filter(|one| one.member == member);
        assert_eq!(of_member.count(), all.len(), "{member}: {told:?}");
    }
}

#[tokio::test]
async fn a_backup_refers_to_no_pack_that_is_missing_or_cut() {
    for left in [None, Some(60)] {
        for kind in [BackupKind::Full, BackupKind::Incremental] {
            let (bench, _) = backed_up().await;
            for pack in packs(&*bench.store).await {
                lose(&*bench.store, &pack, left).await;
            }
            let second = bench.backup(&tree(), kind).await.unwrap();
            assert_eq!(bench.restore(&second).await.unwrap(), tree());
        }
    }
}

/// A store that counts how many of its reads are under way together.
struct Counting {
    store: MemoryStore,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl ObjectStore for Counting {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        self.store.put(key, body).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.store.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.store.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.store.list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }
}

#[tokio::test]
async fn more_small_objects_than_large_ones_are_on_their_way_together() {
    for (len, expected) in [(100, 12), (100_000, 3)] {
        let from = Counting {
            store: MemoryStore::new("home"),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        for seed in 0..40 {
            let body = Bytes::from(crate::support::noise(seed, len));
            let name = blake3::hash(&body).to_hex();
            let key = ObjectKey::new(format!("packs/{}/{name}", &name[..2])).unwrap();
            from.store.put(&key, body).await.unwrap();
        }
        let to = MemoryStore::new("away");
        let objects = from.list("").await.unwrap();
        let limits = CopyLimits {
            at_once: 3,
            small_at_once: 12,
            ..CopyLimits::default()
        };
        let copy = copy_checked(&from, &to, &objects, &limits, &|_| {});
        copy.await.unwrap();
        assert_eq!(to.list("").await.unwrap(), objects);
        assert_eq!(from.most.load(Ordering::SeqCst), expected, "of {len} bytes");
    }
}

//! Several stores read as one: any that is sound will do.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_storage::{
    Calls, FailoverStore, Fault, FaultPlan, FaultyStore, ListedBy, MemoryStore, NameCheck,
    ObjectKey, ObjectMeta, ObjectStore, Op, Put, StoreError,
};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn anything(_: &ObjectKey, _: &[u8]) -> bool {
    true
}

/// Joins stores under the names by which they describe themselves.
fn joined(stores: Vec<Arc<dyn ObjectStore>>, check: NameCheck) -> FailoverStore {
    let named = stores.into_iter().map(|store| (store.describe(), store));
    FailoverStore::new(named.collect(), check)
}

async fn holding(name: &str, body: &'static [u8]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(name));
    store
        .put(&key("packs/one"), Bytes::from_static(body))
        .await
        .unwrap();
    store
}

fn failing(inner: Arc<MemoryStore>, op: Op, kind: ErrorKind) -> Arc<FaultyStore<Arc<MemoryStore>>> {
    let plan = FaultPlan::none().since(Calls::Of(op), 1, Fault::Fail(kind));
    Arc::new(FaultyStore::new(inner, plan))
}

#[tokio::test]
async fn a_store_that_fails_is_left_aside() {
    for kind in [ErrorKind::Transient, ErrorKind::Denied, ErrorKind::NotFound] {
        let home = failing(holding("home", b"body").await, Op::Get, kind);
        let replica = holding("replica", b"body").await;
        let both = joined(vec![home.clone(), replica], anything);
        for _ in 0..5 {
            assert_eq!(both.get(&key("packs/one")).await.unwrap(), "body");
        }
        // One that is merely without an object is asked each time; one that is ill is spared.
        let asked = if kind == ErrorKind::NotFound { 5 } else { 1 };
        assert_eq!(home.calls(), asked, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_patience_once_a_read() {
    let replica = holding("replica", b"body").await;
    let both = joined(vec![Arc::new(Hanging), replica], anything);
    let read = both.with_patience(Duration::from_secs(2));
    let start = tokio::time::Instant::now();
    let range = read.get_range(&key("packs/one"), 1..3).await.unwrap();
    assert_eq!(range, "od");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn bytes_that_do_not_fit_their_name_are_fetched_elsewhere() {
    let home = holding("home", b"rotten").await;
    let replica = holding("replica", b"body").await;
    let both = joined(vec![home, replica], |_, bytes| bytes == b"body");
    assert_eq!(both.get(&key("packs/one")).await.unwrap(), "body");
}

#[tokio::test]
async fn if_all_fail_the_preferred_one_is_quoted() {
    let home = failing(holding("home", b"").await, Op::List, ErrorKind::Denied);
    let replica = failing(
        holding("replica", b"").await,
        Op::List,
        ErrorKind::Transient,
    );
    let both = joined(vec![home, replica], anything);
    let error = both.list("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.store, "home");
}

#[tokio::test]
async fn what_is_written_concerns_all_and_nothing_is_deleted() {
    let (home, replica) = (holding("home", b"").await, holding("replica", b"").await);
    let ill = failing(holding("ill", b"").await, Op::Put, ErrorKind::Transient);
    let all = joined(vec![ill, home.clone(), replica.clone()], anything);
    let lease = key("leases/one/0");
    let put = all.put(&lease, Bytes::from_static(b"here")).await.unwrap();
    assert_eq!(put, Put::Created);
    for store in [&home, &replica] {
        assert_eq!(store.get(&lease).await.unwrap(), "here");
    }
    all.delete(&lease).await.unwrap_err();
    assert!(home.head(&lease).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_overtaken_and_then_asked_last() {
    let home = Slow::by(Duration::from_secs(2), holding("home", b"body").await);
    let replica = Slow::by(Duration::from_millis(5), holding("replica", b"body").await);
    let both = joined(vec![home.clone(), replica], anything);
    let mut took = Vec::new();
    for _ in 0..8 {
        let start = tokio::time::Instant::now();
        assert_eq!(
            both.get_range(&key("packs/one"), 0..4).await.unwrap(),
            "body"
        );
        took.push(start.elapsed());
    }
    assert!(took[0] < Duration::from_secs(1), "{took:?}");
    // Once it is known how long a read takes, less is waited; and then nobody waits any more.
    assert!(took[1] < took[0], "{took:?}");
    assert_eq!(took[3..], [Duration::from_millis(5); 5]);
    assert_eq!(home.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn where_every_store_is_slow_none_is_asked_twice_for_long() {
    let slow = async |name| Slow::by(Duration::from_secs(4), holding(name, b"body").await);
    let (home, replica) = (slow("home").await, slow("replica").await);
    let both = joined(vec![home.clone(), replica.clone()], anything);
    for _ in 0..10 {
        both.get_range(&key("packs/one"), 0..4).await.unwrap();
    }
    assert_eq!(home.asked.load(Ordering::Relaxed), 10);
    assert_eq!(replica.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_damaged_or_missing_in_one_store_is_named_once() {
    let home = holding("home", b"rotten").await;
    let replica = holding("replica", b"body").await;
    let two = key("packs/two");
    replica
        .put(&two, Bytes::from_static(b"body"))
        .await
        .unwrap();
    let both = joined(vec![home, replica], |_, bytes| bytes == b"body");
    for object in [&two, &key("packs/one"), &two] {
        both.get(object).await.unwrap();
    }
    // That nobody has it is no damage.
    both.get(&key("packs/three")).await.unwrap_err();
    let damaged: Vec<_> = both.damaged();
    let named = damaged
        .iter()
        .map(|one| (one.member.as_str(), one.key.as_str()));
    let named: Vec<_> = named.collect();
    assert_eq!(named, [("home", "packs/one"), ("home", "packs/two")]);
}

async fn told(store: &FailoverStore) -> Vec<String> {
    let listed = store.list_told("packs/").await.unwrap();
    listed.iter().map(|meta| meta.key.to_string()).collect()
}

#[tokio::test]
async fn what_any_store_lists_is_there_and_that_another_lacks_it_is_no_damage() {
    let (home, replica) = (
        holding("home", b"home").await,
        holding("replica", b"replica").await,
    );
    let two = key("packs/two");
    replica.put(&two, Bytes::from_static(b"two")).await.unwrap();
    let stores = || -> Vec<Arc<dyn ObjectStore>> { vec![home.clone(), replica.clone()] };
    let preferred = joined(stores(), anything);
    assert_eq!(told(&preferred).await, ["packs/one"]);
    assert!(preferred.lacking(&two).is_empty());
    assert_eq!(preferred.head(&two).await.unwrap(), None);
    let any = joined(stores(), anything).with_listed_by(ListedBy::Any);
    assert_eq!(told(&any).await, ["packs/one", "packs/two"]);
    let lacking: Vec<_> = any.lacking(&two).iter().map(|one| one.name()).collect();
    assert_eq!(lacking, ["home"]);
    assert_eq!(any.get(&two).await.unwrap(), "two");
    assert_eq!(any.head(&two).await.unwrap().unwrap().size, 3);
    assert_eq!(any.head(&key("packs/three")).await.unwrap(), None);
    assert_eq!(any.get(&key("packs/one")).await.unwrap(), "home");
    assert_eq!(any.damaged(), []);
    // What comes later is found by the next listing.
    home.put(&two, Bytes::from_static(b"two")).await.unwrap();
    told(&any).await;
    assert!(any.lacking(&two).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_listed_costs_its_time_once_and_is_done_without() {
    let home = holding("home", b"body").await;
    let both = joined(vec![home, Arc::new(Hanging)], anything).with_listed_by(ListedBy::Any);
    for seconds in [15, 0, 0] {
        let start = tokio::time::Instant::now();
        assert_eq!(told(&both).await, ["packs/one"]);
        assert_eq!(start.elapsed(), Duration::from_secs(seconds));
    }
}

/// A store that takes its time over reads.
struct Slow {
    takes: Duration,
    inner: Arc<MemoryStore>,
    asked: AtomicU32,
}

impl Slow {
    fn by(takes: Duration, inner: Arc<MemoryStore>) -> Arc<Self> {
        let asked = AtomicU32::new(0);
        Arc::new(Self {
            takes,
            inner,
            asked,
        })
    }
}

#[async_trait]
impl ObjectStore for Slow {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.takes).await;
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
}

/// A store that never answers.
struct Hanging;

#[async_trait]
impl ObjectStore for Hanging {
    fn describe(&self) -> String {
        "hanging".to_owned()
    }

    async fn put(&self, _: &ObjectKey, _: Bytes) -> Result<Put, StoreError> {
        std::future::pending().await
    }

    async fn get(&self, _: &ObjectKey) -> Result<Bytes, StoreError> {
        std::future::pending().await
    }

    async fn get_range(&self, _: &ObjectKey, _: Range<u64>) -> Result<Bytes, StoreError> {
        std::future::pending().await
    }

    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        std::future::pending().await
    }

    async fn list(&self, _: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        std::future::pending().await
    }

    async fn delete(&self, _: &ObjectKey) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

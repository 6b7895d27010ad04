//! Several stores read as one: any that is sound will do.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_storage::{
    Calls, FailoverStore, Fault, FaultPlan, FaultyStore, MemoryStore, ObjectKey, ObjectMeta,
    ObjectStore, Op, Put, StoreError,
};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn anything(_: &ObjectKey, _: &[u8]) -> bool {
    true
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
        let both = FailoverStore::new(vec![home.clone(), replica], anything);
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
    let both = FailoverStore::new(vec![Arc::new(Hanging), replica], anything);
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
    let both = FailoverStore::new(vec![home, replica], |_, bytes| bytes == b"body");
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
    let both = FailoverStore::new(vec![home, replica], anything);
    let error = both.list("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.store, "home");
}

#[tokio::test]
async fn what_is_written_concerns_all_and_nothing_is_deleted() {
    let (home, replica) = (holding("home", b"").await, holding("replica", b"").await);
    let ill = failing(holding("ill", b"").await, Op::Put, ErrorKind::Transient);
    let all = FailoverStore::new(vec![ill, home.clone(), replica.clone()], anything);
    let lease = key("leases/one/0");
    let put = all.put(&lease, Bytes::from_static(b"here")).await.unwrap();
    assert_eq!(put, Put::Created);
    for store in [&home, &replica] {
        assert_eq!(store.get(&lease).await.unwrap(), "here");
    }
    all.delete(&lease).await.unwrap_err();
    assert!(home.head(&lease).await.unwrap().is_some());
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

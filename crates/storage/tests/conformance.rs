//! Every store keeps every promise, and the suite notices one that does not.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_storage::conformance::{self, Broken};
use lifeboat_storage::{
    Calls, Fault, FaultPlan, FaultyStore, LocalStore, MemoryStore, ObjectKey, ObjectMeta,
    ObjectStore, Op, Put, RecordedStore, StoreError,
};

#[tokio::test]
async fn memory_conforms() {
    conformance::check(&MemoryStore::default()).await.unwrap();
}

#[tokio::test]
async fn local_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    conformance::check(&store).await.unwrap();
}

#[tokio::test]
async fn wrapped_stores_conform() {
    let inner: Arc<dyn ObjectStore> = Arc::new(MemoryStore::default());
    let store = RecordedStore::new(FaultyStore::new(inner, FaultPlan::none()));
    conformance::check(&store).await.unwrap();
    assert_eq!(store.calls().len() as u64, store.inner().calls());
    assert_eq!(store.inner().faults(), 0);
}

#[tokio::test]
async fn the_suite_notices_damaged_and_missing_answers() {
    for (op, fault) in [
        (Op::Get, Fault::FlipBit),
        (Op::Get, Fault::Truncate),
        (Op::GetRange, Fault::FlipBit),
        (Op::GetRange, Fault::Truncate),
        (Op::List, Fault::StaleList { calls: 1000 }),
    ] {
        let plan = FaultPlan::none().since(Calls::Of(op), 1, fault);
        let store = FaultyStore::new(MemoryStore::default(), plan);
        let outcome = conformance::check(&store).await;
        assert!(
            matches!(outcome, Err(Broken::Promise(_))),
            "{op} with {fault:?} passed: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_suite_notices_a_store_that_replaces_or_does_not_sort() {
    for wrong in [Wrong::Replaces, Wrong::LastRacerWins, Wrong::WalksFolders] {
        let store = WrongStore(wrong, MemoryStore::default());
        let outcome = conformance::check(&store).await;
        assert!(
            matches!(outcome, Err(Broken::Promise(_))),
            "{wrong:?} passed: {outcome:?}"
        );
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Replaces,
    /// Tells the truth about what is there but not about who wrote it, as some S3 stores do.
    LastRacerWins,
    WalksFolders,
}

struct WrongStore(Wrong, MemoryStore);

#[async_trait]
impl ObjectStore for WrongStore {
    fn describe(&self) -> String {
        self.1.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        match self.0 {
            Wrong::Replaces => self.1.tamper(key, body),
            Wrong::LastRacerWins => {
                if self.1.head(key).await?.is_some() {
                    return Ok(Put::AlreadyExists);
                }
                tokio::task::yield_now().await;
                self.1.tamper(key, body);
            }
            Wrong::WalksFolders => return self.1.put(key, body).await,
        }
        Ok(Put::Created)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.1.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.1.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.1.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut metas = self.1.list(prefix).await?;
        if self.0 == Wrong::WalksFolders {
            metas.sort_by_key(|meta| meta.key.as_str().replace('/', "\0"));
        }
        Ok(metas)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.1.delete(key).await
    }
}

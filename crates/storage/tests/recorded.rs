//! The record tells what was called, with how many bytes, and what followed what.

use bytes::Bytes;
use futures::future::join;
use lifeboat_storage::{
    Calls, Fault, FaultPlan, FaultyStore, MemoryStore, ObjectKey, ObjectStore, Op, RecordedStore,
};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

#[tokio::test]
async fn calls_are_written_down_with_their_sizes() {
    let store = RecordedStore::new(MemoryStore::default());
    let body = Bytes::from_static(b"12345");
    store.put(&key("packs/a"), body).await.unwrap();
    store.get(&key("packs/a")).await.unwrap();
    store.get_range(&key("packs/a"), 1..3).await.unwrap();
    store.get(&key("gone")).await.unwrap_err();
    store.list("packs/").await.unwrap();
    store.delete(&key("packs/a")).await.unwrap();
    let calls: Vec<_> = store
        .calls()
        .into_iter()
        .map(|call| (call.op, call.key, call.size, call.succeeded))
        .collect();
    let wanted = [
        (Op::Put, "packs/a", 5, true),
        (Op::Get, "packs/a", 5, true),
        (Op::GetRange, "packs/a", 2, true),
        (Op::Get, "gone", 0, false),
        (Op::List, "packs/", 1, true),
        (Op::Delete, "packs/a", 0, true),
    ];
    assert_eq!(
        calls,
        wanted.map(|(op, key, size, ok)| (op, key.to_owned(), size, ok))
    );
    let writes: Vec<_> = store.writes().into_iter().map(|call| call.op).collect();
    assert_eq!(writes, [Op::Put, Op::Delete]);
}

#[tokio::test]
async fn overlapping_and_failed_calls_precede_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let local = lifeboat_storage::LocalStore::open(folder.path()).unwrap();
    let plan = FaultPlan::none().at(Calls::Any, 3, Fault::LoseReply);
    let store = RecordedStore::new(FaultyStore::new(local, plan));
    let body = Bytes::new();
    let (pack, index) = (key("pack"), key("index"));
    let (one, two) = join(
        store.put(&pack, body.clone()),
        store.put(&index, body.clone()),
    )
    .await;
    one.and(two).unwrap();
    store.put(&key("lost"), body.clone()).await.unwrap_err();
    store.put(&key("commit"), body).await.unwrap();
    let calls = store.calls();
    assert!(!calls[0].precedes(&calls[1]) && !calls[1].precedes(&calls[0]));
    assert!(calls[0].precedes(&calls[3]) && calls[1].precedes(&calls[3]));
    assert!(!calls[2].precedes(&calls[3]), "it failed");
    assert!(!calls[3].precedes(&calls[0]));
}

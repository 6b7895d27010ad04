//! A folder and a map answer any sequence of calls alike.

use bytes::Bytes;
use lifeboat_model::Diagnose;
use lifeboat_storage::{LocalStore, MemoryStore, ObjectKey, ObjectStore};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put(ObjectKey, Vec<u8>),
    Get(ObjectKey),
    GetRange(ObjectKey, u64, u64),
    Head(ObjectKey),
    List(&'static str),
    Delete(ObjectKey),
    Reopen,
}

/// Few keys, so that they meet again. None is a folder of another: only there the two may differ.
fn keys() -> impl Strategy<Value = ObjectKey> {
    const NAMES: [&str; 6] = ["a/1", "a/1.x", "a/b/1", "a-b/1", "a.b", "c"];
    prop::sample::select(&NAMES[..]).prop_map(|name| ObjectKey::new(name).unwrap())
}

fn steps() -> impl Strategy<Value = Step> {
    const PREFIXES: [&str; 6] = ["", "a/", "a/b/", "a-b/", "c/", "none/"];
    prop_oneof![
        4 => (keys(), prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(k, b)| Step::Put(k, b)),
        1 => keys().prop_map(Step::Get),
        2 => (keys(), 0..60_u64, 0..60_u64).prop_map(|(k, a, b)| Step::GetRange(k, a, b)),
        1 => keys().prop_map(Step::Head),
        2 => prop::sample::select(&PREFIXES[..]).prop_map(Step::List),
        2 => keys().prop_map(Step::Delete),
        1 => Just(Step::Reopen),
    ]
}

/// Makes a call, and returns the answer, or the kind of the error, as text.
async fn answer(store: &dyn ObjectStore, step: &Step) -> String {
    let kind = |error: lifeboat_storage::StoreError| error.kind();
    match step {
        Step::Put(key, body) => {
            let put = store.put(key, Bytes::from(body.clone())).await;
            format!("{:?}", put.map_err(kind))
        }
        Step::Get(key) => format!("{:?}", store.get(key).await.map_err(kind)),
        Step::GetRange(key, start, end) => {
            let got = store.get_range(key, *start..*end).await;
            format!("{:?}", got.map_err(kind))
        }
        Step::Head(key) => format!("{:?}", store.head(key).await.map_err(kind)),
        Step::List(prefix) => format!("{:?}", store.list(prefix).await.map_err(kind)),
        Step::Delete(key) => format!("{:?}", store.delete(key).await.map_err(kind)),
        Step::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        rng_seed: proptest::test_runner::RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_folder_answers_as_a_map_does(steps in prop::collection::vec(steps(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut local = LocalStore::open(folder.path()).unwrap();
        let memory = MemoryStore::default();
        for step in &steps {
            if let Step::Reopen = step {
                local = LocalStore::open(folder.path()).unwrap();
            }
            let (real, model) = runtime.block_on(async {
                (answer(&local, step).await, answer(&memory, step).await)
            });
            prop_assert_eq!(real, model, "{:?}", step);
        }
    }
}

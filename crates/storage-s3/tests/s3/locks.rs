//! Object Lock: what it keeps, and against whom.

use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Diagnose as _, ErrorKind, LockMode, LockTerms};
use lifeboat_storage::{ObjectStore as _, conformance};
use lifeboat_storage_s3::{LockRules, S3Settings, S3Store};
use lifeboat_testkit::s3::S3Server;

use super::{key, noise, open, settings, settings_as, start};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn locked(settings: S3Settings, mode: LockMode) -> S3Store {
    let terms = LockTerms {
        mode,
        days: 30,
        legal_hold: false,
    };
    open(S3Settings {
        lock: Some(LockRules {
            terms,
            except: vec!["leases/".to_owned(), "conformance/".to_owned()],
        }),
        ..settings
    })
}

fn locking_server() -> S3Server {
    start(|options| options.object_lock = true)
}

#[tokio::test]
async fn a_bucket_of_versions_conforms() {
    let server = locking_server();
    let store = locked(settings(&server), LockMode::Compliance);
    conformance::check(&store).await.unwrap();
}

#[tokio::test]
async fn what_is_locked_stays_and_what_comes_and_goes_does_not() {
    let server = locking_server();
    let store = locked(settings(&server), LockMode::Compliance);
    let pack = key("packs/one");
    let lease = key("leases/one");
    for key in [&pack, &lease] {
        store.put(key, noise(100, 1)).await.unwrap();
    }
    store.delete(&lease).await.unwrap();
    assert!(store.head(&lease).await.unwrap().is_none());
    let refused = store.delete(&pack).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!(store.get(&pack).await.unwrap(), noise(100, 1));
    server.let_pass(DAY * 31);
    store.delete(&pack).await.unwrap();
    assert!(store.list("packs/").await.unwrap().is_empty());
}

#[tokio::test]
async fn large_objects_are_locked_too() {
    let server = locking_server();
    let store = locked(settings(&server), LockMode::Governance);
    let pack = key("packs/large");
    store.put(&pack, noise(17 << 20, 1)).await.unwrap();
    store.delete(&pack).await.unwrap_err();
}

#[tokio::test]
async fn a_writer_who_hides_objects_hides_them_from_nobody() {
    let server = locking_server();
    let (over, gone) = (key("packs/overwritten"), key("packs/deleted"));
    let first = locked(settings(&server), LockMode::Compliance);
    for key in [&over, &gone] {
        first.put(key, noise(100, 1)).await.unwrap();
    }
    let thief = server.grant(&["PutObject", "DeleteObject", "DeleteObjects"]);
    let plain = open(settings_as(&server, &thief, &server.endpoint()));
    plain.delete(&gone).await.unwrap();
    server.overwrite(
        "repository/packs/overwritten",
        Bytes::from_static(b"garbage"),
    );
    for store in [&first, &locked(settings(&server), LockMode::Compliance)] {
        for key in [&over, &gone] {
            // The one that was open before learns of it from its next listing.
            store.list("packs/").await.unwrap();
            assert_eq!(store.get(key).await.unwrap(), noise(100, 1), "{key}");
            let meta = store.head(key).await.unwrap().unwrap();
            assert_eq!(meta.size, 100);
            let put = store.put(key, noise(100, 1)).await.unwrap();
            assert_eq!(put, lifeboat_storage::Put::AlreadyExists);
        }
        assert_eq!(store.list("packs/").await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_lock_is_extended_once_a_tenth_of_it_has_passed() {
    let server = locking_server();
    let store = locked(settings(&server), LockMode::Compliance);
    let keys = [key("packs/one"), key("packs/two"), key("leases/none")];
    for key in &keys {
        store.put(key, noise(100, 1)).await.unwrap();
    }
    assert_eq!(store.protect(&keys).await.unwrap(), 0);
    server.age_locks(DAY * 10);
    assert_eq!(store.protect(&keys).await.unwrap(), 2);
    assert_eq!(store.protect(&keys).await.unwrap(), 0);
    server.let_pass(DAY * 29);
    store.delete(&keys[0]).await.unwrap_err();
}

#[tokio::test]
async fn a_bucket_without_object_lock_is_told_of_and_nothing_is_stored_unlocked() {
    let server = start(|_| {});
    let store = locked(settings(&server), LockMode::Governance);
    let error = store
        .put(&key("packs/one"), noise(10, 1))
        .await
        .unwrap_err();
    let why = lifeboat_model::error_chain(&error);
    assert!(why.contains("Object Lock"), "{why}");
    assert!(server.objects().keys().all(|key| !key.contains("packs")));
}

//! The promises of every store, kept in a bucket.

use lifeboat_storage::{ObjectStore as _, Put, conformance};
use lifeboat_storage_s3::{ConditionalPut, Encryption};

use super::{key, noise, open, settings, start};

#[tokio::test]
async fn a_bucket_conforms() {
    let server = start(|_| {});
    let store = open(settings(&server));
    conformance::check(&store).await.unwrap();
    let known = store.conditional_put().await.unwrap();
    assert_eq!(known, ConditionalPut::Honoured);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out_and_all_but_races_hold() {
    let server = start(|options| options.ignores_conditions = true);
    let store = open(settings(&server));
    let known = store.conditional_put().await.unwrap();
    assert_eq!(known, ConditionalPut::Ignored);
    conformance::keeps_bytes(&store).await.unwrap();
    conformance::reads_ranges(&store).await.unwrap();
    conformance::misses_what_is_not_there(&store).await.unwrap();
    conformance::never_replaces(&store).await.unwrap();
    conformance::lists_in_order(&store).await.unwrap();
    conformance::deletes(&store).await.unwrap();
    // What this store cannot promise, the suite must see, or the probe would prove nothing. On a
    // busy machine the racers may come one after the other, so each look takes other names.
    let mut broken = false;
    for look in 0..100 {
        let mut other = settings(&server);
        other.url = format!("s3://{}/look-{look}", server.bucket())
            .parse()
            .unwrap();
        broken |= conformance::lets_one_racer_win(&open(other)).await.is_err();
        if broken {
            break;
        }
    }
    assert!(broken, "a hundred races, and each had one winner");
}

#[tokio::test]
async fn large_objects_go_and_come_in_parts() {
    let server = start(|_| {});
    let store = open(settings(&server));
    // Not a multiple of a part, above the size where parts begin.
    let body = noise((20 << 20) + 12_345, 1);
    let large = key("packs/large");
    assert_eq!(store.put(&large, body.clone()).await.unwrap(), Put::Created);
    assert_eq!(server.requests()["UploadPart"], 3);
    assert_eq!(store.get(&large).await.unwrap(), body);
    let range = (1 << 20)..(19 << 20) + 7;
    let part = store.get_range(&large, range.clone()).await.unwrap();
    assert_eq!(part, body.slice(range.start as usize..range.end as usize));
    // A second put of parts finds the first, and leaves no upload behind.
    let again = store.put(&large, body.clone()).await.unwrap();
    assert_eq!(again, Put::AlreadyExists);
    assert_eq!(server.requests()["AbortMultipartUpload"], 1);
}

#[tokio::test]
async fn a_listing_of_several_pages_is_whole() {
    let server = start(|_| {});
    let store = open(settings(&server));
    let puts = (0..2300).map(|number| {
        let store = &store;
        async move {
            store
                .put(&key(&format!("many/{number:05}")), noise(1, 1))
                .await
        }
    });
    for put in futures::future::join_all(puts).await {
        put.unwrap();
    }
    assert_eq!(store.list("many/").await.unwrap().len(), 2300);
    assert_eq!(server.requests()["ListObjectsV2"], 3);
}

#[tokio::test]
async fn class_and_encryption_are_asked_for() {
    let server = start(|_| {});
    let mut wanted = settings(&server);
    wanted.storage_class = Some("STANDARD_IA".to_owned());
    wanted.encryption = Some(Encryption::Aes256);
    let store = open(wanted);
    store.put(&key("one"), noise(10, 1)).await.unwrap();
    let stored = server.stored("repository/one");
    assert_eq!(stored.storage_class.as_deref(), Some("STANDARD_IA"));
    assert_eq!(stored.encryption.as_deref(), Some("AES256"));
}

#[tokio::test]
async fn the_bucket_tells_where_it_lies() {
    for (region, told) in [("eu-central-1", "eu-central-1"), ("us-east-1", "us-east-1")] {
        let server = start(|options| options.region = region.to_owned());
        let store = open(settings(&server));
        assert_eq!(store.location().await.unwrap().as_deref(), Some(told));
    }
}

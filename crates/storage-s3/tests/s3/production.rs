//! The store against a server that people run in production.

use std::sync::Arc;

use lifeboat_storage::{ObjectStore as _, Put, conformance};
use lifeboat_storage_s3::{ConditionalPut, CredentialSource, S3Settings, S3Store};

use super::{key, noise, open};

/// Returns settings for the server that `TEST_S3_SERVER` tells of, with a prefix of this test's own.
fn told(test: &str) -> S3Settings {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the task tells a test of its server"
    )]
    let told = std::env::var("TEST_S3_SERVER");
    let told = told.expect("`cargo xtask test --with-garage` starts a server and tells of it");
    let parts: Vec<&str> = told.split(' ').collect();
    let [endpoint, region, bucket, id, secret] = parts[..] else {
        panic!("TEST_S3_SERVER is `ENDPOINT REGION BUCKET KEY SECRET`");
    };
    let url = format!("s3://{bucket}/{test}-{}", std::process::id());
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        region: Some(region.to_owned()),
        path_style: true,
        credentials: CredentialSource::Keys(format!("{id}:{secret}").parse().unwrap()),
        ..S3Settings::new(url.parse().unwrap())
    }
}

#[tokio::test]
#[ignore = "needs a server: `cargo xtask test --with-garage`"]
async fn a_production_grade_store_conforms_as_far_as_it_honours_conditions() {
    let store = open(told("conforms"));
    match store.conditional_put().await.unwrap() {
        ConditionalPut::Honoured => conformance::check(&store).await.unwrap(),
        // The fallback holds to all but races.
        ConditionalPut::Ignored => {
            conformance::keeps_bytes(&store).await.unwrap();
            conformance::reads_ranges(&store).await.unwrap();
            conformance::misses_what_is_not_there(&store).await.unwrap();
            conformance::never_replaces(&store).await.unwrap();
            conformance::lists_in_order(&store).await.unwrap();
            conformance::deletes(&store).await.unwrap();
        }
    }
}

/// Garage 2.5 takes the header and lets the last writer win: the probe must not be fooled.
#[tokio::test]
#[ignore = "needs a server: `cargo xtask test --with-garage`"]
async fn a_production_grade_store_that_ignores_conditions_is_found_out() {
    let settings = told("probe");
    let first = open(settings.clone());
    let plain = Arc::new(first);
    assert_eq!(
        plain.conditional_put().await.unwrap(),
        ConditionalPut::Ignored
    );
    let once = key("epochs/1");
    let put = |store: Arc<S3Store>, seed| {
        let once = once.clone();
        async move { store.put(&once, noise(1000, seed)).await.unwrap() }
    };
    assert_eq!(put(plain.clone(), 1).await, Put::Created);
    let other = Arc::new(open(settings));
    assert_eq!(put(other, 2).await, Put::AlreadyExists);
    assert_eq!(plain.get(&once).await.unwrap(), noise(1000, 1));
}

#[tokio::test]
#[ignore = "needs a server: `cargo xtask test --with-garage`"]
async fn a_production_grade_store_takes_large_objects_in_parts() {
    let store = open(told("parts"));
    let (large, body) = (key("packs/large"), noise((20 << 20) + 12_345, 1));
    assert_eq!(store.put(&large, body.clone()).await.unwrap(), Put::Created);
    assert_eq!(store.get(&large).await.unwrap(), body);
    let again = store.put(&large, body).await.unwrap();
    assert_eq!(again, Put::AlreadyExists);
    assert_eq!(store.location().await.unwrap().as_deref(), Some("garage"));
}

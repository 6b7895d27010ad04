//! What an operator reads when something is wrong, and what is never in it.

use std::time::Duration;

use lifeboat_model::{Diagnose as _, ErrorKind, error_chain};
use lifeboat_storage::{ObjectStore as _, StoreError};
use lifeboat_storage_s3::{CredentialSource, S3Settings};
use lifeboat_testkit::s3::AccessKey;

use super::{key, noise, open, settings, settings_as, start};

async fn failed_put(settings: S3Settings) -> StoreError {
    let secret = "secret-of";
    let error = open(settings)
        .put(&key("one"), noise(10, 1))
        .await
        .unwrap_err();
    let shown = format!("{error:?} {} {:?}", error_chain(&error), error.hint());
    assert!(!shown.contains(secret), "a secret is shown: {shown}");
    error
}

fn hint(error: &StoreError) -> String {
    error.hint().unwrap_or_else(|| panic!("no hint: {error:?}"))
}

#[tokio::test]
async fn another_region_is_named() {
    let server = start(|_| {});
    let mut wrong = settings(&server);
    wrong.region = Some("us-west-2".to_owned());
    let error = failed_put(wrong).await;
    assert_eq!(error.kind(), ErrorKind::Usage, "{}", error_chain(&error));
    assert!(hint(&error).contains("s3_region = \"eu-central-1\""));
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let server = start(|_| {});
    let reader = server.grant(&["GetObject", "HeadObject", "ListObjectsV2"]);
    let error = failed_put(settings_as(&server, &reader, &server.endpoint())).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(hint(&error).contains("`s3:PutObject`"), "{}", hint(&error));
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_apart() {
    let server = start(|_| {});
    let wrong = AccessKey {
        secret: "secret-of-nobody".to_owned(),
        ..server.admin().clone()
    };
    let error = failed_put(settings_as(&server, &wrong, &server.endpoint())).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        hint(&error).contains("secret does not fit"),
        "{}",
        error_chain(&error)
    );
    let unknown = AccessKey {
        id: "AKIANOBODY".to_owned(),
        secret: "secret-of-nobody".to_owned(),
    };
    let error = failed_put(settings_as(&server, &unknown, &server.endpoint())).await;
    assert!(
        hint(&error).contains("does not know"),
        "{}",
        error_chain(&error)
    );
}

#[tokio::test]
async fn a_missing_bucket_is_no_repository() {
    let server = start(|_| {});
    let mut other = settings(&server);
    other.url = "s3://nobodys-bucket".parse().unwrap();
    let error = failed_put(other).await;
    assert_eq!(error.kind(), ErrorKind::NoRepository);
    assert!(hint(&error).contains("create the bucket"));
}

#[tokio::test]
async fn a_wrong_clock_is_told_of() {
    let server = start(|_| {});
    server.set_skew(Duration::from_secs(3600));
    let error = failed_put(settings(&server)).await;
    assert!(hint(&error).contains("clock"), "{}", error_chain(&error));
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told_of() {
    let mut server = start(|_| {});
    let dead = settings(&server);
    server.kill();
    let error = failed_put(dead).await;
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(hint(&error).contains("endpoint"), "{}", hint(&error));
}

#[tokio::test]
async fn a_profile_that_does_not_exist_is_told_of() {
    let server = start(|_| {});
    let mut nobody = settings(&server);
    nobody.credentials = CredentialSource::Profile("nobody-has-this-profile".to_owned());
    let error = failed_put(nobody).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error_chain(&error));
    assert!(hint(&error).contains("credentials"), "{}", hint(&error));
}

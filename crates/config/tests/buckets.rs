//! Regions in buckets: what they may say, and what is never shown.

mod support;

use lifeboat_config::BucketEncryption;
use lifeboat_model::LockMode;
use support::Project;

const FOLDER: &str = "url = \"regions/eu-west\"";

fn with_bucket(more: &str) -> Project {
    let project = Project::sound();
    let bucket = format!("url = \"s3://backups/shop\"\n{more}");
    project.edit("lifeboat.toml", FOLDER, &bucket);
    project
}

#[test]
fn everything_that_a_bucket_may_say_is_read() {
    let project = with_bucket(
        "endpoint = \"https://s3.example.org\"\ns3_region = \"attic\"\nstorage_class = \"GLACIER_IR\"\n\
         sse_kms_key = \"alias/backup\"\ncredentials = \"profile:backup\"\nmin_keep = 7\n\
         lock = { mode = \"compliance\", days = 30, legal_hold = true }",
    );
    let config = project.load().unwrap().config;
    let region = config.region("eu-west").unwrap();
    assert_eq!(region.folder(), None);
    assert_eq!(region.min_keep, 7);
    let bucket = region.place.bucket().unwrap();
    assert_eq!(bucket.url.bucket(), "backups");
    assert_eq!(bucket.endpoint.as_deref(), Some("https://s3.example.org"));
    assert_eq!(bucket.s3_region.as_deref(), Some("attic"));
    assert_eq!(bucket.storage_class.as_deref(), Some("GLACIER_IR"));
    assert!(matches!(
        &bucket.encryption,
        Some(BucketEncryption::Kms { key: Some(_) })
    ));
    let lock = bucket.lock.unwrap();
    assert_eq!(
        (lock.mode, lock.days, lock.legal_hold),
        (LockMode::Compliance, 30, true)
    );
    assert_eq!(bucket.credentials.as_ref().unwrap().value, "profile:backup");
    // The region's own floor holds where no schedule asks for as much.
    let prod = config.environment("prod").unwrap();
    assert!(prod.retention().min_keep < 7);
    assert_eq!(prod.retention_in(region).min_keep, 7);
}

#[test]
fn what_makes_no_sense_of_a_bucket_is_told_at_its_line() {
    for (more, says) in [
        (
            "endpoint = \"s3.example.org\"",
            "`endpoint` must be an address",
        ),
        (
            "sse = \"rot13\"",
            "`rot13` is no kind of server-side encryption",
        ),
        (
            "sse = \"aes256\"\nsse_kms_key = \"k\"",
            "`aes256` takes no `sse_kms_key`",
        ),
        (
            "lock = { mode = \"forever\", days = 1 }",
            "`forever` is not a lock mode",
        ),
        ("lock = { mode = \"governance\" }", "needs `days`"),
        (
            "lock = { mode = \"governance\", days = 99999 }",
            "`days` must be 1 to 3650",
        ),
        ("min_keep = -1", "`min_keep` must be 0 to"),
        ("bucket = \"x\"", "unknown key `bucket`"),
    ] {
        let told = with_bucket(more).load().unwrap_err().to_string();
        assert!(told.contains(says), "{more}: {told}");
    }
}

#[test]
fn a_folder_knows_no_key_of_buckets() {
    let project = Project::sound();
    project.edit(
        "lifeboat.toml",
        FOLDER,
        &format!("{FOLDER}\nendpoint = \"https://x\""),
    );
    let told = project.load().unwrap_err().to_string();
    assert!(told.contains("unknown key `endpoint`"), "{told}");
}

#[test]
fn two_regions_in_one_bucket_are_told_and_neighbours_are_not() {
    let project = with_bucket("");
    let second =
        "[region.third]\nurl = \"s3://backups/shop/inner\"\nlocation = \"eu\"\n\n[region.eu-west]";
    project.edit("lifeboat.toml", "[region.eu-west]", second);
    let told = project.load().unwrap_err().to_string();
    assert!(told.contains("lie one in the other"), "{told}");
    project.edit(
        "lifeboat.toml",
        "s3://backups/shop/inner",
        "s3://backups/shop-2",
    );
    project.load().unwrap();
}

#[test]
fn a_secret_in_the_place_of_a_reference_is_shown_nowhere() {
    let project = with_bucket("credentials = \"AKIAEXAMPLE:hunter2\"");
    let problems = project.load().unwrap_err();
    let shown = format!("{problems} {problems:?}");
    assert!(shown.contains("not a reference"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

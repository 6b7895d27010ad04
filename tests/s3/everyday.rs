//! Every command on regions in buckets.

use bytes::Bytes;

use crate::project::query;
use crate::{AWAY, Buckets, HOME, count, server, server_with};

#[test]
fn every_command_works_with_regions_in_buckets() {
    let buckets = Buckets::new();
    let project = &buckets.project;
    project.ok(&["check"]);
    project.ok(&["backup", "prod"]);
    let copied = project.json(&["replicate", "prod"]);
    assert_eq!(copied[0]["receipts_new"].as_array().unwrap().len(), 2);
    assert!(copied[0]["lag_secs"].as_f64().is_some(), "{copied}");
    assert_eq!(
        count(buckets.home(), "packs/"),
        count(buckets.away(), "packs/")
    );
    for region in [HOME, AWAY] {
        project.ok(&["verify", "prod", "--level", "full", "--region", region]);
        let listed = project.json(&["snapshots", "prod", "--region", region]);
        assert_eq!(listed.as_array().unwrap().len(), 2);
    }
    project.ok(&["restore", "prod", "shop", "--to", "x.db"]);
    assert_eq!(query(&project.path("x.db"), "PRAGMA integrity_check"), "ok");
    buckets.assert_restores(&["--region", AWAY]);
    project.ok(&["prune", "prod"]);
    project.ok(&["status"]);
}

#[test]
fn any_pairing_of_folder_and_bucket_replicates() {
    for (home, away) in [
        (Some(server("eu-central-1")), None),
        (None, Some(server("eu-west-1"))),
    ] {
        let mut buckets = Buckets::without_repository(home, away);
        buckets.init();
        buckets.project.ok(&["backup", "prod", "config"]);
        buckets
            .project
            .ok(&["replicate", "prod", "--bandwidth", "50MiB"]);
        buckets.assert_restores(&["--region", AWAY]);
    }
}

#[test]
fn a_store_that_ignores_conditions_serves_as_well() {
    let careless = server_with("eu-west-1", |options| options.ignores_conditions = true);
    let mut buckets = Buckets::without_repository(None, Some(careless));
    buckets.init();
    buckets.project.ok(&["backup", "prod"]);
    buckets.project.ok(&["replicate", "prod"]);
    buckets.assert_restores(&["--region", AWAY]);
}

#[test]
fn a_bucket_and_a_key_are_enough_without_a_project() {
    let buckets = Buckets::new();
    buckets.project.ok(&["backup", "prod", "config"]);
    let server = buckets.home();
    let key = buckets.project.path("keys/reader.key");
    let url = format!("s3://{}/shop", server.bucket());
    let listed = ["snapshots", "--from", &url, "--key", key.to_str().unwrap()];
    let output = buckets
        .project
        .command(&listed)
        .current_dir("/")
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_REGION", server.region())
        .env("AWS_ACCESS_KEY_ID", &server.admin().id)
        .env("AWS_SECRET_ACCESS_KEY", &server.admin().secret)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(shown.contains("prod/config"), "{shown}");
}

#[test]
fn a_damaged_object_in_a_bucket_is_brought_back_from_the_other_one() {
    let buckets = Buckets::new();
    let project = &buckets.project;
    project.ok(&["backup", "prod"]);
    project.ok(&["replicate", "prod"]);
    let objects = buckets.home().objects();
    let mut packs = objects.iter().filter(|(key, _)| key.contains("packs/"));
    let (pack, good) = packs.next().unwrap();
    buckets.home().tamper(pack, Bytes::from_static(b"rotten"));
    project.fails(&["verify", "prod", "--level", "quick"], 4, &["DAMAGED"]);
    project.ok(&["repair", "prod"]);
    assert_eq!(buckets.home().objects()[pack], *good);
}

#[test]
fn a_secret_written_into_the_configuration_is_refused_and_not_shown() {
    let buckets = Buckets::new();
    let secret = "AKIAEXAMPLE:a-secret-written-by-mistake";
    let reference = format!("file:keys/{HOME}.s3");
    buckets.project.edit("lifeboat.toml", &reference, secret);
    let output = buckets.project.command(&["check"]).output().unwrap();
    let shown = format!("{output:?}");
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("not a reference"), "{shown}");
    assert!(!shown.contains("by-mistake"), "{shown}");
}

//! Where data may lie: the bucket is asked, and the configuration is not believed.

use lifeboat_testkit::s3::S3Server;

use crate::{AWAY, Buckets, count, server};

/// A project whose replica is declared to lie in the EU, in a server that says where it lies.
fn declared_eu(away: S3Server) -> Buckets {
    let mut buckets = Buckets::without_repository(None, Some(away));
    buckets.init();
    buckets.project.ok(&["backup", "prod", "config"]);
    buckets
}

#[test]
fn a_bucket_across_the_border_gets_nothing_whatever_the_configuration_says() {
    let buckets = declared_eu(server("us-east-1"));
    let refused = ["lies in `us-east-1`", "`eu`", "hint:"];
    buckets.project.fails(&["replicate", "prod"], 7, &refused);
    buckets.project.fails(&["check"], 1, &["us-east-1"]);
    assert_eq!(count(buckets.away(), "packs/"), 0);
    assert_eq!(count(buckets.away(), "snapshots/"), 0);
}

#[test]
fn a_bucket_that_cannot_say_where_it_lies_gets_nothing() {
    let buckets = declared_eu(server("atlantis"));
    buckets
        .project
        .edit("lifeboat.toml", "s3_region = \"atlantis\"\n", "");
    let project = &buckets.project;
    let in_atlantis = |args: &[&str]| {
        let output = project.command(args).env("AWS_REGION", "atlantis").output();
        let output = output.unwrap();
        (output.status.code(), format!("{output:?}"))
    };
    let (code, shown) = in_atlantis(&["replicate", "prod"]);
    assert_eq!(code, Some(7), "{shown}");
    assert!(shown.contains("unknown location"), "{shown}");
    assert_eq!(count(buckets.away(), "packs/"), 0);
}

#[test]
fn a_key_that_may_not_ask_gets_nothing_and_is_told_which_right_it_lacks() {
    let buckets = declared_eu(server("eu-west-1"));
    let may = ["PutObject", "GetObject", "HeadObject", "ListObjectsV2"];
    let key = buckets.away().grant(&may);
    buckets.set_credentials(AWAY, &key);
    buckets
        .project
        .fails(&["replicate", "prod"], 1, &["s3:GetBucketLocation"]);
    assert_eq!(count(buckets.away(), "packs/"), 0);
}

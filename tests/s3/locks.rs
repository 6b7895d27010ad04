//! Object Lock: a thief with the writer's rights cannot take a snapshot away.

use bytes::Bytes;
use lifeboat_testkit::s3::S3Server;

use crate::{Buckets, HOME, count, server_with};

const LOCK: &str = "lock = { mode = \"compliance\", days = 30 }\n";

fn locked() -> Buckets {
    let home = server_with("eu-central-1", |options| options.object_lock = true);
    let mut buckets = Buckets::without_repository(None, None);
    buckets.put_in_bucket(HOME, &home, &home.endpoint(), LOCK);
    buckets.home = Some(home);
    buckets.init();
    buckets.back_up_noise(1, 300_000);
    buckets
}

/// Does all that a writer of the bucket can do to what is there: puts and plain deletions.
fn ravage(server: &S3Server) {
    for key in server.objects().keys() {
        server.overwrite(key, Bytes::from_static(b"garbage"));
    }
}

#[test]
fn a_stolen_writer_key_with_the_right_to_write_makes_no_locked_snapshot_unrestorable() {
    let buckets = locked();
    let server = buckets.home();
    let tombstone = "shop/tombstones/00112233445566778899aabbccddeeff";
    server.overwrite(tombstone, Bytes::from_static(b"all of it"));
    ravage(server);
    buckets.assert_restores(&[]);
    server.delete_all();
    assert_eq!(count(server, "packs/"), 0, "nothing is to be seen any more");
    buckets.assert_restores(&[]);
    // Not even every right there is takes away what a lock in compliance mode keeps.
    assert!(server.purge() > 0, "nothing was locked");
    buckets.assert_restores(&[]);
    // Work goes on where it was.
    buckets.back_up_noise(2, 300_000);
    buckets.assert_restores(&[]);
}

#[test]
fn prune_reports_what_is_locked_and_extends_what_is_needed() {
    let buckets = locked();
    let server = buckets.home();
    let first = buckets.project.json(&["prune", "prod", "--region", HOME]);
    assert_eq!(first[0]["locks_extended"], 0, "{first}");
    server.age_locks(std::time::Duration::from_secs(10 * 24 * 3600));
    let second = buckets.project.json(&["prune", "prod", "--region", HOME]);
    assert!(
        second[0]["locks_extended"].as_u64().unwrap() > 3,
        "{second}"
    );
}

#[test]
fn leases_come_and_go_in_a_locked_bucket() {
    let buckets = locked();
    buckets.project.ok(&["prune", "prod", "--region", HOME]);
    assert_eq!(count(buckets.home(), "leases/"), 0);
}

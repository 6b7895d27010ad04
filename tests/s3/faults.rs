//! Lines that fail, regions that die: what still works, and what is never claimed.

use lifeboat_testkit::proxy::{FaultProxy, LineFaults};
use lifeboat_testkit::s3::S3Server;

use crate::{AWAY, Buckets, HOME, count};

/// Snapshots in a bucket of which a receipt says that all they need is there.
fn receipts(server: &S3Server) -> usize {
    count(server, &format!("receipts/{AWAY}/"))
}

#[test]
fn one_request_in_twenty_fails_and_replication_completes() {
    let buckets = Buckets::new();
    for number in 0..6 {
        buckets.back_up_noise(number, 300_000);
    }
    let lines = [buckets.home(), buckets.away()].map(|server| {
        let line = FaultProxy::start(server.address(), 11, LineFaults::evenly(50)).unwrap();
        buckets.reach_by(server, &line.endpoint());
        line
    });
    buckets.project.ok(&["replicate", "prod"]);
    let faults: u64 = lines.iter().map(FaultProxy::faults).sum();
    assert!(faults >= 3, "only {faults} requests met a fault");
    assert_eq!(receipts(buckets.away()), 6);
    buckets
        .project
        .ok(&["verify", "prod", "--region", AWAY, "--level", "full"]);
    buckets.assert_restores(&["--region", AWAY]);
}

#[test]
fn a_source_that_dies_midway_is_gone_on_from_and_only_what_is_whole_has_receipts() {
    let buckets = Buckets::new();
    for number in 0..6 {
        buckets.back_up_noise(number, 1_500_000);
    }
    let packs = count(buckets.home(), "packs/");
    let line = FaultProxy::start(buckets.home().address(), 1, LineFaults::default()).unwrap();
    buckets.reach_by(buckets.home(), &line.endpoint());
    line.kill_after(4_000_000);
    buckets
        .project
        .fails(&["replicate", "prod"], 1, &["failed to"]);
    let landed = count(buckets.away(), "packs/");
    assert!(
        (1..packs).contains(&landed),
        "{landed} of {packs} packs landed"
    );
    assert_eq!(receipts(buckets.away()), 0);
    assert_eq!(count(buckets.away(), "snapshots/"), 0);
    line.revive();
    let copied = buckets.project.json(&["replicate", "prod"]);
    let present = copied[0]["present"].as_u64().unwrap();
    assert!(
        present >= landed as u64,
        "what had landed was copied again: {copied}"
    );
    assert_eq!(receipts(buckets.away()), 6);
    buckets.assert_restores(&["--region", AWAY]);
}

#[test]
fn the_replica_alone_restores_with_the_home_and_its_credentials_gone() {
    let mut buckets = Buckets::new();
    buckets.back_up_noise(1, 300_000);
    buckets.project.ok(&["replicate", "prod"]);
    let mut home = buckets.home.take().unwrap();
    home.revoke(home.admin());
    // Denied, without being asked for another region.
    buckets.assert_restores(&[]);
    home.kill();
    buckets.assert_restores(&["--region", AWAY]);
    // Gone altogether.
    buckets.assert_restores(&[]);
}

#[test]
fn a_home_that_dies_in_the_middle_of_a_restore_is_stood_in_for() {
    let buckets = Buckets::new();
    for number in 0..4 {
        buckets.back_up_noise(number, 3_000_000);
    }
    buckets.project.ok(&["replicate", "prod"]);
    let line = FaultProxy::start(buckets.home().address(), 1, LineFaults::default()).unwrap();
    buckets.reach_by(buckets.home(), &line.endpoint());
    line.kill_after(5_000_000);
    buckets.assert_restores(&[]);
    assert!(line.requests() > 5, "the home was not asked");
}

/// Flips a byte in the middle of every pack of a server, or cuts the packs short.
fn damage_packs(server: &S3Server, damage: impl Fn(&mut Vec<u8>)) {
    for (key, bytes) in server.objects() {
        if key.contains("packs/") {
            let mut bytes = bytes.to_vec();
            damage(&mut bytes);
            server.tamper(&key, bytes.into());
        }
    }
}

#[test]
fn damaged_packs_at_home_are_read_from_the_replica_and_told_of() {
    let flip = |bytes: &mut Vec<u8>| {
        for at in (0..bytes.len()).step_by(997) {
            bytes[at] ^= 1;
        }
    };
    let buckets = Buckets::new();
    buckets.back_up_noise(1, 3_000_000);
    buckets.project.ok(&["replicate", "prod"]);
    damage_packs(buckets.home(), flip);
    buckets.assert_restores(&[]);
    let out = buckets.project.path("told");
    let restore = ["restore", "prod", "config", "--to", out.to_str().unwrap()];
    let told = buckets.project.json(&restore);
    let copies = told["damaged_copies"].as_array().unwrap();
    assert!(copies.iter().all(|copy| copy["region"] == HOME), "{told}");
    assert!(!copies.is_empty(), "{told}");
    // Asked for itself, the home is still damaged; a restore ends if both regions are.
    let project = &buckets.project;
    project.fails(&["verify", "prod", "--level", "full"], 4, &["DAMAGED"]);
    project.ok(&["verify", "prod", "--level", "full", "--region", AWAY]);
    damage_packs(buckets.away(), flip);
    std::fs::remove_dir_all(&out).unwrap();
    project.fails(&restore, 4, &["packs/"]);
}

#[test]
fn packs_that_are_missing_or_cut_at_home_are_read_from_the_replica_and_told_of() {
    let cut = |server: &S3Server, key: &str| {
        let bytes = server.objects()[key].clone();
        server.tamper(key, bytes.slice(..40));
    };
    for lose in [S3Server::remove, cut] {
        let buckets = Buckets::new();
        buckets.back_up_noise(1, 3_000_000);
        let project = &buckets.project;
        project.ok(&["replicate", "prod"]);
        let packs = |server: &S3Server| {
            let objects = server.objects().into_keys();
            let packs: Vec<_> = objects.filter(|key| key.contains("packs/")).collect();
            packs
        };
        let lost = packs(buckets.home());
        lost.iter().for_each(|pack| lose(buckets.home(), pack));
        let out = project.path("told");
        let restore = ["restore", "prod", "config", "--to", out.to_str().unwrap()];
        let told = project.json(&restore);
        let copies = told["damaged_copies"].as_array().unwrap();
        assert!(copies.iter().all(|copy| copy["region"] == HOME), "{told}");
        assert_eq!(copies.len(), lost.len(), "{told}");
        std::fs::remove_dir_all(&out).unwrap();
        buckets.assert_restores(&[]);
        project.fails(&["verify", "prod"], 4, &["DAMAGED"]);
        // Nothing else has the content: what cannot be restored is named, and what to do.
        let pack = lost
            .iter()
            .max_by_key(|pack| buckets.away().objects()[*pack].len());
        let pack = pack.unwrap();
        lose(buckets.away(), pack);
        let key = pack.strip_prefix("shop/").unwrap();
        let says = [
            key,
            "failed to restore file `",
            HOME,
            AWAY,
            "lifeboat repair",
        ];
        project.fails(&restore, 4, &says);
        // What was lost is stored again rather than referred to.
        project.ok(&["backup", "prod", "config"]);
        lost.iter()
            .filter(|one| *one != pack)
            .for_each(|one| lose(buckets.away(), one));
        buckets.assert_restores(&[]);
    }
}

#[test]
fn a_home_whose_every_answer_breaks_off_is_stood_in_for() {
    let buckets = Buckets::new();
    buckets.back_up_noise(1, 3_000_000);
    buckets.project.ok(&["replicate", "prod"]);
    let line = FaultProxy::start(buckets.home().address(), 1, LineFaults::default()).unwrap();
    buckets.reach_by(buckets.home(), &line.endpoint());
    line.set_faults(LineFaults {
        cut_body: 1000,
        ..LineFaults::default()
    });
    buckets.assert_restores(&[]);
    assert!(line.faults() > 3, "the home was not asked");
}

#[test]
fn a_slow_home_does_not_hold_up_a_restore() {
    let buckets = Buckets::new();
    for number in 0..12 {
        buckets.back_up_noise(number, 1_000_000);
    }
    buckets.project.ok(&["replicate", "prod"]);
    let line = FaultProxy::start(buckets.home().address(), 1, LineFaults::default()).unwrap();
    buckets.reach_by(buckets.home(), &line.endpoint());
    buckets.assert_restores(&[]);
    let usual = line.requests();
    line.set_faults(LineFaults {
        delay: std::time::Duration::from_secs(2),
        ..LineFaults::default()
    });
    buckets.assert_restores(&[]);
    let slow = line.requests() - usual;
    assert!(
        slow < usual,
        "the slow home got {slow} requests, and {usual} when it was fast"
    );
}

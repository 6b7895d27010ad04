//! Several replicas at once, and replicas that follow by themselves.

use std::process::{Child, Stdio};
use std::time::Duration;

use lifeboat_testkit::s3::S3Server;
use rustix::process::{Pid, Signal, kill_process};

use crate::{AWAY, Buckets, HOME, count, server};

const FAR: &str = "eu-north";

/// A project with a third region, in a bucket that nobody else has.
fn with_a_third_region() -> (Buckets, S3Server) {
    let mut buckets =
        Buckets::without_repository(Some(server("eu-central-1")), Some(server("eu-west-1")));
    let home = format!("[region.{HOME}]");
    let third = format!("[region.{FAR}]\nurl = \"regions/{FAR}\"\nlocation = \"eu\"\n\n{home}");
    let project = &buckets.project;
    project.edit("lifeboat.toml", &home, &third);
    let replicas = format!("[\"{AWAY}\", \"{FAR}\"]");
    project.edit(
        "environments/prod.toml",
        &format!("[\"{AWAY}\"]"),
        &replicas,
    );
    let far = server("eu-north-1");
    buckets.put_in_bucket(FAR, &far, &far.endpoint(), "");
    buckets.init();
    (buckets, far)
}

#[test]
fn a_replica_that_is_gone_keeps_none_of_the_others_from_its_copy() {
    let (buckets, mut far) = with_a_third_region();
    buckets.back_up_noise(1, 300_000);
    let project = &buckets.project;
    let both = project.json(&["replicate", "prod"]);
    assert_eq!(both[0]["receipts_new"].as_array().unwrap().len(), 1);
    assert_eq!(both[1]["receipts_new"].as_array().unwrap().len(), 1);
    buckets.back_up_noise(2, 300_000);
    far.kill();
    let output = project
        .command(&["replicate", "prod", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        told[0]["receipts_new"].as_array().unwrap().len(),
        1,
        "{told}"
    );
    assert_eq!(told[1]["to"], FAR, "{told}");
    assert!(told[1]["error"]["message"].is_string(), "{told}");
    // Alone, it is the whole outcome.
    project.fails(&["replicate", "prod", "--to", FAR], 1, &["failed to"]);
}

#[test]
fn status_tells_what_each_region_lacks_in_time_and_bytes() {
    let buckets = Buckets::new();
    buckets.back_up_noise(1, 300_000);
    buckets.project.ok(&["replicate", "prod"]);
    let away =
        |buckets: &Buckets| buckets.project.json(&["status", "prod"])[0]["regions"][1].clone();
    let even = away(&buckets);
    assert_eq!(even["pending_bytes"], 0, "{even}");
    buckets.back_up_noise(2, 300_000);
    let behind = away(&buckets);
    assert!(
        behind["pending_bytes"].as_u64().unwrap() > 300_000,
        "{behind}"
    );
    assert!(behind["lag_secs"].as_f64().unwrap() > 0.0, "{behind}");
    buckets.project.ok(&["replicate", "prod"]);
    assert_eq!(away(&buckets)["pending_bytes"], 0);
}

/// A replication that goes on, ended if the test fails.
struct Following(Child);

impl Following {
    fn start(buckets: &Buckets) -> Self {
        let args = [
            "replicate",
            "prod",
            "--continuous",
            "--every",
            "100ms",
            "--json",
        ];
        let mut command = buckets.project.command(&args);
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Asks it to stop, and returns its exit code and what it told.
    fn stop(&mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let mut told = String::new();
        let output = self.0.stdout.as_mut().unwrap();
        std::io::Read::read_to_string(output, &mut told).unwrap();
        (self.0.wait().unwrap().code(), told)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    for _ in 0..600 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not happen within half a minute: {what}");
}

#[test]
fn a_replica_follows_by_itself_until_it_is_asked_to_stop() {
    let buckets = Buckets::new();
    let mut following = Following::start(&buckets);
    let receipts = || count(buckets.away(), &format!("receipts/{AWAY}/"));
    for number in 1..=2 {
        buckets.back_up_noise(number, 300_000);
        wait_until("the snapshot has a receipt", || {
            receipts() == usize::from(number)
        });
    }
    let (code, told) = following.stop();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.lines().count() >= 2, "{told}");
    for line in told.lines() {
        let turn: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&turn["to"], &turn["pending_bytes"]),
            (&AWAY.into(), &0.into())
        );
        assert!(turn["lag_secs"].is_number(), "{turn}");
    }
    // Nothing is held that a prune would have to wait for.
    let parts = |ending: &str| {
        let objects = buckets.away().objects();
        let of_leases = objects.keys().filter(|key| key.contains("/leases/"));
        of_leases.filter(|key| key.ends_with(ending)).count()
    };
    assert_eq!(parts("/00000000"), parts("/end"));
    buckets.assert_restores(&["--region", AWAY]);
}

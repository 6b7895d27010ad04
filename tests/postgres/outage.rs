//! Regions that are full, or not there for a while.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// A small file system in memory, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one, or says loudly that `test` is skipped: that takes root.
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    fn or_skip(test: &str, at: &Path, mib: u32) -> Option<Self> {
        let options = format!("size={mib}m,mode=0777");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "lifeboat-test"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED {test}: a file system cannot be mounted here");
        None
    }

    fn resize(&self, mib: u32) {
        let options = format!("remount,size={mib}m");
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Fails only if it is gone.
        Command::new("umount").arg("-l").arg(&self.0).output().ok();
    }
}

/// Fills some 8 MiB of log that do not compress.
const NOISE: &str = "INSERT INTO noise SELECT string_agg(decode(md5(random()::text), 'hex'), '')
     FROM generate_series(1, 512 * 1024) GROUP BY random() < 0.001";

#[test]
fn a_full_home_loses_nothing_and_drains_when_there_is_room() {
    let test = "a full home";
    let Some(project) = Project::or_skip(test, Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    cluster.psql("CREATE TABLE noise (bytes bytea)");
    cluster.psql("ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL");
    project.must(&["backup", "prod", "main"]);
    let place = cluster.make_folder("disk");
    let Some(disk) = SmallDisk::or_skip(test, &place, 16) else {
        return;
    };
    // The home moves to the small disk.
    let home = project.place("regions/home");
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").arg(&home).arg(place.join("home")).status();
    assert!(copied.unwrap().success());
    let url = place.join("home").display().to_string();
    project.replace("lifeboat.toml", "regions/home", &url);
    for _ in 0..4 {
        cluster.psql(NOISE);
        history::commit(cluster, 2);
        cluster.psql("SELECT pg_switch_wal()");
    }
    history::wait_until("a push fails", || {
        cluster.psql("SELECT failed_count > 0 FROM pg_stat_archiver") == "t"
    });
    let failed = cluster.psql("SELECT last_failed_wal FROM pg_stat_archiver");
    let file = cluster.data_dir().join("pg_wal").join(&failed);
    let push = ["wal", "push", "prod", "main", file.to_str().unwrap()];
    let said = project.must_fail(&push, 1);
    assert!(said.contains("space"), "{said}");
    assert!(file.exists());
    disk.resize(300);
    // A new segment wakes the archiver, which would wait for a minute.
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    project.must(&["wal", "status", "prod", "--region", "home"]);
    project.restore("restored", &["--region", "home"]);
    assert_eq!(restored::ask(&project, "restored", ALL), cluster.psql(ALL));
}

/// Takes the second region away: something else is in its place.
fn lose_away(project: &Project) {
    let away = project.place("regions/away");
    fs::rename(&away, project.place("regions/lost")).unwrap();
    fs::write(&away, "").unwrap();
}

fn bring_away_back(project: &Project) {
    let away = project.place("regions/away");
    fs::remove_file(&away).unwrap();
    fs::rename(project.place("regions/lost"), &away).unwrap();
}

/// Forbids or allows writing to a region, for who has it open too.
fn set_writable(project: &Project, region: &str, mode: &str) {
    let mut chmod = Command::new("chmod");
    let region = project.place("regions").join(region);
    let status = chmod.args(["-R", mode]).arg(region);
    assert!(status.status().unwrap().success());
}

#[test]
fn a_push_needs_the_home_alone_and_replication_heals_the_rest() {
    let Some(project) = Project::or_skip("a replica is down", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    lose_away(&project);
    history::commit(cluster, 5);
    let segment = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let file = cluster.data_dir().join("pg_wal").join(&segment);
    let push = ["wal", "push", "prod", "main", file.to_str().unwrap()];
    // As an `archive_command` runs it: what a replica lacks is told all the same.
    let output = project.run(&[&["-q"], &push[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("away") && said.contains("replicate"),
        "{said}"
    );
    let pushed = project.json(&push);
    assert_eq!(pushed["missed"][0][0], "away", "{pushed}");
    bring_away_back(&project);
    history::commit(cluster, 5);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let said = project.must_fail(&["wal", "status", "prod", "--region", "away"], 3);
    assert!(said.is_empty(), "{said}");
    project.must(&["replicate", "prod"]);
    project.must(&["wal", "status", "prod", "--region", "away"]);
    project.restore("restored", &["--region", "away"]);
    assert_eq!(restored::ask(&project, "restored", ALL), cluster.psql(ALL));
}

#[test]
fn what_was_pushed_to_the_home_alone_follows_by_itself() {
    let Some(project) = Project::or_skip("a log that follows", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    let follow = ["replicate", "prod", "--continuous", "--every", "200ms"];
    let mut following = project.start(&follow);
    let is_even = || {
        let status = ["wal", "status", "prod", "--region", "away"];
        project.run(&status).status.code() == Some(0)
    };
    history::wait_until("the snapshot is there", is_even);
    lose_away(&project);
    history::commit(cluster, 5);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    bring_away_back(&project);
    history::commit(cluster, 5);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    // The push that missed the replica is over; nobody replicates but who follows.
    history::wait_until("the replica has all of the log", is_even);
    assert!(following.is_alive(), "{}", project.said(&follow));
    project.restore("restored", &["--region", "away"]);
    assert_eq!(restored::ask(&project, "restored", ALL), cluster.psql(ALL));
}

#[test]
fn a_receiver_goes_on_without_a_replica_and_brings_what_it_missed() {
    let Some(project) = Project::or_skip("a receiver without a replica", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.wait_until_received("home");
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    set_writable(&project, "away", "u-w");
    for _ in 0..3 {
        history::commit(cluster, 3);
        cluster.psql("SELECT pg_switch_wal()");
    }
    project.wait_until_received("home");
    assert!(receiver.is_alive(), "{}", project.said(&receive));
    let said = project.said(&receive);
    assert!(said.contains("`away` is behind"), "{said}");
    set_writable(&project, "away", "u+w");
    history::commit(cluster, 3);
    // Nobody replicates: what was missed comes by itself, soon after the region is there again.
    history::wait_until("the replica has all of it", || {
        history::commit(cluster, 1);
        let status = ["wal", "status", "prod", "--region", "away"];
        project.run(&status).status.code() == Some(0)
    });
    project.wait_until_received("away");
    let expected = cluster.psql(ALL);
    project.restore("restored", &["--region", "away"]);
    assert_eq!(restored::ask(&project, "restored", ALL), expected);
}

#[test]
fn a_replica_that_was_down_when_the_receiver_began_is_told_of() {
    let Some(project) = Project::or_skip("a replica down at the start", Log::Unpushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    lose_away(&project);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.wait_until_received("home");
    project.must(&["backup", "prod", "main"]);
    assert!(receiver.is_alive());
    let said = project.said(&receive);
    assert!(said.contains("`away` is behind"), "{said}");
}

#[test]
fn a_home_that_is_down_does_not_fill_the_replica_with_copies() {
    let Some(project) = Project::or_skip("a home that is down", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.wait_until_received("away");
    set_writable(&project, "home", "u-w");
    history::commit(cluster, 1);
    history::wait_until("the home was asked several times", || {
        project.said(&receive).matches("the home region").count() > 3
    });
    let mut pieces = std::collections::BTreeMap::<String, u32>::new();
    for object in project.objects("away", "/wal/") {
        let name = object.file_name().unwrap().to_str().unwrap();
        // The file, and which bytes of it.
        let piece = name.split('_').next().unwrap().to_owned();
        *pieces.entry(piece).or_default() += 1;
    }
    assert!(pieces.values().all(|copies| *copies == 1), "{pieces:?}");
    set_writable(&project, "home", "u+w");
    project.wait_until_received("home");
    assert!(receiver.is_alive(), "{}", project.said(&receive));
}

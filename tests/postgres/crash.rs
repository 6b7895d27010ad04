//! SIGKILL of whatever takes part, at moments that nobody chose.

use std::time::Duration;

use serde_json::Value;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// How often each is killed; `LIFEBOAT_KILLS` asks for more.
#[expect(
    clippy::disallowed_methods,
    reason = "who runs the test decides how long"
)]
pub(crate) fn kills() -> u64 {
    let kills = std::env::var("LIFEBOAT_KILLS");
    kills.map_or(1, |kills| kills.parse().expect("it is a number"))
}

/// Sleeps for up to `longest`: the golden ratio spreads the moments evenly, however many there are.
fn sleep_some(number: u64, longest: Duration) {
    let part = (number as f64 * 0.618_034).fract();
    std::thread::sleep(longest.mul_f64(part));
}

#[test]
fn a_backup_that_is_killed_leaves_no_half_a_snapshot() {
    let Some(project) = Project::or_skip("a killed backup", Log::InSnapshot) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 3);
    project.must(&["backup", "prod", "main"]);
    let mut whole = 1;
    for number in 1..=kills() {
        cluster.pgbench(&["-n", "-t", "200"]);
        let backup = project.start(&["backup", "prod", "main", "--tier", "hourly"]);
        sleep_some(number, Duration::from_millis(1500));
        backup.kill();
        let snapshots = project.json(&["snapshots", "prod"]);
        let found = snapshots.as_array().unwrap().len();
        // It may have been done before it was killed.
        assert!(found == whole || found == whole + 1, "{snapshots}");
        whole = found;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lifeboat'";
        history::wait_until("the server ended the backup", || {
            cluster.psql(waiting) == "0"
        });
    }
    history::commit(cluster, 5);
    let expected = cluster.psql(ALL);
    let backup = project.json(&["backup", "prod", "main", "--tier", "hourly"]);
    assert!(backup[0]["parent"].is_string(), "{backup}");
    project.must(&["verify", "prod", "--region", "home", "--level", "full"]);
    project.restore("restored", &[]);
    assert_eq!(restored::ask(&project, "restored", ALL), expected);
}

#[test]
fn a_receiver_that_is_killed_goes_on_without_a_gap() {
    let Some(project) = Project::or_skip("a killed receiver", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    cluster.append_conf("wal_keep_size = '2GB'");
    cluster.psql("SELECT pg_reload_conf()");
    history::prepare(cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let mut receiver = project.start(&receive);
    project.must(&["backup", "prod", "main"]);
    let first = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    for number in 1..=kills() + 1 {
        let load = cluster.pgbench_in_background(&["-c", "2", "-T", "60", "-n"]);
        cluster.psql("SELECT pg_switch_wal()");
        sleep_some(number, Duration::from_secs(2));
        receiver.kill();
        cluster.psql("SELECT pg_switch_wal()");
        drop(load);
        receiver = project.start(&receive);
    }
    history::commit(cluster, 3);
    project.wait_until_received("home");
    assert!(receiver.is_alive(), "{}", project.said(&receive));
    project.must(&["wal", "status", "prod", "--region", "home"]);
    // Byte for byte what the server wrote.
    let last = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    let log = cluster.data_dir().join("pg_wal");
    let names = log
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut compared = 0;
    for name in names.filter(|name| name.len() == 24 && *name >= first && *name < last) {
        let to = project.place("fetched");
        project.must(&["wal", "fetch", "prod", "main", &name, to.to_str().unwrap()]);
        let same = std::fs::read(&to).unwrap() == std::fs::read(log.join(&name)).unwrap();
        assert!(same, "{name} differs");
        compared += 1;
    }
    assert!(compared > kills(), "{compared} segments");
    project.restore("restored", &[]);
    assert_eq!(restored::ask(&project, "restored", ALL), cluster.psql(ALL));
}

/// Returns when the newest commit that a region holds was made, seconds since 1970.
fn newest_commit(status: &Value, region: usize) -> f64 {
    let at = status[0]["regions"][region]["clusters"][0]["newest_commit"].as_str();
    let at: jiff::Timestamp = at.expect("something was committed").parse().unwrap();
    at.as_microsecond() as f64 / 1e6
}

/// What was lost, in ascending order.
#[derive(Debug)]
struct Losses(Vec<f64>);

impl Losses {
    fn of(mut secs: Vec<f64>) -> Self {
        secs.sort_by(f64::total_cmp);
        Self(secs)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the distribution is the result")]
fn a_lost_host_costs_a_second_at_home_and_five_away() {
    let Some(mut project) = Project::or_skip("a lost host", Log::Unpushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    let receive = ["wal", "receive", "prod", "main"];
    let first = project.start(&receive);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    drop(first);
    let (mut home, mut away) = (Vec::new(), Vec::new());
    for number in 1..=kills() {
        let receiver = project.start(&receive);
        let cluster = &mut project.cluster;
        let load = cluster.pgbench_in_background(&["-c", "2", "-R", "100", "-T", "60", "-n"]);
        std::thread::sleep(Duration::from_secs(3));
        sleep_some(number, Duration::from_secs(2));
        receiver.kill();
        cluster.kill_9();
        drop(load);
        cluster.start();
        cluster.wait_until_open();
        // The truth: what the host itself had, before anything else is committed.
        let last =
            cluster.psql("SELECT extract(epoch FROM timestamp) FROM pg_last_committed_xact()");
        let last: f64 = last.parse().unwrap();
        let status = project.run(&["wal", "status", "prod", "--json"]).stdout;
        let status: Value = serde_json::from_slice(&status).unwrap();
        home.push(last - newest_commit(&status, 0));
        away.push(last - newest_commit(&status, 1));
    }
    let (home, away) = (Losses::of(home), Losses::of(away));
    eprintln!("lost at home: {home:.2?} s; away: {away:.2?} s");
    assert!(home.median() < 0.7 && home.most() < 1.5, "{home:?} s");
    assert!(away.most() < 5.0, "{away:?} s");
}

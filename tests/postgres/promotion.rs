//! Standbys: backed up, promoted, and recovered from on both sides of the switch.

use lifeboat_testkit::PgCluster;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// What makes a command run against another server of the cluster than the configured one.
fn on(server: &PgCluster) -> [String; 4] {
    let set = |key: &str, value: String| format!("environments.prod.source.main.{key}={value}");
    [
        "--set".to_owned(),
        set("url", server.conninfo()),
        "--set".to_owned(),
        set("data_directory", server.data_dir().display().to_string()),
    ]
}

/// Makes a standby whose restart point is of now.
fn standby_of(primary: &PgCluster) -> PgCluster {
    let standby = PgCluster::standby_of(primary);
    primary.psql("CHECKPOINT");
    catch_up(primary, &standby);
    standby.psql("CHECKPOINT");
    standby
}

fn catch_up(primary: &PgCluster, standby: &PgCluster) {
    let lsn = primary.psql("SELECT pg_current_wal_flush_lsn()");
    history::wait_until("the standby has replayed all", || {
        standby.psql(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'")) == "t"
    });
}

#[test]
fn a_promotion_is_followed_and_both_sides_of_it_come_back() {
    let Some(mut project) = Project::or_skip("a promotion is followed", Log::Unpushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    let primary = &project.cluster;
    let sockets = format!("host={}", primary.socket_dir().display());
    let receiver = ["wal", "receive", "prod", "main"];
    // The receiver may go to either server; the project's own settings name both.
    let standby = PgCluster::standby_of(primary);
    let both = format!("{sockets},{}", standby.socket_dir().display());
    project.replace("environments/prod.toml", &sockets, &both);
    project.replace("environments/prod.toml", "port=5432", "port=5432,5432");
    let mut receiving = project.start(&receiver);
    project.wait_until_received("home");
    primary.psql("CHECKPOINT");
    catch_up(primary, &standby);
    standby.psql("CHECKPOINT");
    let set = on(&standby);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    project.must(&[&set, ["backup", "prod", "main"].as_slice()].concat());
    history::commit(primary, 5);
    let before = history::now(primary);
    history::commit(primary, 3);
    let expected_before = history::committed_until(primary, &before);
    catch_up(primary, &standby);
    project.wait_until_received("home");
    project.cluster.kill_9();
    standby.promote();
    history::commit(&standby, 4);
    let after = history::now(&standby);
    history::commit(&standby, 3);
    project.wait_until_received("home");
    assert!(receiving.is_alive(), "{}", project.said(&receiver));
    project.restore("before", &["--at", &before]);
    assert_eq!(restored::ask(&project, "before", ALL), expected_before);
    project.restore("after", &["--at", &after]);
    let expected_after = history::committed_until(&standby, &after);
    assert_eq!(restored::ask(&project, "after", ALL), expected_after);
    project.restore("latest", &[]);
    assert_eq!(restored::ask(&project, "latest", ALL), standby.psql(ALL));
    let status = project.must(&["wal", "status", "prod", "--region", "home"]);
    assert!(status.contains("on timeline 2"), "{status}");
}

#[test]
fn a_receiver_that_knew_more_than_the_promoted_standby_goes_on() {
    let Some(mut project) = Project::or_skip("a standby that lagged", Log::Unpushed) else {
        return;
    };
    let primary = &project.cluster;
    history::prepare(primary, 1);
    let standby = PgCluster::standby_of(primary);
    let sockets = format!("host={}", primary.socket_dir().display());
    let both = format!("{sockets},{}", standby.socket_dir().display());
    project.replace("environments/prod.toml", &sockets, &both);
    project.replace("environments/prod.toml", "port=5432", "port=5432,5432");
    let receiver = ["wal", "receive", "prod", "main"];
    let mut receiving = project.start(&receiver);
    project.wait_until_received("home");
    let backup = project.run(&["backup", "prod", "main"]);
    let said = String::from_utf8_lossy(&backup.stderr);
    let heard = project.said(&receiver);
    assert!(backup.status.success(), "{said}\nthe receiver: {heard}");
    history::commit(primary, 3);
    catch_up(primary, &standby);
    // The standby gets nothing any more, and the receiver is two segments ahead of it.
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''");
    standby.psql("SELECT pg_reload_conf()");
    history::wait_until("the standby is cut off", || {
        standby.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0"
    });
    for _ in 0..2 {
        history::commit(primary, 3);
        primary.psql("SELECT pg_switch_wal()");
    }
    history::commit(primary, 3);
    project.wait_until_received("home");
    let lost = primary.psql(ALL);
    project.cluster.kill_9();
    standby.promote();
    history::commit(&standby, 4);
    project.wait_until_received("home");
    assert!(receiving.is_alive(), "{}", project.said(&receiver));
    let said = project.said(&receiver);
    assert!(said.contains("promoted without the last"), "{said}");
    project.restore("latest", &[]);
    assert_eq!(restored::ask(&project, "latest", ALL), standby.psql(ALL));
    // What the standby never had is not thrown away.
    project.restore("lost", &["--timeline", "1"]);
    assert_eq!(restored::ask(&project, "lost", ALL), lost);
}

#[test]
fn a_backup_of_a_standby_that_is_promoted_meanwhile_is_none() {
    let Some(project) = Project::or_skip("promoted meanwhile", Log::InSnapshot) else {
        return;
    };
    history::prepare(&project.cluster, 5);
    let standby = standby_of(&project.cluster);
    let set = on(&standby);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let args = [&set, ["backup", "prod", "main"].as_slice()].concat();
    let signal = |name: &str, id: u32| {
        let args = [format!("-{name}"), id.to_string()];
        let sent = std::process::Command::new("kill").args(args).status();
        assert!(sent.unwrap().success());
    };
    let is_copying = || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'lifeboat' AND query LIKE '%backup_start%'";
        standby.psql(sql) != "0"
    };
    // On a busy machine it may be done before it is caught: then it is tried again.
    let mut caught = None;
    for _ in 0..20 {
        let log = std::fs::File::create(project.place("promoted.log")).unwrap();
        let mut child = project.command(&args).stderr(log).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !is_copying() {}
        if child.try_wait().unwrap().is_some() {
            continue;
        }
        signal("STOP", child.id());
        if is_copying() {
            caught = Some(child);
            break;
        }
        signal("CONT", child.id());
        child.wait().unwrap();
    }
    let mut child = caught.expect("a backup lasts long enough to be caught once");
    let before = project.json(&["snapshots", "prod"]);
    standby.promote();
    signal("CONT", child.id());
    let code = child.wait().unwrap().code();
    let said = std::fs::read_to_string(project.place("promoted.log")).unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was promoted"), "{said}");
    assert!(said.contains("back up again"), "{said}");
    assert_eq!(project.json(&["snapshots", "prod"]), before);
    project.must(&args);
}

#[test]
fn a_moment_of_an_older_timeline_is_refused_with_the_timeline_to_name() {
    let Some(project) = Project::or_skip("an older timeline", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 2);
    let fork = history::now(cluster);
    history::commit(cluster, 5);
    let moment = history::now(cluster);
    let expected = history::committed_until(cluster, &moment);
    history::commit(cluster, 2);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    // One that takes the original's place begins a timeline, on which nothing is committed yet.
    let to = project.restore("fork", &["--at", &fork, "--archive"]);
    let mut forked = PgCluster::adopt(cluster.installation(), &to);
    let set = "environments.prod.source.main.data_directory";
    let archive = format!(
        "archive_command = '{} -C {} --set {set}={} -q wal push prod main %p'",
        project.place("lifeboat").display(),
        project.root.display(),
        to.display(),
    );
    forked.append_conf(&archive);
    forked.start();
    forked.wait_until_open();
    forked.psql("SELECT pg_switch_wal()");
    history::wait_until("the new timeline is archived", || {
        !project.objects("home", "00000002.history").is_empty()
            && !project.objects("home", "/000000020000").is_empty()
    });
    let to = project.place("old");
    let restore = ["restore", "prod", "main", "--at", &moment, "--to"];
    let restore = [restore.as_slice(), &[to.to_str().unwrap()]].concat();
    let said = project.must_fail(&restore, 1);
    assert!(said.contains("`--timeline 1`"), "{said}");
    project.must(&[restore.as_slice(), &["--timeline", "1"]].concat());
    assert_eq!(restored::ask(&project, "old", ALL), expected);
}

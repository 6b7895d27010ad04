//! Where a restore can stop, and what the server does then.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::process::Command;

use lifeboat_testkit::ServerAccount;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored::{self, LeftRunning};

#[test]
fn a_recovery_stops_where_it_is_told_to_with_tablespaces_elsewhere() {
    let Some(project) = Project::or_skip("where a recovery stops", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    let space = cluster.make_folder("space");
    history::prepare(cluster, 1);
    cluster.psql(&format!(
        "CREATE TABLESPACE other LOCATION '{}'",
        space.display()
    ));
    cluster.psql("CREATE TABLE away TABLESPACE other AS SELECT generate_series(1, 5000) AS id");
    history::commit(cluster, 3);
    let at_backup = cluster.psql(ALL);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 2);
    let at_lsn = cluster.psql(ALL);
    let lsn = cluster.psql("SELECT pg_current_wal_lsn()");
    history::commit(cluster, 2);
    let before_xid = cluster.psql(ALL);
    let xid =
        cluster.psql("INSERT INTO history DEFAULT VALUES RETURNING pg_current_xact_id()::text");
    let at_xid = cluster.psql(ALL);
    history::commit(cluster, 2);
    let at_name = cluster.psql(ALL);
    cluster.psql("SELECT pg_create_restore_point('before the release')");
    history::commit(cluster, 2);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let xid = format!("xid:{xid}");
    let cases = [
        ("immediate", None, &at_backup),
        (&lsn, None, &at_lsn),
        (&xid, None, &at_xid),
        (&xid, Some("--exclusive"), &before_xid),
        ("name:before the release", None, &at_name),
    ];
    for (number, (point, more, expected)) in cases.into_iter().enumerate() {
        let place = format!("at-{number}");
        let elsewhere = project.place(&format!("space-{number}"));
        let mapping = format!("{}={}", space.display(), elsewhere.display());
        let args = ["--at", point, "--tablespace", &mapping];
        let args = [args.as_slice(), more.as_slice()].concat();
        project.restore(&place, &args);
        let all = format!("{ALL}; SELECT count(*) FROM away");
        let found = restored::ask(&project, &place, &all);
        assert_eq!(found, format!("{expected}\n5000"), "{args:?}");
        assert!(elsewhere.read_dir().unwrap().next().is_some());
    }
}

#[test]
fn a_tablespace_is_never_restored_over_the_original() {
    let Some(project) = Project::or_skip("a tablespace in use", Log::InSnapshot) else {
        return;
    };
    let space = project.cluster.make_folder("space");
    let create = format!("CREATE TABLESPACE other LOCATION '{}'", space.display());
    project.cluster.psql(&create);
    project
        .cluster
        .psql("CREATE TABLE away (id int) TABLESPACE other");
    project.must(&["backup", "prod", "main"]);
    let to = project.place("restored");
    let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
    let output = project.run(&restore);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(space.to_str().unwrap()), "{said}");
    assert!(said.contains("--tablespace"), "{said}");
    // A delta would leave alone what is its own, but not what an upgraded cluster has there.
    let elsewhere = project.place("elsewhere");
    let mapping = format!("{}={}", space.display(), elsewhere.display());
    let mapped = [restore.as_slice(), &["--tablespace", &mapping]].concat();
    project.must(&mapped);
    let delta = [mapped.as_slice(), &["--delta"]].concat();
    project.must(&delta);
    std::fs::create_dir(elsewhere.join("PG_99_209901011")).unwrap();
    let said = project.must_fail(&delta, 7);
    assert!(said.contains("PG_99_209901011"), "{said}");
    assert!(elsewhere.join("PG_99_209901011").exists());
}

#[test]
fn a_server_is_started_paused_or_with_its_log_beside_it() {
    let Some(project) = Project::or_skip("started by the restore", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    let socket = LeftRunning::prepare(&project);
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 4);
    let moment = history::now(cluster);
    let expected = cluster.psql(ALL);
    history::commit(cluster, 3);
    let latest = cluster.psql(ALL);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let state = "SELECT pg_is_in_recovery()";
    {
        let to = project.restore("paused", &["--at", &moment, "--pause", "--start"]);
        let server = LeftRunning::of(&project, &to, &socket);
        history::wait_until("the recovery pauses", || {
            server.ask("SELECT pg_get_wal_replay_pause_state()") == "paused"
        });
        assert_eq!(server.ask(ALL), expected);
        assert_eq!(server.ask(state), "t");
    }
    // Neither regions nor keys are needed once the log is there.
    let to = project.restore("complete", &["--with-log"]);
    std::fs::rename(project.place("regions"), project.place("gone")).unwrap();
    assert_eq!(restored::ask(&project, "complete", ALL), latest);
    std::fs::rename(project.place("gone"), project.place("regions")).unwrap();
    drop(to);
    let to = project.restore("started", &["--with-log", "--start"]);
    let server = LeftRunning::of(&project, &to, &socket);
    assert_eq!(server.ask(state), "f");
    assert_eq!(server.ask(ALL), latest);
}

#[test]
fn a_folder_and_a_key_are_enough() {
    let Some(project) = Project::or_skip("without a project", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 4);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    project.must(&["replicate", "prod"]);
    let elsewhere = cluster.make_folder("elsewhere");
    let rename = |from: &str, to: &str| std::fs::rename(project.place(from), project.place(to));
    rename("lifeboat.toml", "lost.toml").unwrap();
    rename("regions/home", "lost").unwrap();
    let mut restore = Command::new(project.place("lifeboat"));
    restore
        .current_dir(&elsewhere)
        .args(["restore", "prod", "main", "--to", "restored", "--from"])
        .arg(project.place("regions/away"))
        .arg("--key")
        .arg(project.place("keys/reader.key"));
    ServerAccount::apply(ServerAccount::unprivileged(), &mut restore);
    let output = restore.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let place = elsewhere.join("restored");
    let found = restored::ask(&project, place.to_str().unwrap(), ALL);
    assert_eq!(found, cluster.psql(ALL));
}

#[test]
fn root_starts_what_it_restored_as_the_owner_of_the_cluster() {
    let test = "root starts a cluster";
    let (Some(account), Some(project)) = (
        ServerAccount::unprivileged(),
        Project::or_skip(test, Log::Pushed),
    ) else {
        return;
    };
    let cluster = &project.cluster;
    let socket = LeftRunning::prepare(&project);
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 3);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let restore = |place: &str| {
        let to = project.place(place);
        let args = ["restore", "prod", "main", "--start", "--to"];
        let args = [args.as_slice(), &[to.to_str().unwrap()]].concat();
        (project.command_as_caller(&args).output().unwrap(), to)
    };
    let (output, to) = restore("by-root");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let server = LeftRunning::of(&project, &to, &socket);
    assert_eq!(server.ask(ALL), cluster.psql(ALL));
    let pid = std::fs::read_to_string(to.join("postmaster.pid")).unwrap();
    let process = format!("/proc/{}", pid.lines().next().unwrap());
    assert_eq!(std::fs::metadata(process).unwrap().uid(), account.uid);
    drop(server);
    // A key that the server's account cannot read is told at once: the server could fetch no log.
    let key = project.place("keys/reader.key");
    chown(&key, Some(0), Some(0)).unwrap();
    let (output, to) = restore("without-key");
    let server = LeftRunning::of(&project, &to, &socket);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("reader.key"), "{said}");
    drop(server);
}

#[test]
fn a_server_is_not_started_on_the_port_of_the_original() {
    let Some(project) = Project::or_skip("a port that is taken", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    // What is restored would listen where the original does.
    let socket = cluster.socket_dir();
    let line = format!("unix_socket_directories = '{}'", socket.display());
    cluster.append_conf(&line);
    cluster.append_conf("listen_addresses = ''");
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    history::commit(cluster, 3);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let to = project.place("beside");
    let restore = [
        "restore",
        "prod",
        "main",
        "--start",
        "--to",
        to.to_str().unwrap(),
    ];
    let said = project.must_fail(&restore, 2);
    assert!(said.contains("port 5432 is taken"), "{said}");
    assert!(said.contains("--port"), "{said}");
    assert!(!to.exists(), "something was written");
    project.must(&[restore.as_slice(), &["--port", "5433"]].concat());
    let server = LeftRunning::of(&project, &to, &socket).on_port("5433");
    assert_eq!(server.ask(ALL), cluster.psql(ALL));
    // It stays so when somebody starts it again.
    let port = project
        .cluster
        .installation()
        .run("postgres", &["-D", to.to_str().unwrap(), "-C", "port"]);
    assert_eq!(port.trim_end(), "5433");
}

//! `archive_command`: the queue drains, and an answer holds for the very file that was pushed.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// Lists the segments that wait, oldest first.
fn waiting(project: &Project) -> Vec<PathBuf> {
    let log = project.cluster.data_dir().join("pg_wal");
    let queue = fs::read_dir(log.join("archive_status")).unwrap();
    let names = queue.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter_map(|name| Some(name.strip_suffix(".ready")?.to_owned()));
    let mut paths: Vec<_> = names.map(|name| log.join(name)).collect();
    paths.sort();
    paths
}

#[test]
fn a_queue_drains_in_batches_and_no_changed_file_passes_for_a_pushed_one() {
    let Some(project) = Project::or_skip("a queue drains", Log::Pushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.wait_for_archive();
    cluster.psql("ALTER SYSTEM SET archive_command = '/bin/false'");
    cluster.psql("SELECT pg_reload_conf()");
    for _ in 0..8 {
        history::commit(cluster, 2);
        cluster.psql("SELECT pg_switch_wal()");
    }
    let files = waiting(&project);
    assert!(files.len() >= 8, "{files:?}");
    let push = |file: &PathBuf| {
        let file = file.to_str().unwrap().to_owned();
        ["wal", "push", "prod", "main"]
            .map(str::to_owned)
            .into_iter()
            .chain([file, "--along".to_owned(), "3".to_owned()])
            .collect::<Vec<_>>()
    };
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").arg(project.place("regions/home"));
    assert!(
        copied
            .arg(project.place("other"))
            .status()
            .unwrap()
            .success()
    );
    let first = push(&files[0]);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let report = project.json(&first);
    assert_eq!(report["already"], false, "{report}");
    assert_eq!(report["along"].as_array().unwrap().len(), 3, "{report}");
    // One of those is not what it was, by a byte.
    let second = push(&files[1]);
    let second: Vec<&str> = second.iter().map(String::as_str).collect();
    let file = fs::File::options().read(true).write(true).open(&files[1]);
    let file = file.unwrap();
    let (mut byte, place) = ([0], 16 * 1024 * 1024 - 1);
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
    let said = project.must_fail(&second, 1);
    assert!(said.contains("with other content already"), "{said}");
    file.write_all_at(&byte, place).unwrap();
    assert_eq!(project.json(&second)["already"], true);
    // What was pushed along went to a home that is another one now.
    let other = project.place("regions/other");
    fs::rename(project.place("other"), &other).unwrap();
    project.replace("lifeboat.toml", "regions/home", "regions/other");
    let third = push(&files[2]);
    let third: Vec<&str> = third.iter().map(String::as_str).collect();
    assert_eq!(project.json(&third)["already"], false);
    project.replace("lifeboat.toml", "regions/other", "regions/home");
    // The server takes over, and everything is there.
    cluster.psql("ALTER SYSTEM RESET archive_command");
    cluster.psql("SELECT pg_reload_conf()");
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    project.must(&["wal", "status", "prod"]);
    let failed = cluster.psql("SELECT failed_count FROM pg_stat_archiver");
    let failed_before: u32 = failed.parse().unwrap();
    history::commit(cluster, 1);
    cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    let failed = cluster.psql("SELECT failed_count FROM pg_stat_archiver");
    assert_eq!(failed, failed_before.to_string());
    project.restore("restored", &[]);
    assert_eq!(restored::ask(&project, "restored", ALL), cluster.psql(ALL));
}

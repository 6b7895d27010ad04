//! A log with a hole, and objects that are damaged: told apart, and never taken for the end.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use lifeboat_testkit::StopMode;

use crate::history::{self, ALL};
use crate::project::{Log, Project};
use crate::restored;

/// Archives some segments and returns their names.
fn some_segments(project: &Project) -> Vec<String> {
    let cluster = &project.cluster;
    let names = (0..4).map(|_| {
        history::commit(cluster, 3);
        let name = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
        cluster.psql("SELECT pg_switch_wal()");
        name
    });
    let names = names.collect();
    project.wait_for_archive();
    names
}

/// Returns the one object of a segment in a region.
fn object(project: &Project, region: &str, segment: &str) -> std::path::PathBuf {
    let word = format!("/{segment}_");
    let mut found = project.objects(region, &word);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_missing_segment_is_named_and_another_region_serves() {
    let Some(project) = Project::or_skip("a missing segment", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let lost = &segments[1];
    fs::remove_file(object(&project, "home", lost)).unwrap();
    let output = project.run(&["wal", "status", "prod"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    let missing = format!("MISSING: 1 segment from {lost} to {lost}");
    assert!(told.contains(&missing), "{told}");
    // Who names the region gets what that one has.
    let to = project.place("refused");
    let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
    let strict = [&restore[..], &["--region", "home"]].concat();
    let said = project.must_fail(&strict, 1);
    assert!(
        said.contains(&format!("WAL segment `{lost}` is missing")),
        "{said}"
    );
    assert!(said.contains("can be recovered"), "{said}");
    assert!(!to.exists());
    let expected = project.cluster.psql(ALL);
    for (place, how) in [
        ("away", &["--region", "away"][..]),
        ("fetched", &[]),
        ("brought", &["--with-log"]),
    ] {
        let to = project.place(place);
        let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
        let output = project.run(&[&restore, how].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{place}: {said}");
        let told = format!("region `home` lacks `{lost}` of the log of `prod/main`");
        let hint = "lifeboat repair prod --region home";
        assert_eq!(said.contains(&told), place != "away", "{place}: {said}");
        assert_eq!(said.contains(hint), place != "away", "{place}: {said}");
        assert_eq!(restored::ask(&project, place, ALL), expected, "{place}");
    }
}

#[test]
fn a_log_that_no_region_has_alone_is_replayed_whole() {
    let Some(project) = Project::or_skip("a log in parts", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let moment = history::now(&project.cluster);
    history::commit(&project.cluster, 1);
    project.cluster.psql("SELECT pg_switch_wal()");
    project.wait_for_archive();
    fs::remove_file(object(&project, "home", &segments[1])).unwrap();
    fs::remove_file(object(&project, "away", &segments[2])).unwrap();
    // What lies in the way at home is damaged, besides.
    let damaged = object(&project, "home", &segments[3]);
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    for region in ["home", "away"] {
        let to = project.place("refused");
        let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
        project.must_fail(&[&restore[..], &["--region", region]].concat(), 1);
    }
    let expected = project.cluster.psql(ALL);
    project.restore("fetched", &[]);
    assert_eq!(restored::ask(&project, "fetched", ALL), expected);
    project.restore("brought", &["--with-log"]);
    assert_eq!(restored::ask(&project, "brought", ALL), expected);
    project.restore("moment", &["--with-log", "--at", &moment]);
    let expected = history::committed_until(&project.cluster, &moment);
    assert_eq!(restored::ask(&project, "moment", ALL), expected);
}

#[test]
fn a_home_that_lost_its_snapshots_still_serves_its_log() {
    let Some(project) = Project::or_skip("a home without snapshots", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    fs::remove_dir_all(project.place("regions/home/snapshots")).unwrap();
    // The replica missed the newest.
    fs::remove_file(object(&project, "away", &segments[2])).unwrap();
    fs::remove_file(object(&project, "away", &segments[3])).unwrap();
    let expected = project.cluster.psql(ALL);
    for (place, how) in [("fetched", &[][..]), ("brought", &["--with-log"])] {
        let report = [&["restore", "prod", "main", "--to", place], how].concat();
        let report = project.json(&report);
        assert_eq!(report["region"], "away", "{report}");
        assert_eq!(restored::ask(&project, place, ALL), expected, "{place}");
    }
}

#[test]
fn pieces_of_a_segment_that_lie_in_two_regions_are_joined() {
    let Some(project) = Project::or_skip("pieces in two regions", Log::Unpushed) else {
        return;
    };
    let cluster = &project.cluster;
    history::prepare(cluster, 1);
    let receiver = project.start(&["wal", "receive", "prod", "main"]);
    project.wait_until_received("home");
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    cluster.psql("SELECT pg_switch_wal()");
    for _ in 0..4 {
        history::commit(cluster, 2);
        project.wait_until_received("home");
        project.wait_until_received("away");
    }
    let segment = cluster.psql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    drop(receiver);
    let pieces = |region: &str| project.objects(region, &format!("/{segment}-"));
    // Each lacks what the other has: the home an early piece, the replica the last ones.
    let home = pieces("home");
    assert!(home.len() > 2, "{home:?}");
    fs::remove_file(&home[1]).unwrap();
    let away = pieces("away");
    let end = |piece: &std::path::Path| {
        let name = piece.file_name().unwrap().to_str().unwrap();
        name.split(['-', '_']).nth(2).unwrap().to_owned()
    };
    let lost = end(&home[1]);
    let last = away.iter().filter(|piece| end(piece) > lost);
    let last: Vec<_> = last.skip(1).collect();
    assert!(!last.is_empty(), "{away:?}");
    last.into_iter()
        .for_each(|piece| fs::remove_file(piece).unwrap());
    let expected = cluster.psql(ALL);
    for (place, how) in [("fetched", &[][..]), ("brought", &["--with-log"])] {
        project.restore(place, how);
        assert_eq!(restored::ask(&project, place, ALL), expected, "{place}");
    }
}

#[test]
fn a_hole_in_the_log_is_damage_that_a_repair_heals_from_another_region() {
    let Some(project) = Project::or_skip("a hole that is healed", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let lost = [1, 2].map(|number| object(&project, "home", &segments[number]));
    let bytes = lost.clone().map(|object| fs::read(object).unwrap());
    lost.iter()
        .for_each(|object| fs::remove_file(object).unwrap());
    let verify = |region: &str, code: i32| {
        let output = project.run(&["verify", "prod", "--region", region]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{region}: {told}");
        told
    };
    verify("away", 0);
    let told = verify("home", 4);
    for part in [
        &format!("{}: it and 1 more are missing", segments[1]),
        "region `away` has all of it",
        "lifeboat repair",
    ] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
    let would = project.run(&["repair", "prod", "--region", "home", "--dry-run"]);
    assert_eq!(would.status.code(), Some(4), "it is damaged still");
    let would = String::from_utf8(would.stdout).unwrap();
    assert!(would.contains("2 objects would be brought back"), "{would}");
    assert!(!lost[0].exists());
    let repaired = project.json(&["repair", "prod", "--region", "home"]);
    assert_eq!(
        repaired["repaired"].as_object().unwrap().len(),
        2,
        "{repaired}"
    );
    assert_eq!(lost.clone().map(|object| fs::read(object).unwrap()), bytes);
    verify("home", 0);
    project.must(&["wal", "status", "prod", "--region", "home"]);
    // A lost end is no hole that the region itself could tell of, and comes back all the same.
    let end = object(&project, "home", &segments[3]);
    fs::remove_file(&end).unwrap();
    verify("home", 0);
    project.must(&["repair", "prod", "--region", "home"]);
    assert!(end.exists());
    // What nobody has is told, but there is nothing to be repaired.
    fs::remove_file(&lost[0]).unwrap();
    fs::remove_file(object(&project, "away", &segments[1])).unwrap();
    for command in ["verify", "repair"] {
        let output = project.run(&[command, "prod", "--region", "home"]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}: {told}");
        let nobody = format!("{}: it is missing", segments[1]);
        for part in [
            "MISSING wal/prod/main/",
            &nobody,
            "no other region has it",
            "cannot be restored",
        ] {
            assert!(told.contains(part), "{command}: {part} is missing: {told}");
        }
        assert!(!told.contains("DAMAGED"), "{command}: {told}");
    }
    // One that cannot be asked may have it.
    fs::rename(project.place("regions/away"), project.place("regions/gone")).unwrap();
    let told = verify("home", 4);
    assert!(told.contains("region `away` cannot be asked"), "{told}");
}

#[test]
fn a_repair_with_a_damaged_record_brings_back_nothing_that_a_prune_took() {
    let Some(project) = Project::or_skip("a repair after a prune", Log::Pushed) else {
        return;
    };
    project.configure("point_in_time = \"1s\"");
    history::prepare(&project.cluster, 1);
    for _ in 0..2 {
        project.must(&["backup", "prod", "main", "--tier", "daily"]);
        some_segments(&project);
    }
    project.must(&["replicate", "prod"]);
    project.must(&["prune", "prod", "--region", "home"]);
    let left = project.objects("home", "/wal/");
    let there = project.objects("away", "/wal/").len();
    assert!(left.len() < there, "{} of {there} are left", left.len());
    // By name, the newest record is the last.
    let record = project.objects("home", "/snapshots/").pop().unwrap();
    let bytes = fs::read(&record).unwrap();
    let damage = || fs::write(&record, &bytes[..40]).unwrap();
    damage();
    let alone = ["repair", "prod", "--region", "home", "--from", "home"];
    let output = project.run(&alone);
    assert_eq!(output.status.code(), Some(4), "nobody has a good record");
    assert_eq!(project.objects("home", "/wal/"), left);
    project.must(&["repair", "prod", "--region", "home"]);
    assert_eq!(fs::read(&record).unwrap(), bytes);
    assert_eq!(project.objects("home", "/wal/"), left);
    // A replica that has no good record, either.
    damage();
    let copy = project.objects("away", "/snapshots/").pop().unwrap();
    fs::write(&copy, &bytes[..40]).unwrap();
    let output = project.run(&["repair", "prod", "--region", "home"]);
    assert_eq!(output.status.code(), Some(4), "the record is damaged still");
    assert_eq!(project.objects("home", "/wal/"), left);
}

#[test]
fn a_repair_brings_no_log_that_does_not_join_the_regions_own() {
    let Some(project) = Project::or_skip("a log that was made up", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let own = project.objects("home", "/wal/");
    let donor = object(&project, "away", &segments[0]);
    let name = donor.file_name().unwrap().to_str().unwrap();
    let hash = name.rsplit('_').next().unwrap();
    let log = donor.ancestors().nth(3).unwrap();
    // The hash in each name is right: it is that of what another segment holds.
    let forge = |folder: &str, name: &str| {
        let folder = log.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let name = format!("{name}_0_00112233445566778899aabbccddeeff_{hash}");
        // The program may run as another user, and must be able to read it.
        fs::hard_link(&donor, folder.join(name)).unwrap();
    };
    forge("00000001/00000000", "00000001000000000000007F");
    forge("00000007/00000000", "00000007000000000000007F");
    let history = "00000002.history-00000001-0000000000e00000";
    forge("00000002/history", history);
    // It cannot be known that the log of another timeline is made up: people choose.
    let to = project.place("refused");
    let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
    let said = project.must_fail(&restore, 1);
    assert!(
        said.contains("region `home` by itself leads somewhere"),
        "{said}"
    );
    assert!(said.contains("`--region home --dry-run`"), "{said}");
    let lost = object(&project, "home", &segments[3]);
    fs::remove_file(&lost).unwrap();
    project.must(&["repair", "prod", "--region", "home"]);
    assert_eq!(project.objects("home", "/wal/"), own);
    let to = project.place("restored");
    let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
    project.must(&[&restore[..], &["--region", "home"]].concat());
}

#[test]
fn only_a_file_that_is_nowhere_ends_a_recovery() {
    let Some(project) = Project::or_skip("the contract of wal fetch", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let (good, bad) = (&segments[0], &segments[1]);
    let damaged = object(&project, "home", bad);
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let to = project.place("fetched");
    let to = to.to_str().unwrap();
    let fetch = ["wal", "fetch", "prod", "main"];
    let code = |args: &[&str]| project.run(&[&fetch, args].concat()).status.code();
    assert_eq!(code(&[good, to]), Some(0));
    assert_eq!(code(&[bad, to, "--region", "home"]), Some(255), "damaged");
    assert_eq!(code(&[bad, to]), Some(0), "the other region has it");
    assert_eq!(code(&["0000000100000FFF00000001", to]), Some(1), "nowhere");
    assert_eq!(code(&["00000009.history", to]), Some(1), "nowhere");
    assert_eq!(code(&[good]), Some(255), "no target");
    assert_eq!(
        code(&[good, to, "--sistem", "1"]),
        Some(255),
        "a typing error"
    );
    let elsewhere = ["wal", "fetch", "prod", "other", good, to];
    assert_eq!(
        project.run(&elsewhere).status.code(),
        Some(255),
        "no such source"
    );
    // What the home has not, nobody can deny while the home cannot be asked.
    fs::remove_file(object(&project, "away", good)).unwrap();
    fs::rename(project.place("regions/home"), project.place("regions/lost")).unwrap();
    fs::write(project.place("regions/home"), "").unwrap();
    assert_eq!(code(&[good, to]), Some(255), "the home cannot be asked");
    assert_eq!(code(&[bad, to]), Some(0), "the other region has it still");
    assert_eq!(
        code(&[good, to, "--region", "away"]),
        Some(255),
        "the log goes on behind the hole"
    );
    // Behind what a recovery needs, no hole matters.
    let until = |last: &str| code(&[good, to, "--region", "away", "--until", last]);
    assert_eq!(until(good), Some(255));
    assert_eq!(until("000000010000000000000001"), Some(1));
    // A standby asks again.
    let data = project.cluster.make_folder("standby");
    fs::write(data.join("standby.signal"), "").unwrap();
    let in_log = data.join("RECOVERYXLOG");
    fs::create_dir(data.join("pg_wal")).unwrap();
    let in_wal = data.join("pg_wal/RECOVERYXLOG");
    let (in_log, in_wal) = (in_log.to_str().unwrap(), in_wal.to_str().unwrap());
    assert_eq!(code(&[good, in_wal, "--region", "away"]), Some(1));
    assert_eq!(code(&[good, in_log, "--region", "away"]), Some(255));
    // A server that has the segment itself needs no other.
    let own = project.cluster.data_dir().join("pg_wal");
    let own = own.join("RECOVERYXLOG");
    let asked = [good, own.to_str().unwrap(), "--region", "away"];
    assert_eq!(code(&asked), Some(1));
    let (last, end) = (segments.last().unwrap(), next(segments.last().unwrap()));
    assert_eq!(code(&[last, to, "--region", "away"]), Some(0));
    assert_eq!(code(&[&end, to, "--region", "away"]), Some(1), "the end");
}

/// Names the segment after one, of the first few of a cluster.
fn next(segment: &str) -> String {
    let (log, part) = segment.split_at(16);
    let part = u32::from_str_radix(part, 16).unwrap();
    format!("{log}{:08X}", part + 1)
}

#[test]
fn a_hole_that_shows_only_during_a_recovery_stops_it() {
    let Some(mut project) = Project::or_skip("a hole during a recovery", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    let segments = some_segments(&project);
    let to = project.restore("restored", &[]);
    fs::remove_file(object(&project, "home", &segments[2])).unwrap();
    fs::remove_file(object(&project, "away", &segments[2])).unwrap();
    let said = refuses_to_open(&mut project, &to);
    let told = format!("`{}` was there when the restore was planned", segments[2]);
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("no region has more of it"), "{said}");
}

/// Starts a server on what was restored, which must not open, and returns what its log says.
fn refuses_to_open(project: &mut Project, to: &Path) -> String {
    project.cluster.stop(StopMode::Fast);
    let server = project.cluster.installation();
    let mut start = server.command("pg_ctl");
    let socket = format!(
        "-k {} -c listen_addresses=",
        project.cluster.socket_dir().display()
    );
    start.args(["start", "-w", "-t", "60", "-o", &socket, "-l"]);
    start.arg(project.place("restored.log")).arg("-D").arg(to);
    let started = start.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let said = fs::read_to_string(project.place("restored.log")).unwrap();
    assert!(
        !started.unwrap().success(),
        "the database was opened: {said}"
    );
    assert!(
        !said.contains("database system is ready to accept connections"),
        "{said}"
    );
    said
}

#[test]
fn a_region_that_is_gone_after_the_plan_counted_on_it_stops_the_recovery() {
    let Some(mut project) = Project::or_skip("a region gone after the plan", Log::Pushed) else {
        return;
    };
    history::prepare(&project.cluster, 1);
    project.must(&["backup", "prod", "main"]);
    project.must(&["replicate", "prod"]);
    let segments = some_segments(&project);
    let expected = project.cluster.psql(ALL);
    // The home lacks the end of the log, and cannot tell.
    for lost in &segments[2..] {
        fs::remove_file(object(&project, "home", lost)).unwrap();
    }
    let to = project.restore("restored", &[]);
    let (away, lost) = (project.place("regions/away"), project.place("regions/lost"));
    fs::rename(&away, &lost).unwrap();
    fs::write(&away, "").unwrap();
    let said = refuses_to_open(&mut project, &to);
    let told = format!("`{}` was there when the restore was planned", segments[2]);
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("region `away` cannot be read"), "{said}");
    let target = project.place("fetched");
    let fetch = |segment: &str, more: &[&str]| {
        let target = target.to_str().unwrap();
        let words = ["wal", "fetch", "prod", "main", segment, target];
        let output = project.run(&[&words, more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    // By hand, nobody has said what to expect.
    let (code, said) = fetch(&segments[2], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("region `away` cannot serve"), "{said}");
    let until = |last: usize| format!("{}-{}", segments[0], segments[last]);
    assert_eq!(fetch(&segments[2], &["--expect", &until(1)]).0, Some(1));
    assert_eq!(fetch(&segments[2], &["--expect", &until(2)]).0, Some(255));
    let history = ["--expect", "00000002.history"];
    assert_eq!(fetch("00000002.history", &history).0, Some(255));
    assert_eq!(fetch("00000003.history", &history).0, Some(1));
    // What the home has whole needs no other region.
    let (code, said) = fetch(&segments[1], &["--expect", &until(2)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("away"), "{said}");
    fs::remove_file(&away).unwrap();
    fs::rename(&lost, &away).unwrap();
    assert_eq!(restored::ask(&project, "restored", ALL), expected);
}

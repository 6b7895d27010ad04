//! What pipelines read: with `--json` there is exactly one document on stdout, whatever happens.

use serde_json::Value;

use crate::project::{Project, text};

/// Runs the program with `--json` and reads its one document.
fn document(project: &Project, args: &[&str], code: i32) -> Value {
    let mut all = args.to_vec();
    all.push("--json");
    let output = project.command(&all).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        text(&output)
    );
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&output)))
}

#[test]
fn every_failure_is_one_document_with_message_hint_kind_and_exit_code() {
    let project = Project::without_repository();
    std::fs::create_dir_all(project.path("regions/eu-central")).unwrap();
    let missing = document(&project, &["backup", "prod", "config"], 10);
    assert_eq!(missing[0]["error"]["kind"], "no_repository");
    std::fs::remove_dir_all(project.path("regions")).unwrap();
    project.ok(&["init"]);
    let place = project.path("to");
    let to = place.to_str().unwrap();
    let key = project.path("keys/reader.key");
    std::fs::rename(&key, project.path("away")).unwrap();
    for (args, code, kind) in [
        (&["snapshots", "nowhere"][..], 2, "usage"),
        (&["restore", "prod", "config", "--to", to], 12, "wrong_key"),
        (&["show", "abcd"], 1, "not_found"),
        (&["show", "prod/shop"], 1, "not_found"),
        (&["backup", "prod", "--no-such-flag"], 2, "usage"),
        (&["no-such-command"], 2, "usage"),
        (&["verify", "prod", "--region", "nowhere"], 2, "usage"),
        (&["check", "--explain", "no.such.key"], 2, "usage"),
        (&["refresh", "staging"], 12, "wrong_key"),
    ] {
        let error = &document(&project, args, code)["error"];
        assert_eq!(
            (&error["kind"], &error["exit_code"]),
            (&kind.into(), &code.into()),
            "{error}"
        );
        assert!(!error["message"].as_str().unwrap().is_empty(), "{args:?}");
        assert!(
            error["hint"].is_string() && error["causes"].is_array(),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn mistakes_in_files_are_listed_with_their_lines() {
    let project = Project::new();
    project.edit("environments/prod.toml", "class = ", "clas = ");
    let error = &document(&project, &["status"], 2)["error"];
    let problems = error["problems"].as_array().unwrap();
    let misspelt = problems
        .iter()
        .find(|problem| problem["message"].as_str().unwrap().contains("clas"));
    let misspelt = misspelt.unwrap_or_else(|| panic!("{error}"));
    assert!(
        misspelt["file"].as_str().unwrap().ends_with("prod.toml"),
        "{misspelt}"
    );
    assert!(misspelt["line"].as_u64() > Some(0), "{misspelt}");
}

#[test]
fn what_failed_stands_beside_what_was_done() {
    let project = Project::new();
    std::fs::remove_file(project.shop()).unwrap();
    let reports = document(&project, &["backup", "prod"], 1);
    let of = |source: &str| {
        let mut all = reports.as_array().unwrap().iter();
        all.find(|report| report["source"] == source).unwrap()
    };
    assert!(of("config")["snapshot"].is_string(), "{reports}");
    assert!(of("shop")["error"]["message"].is_string(), "{reports}");
    std::fs::remove_dir_all(project.path("regions/eu-west")).unwrap();
    let copies = document(&project, &["replicate", "prod"], 10);
    assert_eq!(copies[0]["to"], "eu-west");
    assert!(copies[0]["error"]["hint"].is_string(), "{copies}");
    let runs = document(&project, &["verify", "prod"], 10);
    assert_eq!(runs[0]["damage"], serde_json::json!([]));
    assert_eq!(
        (&runs[1]["region"], &runs[1]["error"]["exit_code"]),
        (&"eu-west".into(), &10.into())
    );
}

#[test]
fn a_list_that_is_broken_off_is_one_document_all_the_same() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    // The manifest lies in a pack of its own: with every pack damaged, it is.
    for (pack, len) in project.packs("eu-central") {
        let mut bytes = std::fs::read(&pack).unwrap();
        for byte in &mut bytes[60..len as usize / 2] {
            *byte ^= 1;
        }
        std::fs::write(&pack, bytes).unwrap();
    }
    let listed = document(&project, &["ls", "prod/config", "-R"], 4);
    assert_eq!(listed["error"]["kind"], "corrupt");
    assert!(listed["entries"].is_array() && listed["snapshot"].is_string());
}

#[test]
fn a_dry_run_is_text_for_people_and_json_on_request() {
    let project = Project::new();
    project.ok(&["backup", "prod"]);
    let place = project.path("to");
    let to = place.to_str().unwrap();
    for args in [
        &["init"][..],
        &["backup", "prod"],
        &["restore", "prod", "config", "--to", to],
        &["refresh", "staging"],
        &["replicate", "prod"],
        &["drill", "run", "prod", "--scenario", "region-loss"],
    ] {
        let args = [args, &["--dry-run"]].concat();
        let said = project.ok(&args);
        assert!(said.starts_with("would "), "{args:?}: {said}");
        let plan = document(&project, &args, 0);
        assert!(plan.is_object() || plan.is_array(), "{args:?}: {plan}");
    }
    let empty = tempfile::tempdir().unwrap();
    let args = ["-C", empty.path().to_str().unwrap(), "init", "--dry-run"];
    assert!(document(&project, &args, 0)["starter_files"].is_array());
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn reports_that_were_text_only_have_their_document() {
    let project = Project::new();
    let shop = project.shop();
    let rules = [
        "--rules",
        "masking-rules/webshop.toml",
        "--input",
        shop.to_str().unwrap(),
    ];
    let covered = document(&project, &[&["mask", "check"], &rules[..]].concat(), 0);
    assert_eq!(covered["covered"], true);
    let args = ["check", "--explain", "environments.prod.objectives.rto"];
    let explained = document(&project, &args, 0);
    assert!(
        explained["origin"].as_str().unwrap().contains("prod.toml"),
        "{explained}"
    );
    assert!(document(&project, &["check"], 0)["warnings"].is_array());
}

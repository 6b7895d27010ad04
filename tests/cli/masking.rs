//! Masked copies: what staging gets, and what stops a leak.

use lifeboat_demo::originals;

use crate::project::{Project, assert_same_rows, query};

#[test]
fn a_refresh_publishes_a_copy_that_holds_no_original_value() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let report = project.json(&["refresh", "staging"]);
    let staging = project.path("staging/shop.db");
    assert_eq!(query(&staging, "PRAGMA integrity_check"), "ok");
    for table in ["customers", "orders", "payments", "support_notes"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(
            query(&staging, &count),
            query(&project.shop(), &count),
            "{table}"
        );
    }
    // The file's raw bytes are searched: no page, index or free space may hold an original.
    let raw = std::fs::read(&staging).unwrap();
    let values = originals(&project.shop(), 300).unwrap();
    assert!(
        values.len() > 1000,
        "only {} originals were looked for",
        values.len()
    );
    let production = std::fs::read(project.shop()).unwrap();
    let found =
        |bytes: &[u8], value: &str| bytes.windows(value.len()).any(|w| w == value.as_bytes());
    let sample = values.iter().step_by(7);
    assert!(
        sample
            .clone()
            .filter(|value| found(&production, value))
            .count()
            > 100
    );
    for value in sample {
        assert!(
            !found(&raw, value),
            "an original value is in the masked file"
        );
    }
    assert!(report["masked_snapshot"].is_string() && report["published"].is_string());
    // The masked snapshot restores, and may go to staging.
    let to = project.path("again.db");
    project.ok(&["restore", "staging", "shop", "--to", to.to_str().unwrap()]);
    assert_same_rows(&staging, &to);
}

#[test]
fn foreign_keys_join_after_masking_as_before() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.ok(&["refresh", "staging"]);
    let sql = "SELECT group_concat(n) FROM (SELECT count(*) AS n FROM orders GROUP BY customer_id ORDER BY n)";
    assert_eq!(
        query(&project.path("staging/shop.db"), sql),
        query(&project.shop(), sql)
    );
}

#[test]
fn a_new_column_in_production_stops_the_refresh_and_staging_keeps_what_it_had() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.ok(&["refresh", "staging"]);
    let staging = project.path("staging/shop.db");
    let before = std::fs::read(&staging).unwrap();
    let shop = rusqlite::Connection::open(project.shop()).unwrap();
    shop.execute_batch("ALTER TABLE customers ADD COLUMN nickname TEXT")
        .unwrap();
    drop(shop);
    project.ok(&["backup", "prod", "shop"]);
    project.fails(
        &["refresh", "staging"],
        7,
        &["customers.nickname", "nickname ="],
    );
    assert!(
        std::fs::read(&staging).unwrap() == before,
        "staging was touched"
    );
    assert!(!project.path("staging/shop.db.refreshing").exists());
    let scratch = std::fs::read_dir(project.path(".lifeboat/scratch"))
        .unwrap()
        .count();
    assert_eq!(scratch, 0, "production data was left in a scratch folder");
}

#[test]
fn a_weakened_rule_is_caught_by_the_gates() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.edit(
        "masking-rules/webshop.toml",
        "full_name = { domain = \"person\" }",
        "full_name = { mask = \"keep\", reason = \"somebody was in a hurry\" }",
    );
    let output = project.command(&["refresh", "staging"]).output().unwrap();
    let text = crate::project::text(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(
        text.contains("nothing was published") && text.contains("value_reuse"),
        "{text}"
    );
    assert!(!project.path("staging/shop.db").exists());
    let names = originals(&project.shop(), 300).unwrap();
    assert!(
        names.iter().all(|name| !text.contains(name.as_str())),
        "a value is in the message"
    );
}

#[test]
fn the_previous_copy_stays_beside_the_new_one() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.ok(&["refresh", "staging"]);
    let first = project.path("first.db");
    std::fs::copy(project.path("staging/shop.db"), &first).unwrap();
    project.ok(&["refresh", "staging"]);
    assert_same_rows(&first, &project.path("staging/shop.db.previous-1"));
}

#[test]
fn mask_run_writes_a_file_only_if_every_gate_passes() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    project.ok(&["restore", "prod", "shop", "--to", "original.db"]);
    let rules = "masking-rules/webshop.toml";
    let args = [
        "mask",
        "run",
        "--rules",
        rules,
        "--input",
        "original.db",
        "--output",
        "masked.db",
        "--report",
        "leaks.json",
    ];
    project.ok(&["mask", "check", "--rules", rules, "--input", "original.db"]);
    project.ok(&args);
    assert_eq!(
        query(&project.path("masked.db"), "PRAGMA integrity_check"),
        "ok"
    );
    assert!(
        std::fs::read_to_string(project.path("leaks.json"))
            .unwrap()
            .contains("value_reuse")
    );
    project.fails(&args, 1, &["masked.db", "exists"]);
    project.edit(rules, "full_name = { domain = \"person\" }", "");
    std::fs::remove_file(project.path("masked.db")).unwrap();
    project.fails(&args, 7, &["customers.full_name"]);
    assert!(!project.path("masked.db").exists());
}

#[test]
fn a_dry_run_of_a_refresh_refuses_what_the_run_would() {
    let project = Project::new();
    project.ok(&["backup", "prod", "shop"]);
    let dry = ["refresh", "staging", "--dry-run"];
    let said = project.ok(&dry);
    assert!(said.contains("checked: that `"), "{said}");
    assert!(!project.path("staging").exists());
    // What is no database is not replaced, and that shows before anything is masked.
    project.write("staging/shop.db", "notes of somebody");
    for args in [&dry[..], &["refresh", "staging"]] {
        project.fails(args, 4, &["staging/shop.db` is not a SQLite database"]);
    }
    project.write("staging/shop.db", "");
    project.ok(&dry);
    project.edit("masking-rules/webshop.toml", "version = 1", "version = 9");
    for args in [&dry[..], &["refresh", "staging"]] {
        project.fails(args, 2, &["webshop.toml:"]);
    }
}

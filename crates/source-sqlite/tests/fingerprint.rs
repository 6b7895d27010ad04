//! A fingerprint tells contents apart and nothing else; checks answer what they are asked.

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_sqlite::{
    DatabaseFingerprint, Difference, assertion, check_integrity, compare, fingerprint,
    newest_commit,
};
use rusqlite::Connection;

fn database(folder: &Path, name: &str, sql: &str) -> PathBuf {
    let path = folder.join(name);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

fn of(sql: &str) -> DatabaseFingerprint {
    let folder = tempfile::tempdir().unwrap();
    fingerprint(&database(folder.path(), "a.db", sql)).unwrap()
}

const TABLE: &str = "CREATE TABLE t (a, b TEXT, c REAL);";

#[test]
fn the_order_of_rows_does_not_matter() {
    let rows = of(&format!(
        "{TABLE} INSERT INTO t VALUES (1, 'x', 1.5), (2, NULL, 2.5), (3, '', 0)"
    ));
    let turned = of(&format!(
        "{TABLE} INSERT INTO t VALUES (3, '', 0), (2, NULL, 2.5), (1, 'x', 1.5)"
    ));
    assert_eq!(compare(&rows, &turned), []);
    assert_eq!(rows.tables[0].rows, 3);
}

#[test]
fn one_changed_cell_is_noticed_whatever_it_is() {
    let with = |values: &str| of(&format!("{TABLE} INSERT INTO t VALUES {values}"));
    let original = with("(1, 'ab', 1.5), (2, 'c', 2.5)");
    let table = "t".to_owned();
    for changed in [
        "(1, 'ab', 1.5), (3, 'c', 2.5)",
        "(1, 'ab', 1.5), (2, 'C', 2.5)",
        "(1, 'ab', 1.5), (2, 'c', 2.50000001)",
        "(1, 'ab', 1.5), (NULL, 'c', 2.5)",
        "(1, 'ab', 1.5), ('2', 'c', 2.5)",
        "(1, 'ab', 1.5), (x'32', 'c', 2.5)",
        "(1, 'c', 1.5), (2, 'ab', 2.5)",
    ] {
        let differences = compare(&original, &with(changed));
        assert_eq!(
            differences,
            [Difference::Content {
                table: table.clone()
            }],
            "{changed}"
        );
    }
    let doubled = with("(1, 'ab', 1.5), (2, 'c', 2.5), (2, 'c', 2.5)");
    let rows = Difference::Rows {
        table,
        expected: 2,
        actual: 3,
    };
    assert_eq!(rows.to_string(), "table `t` has 3 rows instead of 2");
    assert_eq!(compare(&original, &doubled), [rows]);
}

#[test]
fn tables_and_schema_are_compared() {
    let a = of("CREATE TABLE t (a); CREATE TABLE u (a)");
    let b = of("CREATE TABLE t (a); CREATE TABLE v (a)");
    let missing = Difference::TableMissing { table: "u".into() };
    let unexpected = Difference::TableUnexpected { table: "v".into() };
    assert_eq!(compare(&a, &b), [Difference::Schema, missing, unexpected]);
    assert_eq!(compare(&a, &a), []);
}

#[test]
fn what_full_text_tables_hold_is_covered() {
    let with = |text: &str| {
        of(&format!(
            "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('{text}')"
        ))
    };
    assert_eq!(compare(&with("one"), &with("one")), []);
    assert!(!compare(&with("one"), &with("two")).is_empty());
}

#[test]
fn orphans_and_broken_constraints_are_found_without_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(
        folder.path(),
        "a.db",
        "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
         CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT CHECK (length(name) > 3));
         CREATE TABLE orders (id INTEGER PRIMARY KEY, owner REFERENCES users);
         INSERT INTO users VALUES (4711, 'Eve'); INSERT INTO orders VALUES (9, 4711), (815, 4712), (816, 4713);",
    );
    let problems = check_integrity(&path).unwrap();
    assert_eq!(
        problems,
        [
            "CHECK constraint failed in users",
            "2 rows of table `orders` refer to no row of table `users`",
        ]
    );
}

#[test]
fn a_damaged_page_is_found_without_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(
        folder.path(),
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); CREATE INDEX by_name ON t (name);
         INSERT INTO t VALUES (70041, 'canary70041'), (70042, 'canary70042'), (70043, 'canary70043')",
    );
    assert_eq!(check_integrity(&path).unwrap(), Vec::<String>::new());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(11)
        .position(|window| window == b"canary70042")
        .unwrap();
    bytes[at + 10] = b'x';
    std::fs::write(&path, bytes).unwrap();
    let problems = check_integrity(&path).unwrap();
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(
            !problem.contains("canary") && !problem.contains("700"),
            "{problem}"
        );
    }
}

#[test]
fn the_newest_commit_is_understood_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(
        folder.path(),
        "a.db",
        "CREATE TABLE t (whole INTEGER, part REAL, text TEXT);
         INSERT INTO t VALUES (1769860800, 1769860800.25, '2026-01-31 12:00:00')",
    );
    let ask = |sql: &str| newest_commit(&path, sql).map(|time| time.map(|time| time.to_string()));
    let noon = Some("2026-01-31T12:00:00Z".to_owned());
    assert_eq!(ask("SELECT max(whole) FROM t").unwrap(), noon);
    assert_eq!(ask("SELECT max(text) FROM t").unwrap(), noon);
    assert_eq!(
        ask("SELECT part FROM t").unwrap().unwrap(),
        "2026-01-31T12:00:00.25Z"
    );
    assert_eq!(
        ask("SELECT max(whole) FROM t WHERE whole < 0").unwrap(),
        None
    );
    assert_eq!(ask("SELECT whole FROM t WHERE whole < 0").unwrap(), None);
    let error = ask("SELECT 'secret'").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(!format!("{error} {:?}", error.hint()).contains("secret"));
    assert!(ask("SELECT whole * 1000 FROM t").is_err());
}

#[test]
fn an_assertion_answers_and_never_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(
        folder.path(),
        "a.db",
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)",
    );
    assert!(assertion(&path, "SELECT count(*) = 2 FROM t").unwrap());
    assert!(!assertion(&path, "SELECT count(*) = 3 FROM t").unwrap());
    assert!(!assertion(&path, "SELECT a FROM t WHERE a > 5").unwrap());
    for bad in [
        "DELETE FROM t",
        "SELECT 'yes'",
        "DELETE FROM t RETURNING 1",
        "BEGIN",
    ] {
        assert_eq!(
            assertion(&path, bad).unwrap_err().kind(),
            ErrorKind::Usage,
            "{bad}"
        );
    }
    assert!(assertion(&path, "SELECT \"no such column\" FROM t").is_err());
    assert!(assertion(&path, "SELECT count(*) = 2 FROM t").unwrap());
}

//! A project on disk, with a small webshop as its production.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lifeboat_demo::{ConfigFolder, Shop, ShopOptions};
use serde_json::Value;
use tempfile::TempDir;

/// A project in a folder of its own, initialized, nothing backed up yet.
pub(crate) struct Project {
    pub(crate) dir: TempDir,
}

const FILES: &[(&str, &str)] = &[
    (
        "lifeboat.toml",
        include_str!("../../crates/cli/src/demo_project/lifeboat.toml"),
    ),
    (
        "environments/prod.toml",
        include_str!("../../crates/cli/src/demo_project/prod.toml"),
    ),
    (
        "environments/staging.toml",
        include_str!("../../crates/cli/src/demo_project/staging.toml"),
    ),
    (
        "schedules/production.toml",
        include_str!("../../schedules/production.toml"),
    ),
    (
        "schedules/staging.toml",
        include_str!("../../schedules/staging.toml"),
    ),
    (
        "masking-rules/webshop.toml",
        include_str!("../../masking-rules/webshop.toml"),
    ),
];

/// How many customers a test's webshop has.
const CUSTOMERS: u64 = 300;

impl Project {
    /// Makes the project, its production and its repository.
    pub(crate) fn new() -> Self {
        let project = Self::without_repository();
        project.ok(&["init"]);
        project
    }

    /// Makes the project and its production.
    pub(crate) fn without_repository() -> Self {
        let project = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (file, text) in FILES {
            project.write(file, text);
        }
        let options = ShopOptions {
            customers: CUSTOMERS,
            seed: 1,
            now: "2026-11-21T00:00:00Z".parse().unwrap(),
        };
        std::fs::create_dir(project.path("production")).unwrap();
        Shop::create(&project.shop(), &options).unwrap();
        ConfigFolder::create(&project.path("production/config")).unwrap();
        project
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// The production database.
    pub(crate) fn shop(&self) -> PathBuf {
        self.path("production/shop.db")
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces text in a file, which must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} does not contain {from:?}");
        std::fs::write(self.path(file), text.replacen(from, to, 1)).unwrap();
    }

    /// The program, run in the project.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = lifeboat();
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("MASK_KEY", "k".repeat(40));
        command
    }

    /// Runs the program and expects exit code 0.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?} failed:\n{}",
            text(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program with `--json`, expects exit code 0 and returns the document.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// Runs the program, expects this exit code and each of these texts on stderr or stdout.
    pub(crate) fn fails(&self, args: &[&str], code: i32, says: &[&str]) {
        let output = self.command(args).output().unwrap();
        assert_exit(&output, code, says, args);
    }

    /// Every pack of a region, with its length.
    pub(crate) fn packs(&self, region: &str) -> Vec<(PathBuf, u64)> {
        let mut packs = Vec::new();
        for folder in std::fs::read_dir(self.path(&format!("regions/{region}/packs"))).unwrap() {
            for pack in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let pack = pack.unwrap();
                packs.push((pack.path(), pack.metadata().unwrap().len()));
            }
        }
        packs.sort();
        packs
    }
}

/// Checks exit code and message of a run that was to fail.
pub(crate) fn assert_exit(output: &Output, code: i32, says: &[&str], args: &[&str]) {
    let all = text(output);
    assert_eq!(output.status.code(), Some(code), "{args:?}:\n{all}");
    for part in says {
        assert!(all.contains(part), "{args:?} does not say {part:?}:\n{all}");
    }
}

/// The program, without anything of this test's environment that could steer it.
pub(crate) fn lifeboat() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lifeboat"));
    command.env_remove("LIFEBOAT_LOG");
    command
}

pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// Expects two databases to hold the same rows in every table.
pub(crate) fn assert_same_rows(left: &Path, right: &Path) {
    let connection = rusqlite::Connection::open(left).unwrap();
    connection
        .execute("ATTACH ?1 AS other", [right.to_str().unwrap()])
        .unwrap();
    let sql =
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut statement = connection.prepare(sql).unwrap();
    let tables: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(tables.len() >= 5, "{tables:?}");
    for table in tables {
        let differ = |one: &str, two: &str| -> u64 {
            let sql = format!(
                "SELECT count(*) FROM (SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {two}.{table})"
            );
            connection
                .query_row(&sql, [], |row| row.get::<_, i64>(0))
                .unwrap()
                .unsigned_abs()
        };
        assert_eq!(
            (differ("main", "other"), differ("other", "main")),
            (0, 0),
            "{table}"
        );
    }
}

/// Returns what a query yields, as text.
pub(crate) fn query(database: &Path, sql: &str) -> String {
    let connection = rusqlite::Connection::open(database).unwrap();
    let value: rusqlite::types::Value = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Skips a test loudly, or fails it where `REQUIRE_SERVERS` says that nothing may be missing.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests talk to who runs them"
)]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("REQUIRE_SERVERS").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
}

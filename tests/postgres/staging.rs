//! Production, and a server that gets masked copies of one of its databases.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lifeboat_testkit::PgCluster;
use serde_json::Value;

use crate::project::{Log, Project};

/// 32 bytes; only for tests.
pub(crate) const MASK_KEY: &str = "test-only-masking-key-0123456789";

/// Production with a database `shop`, and a server for staging.
pub(crate) struct Staging {
    pub(crate) project: Project,
    pub(crate) staging: PgCluster,
}

impl Staging {
    /// Starts both servers; production's database is made by the file `script` of `tests/data`. `None`
    /// if there is no PostgreSQL.
    pub(crate) fn or_skip(test: &str, script: &str, rules: &str) -> Option<Self> {
        let project = Project::or_skip(test, Log::InSnapshot)?;
        let staging = PgCluster::or_skip(test)?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        project.cluster.make_database("shop", &scripts.join(script));
        let url = project.cluster.conninfo();
        let shop = url.replace("dbname=postgres", "dbname=shop");
        project.replace("environments/prod.toml", &url, &shop);
        project.write("t/.keep", "");
        let staging = Self { project, staging };
        staging.write_rules(rules);
        staging.configure("");
        Some(staging)
    }

    pub(crate) fn write_rules(&self, rules: &str) {
        self.project.write("masking-rules/shop.toml", rules);
    }

    /// Writes the environment `staging`, with further lines for `[refresh]`.
    pub(crate) fn configure(&self, lines: &str) {
        let url = self.staging.conninfo();
        let url = url.replace("dbname=postgres", "dbname=shop");
        self.project.write(
            "environments/staging.toml",
            &format!(
                "class = \"staging\"\nregion = \"home\"\nresidency = [\"eu\"]\n\n[refresh]\n\
                 from = \"prod/main\"\nrules = \"masking-rules/shop.toml\"\n\
                 database = \"{url}\"\nkeep_previous = 1\n{lines}\n"
            ),
        );
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        command
            .env("MASK_KEY", MASK_KEY)
            .env("TMPDIR", self.project.root.join("t"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program, which must end with `code`; returns what it printed and said.
    pub(crate) fn ends_with(&self, code: i32, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {said}{printed}"
        );
        (printed, said)
    }

    /// Refreshes, which must succeed, and returns the report.
    pub(crate) fn refresh(&self, args: &[&str]) -> Value {
        let args = [&["refresh", "staging", "--json"], args].concat();
        serde_json::from_str(&self.ends_with(0, &args).0).unwrap()
    }

    pub(crate) fn production(&self, sql: &str) -> String {
        self.project.cluster.psql_in("shop", sql)
    }

    pub(crate) fn staged(&self, sql: &str) -> String {
        self.staging.psql_in("shop", sql)
    }

    /// The databases of the staging server that a refresh made.
    pub(crate) fn databases(&self) -> Vec<String> {
        let sql = "SELECT datname FROM pg_database WHERE datname ~ '^(shop|lifeboat_new)' ORDER BY datname";
        let list = self.staging.psql(sql);
        list.lines().map(str::to_owned).collect()
    }

    /// Everything that a database holds, as plain text.
    pub(crate) fn dump_of_staging(&self) -> String {
        let bin = &self.staging.installation().bin;
        let url = self.staging.conninfo();
        let url = url.replace("dbname=postgres", "dbname=shop");
        let output = Command::new(bin.join("pg_dump"))
            .args(["-d", &url])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    pub(crate) fn assert_nothing_left(&self) {
        for folder in ["t", ".lifeboat/scratch"] {
            let folder = self.project.root.join(folder);
            let entries = fs::read_dir(&folder).unwrap().flatten();
            let left: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            let left: Vec<_> = left
                .iter()
                .filter(|path| !path.ends_with(".keep"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

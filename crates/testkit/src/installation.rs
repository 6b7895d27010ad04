//! Which PostgreSQL versions this machine has.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::home::{Home, run};

/// Extra folders of server programs, separated by `:`.
const EXTRA_BINS: &str = "LIFEBOAT_PG_BINS";
/// Makes a missing server a failure; continuous integration sets it.
const REQUIRE: &str = "REQUIRE_SERVERS";

/// What must be of the very version of the cluster.
const SERVER_PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_ctl", "pg_controldata"];

/// One installed PostgreSQL: the folder of its programs and its major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgInstallation {
    /// Folder that holds `postgres` and `initdb`.
    pub bin: PathBuf,
    /// Major version: 15.
    pub major: u32,
}

impl PgInstallation {
    /// Returns every installed major version, oldest first, each once.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<PgInstallation>> = OnceLock::new();
        ALL.get_or_init(find)
    }

    /// Returns the newest installed version.
    pub fn newest() -> Option<&'static Self> {
        Self::all().last()
    }

    /// Returns the newest installed version, or says loudly that `test` is skipped.
    ///
    /// # Panics
    /// Panics if there is none and `REQUIRE_SERVERS=1` is set.
    pub fn newest_or_skip(test: &str) -> Option<&'static Self> {
        Self::all_or_skip(test).last()
    }

    /// Returns every installed version, or none after saying loudly that `test` is skipped.
    ///
    /// # Panics
    /// Panics if there is none and `REQUIRE_SERVERS=1` is set.
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    pub fn all_or_skip(test: &str) -> &'static [Self] {
        let all = Self::all();
        if all.is_empty() {
            assert!(
                variable(REQUIRE).as_deref() != Some("1"),
                "`{test}` needs PostgreSQL, and {REQUIRE}=1 forbids to skip it; install it, or \
                 name its program folder in {EXTRA_BINS}"
            );
            eprintln!("SKIPPED {test}: no PostgreSQL is installed (see {EXTRA_BINS})");
        }
        all
    }

    /// Returns the path of one of its programs.
    ///
    /// Some packages have the server alone. For what they lack, such as `psql`, the newest version
    /// that has it stands in: PostgreSQL's clients work with older servers.
    pub fn program(&self, name: &str) -> PathBuf {
        let own = self.bin.join(name);
        if own.exists() || SERVER_PROGRAMS.contains(&name) {
            return own;
        }
        let mut others = Self::all().iter().rev().map(|other| other.bin.join(name));
        others.find(|path| path.exists()).unwrap_or(own)
    }

    /// Reports whether one of its own programs is there.
    pub fn has(&self, name: &str) -> bool {
        self.bin.join(name).exists()
    }

    /// Returns one of its programs, ready to run under the account of test servers.
    pub fn command(&self, name: &str) -> Command {
        Home::get().command(&self.program(name))
    }

    /// Runs one of its programs to its end and returns what it wrote.
    ///
    /// # Panics
    /// Panics with the program's messages if it fails.
    pub fn run(&self, name: &str, arguments: &[&str]) -> String {
        run(self.command(name).args(arguments))
    }
}

fn find() -> Vec<PgInstallation> {
    let mut by_major = BTreeMap::new();
    // Later folders do not replace earlier ones: what the caller named comes first.
    for bin in candidates() {
        // Links to a few programs are no installation: what they lead to is.
        let Ok(program) = fs::canonicalize(bin.join("initdb")) else {
            continue;
        };
        let bin = program.parent().map_or(bin, Path::to_path_buf);
        if let Some(major) = major_of(&bin) {
            by_major
                .entry(major)
                .or_insert(PgInstallation { bin, major });
        }
    }
    by_major.into_values().collect()
}

fn candidates() -> Vec<PathBuf> {
    let split = |name| {
        let value = variable(name).unwrap_or_default();
        env::split_paths(&value).collect::<Vec<_>>()
    };
    let mut bins = split(EXTRA_BINS);
    bins.extend(split("PATH"));
    for (root, below) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr/local/lib/postgresql", "bin"),
        ("/opt/postgresql", "bin"),
    ] {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        bins.extend(entries.map(|entry| entry.path().join(below)));
    }
    bins
}

fn major_of(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    // `postgres (PostgreSQL) 15.10 (Debian 15.10-0+deb12u1)`, or `18beta1`.
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?;
    let digits = version.find(|c: char| !c.is_ascii_digit());
    version[..digits.unwrap_or(version.len())].parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which servers a machine has is a fact of the machine, told to tests only"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

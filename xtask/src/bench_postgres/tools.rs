//! The tools that are measured: how each is set up, and how it does the same work.
//!
//! pgBackRest is measured twice: as it is fastest, without encryption, and encrypted, as Lifeboat
//! always is.

use std::path::{Path, PathBuf};

use super::archiver::quoted;
use super::server::{PORT, Server, USER};
use crate::bench::account::Account;
use crate::bench::folder::length_of;
use crate::bench::measure::Run;
use crate::bench::program;
use crate::install;

/// Since this version pgBackRest stores blocks of a changed file instead of the whole.
const BLOCKS_SINCE: (u32, u32) = (2, 46);

/// One of the tools, with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Lifeboat,
    PgBackRest,
    PgBackRestEncrypted,
}

/// Which backup of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    Incremental,
}

/// Which restore of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// An empty folder.
    Empty,
    /// What a restore just made: nothing has to be written.
    Restored,
}

impl Tool {
    pub(super) const ALL: [Tool; 3] = [Tool::Lifeboat, Tool::PgBackRest, Tool::PgBackRestEncrypted];

    /// What the tables and folders call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Lifeboat => "lifeboat",
            Tool::PgBackRest => "pgbackrest",
            Tool::PgBackRestEncrypted => "pgbackrest-aes",
        }
    }

    /// The program, which is also what `--only` calls it.
    pub(super) fn program_name(self) -> &'static str {
        match self {
            Tool::Lifeboat => "lifeboat",
            Tool::PgBackRest | Tool::PgBackRestEncrypted => "pgbackrest",
        }
    }

    /// What the tables say beside the name.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Tool::Lifeboat => "one region, defaults, encrypted",
            Tool::PgBackRest => {
                "process-max=2, zst 3, bundles, blocks, asynchronous, not encrypted"
            }
            Tool::PgBackRestEncrypted => "the same, aes-256-cbc",
        }
    }
}

/// Returns pgBackRest's program: the one given or the one in the path; installs it if there is none.
pub(super) fn pgbackrest(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(program) = given {
        return program::absolute_file(program);
    }
    let found = || install::find_in_path("pgbackrest");
    if let Some(program) = found() {
        return Ok(program);
    }
    install::debian_packages(&["pgbackrest"])?;
    found().ok_or_else(|| "pgbackrest is still not found after its installation".to_owned())
}

/// A tool at hand, with places of its own.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) tool: Tool,
    pub(super) version: String,
    program: PathBuf,
    account: Account,
    /// Configuration, keys, spool, caches: of one round.
    home: PathBuf,
    repository: PathBuf,
}

/// The cluster that is backed up, as tools are told of it.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    data: PathBuf,
    socket: PathBuf,
    bin: PathBuf,
    url: String,
}

impl Cluster {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            data: server.data.clone(),
            socket: server.socket().to_owned(),
            bin: server.bin().to_owned(),
            url: server.url(),
        }
    }
}

impl Peer {
    /// Takes `program`, with places for its homes and repositories in the bench's folder.
    pub(super) fn new(
        tool: Tool,
        program: PathBuf,
        bench: &Path,
        account: Account,
    ) -> Result<Self, String> {
        let flag = match tool {
            Tool::Lifeboat => "--version",
            Tool::PgBackRest | Tool::PgBackRestEncrypted => "version",
        };
        Ok(Self {
            tool,
            version: program::version(&program, flag)?,
            program,
            account,
            home: bench.join("homes").join(tool.name()),
            repository: bench.join("repositories").join(tool.name()),
        })
    }

    /// Makes a home, and what must be there before the repository is.
    pub(super) fn prepare(&self, cluster: &Cluster) -> Result<(), String> {
        for folder in ["spool", "lock", "log"] {
            self.account.make_folder(&self.home.join(folder))?;
        }
        self.account.make_folder(&self.repository)?;
        let files = match self.tool {
            Tool::Lifeboat => vec![
                (
                    "project/lifeboat.toml",
                    program::project_base(&self.repository),
                ),
                ("project/environments/bench.toml", environment(cluster)),
            ],
            Tool::PgBackRest | Tool::PgBackRestEncrypted => {
                vec![("pgbackrest.conf", self.configuration(cluster))]
            }
        };
        for (name, text) in files {
            self.account.write(&self.home.join(name), text)?;
        }
        Ok(())
    }

    /// The text of `pgbackrest.conf`.
    fn configuration(&self, cluster: &Cluster) -> String {
        let home = |name: &str| self.home.join(name).display().to_string();
        let mut lines = vec![
            "[global]".to_owned(),
            format!("cmd={}", self.program.display()),
            "process-max=2".to_owned(),
            "compress-type=zst".to_owned(),
            "compress-level=3".to_owned(),
            "start-fast=y".to_owned(),
            "archive-async=y".to_owned(),
            format!("spool-path={}", home("spool")),
            format!("lock-path={}", home("lock")),
            format!("log-path={}", home("log")),
            "log-level-console=off".to_owned(),
            "log-level-stderr=error".to_owned(),
            format!("repo1-path={}", self.repository.display()),
            "repo1-bundle=y".to_owned(),
        ];
        if has_blocks(&self.version) {
            lines.push("repo1-block=y".to_owned());
        }
        if self.tool == Tool::PgBackRestEncrypted {
            lines.push("repo1-cipher-type=aes-256-cbc".to_owned());
            lines.push("repo1-cipher-pass=bench".to_owned());
        }
        lines.push("\n[main]".to_owned());
        lines.push(format!("pg1-path={}", cluster.data.display()));
        lines.push(format!("pg1-socket-path={}", cluster.socket.display()));
        lines.push(format!("pg1-port={PORT}"));
        lines.push(format!("pg1-user={USER}\n"));
        lines.join("\n")
    }

    /// What people should know of the version at hand.
    pub(super) fn note(&self) -> Option<String> {
        let lacks = self.tool == Tool::PgBackRest && !has_blocks(&self.version);
        lacks.then(|| {
            let (major, minor) = BLOCKS_SINCE;
            format!(
                "pgbackrest {} stores whole files that changed; blocks come with {major}.{minor}",
                self.version
            )
        })
    }

    /// The run that makes an empty repository.
    pub(super) fn create(&self) -> Run {
        match self.tool {
            Tool::Lifeboat => self.run(&["init"]),
            Tool::PgBackRest | Tool::PgBackRestEncrypted => self.run(&["stanza-create"]),
        }
    }

    /// The run that backs up the cluster.
    pub(super) fn backup(&self, kind: Kind) -> Run {
        match (self.tool, kind) {
            (Tool::Lifeboat, Kind::Full) => self.run(&["backup", "bench", "main", "--full"]),
            (Tool::Lifeboat, Kind::Incremental) => {
                self.run(&["backup", "bench", "main", "--incremental"])
            }
            (_, Kind::Full) => self.run(&["--type=full", "backup"]),
            (_, Kind::Incremental) => self.run(&["--type=incr", "backup"]),
        }
    }

    /// The run that restores the newest backup into the folder `to`.
    pub(super) fn restore(&self, to: &Path, into: Into) -> Run {
        let (to, delta) = (to.to_string_lossy(), into == Into::Restored);
        let pg1_path = format!("--pg1-path={to}");
        let mut args = match self.tool {
            Tool::Lifeboat => vec!["restore", "bench", "main", "--to", &to],
            Tool::PgBackRest | Tool::PgBackRestEncrypted => vec![&pg1_path, "restore"],
        };
        if delta {
            args.push("--delta");
        }
        self.run(&args)
    }

    /// The command that keeps a segment, as a line for `archive_command`.
    pub(super) fn archive_command(&self) -> String {
        match self.tool {
            Tool::Lifeboat => self.line(&["wal", "push", "bench", "main", "%p"]),
            _ => self.line(&["archive-push", "%p"]),
        }
    }

    /// The same for the segments of another data directory of the same cluster.
    pub(super) fn push_command(&self, data: &Path) -> String {
        let pg1_path = format!("--pg1-path={}", data.display());
        match self.tool {
            Tool::Lifeboat => self.archive_command(),
            _ => self.line(&[&pg1_path, "archive-push", "%p"]),
        }
    }

    /// The command that fetches a segment into `data`, as a line for `restore_command`.
    pub(super) fn fetch_command(&self, data: &Path) -> String {
        let pg1_path = format!("--pg1-path={}", data.display());
        let spool = self.home.join("spool");
        let spool = spool.to_string_lossy();
        match self.tool {
            Tool::Lifeboat => self.line(&[
                "wal", "fetch", "bench", "main", "%f", "%p", "--spool", &spool,
            ]),
            _ => self.line(&[&pg1_path, "archive-get", "%f", "%p"]),
        }
    }

    /// Returns the length of all that backups stored, the log apart.
    pub(super) fn stored_bytes(&self) -> Result<f64, String> {
        let folders: &[&str] = match self.tool {
            Tool::Lifeboat => &["packs", "index", "snapshots"],
            _ => &["backup"],
        };
        let lengths = folders
            .iter()
            .map(|name| length_of(&self.repository.join(name)));
        lengths.sum()
    }

    /// Returns the length of the log that is kept.
    pub(super) fn archived_bytes(&self) -> Result<f64, String> {
        let name = match self.tool {
            Tool::Lifeboat => "wal",
            _ => "archive",
        };
        length_of(&self.repository.join(name))
    }

    /// Returns what stands before the program's name in a command.
    pub(super) fn program_folder(&self) -> String {
        let folder = self.program.parent().unwrap_or(Path::new(""));
        format!("{}/", folder.display())
    }

    pub(super) fn repository(&self) -> &Path {
        &self.repository
    }

    fn line(&self, args: &[&str]) -> String {
        let run = self.run(args);
        let program = quoted(&self.program.to_string_lossy());
        let words = run.args.iter().map(|arg| quoted(arg));
        [program]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn run(&self, args: &[&str]) -> Run {
        let home = |name: &str| self.home.join(name).to_string_lossy().into_owned();
        let before = match self.tool {
            Tool::Lifeboat => vec!["-C".to_owned(), home("project"), "-q".to_owned()],
            _ => vec![
                format!("--config={}", home("pgbackrest.conf")),
                "--stanza=main".to_owned(),
            ],
        };
        let args = args.iter().map(|arg| (*arg).to_owned());
        Run {
            program: self.program.clone(),
            args: before.into_iter().chain(args).collect(),
            folder: self.home.clone(),
            variables: vec![
                ("HOME", self.home.to_string_lossy().into_owned()),
                ("XDG_CACHE_HOME", home("cache")),
                ("XDG_CONFIG_HOME", home("config")),
                ("XDG_STATE_HOME", home("state")),
            ],
            account: self.account,
        }
    }
}

/// The text of `environments/bench.toml`.
fn environment(cluster: &Cluster) -> String {
    // Staging, because production asks for another region, which pgBackRest does not write either.
    format!(
        "class = \"staging\"\nregion = \"home\"\nresidency = [\"eu\"]\n\n[source.main]\n\
         kind = \"postgres\"\nurl = \"{}\"\ndata_directory = '{}'\nprograms = '{}'\nwal = \"archived\"\n",
        cluster.url,
        cluster.data.display(),
        cluster.bin.display()
    )
}

/// Reports whether this version of pgBackRest has block increments.
fn has_blocks(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next()) >= BLOCKS_SINCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(tool: Tool, version: &str) -> Peer {
        Peer {
            tool,
            version: version.to_owned(),
            program: PathBuf::from("/programs/tool"),
            account: Account::Own,
            home: PathBuf::from("/homes/x"),
            repository: PathBuf::from("/repositories/x"),
        }
    }

    fn cluster() -> Cluster {
        Cluster {
            data: "/data".into(),
            socket: "/socket".into(),
            bin: "/bin".into(),
            url: "host=/socket user=postgres".to_owned(),
        }
    }

    #[test]
    fn blocks_are_asked_for_where_they_are_known() {
        let configuration = |version| peer(Tool::PgBackRest, version).configuration(&cluster());
        assert!(configuration("2.55.1").contains("\nrepo1-block=y\n"));
        assert!(!configuration("2.45").contains("repo1-block"));
        assert!(peer(Tool::PgBackRest, "2.45").note().is_some());
        assert!(peer(Tool::PgBackRest, "2.46").note().is_none());
    }

    #[test]
    fn only_the_encrypted_one_encrypts() {
        let configuration = |tool| peer(tool, "2.55").configuration(&cluster());
        assert!(configuration(Tool::PgBackRestEncrypted).contains("aes-256-cbc"));
        assert!(!configuration(Tool::PgBackRest).contains("cipher"));
    }

    #[test]
    fn every_tool_works_in_its_own_home_and_names_what_the_server_asks() {
        for tool in Tool::ALL {
            let peer = peer(tool, "2.55");
            for run in [
                peer.create(),
                peer.backup(Kind::Full),
                peer.backup(Kind::Incremental),
                peer.restore(Path::new("/out"), Into::Restored),
            ] {
                assert!(run.line().contains("/homes/x/"), "{}", run.line());
                assert_eq!(run.folder, Path::new("/homes/x"));
            }
            let data = Path::new("/wal");
            assert!(peer.archive_command().ends_with(" %p"));
            assert!(peer.push_command(data).ends_with(" %p"));
            assert!(peer.fetch_command(data).contains(" %f %p"));
            let plain = peer.restore(Path::new("/out"), Into::Empty);
            assert!(!plain.line().contains("--delta"), "{}", plain.line());
        }
    }
}

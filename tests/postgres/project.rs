//! A cluster, and a Lifeboat project that backs it up: all of it owned by the server's account, as
//! on a database host.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use lifeboat_testkit::{ClusterOptions, PgCluster, PgInstallation, ServerAccount};
use serde_json::Value;

/// A project with one cluster as its source `prod/main`.
pub(crate) struct Project {
    pub(crate) cluster: PgCluster,
    pub(crate) root: PathBuf,
    program: PathBuf,
}

/// How the log gets into the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// `archive_command` pushes segments.
    Pushed,
    /// Nobody archives; a test may start a receiver.
    Unpushed,
    /// Each snapshot holds what it needs.
    InSnapshot,
}

impl Project {
    /// Starts a cluster of the newest version, with a project beside it; `None` if there is none.
    pub(crate) fn or_skip(test: &str, log: Log) -> Option<Self> {
        let newest = PgInstallation::newest_or_skip(test)?;
        Some(Self::on(newest, log, |options| options))
    }

    pub(crate) fn on(
        installation: &PgInstallation,
        log: Log,
        with: impl FnOnce(ClusterOptions) -> ClusterOptions,
    ) -> Self {
        let options = PgCluster::on(installation).conf("track_commit_timestamp = on");
        let options = match log {
            Log::Pushed => options
                .conf("archive_mode = on")
                .conf("archive_command = '/bin/false'"),
            _ => options,
        };
        let cluster = with(options).start();
        let root = cluster.make_folder("project");
        // The server's account may not be let into the folder that this test was built in.
        let program = root.join("lifeboat");
        fs::copy(assert_cmd::cargo::cargo_bin!("lifeboat"), &program).unwrap();
        let project = Self {
            cluster,
            root,
            program,
        };
        project.write_configuration(log);
        project.must(&["init"]);
        if log == Log::Pushed {
            let command = format!(
                "archive_command = '{} -C {} -q wal push prod main %p'",
                project.program.display(),
                project.root.display()
            );
            project.cluster.append_conf(&command);
            project.cluster.psql("SELECT pg_reload_conf()");
        }
        project
    }

    fn write_configuration(&self, log: Log) {
        let wal = match log {
            Log::InSnapshot => "in-snapshot",
            _ => "archived",
        };
        self.write(
            "lifeboat.toml",
            r#"version = 1
project = "test"
[keys]
writer = "file:keys/writer.key"
reader = "file:keys/reader.key"
auditor = "file:keys/auditor.key"
pruner = "file:keys/pruner.key"
[region.home]
url = "regions/home"
location = "eu"
[region.away]
url = "regions/away"
location = "eu"
"#,
        );
        self.write(
            "environments/prod.toml",
            &format!(
                r#"class = "production"
region = "home"
replicas = ["away"]
residency = ["eu"]
schedule = "production"
[objectives]
rto = "1h"
rpo = "5min"
[source.main]
kind = "postgres"
url = "{}"
data_directory = "{}"
programs = "{}"
wal = "{wal}"
"#,
                self.cluster.conninfo(),
                self.cluster.data_dir().display(),
                self.cluster.installation().bin.display(),
            ),
        );
        let schedule = include_str!("../../schedules/production.toml");
        self.write("schedules/production.toml", schedule);
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        let folder = path.parent().unwrap();
        if !folder.exists() {
            fs::create_dir_all(folder).unwrap();
            self.give_away(folder);
        }
        fs::write(&path, text).unwrap();
        self.give_away(&path);
    }

    fn give_away(&self, path: &Path) {
        if let Some(account) = ServerAccount::unprivileged() {
            chown(path, Some(account.uid), Some(account.gid)).unwrap();
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.root)
            .stdin(Stdio::null());
        ServerAccount::apply(ServerAccount::unprivileged(), &mut command);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub(crate) fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{args:?}: {}: {error}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must succeed, and returns the document it printed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--json"]].concat();
        serde_json::from_str(&self.must(&args)).unwrap()
    }

    /// Runs the program, which must fail with `code`, and returns what it said.
    pub(crate) fn must_fail(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// Starts the program in the background.
    pub(crate) fn start(&self, args: &[&str]) -> Background {
        let log = self
            .root
            .join(format!("{}.log", args.join("-").replace('/', "_")));
        let log = fs::File::create(log).unwrap();
        let child = self.command(args).stdout(Stdio::null()).stderr(log).spawn();
        Background(child.unwrap())
    }

    /// Waits until the server has handed over every finished segment.
    pub(crate) fn wait_for_archive(&self) {
        crate::history::wait_until("the log was archived", || {
            let queue = self.cluster.data_dir().join("pg_wal/archive_status");
            let ready =
                |entry: fs::DirEntry| entry.path().extension().is_some_and(|e| e == "ready");
            !fs::read_dir(queue).unwrap().flatten().any(ready)
        });
    }

    /// Returns a folder's path beside the project, which does not exist yet.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// A process of ours, killed when dropped.
pub(crate) struct Background(Child);

impl Background {
    /// Kills the process, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Reports whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Either fails only if the process is gone already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

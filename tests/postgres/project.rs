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
            Log::Unpushed | Log::InSnapshot => options,
        };
        let cluster = with(options).start();
        let root = cluster.make_folder("project");
        // The server's account may not be let into the folder that this test was built in.
        let program = root.join("lifeboat");
        // By another process: one of ours that is being started just now would hold the copy open for
        // writing, and it could not be run.
        let mut copy = Command::new("cp");
        copy.arg(assert_cmd::cargo::cargo_bin!("lifeboat"));
        assert!(copy.arg(&program).status().unwrap().success());
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

    /// Adds lines to what the configuration says of the cluster.
    pub(crate) fn configure(&self, lines: &str) {
        let path = "environments/prod.toml";
        let before = fs::read_to_string(self.root.join(path)).unwrap();
        self.write(path, &format!("{before}{lines}\n"));
    }

    /// Replaces words in a file of the project, which must be there.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        let before = fs::read_to_string(self.root.join(path)).unwrap();
        assert!(before.contains(old), "{path} has no `{old}`");
        self.write(path, &before.replace(old, new));
    }

    /// Takes the data directory out of the configuration, as on a host that has none.
    pub(crate) fn forget_data_directory(&self) {
        let line = format!(
            "data_directory = \"{}\"\n",
            self.cluster.data_dir().display()
        );
        self.replace("environments/prod.toml", &line, "");
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
        let mut command = self.command_as_caller(args);
        ServerAccount::apply(ServerAccount::unprivileged(), &mut command);
        command
    }

    /// Prepares to run the program as whoever runs the tests: root, most likely.
    pub(crate) fn command_as_caller(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.root)
            .stdin(Stdio::null());
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
        let log = fs::File::create(self.log_of(args)).unwrap();
        let child = self.command(args).stdout(Stdio::null()).stderr(log).spawn();
        Background(child.unwrap())
    }

    fn log_of(&self, args: &[&str]) -> PathBuf {
        self.root
            .join(format!("{}.log", args.join("-").replace('/', "_")))
    }

    /// Returns what a program in the background said.
    pub(crate) fn said(&self, args: &[&str]) -> String {
        fs::read_to_string(self.log_of(args)).unwrap()
    }

    /// Waits until a region holds all of the server's log.
    pub(crate) fn wait_until_received(&self, region: &str) {
        crate::history::wait_until("the log was received", || {
            let output = self.run(&["wal", "status", "prod", "--region", region, "--json"]);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            let cluster = &status[0]["regions"][0]["clusters"][0];
            // Nothing is pending either while nothing has been received yet.
            let some = !cluster["end"].is_null() && cluster["timeline_missing"].is_null();
            some && cluster["pending_bytes"] == 0
        });
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

    /// Restores, which must succeed, into a place of its own, whose path is returned.
    pub(crate) fn restore(&self, place: &str, args: &[&str]) -> PathBuf {
        let to = self.place(place);
        let restore = ["restore", "prod", "main", "--to", to.to_str().unwrap()];
        self.must(&[&restore, args].concat());
        to
    }

    /// Finds the objects of a region whose names contain a word.
    pub(crate) fn objects(&self, region: &str, word: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.root.join("regions").join(region)];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.to_string_lossy().contains(word) => found.push(path),
                    false => {}
                }
            }
        }
        found.sort();
        found
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

    /// Stops the process where it is, until it is resumed.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
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

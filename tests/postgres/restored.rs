//! Servers on what was restored.

use std::path::{Path, PathBuf};

use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

use crate::project::Project;

/// Starts what was restored beside the original, waits for the end of the recovery, and asks it.
pub(crate) fn ask(project: &Project, place: &str, sql: &str) -> String {
    let folder = project.place(place);
    let mut restored = PgCluster::adopt(project.cluster.installation(), &folder);
    restored.start();
    restored.wait_until_open();
    let answer = restored.psql(sql);
    restored.stop(StopMode::Immediate);
    answer
}

/// Does as [`ask`] does, and lets `pg_amcheck` look at every table and index besides, if the version has
/// it.
pub(crate) fn ask_and_check(project: &Project, place: &str, sql: &str) -> String {
    let installation = project.cluster.installation();
    let mut restored = PgCluster::adopt(installation, &project.place(place));
    restored.start();
    restored.wait_until_open();
    let answer = restored.psql(sql);
    if installation.has("pg_amcheck") {
        let socket = restored.socket_dir();
        let words = [
            "--all",
            "--install-missing",
            "--heapallindexed",
            "-U",
            "postgres",
        ];
        let place = ["-p", "5432", "-h", socket.to_str().unwrap()];
        installation.run("pg_amcheck", &[&words, place.as_slice()].concat());
    }
    restored.stop(StopMode::Immediate);
    answer
}

/// A server that the program itself started and left running; stopped when dropped.
pub(crate) struct LeftRunning {
    installation: PgInstallation,
    folder: PathBuf,
    socket: PathBuf,
    port: &'static str,
}

impl LeftRunning {
    /// Lets servers of what is backed up from now on listen in a folder of the project alone, which
    /// is returned.
    pub(crate) fn prepare(project: &Project) -> PathBuf {
        let socket = project.cluster.make_folder("r");
        let line = format!("unix_socket_directories = '{}'", socket.display());
        // The original has its own on its command line.
        project.cluster.append_conf(&line);
        project.cluster.append_conf("listen_addresses = ''");
        socket
    }

    pub(crate) fn of(project: &Project, folder: &Path, socket: &Path) -> Self {
        Self {
            installation: project.cluster.installation().clone(),
            folder: folder.to_owned(),
            socket: socket.to_owned(),
            port: "5432",
        }
    }

    pub(crate) fn on_port(mut self, port: &'static str) -> Self {
        self.port = port;
        self
    }

    /// Asks the server.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let socket = self.socket.to_str().unwrap();
        let words = ["-XqAt", "-h", socket, "-p", self.port, "-U", "postgres"];
        let words = [words.as_slice(), &["-d", "postgres", "-c", sql]].concat();
        self.installation.run("psql", &words).trim_end().to_owned()
    }
}

impl Drop for LeftRunning {
    fn drop(&mut self) {
        let mut stop = self.installation.command("pg_ctl");
        stop.args(["stop", "-w", "-m", "immediate", "-D"]);
        stop.arg(&self.folder);
        // Fails only if it does not run, which is what is wanted.
        stop.output().ok();
    }
}

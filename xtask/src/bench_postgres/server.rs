//! The PostgreSQL server whose cluster is backed up: made, filled, written to, and brought to rest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::archiver;
use crate::bench::account::Account;
use crate::bench::clock::Stopwatch;
use crate::bench::folder::{at, remove};
use crate::bench::measure::Run;
use crate::install;

/// Where Debian keeps one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// What every program of PostgreSQL is told about the server.
pub(crate) const USER: &str = "postgres";
pub(crate) const PORT: &str = "5432";

/// Takes the log and forgets it.
pub(crate) const ARCHIVE_NOWHERE: &str = "true";
/// Makes the server keep its log, and mark it as ready.
pub(crate) const ARCHIVE_LATER: &str = "false";

/// What a folder of server programs must hold.
const NEEDED: [&str; 7] = [
    "initdb",
    "postgres",
    "pg_ctl",
    "psql",
    "pgbench",
    "pg_basebackup",
    "pg_controldata",
];

const START_SECS_MAX: f64 = 60.0;
const ARCHIVE_SECS_MAX: f64 = 120.0;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The archiver learns of a new command by a signal that nobody acknowledges.
const NOTICE: Duration = Duration::from_millis(500);

/// Nothing but the steps writes, and no checkpoint falls into one by chance.
const SETTINGS: &[&str] = &[
    "listen_addresses = ''",
    "shared_buffers = 512MB",
    "max_wal_size = 2GB",
    "checkpoint_timeout = 30min",
    "autovacuum = off",
    "wal_level = replica",
    "archive_mode = on",
    "archive_command = 'true'",
];

/// A running server. It stops when this is dropped.
pub(crate) struct Server {
    bin: PathBuf,
    pub(crate) data: PathBuf,
    socket: PathBuf,
    home: PathBuf,
    account: Account,
    process: Child,
}

impl Server {
    /// Makes a cluster in `folder`, with page checksums, and starts its server.
    pub(crate) fn create(bin: &Path, folder: &Path, account: Account) -> Result<Self, String> {
        let data = folder.join("data");
        let (socket, home) = (folder.join("socket"), folder.join("home"));
        if data.join("postmaster.pid").exists() {
            // A run that was killed may have left a server; if it is gone, this fails.
            let mut stop = Command::new(bin.join("pg_ctl"));
            account.apply(stop.args(["stop", "-m", "immediate", "-D"]).arg(&data));
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        remove(folder)?;
        account.make_folder(&socket)?;
        account.make_folder(&home)?;
        let mut init = Command::new(bin.join("initdb"));
        init.args(["--data-checksums", "--encoding=UTF8", "--no-locale", "-U"])
            .args([USER, "--auth=trust", "--no-sync", "-D"]);
        output(init.arg(&data), account)?;
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).map_err(|error| at(&conf, &error))?;
        text.extend(SETTINGS.iter().flat_map(|line| ["\n", line]));
        text.push_str(&format!(
            "\nunix_socket_directories = '{}'\nport = {PORT}\n",
            socket.display()
        ));
        account.write(&conf, text)?;
        let log = folder.join("server.log");
        let log = File::create(&log).map_err(|error| at(&log, &error))?;
        let process = spawn(bin, &data, &home, account, log)?;
        let mut server = Self {
            bin: bin.to_owned(),
            data,
            socket,
            home,
            account,
            process,
        };
        server.wait_until_ready(folder)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, folder: &Path) -> Result<(), String> {
        let watch = Stopwatch::start();
        while watch.secs() < START_SECS_MAX {
            if self.sql("SELECT 1").is_ok() {
                return Ok(());
            }
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        Err(format!("the server does not start:\n{log}"))
    }

    pub(crate) fn url(&self) -> String {
        format!("host={} user={USER} dbname=postgres", self.socket.display())
    }

    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn version(&self) -> Result<String, String> {
        self.sql("SHOW server_version")
    }

    /// Runs a statement and returns what it yields, as bare text.
    pub(crate) fn sql(&self, statement: &str) -> Result<String, String> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c"])
            .args([statement, "postgres"]);
        output(&mut psql, self.account)
    }

    /// Runs a file of SQL in a database.
    pub(crate) fn script(&self, database: &str, file: &Path) -> Result<(), String> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-f"]);
        output(psql.arg(file), self.account).map(drop)
    }

    /// Makes the tables of `pgbench`.
    pub(crate) fn fill(&self, scale: u32) -> Result<(), String> {
        let mut pgbench = self.client("pgbench");
        pgbench.args(["-i", "-q", "-s", &scale.to_string(), "postgres"]);
        output(&mut pgbench, self.account)?;
        self.rest()
    }

    /// Lets four clients write for so long, and returns how many transactions they did.
    pub(crate) fn write_for(&self, secs: u32) -> Result<u64, String> {
        let mut pgbench = self.client("pgbench");
        pgbench.args(["-n", "-c", "4", "-j", "2", "-T", &secs.to_string()]);
        let text = output(pgbench.arg("postgres"), self.account)?;
        transactions_in(&text).ok_or_else(|| format!("pgbench counts no transactions:\n{text}"))
    }

    /// Brings everything that was written into the files.
    pub(crate) fn rest(&self) -> Result<(), String> {
        self.sql("CHECKPOINT").map(drop)
    }

    /// Makes `command` the archive command.
    pub(crate) fn archive_with(&self, command: &str) -> Result<(), String> {
        let quoted = command.replace('\'', "''");
        self.sql(&format!("ALTER SYSTEM SET archive_command = '{quoted}'"))?;
        self.sql("SELECT pg_reload_conf()")?;
        std::thread::sleep(NOTICE);
        Ok(())
    }

    /// Waits until the archive command has taken all that waits.
    pub(crate) fn wait_until_archived(&self) -> Result<(), String> {
        let watch = Stopwatch::start();
        while watch.secs() < ARCHIVE_SECS_MAX {
            if archiver::ready(&self.data)?.is_empty() {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(format!(
            "the archive command did not take the log within {ARCHIVE_SECS_MAX} s; \
             its messages are in `server.log` beside `{}`",
            self.data.display()
        ))
    }

    /// Returns PostgreSQL's own backup of the cluster without its log, to be measured.
    pub(crate) fn base_backup(&self, to: &Path) -> Run {
        let words = [
            "-h",
            &self.socket.to_string_lossy(),
            "-p",
            PORT,
            "-U",
            USER,
            "--checkpoint=fast",
            "--wal-method=none",
            "--no-sync",
            "-D",
            &to.to_string_lossy(),
        ];
        Run {
            program: self.bin.join("pg_basebackup"),
            args: words.map(str::to_owned).to_vec(),
            folder: self.home.clone(),
            variables: vec![("HOME", self.home.to_string_lossy().into_owned())],
            account: self.account,
        }
    }

    /// Returns the processor time of the server since it started, with that of sessions that are over.
    pub(crate) fn cpu_secs(&self) -> Result<f64, String> {
        let server = self.process.id();
        let processes = fs::read_dir("/proc").map_err(|error| at(Path::new("/proc"), &error))?;
        // A process that ends between listing and reading is waited for by the server, which counts it.
        let stats = processes
            .flatten()
            .filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
        let ticks: u64 = stats.filter_map(|stat| ticks_for(server, &stat)).sum();
        let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        Ok(ticks as f64 / a_second.unwrap_or(100) as f64)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .arg("-h")
            .arg(&self.socket)
            .args(["-p", PORT, "-U", USER])
            .env("HOME", &self.home);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = Command::new(self.bin.join("pg_ctl"));
        self.account
            .apply(stop.args(["stop", "-m", "fast", "-D"]).arg(&self.data));
        let stopped = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !stopped.is_ok_and(|status| status.success()) {
            // Gone already if it cannot be killed.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// Starts `postgres` in this program's process group, so that Ctrl-C ends both.
fn spawn(
    bin: &Path,
    data: &Path,
    home: &Path,
    account: Account,
    log: File,
) -> Result<Child, String> {
    let errors = log
        .try_clone()
        .map_err(|error| format!("the server's log: {error}"))?;
    let mut postgres = Command::new(bin.join("postgres"));
    account.apply(&mut postgres);
    postgres
        .arg("-D")
        .arg(data)
        .current_dir(home)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("failed to start `postgres`: {error}"))
}

/// Reads what a process has cost, if it is the server `server` or a child of it, in ticks of the clock.
fn ticks_for(server: u32, stat: &str) -> Option<u64> {
    let pid: u32 = stat.split(' ').next()?.parse().ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let (own, ended) = (fields.get(11..13)?, fields.get(13..15)?);
    let own: u64 = own.iter().sum();
    if pid == server {
        return Some(own + ended.iter().sum::<u64>());
    }
    (fields[1] == u64::from(server)).then_some(own)
}

/// Runs a program under `account` to its end and returns what it printed.
pub(crate) fn output(command: &mut Command, account: Account) -> Result<String, String> {
    account.apply(command);
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .map_err(|error| format!("failed to start `{name}`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!(
            "`{name}` failed: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Finds the figure in `number of transactions actually processed: 1234`.
fn transactions_in(text: &str) -> Option<u64> {
    let line = "number of transactions actually processed:";
    let rest = text.lines().find_map(|text| text.strip_prefix(line))?;
    rest.split('/').next()?.trim().parse().ok()
}

/// Returns the folder of the server's programs: the one given, the newest of Debian's, or one in
/// the path; installs them if there is none.
pub(crate) fn programs(given: Option<&Path>) -> Result<PathBuf, String> {
    let complete = |bin: &Path| {
        let mut needed = NEEDED.iter();
        match needed.find(|name| !bin.join(name).is_file()) {
            None => Ok(bin.to_owned()),
            Some(name) => Err(format!(
                "`{}` has no `{name}`; `--bin FOLDER` names another folder of server programs",
                bin.display()
            )),
        }
    };
    if let Some(bin) = given {
        return complete(bin);
    }
    if let Some(bin) = find() {
        return complete(&bin);
    }
    install::debian_packages(&["postgresql"])?;
    let bin = find().ok_or("PostgreSQL is still not found after its installation")?;
    complete(&bin)
}

fn find() -> Option<PathBuf> {
    newest(Path::new(VERSIONS)).or_else(|| {
        let initdb = install::find_in_path("initdb")?;
        // A link in the path leads to the folder where the others are.
        initdb.canonicalize().ok()?.parent().map(Path::to_owned)
    })
}

/// Returns the programs of the highest version below `root`.
fn newest(root: &Path) -> Option<PathBuf> {
    let versions = root.read_dir().ok()?.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let bin = entry.path().join("bin");
        bin.join("initdb").is_file().then_some((number, bin))
    });
    versions.max().map(|(_, bin)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_charged_for_its_children_and_for_those_that_are_gone() {
        let stat = |pid: u32, parent: u32| {
            format!("{pid} (a ) name) S {parent} 1 1 0 -1 4 0 0 0 0 5 6 70 80 20 0 1 0 9 0 0")
        };
        assert_eq!(ticks_for(10, &stat(10, 1)), Some(161));
        assert_eq!(ticks_for(10, &stat(11, 10)), Some(11));
        assert_eq!(ticks_for(10, &stat(12, 11)), None);
    }

    #[test]
    fn transactions_are_counted_with_and_without_a_goal() {
        let text = "scaling factor: 5\nnumber of transactions actually processed: 1234\nx: 1\n";
        assert_eq!(transactions_in(text), Some(1234));
        let text = "number of transactions actually processed: 10/10\n";
        assert_eq!(transactions_in(text), Some(10));
        assert_eq!(transactions_in("pgbench: error\n"), None);
    }

    #[test]
    fn the_highest_version_is_the_newest() {
        let root = std::env::temp_dir().join(format!("xtask-versions-{}", std::process::id()));
        for version in ["9.6", "9", "15", "17"] {
            let bin = root.join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            // The newest is not complete.
            if version != "17" {
                fs::write(bin.join("initdb"), "").unwrap();
            }
        }
        assert_eq!(newest(&root), Some(root.join("15/bin")));
        assert_eq!(newest(&root.join("none")), None);
        fs::remove_dir_all(root).unwrap();
    }
}

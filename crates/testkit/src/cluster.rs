//! One PostgreSQL server on its own data directory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, run};
use crate::{PgBench, PgInstallation};

/// How often a state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);
/// How many looks a start or stop may take: one minute.
const POLLS_MAX: u32 = 6_000;
/// How much of a server's log a panic shows, bytes.
const LOG_TAIL: usize = 4_096;

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for clients to leave.
    Smart,
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Ends at once; the next start replays the log.
    Immediate,
}

impl StopMode {
    const fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// What a new cluster is to be like; made by [`PgCluster::on`].
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    installation: PgInstallation,
    init: InitOptions,
    durable: bool,
    loopback_password: Option<String>,
    conf: Vec<String>,
}

/// What `initdb` is told: clusters that agree on it are copies of one template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InitOptions {
    bin: PathBuf,
    checksums: bool,
    wal_segment_mib: u32,
}

impl ClusterOptions {
    /// Leaves page checksums off.
    #[must_use]
    pub fn without_checksums(mut self) -> Self {
        self.init.checksums = false;
        self
    }

    /// Sets the length of a WAL segment, MiB.
    #[must_use]
    pub fn wal_segment_mib(mut self, mib: u32) -> Self {
        self.init.wal_segment_mib = mib;
        self
    }

    /// Turns fsync off, for tests that lose no data to prove a point about durability.
    #[must_use]
    pub fn without_fsync(mut self) -> Self {
        self.durable = false;
        self
    }

    /// Listens on 127.0.0.1 too, where the role `postgres` logs in by SCRAM with `password`.
    #[must_use]
    pub fn loopback(mut self, password: &str) -> Self {
        self.loopback_password = Some(password.to_owned());
        self
    }

    /// Adds a line to `postgresql.conf`.
    #[must_use]
    pub fn conf(mut self, line: &str) -> Self {
        self.conf.push(line.to_owned());
        self
    }

    /// Creates the cluster and starts its server.
    ///
    /// # Panics
    /// Panics if the server does not accept connections within a minute.
    pub fn start(self) -> PgCluster {
        let mut cluster = self.create();
        cluster.start();
        if let Some(password) = &cluster.loopback_password {
            let quoted = password.replace('\'', "''");
            cluster.psql(&format!("ALTER ROLE postgres PASSWORD '{quoted}'"));
        }
        cluster
    }

    /// Creates the cluster without starting it.
    ///
    /// # Panics
    /// Panics if `initdb` fails.
    pub fn create(self) -> PgCluster {
        let template = template(&self.init);
        let cluster = PgCluster::new_stopped(self.installation, self.loopback_password);
        run(Home::get()
            .command(Path::new("cp"))
            .arg("-a")
            .arg(&template)
            .arg(&cluster.data_dir));
        if !self.durable {
            cluster.append_conf("fsync = off");
        }
        for line in &self.conf {
            cluster.append_conf(line);
        }
        cluster
    }
}

/// Returns the data directory that new clusters with these options are copied from.
fn template(options: &InitOptions) -> PathBuf {
    type Slot = Arc<OnceLock<PathBuf>>;
    static TEMPLATES: OnceLock<Mutex<HashMap<InitOptions, Slot>>> = OnceLock::new();
    let slot = {
        let templates = TEMPLATES.get_or_init(Mutex::default);
        let mut templates = templates.lock().expect("no initdb panics under the lock");
        Arc::clone(templates.entry(options.clone()).or_default())
    };
    slot.get_or_init(|| init_db(options)).clone()
}

fn init_db(options: &InitOptions) -> PathBuf {
    let home = Home::get();
    let folder = home.new_folder().join("template");
    let mut command = home.command(&options.bin.join("initdb"));
    command
        .args(["--username=postgres", "--encoding=UTF8", "--no-locale"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .arg("--no-sync")
        .arg(format!("--wal-segsize={}", options.wal_segment_mib));
    // PostgreSQL 18 made checksums the default and added the word that turns them off.
    if options.checksums {
        command.arg("--data-checksums");
    } else if run(home.command(&options.bin.join("initdb")).arg("--help"))
        .contains("--no-data-checksums")
    {
        command.arg("--no-data-checksums");
    }
    run(command.arg("-D").arg(&folder));
    folder
}

/// A PostgreSQL server of its own: killed, and its folder removed, when dropped or when the test
/// process dies.
#[derive(Debug)]
pub struct PgCluster {
    installation: PgInstallation,
    folder: PathBuf,
    data_dir: PathBuf,
    port: u16,
    loopback_password: Option<String>,
    /// Whether what it writes must outlive a power cut.
    durable: bool,
    server: Option<Child>,
}

impl PgCluster {
    /// Begins to describe a cluster of `installation`: checksums on, fsync on, reachable by a unix
    /// socket only.
    pub fn on(installation: &PgInstallation) -> ClusterOptions {
        ClusterOptions {
            installation: installation.clone(),
            init: InitOptions {
                bin: installation.bin.clone(),
                checksums: true,
                wal_segment_mib: 16,
            },
            durable: true,
            loopback_password: None,
            conf: Vec::new(),
        }
    }

    /// Starts a cluster of the newest installed version, or says loudly that `test` is skipped.
    ///
    /// # Panics
    /// Panics if none is installed and `REQUIRE_SERVERS=1` is set, or if it does not start.
    pub fn or_skip(test: &str) -> Option<Self> {
        PgInstallation::newest_or_skip(test).map(|newest| Self::on(newest).start())
    }

    /// Starts a hot standby that streams from `primary`.
    ///
    /// # Panics
    /// Panics if the base backup fails or the standby does not accept connections.
    pub fn standby_of(primary: &Self) -> Self {
        let mut standby = Self::new_stopped(primary.installation.clone(), None);
        run(standby
            .installation
            .command("pg_basebackup")
            .args(["--checkpoint=fast", "--wal-method=stream"])
            .args(["--no-sync", "-d"])
            .arg(primary.conninfo())
            .arg("-D")
            .arg(&standby.data_dir));
        // A newer pg_basebackup would write settings that this version does not know.
        standby.append_conf(&format!("primary_conninfo = '{}'", primary.conninfo()));
        let signal = standby.data_dir.join("standby.signal");
        fs::write(signal, "").expect("the data directory can be written");
        standby.start();
        standby
    }

    /// Takes over a data directory that somebody else made, such as a restored one: not started yet,
    /// reachable by a socket of its own. The directory stays when this is dropped. Its server does not
    /// sync: it is there to be asked, and recovers faster so.
    pub fn adopt(installation: &PgInstallation, data_dir: &Path) -> Self {
        let mut adopted = Self::new_stopped(installation.clone(), None);
        adopted.data_dir = data_dir.to_owned();
        adopted.durable = false;
        adopted
    }

    fn new_stopped(installation: PgInstallation, loopback_password: Option<String>) -> Self {
        let home = Home::get();
        let folder = home.new_folder();
        home.make_folder(&folder.join("s"));
        let port = match loopback_password {
            Some(_) => free_port(),
            None => 5432,
        };
        Self {
            data_dir: folder.join("data"),
            installation,
            folder,
            port,
            loopback_password,
            durable: true,
            server: None,
        }
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    /// Panics with the end of its log if it does not within a minute.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the cluster's folder can be written");
        let listen = match self.loopback_password {
            Some(_) => "listen_addresses=127.0.0.1",
            None => "listen_addresses=",
        };
        let mut command = self.installation.command("postgres");
        command
            .arg("-D")
            .arg(&self.data_dir)
            .args(["-c", listen, "-c"])
            .arg(format!("port={}", self.port))
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.socket_dir().display()
            ))
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .process_group(0);
        if !self.durable {
            command.args(["-c", "fsync=off"]);
        }
        self.server = Some(command.spawn().expect("postgres can be run"));
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        for _ in 0..POLLS_MAX {
            let server = self.server.as_mut().expect("it was just started");
            if let Some(status) = server.try_wait().expect("the server is our child") {
                self.server = None;
                panic!("postgres ended with {status}: {}", self.log_tail());
            }
            let pid = server.id().to_string();
            let file = fs::read_to_string(self.data_dir.join("postmaster.pid")).unwrap_or_default();
            let mut lines = file.lines();
            // The first line tells a file that a killed server left behind from ours; the eighth
            // is the state that `pg_ctl` waits for too.
            let ours = lines.next().is_some_and(|line| line.trim() == pid);
            let state = lines.nth(6).unwrap_or_default().trim();
            if ours && matches!(state, "ready" | "standby") {
                return;
            }
            thread::sleep(POLL);
        }
        panic!("postgres did not get ready: {}", self.log_tail());
    }

    /// Waits until a server that recovers is open for writing.
    ///
    /// # Panics
    /// Panics with the end of its log if it ends, or is not open within a minute.
    pub fn wait_until_open(&mut self) {
        for _ in 0..POLLS_MAX {
            assert!(self.is_running(), "postgres ended: {}", self.log_tail());
            // The lock file says `ready` of a server that still recovers, too. One that ends while it
            // is asked does not answer: the next look tells why.
            let mut ask = self.client("psql");
            ask.args([
                "-XqAt",
                "-d",
                "postgres",
                "-c",
                "SELECT pg_is_in_recovery()",
            ]);
            if ask.output().is_ok_and(|output| output.stdout == b"f\n") {
                return;
            }
            thread::sleep(POLL);
        }
        panic!("postgres is not open: {}", self.log_tail());
    }

    /// Stops the server and waits until it is gone.
    ///
    /// # Panics
    /// Panics if it does not run, or still does after a minute.
    pub fn stop(&mut self, mode: StopMode) {
        let server = self.server.as_mut().expect("the server runs");
        // Fails only if the server is gone already, which the wait below then sees.
        kill_process(Pid::from_child(server), mode.signal()).ok();
        for _ in 0..POLLS_MAX {
            if server
                .try_wait()
                .expect("the server is our child")
                .is_some()
            {
                self.server = None;
                return;
            }
            thread::sleep(POLL);
        }
        panic!("postgres did not stop: {}", self.log_tail());
    }

    /// Stops the server fast and starts it again.
    ///
    /// # Panics
    /// Panics where [`Self::stop`] and [`Self::start`] do.
    pub fn restart(&mut self) {
        self.stop(StopMode::Fast);
        self.start();
    }

    /// Kills the server and every process it started, as a lost host would.
    ///
    /// # Panics
    /// Panics if the server does not run.
    pub fn kill_9(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        // Backends are leaders of their own groups, so the group's signal would not reach them.
        let children = descendants(server.id());
        server.kill().expect("the server is our child");
        server.wait().expect("the server is our child");
        for child in &children {
            // Gone already if it noticed that the postmaster died.
            kill_process(*child, Signal::KILL).ok();
        }
        // A dying process holds the server's shared memory a moment longer, and the next start
        // refuses while it does.
        for _ in 0..POLLS_MAX {
            if !children.iter().any(is_alive) {
                return;
            }
            thread::sleep(POLL);
        }
    }

    /// Reports whether the server process runs.
    ///
    /// # Panics
    /// Panics if the process cannot be waited for.
    pub fn is_running(&mut self) -> bool {
        self.server
            .as_mut()
            .is_some_and(|server| server.try_wait().expect("our child").is_none())
    }

    /// Ends recovery of a standby and waits until it accepts writes.
    ///
    /// # Panics
    /// Panics if it is no standby or does not get there within a minute.
    pub fn promote(&self) {
        let promoted = self.psql("SELECT pg_promote(true, 60)");
        assert_eq!(promoted, "t", "{}", self.log_tail());
    }

    /// Returns the connection string of its superuser, over the unix socket.
    pub fn conninfo(&self) -> String {
        let Self { port, .. } = self;
        format!(
            "host={} port={port} user=postgres dbname=postgres",
            self.socket_dir().display()
        )
    }

    /// Returns the connection string over loopback TCP, without the password, if that is on.
    pub fn conninfo_loopback(&self) -> Option<String> {
        let Self { port, .. } = self;
        self.loopback_password
            .is_some()
            .then(|| format!("host=127.0.0.1 port={port} user=postgres dbname=postgres"))
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns the folder of the unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// Returns the port, which also names the socket.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns which PostgreSQL this is.
    pub const fn installation(&self) -> &PgInstallation {
        &self.installation
    }

    /// Returns the file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Creates a folder beside the data directory that the server may write: a tablespace, an
    /// archive. It goes when the cluster goes.
    ///
    /// # Panics
    /// Panics if it exists.
    pub fn make_folder(&self, name: &str) -> PathBuf {
        Home::get().make_folder(&self.folder.join(name))
    }

    /// Adds a line to `postgresql.conf`; a start, or `pg_reload_conf()`, makes it count.
    ///
    /// # Panics
    /// Panics if the file cannot be written.
    pub fn append_conf(&self, line: &str) {
        let mut file = fs::File::options()
            .append(true)
            .open(self.data_dir.join("postgresql.conf"))
            .expect("initdb made the file");
        writeln!(file, "{line}").expect("the disk has room");
    }

    /// Runs SQL in the database `postgres` and returns its rows, columns separated by `|`,
    /// without the last line feed.
    ///
    /// # Panics
    /// Panics with the server's message if a statement fails.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// As [`Self::psql`], in `database`.
    ///
    /// # Panics
    /// Panics with the server's message if a statement fails.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let mut command = self.client("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        let mut rows = run(&mut command);
        if rows.ends_with('\n') {
            rows.pop();
        }
        rows
    }

    /// Makes the database `name` by a file of SQL, which may hold meta-commands of `psql`.
    ///
    /// # Panics
    /// Panics with the server's message if a statement fails.
    pub fn make_database(&self, name: &str, script: &Path) {
        self.psql(&format!("CREATE DATABASE {name}"));
        let mut command = self.client("psql");
        command.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", name]);
        let script = File::open(script);
        command.stdin(script.expect("the script is there"));
        run(&mut command);
    }

    /// Runs pgbench against the database `postgres` to its end.
    ///
    /// # Panics
    /// Panics if it is not installed or fails.
    pub fn pgbench(&self, arguments: &[&str]) -> String {
        run(self.client("pgbench").args(arguments).arg("postgres"))
    }

    /// Starts pgbench against the database `postgres` in the background.
    ///
    /// # Panics
    /// Panics if it is not installed.
    pub fn pgbench_in_background(&self, arguments: &[&str]) -> PgBench {
        let mut command = self.client("pgbench");
        command
            .args(arguments)
            .arg("postgres")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        PgBench {
            child: command.spawn().expect("pgbench is installed"),
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = self.installation.command(program);
        command.arg("-h").arg(self.socket_dir()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
        ]);
        command
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_TAIL);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill_9();
        }
        // Freeing blocks takes seconds on some disks, and no test need wait for it. Whatever is left,
        // the watchdog removes when this process ends.
        let folder = std::mem::take(&mut self.folder);
        thread::spawn(move || fs::remove_dir_all(folder).ok());
    }
}

/// Returns a TCP port that nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback can be bound")
        .port()
}

/// Reports whether a process still holds what it had: one that nobody waited for does not.
fn is_alive(process: &Pid) -> bool {
    let file = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = fs::read_to_string(file).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| !matches!(state, b'Z' | b'X'))
}

/// Returns the processes below `root`, as far as `/proc` tells.
fn descendants(root: u32) -> Vec<Pid> {
    let mut found = vec![root];
    let mut looked = 0;
    while let Some(parent) = found.get(looked) {
        let file = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(file).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        looked += 1;
    }
    let below = found.into_iter().skip(1);
    below
        .filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .collect()
}

//! A server on a restored data directory, for drills and for trying a restore: cut off from the
//! world, watched until it is ready, gone when it is dropped or when this process dies.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_model::Lsn;
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, Config, NoTls};

use crate::account::Account;
use crate::backup::get;
use crate::conninfo::Conninfo;
use crate::data_directory::DataDirectory;
use crate::error::PostgresError;
use crate::installation::ServerPrograms;
use crate::scratch_settings::{Preload, isolating, minimal_configuration};
use crate::watchdog::Watchdog;

/// How often a server's state is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a server may take to end when it is dropped, before it is killed.
const DROP_PATIENCE_POLLS: u32 = 250;
/// How much of a server's log an error shows, bytes.
const LOG_TAIL: u64 = 2_000;
/// How long the path of a socket can be, bytes, on the strictest system.
const SOCKET_PATH_MAX: usize = 103;
/// Databases that nearly every cluster has, to ask about the cluster as a whole.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// What a scratch server is made of.
#[derive(Debug, Clone)]
pub struct ScratchOptions<'a> {
    /// The programs of the cluster's version.
    pub programs: &'a ServerPrograms,
    /// The restored data directory.
    pub data_directory: &'a Path,
    /// A folder for the server's socket, log and access rules. It is created if it is missing.
    pub folder: &'a Path,
    /// The role to connect as; the one that `initdb` made exists in every cluster.
    pub role: &'a str,
    /// Which libraries it loads.
    pub preload: Preload,
    /// Further settings, each `name=value`, such as `shared_buffers=64MB`.
    pub settings: &'a [String],
}

/// How far a scratch server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScratchPhase {
    /// The process runs.
    Starting,
    /// The files are consistent: it answers questions while it replays.
    Consistent,
    /// Replay stopped at its target and waits.
    TargetReached,
    /// It accepts writes.
    Open,
}

/// What is known of a scratch server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScratchStatus {
    /// How far it has come.
    pub phase: ScratchPhase,
    /// The position after the last record that was replayed.
    pub replayed: Option<Lsn>,
    /// When the last transaction that was replayed committed or aborted.
    pub last_transaction: Option<Timestamp>,
}

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// With a checkpoint, so that the files are whole.
    Fast,
    /// At once; the next start replays the log.
    Immediate,
}

/// A running scratch server.
#[derive(Debug)]
pub struct ScratchCluster {
    server: Child,
    data_directory: PathBuf,
    folder: PathBuf,
    role: String,
    client: Option<Client>,
    /// Called off when the server is gone; set right after it was started.
    watchdog: Option<Watchdog>,
}

impl ScratchCluster {
    /// Starts a server. It is not ready yet: see [`ScratchCluster::wait_for`].
    ///
    /// # Errors
    /// Fails if a server runs on the directory already, or the process cannot be started.
    pub fn start(options: &ScratchOptions<'_>) -> Result<Self, PostgresError> {
        let directory = DataDirectory::open(options.data_directory)?;
        let path = directory.path();
        if let Some(server) = directory.running_server()? {
            let (path, pid) = (path.to_owned(), server.pid);
            return Err(PostgresError::Running { path, pid });
        }
        check_socket_path(options.folder)?;
        let account = Account::for_server(path)?;
        let configuration = prepare_folder(options.folder, &directory)?;
        if let Some(account) = account {
            account.own(options.folder)?;
            account.own(path)?;
            for tablespace in directory.tablespaces()? {
                account.own(&path.join("pg_tblspc").join(tablespace.location))?;
            }
        }
        let mut command = server_command(options, configuration.as_deref())?;
        if let Some(account) = account {
            account.apply(&mut command);
        }
        let program = options.programs.program("postgres");
        let server = command
            .spawn()
            .map_err(|error| PostgresError::io("run", &program, error))?;
        let mut cluster = Self {
            server,
            data_directory: path.to_owned(),
            folder: options.folder.to_owned(),
            role: options.role.to_owned(),
            client: None,
            watchdog: None,
        };
        let watchdog = Watchdog::over(cluster.server.id());
        let failed = |error| PostgresError::io("run", Path::new("sh"), error);
        cluster.watchdog = Some(watchdog.map_err(failed)?);
        Ok(cluster)
    }

    /// Waits until the server has come as far as `goal`, and tells `progress` of each phase once.
    ///
    /// # Errors
    /// Fails if it ends by itself, as it does if the log ends before the target, or if `limit` passes.
    pub async fn wait_for(
        &mut self,
        goal: ScratchPhase,
        limit: Duration,
        progress: &mut (dyn FnMut(ScratchStatus) + Send),
    ) -> Result<ScratchStatus, PostgresError> {
        let waiting = self.wait_without_limit(goal, progress);
        match tokio::time::timeout(limit, waiting).await {
            Ok(status) => status,
            Err(_) => Err(PostgresError::TimedOut {
                waited: "waiting for the scratch server to recover",
                limit,
            }),
        }
    }

    async fn wait_without_limit(
        &mut self,
        goal: ScratchPhase,
        progress: &mut (dyn FnMut(ScratchStatus) + Send),
    ) -> Result<ScratchStatus, PostgresError> {
        let mut last = None;
        loop {
            let status = self.status().await?;
            if last < Some(status.phase) {
                last = Some(status.phase);
                progress(status);
            }
            if status.phase >= goal {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks how far the server has come.
    ///
    /// # Errors
    /// Fails if it has ended.
    pub async fn status(&mut self) -> Result<ScratchStatus, PostgresError> {
        let starting = ScratchStatus {
            phase: ScratchPhase::Starting,
            replayed: None,
            last_transaction: None,
        };
        self.check_process("starting")?;
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = self.try_connect().await;
        }
        let Some(client) = &self.client else {
            return Ok(starting);
        };
        match ask_status(client).await {
            Ok(status) => Ok(status),
            Err(error) => {
                self.check_process("recovering")?;
                Err(error)
            }
        }
    }

    /// Connects to a database of the server.
    ///
    /// # Errors
    /// Fails if the server does not accept the connection.
    pub async fn connect(&self, database: &str) -> Result<Client, PostgresError> {
        let connecting = self.config(database).connect(NoTls).await;
        let (client, connection) =
            connecting.map_err(PostgresError::server("connect to the scratch server"))?;
        // The connection's own error reaches the client too, which is where it is handled.
        tokio::spawn(async move { connection.await.ok() });
        Ok(client)
    }

    /// Connects to whichever database there is to ask about the cluster as a whole.
    ///
    /// # Errors
    /// Fails if the server does not accept the connection.
    pub async fn connect_to_any(&self) -> Result<Client, PostgresError> {
        match self.connect(MAINTENANCE[0]).await {
            Ok(client) => Ok(client),
            Err(_) => self.connect(MAINTENANCE[1]).await,
        }
    }

    /// Returns the folder of its socket, whose port is 5432.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Returns how others reach a database of it.
    pub fn conninfo(&self, database: &str) -> Conninfo {
        Conninfo::of_socket(&self.folder, 5432, &self.role, database)
    }

    /// Lets a server that waits at its target open for writing.
    ///
    /// # Errors
    /// Fails if it does not answer or does not promote within `limit`.
    pub async fn promote(&mut self, limit: Duration) -> Result<ScratchStatus, PostgresError> {
        let client = self.connect_to_any().await?;
        let promoted = client
            .query_one("SELECT pg_catalog.pg_promote(false)", &[])
            .await;
        promoted.map_err(PostgresError::server("promote the scratch server"))?;
        self.wait_for(ScratchPhase::Open, limit, &mut |_| {}).await
    }

    /// Stops the server and waits until it is gone.
    ///
    /// # Errors
    /// Fails if that takes longer than `limit`; the server is then killed.
    pub async fn stop(mut self, mode: StopMode, limit: Duration) -> Result<(), PostgresError> {
        self.client = None;
        self.signal(match mode {
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        });
        let waiting = async {
            while !self.has_ended() {
                tokio::time::sleep(POLL).await;
            }
        };
        let ended = tokio::time::timeout(limit, waiting).await;
        ended.map_err(|_| PostgresError::TimedOut {
            waited: "waiting for the scratch server to stop",
            limit,
        })
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(5432)
            .user(&self.role)
            .dbname(database)
            .application_name("lifeboat");
        config
    }

    /// Connects if the server says that it is worth trying.
    async fn try_connect(&self) -> Option<Client> {
        let lock = fs::read_to_string(self.data_directory.join("postmaster.pid")).ok()?;
        let mut lines = lock.lines().map(str::trim);
        let ours = lines.next()? == self.server.id().to_string();
        let ready = lines.nth(6)? == "ready";
        if !(ours && ready) {
            return None;
        }
        // A refusal means that it is not ready after all; the next look tells.
        self.connect_to_any().await.ok()
    }

    fn check_process(&mut self, phase: &'static str) -> Result<(), PostgresError> {
        if !self.has_ended() {
            return Ok(());
        }
        let log = self.log_tail();
        Err(PostgresError::ServerEnded { phase, log })
    }

    fn has_ended(&mut self) -> bool {
        // An error means that it was waited for already.
        !matches!(self.server.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // Fails only if the server is gone already.
        kill_process(Pid::from_child(&self.server), signal).ok();
    }

    /// Returns the last lines of the server's log, on one line.
    pub fn log_tail(&self) -> String {
        let read = || {
            let mut file = File::open(self.folder.join("log"))?;
            let len = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL)))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut tail)?;
            Ok::<_, std::io::Error>(tail)
        };
        // The tail goes into an error that is worth telling without it too.
        let tail = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.join("; ")
    }
}

impl Drop for ScratchCluster {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::QUIT);
        for _ in 0..DROP_PATIENCE_POLLS {
            if self.has_ended() {
                return;
            }
            thread::sleep(POLL);
        }
        // Either fails only if the server is gone after all.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

async fn ask_status(client: &Client) -> Result<ScratchStatus, PostgresError> {
    let sql = "SELECT pg_catalog.pg_is_in_recovery(),
                      CASE WHEN pg_catalog.pg_is_in_recovery()
                           THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
                      pg_catalog.pg_last_wal_replay_lsn()::text,
                      pg_catalog.pg_last_xact_replay_timestamp()";
    let row = client.query_one(sql, &[]).await;
    let row = row.map_err(PostgresError::server(
        "ask the scratch server how far it is",
    ))?;
    let phase = match (get::<bool>(&row, 0)?, get::<bool>(&row, 1)?) {
        (false, _) => ScratchPhase::Open,
        (true, true) => ScratchPhase::TargetReached,
        (true, false) => ScratchPhase::Consistent,
    };
    Ok(ScratchStatus {
        phase,
        replayed: get::<Option<&str>>(&row, 2)?.and_then(|lsn| lsn.parse().ok()),
        last_transaction: get(&row, 3)?,
    })
}

fn check_socket_path(folder: &Path) -> Result<(), PostgresError> {
    let socket = folder.join(".s.PGSQL.5432");
    if socket.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(PostgresError::BadSetting {
        name: format!("scratch folder `{}`", folder.display()),
        why: "has too long a path for a socket",
        hint: "name a scratch folder with a shorter path",
    })
}

/// Makes the folder for socket, log and access rules; returns a configuration for data directories
/// without one.
fn prepare_folder(
    folder: &Path,
    directory: &DataDirectory,
) -> Result<Option<PathBuf>, PostgresError> {
    let private = Permissions::from_mode(0o700);
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, private))
        .map_err(|error| PostgresError::io("make", folder, error))?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| PostgresError::io("write", &path, error))?;
        Ok::<_, PostgresError>(path)
    };
    // Whoever may enter the folder may log in: nobody but the account of the server.
    write("pg_hba.conf", "local all all trust\n")?;
    write("log", "")?;
    if directory.path().join("postgresql.conf").exists() {
        return Ok(None);
    }
    let text = minimal_configuration(directory.control());
    write("postgresql.conf", &text).map(Some)
}

fn server_command(
    options: &ScratchOptions<'_>,
    configuration: Option<&Path>,
) -> Result<Command, PostgresError> {
    let path = options.folder.join("log");
    let failed = |error| PostgresError::io("open", &path, error);
    let log = File::options().append(true).open(&path).map_err(failed)?;
    let mut command = Command::new(options.programs.program("postgres"));
    command.arg("-D").arg(options.data_directory);
    let hba = options.folder.join("pg_hba.conf");
    let mut settings = isolating(options.folder, &hba, options.preload);
    if let Some(configuration) = configuration {
        settings.push(format!("config_file={}", configuration.display()));
    }
    settings.extend_from_slice(options.settings);
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    command
        .current_dir(options.data_directory)
        .env("LC_MESSAGES", "C")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        // A Ctrl-C in the terminal is ours to act upon; the server is stopped in order.
        .process_group(0);
    Ok(command)
}

//! The folder that holds every cluster of one test process, and the watchdog that clears it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ServerAccount;

/// Waits for the end of its input, which comes when the test process is gone however it died,
/// then kills the servers and removes the folder. Backends notice a dead postmaster by themselves
/// and may write for a moment longer, hence the second attempt.
const WATCHDOG: &str = r#"
cat >/dev/null
for file in "$1"/*/data/postmaster.pid; do
    if [ -e "$file" ]; then
        read -r server <"$file" && kill -KILL "$server" 2>/dev/null
    fi
done
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1" 2>/dev/null; }
"#;

/// One folder per test process. It lives as long as the process, and the watchdog outlives it.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    account: Option<ServerAccount>,
    next: AtomicU32,
    /// Never read: its input pipe closes when this process ends.
    _watchdog: Child,
}

impl Home {
    /// Returns this process's folder, which the first call creates.
    pub(crate) fn get() -> &'static Self {
        static HOME: OnceLock<Home> = OnceLock::new();
        HOME.get_or_init(Self::create)
    }

    fn create() -> Self {
        let account = ServerAccount::unprivileged();
        let folder = tempfile::Builder::new()
            .prefix("lb-pg-")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal must end the tests, not the one who cleans up after them.
            .process_group(0)
            .spawn()
            .expect("sh can be run");
        give(&folder, account);
        Self {
            folder,
            account,
            next: AtomicU32::new(0),
            _watchdog: watchdog,
        }
    }

    /// Creates a folder with a name no other cluster of this process has.
    pub(crate) fn new_folder(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.make_folder(&self.folder.join(number.to_string()))
    }

    /// Creates `folder` for the servers' account.
    pub(crate) fn make_folder(&self, folder: &Path) -> PathBuf {
        fs::create_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        give(folder, self.account);
        folder.to_path_buf()
    }

    /// Returns `program` ready to run under the servers' account, in a folder it may enter, with
    /// no connection setting of the caller's own environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .env("LC_ALL", "C");
        for name in [
            "PGHOST",
            "PGHOSTADDR",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGPASSFILE",
            "PGDATABASE",
            "PGDATA",
            "PGOPTIONS",
            "PGSERVICE",
            "PGSSLMODE",
            "PGTZ",
            "PGCLIENTENCODING",
        ] {
            command.env_remove(name);
        }
        ServerAccount::apply(self.account, &mut command);
        command
    }
}

/// Runs `command` to its end and returns what it wrote; panics with its messages if it failed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the program writes UTF-8")
}

fn give(folder: &Path, account: Option<ServerAccount>) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    if let Some(ServerAccount { uid, gid }) = account {
        chown(folder, Some(uid), Some(gid)).expect("root may give a folder away");
    }
}

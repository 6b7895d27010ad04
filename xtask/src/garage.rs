//! Starts garage, an S3 server that people run in production, for tests that ask for one.
//!
//! It is no part of the everyday tests: building it takes twenty minutes, and it is under the AGPL, so
//! it is run as a program of its own. What it needs lies in a folder that is removed afterwards.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The tests that want a server, and the variable that tells them of it.
const TESTS: &str = "test --workspace --test s3 --locked -- --ignored production_grade";
const VARIABLE: &str = "TEST_S3_SERVER";
const BUCKET: &str = "backups";
const REGION: &str = "garage";
/// Made up, of the form that it takes.
const KEY_ID: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Runs the tests against a garage of their own.
pub(crate) fn test(program: Option<&Path>) -> Result<(), String> {
    let program = program.map_or_else(|| PathBuf::from("garage"), Path::to_owned);
    let garage = Garage::start(&program)?;
    println!("\n==> garage: {VARIABLE}=… cargo {TESTS}");
    let status = Command::new("cargo")
        .args(TESTS.split(' '))
        .env(VARIABLE, garage.told())
        .status()
        .map_err(|error| format!("failed to start `cargo`: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("the tests against garage failed".to_owned()),
    }
}

struct Garage {
    program: PathBuf,
    folder: PathBuf,
    endpoint: String,
    server: Child,
}

impl Garage {
    fn start(program: &Path) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("lifeboat-garage-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("failed to make a folder: {error}"))?;
        let (rpc, api) = (free_port()?, free_port()?);
        fs::write(folder.join("garage.toml"), configuration(&folder, rpc, api))
            .map_err(|error| format!("failed to write garage's configuration: {error}"))?;
        let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
        let server = Command::new(program)
            .arg("-c")
            .arg(folder.join("garage.toml"))
            .arg("server")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| {
                format!(
                    "failed to start `{}`: {error}; `cargo install garage` builds it, and \
                     `--garage <program>` names it",
                    program.display()
                )
            })?;
        let garage = Self {
            program: program.to_owned(),
            folder,
            endpoint: format!("http://127.0.0.1:{api}"),
            server,
        };
        wait_for(rpc)?;
        garage.set_up()?;
        wait_for(api)?;
        Ok(garage)
    }

    /// Gives the one node its role, and makes bucket and key.
    fn set_up(&self) -> Result<(), String> {
        let node = self.ask(&["node", "id", "-q"])?;
        let node = node.trim().split('@').next().unwrap_or_default();
        self.ask(&["layout", "assign", "-z", "here", "-c", "10G", node])?;
        self.ask(&["layout", "apply", "--version", "1"])?;
        self.ask(&["bucket", "create", BUCKET])?;
        self.ask(&["key", "import", "--yes", "-n", "tests", KEY_ID, SECRET])?;
        let allow = ["bucket", "allow", "--read", "--write", "--owner", BUCKET];
        self.ask(&[&allow[..], &["--key", KEY_ID]].concat())?;
        Ok(())
    }

    fn ask(&self, args: &[&str]) -> Result<String, String> {
        let answer = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.join("garage.toml"))
            .args(args)
            .output()
            .map_err(|error| format!("failed to ask garage: {error}"))?;
        match answer.status.success() {
            true => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
            false => Err(format!(
                "`garage {}` failed: {}",
                args.join(" "),
                String::from_utf8_lossy(&answer.stderr)
            )),
        }
    }

    /// Returns what the tests need to know: address, region, bucket, key, secret.
    fn told(&self) -> String {
        [&self.endpoint, REGION, BUCKET, KEY_ID, SECRET].join(" ")
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        // What is gone already need not be ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("`{}` is left behind: {error}", self.folder.display());
        }
    }
}

fn configuration(folder: &Path, rpc: u16, api: u16) -> String {
    let folder = folder.display();
    format!(
        "metadata_dir = \"{folder}/meta\"\n\
         data_dir = \"{folder}/data\"\n\
         db_engine = \"sqlite\"\n\
         replication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
         rpc_public_addr = \"127.0.0.1:{rpc}\"\n\
         rpc_secret = \"{SECRET}\"\n\
         [s3_api]\n\
         s3_region = \"{REGION}\"\n\
         api_bind_addr = \"127.0.0.1:{api}\"\n"
    )
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

#[expect(clippy::disallowed_methods, reason = "it waits for a program")]
fn wait_for(port: u16) -> Result<(), String> {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if start.elapsed() > STARTS_WITHIN {
            return Err(format!("garage does not listen on port {port}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

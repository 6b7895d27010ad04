//! Making the session: configuration, clock, entropy, pool, stores, and who asks.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_config::{Config, Loaded};
use lifeboat_model::Severity;
use lifeboat_operations::{OperationError, Session};
use lifeboat_runtime::{
    ComputePool, NoProgress, OsEntropy, Progress, SystemClock, Variables, World,
};
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::fail;
use crate::place::Regions;
use crate::progress::Bars;

/// Starts the log on stderr: warnings by default, or errors alone, more on request or by `LIFEBOAT_LOG`.
pub(crate) fn logging(verbose: u8, quiet: bool) {
    let default = match verbose {
        0 if quiet => "error",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("LIFEBOAT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Makes the world of this machine.
pub(crate) fn world() -> World {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    World {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy),
        pool: ComputePool::with_threads(threads).expect("the system grants a thread for each core"),
    }
}

/// Finds the project: the folder named, or the nearest one upwards that holds lifeboat.toml.
pub(crate) fn project_root(named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return named.to_owned();
    }
    let here = std::path::absolute(".").unwrap_or_else(|_| PathBuf::from("."));
    let holds_config = |folder: &&Path| folder.join("lifeboat.toml").is_file();
    here.ancestors()
        .find(holds_config)
        .unwrap_or(&here)
        .to_owned()
}

/// Loads the configuration and makes the session for a command.
pub(crate) fn session(args: &Args) -> Result<Session, OperationError> {
    let root = project_root(args.project.as_deref());
    let Loaded { config, warnings } = load(&root, args)?;
    // Advice is for `check`; a 3 a.m. restore shows only what may matter now.
    if warnings
        .iter()
        .any(|problem| problem.severity == Severity::Warning)
    {
        tracing::info!("the configuration has warnings: `lifeboat check` shows them");
    }
    Ok(session_for(config, args.quiet || args.json))
}

/// Loads the configuration with variables and flags laid over it.
pub(crate) fn load(root: &Path, args: &Args) -> Result<Loaded, OperationError> {
    let variables: Vec<(String, String)> = Variables::of_process()
        .with_prefix("LIFEBOAT__")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(Config::load(root, &variables, &args.set)?)
}

/// Makes a session without a project, for work on a place that the command line names.
pub(crate) fn session_without_project(args: &Args) -> Session {
    let here = std::path::absolute(".").unwrap_or_else(|_| PathBuf::from("."));
    session_for(Config::without_project(here), args.quiet || args.json)
}

/// Makes a session for a loaded configuration.
pub(crate) fn session_for(config: Config, quiet: bool) -> Session {
    let variables = Variables::of_process();
    let user = variables
        .get("SUDO_USER")
        .or(variables.get("USER"))
        .or(variables.get("LOGNAME"));
    let progress: Arc<dyn Progress> = match quiet {
        true => Arc::new(NoProgress),
        false => Arc::new(Bars::default()),
    };
    let operator = user.unwrap_or("unknown").to_owned();
    let (world, variables) = (world(), Arc::new(variables));
    let stores = Regions {
        root: config.root.clone(),
        variables: variables.clone(),
        world: world.clone(),
    };
    Session {
        operator,
        config: Arc::new(config),
        world,
        variables,
        stores: Arc::new(stores),
        progress,
        host: host(),
        program: concat!("lifeboat ", env!("CARGO_PKG_VERSION")).to_owned(),
        job: None,
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Shows the warnings that loading found.
pub(crate) fn show_warnings(loaded: &Loaded) {
    if !loaded.warnings.is_empty() {
        fail::print_problems(&loaded.warnings);
    }
}

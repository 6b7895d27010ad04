//! Arguments, the choice of concrete parts, rendering and exit codes.
//!
//! The only crate that prints, reads the environment and knows which stores there are.

mod args;
mod commands;
mod exit;
mod fail;
mod place;
mod progress;
mod setup;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::exit::Exit;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let args = Args::parse();
    setup::logging(args.verbose);
    table::set_quiet(args.quiet);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            fail::print_line(&format!("error: failed to start: {error}"));
            return Exit::FAILED.into();
        }
    };
    // The command runs on this thread, which may block: reading sources does.
    runtime.block_on(async {
        tokio::select! {
            exit = commands::run(&args) => exit.into(),
            () = stopped() => {
                fail::print_line("interrupted: what was committed before stays valid");
                Exit::INTERRUPTED.into()
            }
        }
    })
}

/// Returns when somebody asks the program to stop: Ctrl-C or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the system's defaults end the program, as harmlessly.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

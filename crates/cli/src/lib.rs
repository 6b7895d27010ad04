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
    // The command has a thread of its own, which may block: reading sources and masking do. This one
    // stays free to hear that somebody wants it to stop.
    let (done, ended) = tokio::sync::oneshot::channel();
    let handle = runtime.handle().clone();
    let command = std::thread::spawn(move || {
        // If nobody waits any more, the program is ending.
        done.send(handle.block_on(commands::run(&args))).ok();
    });
    runtime.block_on(async {
        tokio::select! {
            exit = ended => match exit {
                Ok(exit) => exit.into(),
                Err(_) => std::panic::resume_unwind(command.join().expect_err("it sent no exit")),
            },
            () = stopped() => {
                // Its thread cannot be stopped, so the process ends under it, after what it keeps on
                // disk for itself alone is gone. What is half-written has no name anybody reads.
                lifeboat_operations::Scratch::remove_all();
                fail::print_line("interrupted: what was committed before stays valid");
                std::process::exit(Exit::INTERRUPTED.code());
            }
        }
    })
}

/// Returns when somebody asks the program to stop: Ctrl-C, SIGTERM, or a terminal that closes.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        // Without handlers the system's defaults end the program, as harmlessly.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

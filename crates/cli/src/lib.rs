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
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refused(&error),
    };
    setup::logging(args.verbose, args.quiet);
    table::set_quiet(args.quiet);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            fail::print_line(&format!("error: failed to start: {error}"));
            return match asked_by_recovery() {
                true => Exit::STOP_RECOVERY.into(),
                false => Exit::FAILED.into(),
            };
        }
    };
    // The command has a thread of its own, which may block: reading sources and masking do. This one
    // stays free to hear that somebody wants it to stop.
    let as_json = args.json;
    let (done, mut ended) = tokio::sync::oneshot::channel();
    let handle = runtime.handle().clone();
    let command = std::thread::spawn(move || {
        // If nobody waits any more, the program is ending.
        done.send(handle.block_on(commands::run(&args))).ok();
    });
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = &mut ended => match exit {
                Ok(exit) => exit.into(),
                // A panic was told already; its own exit code would mean "no such file".
                Err(_) if asked_by_recovery() => Exit::STOP_RECOVERY.into(),
                Err(_) => std::panic::resume_unwind(command.join().expect_err("it sent no exit")),
            },
            () = stopped() => {
                // A mount ends by being asked to: that is no interruption.
                if let Some(at_rest) = unmount() {
                    let exit = if at_rest { ended.await.ok() } else { None };
                    std::process::exit(exit.unwrap_or(Exit::DONE).code());
                }
                // So does what goes on until it is asked; who asks twice does not want to wait.
                if commands::replicate::stop() {
                    tokio::select! {
                        exit = &mut ended => {
                            std::process::exit(exit.unwrap_or(Exit::FAILED).code());
                        }
                        () = stopped() => {}
                    }
                }
                // Its thread cannot be stopped, so the process ends under it, after what it keeps on
                // disk for itself alone is gone. What is half-written has no name anybody reads.
                lifeboat_operations::Scratch::remove_all();
                if as_json {
                    table::json_error(fail::interrupted());
                }
                fail::print_line("interrupted: what was committed before stays valid");
                std::process::exit(Exit::INTERRUPTED.code());
            }
        }
    });
    // What still goes on beside it, such as bringing a region up to date, goes on another time.
    runtime.shutdown_background();
    exit
}

/// Unmounts what is mounted; `None` if nothing is.
fn unmount() -> Option<bool> {
    #[cfg(all(feature = "mount", target_os = "linux"))]
    return commands::mount::stop();
    #[cfg(not(all(feature = "mount", target_os = "linux")))]
    None
}

/// Says what is wrong with the command line; also where help or the version was asked for.
fn refused(error: &clap::Error) -> ExitCode {
    // The arguments could not be read, so the word itself is looked for.
    let json = std::env::args_os().skip(1).any(|arg| arg == "--json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        table::json_error(serde_json::json!({
            "message": message.trim_start_matches("error: "),
            "causes": [],
            "problems": null,
            "hint": "`lifeboat help` lists the commands, `lifeboat help COMMAND` its options",
            "kind": lifeboat_model::ErrorKind::Usage.as_str(),
            "exit_code": Exit::USAGE.code(),
        }));
    }
    // If nobody can be told, the exit code still says what happened.
    error.print().ok();
    ExitCode::from(match error.use_stderr() {
        true if asked_by_recovery() => Exit::STOP_RECOVERY,
        true => Exit::USAGE,
        false => Exit::DONE,
    })
}

/// Reports whether this is `wal fetch`, whose exit code must never end a recovery by accident. The
/// arguments may not have been understood, so the words themselves are looked for.
fn asked_by_recovery() -> bool {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    words.windows(2).any(|pair| pair == ["wal", "fetch"])
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

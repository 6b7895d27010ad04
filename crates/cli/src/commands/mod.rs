//! One file per command: load, plan, execute, show.

mod backup;
mod check;
mod demo;
mod drill;
mod init;
mod mask;
mod refresh;
mod replicate;
mod restore;
mod schedule;
mod snapshots;
mod status;
mod verify;

use lifeboat_operations::OperationError;

use crate::args::{Args, Command, DrillCommand, MaskCommand};
use crate::exit::Exit;
use crate::fail;

/// Runs the command and shows what came of it.
pub(crate) async fn run(args: &Args) -> Exit {
    match dispatch(args).await {
        Ok(exit) => exit,
        Err(error) => fail::print(&error),
    }
}

async fn dispatch(args: &Args) -> Result<Exit, OperationError> {
    match &args.command {
        Command::Demo { keep, customers } => demo::run(args, keep.as_deref(), *customers).await,
        Command::Init { name, dry_run } => init::run(args, name.as_deref(), *dry_run).await,
        Command::Check { explain } => check::run(args, explain.as_deref()).await,
        Command::Backup { .. } => backup::run(args).await,
        Command::Snapshots { .. } => snapshots::run(args).await,
        Command::Restore { .. } => restore::run(args).await,
        Command::Verify { .. } => verify::run(args).await,
        Command::Mask { command } => match command {
            MaskCommand::Run {
                rules,
                input,
                output,
                report,
            } => mask::run(args, rules, input, output, report.as_deref()),
            MaskCommand::Check { rules, input } => mask::check(args, rules, input),
        },
        Command::Refresh {
            environment,
            dry_run,
        } => refresh::run(args, environment, *dry_run).await,
        Command::Replicate {
            environment,
            to,
            dry_run,
        } => replicate::run(args, environment, to.as_deref(), *dry_run).await,
        Command::Drill {
            command: DrillCommand::Run { .. },
        } => drill::run(args).await,
        Command::Schedule { command } => schedule::run(args, command).await,
        Command::Status { environment } => status::run(args, environment.as_deref()).await,
    }
}

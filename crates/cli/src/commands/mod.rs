//! One file per command: load, plan, execute, show.

mod backup;
mod browse;
mod check;
mod demo;
mod diff;
mod drill;
mod export;
mod find;
mod init;
mod key;
mod leak_report;
mod ls;
mod mask;
mod mask_tools;
#[cfg(all(feature = "mount", target_os = "linux"))]
pub(crate) mod mount;
mod prune;
mod refresh;
mod repair;
pub(crate) mod replicate;
mod restore;
mod schedule;
mod show;
mod snapshots;
mod stats;
mod status;
mod verify;
mod wal;
mod wal_receive;
mod wal_status;

use lifeboat_operations::OperationError;

use crate::args::{Args, Command, DrillCommand, MaskCommand};
use crate::exit::Exit;
use crate::{fail, table};

/// Runs the command and shows what came of it.
pub(crate) async fn run(args: &Args) -> Exit {
    match dispatch(args).await {
        Ok(exit) => exit,
        Err(error) => {
            if args.json {
                table::json_error(fail::document(&error));
            }
            fail::print(&error)
        }
    }
}

async fn dispatch(args: &Args) -> Result<Exit, OperationError> {
    match &args.command {
        Command::Demo { keep, customers } => demo::run(args, keep.as_deref(), *customers).await,
        Command::Init { name, dry_run } => init::run(args, name.as_deref(), *dry_run).await,
        Command::Check { explain } => check::run(args, explain.as_deref()).await,
        Command::Backup { .. } => backup::run(args).await,
        Command::Snapshots { .. } => snapshots::run(args).await,
        Command::Show { snapshot, look } => show::run(args, snapshot, look).await,
        Command::Ls {
            snapshot,
            path,
            recursive,
            look,
        } => ls::run(args, snapshot, path, *recursive, look).await,
        Command::Find { .. } => find::run(args).await,
        Command::Diff {
            before,
            after,
            look,
        } => diff::run(args, (before, after), look).await,
        #[cfg(all(feature = "mount", target_os = "linux"))]
        Command::Mount { what, folder, look } => mount::run(args, what, folder, look).await,
        Command::Stats { environment, look } => {
            stats::run(args, environment.as_deref(), look).await
        }
        Command::Restore { .. } => restore::run(args).await,
        Command::Verify { .. } => verify::run(args).await,
        Command::Prune { .. } => prune::run(args).await,
        Command::Repair { .. } => repair::run(args).await,
        Command::Wal { command } => wal::run(args, command).await,
        Command::Mask { command } => match command {
            MaskCommand::Run { .. } => mask::run(args, command),
            MaskCommand::Check { .. } => mask::check(args, command).await,
            MaskCommand::Discover { .. } => mask_tools::discover(args, command).await,
            MaskCommand::Preview { .. } => mask_tools::preview(args, command),
            MaskCommand::Synth { .. } => mask_tools::synth(args, command),
            MaskCommand::Schema => mask_tools::schema(),
        },
        Command::Export { .. } => export::run(args).await,
        Command::Refresh { .. } => refresh::run(args).await,
        Command::Replicate { .. } => replicate::run(args).await,
        Command::Key { command } => key::run(args, command).await,
        Command::Drill {
            command: DrillCommand::Run { .. },
        } => drill::run(args).await,
        Command::Schedule { command } => schedule::run(args, command).await,
        Command::Status { environment } => status::run(args, environment.as_deref()).await,
    }
}

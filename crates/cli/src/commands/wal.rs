//! `lifeboat wal`.

use std::process::{Command, Stdio};

use lifeboat_model::{Segment, WalFileName};
use lifeboat_operations::{
    OperationError, WalFetch, WalFetchRequest, WalFrom, WalPush, WalPushReport, WalPushRequest,
};

use crate::args::{Args, WalCommand};
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args, command: &WalCommand) -> Result<Exit, OperationError> {
    match command {
        WalCommand::Push { .. } => push(args, command).await,
        WalCommand::Fetch { .. } => Ok(match fetch(args, command).await {
            Ok(exit) => exit,
            Err(error) => {
                if args.json {
                    table::json_error(fail::document(&error));
                }
                fail::print(&error);
                Exit::STOP_RECOVERY
            }
        }),
        WalCommand::Receive { .. } => super::wal_receive::run(args, command).await,
        WalCommand::Status { .. } => super::wal_status::run(args, command).await,
    }
}

async fn push(args: &Args, command: &WalCommand) -> Result<Exit, OperationError> {
    let WalCommand::Push {
        environment,
        source,
        file,
        along,
    } = command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let source = environment.source(source)?;
    let request = WalPushRequest {
        file,
        along_max: *along,
    };
    let report = session.wal_push(environment, source, &request).await?;
    if args.json {
        table::json(&report);
    } else {
        show_push(&report);
    }
    // A replica that missed it is no reason for the server to keep it: it is durable at home.
    Ok(Exit::DONE)
}

fn show_push(report: &WalPushReport) {
    let one = |push: &WalPush| match push.already {
        true => format!("{} was there already", push.file),
        false => format!("{} is kept", push.file),
    };
    let along = match report.along.len() {
        0 => String::new(),
        some => format!(", and {some} that waited"),
    };
    table::line(&format!("{}{along}", one(&report.push)));
}

async fn fetch(args: &Args, command: &WalCommand) -> Result<Exit, OperationError> {
    let WalCommand::Fetch {
        environment,
        source,
        name,
        target,
        system,
        spool,
        ahead,
        until,
        expect,
        only_ahead,
        end,
        look,
    } = command
    else {
        unreachable!("dispatched by command");
    };
    let request = WalFetchRequest {
        name,
        target,
        spool: spool.as_deref(),
        until: *until,
        expected: expect,
    };
    if *end {
        // The recovery has done its work: a folder that stays is no reason to stop it.
        if let Err(error) = request.remove_spool() {
            fail::print(&error);
        }
        return Ok(Exit::DONE);
    }
    let from = WalFrom {
        environment,
        source,
        system: *system,
        region: look.region.as_deref(),
    };
    let segment = match name.parse() {
        Ok(WalFileName::Segment(segment)) => Some(segment),
        _ => None,
    };
    let ahead = segment
        .zip(spool.as_ref())
        .map(|(segment, spool)| (segment, spool, *ahead));
    // What was fetched ahead needs no configuration and no store.
    if !only_ahead && request.take_ahead().await? {
        start_fetching_ahead(
            &request,
            ahead.filter(|(segment, ..)| request.runs_low(*segment)),
        );
        return Ok(Exit::DONE);
    }
    let (session, log) = match look.rescue.places() {
        Some((folder, key)) => {
            let session = setup::session_without_project(args);
            let log = session.rescue(folder, key).await?.wal(&from).await?;
            (session, log)
        }
        None => {
            let session = setup::session(args)?;
            let log = session.wal(&from).await?;
            (session, log)
        }
    };
    if *only_ahead {
        if let Some((segment, spool, ahead)) = ahead {
            log.fetch_ahead(spool, segment, ahead).await?;
        }
        return Ok(Exit::DONE);
    }
    match log.fetch(&session, &request).await? {
        WalFetch::Found => {
            start_fetching_ahead(&request, ahead);
            Ok(Exit::DONE)
        }
        WalFetch::NotThere => Ok(Exit::NO_SUCH_WAL),
    }
}

/// Starts this program once more, beside the recovery, to fetch what it will ask for next.
///
/// If it cannot be started, each segment is fetched when it is asked for.
fn start_fetching_ahead(
    request: &WalFetchRequest<'_>,
    ahead: Option<(Segment, &std::path::PathBuf, u32)>,
) {
    let Some((_, _, 1..)) = ahead else { return };
    if let Err(error) = request.prepare_spool() {
        tracing::info!(%error, "nothing is fetched ahead");
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let started = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--only-ahead")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        tracing::info!(%error, "nothing is fetched ahead");
    }
}

//! `lifeboat wal status`.

use lifeboat_config::Source;
use lifeboat_operations::{ClusterLog, OperationError, WalRegionStatus, WalStatus};

use super::wal_receive::cluster_of;
use crate::args::{Args, WalCommand};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args, command: &WalCommand) -> Result<Exit, OperationError> {
    let WalCommand::Status {
        environment,
        source,
        region,
    } = command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let sources: Vec<&Source> = match source {
        Some(name) => vec![cluster_of(environment, Some(name))?],
        None => {
            cluster_of(environment, None)?;
            let all = environment.sources.values();
            all.filter(|source| source.cluster().is_some()).collect()
        }
    };
    let mut found = Vec::new();
    for source in sources {
        found.push(
            session
                .wal_status(environment, source, region.as_deref())
                .await?,
        );
    }
    if args.json {
        table::json(&found);
    } else {
        found.iter().for_each(show);
    }
    Ok(match found.iter().all(WalStatus::is_sound) {
        true => Exit::DONE,
        false => Exit::INCOMPLETE,
    })
}

fn show(status: &WalStatus) {
    let server = match (&status.server, &status.server_fault) {
        (Some(server), _) => format!("its log goes to {}", server.lsn),
        (None, fault) => format!("does NOT answer: {}", fault.as_deref().unwrap_or("unknown")),
    };
    table::line(&format!(
        "{}/{}: the server {server}",
        status.environment, status.source
    ));
    for region in &status.regions {
        show_region(region);
    }
}

fn show_region(region: &WalRegionStatus) {
    let name = &region.region;
    if let Some(fault) = &region.fault {
        return table::line(&format!("  {name}: cannot be asked: {fault}"));
    }
    if region.clusters.is_empty() {
        return table::line(&format!("  {name}: holds nothing of it"));
    }
    for log in &region.clusters {
        let commit = match (log.newest_commit, log.exposure_secs) {
            (Some(at), Some(secs)) => {
                format!("newest commit {at:.0}, {} ago", table::secs(secs))
            }
            _ => "no commit seen".to_owned(),
        };
        let pending = log.pending_bytes.map_or_else(String::new, |bytes| {
            format!(", {} of the server's log not here", table::bytes(bytes))
        });
        table::line(&format!(
            "  {name}, cluster {}: {commit}{pending}",
            log.system
        ));
        show_log(log);
    }
}

fn show_log(log: &ClusterLog) {
    for interval in &log.recoverable {
        table::line(&format!(
            "    recoverable: {:.0} to {:.0} on timeline {} (LSN {} to {}), {}",
            interval.from_time,
            interval.to_time,
            interval.timeline,
            interval.from,
            interval.to,
            table::counted(interval.snapshots as u64, "snapshot"),
        ));
    }
    if log.recoverable.is_empty() {
        table::line(
            "    NOTHING is recoverable from here: take a backup, or `lifeboat replicate` one to here",
        );
    }
    if let Some(timeline) = log.timeline_missing {
        table::line(&format!(
            "    MISSING: all of timeline {timeline}, which the server writes now"
        ));
    }
    for gap in &log.gaps {
        table::line(&format!(
            "    MISSING: {} from {} to {}",
            table::counted(gap.segments, "segment"),
            gap.first,
            gap.last
        ));
    }
    for snapshot in &log.lost {
        table::line(&format!(
            "    snapshot {} CANNOT be restored: it lacks a part of its log",
            snapshot.short()
        ));
    }
    for conflict in &log.conflicts {
        table::line(&format!("    CONTRADICTION: {conflict}"));
    }
}

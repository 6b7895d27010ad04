//! `lifeboat restore`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lifeboat_config::{Cluster, Source};
use lifeboat_model::{InvalidName, Timeline};
use lifeboat_operations::{
    Changes, ClusterRestore, DamagedCopy, DeltaReport, FetchCommand, LogAccess, OperationError,
    Recovery, RescueRequest, RestoreReport, RestoreRequest, Session, ThenDo,
};

use crate::args::{Args, ClusterArgs, Command};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Restore {
        environment,
        source,
        to,
        at,
        path,
        region,
        into,
        delta,
        cluster,
        dry_run,
        rescue,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let target = std::path::absolute(to).map_err(|source| OperationError::Io {
        op: "find",
        path: to.clone(),
        source,
    })?;
    if let Some((folder, key)) = rescue.places() {
        let names = (parsed(environment)?, parsed(source)?);
        let session = setup::session_without_project(args);
        let rescue = session.rescue(folder, key).await?;
        let request = RescueRequest {
            source: (&names.0, &names.1),
            point: at,
            target: &target,
            paths: path,
            delta: delta.wanted(),
            cluster: &cluster.wanted(rescue_command(folder, key)?),
        };
        if *dry_run {
            let preview = rescue.preview(&session, &request).await?;
            return Ok(show_preview(args, &target, &preview));
        }
        let report = rescue.restore(&session, &request).await?;
        if cluster.start {
            start(&session, None, &report).await?;
        }
        return Ok(finish(args, environment, &report, cluster.start));
    }
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let fetch = fetch_command(&session, args, region.as_deref())?;
    let from = session.read_from(region.as_deref())?;
    let request = RestoreRequest {
        source,
        point: at,
        from,
        target: &target,
        into: into.unwrap_or(environment.class),
        paths: path,
        delta: delta.wanted(),
        cluster: &cluster.wanted(fetch),
    };
    let plan = session.plan_restore(environment, &request).await?;
    if *dry_run && delta.delta {
        let preview = session.preview_delta(environment, &plan).await?;
        return Ok(show_preview(args, &target, &preview));
    }
    if *dry_run {
        let line = format!(
            "would restore snapshot {} of {}/{} (state of {:.0}) from region {} to {}: {}",
            plan.snapshot.short(),
            plan.environment,
            plan.source,
            plan.instant,
            plan.region,
            plan.target.display(),
            table::bytes(plan.bytes),
        );
        let replay = plan.recovery.as_ref().map(|recovery| {
            format!(
                "would replay up to {} of log on timeline {}, to {}",
                table::bytes(recovery.replay_bytes),
                recovery.timeline,
                recovery.target
            )
        });
        let lines: Vec<String> = std::iter::once(line).chain(replay).collect();
        table::plan(args.json, &plan, &lines);
        return Ok(Exit::DONE);
    }
    let report = session.restore(environment, &plan).await?;
    if cluster.start {
        let configured = environment
            .sources
            .get(&plan.source)
            .and_then(Source::cluster);
        start(&session, configured, &report).await?;
    }
    let name = environment.name.as_str();
    Ok(finish(args, name, &report, cluster.start))
}

/// Starts the server of a restored cluster.
async fn start(
    session: &Session,
    cluster: Option<&Cluster>,
    report: &RestoreReport,
) -> Result<(), OperationError> {
    let Some(recovery) = &report.recovery else {
        return Err(OperationError::Usage {
            message: format!(
                "`{}` is no cluster: it has no server to start",
                report.target.display()
            ),
            hint: "leave `--start` out".to_owned(),
        });
    };
    let log = session
        .start_restored(cluster, &report.target, recovery)
        .await?;
    tracing::info!("the server logs to `{}`", log.display());
    Ok(())
}

impl ClusterArgs {
    /// Returns what a cluster is asked for.
    fn wanted(&self, fetch: FetchCommand) -> ClusterRestore {
        ClusterRestore {
            tablespaces: self.tablespace.clone(),
            timeline: self.timeline.map(Timeline::new),
            exclusive: self.exclusive,
            then: match self.pause {
                true => ThenDo::Pause,
                false => ThenDo::Promote,
            },
            archives: self.archive,
            port: self.port,
            starts: self.start,
            log: match self.with_log {
                true => LogAccess::Brought,
                false => LogAccess::Fetched(fetch),
            },
        }
    }
}

/// Returns how a server that recovers runs this program, on this host, in this project.
fn fetch_command(
    session: &Session,
    args: &Args,
    region: Option<&str>,
) -> Result<FetchCommand, OperationError> {
    let mut project = vec!["-C".to_owned(), session.config.root.display().to_string()];
    for (key, value) in &args.set {
        project.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let region = region.map(|region| vec!["--region".to_owned(), region.to_owned()]);
    Ok(FetchCommand {
        program: this_program()?,
        project,
        place: region.unwrap_or_default(),
    })
}

/// Returns how a server that recovers runs this program with nothing but a folder and a key.
fn rescue_command(folder: &Path, key: &Path) -> Result<FetchCommand, OperationError> {
    let absolute = |path: &Path| {
        let text = path.to_string_lossy();
        // A passphrase is named by a reference, not by a path.
        let is_reference = text.starts_with("passphrase:");
        let path = (!is_reference)
            .then(|| std::path::absolute(path).ok())
            .flatten();
        path.map_or_else(|| text.into_owned(), |path| path.display().to_string())
    };
    let words = [
        "--from".to_owned(),
        absolute(folder),
        "--key".to_owned(),
        absolute(key),
    ];
    Ok(FetchCommand {
        program: this_program()?,
        project: Vec::new(),
        place: words.to_vec(),
    })
}

fn this_program() -> Result<PathBuf, OperationError> {
    std::env::current_exe().map_err(|source| OperationError::Io {
        op: "find",
        path: "lifeboat".into(),
        source,
    })
}

/// Reads a name of the command line.
fn parsed<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, OperationError> {
    text.parse()
        .map_err(|error: InvalidName| OperationError::Usage {
            message: error.to_string(),
            hint: "`lifeboat snapshots` lists the names".to_owned(),
        })
}

fn finish(args: &Args, environment: &str, report: &RestoreReport, started: bool) -> Exit {
    if args.json {
        table::json(report);
    } else {
        show(environment, report);
        if let Some(recovery) = &report.recovery {
            show_recovery(&report.target, recovery, started);
        }
    }
    if report.not_restored.is_empty() {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    }
}

fn show(environment: &str, report: &RestoreReport) {
    table::line(&format!(
        "restored snapshot {} (state of {:.0}) from {} to {}: {}, {} in {}, {}",
        report.snapshot.short(),
        report.instant,
        report.region,
        report.target.display(),
        table::counted(report.entries, "item"),
        table::bytes(report.bytes),
        table::secs(report.secs),
        match &report.delta {
            Some(delta) if delta.trust_mtime => "what was kept was trusted by its time",
            _ => "every byte checked",
        },
    ));
    if let Some(delta) = &report.delta {
        table::line(&summary(delta));
    }
    for item in &report.not_restored {
        table::line(&format!("  INCOMPLETE: {item}"));
    }
    show_damaged(environment, &report.damaged_copies);
}

/// Names the regions that need repair, though the restore did without them.
fn show_damaged(environment: &str, copies: &[DamagedCopy]) {
    let regions: BTreeSet<&str> = copies.iter().map(|copy| copy.region.as_str()).collect();
    for region in regions {
        let of_region = copies.iter().filter(|copy| copy.region == region);
        table::line(&format!(
            "  DAMAGED in {region}: {}, read from another region; `lifeboat repair {environment} \
             --region {region}` brings back what is damaged",
            table::counted(of_region.count() as u64, "object"),
        ));
    }
}

/// Says what happens, or happened, when the server starts.
fn show_recovery(target: &Path, recovery: &Recovery, started: bool) {
    let end = match recovery.then {
        ThenDo::Promote => "is open for writing",
        ThenDo::Pause => "waits there, read-only: `SELECT pg_wal_replay_resume()` goes on",
    };
    table::line(&match started {
        true => format!(
            "  the server runs: it recovered to {} and {end}",
            recovery.target
        ),
        false => format!(
            "  start it with `pg_ctl start -D {}`: it replays up to {} of log, to {}, and then {end}",
            target.display(),
            table::bytes(recovery.replay_bytes),
            recovery.target
        ),
    });
    if !recovery.archives {
        table::line(
            "  it archives nothing, as it lives beside the original: when it takes its place, run \
             `ALTER SYSTEM RESET archive_mode`, restart it, and take a backup",
        );
    }
}

/// Paths that the text of a preview lists of each kind of change; `--json` has more.
const SHOWN_MAX: usize = 10;

fn show_preview(args: &Args, target: &Path, preview: &DeltaReport) -> Exit {
    if args.json {
        table::json(preview);
        return Exit::DONE;
    }
    table::line(&format!(
        "nothing was changed in {}; a restore would leave it so:",
        target.display()
    ));
    table::line(&summary(preview));
    let kinds = [
        ("write", &preview.written),
        ("adjust", &preview.adjusted),
        ("remove", &preview.removed),
    ];
    for (verb, changes) in kinds {
        list(verb, changes);
    }
    Exit::DONE
}

fn list(verb: &str, changes: &Changes) {
    for path in changes.paths.iter().take(SHOWN_MAX) {
        table::line(&format!("  {verb} {path}"));
    }
    let shown = changes.paths.len().min(SHOWN_MAX) as u64;
    if changes.count > shown && shown > 0 {
        table::line(&format!("  {verb} {} more", changes.count - shown));
    }
}

fn summary(delta: &DeltaReport) -> String {
    format!(
        "  {} written, {} adjusted, {} removed, {} kept",
        delta.written.count, delta.adjusted.count, delta.removed.count, delta.kept
    )
}

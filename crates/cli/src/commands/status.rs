//! `lifeboat status`.

use lifeboat_config::Environment;
use lifeboat_model::{Objectives, human_duration};
use lifeboat_operations::{EnvironmentStatus, OperationError, RegionStatus, SourceStatus, status};
use lifeboat_repository::{RunKind, RunRecord};

use crate::args::Args;
use crate::exit::Exit;
use crate::{fail, setup, table};

pub(super) async fn run(args: &Args, environment: Option<&str>) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let environments: Vec<&Environment> = match environment {
        Some(name) => vec![session.environment(name)?],
        None => session.config.environments.values().collect(),
    };
    // An environment that no region can tell of hides none of the others.
    let (mut found, mut documents, mut failed) = (Vec::new(), Vec::new(), None);
    for environment in environments {
        match status(&session, environment).await {
            Ok(one) => {
                documents.push(table::value(&one));
                found.push(one);
            }
            Err(error) => {
                let (name, document) = (&environment.name, fail::document(&error));
                documents.push(serde_json::json!({ "environment": name, "error": document }));
                failed = failed.or(Some(fail::print(&error)));
            }
        }
    }
    if args.json {
        table::json(&documents);
    } else {
        found.iter().for_each(show);
    }
    if let Some(failed) = failed {
        return Ok(failed);
    }
    let mut regions = found.iter().flat_map(|status| &status.regions);
    let complete = regions.all(|one| one.fault.is_none() && one.lost_at_home == 0);
    let sound = found.iter().all(|status| status.damaged.is_empty());
    Ok(match (sound, complete) {
        (false, _) => Exit::INTEGRITY,
        (true, false) => Exit::INCOMPLETE,
        (true, true) => Exit::DONE,
    })
}

/// Says what a loss would cost, and whether that is more than was promised.
fn exposure(secs: Option<f64>, objectives: Objectives) -> String {
    let Some(secs) = secs else {
        return "everything".to_owned();
    };
    let over = objectives
        .rpo
        .filter(|rpo| secs > rpo.limit().as_secs_f64());
    let over = over.map(|rpo| format!(", over the RPO of {}", human_duration(rpo.limit())));
    format!("{}{}", table::secs(secs), over.unwrap_or_default())
}

/// Says how far a region is behind its home, in time and in bytes.
fn behind(region: &RegionStatus) -> String {
    if region.home {
        return String::new();
    }
    let unknown = || "unknown".to_owned();
    let lag = region.lag_secs.map_or_else(unknown, table::secs);
    let pending = region.pending_bytes.map_or_else(unknown, table::bytes);
    format!("{lag}, {pending} to go")
}

fn show(status: &EnvironmentStatus) {
    table::line(&format!("{} ({})", status.environment, status.class));
    let source = |source: &SourceStatus| {
        let tier = |tier: &lifeboat_operations::TierStatus| {
            let gap = if tier.complete { "" } else { ", incomplete" };
            format!(
                "{} {} {:.0}{gap}",
                tier.tier,
                tier.snapshot.short(),
                tier.instant
            )
        };
        vec![
            source.source.to_string(),
            source.snapshots.to_string(),
            source.tiers.iter().map(tier).collect::<Vec<_>>().join("\n"),
            source
                .exposure_secs
                .map_or_else(|| "everything".to_owned(), table::secs),
        ]
    };
    let header = [
        "source",
        "snapshots",
        "newest of each tier",
        "a loss now costs",
    ];
    table::print(&header, status.sources.iter().map(source));
    for damaged in &status.damaged {
        table::line(&format!(
            "  DAMAGED: snapshot {} of {} (state of {:.0}): {}; `lifeboat verify` shows more",
            damaged.snapshot.short(),
            damaged.source,
            damaged.instant,
            damaged.what
        ));
    }
    let region = |region: &RegionStatus| {
        vec![
            region.region.to_string(),
            if region.home { "home" } else { "replica" }.to_owned(),
            region
                .fault
                .clone()
                .unwrap_or_else(|| "reachable".to_owned()),
            region.behind.to_string(),
            behind(region),
            exposure(region.exposure_secs, status.objectives),
        ]
    };
    let header = [
        "region",
        "as",
        "now",
        "snapshots behind",
        "lag behind the home",
        "if only this is left, a loss costs",
    ];
    table::print(&header, status.regions.iter().map(region));
    for region in status.regions.iter().filter(|one| one.lost_at_home > 0) {
        table::line(&format!(
            "  LOST at home: {} in {} newer than the newest there; `lifeboat restore` finds what any region \
             has, and a new `lifeboat backup` makes up for them",
            table::counted(region.lost_at_home, "snapshot"),
            region.region,
        ));
    }
    show_run("last drill", status.last_drill.as_ref());
    show_run("last refresh", status.last_refresh.as_ref());
    for run in &status.failed {
        let why = run.end.as_ref().and_then(|end| end.facts.get("error"));
        let why = why.and_then(|why| why.as_str()).unwrap_or("see its report");
        table::line(&format!("  FAILED: {}: {why}", describe(run)));
    }
    for run in &status.unfinished {
        table::line(&format!("  NOT ENDED: {}: running, or dead", describe(run)));
    }
    table::line("");
}

/// Names a run: what, of which source, when.
fn describe(run: &RunRecord) -> String {
    let begin = &run.begin;
    let of = begin
        .source
        .as_ref()
        .map(|source| format!(" of {source}"))
        .unwrap_or_default();
    let job = match &begin.job {
        Some(job) if begin.kind == RunKind::Job => format!(" {}", job.name),
        Some(job) => format!(" for job {}", job.name),
        None => String::new(),
    };
    format!(
        "{}{of}{job} begun {:.0} on {} (run {})",
        begin.kind, begin.began, begin.host, begin.run
    )
}

fn show_run(what: &str, run: Option<&RunRecord>) {
    let Some(RunRecord { end: Some(end), .. }) = run else {
        return table::line(&format!("  {what}: none"));
    };
    let fact = |name: &str| end.facts.get(name);
    let secs = |name: &str| fact(name).and_then(serde_json::Value::as_f64);
    let verdict = fact("verdict")
        .and_then(|verdict| verdict.as_str())
        .unwrap_or("failed");
    let objective = |label: &str, measured: &str, target: &str| {
        let target = secs(target).map(|target| format!(" (target {})", table::secs(target)));
        let measured = table::measured(secs(measured));
        format!(", {label} {measured}{}", target.unwrap_or_default())
    };
    let mut line = format!("  {what}: {verdict} at {:.0}", end.ended);
    if fact("scenario").is_some() {
        line += &objective("RTO", "rto_secs", "rto_target_secs");
        line += &objective("RPO", "rpo_secs", "rpo_target_secs");
    }
    if let Some(rows) = fact("rows").and_then(serde_json::Value::as_u64) {
        line += &format!(", {}", table::counted(rows, "row"));
    }
    table::line(&line);
}

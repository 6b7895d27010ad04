//! `lifeboat status`.

use lifeboat_config::Environment;
use lifeboat_operations::{EnvironmentStatus, OperationError, RegionStatus, SourceStatus, status};
use lifeboat_repository::RunRecord;

use crate::args::Args;
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args, environment: Option<&str>) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let environments: Vec<&Environment> = match environment {
        Some(name) => vec![session.environment(name)?],
        None => session.config.environments.values().collect(),
    };
    let mut found = Vec::new();
    for environment in environments {
        found.push(status(&session, environment).await?);
    }
    if args.json {
        table::json(&found);
    } else {
        found.iter().for_each(show);
    }
    let reachable = found
        .iter()
        .flat_map(|status| &status.regions)
        .all(|r| r.fault.is_none());
    Ok(if reachable {
        Exit::DONE
    } else {
        Exit::INCOMPLETE
    })
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
    let region = |region: &RegionStatus| {
        vec![
            region.region.to_string(),
            if region.home { "home" } else { "replica" }.to_owned(),
            region
                .fault
                .clone()
                .unwrap_or_else(|| "reachable".to_owned()),
            region.behind.to_string(),
            region
                .exposure_secs
                .map_or_else(|| "everything".to_owned(), table::secs),
        ]
    };
    let header = [
        "region",
        "as",
        "now",
        "snapshots behind",
        "if only this is left, a loss costs",
    ];
    table::print(&header, status.regions.iter().map(region));
    show_run("last drill", status.last_drill.as_ref());
    show_run("last refresh", status.last_refresh.as_ref());
    for (kind, run, began) in &status.unfinished {
        table::line(&format!(
            "  {kind} {run} began {began:.0} and has not ended: running, or dead"
        ));
    }
    table::line("");
}

fn show_run(what: &str, run: Option<&RunRecord>) {
    let Some(RunRecord {
        begin,
        end: Some(end),
    }) = run
    else {
        return table::line(&format!("  {what}: none"));
    };
    let fact = |name: &str| end.facts.get(name).map(ToString::to_string);
    let verdict = fact("verdict").unwrap_or_else(|| "failed".to_owned());
    let measured = ["rto_secs", "rpo_secs", "rows"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", fact(name)?)))
        .collect::<Vec<_>>()
        .join(", ");
    let verdict = verdict.trim_matches('"');
    table::line(&format!(
        "  {what}: {verdict} at {:.0} (run {}) {measured}",
        end.ended, begin.run
    ));
}

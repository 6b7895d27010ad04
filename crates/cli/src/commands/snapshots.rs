//! `lifeboat snapshots`.

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_operations::{OperationError, Session};
use lifeboat_repository::{DamagedSnapshot, Listing, Role, Snapshot, SnapshotName};
use serde::Serialize;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{setup, table};

/// A snapshot as the list shows it.
#[derive(Serialize)]
struct Listed {
    environment: String,
    source: String,
    snapshot: String,
    instant: Timestamp,
    /// What is wrong with the commit record; then nothing below is known.
    damaged: Option<String>,
    tier: Option<String>,
    kind: Option<String>,
    bytes: Option<u64>,
    bytes_stored: Option<u64>,
    masked: Option<bool>,
    complete: Option<bool>,
}

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Snapshots {
        environment,
        source,
        region,
        rescue,
    } = &args.command
    else {
        unreachable!("dispatched by command");
    };
    let mut found = Vec::new();
    if let Some((folder, key)) = rescue.places() {
        let session = setup::session_without_project(args);
        found = all_of(&session.rescue(folder, key).await?.listing().await?);
        let wanted = |name: &Option<String>, have: &str| name.as_deref().is_none_or(|n| n == have);
        found.retain(|item| wanted(environment, &item.environment) && wanted(source, &item.source));
    } else {
        let session = setup::session(args)?;
        let environments: Vec<&Environment> = match environment {
            Some(name) => vec![session.environment(name)?],
            None => session.config.environments.values().collect(),
        };
        for environment in environments {
            found.extend(list(&session, environment, source.as_deref(), region.as_deref()).await?);
        }
    }
    if args.json {
        table::json(&found);
    } else {
        show(environment.as_deref(), &found);
    }
    let sound = found.iter().all(|item| item.damaged.is_none());
    Ok(if sound { Exit::DONE } else { Exit::INTEGRITY })
}

async fn list(
    session: &Session,
    environment: &Environment,
    source: Option<&str>,
    region: Option<&str>,
) -> Result<Vec<Listed>, OperationError> {
    let region = match region {
        Some(name) => &session.config.region(name)?.name,
        None => &environment.home,
    };
    let opened = session.open_region(region).await?;
    let repository = session
        .open_repository(environment, &opened, Role::Auditor)
        .await?;
    let mut found = all_of(&repository.listing(Some(&environment.name), None).await?);
    found.retain(|item| source.is_none_or(|name| item.source == name));
    match source {
        // A source without snapshots is either new, or misspelt.
        Some(name) if found.is_empty() => {
            environment.source(name)?;
            Ok(found)
        }
        _ => Ok(found),
    }
}

/// Puts readable and damaged snapshots in one list, oldest first.
fn all_of(listing: &Listing) -> Vec<Listed> {
    let readable = listing.snapshots.iter().map(listed);
    let mut all: Vec<Listed> = readable
        .chain(listing.damaged.iter().map(listed_damaged))
        .collect();
    all.sort_by_key(|item| item.instant);
    all
}

fn listed(snapshot: &Snapshot) -> Listed {
    Listed {
        tier: Some(snapshot.tier.to_string()),
        kind: Some(snapshot.kind.to_string()),
        bytes: Some(snapshot.totals.bytes),
        bytes_stored: Some(snapshot.totals.bytes_stored),
        masked: Some(snapshot.masked),
        complete: Some(snapshot.skipped.is_empty()),
        ..named(&snapshot.name())
    }
}

fn listed_damaged(damaged: &DamagedSnapshot) -> Listed {
    Listed {
        damaged: Some(damaged.what.clone()),
        ..named(&damaged.name)
    }
}

/// What the name of a commit record alone tells.
fn named(name: &SnapshotName) -> Listed {
    Listed {
        environment: name.environment.to_string(),
        source: name.source.to_string(),
        snapshot: name.id.to_string(),
        instant: name.instant,
        damaged: None,
        tier: None,
        kind: None,
        bytes: None,
        bytes_stored: None,
        masked: None,
        complete: None,
    }
}

fn show(environment: Option<&str>, listed: &[Listed]) {
    if listed.is_empty() {
        let environment = environment.unwrap_or("ENV");
        return table::line(&format!(
            "there are no snapshots here: `lifeboat backup {environment}` takes one, `lifeboat \
             replicate {environment}` copies"
        ));
    }
    let row = |item: &Listed| {
        let remark = match (&item.damaged, item.masked, item.complete) {
            (Some(what), ..) => format!("damaged: {what}"),
            (_, Some(true), _) => "masked".to_owned(),
            (_, _, Some(false)) => "incomplete".to_owned(),
            _ => String::new(),
        };
        let size = |bytes: Option<u64>| bytes.map(table::bytes).unwrap_or_default();
        vec![
            format!("{}/{}", item.environment, item.source),
            item.snapshot[..8].to_owned(),
            format!("{:.0}", item.instant),
            item.tier.clone().unwrap_or_default(),
            item.kind.clone().unwrap_or_default(),
            size(item.bytes),
            size(item.bytes_stored),
            remark,
        ]
    };
    let header = [
        "source", "snapshot", "state of", "tier", "kind", "size", "stored", "note",
    ];
    table::print(&header, listed.iter().map(row));
    if listed.iter().any(|item| item.damaged.is_some()) {
        table::line(
            "hint: damaged snapshots may be whole in another region: list it with `--region`, and run \
             `lifeboat verify`",
        );
    }
}

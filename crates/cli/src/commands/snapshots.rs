//! `lifeboat snapshots`.

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_operations::{OperationError, Session};
use lifeboat_repository::{Role, Snapshot};
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
    tier: String,
    kind: String,
    instant: Timestamp,
    bytes: u64,
    bytes_stored: u64,
    masked: bool,
    complete: bool,
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
        found.extend(
            session
                .rescue(folder, key)
                .await?
                .snapshots()
                .await?
                .iter()
                .map(listed),
        );
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
        show(&found);
    }
    Ok(Exit::DONE)
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
    let snapshots = repository.snapshots(Some(&environment.name), None).await?;
    let wanted = |snapshot: &&Snapshot| source.is_none_or(|name| snapshot.source.as_str() == name);
    let found: Vec<Listed> = snapshots.iter().filter(wanted).map(listed).collect();
    match source {
        // A source without snapshots is either new, or misspelt.
        Some(name) if found.is_empty() => {
            environment.source(name)?;
            Ok(found)
        }
        _ => Ok(found),
    }
}

fn listed(snapshot: &Snapshot) -> Listed {
    Listed {
        environment: snapshot.environment.to_string(),
        source: snapshot.source.to_string(),
        snapshot: snapshot.id.to_string(),
        tier: snapshot.tier.to_string(),
        kind: snapshot.kind.to_string(),
        instant: snapshot.instant,
        bytes: snapshot.totals.bytes,
        bytes_stored: snapshot.totals.bytes_stored,
        masked: snapshot.masked,
        complete: snapshot.skipped.is_empty(),
    }
}

fn show(listed: &[Listed]) {
    if listed.is_empty() {
        return table::line(
            "there are no snapshots here: `lifeboat backup ENV` takes one, `lifeboat replicate ENV` copies",
        );
    }
    let row = |item: &Listed| {
        let remark = match (item.masked, item.complete) {
            (true, _) => "masked",
            (_, false) => "incomplete",
            _ => "",
        };
        vec![
            format!("{}/{}", item.environment, item.source),
            item.snapshot[..8].to_owned(),
            format!("{:.0}", item.instant),
            item.tier.clone(),
            item.kind.clone(),
            table::bytes(item.bytes),
            table::bytes(item.bytes_stored),
            remark.to_owned(),
        ]
    };
    let header = [
        "source", "snapshot", "state of", "tier", "kind", "size", "stored", "note",
    ];
    table::print(&header, listed.iter().map(row));
}

//! `lifeboat snapshots`.

use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::SourceName;
use lifeboat_operations::{OperationError, Session};
use lifeboat_repository::{Role, Snapshot};
use serde::Serialize;

use crate::args::Args;
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

pub(super) async fn run(
    args: &Args,
    environment: Option<&str>,
    source: Option<&str>,
    region: Option<&str>,
) -> Result<Exit, OperationError> {
    let session = setup::session(args)?;
    let environments: Vec<&Environment> = match environment {
        Some(name) => vec![session.environment(name)?],
        None => session.config.environments.values().collect(),
    };
    let source: Option<SourceName> = match source.map(str::parse).transpose() {
        Ok(source) => source,
        Err(error) => {
            let hint = "`lifeboat status` lists the sources".to_owned();
            let message = lifeboat_model::InvalidName::to_string(&error);
            return Err(OperationError::Usage { message, hint });
        }
    };
    let mut listed = Vec::new();
    for environment in environments {
        listed.extend(list(&session, environment, source.as_ref(), region).await?);
    }
    if args.json {
        table::json(&listed);
    } else {
        show(&listed);
    }
    Ok(Exit::DONE)
}

async fn list(
    session: &Session,
    environment: &Environment,
    source: Option<&SourceName>,
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
    let snapshots = repository
        .snapshots(Some(&environment.name), source)
        .await?;
    Ok(snapshots.iter().map(listed).collect())
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
        return table::line("there are no snapshots yet: `lifeboat backup ENV` takes one");
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
        "source", "snapshot", "state of", "tier", "kind", "size", "stored", "",
    ];
    table::print(&header, listed.iter().map(row));
}

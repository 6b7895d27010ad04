//! `lifeboat wal receive`.

use lifeboat_config::{Environment, Source};
use lifeboat_operations::{OperationError, ReceiveOptions, Received};

use crate::args::{Args, WalCommand};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args, command: &WalCommand) -> Result<Exit, OperationError> {
    let WalCommand::Receive {
        environment,
        source,
        within,
    } = command
    else {
        unreachable!("dispatched by command");
    };
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let source = cluster_of(environment, source.as_deref())?;
    let options = ReceiveOptions { within: *within };
    let tell = |received: &Received| {
        if !args.json {
            table::line(&text(received));
        }
    };
    session
        .wal_receive(environment, source, &options, &tell)
        .await?;
    Ok(Exit::DONE)
}

fn text(received: &Received) -> String {
    let pending = received.server.bytes_since(received.durable);
    let behind: String = received
        .behind
        .iter()
        .map(|(region, why)| format!("; {region} is BEHIND: {why}"))
        .collect();
    format!(
        "kept up to {} on timeline {}, {} to go{behind}",
        received.durable,
        received.timeline,
        table::bytes(pending)
    )
}

/// Returns the cluster named, or the first of the environment.
pub(super) fn cluster_of<'e>(
    environment: &'e Environment,
    name: Option<&str>,
) -> Result<&'e Source, OperationError> {
    let source = match name {
        Some(name) => Some(environment.source(name)?),
        None => environment
            .sources
            .values()
            .find(|source| source.cluster().is_some()),
    };
    let cluster = source.filter(|source| source.cluster().is_some());
    cluster.ok_or_else(|| OperationError::NotConfigured {
        environment: environment.name.to_string(),
        what: match name {
            Some(name) => format!("PostgreSQL cluster `{name}`"),
            None => "PostgreSQL cluster".to_owned(),
        },
        hint: "only sources of kind `postgres` have a log".to_owned(),
    })
}

//! `lifeboat export`.

use lifeboat_model::SourceKind;
use lifeboat_operations::{ClusterRestore, OperationError, RestoreRequest};

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args) -> Result<Exit, OperationError> {
    let Command::Export {
        environment,
        to,
        at,
        region,
    } = &args.command
    else {
        unreachable!("dispatched by command")
    };
    let target = std::path::absolute(to).map_err(|source| OperationError::Io {
        op: "find",
        path: to.clone(),
        source,
    })?;
    let session = setup::session(args)?;
    let environment = session.environment(environment)?;
    let from = session.read_from(region.as_deref())?;
    let Some(refresh) = &environment.refresh else {
        return Err(OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "`[refresh]`".to_owned(),
            hint: "name an environment that gets masked copies".to_owned(),
        });
    };
    let request = RestoreRequest {
        source: refresh.from.source.as_str(),
        point: at,
        from,
        target: &target,
        into: environment.class,
        paths: &[],
        delta: None,
        cluster: &ClusterRestore::default(),
    };
    let plan = session.plan_restore(environment, &request).await?;
    if plan.source_kind != SourceKind::PostgresDump {
        return Err(OperationError::Usage {
            message: format!(
                "snapshot `{}` is no masked copy of a PostgreSQL database",
                plan.snapshot.short()
            ),
            hint: "`lifeboat restore` brings back what is of another kind".to_owned(),
        });
    }
    let report = session.restore(environment, &plan).await?;
    if args.json {
        table::json(&report);
    } else {
        table::line(&format!(
            "the copy of {:.0} is in {}; load it there with `psql -d DATABASE -f load.sql`",
            report.instant,
            report.target.display()
        ));
    }
    Ok(Exit::DONE)
}

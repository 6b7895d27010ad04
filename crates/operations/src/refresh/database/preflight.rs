//! A look ahead of a refresh: what it would refuse before anything is restored or read.

use lifeboat_config::Environment;
use lifeboat_model::RunId;

use super::original::Original;
use super::{CopiedFrom, DatabasePlan, Job, connect, fit};
use crate::error::OperationError;
use crate::place::Opened;
use crate::refresh::{Preflight, RefreshPlan};
use crate::rules::Rules;
use crate::session::Session;

/// Asks the target's server, and holds the rules against the definitions where a server can be asked
/// for those. What refreshes that died have left behind stays.
pub(in crate::refresh) async fn preflight(
    session: &Session,
    environment: &Environment,
    (plan, way): (&RefreshPlan, &DatabasePlan),
    home: &Opened,
) -> Result<Preflight, OperationError> {
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let job = Job::new(session, environment, (plan, way), home, run)?;
    let mut found = Preflight::default();
    let server = connect(&job).await?;
    found.checked(format!(
        "its server, and that `{}` may be replaced",
        plan.target
    ));
    match way.from {
        CopiedFrom::Masked(_) => found.left_to_run("whether the server can take the masked copy"),
        CopiedFrom::Snapshot { .. } => {
            Rules::preflight(session, &plan.rules)?;
            found.rules_alone();
            found.left_to_run("whether the server can take the database");
        }
        CopiedFrom::Server => {
            Rules::preflight(session, &plan.rules)?;
            let original = Original::of_server(&job).await?;
            fit(&job, &server, &original).await?;
            original.close().await?;
            found.checked("the rules, their key, and the definitions that they are for");
        }
    }
    Ok(found)
}

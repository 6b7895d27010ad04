//! `lifeboat check`.

use lifeboat_model::Verdict;
use lifeboat_operations::{OperationError, RegionCheck, check_regions};

use crate::args::Args;
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args, explain: Option<&str>) -> Result<Exit, OperationError> {
    let root = setup::project_root(args.project.as_deref());
    let loaded = setup::load(&root, args)?;
    if let Some(key) = explain {
        let found = loaded
            .config
            .explain(key)
            .map_err(|unknown| OperationError::Usage {
                message: unknown.to_string(),
                hint: lifeboat_model::Diagnose::hint(&unknown).unwrap_or_default(),
            })?;
        table::line(&format!("{} = {}", found.key, found.value));
        table::line(&format!("from {}", found.origin));
        return Ok(Exit::DONE);
    }
    setup::show_warnings(&loaded);
    let session = setup::session_for(loaded.config, true);
    let checks = check_regions(&session).await;
    if args.json {
        table::json(&checks);
    } else {
        table::line(&format!(
            "configuration of `{}` is sound",
            session.config.project
        ));
        show(&checks);
    }
    let reachable = checks.iter().all(|check| check.verdict == Verdict::Pass);
    Ok(if reachable { Exit::DONE } else { Exit::FAILED })
}

fn show(checks: &[RegionCheck]) {
    let row = |check: &RegionCheck| {
        vec![
            check.environment.to_string(),
            check.region.to_string(),
            if check.home { "home" } else { "replica" }.to_owned(),
            match &check.message {
                None => "may be written".to_owned(),
                Some(message) => message.clone(),
            },
        ]
    };
    table::print(
        &["environment", "region", "as", "now"],
        checks.iter().map(row),
    );
}

//! `lifeboat check`.

use lifeboat_config::Loaded;
use lifeboat_model::Verdict;
use lifeboat_operations::{OperationError, RegionCheck, check_keys, check_regions, check_sources};

use crate::args::Args;
use crate::exit::Exit;
use crate::{setup, table};

pub(super) async fn run(args: &Args, explain: Option<&str>) -> Result<Exit, OperationError> {
    let root = setup::project_root(args.project.as_deref());
    let loaded = setup::load(&root, args)?;
    if let Some(key) = explain {
        return explained(args, &loaded, key);
    }
    setup::show_warnings(&loaded);
    let warnings = crate::fail::problem_list(&loaded.warnings);
    let session = setup::session_for(loaded.config, true);
    let regions = check_regions(&session).await;
    let sources = check_sources(&session);
    let keys = check_keys(&session).await;
    if args.json {
        let all = serde_json::json!({
            "regions": regions,
            "sources": sources,
            "keys": keys,
            "warnings": warnings,
        });
        table::json(&all);
    } else {
        table::line(&format!(
            "configuration of `{}` is sound",
            session.config.project
        ));
        show(&regions);
        for source in sources
            .iter()
            .filter(|source| source.verdict != Verdict::Pass)
        {
            let why = source.message.as_deref().unwrap_or("not there");
            table::line(&format!(
                "MISSING: {}/{}: {why}",
                source.environment, source.source
            ));
        }
        for key in &keys {
            table::line(&format!("{} key: {}", key.role, key.message));
        }
    }
    let regions = regions.iter().map(|check| check.verdict);
    let sources = sources.iter().map(|check| check.verdict);
    let mut verdicts = regions
        .chain(sources)
        .chain(keys.iter().map(|check| check.verdict));
    let failed = verdicts.any(|verdict| verdict == Verdict::Fail);
    Ok(if failed { Exit::FAILED } else { Exit::DONE })
}

fn explained(args: &Args, loaded: &Loaded, key: &str) -> Result<Exit, OperationError> {
    let found = loaded
        .config
        .explain(key)
        .map_err(|unknown| OperationError::Usage {
            message: unknown.to_string(),
            hint: lifeboat_model::Diagnose::hint(&unknown).unwrap_or_default(),
        })?;
    if args.json {
        table::json(&serde_json::json!({
            "key": found.key.to_string(),
            "value": found.value.to_string(),
            "origin": found.origin.to_string(),
        }));
    } else {
        table::line(&format!("{} = {}", found.key, found.value));
        table::line(&format!("from {}", found.origin));
    }
    Ok(Exit::DONE)
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

//! Refreshes: from a source that exists, by rules that exist, into nothing that must stay.

use std::path::Path;

use lifeboat_model::SourceKind;
use lifeboat_policy::may_restore;

use super::Findings;
use crate::config::{Environment, Refresh, Source, SourceSpec};

pub(super) fn check(findings: &mut Findings<'_>) {
    for environment in findings.environments() {
        if let Some(refresh) = &environment.refresh {
            from(environment, refresh, findings);
            rules(environment, refresh, findings);
            target(environment, refresh, findings);
        }
    }
}

fn from(environment: &Environment, refresh: &Refresh, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    let path = ["environments", name, "refresh", "from"];
    let id = &refresh.from;
    // What is written but unsound was reported where it stands.
    let written = [
        "environments",
        id.environment.as_str(),
        "source",
        id.source.as_str(),
    ];
    let (owner, source) = match findings.config.source(id) {
        Ok(found) => found,
        Err(_) if findings.is_written(&written) => return,
        Err(error) => {
            let hint = lifeboat_model::Diagnose::hint(&error).unwrap_or_default();
            findings.error(&path, error.to_string(), &hint);
            return;
        }
    };
    if let Err(refusal) = may_restore(owner.class, environment.class, true) {
        let hint = "a refresh fills staging, development, test and feature environments";
        findings.error(&path, refusal.to_string(), hint);
    }
    if source.spec.kind() != SourceKind::Sqlite {
        let message = format!("`{id}` is no SQLite database, and only those can be refreshed from");
        findings.error(&path, message, "name a source of kind `sqlite`");
    }
}

fn rules(environment: &Environment, refresh: &Refresh, findings: &mut Findings<'_>) {
    if !refresh.rules.is_file() {
        findings.error(
            &[
                "environments",
                environment.name.as_str(),
                "refresh",
                "rules",
            ],
            format!(
                "there are no masking rules at `{}`",
                refresh.rules.display()
            ),
            "write them; `lifeboat mask check` tells which columns they miss",
        );
    }
}

/// A refresh replaces its target, so that must be nothing of production and no repository.
fn target(environment: &Environment, refresh: &Refresh, findings: &mut Findings<'_>) {
    let path = [
        "environments",
        environment.name.as_str(),
        "refresh",
        "target",
    ];
    let hint = "name a database that belongs to this environment";
    for owner in findings
        .environments()
        .filter(|other| other.class.holds_personal_data())
    {
        let hit = |spec: &SourceSpec, source: &Path| match spec {
            SourceSpec::Sqlite { .. } => refresh.target == *source,
            SourceSpec::Files { .. } | SourceSpec::Postgres(_) => {
                refresh.target.starts_with(source)
            }
        };
        let hit = |source: &&Source| {
            let place = source.path.as_deref();
            place.is_some_and(|place| hit(&source.spec, place))
        };
        for source in owner.sources.values().filter(hit) {
            let id = format!("{}/{}", owner.name, source.name);
            let message = format!("the refresh would overwrite the production source `{id}`");
            findings.error(&path, message, hint);
        }
    }
    let regions = findings.config.regions.values();
    for region in regions.filter(|region| region.holds(&refresh.target)) {
        let message = format!("the refresh would write into region `{}`", region.name);
        findings.error(&path, message, hint);
    }
}

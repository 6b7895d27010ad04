//! Refreshes: from a source that exists, by rules that exist, into nothing that must stay.

use std::path::Path;

use lifeboat_model::SourceKind;
use lifeboat_policy::may_restore;

use super::Findings;
use crate::config::{DatabaseTarget, Environment, Refresh, RefreshTarget, Source};

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
    let (wanted, key) = match &refresh.target {
        RefreshTarget::File(_) => (SourceKind::Sqlite, "target"),
        RefreshTarget::Folder(_) => (SourceKind::Files, "folder"),
        RefreshTarget::Database(_) => (SourceKind::Postgres, "database"),
    };
    if source.spec.kind() != wanted {
        let kind = source.spec.kind();
        let message =
            format!("`{id}` is of kind {kind}, and `{key}` asks for one of kind {wanted}");
        let hint = "a SQLite file goes into a `target`, a folder of CSV into a `folder`, a PostgreSQL \
                    database into a `database`";
        findings.error(&path, message, hint);
    }
}

/// A file that is missing stops the refresh that needs it, and nothing else: backups and recoveries of
/// production must not wait for staging's rules.
fn rules(environment: &Environment, refresh: &Refresh, findings: &mut Findings<'_>) {
    if refresh.rules.is_file() {
        return;
    }
    let name = environment.name.as_str();
    let message = format!(
        "there are no masking rules at `{}`",
        refresh.rules.display()
    );
    let input = match &refresh.target {
        RefreshTarget::File(_) => "--input DATABASE".to_owned(),
        _ => format!("--source {}", refresh.from),
    };
    let hint = format!("write them; `lifeboat mask discover {input} --out FILE` proposes some");
    findings.warn(&["environments", name, "refresh", "rules"], message, &hint);
}

/// A refresh replaces its target, so that must be nothing of production and no repository.
fn target(environment: &Environment, refresh: &Refresh, findings: &mut Findings<'_>) {
    match &refresh.target {
        RefreshTarget::File(file) => {
            let hint = "name a database that belongs to this environment";
            path_target(environment, ("target", file), hint, findings);
        }
        RefreshTarget::Folder(folder) => {
            let hint = "name a folder that holds nothing but this environment's copy";
            path_target(environment, ("folder", &folder.path), hint, findings);
        }
        RefreshTarget::Database(database) => database_target(environment, database, findings),
    }
}

/// The servers of production hold no copies.
fn database_target(
    environment: &Environment,
    database: &DatabaseTarget,
    findings: &mut Findings<'_>,
) {
    let name = environment.name.as_str();
    let path = ["environments", name, "refresh", "database"];
    for owner in findings
        .environments()
        .filter(|other| other.class.holds_personal_data())
    {
        let same = |source: &&Source| {
            let cluster = source.cluster();
            cluster.is_some_and(|cluster| cluster.url == database.url)
        };
        for source in owner.sources.values().filter(same) {
            let id = format!("{}/{}", owner.name, source.name);
            let message = format!("the refresh would replace the production source `{id}`");
            let hint = "name a database on this environment's own server";
            findings.error(&path, message, hint);
        }
    }
    for file in database.sql.iter().filter(|file| !file.is_file()) {
        let path = ["environments", name, "refresh", "sql"];
        let message = format!("there is no file `{}`", file.display());
        findings.warn(&path, message, "write it, or take it out of `sql`");
    }
}

/// What is there goes, so nothing else may lie in it either, nor it in something else.
fn path_target(
    environment: &Environment,
    (key, place): (&str, &Path),
    hint: &str,
    findings: &mut Findings<'_>,
) {
    let path = ["environments", environment.name.as_str(), "refresh", key];
    let meet = |other: &Path| place.starts_with(other) || other.starts_with(place);
    let owners = findings.environments();
    for owner in owners.filter(|other| other.class.holds_personal_data()) {
        let hit = |source: &&Source| source.path.as_deref().is_some_and(meet);
        for source in owner.sources.values().filter(hit) {
            let id = format!("{}/{}", owner.name, source.name);
            let message = format!("the refresh would overwrite the production source `{id}`");
            findings.error(&path, message, hint);
        }
    }
    let regions = findings.config.regions.values();
    for region in regions.filter(|region| region.folder().is_some_and(meet)) {
        let message = format!("the refresh would write into region `{}`", region.name);
        findings.error(&path, message, hint);
    }
    let others = findings.environments();
    for other in others.filter(|other| other.name != environment.name) {
        let theirs = other.refresh.as_ref().and_then(Refresh::path);
        if theirs.is_some_and(meet) {
            let message = format!(
                "the refresh of environment `{}` replaces it, too",
                other.name
            );
            findings.error(&path, message, hint);
        }
    }
    if findings.config.root.starts_with(place) {
        findings.error(
            &path,
            "the refresh would replace the project".to_owned(),
            hint,
        );
    }
}

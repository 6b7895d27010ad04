//! Rules by class of environment: what production must have, and what no other may touch.

use lifeboat_model::{EnvironmentClass, SourceKind, Tier};

use super::Findings;
use crate::config::{Environment, Source};

pub(super) fn check(findings: &mut Findings<'_>) {
    for environment in findings.environments() {
        if environment.class.holds_personal_data() {
            production(environment, findings);
        } else {
            other(environment, findings);
        }
    }
}

fn production(environment: &Environment, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    let at = |key| ["environments", name, key];
    if environment.replicas.is_empty() {
        let message = format!("production environment `{name}` has no replica in another region");
        let hint = "write `replicas = [\"REGION\"]`: one region's loss must not be the end";
        findings.error(&at("replicas"), message, hint);
    }
    if environment.residency.is_unrestricted() && !findings.is_written(&at("residency")) {
        let message = format!("production environment `{name}` has no residency");
        let hint = "write where its data may lie, such as `residency = [\"eu\"]`";
        findings.error(&at("residency"), message, hint);
    } else if environment.residency.is_unrestricted() {
        let message =
            format!("the residency of production environment `{name}` allows no location");
        findings.error(&at("residency"), message, "name at least one location");
    }
    for objective in ["rto", "rpo"] {
        let path = ["environments", name, "objectives", objective];
        if !findings.is_written(&path) {
            let message = format!("production environment `{name}` has no `{objective}` objective");
            let hint = "set it in `[objectives]`, such as `rto = \"1h\"` and `rpo = \"5min\"`";
            findings.error(&path, message, hint);
        }
    }
    backups(environment, findings);
}

/// Databases of production need hourly backups, everything a daily one.
fn backups(environment: &Environment, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    let path = ["environments", name, "schedule"];
    let Some(named) = &environment.schedule else {
        if !findings.is_written(&path) {
            let message = format!("production environment `{name}` has no schedule");
            let hint = "write `schedule = \"production\"` above the first table";
            findings.error(&path, message, hint);
        }
        return;
    };
    let has_database = environment
        .sources
        .values()
        .any(|source| source.spec.kind() != SourceKind::Files);
    let needed = [(Tier::Hourly, has_database), (Tier::Daily, true)];
    for (tier, _) in needed.into_iter().filter(|(_, needed)| *needed) {
        if named.schedule.backup_job(tier).is_none() {
            let message = format!(
                "schedule `{}` has no {tier} backup, which production environment `{name}` needs",
                named.name
            );
            let hint = format!(
                "add a `[[job]]` to `schedules/{}.toml` with `tier = \"{tier}\"`",
                named.name
            );
            findings.error(&path, message, &hint);
        }
    }
}

/// Reports whether two sources are one: the same place, or the same server.
fn same_source(one: &Source, other: &Source) -> bool {
    let url = |source: &Source| source.cluster().map(|cluster| cluster.url.clone());
    (one.path.is_some() && one.path == other.path) || (url(one).is_some() && url(one) == url(other))
}

/// Raw production data must not enter another class by being named as its source.
fn other(environment: &Environment, findings: &mut Findings<'_>) {
    let name = environment.name.as_str();
    let production: Vec<_> = findings
        .environments()
        .filter(|other| other.class == EnvironmentClass::Production)
        .flat_map(|other| other.sources.values().map(move |source| (other, source)))
        .collect();
    for source in environment.sources.values() {
        for (owner, raw) in production
            .iter()
            .filter(|(_, raw)| same_source(raw, source))
        {
            findings.error(
                &["environments", name, "source", source.name.as_str(), "path"],
                format!(
                    "source `{}` of {} environment `{name}` is the production source `{}/{}`",
                    source.name, environment.class, owner.name, raw.name
                ),
                "get its data through `[refresh]`, which masks it",
            );
        }
    }
}

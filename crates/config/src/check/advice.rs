//! Advice: what works, but could serve better.

use globset::Glob;

use super::Findings;
use crate::config::{Cluster, Environment, Source, SourceSpec, WalKeeping};

pub(super) fn check(findings: &mut Findings<'_>) {
    for environment in findings.environments() {
        for source in environment.sources.values() {
            match &source.spec {
                SourceSpec::Sqlite {
                    newest_commit,
                    fingerprint,
                    ..
                } => {
                    if environment.objectives.rpo.is_some() && newest_commit.is_none() {
                        unprovable(environment, source, findings);
                    }
                    if environment.class.holds_personal_data() && !fingerprint {
                        unfingerprinted(environment, source, findings);
                    }
                }
                SourceSpec::Files { exclude, .. } => {
                    torn_database(environment, source, exclude, findings);
                }
                SourceSpec::Postgres(cluster) => {
                    cluster_loses(environment, source, cluster, findings);
                }
            }
        }
    }
}

fn unprovable(environment: &Environment, source: &Source, findings: &mut Findings<'_>) {
    findings.advise(
        &[
            "environments",
            environment.name.as_str(),
            "source",
            source.name.as_str(),
        ],
        format!("no drill can prove the `rpo` of source `{}`", source.name),
        "add `newest_commit`, SQL that yields when its newest transaction was committed",
    );
}

fn unfingerprinted(environment: &Environment, source: &Source, findings: &mut Findings<'_>) {
    let path = [
        "environments",
        environment.name.as_str(),
        "source",
        source.name.as_str(),
        "fingerprint",
    ];
    findings.advise(
        &path,
        format!(
            "drills cannot compare source `{}` with what was backed up",
            source.name
        ),
        "leave `fingerprint` on: it costs one read of each table",
    );
}

/// What a cluster's settings cost when it is lost.
fn cluster_loses(
    environment: &Environment,
    source: &Source,
    cluster: &Cluster,
    findings: &mut Findings<'_>,
) {
    let at = |key| {
        let (environment, source) = (environment.name.as_str(), source.name.as_str());
        ["environments", environment, "source", source, key]
    };
    let objectives = environment.objectives;
    if objectives.rpo.is_some() && cluster.wal == WalKeeping::InSnapshot {
        findings.advise(
            &at("wal"),
            format!(
                "`{}` can lose all work since its last snapshot",
                source.name
            ),
            "set `wal = \"archived\"` and run `lifeboat wal receive`",
        );
    }
    if objectives.rpo.is_some() && !cluster.heartbeat {
        findings.advise(
            &at("heartbeat"),
            format!("no drill can prove the `rpo` of source `{}`", source.name),
            "leave `heartbeat` on: it writes one row now and then",
        );
    }
}

/// A database file copied while it changes is torn, and backed up twice besides.
fn torn_database(
    environment: &Environment,
    folder: &Source,
    exclude: &[String],
    findings: &mut Findings<'_>,
) {
    let databases = environment
        .sources
        .values()
        .filter(|source| matches!(source.spec, SourceSpec::Sqlite { .. }));
    for database in databases {
        let places = (database.path.as_deref(), folder.path.as_deref());
        let (Some(path), Some(folder_path)) = places else {
            continue;
        };
        let Ok(inside) = path.strip_prefix(folder_path) else {
            continue;
        };
        let name = &database.name;
        let globs = exclude.iter().filter_map(|pattern| Glob::new(pattern).ok());
        if globs
            .map(|glob| glob.compile_matcher())
            .any(|glob| glob.is_match(inside))
        {
            continue;
        }
        findings.advise(
            &[
                "environments",
                environment.name.as_str(),
                "source",
                folder.name.as_str(),
            ],
            format!(
                "folder `{}` holds the database of source `{}`, which a plain copy tears",
                folder.name, name
            ),
            &format!("add `exclude = [\"{}*\"]` to the folder", inside.display()),
        );
    }
}

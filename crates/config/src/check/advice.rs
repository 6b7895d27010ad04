//! Advice: what works, but could serve better.

use globset::Glob;

use super::Findings;
use crate::config::{Environment, Source, SourceSpec};

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
        let Ok(inside) = database.path.strip_prefix(&folder.path) else {
            continue;
        };
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
                folder.name, database.name
            ),
            &format!("add `exclude = [\"{}*\"]` to the folder", inside.display()),
        );
    }
}

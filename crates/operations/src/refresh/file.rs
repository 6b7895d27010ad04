//! Replacing a SQLite file by a masked copy.
//!
//! Production is not touched: the snapshot is restored from the repository, so every refresh also
//! shows that a backup can be restored.

use std::path::{Path, PathBuf};

use lifeboat_config::Environment;
use lifeboat_masking::Masked;
use lifeboat_model::{SnapshotId, SourceKind};
use lifeboat_repository::{Repository, Role, Snapshot};
use lifeboat_source_sqlite::{may_replace, publish};

use super::phases::Phases;
use super::{Preflight, RefreshPlan, RefreshReport, beside, masked_draft, restore_original};
use crate::backup::end_without_snapshot;
use crate::error::OperationError;
use crate::mask::{MaskTask, MaskedDatabase};
use crate::place::Opened;
use crate::rules::Rules;
use crate::session::Session;
use crate::sqlite::{Observe, read_database};

/// Looks ahead, by the checks that [`refresh`] begins with.
pub(super) fn preflight(
    session: &Session,
    plan: &RefreshPlan,
    target: &Path,
) -> Result<Preflight, OperationError> {
    ready(session, plan, target)?;
    let mut found = Preflight::default();
    found.checked(format!("that `{}` may be replaced", plan.target));
    found.rules_alone();
    found.left_to_run("that nobody has it open or refreshes it at that moment");
    Ok(found)
}

/// Refuses what can be refused before anything is restored.
fn ready(session: &Session, plan: &RefreshPlan, target: &Path) -> Result<(), OperationError> {
    may_replace(target)?;
    Rules::preflight(session, &plan.rules)
}

pub(super) async fn refresh(
    session: &Session,
    environment: &Environment,
    (plan, record, target): (&RefreshPlan, &Snapshot, &Path),
    home: &Opened,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    let mut phases = Phases::start(&*session.world.clock);
    ready(session, plan, target)?;
    // The copy is made beside its target, so that publishing it is one rename.
    let beside = beside(target, report.run)?;
    let copy = beside.path().join("masked.sqlite");
    let scratch = session.scratch(report.run)?;
    let original = scratch.path().join("original.sqlite");
    restore_original(session, plan, record, &original).await?;
    phases.end("restore the snapshot");
    let task = MaskTask::prepare(session, &plan.rules, &original, &record.id.to_string())?;
    let (mask, released) = task.run(session, &copy)?;
    report.mask = Some(mask);
    phases.end("mask and judge");
    if let Ok(masked) = released {
        let repository = session
            .open_repository(environment, home, Role::Writer)
            .await?;
        let stored = store(session, &repository, environment, (record, target), &masked).await?;
        report.masked_snapshot = Some(stored);
        phases.end("store the masked copy");
        let previous = publish_masked(masked, target, plan.keep_previous as usize)?;
        let shown = previous.iter().map(|path| path.display().to_string());
        report.previous = shown.collect();
        report.published = Some(plan.target.clone());
        phases.end("publish");
    }
    report.secs = phases.secs();
    report.phases = phases.finish();
    Ok(())
}

/// Keeps the masked copy in the repository, from where it can be restored any number of times.
async fn store(
    session: &Session,
    repository: &Repository,
    environment: &Environment,
    (record, target): (&Snapshot, &Path),
    masked: &Masked<MaskedDatabase>,
) -> Result<SnapshotId, OperationError> {
    let of = (&record.source, SourceKind::Sqlite);
    let draft = masked_draft(session, environment, of);
    let mut writer = repository.snapshot_writer(draft).await?;
    let MaskedDatabase { path, page_size } = masked.as_ref();
    let observe = Observe {
        fingerprint: true,
        newest_commit: None,
    };
    let progress = &*session.progress;
    let read = read_database(path, *page_size, target, observe, &mut writer, progress);
    if let Err(error) = read.await {
        end_without_snapshot(writer).await;
        return Err(error);
    }
    writer.fact("masked.from", serde_json::json!(record.id).to_string());
    Ok(writer.commit(record.instant).await?.id)
}

/// Puts a masked database in the place of the old one. Takes only what the gates have released.
fn publish_masked(
    masked: Masked<MaskedDatabase>,
    target: &Path,
    keep_previous: usize,
) -> Result<Vec<PathBuf>, OperationError> {
    Ok(publish(&masked.into_inner().path, target, keep_previous)?.previous)
}

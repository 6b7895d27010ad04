//! Replacing a folder of CSV and JSON Lines by a masked copy.
//!
//! As with a SQLite file, the snapshot is restored and production is not touched. What is replaced
//! must be a copy that a refresh has made: a folder may hold anything, and all of it would go.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lifeboat_config::{Environment, FolderTarget};
use lifeboat_masking::{LeakReport, Masked};
use lifeboat_model::{SnapshotId, SourceKind, error_chain};
use lifeboat_repository::{Repository, Role, Snapshot};
use lifeboat_source_files::{earlier, replace_folder};

use super::phases::Phases;
use super::{Preflight, RefreshPlan, RefreshReport, beside, masked_draft, restore_original};
use crate::backup::end_without_snapshot;
use crate::error::OperationError;
use crate::files::read_folder;
use crate::mask_stream::{FolderTask, MaskedFolder, TableFolder};
use crate::place::Opened;
use crate::rules::Rules;
use crate::session::Session;

/// Says in a copy what it was made of and what the gates said; also how a refresh knows a copy.
const MANIFEST: &str = "lifeboat-copy.json";

/// Looks ahead, by the checks that [`refresh`] begins with.
pub(super) fn preflight(
    session: &Session,
    plan: &RefreshPlan,
    target: &FolderTarget,
) -> Result<Preflight, OperationError> {
    ready(session, plan, target)?;
    let mut found = Preflight::default();
    found.checked(format!("that `{}` may be replaced", plan.target));
    found.rules_alone();
    found.left_to_run("that nobody else refreshes it at that moment");
    Ok(found)
}

/// Refuses what can be refused before anything is restored; returns the folder that is replaced.
fn ready(
    session: &Session,
    plan: &RefreshPlan,
    target: &FolderTarget,
) -> Result<PathBuf, OperationError> {
    let path = real_target(&target.path)?;
    refuse_foreign(&path)?;
    Rules::preflight(session, &plan.rules)?;
    Ok(path)
}

pub(super) async fn refresh(
    session: &Session,
    environment: &Environment,
    (plan, record, target): (&RefreshPlan, &Snapshot, &FolderTarget),
    home: &Opened,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    let mut phases = Phases::start(&*session.world.clock);
    let path = &ready(session, plan, target)?;
    // The copy is made beside its target, so that publishing it is one rename.
    let beside = beside(path, report.run)?;
    let copy = beside.path().join("masked");
    let scratch = session.scratch(report.run)?;
    let original = scratch.path().join("original");
    restore_original(session, plan, record, &original).await?;
    phases.end("restore the snapshot");
    let folder = TableFolder::whole(&original, &target.null);
    let task = FolderTask::prepare(session, &plan.rules, folder, &record.id.to_string())?;
    report.left_out.clone_from(&task.left_out);
    let (mask, released) = task.run(session, &copy)?;
    let leaks = mask.leak_report.clone();
    report.mask = Some(mask);
    phases.end("mask and judge");
    if let Ok(masked) = released {
        write_manifest(&copy, plan, record, &leaks)?;
        let repository = session
            .open_repository(environment, home, Role::Writer)
            .await?;
        let stored = store(session, &repository, environment, (record, &leaks), &masked).await?;
        report.masked_snapshot = Some(stored);
        phases.end("store the masked copy");
        let MaskedFolder(copy) = masked.into_inner();
        let keep = plan.keep_previous as usize;
        // Somebody may have put something there meanwhile.
        refuse_foreign(path)?;
        let replaced = replace_folder(&copy, path, keep)?;
        if let Some(error) = replaced.left {
            tracing::warn!("the copy is published, but: {}", error_chain(&error));
        }
        let shown = replaced.previous.iter();
        let shown = shown.map(|path| path.display().to_string());
        report.previous = shown.collect();
        report.published = Some(plan.target.clone());
        phases.end("publish");
    }
    report.secs = phases.secs();
    report.phases = phases.finish();
    Ok(())
}

/// Returns what is replaced where a link leads to it, and refuses what no rename can replace.
fn real_target(target: &Path) -> Result<PathBuf, OperationError> {
    let failed = |error| OperationError::io("open", target, error);
    if target.symlink_metadata().is_err() {
        return Ok(target.to_owned());
    }
    let real = target.canonicalize().map_err(failed)?;
    let above = real.parent().unwrap_or(&real);
    let device = |path: &Path| path.metadata().map(|found| found.dev());
    if device(above).map_err(failed)? == device(&real).map_err(failed)? {
        return Ok(real);
    }
    Err(OperationError::Refused {
        message: format!(
            "`{}` is a mount point, which cannot be replaced",
            real.display()
        ),
        hint: "name a folder in it".to_owned(),
    })
}

/// Refuses to replace a folder in which something lies that no refresh has put there, and to take
/// somebody's folder for an earlier copy.
fn refuse_foreign(target: &Path) -> Result<(), OperationError> {
    earlier(target)
        .iter()
        .try_for_each(|path| refuse_no_copy(path))?;
    refuse_no_copy(target)
}

fn refuse_no_copy(target: &Path) -> Result<(), OperationError> {
    let failed = |error| OperationError::io("read", target, error);
    let mut entries = match std::fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if entries.next().is_none() || target.join(MANIFEST).is_file() {
        return Ok(());
    }
    Err(OperationError::Refused {
        message: format!(
            "`{}` holds something that no refresh has made",
            target.display()
        ),
        hint: "a refresh replaces the whole folder: move what is in it away, or name another"
            .to_owned(),
    })
}

fn write_manifest(
    copy: &Path,
    plan: &RefreshPlan,
    record: &Snapshot,
    leaks: &LeakReport,
) -> Result<(), OperationError> {
    let manifest = serde_json::json!({
        "version": 1,
        "from": plan.from,
        "snapshot": record.id,
        "instant": record.instant,
        "leak_report": leaks,
    });
    let text = serde_json::to_vec_pretty(&manifest).expect("it is plain data");
    std::fs::create_dir_all(copy)
        .and_then(|()| std::fs::write(copy.join(MANIFEST), text))
        .map_err(|error| OperationError::io("write the manifest into", copy, error))
}

/// Keeps the masked copy in the repository, from where it can be restored any number of times.
async fn store(
    session: &Session,
    repository: &Repository,
    environment: &Environment,
    (record, leaks): (&Snapshot, &LeakReport),
    masked: &Masked<MaskedFolder>,
) -> Result<SnapshotId, OperationError> {
    let of = (&record.source, SourceKind::Files);
    let draft = masked_draft(session, environment, of);
    let mut writer = repository.snapshot_writer(draft).await?;
    let MaskedFolder(folder) = masked.as_ref();
    let read = read_folder(folder, &[], &[], &mut writer, &*session.progress);
    if let Err(error) = read.await {
        end_without_snapshot(writer).await;
        return Err(error);
    }
    writer.fact("masked.from", serde_json::json!(record.id).to_string());
    let report = serde_json::to_string(leaks).expect("a report is plain data");
    writer.fact("masked.report", report);
    Ok(writer.commit(record.instant).await?.id)
}

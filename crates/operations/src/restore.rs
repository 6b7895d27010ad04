//! Putting a snapshot back.

use std::path::{Path, PathBuf};

use lifeboat_config::Environment;
use lifeboat_model::{
    EntryPath, EnvironmentClass, RegionName, RunId, SnapshotId, SourceKind, SourceName,
};
use lifeboat_policy::may_restore;
use lifeboat_repository::{Outcome, Repository, Role, RunKind, Snapshot, SnapshotReader};
use lifeboat_runtime::{Clock, Stopwatch};
use lifeboat_source_files::{PathFilter, TreeReport, TreeWriter};
use lifeboat_storage::ListedBy;
use serde::Serialize;

use crate::cluster::{self, ClusterRestore, IntoCluster, LogAccess, Recovery};
use crate::delta::{self, Delta, DeltaReport};
use crate::error::OperationError;
use crate::lease::HeldLease;
use crate::ledger::Facts;
use crate::place::{DamagedCopy, ReadFrom};
use crate::restore_database;
use crate::restore_target;
use crate::select::RestorePoint;
use crate::selection::{Amount, Selection};
use crate::session::Session;
use crate::staging::{Staging, is_empty_folder};
use crate::tree::{Tree, Written, write_selection};

/// What a restore will do.
#[derive(Debug, Clone, Serialize)]
pub struct RestorePlan {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The environment it is of.
    pub environment: String,
    /// The source it is of.
    pub source: SourceName,
    /// What kind of source that is.
    pub source_kind: SourceKind,
    /// The moment whose state comes back.
    pub instant: jiff::Timestamp,
    /// The region it is read from.
    pub region: RegionName,
    /// Where it goes.
    pub target: PathBuf,
    /// Bytes that will be written; with `delta`, at most.
    pub bytes: u64,
    /// Whether what is there is brought to the snapshot's state, and how it is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    /// How a cluster recovers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    #[serde(skip)]
    listed_by: ListedBy,
    #[serde(skip)]
    log: LogAccess,
    #[serde(skip)]
    record: Snapshot,
    #[serde(skip)]
    filter: PathFilter,
}

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreRequest<'a> {
    /// The source.
    pub source: &'a str,
    /// Which state.
    pub point: &'a RestorePoint,
    /// Which region is read.
    pub from: ReadFrom<'a>,
    /// Where it goes: a file for a database, an empty or missing folder for a folder.
    pub target: &'a Path,
    /// The class of the environment that the target belongs to.
    pub into: EnvironmentClass,
    /// Globs that pick entries of a folder; none picks everything.
    pub paths: &'a [String],
    /// Bring what is at the target to the snapshot's state, instead of asking for an empty one.
    pub delta: Option<Delta>,
    /// What only a cluster can be asked for.
    pub cluster: &'a ClusterRestore,
}

impl RestorePlan {
    /// Returns the commit record of the snapshot.
    pub fn record(&self) -> &Snapshot {
        &self.record
    }
}

/// What a restore did.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The moment whose state came back.
    pub instant: jiff::Timestamp,
    /// The region it was read from.
    pub region: RegionName,
    /// Where it went.
    pub target: PathBuf,
    /// Number of entries written.
    pub entries: u64,
    /// Bytes written; each was checked against its hash before.
    pub bytes: u64,
    /// What could not be put back: owners, devices, sockets.
    pub not_restored: Vec<String>,
    /// Objects that are damaged in one region and came from another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged_copies: Vec<DamagedCopy>,
    /// Time until the first byte could be written, seconds.
    pub first_byte_secs: f64,
    /// How long it took, seconds.
    pub secs: f64,
    /// What was done to what was there, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaReport>,
    /// How a cluster recovers once it is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

impl Session {
    /// Plans a restore. Raw production data goes nowhere but production.
    ///
    /// # Errors
    /// Fails if there is no such snapshot, policy refuses, or parts of a database are asked for.
    pub async fn plan_restore(
        &self,
        environment: &Environment,
        request: &RestoreRequest<'_>,
    ) -> Result<RestorePlan, OperationError> {
        let home = &environment.home;
        match request.from {
            ReadFrom::Region(name) => {
                let of = (name, ListedBy::Preferred);
                self.plan_from(environment, request, of).await
            }
            ReadFrom::Anywhere => {
                let planned = self.plan_from(environment, request, (home, ListedBy::Any));
                match planned.await {
                    Ok(plan) => Ok(plan),
                    Err(error) => Err(self.or_from_one(environment, request, error).await),
                }
            }
        }
    }

    /// Says of a restore that all regions together do not allow which of them does alone: what lies in
    /// one's way may be junk in another. Which is right, a program cannot know.
    async fn or_from_one(
        &self,
        environment: &Environment,
        request: &RestoreRequest<'_>,
        error: OperationError,
    ) -> OperationError {
        if !matches!(error, OperationError::NotRecoverable(_)) {
            return error;
        }
        for region in environment.regions() {
            // One that must not hold the data was not read with the others, and is not proposed.
            if self.open_region_for(environment, region).await.is_err() {
                continue;
            }
            let alone = (region, ListedBy::Preferred);
            let planned = self.plan_from(environment, request, alone).await;
            if planned.is_ok_and(|plan| plan.region == *region) {
                return OperationError::OneRegionAllows {
                    region: region.clone(),
                    source: Box::new(error),
                };
            }
        }
        error
    }

    async fn plan_from(
        &self,
        environment: &Environment,
        request: &RestoreRequest<'_>,
        (region, listed_by): (&RegionName, ListedBy),
    ) -> Result<RestorePlan, OperationError> {
        let RestoreRequest {
            source,
            point,
            from: _,
            target,
            into,
            paths,
            delta,
            cluster,
        } = *request;
        let opened = self
            .open_for_reading(environment, region, listed_by)
            .await?;
        let repository = self
            .open_repository(environment, &opened, Role::Reader)
            .await?;
        let source = match environment.sources.get(&parse_source(source)?) {
            Some(source) => source.name.clone(),
            // A masked copy is stored under its origin's name, which has no source here.
            None if environment
                .refresh
                .as_ref()
                .is_some_and(|r| r.from.source.as_str() == source) =>
            {
                parse_source(source)?
            }
            None => {
                return Err(environment
                    .source(source)
                    .expect_err("it is not there")
                    .into());
            }
        };
        let of = (&environment.name, &source);
        let now = self.world.clock.now();
        let (record, mut recovery) = point.choose(&repository, of, cluster, now).await?;
        // Back in its own place, it is the original.
        let own = environment
            .sources
            .get(&source)
            .and_then(|own| own.path.as_deref());
        if let (Some(recovery), true) = (&mut recovery, own == Some(target)) {
            recovery.archives = true;
        }
        self.refuse_region(target)?;
        if delta.is_some() {
            restore_target::refuse_precious(self, target)?;
        }
        let into = self.class_of_place(target).unwrap_or(into);
        may_restore(record.class, into, record.masked)?;
        if record.source_kind != SourceKind::Files && !paths.is_empty() {
            return Err(OperationError::Usage {
                message: format!("`{source}` is no folder: it comes back whole"),
                hint: "leave `--path` out".to_owned(),
            });
        }
        Ok(RestorePlan {
            snapshot: record.id,
            environment: environment.name.to_string(),
            source,
            source_kind: record.source_kind,
            instant: record.instant,
            region: opened.region_of(&record),
            listed_by,
            target: target.to_owned(),
            bytes: record.totals.bytes,
            delta,
            recovery,
            log: cluster.log.clone(),
            filter: PathFilter::new(paths)?,
            record,
        })
    }

    /// Refuses a target inside a region's folder, which holds a repository and nothing else.
    fn refuse_region(&self, target: &Path) -> Result<(), OperationError> {
        match self
            .config
            .regions
            .values()
            .find(|region| region.holds(target))
        {
            Some(region) => Err(OperationError::Usage {
                message: format!(
                    "`{}` lies inside region `{}`",
                    target.display(),
                    region.name
                ),
                hint: "restore to a place outside all regions".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Returns the class of the environment that a place belongs to: one whose source or refresh
    /// target it is, or lies beside.
    fn class_of_place(&self, target: &Path) -> Option<EnvironmentClass> {
        let folder = target.parent()?;
        let beside = |path: &Path| target.starts_with(path) || path.parent() == Some(folder);
        let owns = |environment: &&Environment| {
            environment
                .refresh
                .iter()
                .any(|refresh| refresh.path().is_some_and(beside))
                || environment
                    .sources
                    .values()
                    .any(|source| source.path.as_deref().is_some_and(beside))
        };
        // A place that several environments share is as restricted as the strictest of them.
        let owners = self.config.environments.values().filter(owns);
        owners.map(|environment| environment.class).max()
    }

    /// Carries out a restore.
    ///
    /// # Errors
    /// Fails if the target is in use, or anything is missing or damaged; then nothing is left at the
    /// target under its final name. With `delta`, a folder then holds each entry as it was or as it
    /// should be, and a mark that says so.
    pub async fn restore(
        &self,
        environment: &Environment,
        plan: &RestorePlan,
    ) -> Result<RestoreReport, OperationError> {
        let opened = self
            .open_for_reading(environment, &plan.region, plan.listed_by)
            .await?;
        let repository = self
            .open_repository(environment, &opened, Role::Reader)
            .await?;
        let run = self
            .begin_run(&opened, RunKind::Restore, environment, Some(&plan.source))
            .await?;
        let mut result = restore_snapshot(&repository, &plan.record, &plan.onto(), self).await;
        if let Ok(report) = &mut result {
            report.damaged_copies = opened.damaged_copies();
        }
        run.end(self, result, |report| {
            let facts = Facts::from([
                ("snapshot".to_owned(), report.snapshot.to_string().into()),
                ("bytes".to_owned(), report.bytes.into()),
                ("secs".to_owned(), report.secs.into()),
            ]);
            (
                if report.not_restored.is_empty() {
                    Outcome::Done
                } else {
                    Outcome::Incomplete
                },
                facts,
            )
        })
        .await
    }

    /// Tells what a restore with `delta` would do to what is there. Changes nothing.
    ///
    /// # Errors
    /// Fails if the target cannot be read, or the snapshot's metadata are missing or damaged.
    pub async fn preview_delta(
        &self,
        environment: &Environment,
        plan: &RestorePlan,
    ) -> Result<DeltaReport, OperationError> {
        let opened = self
            .open_for_reading(environment, &plan.region, plan.listed_by)
            .await?;
        let repository = self
            .open_repository(environment, &opened, Role::Reader)
            .await?;
        preview_snapshot(&repository, &plan.record, &plan.onto(), self).await
    }
}

impl RestorePlan {
    fn onto(&self) -> Onto<'_> {
        Onto {
            region: &self.region,
            target: &self.target,
            filter: &self.filter,
            delta: self.delta,
            cluster: self.recovery.as_ref().zip(Some(&self.log)),
        }
    }
}

fn parse_source(name: &str) -> Result<SourceName, OperationError> {
    name.parse()
        .map_err(|error: lifeboat_model::InvalidName| OperationError::Usage {
            message: error.to_string(),
            hint: "`lifeboat check` lists the sources".to_owned(),
        })
}

/// Where a snapshot goes, and how much of it.
pub(crate) struct Onto<'a> {
    pub(crate) region: &'a RegionName,
    pub(crate) target: &'a Path,
    pub(crate) filter: &'a PathFilter,
    pub(crate) delta: Option<Delta>,
    /// How a cluster recovers, and gets at its log.
    pub(crate) cluster: Option<(&'a Recovery, &'a LogAccess)>,
}

/// Somebody asked for a cluster's files without saying how it is to recover.
fn not_a_cluster(snapshot: &Snapshot) -> OperationError {
    OperationError::Usage {
        message: format!(
            "snapshot `{}` is of a PostgreSQL cluster",
            snapshot.id.short()
        ),
        hint: "`lifeboat restore` brings it back".to_owned(),
    }
}

impl Onto<'_> {
    /// Returns how to compare, if there is anything to compare with.
    fn delta(&self) -> Option<Delta> {
        self.delta
            .filter(|_| self.target.symlink_metadata().is_ok())
    }
}

/// Restores one snapshot from an open repository. Drills and refreshes call this too, so that what
/// they prove is what a restore does.
pub(crate) async fn restore_snapshot(
    repository: &Repository,
    snapshot: &Snapshot,
    onto: &Onto<'_>,
    session: &Session,
) -> Result<RestoreReport, OperationError> {
    let lease = HeldLease::for_reading(session, repository.store(), RunKind::Restore).await;
    let result = restore_under_lease(repository, snapshot, onto, session).await;
    if let Some(lease) = lease {
        lease.end().await;
    }
    result
}

async fn restore_under_lease(
    repository: &Repository,
    snapshot: &Snapshot,
    onto: &Onto<'_>,
    session: &Session,
) -> Result<RestoreReport, OperationError> {
    let clock: &dyn Clock = &*session.world.clock;
    let watch = Stopwatch::start(clock);
    // The target is looked at before the index is read, so that a mistake is told at once.
    if onto.delta().is_none() {
        match snapshot.source_kind {
            SourceKind::Files | SourceKind::PostgresDump => drop(is_empty_folder(onto.target)?),
            // Its tablespaces count too; they are looked at with it.
            SourceKind::Postgres => {}
            SourceKind::Sqlite => restore_database::refuse_existing(onto.target)?,
        }
    }
    // It may have been pruned between being chosen and the lease; from here on it is safe.
    repository.still_holds(snapshot).await?;
    let reader = repository.snapshot_reader(snapshot).await?;
    reader.can_read_content()?;
    let (selection, amount) = select(&reader, snapshot, onto.filter).await?;
    let first_byte_secs = watch.elapsed().as_secs_f64();
    let phase = format!("restoring {}", snapshot.source);
    session.progress.phase(&phase, amount.bytes);
    let (written, delta) = match snapshot.source_kind {
        SourceKind::Files | SourceKind::PostgresDump => {
            let how = (onto.delta(), onto.filter);
            restore_tree(&reader, selection, onto.target, how, session, |_| Ok(())).await?
        }
        SourceKind::Postgres => {
            let (recovery, log) = onto.cluster.ok_or_else(|| not_a_cluster(snapshot))?;
            let into = IntoCluster {
                target: onto.target,
                delta: onto.delta(),
                recovery,
                log,
            };
            cluster::restore(repository, &reader, snapshot, &into, session).await?
        }
        SourceKind::Sqlite => {
            let (target, delta) = (onto.target, onto.delta());
            restore_database::restore(&reader, selection, target, delta, session).await?
        }
    };
    let (tree, bytes) = (written.report, written.bytes);
    let made = tree.files + tree.directories + tree.symlinks + tree.hardlinks + tree.specials;
    Ok(RestoreReport {
        snapshot: snapshot.id,
        instant: snapshot.instant,
        region: onto.region.clone(),
        target: onto.target.to_owned(),
        entries: delta.as_ref().map_or(made, |delta| delta.written.count),
        bytes,
        damaged_copies: Vec::new(),
        not_restored: not_restored(snapshot, &tree, onto.filter),
        first_byte_secs,
        secs: watch.elapsed().as_secs_f64(),
        delta,
        recovery: onto.cluster.map(|(recovery, _)| recovery.clone()),
    })
}

/// Tells what [`restore_snapshot`] would do to what is there.
pub(crate) async fn preview_snapshot(
    repository: &Repository,
    snapshot: &Snapshot,
    onto: &Onto<'_>,
    session: &Session,
) -> Result<DeltaReport, OperationError> {
    let reader = repository.snapshot_reader(snapshot).await?;
    let (selection, amount) = select(&reader, snapshot, onto.filter).await?;
    let Some(delta) = onto.delta() else {
        return Ok(DeltaReport::all_new(amount.entries));
    };
    let phase = format!("comparing {}", snapshot.source);
    session.progress.phase(&phase, amount.bytes);
    match snapshot.source_kind {
        SourceKind::Files | SourceKind::PostgresDump => {
            let how = (delta, onto.filter);
            delta::preview(&reader, selection, onto.target, how, &*session.progress).await
        }
        SourceKind::Postgres => {
            let data = EntryPath::new("data").expect("it is a path");
            let selection = Selection::within(&reader, data, onto.filter);
            let how = (delta, onto.filter);
            delta::preview(&reader, selection, onto.target, how, &*session.progress).await
        }
        // A database is always made anew, of what is there and what is not.
        SourceKind::Sqlite => Ok(DeltaReport::all_new(1)),
    }
}

/// Picks what was asked for; nothing at all is a mistake.
async fn select<'a>(
    reader: &SnapshotReader,
    snapshot: &Snapshot,
    filter: &'a PathFilter,
) -> Result<(Selection<'a>, Amount), OperationError> {
    let (selection, amount) = Selection::open(reader, snapshot, filter).await?;
    if amount.entries == 0 {
        return Err(OperationError::Usage {
            message: format!("nothing in snapshot `{}` matches", snapshot.id.short()),
            hint: "paths begin inside the source: `app.toml`, not `config/app.toml`".to_owned(),
        });
    }
    Ok((selection, amount))
}

/// Restores a tree into a folder that is missing or empty, or over what is there. `finish` gets the
/// folder when all is written, before it has its name.
pub(crate) async fn restore_tree(
    reader: &SnapshotReader,
    selection: Selection<'_>,
    target: &Path,
    (delta, filter): (Option<Delta>, &PathFilter),
    session: &Session,
    finish: impl FnOnce(&Path) -> Result<(), OperationError>,
) -> Result<(Written, Option<DeltaReport>), OperationError> {
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let progress = &*session.progress;
    if let Some(delta) = delta {
        let how = (delta, filter);
        let run = run.to_string();
        let updated = delta::update_folder(reader, selection, target, &run, how, progress).await?;
        finish(target)?;
        return Ok((updated.0, Some(updated.1)));
    }
    let staging = Staging::prepare(target, run)?;
    let tree = Tree::new(TreeWriter::create_hidden(&staging.tree())?);
    let bytes = write_selection(reader, &tree, progress, selection).await?;
    finish(&staging.tree())?;
    let report = staging.publish(tree.into_writer())?;
    Ok((Written { report, bytes }, None))
}

/// Lists what a tree lacks: what the backup could not read, and what could not be put back.
fn not_restored(snapshot: &Snapshot, tree: &TreeReport, filter: &PathFilter) -> Vec<String> {
    let wanted = |path: &EntryPath| filter.is_match(path, false);
    let unread = snapshot.skipped.iter().filter(|(path, _)| wanted(path));
    let unread = unread.map(|(path, why)| format!("{path}: not in this backup: {why}"));
    let left_out = tree.skipped.iter();
    let left_out = left_out.map(|path| format!("{path}: sockets and devices are left out"));
    let problems = tree.problems.iter();
    let problems = problems.map(|problem| format!("{problem}: {}", problem.source));
    let lost = [
        (
            tree.owners_not_restored,
            "owners: only root can give files away",
        ),
        (
            tree.set_ids_not_restored,
            "set-id bits, which went with their owner",
        ),
        (
            tree.xattrs_not_restored,
            "extended attributes that the file system did not take",
        ),
    ];
    let lost = lost.into_iter().filter(|(count, _)| *count > 0);
    let lost = lost.map(|(count, what)| format!("{count} {what}"));
    unread.chain(left_out).chain(problems).chain(lost).collect()
}

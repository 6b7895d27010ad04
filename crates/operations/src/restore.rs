//! Putting a snapshot back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lifeboat_config::Environment;
use lifeboat_model::{
    EntryKind, EntryPath, EnvironmentClass, RegionName, RunId, SnapshotId, SourceKind, SourceName,
};
use lifeboat_policy::may_restore;
use lifeboat_repository::{Manifest, Outcome, Repository, Role, RunKind, Snapshot};
use lifeboat_runtime::{Clock, Stopwatch};
use lifeboat_source_files::{PathFilter, TreeReport};
use serde::Serialize;

use crate::error::OperationError;
use crate::files::write_tree;
use crate::ledger::Facts;
use crate::scratch::Scratch;
use crate::select::RestorePoint;
use crate::session::Session;

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
    /// Bytes that will be written.
    pub bytes: u64,
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
    /// The region to read.
    pub region: &'a RegionName,
    /// Where it goes: a file for a database, an empty or missing folder for a folder.
    pub target: &'a Path,
    /// The class of the environment that the target belongs to.
    pub into: EnvironmentClass,
    /// Globs that pick entries of a folder; none picks everything.
    pub paths: &'a [String],
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
    /// Time until the first byte could be written, seconds.
    pub first_byte_secs: f64,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Plans a restore from one region. Raw production data goes nowhere but production.
    ///
    /// # Errors
    /// Fails if there is no such snapshot, policy refuses, or parts of a database are asked for.
    pub async fn plan_restore(
        &self,
        environment: &Environment,
        request: &RestoreRequest<'_>,
    ) -> Result<RestorePlan, OperationError> {
        let RestoreRequest {
            source,
            point,
            region,
            target,
            into,
            paths,
        } = *request;
        let opened = self.open_region(region).await?;
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
        let record = point
            .find(
                &repository,
                &environment.name,
                &source,
                self.world.clock.now(),
            )
            .await?;
        self.refuse_region(target)?;
        let into = self.class_of_place(target).unwrap_or(into);
        may_restore(record.class, into, record.masked)?;
        if record.source_kind != SourceKind::Files && !paths.is_empty() {
            return Err(OperationError::Usage {
                message: format!("`{source}` is a database: it comes back whole"),
                hint: "leave `--path` out".to_owned(),
            });
        }
        Ok(RestorePlan {
            snapshot: record.id,
            environment: environment.name.to_string(),
            source,
            source_kind: record.source_kind,
            instant: record.instant,
            region: region.clone(),
            target: target.to_owned(),
            bytes: record.totals.bytes,
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
            .find(|region| target.starts_with(&region.path))
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
                .any(|refresh| beside(&refresh.target))
                || environment
                    .sources
                    .values()
                    .any(|source| beside(&source.path))
        };
        // A place that several environments share is as restricted as the strictest of them.
        let owners = self.config.environments.values().filter(owns);
        owners.map(|environment| environment.class).max()
    }

    /// Carries out a restore.
    ///
    /// # Errors
    /// Fails if the target is in use, or anything is missing or damaged; then nothing is left at the
    /// target under its final name for a database, and a partial tree for a folder.
    pub async fn restore(
        &self,
        environment: &Environment,
        plan: &RestorePlan,
    ) -> Result<RestoreReport, OperationError> {
        let opened = self.open_region(&plan.region).await?;
        let repository = self
            .open_repository(environment, &opened, Role::Reader)
            .await?;
        let run = self
            .begin_run(&opened, RunKind::Restore, environment, Some(&plan.source))
            .await?;
        let wanted = |path: &EntryPath| plan.filter.is_match(path);
        let result = restore_snapshot(
            &repository,
            &plan.record,
            &plan.region,
            &plan.target,
            wanted,
            self,
        )
        .await;
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
}

fn parse_source(name: &str) -> Result<SourceName, OperationError> {
    name.parse()
        .map_err(|error: lifeboat_model::InvalidName| OperationError::Usage {
            message: error.to_string(),
            hint: "`lifeboat check` lists the sources".to_owned(),
        })
}

/// Restores one snapshot from an open repository. Drills and refreshes call this too, so that what
/// they prove is what a restore does.
pub(crate) async fn restore_snapshot(
    repository: &Repository,
    snapshot: &Snapshot,
    region: &RegionName,
    target: &Path,
    wanted: impl Fn(&EntryPath) -> bool,
    session: &Session,
) -> Result<RestoreReport, OperationError> {
    let clock: &dyn Clock = &*session.world.clock;
    let watch = Stopwatch::start(clock);
    // The target is looked at before the index is read, so that a mistake is told at once.
    if snapshot.source_kind == SourceKind::Sqlite && target.symlink_metadata().is_ok() {
        return Err(lifeboat_source_sqlite::SqliteError::Exists {
            path: target.to_owned(),
        }
        .into());
    }
    let manifest = repository.manifest(snapshot).await?;
    if !manifest
        .entries
        .iter()
        .any(|stored| wanted(&stored.entry.path))
    {
        return Err(OperationError::Usage {
            message: format!("nothing in snapshot `{}` matches", snapshot.id.short()),
            hint: "paths begin inside the source: `app.toml`, not `config/app.toml`".to_owned(),
        });
    }
    let first_byte_secs = watch.elapsed().as_secs_f64();
    session.progress.phase(
        &format!("restoring {}", snapshot.source),
        manifest.total_bytes(),
    );
    let (tree, bytes) = match snapshot.source_kind {
        SourceKind::Files => write_tree(&manifest, target, &wanted, &*session.progress).await?,
        SourceKind::Sqlite => restore_database(&manifest, target, session).await?,
    };
    Ok(RestoreReport {
        snapshot: snapshot.id,
        instant: snapshot.instant,
        region: region.clone(),
        target: target.to_owned(),
        entries: tree.files + tree.directories + tree.symlinks + tree.hardlinks + tree.specials,
        bytes,
        not_restored: not_restored(snapshot, &tree, wanted),
        first_byte_secs,
        secs: watch.elapsed().as_secs_f64(),
    })
}

/// Lists what a tree lacks: what the backup could not read, and what could not be put back.
fn not_restored(
    snapshot: &Snapshot,
    tree: &TreeReport,
    wanted: impl Fn(&EntryPath) -> bool,
) -> Vec<String> {
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

/// Writes the database beside its target first, so that the target's name only ever means a whole
/// one.
async fn restore_database(
    manifest: &Manifest,
    target: &Path,
    session: &Session,
) -> Result<(TreeReport, u64), OperationError> {
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let scratch = Scratch::beside(target, ".restoring", &run.to_string())?;
    let tree = scratch.path().join("tree");
    let written = write_tree(manifest, &tree, |_| true, &*session.progress).await?;
    let database = manifest
        .entries
        .iter()
        .find_map(|stored| match stored.entry.kind {
            EntryKind::File { .. } => Some(OsStr::from_bytes(stored.entry.path.as_bytes())),
            _ => None,
        });
    let database = database.expect("a database snapshot holds one file");
    lifeboat_source_sqlite::install(&tree.join(database), target)?;
    Ok(written)
}

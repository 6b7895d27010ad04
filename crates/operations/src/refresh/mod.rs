//! Refreshing an environment: production's data, masked, judged, stored and published.
//!
//! What does not pass every leak gate goes nowhere, and whatever fails leaves the environment with
//! what it had. A SQLite file is replaced by [`file`], a folder of CSV and JSON Lines by
//! [`folder`], a PostgreSQL database by [`database`].

mod database;
mod file;
mod folder;
mod phases;
mod preflight;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_config::{Environment, FolderTarget, Refresh, RefreshTarget, Source};
use lifeboat_model::{
    BackupKind, Diagnose as _, ErrorKind, RegionName, RunId, SnapshotId, SourceKind, SourceName,
    Tier, Verdict,
};
use lifeboat_policy::may_restore;
use lifeboat_repository::{Outcome, RunKind, Snapshot, SnapshotDraft};
use lifeboat_source_files::PathFilter;
use lifeboat_storage::ListedBy;
use serde::Serialize;

use crate::error::OperationError;
use crate::ledger::Facts;
use crate::mask::{MaskReport, gate_verdicts};
use crate::place::Opened;
use crate::restore::{Onto, restore_snapshot};
use crate::scratch::Scratch;
use crate::select::RestorePoint;
use crate::session::Session;

pub(crate) use database::describe_database;
pub use phases::RefreshPhase;
pub use preflight::Preflight;

/// Which copy of the data a refresh publishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CopyOf {
    /// A new one, of the newest state.
    #[default]
    Newest,
    /// One that was masked before and is kept in the repository.
    Masked(RestorePoint),
}

/// What a refresh will do.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshPlan {
    /// The environment that gets the copy.
    pub environment: String,
    /// Where the data comes from.
    pub from: String,
    /// The snapshot that is masked, or the masked one; `None` if the server itself is read.
    pub snapshot: Option<SnapshotId>,
    /// The moment whose state it holds; of a server, the moment when it is read.
    pub instant: Option<Timestamp>,
    /// The region it is read from.
    pub region: RegionName,
    /// The masking rules.
    pub rules: PathBuf,
    /// What is replaced.
    pub target: String,
    /// How many earlier copies stay.
    pub keep_previous: u32,
    /// What will be done, in order, each as a verb with its object.
    pub steps: Vec<String>,
    #[serde(skip)]
    way: Way,
}

/// How a refresh goes about it.
#[derive(Debug, Clone)]
enum Way {
    File {
        record: Snapshot,
        target: PathBuf,
    },
    Folder {
        record: Snapshot,
        target: FolderTarget,
    },
    Database(database::DatabasePlan),
}

impl Way {
    /// Reports whether a copy is masked anew, which the repository then keeps.
    fn makes_copy(&self) -> bool {
        match self {
            Self::File { .. } | Self::Folder { .. } => true,
            Self::Database(plan) => plan.makes_copy(),
        }
    }
}

/// What a refresh did.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshReport {
    /// The run in the ledger.
    pub run: RunId,
    /// The environment that got the copy.
    pub environment: String,
    /// Where the data came from.
    pub from: String,
    /// The snapshot that was masked; `None` if the server itself was read.
    pub snapshot: Option<SnapshotId>,
    /// The moment whose state the copy holds.
    pub instant: Timestamp,
    /// The masked snapshot in the repository; `None` if a gate did not pass.
    pub masked_snapshot: Option<SnapshotId>,
    /// What was published; `None` if a gate did not pass.
    pub published: Option<String>,
    /// Earlier copies that stay, newest first.
    pub previous: Vec<String>,
    /// What was not copied, and why.
    pub left_out: Vec<String>,
    /// Rows, gates and times; `None` if the copy had been masked before.
    #[serde(flatten)]
    pub mask: Option<MaskReport>,
    /// What took how long, in order.
    pub phases: Vec<RefreshPhase>,
    /// How long it took, seconds.
    pub secs: f64,
}

impl RefreshReport {
    /// Returns how many rows were masked.
    pub fn rows(&self) -> u64 {
        self.mask.as_ref().map_or(0, |mask| mask.rows)
    }

    /// Returns the gates that did not pass.
    pub fn open_gates(&self) -> Vec<&'static str> {
        let gates = self.mask.iter().flat_map(|mask| mask.leak_report.gates());
        let open = gates.filter(|gate| !matches!(gate.verdict, None | Some(Verdict::Pass)));
        open.map(|gate| gate.name).collect()
    }

    /// Reports whether the environment got the copy.
    pub fn is_published(&self) -> bool {
        self.published.is_some()
    }
}

impl Session {
    /// Plans a refresh.
    ///
    /// # Errors
    /// Fails if the environment has no `[refresh]`, its origin no snapshot, or policy refuses.
    pub async fn plan_refresh(
        &self,
        environment: &Environment,
        copy: CopyOf,
    ) -> Result<RefreshPlan, OperationError> {
        let refresh = refresh_of(environment)?;
        let (origin, source) = self.config.source(&refresh.from)?;
        // The copy will be masked; anything else stops here.
        may_restore(origin.class, environment.class, true)?;
        match &refresh.target {
            RefreshTarget::Database(target) => {
                let about = (refresh, target);
                database::plan(self, environment, (origin, source), about, copy).await
            }
            _ if copy != CopyOf::Newest => Err(restore_instead(environment, source)),
            RefreshTarget::File(target) => {
                let kind = SourceKind::Sqlite;
                let found = self.newest_of(origin, source, kind, environment).await?;
                let (record, target) = (found.0.clone(), target.clone());
                let about = (&found, &*target.clone(), "it");
                let way = Way::File { record, target };
                Ok(plan_of_files(environment, refresh, about, way))
            }
            RefreshTarget::Folder(target) => {
                let kind = SourceKind::Files;
                let found = self.newest_of(origin, source, kind, environment).await?;
                let (record, target) = (found.0.clone(), target.clone());
                let about = (&found, &*target.path.clone(), "its CSV and JSON Lines");
                let way = Way::Folder { record, target };
                Ok(plan_of_files(environment, refresh, about, way))
            }
        }
    }

    /// Carries out a refresh. If a gate does not pass, nothing is published and the report says why.
    ///
    /// # Errors
    /// Fails if any step cannot be done; the environment keeps what it had.
    pub async fn refresh(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
    ) -> Result<RefreshReport, OperationError> {
        let home = self.open_region_for(environment, &environment.home).await?;
        let run = self
            .begin_run(&home, RunKind::Refresh, environment, None)
            .await?;
        let result = self.carry_out(environment, plan, &home, run.id()).await;
        run.end(self, result, |report| {
            let outcome = match report.is_published() {
                true => Outcome::Done,
                false => Outcome::Failed,
            };
            (outcome, facts(report))
        })
        .await
    }

    async fn carry_out(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
        home: &Opened,
        run: RunId,
    ) -> Result<RefreshReport, OperationError> {
        let mut report = RefreshReport {
            run,
            environment: environment.name.to_string(),
            from: plan.from.clone(),
            snapshot: plan.snapshot,
            instant: plan.instant.unwrap_or_else(|| self.world.clock.now()),
            masked_snapshot: None,
            published: None,
            previous: Vec::new(),
            left_out: Vec::new(),
            mask: None,
            phases: Vec::new(),
            secs: 0.0,
        };
        self.can_keep(environment, plan, home).await?;
        match &plan.way {
            Way::File { record, target } => {
                let about = (plan, record, target.as_path());
                file::refresh(self, environment, about, home, &mut report).await?;
            }
            Way::Folder { record, target } => {
                let about = (plan, record, target);
                folder::refresh(self, environment, about, home, &mut report).await?;
            }
            Way::Database(way) => {
                database::refresh(self, environment, (plan, way), home, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// Finds the newest snapshot of a source as its home lists it, or as all regions do if that has none.
    async fn newest_of(
        &self,
        origin: &Environment,
        source: &Source,
        kind: SourceKind,
        environment: &Environment,
    ) -> Result<(Snapshot, RegionName), OperationError> {
        home_first(async |listed_by| {
            self.newest_listed(origin, source, kind, environment, listed_by)
                .await
        })
        .await
    }

    /// Finds the newest snapshot of a source and the region to read it from, if it is of the right kind
    /// and may be copied.
    async fn newest_listed(
        &self,
        origin: &Environment,
        source: &Source,
        kind: SourceKind,
        environment: &Environment,
        listed_by: ListedBy,
    ) -> Result<(Snapshot, RegionName), OperationError> {
        let (opened, repository) = self.open_anywhere(origin, &origin.home, listed_by).await?;
        let now = self.world.clock.now();
        let record = RestorePoint::Latest
            .find(&repository, &origin.name, &source.name, now)
            .await?;
        refuse_other_kind(&record, kind)?;
        may_restore(record.class, environment.class, true)?;
        let region = opened.region_of(&record);
        Ok((record, region))
    }
}

/// Chooses by what the home lists, and by what all regions list only if that does not do: what lies in
/// a replica must not stop a copy that the home allows.
async fn home_first<T>(
    choose: impl AsyncFn(ListedBy) -> Result<T, OperationError>,
) -> Result<T, OperationError> {
    match choose(ListedBy::Preferred).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
            choose(ListedBy::Any).await.map_err(|_| error)
        }
        done => done,
    }
}

/// Plans what is done with files: a SQLite file, or a folder of CSV and JSON Lines.
fn plan_of_files(
    environment: &Environment,
    refresh: &Refresh,
    ((record, region), target, what): (&(Snapshot, RegionName), &Path, &str),
    way: Way,
) -> RefreshPlan {
    let target = target.display();
    let steps = vec![
        format!(
            "restore snapshot {} (state of {:.0}, from region {region}) into a scratch folder",
            record.id.short(),
            record.instant,
        ),
        format!(
            "mask {what} by {} beside {target}, and judge the copy",
            refresh.rules.display()
        ),
        "keep the masked copy in the repository".to_owned(),
        format!(
            "publish it as {target}, and keep {} earlier copies",
            refresh.keep_previous
        ),
    ];
    RefreshPlan {
        environment: environment.name.to_string(),
        from: refresh.from.to_string(),
        snapshot: Some(record.id),
        instant: Some(record.instant),
        region: region.clone(),
        rules: refresh.rules.clone(),
        target: target.to_string(),
        keep_previous: refresh.keep_previous,
        steps,
        way,
    }
}

/// Begins the snapshot of a masked copy, for the environment that gets it.
fn masked_draft(
    session: &Session,
    environment: &Environment,
    (source, source_kind): (&SourceName, SourceKind),
) -> SnapshotDraft {
    SnapshotDraft {
        environment: environment.name.clone(),
        class: environment.class,
        source: source.clone(),
        source_kind,
        tier: Tier::OnDemand,
        kind: BackupKind::Full,
        host: session.host.clone(),
        program: session.program.clone(),
        masked: true,
    }
}

/// Restores the snapshot that is masked.
async fn restore_original(
    session: &Session,
    plan: &RefreshPlan,
    record: &Snapshot,
    to: &Path,
) -> Result<(), OperationError> {
    let origin = session.config.environment(record.environment.as_str())?;
    let (_, repository) = session
        .open_anywhere(origin, &plan.region, ListedBy::Any)
        .await?;
    let onto = Onto {
        region: &plan.region,
        target: to,
        filter: &PathFilter::new(&[])?,
        delta: None,
        cluster: None,
    };
    restore_snapshot(&repository, record, &onto, session).await?;
    Ok(())
}

/// Makes a folder beside what is replaced, so that what is made in it takes its place by a rename; only
/// one refresh at a time may.
fn beside(target: &Path, run: RunId) -> Result<Scratch, OperationError> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| OperationError::io("create the folder", folder, error))?;
    }
    let scratch = Scratch::beside(target, ".refreshing", &run.to_string())?;
    if scratch.has_company() {
        return Err(OperationError::BeingRefreshed {
            target: target.to_owned(),
        });
    }
    Ok(scratch)
}

fn facts(report: &RefreshReport) -> Facts {
    let leaks = report.mask.as_ref().map(|mask| &mask.leak_report);
    let json = serde_json::json!({
        "from": report.from,
        "snapshot": report.snapshot,
        "masked_snapshot": report.masked_snapshot,
        "published": report.published,
        "instant": report.instant,
        "rows": report.mask.as_ref().map(|mask| mask.rows),
        "verdict": leaks.map(|leaks| leaks.verdict()),
        "gates": leaks.map(gate_verdicts),
        "manifest": leaks.map(|leaks| leaks.manifest()),
        "phases": report.phases,
        "secs": report.secs,
    });
    serde_json::from_value(json).expect("it is an object")
}

fn refresh_of(environment: &Environment) -> Result<&Refresh, OperationError> {
    environment
        .refresh
        .as_ref()
        .ok_or_else(|| OperationError::NotConfigured {
            environment: environment.name.to_string(),
            what: "`[refresh]`".to_owned(),
            hint: format!(
                "add `[refresh]` with `from`, `rules` and `target` or `database` to \
                 environments/{}.toml",
                environment.name
            ),
        })
}

fn refuse_other_kind(record: &Snapshot, wanted: SourceKind) -> Result<(), OperationError> {
    if record.source_kind == wanted {
        return Ok(());
    }
    Err(OperationError::Usage {
        message: format!(
            "snapshot `{}` is of kind {}, not {wanted}",
            record.id.short(),
            record.source_kind
        ),
        hint: "back the source up again, or correct `from` in `[refresh]`".to_owned(),
    })
}

fn restore_instead(environment: &Environment, source: &Source) -> OperationError {
    OperationError::Usage {
        message: "a masked copy of files needs no refresh to be had again".to_owned(),
        hint: format!(
            "run `lifeboat restore {} {} --at SNAPSHOT --to PATH`",
            environment.name, source.name
        ),
    }
}

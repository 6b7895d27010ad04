//! Replacing a PostgreSQL database by a masked copy.
//!
//! Production's rows flow through the masks into a spool, where the gates look at them; only then
//! does the target's server hear of them. They are loaded into a new database beside the old one,
//! whose keys and constraints the server itself checks, and a rename publishes it.

mod copy;
mod dump;
mod finish;
mod judge;
mod load;
mod original;
mod preflight;
mod schema;
mod spool;
mod store;
mod task;

use std::path::Path;

use jiff::Timestamp;
use lifeboat_config::{DatabaseTarget, Environment, ReadFrom, Refresh, Source};
use lifeboat_model::{RegionName, RunId, SourceKind, Verdict};
use lifeboat_policy::may_restore;
use lifeboat_repository::Snapshot;
use lifeboat_source_files::PathFilter;
use lifeboat_source_postgres::conninfo::Conninfo;
use lifeboat_source_postgres::logical::{Adopt, DatabaseIdentity, TargetServer, database_identity};
use lifeboat_storage::ListedBy;

pub(super) use self::preflight::preflight;
pub(crate) use self::schema::describe as describe_database;

use self::copy::MaskedRows;
use self::dump::Dump;
use self::judge::Judgement;
use self::load::NewDatabase;
use self::original::Original;
use self::spool::Spool;
use self::store::Stored;
use self::task::Task;
use super::phases::Phases;
use super::{CopyOf, RefreshPlan, RefreshReport, Way, home_first, refuse_other_kind};
use crate::cluster::{ClusterRestore, Recovery, conninfo, conninfo_of};
use crate::error::OperationError;
use crate::mask::MaskReport;
use crate::place::Opened;
use crate::restore::{Onto, restore_snapshot};
use crate::rules::Rules;
use crate::select::RestorePoint;
use crate::session::Session;

/// How a database is refreshed.
#[derive(Debug, Clone)]
pub(super) struct DatabasePlan {
    target: DatabaseTarget,
    source: Source,
    from: CopiedFrom,
}

/// What the copy is made of.
#[derive(Debug, Clone)]
enum CopiedFrom {
    /// A snapshot, started as a scratch cluster.
    Snapshot {
        record: Box<Snapshot>,
        recovery: Box<Recovery>,
    },
    /// The server itself.
    Server,
    /// A copy that was masked before.
    Masked(Box<Snapshot>),
}

impl DatabasePlan {
    /// Reports whether rows are masked anew.
    pub(super) const fn makes_copy(&self) -> bool {
        !matches!(self.from, CopiedFrom::Masked(_))
    }
}

pub(super) async fn plan(
    session: &Session,
    environment: &Environment,
    (origin, source): (&Environment, &Source),
    (refresh, target): (&Refresh, &DatabaseTarget),
    copy: CopyOf,
) -> Result<RefreshPlan, OperationError> {
    let (from, region) = match (copy, target.read) {
        (CopyOf::Masked(point), _) => {
            home_first(async |by| masked_copy(session, environment, source, &point, by).await)
                .await?
        }
        (CopyOf::Newest, ReadFrom::Server) => (CopiedFrom::Server, origin.home.clone()),
        (CopyOf::Newest, ReadFrom::Snapshot) => {
            home_first(async |by| newest(session, environment, origin, source, by).await).await?
        }
    };
    let record = from.record();
    let published = conninfo_of(session, &target.url, None)?.dbname;
    Ok(RefreshPlan {
        environment: environment.name.to_string(),
        from: refresh.from.to_string(),
        snapshot: record.map(|record| record.id),
        instant: record.map(|record| record.instant),
        region,
        rules: refresh.rules.clone(),
        steps: steps(refresh, target, &from, &published),
        target: published,
        keep_previous: refresh.keep_previous,
        way: Way::Database(DatabasePlan {
            target: target.clone(),
            source: source.clone(),
            from,
        }),
    })
}

impl CopiedFrom {
    fn record(&self) -> Option<&Snapshot> {
        match self {
            Self::Snapshot { record, .. } | Self::Masked(record) => Some(record),
            Self::Server => None,
        }
    }
}

/// Chooses the newest state of production, as far as its log leads, and the region to read it from.
async fn newest(
    session: &Session,
    environment: &Environment,
    origin: &Environment,
    source: &Source,
    listed_by: ListedBy,
) -> Result<(CopiedFrom, RegionName), OperationError> {
    let (opened, repository) = session
        .open_anywhere(origin, &origin.home, listed_by)
        .await?;
    let now = session.world.clock.now();
    let of = (&origin.name, &source.name);
    let how = ClusterRestore::default();
    let (record, recovery) = RestorePoint::Latest
        .choose(&repository, of, &how, now)
        .await?;
    refuse_other_kind(&record, SourceKind::Postgres)?;
    may_restore(record.class, environment.class, true)?;
    let region = opened.region_of(&record);
    let from = CopiedFrom::Snapshot {
        record: Box::new(record),
        recovery: Box::new(recovery.expect("it is of a cluster")),
    };
    Ok((from, region))
}

/// Finds a copy that was masked before, and the region to read it from.
async fn masked_copy(
    session: &Session,
    environment: &Environment,
    source: &Source,
    point: &RestorePoint,
    listed_by: ListedBy,
) -> Result<(CopiedFrom, RegionName), OperationError> {
    let home = &environment.home;
    let (opened, repository) = session.open_anywhere(environment, home, listed_by).await?;
    let now = session.world.clock.now();
    let record = match point {
        // One that was made for another environment in the same region will do as well.
        RestorePoint::Snapshot(prefix) => repository.find(prefix).await?,
        _ => {
            let found = point.find(&repository, &environment.name, &source.name, now);
            found.await?
        }
    };
    refuse_other_kind(&record, SourceKind::PostgresDump)?;
    may_restore(record.class, environment.class, record.masked)?;
    let region = opened.region_of(&record);
    Ok((CopiedFrom::Masked(Box::new(record)), region))
}

/// Says what will be done, a line each.
fn steps(
    refresh: &Refresh,
    target: &DatabaseTarget,
    from: &CopiedFrom,
    published: &str,
) -> Vec<String> {
    let mut steps = Vec::new();
    match from {
        CopiedFrom::Snapshot { record, .. } => steps.push(format!(
            "restore snapshot {} (state of {:.0}) and start it as a scratch cluster",
            record.id.short(),
            record.instant
        )),
        CopiedFrom::Server => steps.push(format!("read the server of {}", refresh.from)),
        CopiedFrom::Masked(record) => steps.push(format!(
            "fetch the masked copy {} (state of {:.0})",
            record.id.short(),
            record.instant
        )),
    }
    if !matches!(from, CopiedFrom::Masked(_)) {
        steps.push("dump the definitions, and look through them".to_owned());
        steps.push(format!(
            "copy and mask the rows by {}, {} sessions at a time",
            refresh.rules.display(),
            target.jobs
        ));
        steps.push("judge the masked rows; nothing goes on unless every gate passes".to_owned());
        steps.push("keep the masked copy in the repository".to_owned());
    }
    steps.push("load it into a new database, and let the server check its keys".to_owned());
    steps.push("set sequences, fill materialized views, ANALYZE".to_owned());
    if let Some(command) = &target.migrate {
        steps.push(format!("migrate: {command}"));
    }
    steps.extend(
        target
            .sql
            .iter()
            .map(|file| format!("run {}", file.display())),
    );
    if let Some(command) = &target.configure {
        steps.push(format!("configure: {command}"));
    }
    if !target.checks.is_empty() {
        steps.push(format!("ask {} checks", target.checks.len()));
    }
    steps.push(format!(
        "publish it as `{published}`, and keep {} earlier copies",
        refresh.keep_previous
    ));
    steps
}

/// What every step of a refresh needs.
struct Job<'a> {
    session: &'a Session,
    environment: &'a Environment,
    plan: &'a RefreshPlan,
    way: &'a DatabasePlan,
    /// Where masked snapshots are kept.
    home: &'a Opened,
    /// How the target is reached.
    target: Conninfo,
    run: RunId,
}

impl<'a> Job<'a> {
    fn new(
        session: &'a Session,
        environment: &'a Environment,
        (plan, way): (&'a RefreshPlan, &'a DatabasePlan),
        home: &'a Opened,
        run: RunId,
    ) -> Result<Self, OperationError> {
        Ok(Self {
            session,
            environment,
            plan,
            way,
            home,
            target: conninfo_of(session, &way.target.url, way.target.password.as_deref())?,
            run,
        })
    }
}

pub(super) async fn refresh(
    session: &Session,
    environment: &Environment,
    (plan, way): (&RefreshPlan, &DatabasePlan),
    home: &Opened,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    let job = Job::new(session, environment, (plan, way), home, report.run)?;
    let mut phases = Phases::start(&*session.world.clock);
    let server = connect(&job).await?;
    for left in server.leftovers(&plan.target).await? {
        server.drop(&left).await?;
        tracing::warn!("removed `{left}`, which a refresh that died had left behind");
    }
    let outcome = match &way.from {
        CopiedFrom::Masked(record) => again(&job, &server, record, &mut phases, report).await,
        _ => anew(&job, &server, &mut phases, report).await,
    };
    report.secs = phases.secs();
    report.phases = phases.finish();
    outcome
}

/// Connects to the target's server before anything dear is done: is it there, may we, does nobody
/// else do the same?
async fn connect(job: &Job<'_>) -> Result<TargetServer, OperationError> {
    let server = TargetServer::connect(&job.target).await?;
    let adopt = match job.way.target.adopt {
        true => Adopt::Anything,
        false => Adopt::OnlyCopies,
    };
    let protected = protected(job).await;
    server
        .may_replace(&job.plan.target, protected.as_ref(), adopt)
        .await?;
    Ok(server)
}

/// Tells which database is production's, wherever it is reached from. If its server cannot be asked
/// now, only that a refresh has made the target tells that it is not production.
async fn protected(job: &Job<'_>) -> Option<DatabaseIdentity> {
    let cluster = job.way.source.cluster()?;
    let conninfo = conninfo(job.session, cluster).ok()?;
    database_identity(&conninfo).await.ok()
}

/// A masked copy that no server has yet.
struct MaskedCopy {
    dump: Dump,
    task: Task,
    rows: MaskedRows,
    /// The moment whose state it holds.
    instant: Timestamp,
}

/// Makes a masked copy, judges it, keeps it and publishes it.
async fn anew(
    job: &Job<'_>,
    server: &TargetServer,
    phases: &mut Phases<'_>,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    Rules::preflight(job.session, &job.plan.rules)?;
    let scratch = job.session.scratch(report.run)?;
    let copy = make_copy(job, server, scratch.path(), phases).await?;
    report.left_out = copy.dump.left_out();
    report.instant = copy.instant;
    let (dump, spool) = (&copy.dump, &copy.rows.spool);
    let masked_secs = phases.secs();
    let mut judgement = Judgement::of(job, &copy.task, dump, &copy.rows)?;
    phases.end("judge");
    let verify_secs = phases.secs() - masked_secs;
    let mask_report = |leak_report| MaskReport {
        tables: dump.catalog.tables.len() as u64,
        rows: spool.rows(),
        kept: copy.task.kept(),
        emptied: Vec::new(),
        leak_report,
        mask_secs: masked_secs,
        verify_secs,
    };
    if !judgement.may_be_loaded() {
        report.mask = Some(mask_report(judgement.report()));
        return Ok(());
    }
    let (mut database, stored) = load_and_store(job, server, (dump, spool), phases).await?;
    judgement.loaded(std::mem::take(&mut database.checks));
    let leaks = judgement.report();
    let released = leaks.release(());
    report.mask = Some(mask_report(leaks.clone()));
    if released.is_err() {
        stored.abandon().await;
        database.give_up(server).await;
        return Ok(());
    }
    match stored.commit(job, copy.instant, &leaks).await {
        Ok(snapshot) => report.masked_snapshot = Some(snapshot),
        Err(error) => {
            database.give_up(server).await;
            return Err(error);
        }
    }
    phases.end("commit the masked snapshot");
    publish(job, server, database, phases, report).await
}

/// Loads a copy into a new database, and at the same time brings it into the repository, where it is
/// nothing until it is committed. If one fails, nothing is left of the other.
async fn load_and_store(
    job: &Job<'_>,
    server: &TargetServer,
    (dump, spool): (&Dump, &Spool),
    phases: &mut Phases<'_>,
) -> Result<(NewDatabase, Stored), OperationError> {
    let loading = NewDatabase::make(job, server, (dump, spool), phases);
    let (database, stored) = tokio::join!(loading, Stored::write(job, dump, spool));
    match (database, stored) {
        (Ok(database), Ok(stored)) => Ok((database, stored)),
        (Ok(database), Err(error)) => {
            database.give_up(server).await;
            Err(error)
        }
        (Err(error), stored) => {
            if let Ok(stored) = stored {
                stored.abandon().await;
            }
            Err(error)
        }
    }
}

/// Copies production's definitions and, masked, its rows.
async fn make_copy(
    job: &Job<'_>,
    server: &TargetServer,
    scratch: &Path,
    phases: &mut Phases<'_>,
) -> Result<MaskedCopy, OperationError> {
    let original = Original::open(job, scratch).await?;
    phases.end(original.opened_by());
    let (dump, task) = fit(job, server, &original).await?;
    phases.end("read the definitions");
    let rows = MaskedRows::copy(job, &original, &task, &dump, scratch).await?;
    let instant = original.instant();
    original.close().await?;
    phases.end("copy and mask");
    Ok(MaskedCopy {
        dump,
        task,
        rows,
        instant,
    })
}

/// Reads the definitions, and fits rules and target to them: all that can be refused before a row is
/// read.
async fn fit(
    job: &Job<'_>,
    server: &TargetServer,
    original: &Original,
) -> Result<(Dump, Task), OperationError> {
    let dump = Dump::read(job, original).await?;
    let task = Task::prepare(job, &dump)?;
    task.refuse_leaking(&dump)?;
    dump.check_target(server).await?;
    Ok((dump, task))
}

/// Publishes a copy that was masked, judged and kept before.
async fn again(
    job: &Job<'_>,
    server: &TargetServer,
    record: &Snapshot,
    phases: &mut Phases<'_>,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    let scratch = job.session.scratch(report.run)?;
    let folder = scratch.path().join("copy");
    let region = &job.plan.region;
    let (_, repository) = job
        .session
        .open_anywhere(job.environment, region, ListedBy::Any)
        .await?;
    let onto = Onto {
        region,
        target: &folder,
        filter: &PathFilter::new(&[])?,
        delta: None,
        cluster: None,
    };
    restore_snapshot(&repository, record, &onto, job.session).await?;
    phases.end("fetch the masked copy");
    let (dump, spool) = store::open(&folder)?;
    dump.check_target(server).await?;
    let database = NewDatabase::make(job, server, (&dump, &spool), phases).await?;
    let failed = database
        .checks
        .iter()
        .filter(|check| check.verdict != Verdict::Pass);
    let failed: Vec<_> = failed.map(|check| check.name.clone()).collect();
    if !failed.is_empty() {
        database.give_up(server).await;
        return Err(OperationError::Refused {
            message: format!("the new database does not hold: {}", failed.join("; ")),
            hint: "nothing was published; look at the checks of `[refresh]`".to_owned(),
        });
    }
    report.masked_snapshot = Some(record.id);
    publish(job, server, database, phases, report).await
}

/// Gives a new database the name that people use, and removes the oldest copies beside it.
async fn publish(
    job: &Job<'_>,
    server: &TargetServer,
    database: NewDatabase,
    phases: &mut Phases<'_>,
    report: &mut RefreshReport,
) -> Result<(), OperationError> {
    let (name, published) = (&database.name, &job.plan.target);
    let now = job.session.world.clock.now();
    if let Err(error) = server.publish(name, published, now).await {
        database.give_up(server).await;
        return Err(match report.masked_snapshot {
            Some(snapshot) => OperationError::KeptUnpublished {
                environment: job.environment.name.to_string(),
                snapshot,
                source: Box::new(error.into()),
            },
            None => error.into(),
        });
    }
    report.published = Some(published.clone());
    let mut previous = server.previous(published).await?;
    let keep = (job.plan.keep_previous as usize).min(previous.len());
    for old in previous.split_off(keep) {
        // The copy serves already: what cannot be removed is no reason to say that it does not.
        if let Err(error) = server.drop(&old).await {
            tracing::warn!("the earlier copy `{old}` stays: {error}");
        }
    }
    report.previous = previous;
    phases.end("publish");
    Ok(())
}

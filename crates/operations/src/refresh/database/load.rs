//! Loading a masked copy into a new database, whose server checks every key and constraint itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lifeboat_masking::IntegrityCheck;
use lifeboat_model::Verdict;
use lifeboat_source_postgres::logical::{
    CopyTable, CopyWriter, NotValidated, TargetDatabase, TargetServer,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Job;
use super::dump::Dump;
use super::finish;
use super::judge::all_loaded;
use super::spool::{Part, Spool};
use crate::error::OperationError;
use crate::refresh::phases::Phases;

/// Chunks that wait to be sent, for each session.
const CHUNKS_WAITING: usize = 2;

/// A database that nobody uses yet.
#[derive(Debug)]
pub(super) struct NewDatabase {
    pub(super) name: String,
    /// What the server said of it.
    pub(super) checks: Vec<IntegrityCheck>,
}

impl NewDatabase {
    /// Makes it, loads it and finishes it. If anything fails, it is gone.
    pub(super) async fn make(
        job: &Job<'_>,
        server: &TargetServer,
        (dump, spool): (&Dump, &Spool),
        phases: &mut Phases<'_>,
    ) -> Result<Self, OperationError> {
        let name = TargetServer::unfinished_name(&job.plan.target, &job.run.to_string());
        let owner = job.way.target.owner.as_deref();
        server
            .create(&name, &job.plan.target, &dump.catalog.settings, owner)
            .await?;
        match fill(job, &name, (dump, spool), phases).await {
            Ok(checks) => Ok(Self { name, checks }),
            Err(error) => {
                let new = Self {
                    name,
                    checks: Vec::new(),
                };
                new.give_up(server).await;
                Err(error)
            }
        }
    }

    /// Removes it.
    pub(super) async fn give_up(self, server: &TargetServer) {
        if let Err(error) = server.drop(&self.name).await {
            // The next refresh removes what this one could not.
            tracing::warn!("the unfinished database `{}` stays: {error}", self.name);
        }
    }
}

async fn fill(
    job: &Job<'_>,
    name: &str,
    (dump, spool): (&Dump, &Spool),
    phases: &mut Phases<'_>,
) -> Result<Vec<IntegrityCheck>, OperationError> {
    let jobs = job.way.target.jobs as usize;
    let mut database = TargetDatabase::open(&job.target.clone().with_dbname(name), jobs).await?;
    database.run_pre_data(&dump.ddl).await?;
    phases.end("make the tables");
    let loaded = load_rows(job, &database, dump, spool).await?;
    phases.end("load the rows");
    database.vacuum(&dump.catalog).await?;
    phases.end("VACUUM");
    job.session
        .progress
        .phase("building indexes and checking keys", 0);
    database.run_post_data(&dump.ddl, &dump.catalog).await?;
    phases.end("build indexes, check keys");
    database.set_sequences(&dump.catalog).await?;
    database.refresh_materialized_views(&dump.catalog).await?;
    database.make_event_triggers(&dump.ddl).await?;
    phases.end("sequences and materialized views");
    database.analyze(&dump.catalog).await?;
    phases.end("ANALYZE");
    let mut checks = vec![
        all_loaded(dump, spool, &loaded),
        checked_by_server(&database.not_validated().await?),
    ];
    checks.extend(finish::finish(job, &database, name, phases).await?);
    Ok(checks)
}

/// What the server says of keys and constraints. Whatever does not hold has failed the statement that
/// adds it; what is NOT VALID in production is so here, and is named.
fn checked_by_server(left: &NotValidated) -> IntegrityCheck {
    let mut name = "keys, constraints and indexes as the server checked them".to_owned();
    if !left.constraints.is_empty() {
        name.push_str(", but those that are NOT VALID: ");
        name.push_str(&left.constraints.join(", "));
    }
    IntegrityCheck {
        name,
        verdict: Verdict::from_passed(left.indexes.is_empty()),
    }
}

/// Loads the parts, several at a time; returns how many rows the server took, by table.
async fn load_rows(
    job: &Job<'_>,
    database: &TargetDatabase,
    dump: &Dump,
    spool: &Spool,
) -> Result<BTreeMap<usize, u64>, OperationError> {
    job.session.progress.phase("loading", spool.bytes());
    let mut parts: Vec<Part> = spool
        .parts
        .iter()
        .filter(|part| part.rows > 0)
        .cloned()
        .collect();
    // The largest first, so that none is left alone at the end.
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let work = Arc::new(Work {
        tables: dump.catalog.tables.clone(),
        parts: Mutex::new(parts.into()),
    });
    let mut sessions = JoinSet::new();
    for _ in 0..job.way.target.jobs {
        let writer = database.loader().await?;
        sessions.spawn(load(writer, work.clone(), job.session.progress.clone()));
    }
    let mut loaded = BTreeMap::new();
    while let Some(session) = sessions.join_next().await {
        for (table, rows) in session.expect("loading does not panic")? {
            *loaded.entry(table).or_default() += rows;
        }
    }
    Ok(loaded)
}

/// What the sessions have to load.
struct Work {
    tables: Vec<CopyTable>,
    parts: Mutex<VecDeque<Part>>,
}

impl Work {
    fn next(&self) -> Option<Part> {
        let mut parts = self.parts.lock().expect("no holder panics");
        parts.pop_front()
    }
}

/// Loads part by part until none is left.
async fn load(
    mut writer: CopyWriter,
    work: Arc<Work>,
    progress: Arc<dyn lifeboat_runtime::Progress>,
) -> Result<Vec<(usize, u64)>, OperationError> {
    let mut loaded = Vec::new();
    while let Some(part) = work.next() {
        let table = part.table;
        let (send, mut chunks) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
        let reading = tokio::task::spawn_blocking(move || {
            part.each_chunk(|chunk| send.blocking_send(Bytes::copy_from_slice(chunk)).is_ok())
        });
        let mut copy = writer.begin(&work.tables[table]).await?;
        while let Some(chunk) = chunks.recv().await {
            let len = chunk.len() as u64;
            copy.feed(chunk).await?;
            progress.advance(len);
        }
        // A part that could not be read to its end must not count as loaded.
        reading.await.expect("reading does not panic")?;
        loaded.push((table, copy.finish().await?));
    }
    Ok(loaded)
}

//! Copying rows out of production and through the masks, in parallel.
//!
//! Several sessions read stretches of tables, all of the same moment. The pool masks what they read,
//! and what leaves the masks is packed into the spool. At most a few groups of batches are in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use lifeboat_masking::{Originals, TextBatch, TextBatches, TextFormat};
use lifeboat_runtime::ComputePool;
use lifeboat_source_postgres::PostgresError;
use lifeboat_source_postgres::logical::{CopyRange, CopyReader, CopyTable};
use rayon::prelude::*;
use tokio::task::JoinSet;

use super::Job;
use super::dump::Dump;
use super::original::Original;
use super::spool::{Part, PartWriter, Spool};
use super::task::Task;
use crate::error::OperationError;

/// The stretch of a table's file that is read at a time, bytes.
const RANGE_BYTES: u64 = 64 << 20;
/// Batches that travel together.
const GROUP_BATCHES: usize = 4;
/// Groups that wait to be masked, for each session.
const GROUPS_WAITING: usize = 1;

/// The rows of a database, masked and in the spool.
pub(super) struct MaskedRows {
    pub(super) spool: Spool,
    /// What must not come out of it.
    pub(super) originals: Originals,
    /// Rows of each table, counted by the server.
    pub(super) source_rows: BTreeMap<String, u64>,
}

impl MaskedRows {
    /// Copies and masks every row. Blocks the calling task, which must have a thread of its own.
    pub(super) async fn copy(
        job: &Job<'_>,
        original: &Original,
        task: &Task,
        dump: &Dump,
        scratch: &Path,
    ) -> Result<Self, OperationError> {
        let folder = scratch.join("masked");
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| OperationError::io("create the folder", &folder, error))?;
        let ranges = original.view.ranges(RANGE_BYTES);
        let bytes = ranges.iter().map(|range| range.bytes_estimate).sum();
        job.session.progress.phase("copying and masking", bytes);
        let jobs = job.way.target.jobs as usize;
        let work = Arc::new(Work {
            tables: dump.catalog.tables.clone(),
            formats: (0..dump.catalog.tables.len())
                .map(|at| dump.format(at))
                .collect(),
            ranges: Mutex::new(ranges.into()),
        });
        let (send, receive) = sync_channel(jobs * GROUPS_WAITING);
        let mut sessions = JoinSet::new();
        for _ in 0..jobs {
            let reader = original.view.reader().await?;
            sessions.spawn(read(reader, work.clone(), send.clone()));
        }
        drop(send);
        let counting = tokio::spawn(count(original.view.reader().await?, work));
        let masking = Masking {
            job,
            task,
            folder: &folder,
            originals: Originals::new(&task.plan),
            writers: BTreeMap::new(),
            done: Spool::default(),
        };
        let masked = masking.run(&receive);
        if masked.is_err() {
            counting.abort();
        }
        // Whoever still reads finds out that nobody listens.
        drop(receive);
        while let Some(read) = sessions.join_next().await {
            read.expect("reading does not panic");
        }
        let (mut spool, originals) = masked?;
        spool.sort();
        Ok(Self {
            spool,
            originals,
            source_rows: counting.await.expect("counting does not panic")?,
        })
    }
}

/// What the sessions have to read.
struct Work {
    tables: Vec<CopyTable>,
    formats: Vec<TextFormat>,
    ranges: Mutex<VecDeque<CopyRange>>,
}

impl Work {
    fn next(&self) -> Option<CopyRange> {
        let mut ranges = self.ranges.lock().expect("no holder panics");
        ranges.pop_front()
    }
}

/// What a session has read of a stretch.
enum Read {
    Rows(CopyRange, Vec<TextBatch>),
    End(CopyRange),
    Failed(OperationError),
}

/// Reads stretch by stretch until none is left, or nobody listens any more.
async fn read(reader: CopyReader, work: Arc<Work>, send: SyncSender<Read>) {
    while let Some(range) = work.next() {
        let cut = TextBatches::new(work.formats[range.table].clone());
        let mut cut = cut.from_row(first_row(&range));
        let mut group = Vec::with_capacity(GROUP_BATCHES);
        // Waiting for the masks holds up this session alone, not those that share its thread.
        let tell = |read| tokio::task::block_in_place(|| send.send(read).is_ok());
        let table = &work.tables[range.table];
        let mut listening = true;
        let mut take = |chunk: &[u8]| {
            match cut.push(chunk) {
                Ok(None) => {}
                Ok(Some(batch)) => group.push(batch),
                Err(error) => {
                    tell(Read::Failed(error.into()));
                    listening = false;
                }
            }
            if group.len() == GROUP_BATCHES {
                listening &= tell(Read::Rows(range.clone(), std::mem::take(&mut group)));
            }
            listening
        };
        if let Err(error) = reader.copy_out(table, &range, &mut take).await {
            // Told at once, so that the others do not read on for nothing.
            tell(Read::Failed(error.into()));
            return;
        }
        group.extend(cut.finish());
        if !listening || !tell(Read::Rows(range.clone(), group)) || !tell(Read::End(range.clone()))
        {
            return;
        }
    }
}

/// Numbers the rows of stretches apart from each other: `random` must not draw the same for the first
/// row of each.
fn first_row(range: &CopyRange) -> u64 {
    u64::from(range.range) << 32
}

/// Counts the rows of every table apart from reading them.
async fn count(
    reader: CopyReader,
    work: Arc<Work>,
) -> Result<BTreeMap<String, u64>, PostgresError> {
    let mut rows = BTreeMap::new();
    for table in &work.tables {
        rows.insert(table.name.to_string(), reader.count(table).await?);
    }
    Ok(rows)
}

/// Masks what the sessions read.
struct Masking<'a> {
    job: &'a Job<'a>,
    task: &'a Task,
    folder: &'a Path,
    originals: Originals,
    /// Parts that are being written, by table and number.
    writers: BTreeMap<(usize, u32), PartWriter>,
    done: Spool,
}

impl Masking<'_> {
    fn run(mut self, reads: &Receiver<Read>) -> Result<(Spool, Originals), OperationError> {
        for read in reads {
            match read {
                Read::Rows(range, batches) => self.mask(&range, &batches)?,
                Read::End(range) => self.end(&range)?,
                Read::Failed(error) => return Err(error),
            }
        }
        Ok((self.done, self.originals))
    }

    fn mask(&mut self, range: &CopyRange, batches: &[TextBatch]) -> Result<(), OperationError> {
        let masker = &self.task.maskers[range.table];
        let originals = &mut self.originals;
        let pool: &ComputePool = &self.job.session.world.pool;
        let packed = pool.install(|| {
            let masked = masker.mask_all(batches, originals);
            let masked = masked.map_err(|mut error| {
                // Of its stretch: the server's order of rows means nothing to anybody.
                error.row = error.row.saturating_sub(first_row(range));
                error
            })?;
            let packed: std::io::Result<Vec<_>> = masked.par_iter().map(PartWriter::pack).collect();
            packed.map_err(|error| OperationError::io("pack rows for", self.folder, error))
        })?;
        let read = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
        self.job.session.progress.advance(read);
        let writer = self.writer(range)?;
        packed.iter().try_for_each(|batch| writer.append(batch))
    }

    fn writer(&mut self, range: &CopyRange) -> Result<&mut PartWriter, OperationError> {
        let key = (range.table, range.range);
        if !self.writers.contains_key(&key) {
            let writer = PartWriter::create(self.folder, range.table, range.range)?;
            self.writers.insert(key, writer);
        }
        Ok(self.writers.get_mut(&key).expect("it was just put there"))
    }

    fn end(&mut self, range: &CopyRange) -> Result<(), OperationError> {
        // A stretch without rows is a part without rows.
        self.writer(range)?;
        let writer = self.writers.remove(&(range.table, range.range));
        let part: Part = writer.expect("it was just made sure of").finish();
        self.done.parts.push(part);
        Ok(())
    }
}

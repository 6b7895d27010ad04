//! What the gates say of masked rows, before the target's server hears of them and after.

use std::collections::BTreeMap;
use std::sync::mpsc;

use lifeboat_masking::{
    Evidence, IntegrityCheck, LeakReport, OutputScan, TextBatch, TextBatches, verify,
};
use lifeboat_model::Verdict;

use super::Job;
use super::copy::MaskedRows;
use super::dump::Dump;
use super::spool::{Part, Spool};
use super::task::{Task, scan_definitions};
use crate::error::OperationError;

/// Batches that are looked through together.
const GROUP_BATCHES: usize = 8;
/// The gate that only the target can decide.
const DECIDED_BY_TARGET: &str = "integrity";

/// Masked rows that were looked through.
pub(super) struct Judgement<'a> {
    task: &'a Task,
    rows: &'a MaskedRows,
    scan: OutputScan<'a>,
    evidence: Evidence,
}

impl<'a> Judgement<'a> {
    /// Reads every masked row back and looks through it, and through the definitions. Blocks.
    pub(super) fn of(
        job: &Job<'_>,
        task: &'a Task,
        dump: &Dump,
        rows: &'a MaskedRows,
    ) -> Result<Self, OperationError> {
        let session = job.session;
        session
            .progress
            .phase("looking for leaks", rows.spool.bytes());
        let mut scan = OutputScan::new(&task.plan, &rows.originals, &task.canaries);
        scan_definitions(dump, &mut scan);
        for (at, masker) in task.maskers.iter().enumerate() {
            each_group(&rows.spool, dump, at, |group| {
                let bytes = group.iter().map(|batch| batch.bytes.len() as u64).sum();
                session
                    .world
                    .pool
                    .install(|| masker.scan_all(&group, &mut scan))?;
                session.progress.advance(bytes);
                Ok(())
            })?;
        }
        Ok(Self {
            task,
            rows,
            scan,
            evidence: Evidence {
                source_rows: rows.source_rows.clone(),
                integrity: Vec::new(),
                is_keyless: false,
                tool_version: session.program.clone(),
                output_hash: Some(session.world.pool.install(|| rows.spool.hash())?),
            },
        })
    }

    /// Returns what the gates say now.
    pub(super) fn report(&self) -> LeakReport {
        verify(
            &self.task.plan,
            &self.rows.originals,
            &self.scan,
            &self.evidence,
        )
    }

    /// Reports whether the rows may leave for the target: every gate but the target's own passes.
    pub(super) fn may_be_loaded(&self) -> bool {
        let report = self.report();
        let mut others = report
            .gates()
            .iter()
            .filter(|gate| gate.name != DECIDED_BY_TARGET);
        others.all(|gate| matches!(gate.verdict, None | Some(Verdict::Pass)))
    }

    /// Takes what the target said of what was loaded.
    pub(super) fn loaded(&mut self, checks: Vec<IntegrityCheck>) {
        self.evidence.integrity = checks;
    }
}

/// Reads the parts of a table back, a group of batches at a time; the next is read while one is
/// looked through.
fn each_group(
    spool: &Spool,
    dump: &Dump,
    table: usize,
    mut look: impl FnMut(Vec<TextBatch>) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let parts: Vec<&Part> = spool
        .parts
        .iter()
        .filter(|part| part.table == table)
        .collect();
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Vec<TextBatch>>(1);
        let format = dump.format(table);
        let reading = scope.spawn(move || {
            let mut group = Vec::new();
            for part in parts {
                let mut cut = TextBatches::new(format.clone());
                let mut fault = None;
                part.each_chunk(|chunk| match cut.push(chunk) {
                    Ok(None) => true,
                    Ok(Some(batch)) => {
                        group.push(batch);
                        group.len() < GROUP_BATCHES || send.send(std::mem::take(&mut group)).is_ok()
                    }
                    Err(error) => {
                        fault = Some(error);
                        false
                    }
                })?;
                if let Some(error) = fault {
                    return Err(error.into());
                }
                group.extend(cut.finish());
            }
            // Whoever no longer listens has an error of its own to tell.
            send.send(group).ok();
            Ok(())
        });
        let looked = receive.into_iter().try_for_each(&mut look);
        let read = reading.join().expect("reading does not panic");
        looked.and(read)
    })
}

/// Compares what was loaded with what was masked, table by table.
pub(super) fn all_loaded(
    dump: &Dump,
    spool: &Spool,
    loaded: &BTreeMap<usize, u64>,
) -> IntegrityCheck {
    let tables = 0..dump.catalog.tables.len();
    let same = |at: usize| loaded.get(&at).copied().unwrap_or(0) == spool.rows_of(at);
    IntegrityCheck {
        name: "every row was loaded".to_owned(),
        verdict: Verdict::from_passed(tables.into_iter().all(same)),
    }
}

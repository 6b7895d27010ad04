//! Masking a SQLite database into a new file, with the proof that nothing leaked.
//!
//! Three stages run at once for each table: one thread reads batches of rows, the pool masks them,
//! one thread loads them. Then the finished file is read back and judged; only what passes is
//! [`Masked`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use lifeboat_masking::{
    Cell, ColumnClass, ColumnSchema, ColumnType, Evidence, IntegrityCheck, LeakReport, Masked,
    Originals, OutputScan, Plan, RowBatch, Schema, TablePlan, TableSchema, verify,
};
use lifeboat_model::{Problems, RunId, Verdict};
use lifeboat_runtime::{ComputePool, Stopwatch};
use lifeboat_source_sqlite::{
    ColumnInfo, DatabaseSchema, Rebuild, RebuildReport, RowRange, RowReader, SqliteError,
    TableInfo, ToSqlOutput, ValueRef, install, read_schema,
};
use serde::Serialize;

use crate::error::OperationError;
use crate::rules::{PlantedValues, Rules};
use crate::scratch::Scratch;
use crate::session::Session;

/// Batches that travel together: enough for every core, few enough to bound memory.
const GROUP_BATCHES: usize = 8;
/// Groups that wait between two stages.
const GROUPS_WAITING: usize = 2;

/// A database to mask and the plan for it: everything that can be checked before a row moves has
/// been.
#[derive(Debug)]
pub struct MaskTask {
    input: PathBuf,
    schema: DatabaseSchema,
    plan: Plan,
    canaries: PlantedValues,
    /// What is worth telling about the rules, no errors among it.
    pub warnings: Problems,
}

/// What masking did and what the gates say.
#[derive(Debug, Clone, Serialize)]
pub struct MaskReport {
    /// Number of tables.
    pub tables: u64,
    /// Number of rows written.
    pub rows: u64,
    /// Columns that the rules keep as they are: nothing in them is masked.
    pub kept: Vec<String>,
    /// Full-text indexes that keep no text and so start out empty.
    pub emptied: Vec<String>,
    /// The gates.
    pub leak_report: LeakReport,
    /// Time for reading, masking and loading, seconds.
    pub mask_secs: f64,
    /// Time for reading back and judging, seconds.
    pub verify_secs: f64,
}

/// A finished database that the gates were asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedDatabase {
    /// The file.
    pub path: PathBuf,
    /// Length of a page, bytes.
    pub page_size: u32,
}

impl MaskTask {
    /// Reads the rules and fits them to the database, which nobody may write to.
    ///
    /// `scope_id` names this copy where the rules ask for fresh pseudonyms each time.
    ///
    /// # Errors
    /// Fails with every problem of the rules, or of the rules against the schema (then as a
    /// refusal), or if the masking key is not to be had.
    pub fn prepare(
        session: &Session,
        rules: &Path,
        input: &Path,
        scope_id: &str,
    ) -> Result<Self, OperationError> {
        let rules = Rules::read(session, rules)?;
        let key = rules.key(session, scope_id)?;
        let canaries = rules.planted(session)?;
        let schema = read_schema(input)?;
        let known = describe(&schema, &RowReader::open(input)?)?;
        let (plan, warnings) = rules.fit(&known, &key)?;
        Ok(Self {
            input: input.to_owned(),
            schema,
            plan,
            canaries,
            warnings,
        })
    }

    /// Masks into the new file `output` and judges the result.
    ///
    /// The file is released only if every gate passes; otherwise the caller must remove it. Blocks.
    ///
    /// # Errors
    /// Fails if a value cannot be masked, or the file cannot be read or written. A gate that does not
    /// pass is in the report, with `NotMasked` beside it.
    pub fn run(
        &self,
        session: &Session,
        output: &Path,
    ) -> Result<(MaskReport, Result<Masked<MaskedDatabase>, OperationError>), OperationError> {
        let watch = Stopwatch::start(&*session.world.clock);
        session.progress.phase("masking", 0);
        let reader = RowReader::open(&self.input)?;
        let mut evidence = Evidence {
            tool_version: session.program.clone(),
            ..Evidence::default()
        };
        let mut rebuild = Rebuild::create(output, &self.schema)?;
        let mut originals = Originals::new(&self.plan);
        for (info, table) in self.tables() {
            evidence
                .source_rows
                .insert(info.name.clone(), reader.count(info)?);
            self.mask_table(
                &session.world.pool,
                info,
                table,
                &mut originals,
                &mut rebuild,
            )?;
        }
        let rebuilt = rebuild.finish()?;
        let mask_secs = watch.elapsed().as_secs_f64();
        session.progress.phase("looking for leaks", 0);
        evidence.integrity.push(integrity(&rebuilt));
        evidence.output_hash = Some(hash_file(output)?);
        let leak_report = self.judge(&session.world.pool, output, &originals, &evidence)?;
        let report = MaskReport {
            tables: self.tables().count() as u64,
            rows: rebuilt.rows,
            kept: self.kept(),
            emptied: rebuilt.emptied,
            mask_secs,
            verify_secs: watch.elapsed().as_secs_f64() - mask_secs,
            leak_report,
        };
        let page_size = self.schema.settings.page_size;
        let database = MaskedDatabase {
            path: output.to_owned(),
            page_size,
        };
        let released = report
            .leak_report
            .release(database)
            .map_err(OperationError::from);
        Ok((report, released))
    }

    /// Masks into the new file `output`, which appears only once every gate has passed. Blocks.
    ///
    /// Returns whether it did; if not, the report says why.
    ///
    /// # Errors
    /// Fails if `output` exists, or as [`MaskTask::run`] does.
    pub fn run_into(
        &self,
        session: &Session,
        output: &Path,
    ) -> Result<(MaskReport, bool), OperationError> {
        if output.symlink_metadata().is_ok() {
            return Err(SqliteError::Exists {
                path: output.to_owned(),
            }
            .into());
        }
        let run = RunId::from_bytes(session.world.entropy.bytes());
        let scratch = Scratch::beside(output, ".masking", &run.to_string())?;
        let (report, released) = self.run(session, &scratch.path().join("masked.sqlite"))?;
        let Ok(masked) = released else {
            return Ok((report, false));
        };
        install(&masked.into_inner().path, output)?;
        Ok((report, true))
    }

    /// The tables that hold rows, each with what happens to its columns.
    fn tables(&self) -> impl Iterator<Item = (&TableInfo, &TablePlan)> {
        let rows = self.schema.tables.iter().filter(|table| table.holds_rows());
        rows.filter_map(|info| Some((info, self.plan.table(&info.name)?)))
    }

    /// The columns that pass unchanged in every row.
    fn kept(&self) -> Vec<String> {
        let of = |table: &TablePlan| {
            let kept = table
                .columns()
                .filter(|(_, class)| *class == ColumnClass::Kept);
            kept.map(|(name, _)| format!("{}.{name}", table.name()))
                .collect::<Vec<_>>()
        };
        self.plan.tables().flat_map(of).collect()
    }

    fn mask_table(
        &self,
        pool: &ComputePool,
        info: &TableInfo,
        table: &TablePlan,
        originals: &mut Originals,
        rebuild: &mut Rebuild,
    ) -> Result<(), OperationError> {
        let columns: Vec<&str> = table.columns().map(|(name, _)| name).collect();
        std::thread::scope(|scope| {
            let (read, to_mask) = mpsc::sync_channel(GROUPS_WAITING);
            let (masked, to_load) = mpsc::sync_channel(GROUPS_WAITING);
            let reading = scope.spawn({
                let columns = columns.clone();
                move || {
                    read_groups(&self.input, info, &columns, |group| {
                        read.send(group).is_ok()
                    })
                }
            });
            let masking = scope.spawn(move || {
                for group in to_mask {
                    let done = pool.install(|| mask_group(&self.plan, table, group, originals));
                    let stop = done.is_err();
                    if masked.send(done).is_err() || stop {
                        break;
                    }
                }
            });
            let mut loading = Ok(());
            for group in to_load {
                loading = group.and_then(|group| load(rebuild, info, &columns, &group));
                if loading.is_err() {
                    break;
                }
            }
            masking.join().expect("masking does not panic");
            let read = reading.join().expect("reading does not panic");
            loading.and(read)
        })
    }

    /// Reads the finished file back and puts it before the gates.
    fn judge(
        &self,
        pool: &ComputePool,
        output: &Path,
        originals: &Originals,
        evidence: &Evidence,
    ) -> Result<LeakReport, OperationError> {
        let canaries = self.canaries.search();
        let mut scan = OutputScan::new(&self.plan, originals, &canaries);
        let written = read_schema(output)?;
        for table in &written.tables {
            scan.scan_text("ddl", &table.sql);
        }
        for item in &written.others {
            scan.scan_text("ddl", &item.sql);
        }
        for (info, table) in self.tables() {
            let columns: Vec<&str> = table.columns().map(|(name, _)| name).collect();
            std::thread::scope(|scope| {
                let (read, to_scan) = mpsc::sync_channel::<Vec<RowBatch>>(GROUPS_WAITING);
                let reading = scope.spawn(move || {
                    read_groups(output, info, &columns, |group| read.send(group).is_ok())
                });
                for group in to_scan {
                    pool.install(|| scan.scan_all(table, &group));
                }
                reading.join().expect("reading does not panic")
            })?;
        }
        Ok(verify(&self.plan, originals, &scan, evidence))
    }
}

/// Tells the masking engine what it must know of a schema, row counts included.
pub(crate) fn describe(
    schema: &DatabaseSchema,
    reader: &RowReader,
) -> Result<Schema, OperationError> {
    describe_tables(schema, |table| Ok(Some(reader.count(table)?)))
}

/// Tells the masking engine what it must know of a schema.
pub(crate) fn describe_tables(
    schema: &DatabaseSchema,
    rows: impl Fn(&TableInfo) -> Result<Option<u64>, OperationError>,
) -> Result<Schema, OperationError> {
    let mut tables = Vec::new();
    for table in schema.tables.iter().filter(|table| table.holds_rows()) {
        let keys = table
            .columns
            .iter()
            .filter(|column| column.primary_key > 0)
            .count();
        let columns = table.columns.iter().filter(|column| !column.hidden);
        tables.push(TableSchema {
            name: table.name.clone(),
            columns: columns
                .map(|column| describe_column(table, column, keys == 1))
                .collect(),
            rows: rows(table)?,
        });
    }
    Ok(Schema { tables })
}

fn describe_column(table: &TableInfo, column: &ColumnInfo, single_key: bool) -> ColumnSchema {
    let primary_key = single_key && column.primary_key > 0;
    ColumnSchema {
        not_null: column.not_null,
        unique: column.unique || primary_key,
        primary_key,
        references: column.references.clone(),
        generated: column.generated,
        max_len: column.max_len.and_then(|len| usize::try_from(len).ok()),
        declared: column.declared_type.clone(),
        key_part: column.key_part,
        checks: table.checks_of(&column.name),
        ..ColumnSchema::new(&column.name, affinity(&column.declared_type))
    }
}

/// Returns what a declared type means to SQLite (its affinity rules, in their order).
fn affinity(declared: &str) -> ColumnType {
    let declared = declared.to_ascii_uppercase();
    let says = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match () {
        () if says(&["INT"]) => ColumnType::Integer,
        () if says(&["CHAR", "CLOB", "TEXT"]) => ColumnType::Text,
        () if declared == "BLOB" => ColumnType::Blob,
        () if says(&["REAL", "FLOA", "DOUB"]) => ColumnType::Real,
        () => ColumnType::Any,
    }
}

/// Reads a table in batches and hands groups of them to `give` until it says stop.
fn read_groups(
    database: &Path,
    info: &TableInfo,
    columns: &[&str],
    mut give: impl FnMut(Vec<RowBatch>) -> bool,
) -> Result<(), OperationError> {
    let reader = RowReader::open(database)?;
    let mut group = Vec::new();
    let mut batch = RowBatch::new(columns.len(), 0);
    let mut stopped = false;
    let rows = reader.read::<SqliteError>(info, columns, RowRange::All, |values| {
        if stopped {
            return Ok(());
        }
        batch.push_row(values.iter().map(to_cell));
        if batch.is_full() {
            let next = RowBatch::new(columns.len(), batch.first_row() + batch.len() as u64);
            group.push(std::mem::replace(&mut batch, next));
            if group.len() == GROUP_BATCHES {
                stopped = !give(std::mem::take(&mut group));
            }
        }
        Ok(())
    });
    rows?;
    if !batch.is_empty() {
        group.push(batch);
    }
    if !stopped && !group.is_empty() {
        // Whoever no longer listens has an error of its own to tell.
        give(group);
    }
    Ok(())
}

fn mask_group(
    plan: &Plan,
    table: &TablePlan,
    group: Vec<RowBatch>,
    originals: &mut Originals,
) -> Result<Vec<RowBatch>, OperationError> {
    let masked = table.mask_all(group.clone())?;
    let pairs: Vec<(RowBatch, RowBatch)> = group.into_iter().zip(masked).collect();
    originals.observe_all(plan, table, &pairs);
    Ok(pairs.into_iter().map(|(_, masked)| masked).collect())
}

fn load(
    rebuild: &mut Rebuild,
    info: &TableInfo,
    columns: &[&str],
    group: &[RowBatch],
) -> Result<(), OperationError> {
    let mut values = Vec::with_capacity(columns.len());
    for row in group.iter().flat_map(RowBatch::rows) {
        values.clear();
        values.extend(
            row.cells()
                .map(|cell| ToSqlOutput::Borrowed(to_value(cell))),
        );
        rebuild.insert(&info.name, columns, &values)?;
    }
    Ok(())
}

pub(crate) fn to_cell<'a>(value: &ValueRef<'a>) -> Cell<'a> {
    match *value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(bytes) => Cell::Text(bytes),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}

pub(crate) fn to_value(cell: Cell<'_>) -> ValueRef<'_> {
    match cell {
        Cell::Null => ValueRef::Null,
        Cell::Integer(number) => ValueRef::Integer(number),
        Cell::Real(number) => ValueRef::Real(number),
        Cell::Text(bytes) => ValueRef::Text(bytes),
        Cell::Blob(bytes) => ValueRef::Blob(bytes),
    }
}

fn integrity(rebuilt: &RebuildReport) -> IntegrityCheck {
    IntegrityCheck {
        name: "integrity_check and foreign_key_check".to_owned(),
        verdict: Verdict::from_passed(rebuilt.problems.is_empty()),
    }
}

fn hash_file(path: &Path) -> Result<String, OperationError> {
    let failed = |error| OperationError::io("read", path, error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(failed)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Counts of a report by gate, for the ledger.
pub(crate) fn gate_verdicts(report: &LeakReport) -> BTreeMap<String, String> {
    let verdict = |gate: &lifeboat_masking::Gate| match gate.verdict {
        Some(verdict) => verdict.to_string(),
        None => "nothing to look for".to_owned(),
    };
    report
        .gates()
        .iter()
        .map(|gate| (gate.name.to_owned(), verdict(gate)))
        .collect()
}

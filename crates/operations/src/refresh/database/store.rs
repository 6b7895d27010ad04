//! A masked copy in the repository, from where any number of databases can be made.
//!
//! The snapshot is a folder: `pre-data.sql`, `post-data.sql`, the rows of each table as COPY text,
//! `load.sql`, with which `psql` alone loads it, and `dump.json`, with which Lifeboat does.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use lifeboat_masking::LeakReport;
use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata, SnapshotId, SourceKind};
use lifeboat_repository::{Layout, Role, SnapshotWriter};
use lifeboat_source_postgres::logical::{Section, Statement, StatementKind};
use serde::{Deserialize, Serialize};

use super::Job;
use super::dump::Dump;
use super::spool::{Part, Spool};
use crate::backup::end_without_snapshot;
use crate::error::OperationError;
use crate::refresh::masked_draft;

/// Where Lifeboat finds what a masked copy is made of.
const DUMP: &str = "dump.json";
/// Layout of `dump.json`.
const VERSION: u32 = 1;

/// What `dump.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct DumpFile {
    version: u32,
    dump: Dump,
    parts: Vec<PartFile>,
}

/// A file of rows.
#[derive(Debug, Serialize, Deserialize)]
struct PartFile {
    table: usize,
    number: u32,
    rows: u64,
    path: String,
}

/// A masked copy whose content is in the repository, and which is no snapshot yet.
pub(super) struct Stored(SnapshotWriter);

impl Stored {
    /// Brings the content into the repository.
    pub(super) async fn write(
        job: &Job<'_>,
        dump: &Dump,
        spool: &Spool,
    ) -> Result<Self, OperationError> {
        let (session, environment) = (job.session, job.environment);
        let repository = session
            .open_repository(environment, job.home, Role::Writer)
            .await?;
        let of = (&job.way.source.name, SourceKind::PostgresDump);
        let draft = masked_draft(session, environment, of);
        let mut writer = repository.snapshot_writer(draft).await?;
        if let Err(error) = write(job, dump, spool, &mut writer).await {
            end_without_snapshot(writer).await;
            return Err(error);
        }
        Ok(Self(writer))
    }

    /// Makes it a snapshot: the gates have released it.
    pub(super) async fn commit(
        mut self,
        job: &Job<'_>,
        instant: Timestamp,
        leaks: &LeakReport,
    ) -> Result<SnapshotId, OperationError> {
        let from = serde_json::json!(job.plan.snapshot);
        self.0.fact("masked.from", from.to_string());
        let report = serde_json::to_string(leaks).expect("a report is plain data");
        self.0.fact("masked.report", report);
        Ok(self.0.commit(instant).await?.id)
    }

    /// Leaves it: nobody will find it.
    pub(super) async fn abandon(self) {
        end_without_snapshot(self.0).await;
    }
}

/// Writes the files in the order of their paths.
async fn write(
    job: &Job<'_>,
    dump: &Dump,
    spool: &Spool,
    writer: &mut SnapshotWriter,
) -> Result<(), OperationError> {
    let now_ns = job.session.world.clock.now().as_nanosecond() as i64;
    let mut files = Files { writer, now_ns };
    let file = DumpFile {
        version: VERSION,
        dump: dump.clone(),
        parts: spool
            .parts
            .iter()
            .map(|part| part_file(dump, part))
            .collect(),
    };
    let json = serde_json::to_vec_pretty(&file).expect("it is plain data");
    files.text(DUMP, &json).await?;
    files
        .text("load.sql", load_script(dump, &file.parts).as_bytes())
        .await?;
    files
        .text("post-data.sql", script(dump, Section::PostData).as_bytes())
        .await?;
    files
        .text("pre-data.sql", script(dump, Section::PreData).as_bytes())
        .await?;
    files.folder("tables").await?;
    for (at, _) in dump.catalog.tables.iter().enumerate() {
        files.folder(&folder_of(dump, at)).await?;
        for part in spool.parts.iter().filter(|part| part.table == at) {
            files.rows(&path_of(dump, part), part).await?;
        }
    }
    Ok(())
}

fn part_file(dump: &Dump, part: &Part) -> PartFile {
    PartFile {
        table: part.table,
        number: part.number,
        rows: part.rows,
        path: path_of(dump, part),
    }
}

/// Names the folder of a table so that people find it whatever it is called.
fn folder_of(dump: &Dump, table: usize) -> String {
    let name = dump.catalog.tables[table].name.to_string();
    let sound = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(100).map(sound).collect();
    format!("tables/{table:04}-{name}")
}

fn path_of(dump: &Dump, part: &Part) -> String {
    format!("{}/{:05}.copy", folder_of(dump, part.table), part.number)
}

fn script(dump: &Dump, section: Section) -> String {
    let statements = dump.ddl.statements.iter();
    let statements = statements.filter(|one| one.section == section && !is_event_trigger(one));
    statements.fold(String::new(), |mut text, one| {
        text.push_str(one.sql.trim());
        text.push_str("\n\n");
        text
    })
}

/// Tells those that are made last, or they would act on what fills the database.
fn is_event_trigger(statement: &Statement) -> bool {
    statement.kind == StatementKind::EventTrigger
}

/// Writes what `psql -f load.sql` needs to load the copy, run in its folder.
fn load_script(dump: &Dump, parts: &[PartFile]) -> String {
    let mut text = "-- Run in this folder: psql -d DATABASE -f load.sql\n\
                    \\set ON_ERROR_STOP on\n\\i pre-data.sql\n"
        .to_owned();
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes everything");
    for part in parts.iter().filter(|part| part.rows > 0) {
        let table = dump.catalog.tables[part.table].name.quoted();
        let columns: Vec<_> = dump
            .columns(part.table)
            .map(|column| column.quoted())
            .collect();
        let columns = columns.join(", ");
        line(format!("\\copy {table} ({columns}) FROM '{}'", part.path));
    }
    line("\\i post-data.sql".to_owned());
    for statement in dump.catalog.sequence_statements() {
        line(statement);
    }
    for view in &dump.catalog.materialized_views {
        line(format!("REFRESH MATERIALIZED VIEW {};", view.quoted()));
    }
    line("ANALYZE;".to_owned());
    let statements = dump.ddl.statements.iter();
    for statement in statements.filter(|one| is_event_trigger(one)) {
        line(statement.sql.trim().to_owned());
    }
    text
}

/// Writes files that come from nowhere on this disk.
struct Files<'a> {
    writer: &'a mut SnapshotWriter,
    now_ns: i64,
}

impl Files<'_> {
    fn entry(&self, path: &str, kind: EntryKind, mode: u32) -> Entry {
        Entry {
            path: EntryPath::new(path).expect("the layout's names are paths"),
            kind,
            metadata: Metadata {
                mode,
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                mtime_ns: self.now_ns,
                ctime_ns: self.now_ns,
                inode: 0,
                xattrs: Vec::new(),
            },
        }
    }

    async fn folder(&mut self, path: &str) -> Result<(), OperationError> {
        let entry = self.entry(path, EntryKind::Directory, 0o700);
        Ok(self.writer.add(entry).await?)
    }

    async fn text(&mut self, path: &str, text: &[u8]) -> Result<(), OperationError> {
        let kind = EntryKind::File {
            size: text.len() as u64,
        };
        let entry = self.entry(path, kind, 0o600);
        self.writer.begin_file(entry, Layout::Stream).await?;
        self.writer.write(text).await?;
        Ok(self.writer.end_file().await?)
    }

    async fn rows(&mut self, path: &str, part: &Part) -> Result<(), OperationError> {
        let entry = self.entry(path, EntryKind::File { size: part.bytes }, 0o600);
        self.writer.begin_file(entry, Layout::Stream).await?;
        let mut source = part.open()?;
        loop {
            let read = source.read(self.writer.room());
            let len = read.map_err(|error| OperationError::io("read", Path::new(path), error))?;
            if len == 0 {
                break;
            }
            self.writer.filled(len).await?;
        }
        Ok(self.writer.end_file().await?)
    }
}

/// Reads a masked copy that was restored into `folder`.
pub(super) fn open(folder: &Path) -> Result<(Dump, Spool), OperationError> {
    let path = folder.join(DUMP);
    let text = std::fs::read(&path).map_err(|error| OperationError::io("read", &path, error))?;
    let file: DumpFile = serde_json::from_slice(&text).map_err(|error| not_understood(&error))?;
    if file.version != VERSION {
        return Err(not_understood(&format!("its layout is {}", file.version)));
    }
    let part = |part: &PartFile| {
        let path = folder.join(&part.path);
        Part::plain(part.table, part.number, part.rows, path)
    };
    let parts = file.parts.iter().map(part).collect();
    Ok((file.dump, Spool { parts }))
}

fn not_understood(why: &dyn std::fmt::Display) -> OperationError {
    OperationError::Usage {
        message: format!("the masked copy's `{DUMP}` cannot be understood: {why}"),
        hint: "refresh anew, or use the program that made it".to_owned(),
    }
}

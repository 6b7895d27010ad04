//! Masking CSV and JSON Lines, from stream to stream.
//!
//! One thread reads and cuts the stream into groups of batches, the pool masks a group while the next
//! is read and the last is written by a third thread. At most a few groups are in memory, whatever the
//! length of the stream. A file appears under its name only once its gates passed; what went to
//! standard output has gone, and the exit code says what the gates say.

mod flow;
mod folder;
mod head;
mod io;
mod listing;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_masking::{
    Canaries, ColumnSchema, ColumnType, Csv, Evidence, JsonLines, LeakReport, Masked, NotMasked,
    Originals, OutputScan, Plan, RuleSet, ScanFindings, Schema, TablePlan, TableSchema, TextFormat,
    TextMasker, Unlisted, verify,
};
use lifeboat_model::{Problems, RunId, Verdict};
use lifeboat_runtime::Stopwatch;

use flow::{Flow, Input, Output, Passing, TableStream};
use head::Head;
use io::Sink;

pub(crate) use folder::{FolderTask, MaskedFolder, no_tables, not_alike};
pub(crate) use head::{no_header, refuse_other_delimiter, refuse_twice, refuse_values};
pub use io::StreamPlace;
pub(crate) use io::{failed_to_read, open};
pub(crate) use listing::TableFolder;

use crate::error::OperationError;
use crate::mask::MaskReport;
use crate::rules::Rules;
use crate::scratch::Scratch;
use crate::session::Session;

/// The form of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFormat {
    /// Comma-separated values with a header.
    Csv {
        /// What stands for NULL where it has no quotes.
        null: String,
    },
    /// One JSON object a line.
    JsonLines,
}

impl StreamFormat {
    /// Guesses the form from the name of a file; `null` stands for NULL in CSV.
    pub fn of_name(place: &StreamPlace, null: &str) -> Option<Self> {
        let (_, ending) = place.name_and_ending()?;
        match ending.as_str() {
            "csv" => Some(Self::Csv {
                null: null.to_owned(),
            }),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// Returns how rows of this form are taken apart.
    fn text(
        &self,
        table: Option<&TablePlan>,
        columns: &[String],
        unlisted: Unlisted,
    ) -> TextFormat {
        match self {
            Self::Csv { null } => TextFormat::Csv(Csv::new(columns.len(), null)),
            Self::JsonLines => {
                let table = table.expect("the plan has the table");
                TextFormat::JsonLines(JsonLines::new(table, unlisted))
            }
        }
    }
}

/// What to mask, and how.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The rule file.
    pub rules: PathBuf,
    /// The table in it; `None` if it has only one, or the input is called after it.
    pub table: Option<String>,
    /// The form of input and output.
    pub format: StreamFormat,
    /// Where the rows come from.
    pub input: StreamPlace,
    /// Where the masked rows go.
    pub output: StreamPlace,
}

/// A stream to mask and the plan for it: its header is read, and the rules cover it.
pub struct StreamTask {
    request: StreamRequest,
    table: String,
    plan: Arc<Plan>,
    canaries: Canaries,
    stream: TableStream,
    source: Box<dyn Read + Send>,
    /// What was read beyond the header.
    ahead: Vec<u8>,
    /// What is worth telling about the rules, no errors among it.
    pub warnings: Problems,
}

impl StreamTask {
    /// Reads the rules and the header, and fits them to each other.
    ///
    /// `scope_id` names this copy where the rules ask for fresh pseudonyms each time.
    ///
    /// # Errors
    /// Fails if the output exists, with every problem of the rules, or of the rules against the header
    /// (then as a refusal), or if the masking key is not to be had.
    pub fn prepare(
        session: &Session,
        request: StreamRequest,
        scope_id: &str,
    ) -> Result<Self, OperationError> {
        refuse_existing(&request.output)?;
        let rules = Rules::read(session, &request.rules)?;
        let table = table_of(&request, &rules.set)?;
        let key = rules.key(session, scope_id)?;
        let canaries = rules.planted(session)?.search();
        let shown = request.input.shown();
        let mut source =
            io::open(&request.input).map_err(|error| io::failed_to_read(&shown, error))?;
        let head = Head::read(&request.format, &shown, &rules.set, &table, &mut source)?;
        head.refuse_rows(&shown, &rules.set, &table)?;
        let schema = schema(&rules.set, &table, &head.columns);
        let (plan, warnings) = rules.fit(&schema, &key)?;
        let plan = Arc::new(plan.only(&table).expect("the schema has the table"));
        let format = request.format.text(
            plan.table(&table),
            &head.columns,
            rules.set.policy().unlisted,
        );
        let masker = TextMasker::new(plan.clone(), &table, format);
        let stream = TableStream {
            masker: masker.expect("the plan has the table"),
            header: head.header,
        };
        Ok(Self {
            request,
            table,
            plan,
            canaries,
            stream,
            source,
            ahead: head.ahead,
            warnings,
        })
    }

    /// Masks the stream and judges the result. Blocks.
    ///
    /// Returns whether the output is released: a file has its name then. Standard output has been
    /// written either way.
    ///
    /// # Errors
    /// Fails if a row is malformed or a value cannot be masked, or if reading or writing fails.
    pub fn run(self, session: &Session) -> Result<(MaskReport, bool), OperationError> {
        match self.request.output.clone() {
            StreamPlace::Standard => {
                let sink = Sink::standard();
                let (report, _) = self.run_to(session, sink, None)?;
                let passed = report.leak_report.verdict() == Verdict::Pass;
                Ok((report, passed))
            }
            StreamPlace::File(output) => {
                let run = RunId::from_bytes(session.world.entropy.bytes());
                let scratch = Scratch::beside(&output, ".masking", &run.to_string())?;
                let made = scratch.path().join("masked");
                let failed = |error| OperationError::io("create", &output, error);
                let sink = Sink::create(&made, &output).map_err(failed)?;
                let (report, judged) = self.run_to(session, sink, Some(&made))?;
                let Some(Ok(masked)) = judged else {
                    return Ok((report, false));
                };
                let made: PathBuf = masked.into_inner();
                lifeboat_source_sqlite::install(&made, &output)?;
                Ok((report, true))
            }
        }
    }

    fn run_to(
        mut self,
        session: &Session,
        sink: Sink,
        made: Option<&Path>,
    ) -> Result<(MaskReport, Option<Released>), OperationError> {
        let watch = Stopwatch::start(&*session.world.clock);
        session.progress.phase("masking", 0);
        let mut originals = Originals::new(&self.plan);
        let plan = self.plan.clone();
        let findings = ScanFindings::new(&plan);
        let flow = self.flow(session, sink, &mut originals, (findings, made.is_none()))?;
        let (flow, findings) = flow;
        let mask_secs = watch.elapsed().as_secs_f64();
        let mut evidence = evidence(session, flow.output_hash);
        evidence.source_rows.insert(self.table.clone(), flow.rows);
        session.progress.phase("looking for leaks", 0);
        let leak_report = self.judge(session, made, &originals, findings, &evidence)?;
        let report = MaskReport {
            tables: 1,
            rows: flow.rows,
            kept: self.stream.kept().collect(),
            emptied: Vec::new(),
            mask_secs,
            verify_secs: watch.elapsed().as_secs_f64() - mask_secs,
            leak_report,
        };
        let judged = made.map(|made| report.leak_report.release(made.to_owned()));
        Ok((report, judged))
    }

    /// Masks the stream; looks through it on the way if it `passes` and cannot be read back.
    fn flow(
        &mut self,
        session: &Session,
        sink: Sink,
        originals: &mut Originals,
        (findings, passes): (ScanFindings, bool),
    ) -> Result<(Flow, ScanFindings), OperationError> {
        let mut passing = Passing {
            plan: &self.plan,
            canaries: &self.canaries,
            findings,
        };
        let input = Input {
            source: &mut self.source,
            ahead: std::mem::take(&mut self.ahead),
            shown: &self.request.input.shown(),
            first_row: 0,
        };
        let output = Output {
            sink,
            shown: &self.request.output.shown(),
        };
        let pool = &session.world.pool;
        let look = passes.then_some(&mut passing);
        let flow = self.stream.flow(pool, input, output, originals, look);
        let flow = flow.map_err(|error| match &self.request.input {
            StreamPlace::File(path) => in_file(path, 0, error),
            StreamPlace::Standard => error,
        })?;
        Ok((flow, passing.findings))
    }

    /// Reads a finished file back, or takes what was found in passing, and puts it before the gates.
    fn judge(
        &self,
        session: &Session,
        made: Option<&Path>,
        originals: &Originals,
        findings: ScanFindings,
        evidence: &Evidence,
    ) -> Result<LeakReport, OperationError> {
        let mut scan = OutputScan::resume(&self.plan, originals, &self.canaries, findings);
        scan.scan_text("header", &String::from_utf8_lossy(&self.stream.header));
        if let Some(made) = made {
            self.stream
                .scan_file(&session.world.pool, made, &mut scan)?;
        }
        Ok(verify(&self.plan, originals, &scan, evidence))
    }
}

type Released = Result<Masked<PathBuf>, NotMasked>;

/// Names the file in which something is wrong, and counts the row in it.
fn in_file(path: &Path, first_row: u64, error: OperationError) -> OperationError {
    let error = match error {
        OperationError::Mask(mut error) => {
            error.row = error.row.saturating_sub(first_row);
            OperationError::Mask(error)
        }
        OperationError::RowTooLong(mut error) => {
            error.row = error.row.saturating_sub(first_row);
            OperationError::RowTooLong(error)
        }
        // They name it.
        other => return other,
    };
    OperationError::InFile {
        path: path.to_owned(),
        source: Box::new(error),
    }
}

/// What the gates are told of rows that came as a stream.
fn evidence(session: &Session, output_hash: String) -> Evidence {
    Evidence {
        tool_version: session.program.clone(),
        output_hash: Some(output_hash),
        is_keyless: true,
        ..Evidence::default()
    }
}

fn refuse_existing(output: &StreamPlace) -> Result<(), OperationError> {
    match output {
        StreamPlace::File(path) if path.symlink_metadata().is_ok() => {
            Err(lifeboat_source_sqlite::SqliteError::Exists { path: path.clone() }.into())
        }
        _ => Ok(()),
    }
}

/// Finds the table whose rules are meant.
fn table_of(request: &StreamRequest, rules: &RuleSet) -> Result<String, OperationError> {
    let tables: Vec<&str> = rules.tables().collect();
    if let Some(named) = &request.table {
        if tables.contains(&named.as_str()) {
            return Ok(named.clone());
        }
        return Err(OperationError::Usage {
            message: format!("`{}` has no rules for a table `{named}`", rules.file()),
            hint: format!("it has rules for {}", tables.join(", ")),
        });
    }
    if let [only] = tables[..] {
        return Ok(only.to_owned());
    }
    let name = request.input.name_and_ending();
    match name.and_then(|(stem, _)| table_called(rules, &stem)) {
        Some(table) => Ok(table),
        None => Err(OperationError::Usage {
            message: "it is not clear which table's rules are meant".to_owned(),
            hint: format!("name it with `--table`: {}", tables.join(", ")),
        }),
    }
}

/// Finds the table that rules call so; where none is written exactly so, whatever the case of letters.
fn table_called(rules: &RuleSet, name: &str) -> Option<String> {
    let exactly = rules.tables().find(|table| *table == name);
    let found = exactly.or_else(|| {
        let mut tables = rules.tables();
        tables.find(|table| table.eq_ignore_ascii_case(name))
    });
    found.map(str::to_owned)
}

/// Describes the table by its header, and the others that rules speak of by their rules.
fn schema(rules: &RuleSet, table: &str, columns: &[String]) -> Schema {
    let mut tables = vec![described(table, columns)];
    for other in rules.tables().filter(|other| *other != table) {
        let columns: Vec<_> = rules.columns(other).map(str::to_owned).collect();
        tables.push(described(other, &columns));
    }
    Schema { tables }
}

/// Describes a table whose columns hold text.
fn described(name: &str, columns: &[String]) -> TableSchema {
    TableSchema {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|column| ColumnSchema::new(column, ColumnType::Any))
            .collect(),
        rows: None,
    }
}

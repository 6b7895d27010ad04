//! Masking CSV and JSON Lines, from stream to stream.
//!
//! One thread reads and cuts the stream into groups of batches, the pool masks a group while the next
//! is read and the last is written by a third thread. At most a few groups are in memory, whatever the
//! length of the stream. A file appears under its name only once its gates passed; what went to
//! standard output has gone, and the exit code says what the gates say.

mod io;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use lifeboat_masking::{
    Canaries, ColumnClass, ColumnSchema, ColumnType, Csv, Evidence, IntegrityCheck, JsonLines,
    LeakReport, Originals, OutputScan, Plan, RuleSet, ScanFindings, Schema, TableSchema, TextBatch,
    TextBatches, TextFormat, TextMasker, verify,
};
use lifeboat_model::{ErrorKind, Problems, RunId, Verdict};
use lifeboat_runtime::Stopwatch;

use io::Sink;
pub use io::StreamPlace;

use crate::error::OperationError;
use crate::mask::{MaskReport, PlantedValues, masking_key};
use crate::scratch::Scratch;
use crate::session::Session;

/// Batches that travel together.
const GROUP_BATCHES: usize = 4;
/// Groups that wait between two stages.
const GROUPS_WAITING: usize = 1;
/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest header, in bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;

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
        let name = place.plain_name()?;
        let (_, ending) = name.rsplit_once('.')?;
        match ending {
            "csv" => Some(Self::Csv {
                null: null.to_owned(),
            }),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
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
    masker: TextMasker,
    source: Box<dyn Read + Send>,
    /// The header as it came, and what was read beyond it.
    header: Vec<u8>,
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
        let path = &request.rules;
        let text = std::fs::read_to_string(path)
            .map_err(|error| OperationError::io("read the masking rules", path, error))?;
        let name = path.strip_prefix(&session.config.root).unwrap_or(path);
        let name = name.display().to_string();
        let (rules, mut warnings) = RuleSet::parse(&name, &text)?;
        let table = table_of(&request, &rules)?;
        let key = masking_key(session, &rules, scope_id)?;
        let canaries = PlantedValues::fetch(session, &rules)?.search();
        let mut source = io::open(&request.input)
            .map_err(|error| OperationError::io("read", request.input.shown(), error))?;
        let Opening {
            columns,
            header,
            ahead,
        } = columns(&request, &rules, &table, &mut source)?;
        let schema = schema(&rules, &table, &columns);
        let (plan, more) = Plan::compile(&rules, &schema, &key).map_err(|mut problems| {
            problems.add_text(name.into(), text.as_str().into());
            OperationError::Problems {
                problems: Box::new(problems),
                kind: ErrorKind::Refused,
            }
        })?;
        warnings.merge(more);
        let plan = Arc::new(plan.only(&table).expect("the schema has the table"));
        let format = match &request.format {
            StreamFormat::Csv { null } => TextFormat::Csv(Csv::new(columns.len(), null)),
            StreamFormat::JsonLines => {
                let unlisted = rules.policy().unlisted;
                let table = plan.tables().next().expect("the plan has one table");
                TextFormat::JsonLines(JsonLines::new(table, unlisted))
            }
        };
        let masker = TextMasker::new(plan.clone(), &table, format);
        Ok(Self {
            request,
            masker: masker.expect("the plan has the table"),
            table,
            plan,
            canaries,
            source,
            header,
            ahead,
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
        let mut findings = ScanFindings::new(&self.plan);
        let passing = made.is_none().then_some(&mut findings);
        let flow = self.flow(session, sink, &mut originals, passing)?;
        let mask_secs = watch.elapsed().as_secs_f64();
        let mut evidence = Evidence {
            tool_version: session.program.clone(),
            output_hash: Some(flow.output_hash),
            ..Evidence::default()
        };
        evidence.source_rows.insert(self.table.clone(), flow.rows);
        evidence.integrity.push(IntegrityCheck {
            name: "every row has the header's fields".to_owned(),
            verdict: Verdict::Pass,
        });
        session.progress.phase("looking for leaks", 0);
        let leak_report = self.judge(session, made, &originals, findings, &evidence)?;
        let report = MaskReport {
            tables: 1,
            rows: flow.rows,
            kept: self.kept(),
            emptied: Vec::new(),
            mask_secs,
            verify_secs: watch.elapsed().as_secs_f64() - mask_secs,
            leak_report,
        };
        let judged = made.map(|made| report.leak_report.release(made.to_owned()));
        Ok((report, judged))
    }

    /// Lets the stream flow from its source through the masks into `sink`.
    ///
    /// With `passing` the masked rows are looked through as they pass.
    fn flow(
        &mut self,
        session: &Session,
        mut sink: Sink,
        originals: &mut Originals,
        mut passing: Option<&mut ScanFindings>,
    ) -> Result<Flow, OperationError> {
        let (source, ahead) = (&mut self.source, std::mem::take(&mut self.ahead));
        let (plan, masker, header) = (&self.plan, &self.masker, &self.header);
        let canaries = &self.canaries;
        let input = self.request.input.shown();
        let output = self.request.output.shown();
        let pool = &session.world.pool;
        std::thread::scope(|scope| {
            let (read, to_mask) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let (masked, to_write) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let reading = scope.spawn(move || {
                let mut cut = TextBatches::new(masker.format().clone());
                read_groups(source, &ahead, &mut cut, |group| read.send(group).is_ok())
                    .map_err(|fault| fault.at(&input))?;
                Ok::<(), OperationError>(())
            });
            let writing = scope.spawn(move || {
                let mut write = || {
                    sink.write(header)?;
                    for batch in to_write.iter().flatten() {
                        sink.write(&batch.bytes)?;
                    }
                    Ok(())
                };
                write()
                    .and_then(|()| sink.finish())
                    .map_err(|error| OperationError::io("write", &output, error))
            });
            let mut rows = 0;
            let mut masking: Result<(), OperationError> = Ok(());
            for group in to_mask {
                rows += group.iter().map(|batch| batch.rows).sum::<u64>();
                let done = pool.install(|| {
                    let masked = masker.mask_all(&group, originals)?;
                    if let Some(findings) = passing.as_deref_mut() {
                        let found = std::mem::replace(findings, ScanFindings::new(plan));
                        let mut scan = OutputScan::resume(plan, originals, canaries, found);
                        masker.scan_all(&masked, &mut scan)?;
                        *findings = scan.pause();
                    }
                    Ok(masked)
                });
                match done {
                    Ok(group) => {
                        // Whoever no longer writes has an error of its own to tell.
                        if masked.send(group).is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        masking = Err(error);
                        break;
                    }
                }
            }
            drop(masked);
            let written = writing.join().expect("writing does not panic");
            masking?;
            let output_hash = written?;
            reading.join().expect("reading does not panic")?;
            Ok(Flow { rows, output_hash })
        })
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
        scan.scan_text("header", &String::from_utf8_lossy(&self.header));
        if let Some(made) = made {
            self.scan_file(session, made, &mut scan)?;
        }
        Ok(verify(&self.plan, originals, &scan, evidence))
    }

    fn scan_file(
        &self,
        session: &Session,
        made: &Path,
        scan: &mut OutputScan<'_>,
    ) -> Result<(), OperationError> {
        let place = StreamPlace::File(made.to_owned());
        let failed = |error| OperationError::io("read back", made, error);
        let mut source = io::open(&place).map_err(failed)?;
        let mut header = vec![0; self.header.len()];
        source.read_exact(&mut header).map_err(failed)?;
        let masker = &self.masker;
        std::thread::scope(|scope| {
            let (read, to_scan) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let reading = scope.spawn(move || {
                let mut cut = TextBatches::new(masker.format().clone());
                read_groups(&mut source, &[], &mut cut, |group| read.send(group).is_ok())
            });
            let mut scanned = Ok(());
            for group in to_scan {
                scanned = session.world.pool.install(|| masker.scan_all(&group, scan));
                if scanned.is_err() {
                    break;
                }
            }
            scanned?;
            let read = reading.join().expect("reading does not panic");
            read.map_err(|fault| fault.at(made))
        })
    }

    /// The columns that pass unchanged in every row.
    fn kept(&self) -> Vec<String> {
        let columns = self.masker.table().columns();
        columns
            .filter(|(_, class)| *class == ColumnClass::Kept)
            .map(|(name, _)| format!("{}.{name}", self.table))
            .collect()
    }
}

type Released = Result<lifeboat_masking::Masked<PathBuf>, lifeboat_masking::NotMasked>;

/// What came of the flow.
struct Flow {
    rows: u64,
    output_hash: String,
}

/// Why a stream could not be read.
enum ReadFault {
    Io(std::io::Error),
    TooLong(lifeboat_masking::RowTooLong),
}

impl ReadFault {
    fn at(self, place: &Path) -> OperationError {
        match self {
            Self::Io(error) => OperationError::io("read", place, error),
            Self::TooLong(error) => OperationError::RowTooLong(error),
        }
    }
}

/// Cuts a stream into batches and hands groups of them to `give` until it says stop.
fn read_groups(
    source: &mut dyn Read,
    ahead: &[u8],
    cut: &mut TextBatches,
    mut give: impl FnMut(Vec<TextBatch>) -> bool,
) -> Result<(), ReadFault> {
    let mut group = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    group.extend(cut.push(ahead).map_err(ReadFault::TooLong)?);
    loop {
        let len = match source.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadFault::Io(error)),
        };
        if len == 0 {
            break;
        }
        group.extend(cut.push(&chunk[..len]).map_err(ReadFault::TooLong)?);
        if group.len() >= GROUP_BATCHES && !give(std::mem::take(&mut group)) {
            // Whoever no longer listens has an error of its own to tell.
            return Ok(());
        }
    }
    group.extend(cut.finish());
    if !group.is_empty() {
        give(group);
    }
    Ok(())
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
    let name = request.input.plain_name();
    let stem = name.as_deref().and_then(|name| name.rsplit_once('.'));
    match stem.filter(|(stem, _)| tables.contains(stem)) {
        Some((stem, _)) => Ok(stem.to_owned()),
        None => Err(OperationError::Usage {
            message: "it is not clear which table's rules are meant".to_owned(),
            hint: format!("name it with `--table`: {}", tables.join(", ")),
        }),
    }
}

/// What stands before the rows of a stream.
struct Opening {
    columns: Vec<String>,
    /// The header as it came; empty if there is none.
    header: Vec<u8>,
    /// What was read beyond it.
    ahead: Vec<u8>,
}

/// Reads what stands before the rows.
fn columns(
    request: &StreamRequest,
    rules: &RuleSet,
    table: &str,
    source: &mut dyn Read,
) -> Result<Opening, OperationError> {
    if request.format == StreamFormat::JsonLines {
        return Ok(Opening {
            columns: rules.columns(table).map(str::to_owned).collect(),
            header: Vec::new(),
            ahead: Vec::new(),
        });
    }
    let place = request.input.shown();
    let mut read = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (names, len) = loop {
        if let Some(header) = Csv::header(&read) {
            break header;
        }
        let len = source.read(&mut chunk);
        let len = len.map_err(|error| OperationError::io("read", &place, error))?;
        if len == 0 || read.len() > HEADER_BYTES_MAX {
            return Err(OperationError::Usage {
                message: format!("`{}` has no header that ends", place.display()),
                hint: "its first row must name the columns".to_owned(),
            });
        }
        read.extend_from_slice(&chunk[..len]);
    };
    for (n, name) in names.iter().enumerate() {
        if names[..n].contains(name) {
            return Err(OperationError::Usage {
                message: format!("the header names column `{name}` twice"),
                hint: "give each column a name of its own".to_owned(),
            });
        }
    }
    let ahead = read.split_off(len);
    Ok(Opening {
        columns: names,
        header: read,
        ahead,
    })
}

/// Describes the table by its header, and the others that rules speak of by their rules.
fn schema(rules: &RuleSet, table: &str, columns: &[String]) -> Schema {
    let of = |name: &str, columns: Vec<String>| TableSchema {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|column| ColumnSchema::new(column, ColumnType::Any))
            .collect(),
        rows: None,
    };
    let mut tables = vec![of(table, columns.to_vec())];
    for other in rules.tables().filter(|other| *other != table) {
        tables.push(of(other, rules.columns(other).map(str::to_owned).collect()));
    }
    Schema { tables }
}

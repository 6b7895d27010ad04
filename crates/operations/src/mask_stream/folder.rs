//! Masking a folder of CSV and JSON Lines into a new one, all tables by one plan.
//!
//! A file is of the table that it is called after (`customers.csv`, `customers.jsonl.gz`), or else of
//! the one that its folder is called after (`orders/2026-01.csv`). Other files are left out and named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_masking::{
    Canaries, LeakReport, Masked, Originals, OutputScan, Plan, RuleSet, Schema, TextMasker, verify,
};
use lifeboat_runtime::Stopwatch;

use super::flow::{Flow, Input, Output, TableStream};
use super::head::Head;
use super::io::{self, Sink};
use super::listing::{Below, TableFolder};
use super::{StreamFormat, StreamPlace, described, evidence, in_file, table_called};
use crate::error::OperationError;
use crate::mask::MaskReport;
use crate::rules::Rules;
use crate::session::Session;

/// A folder to mask and the plan for it: every header is read, and the rules cover them.
pub(crate) struct FolderTask {
    folder: PathBuf,
    files: Vec<TableFile>,
    plan: Arc<Plan>,
    canaries: Canaries,
    /// Files that are no tables.
    pub(crate) left_out: Vec<String>,
}

/// A folder that the gates were asked about.
pub(crate) struct MaskedFolder(pub(crate) PathBuf);

/// A file of rows.
struct TableFile {
    /// Its place in the folder.
    path: PathBuf,
    stream: TableStream,
}

/// What a look at a file found.
struct Found {
    path: PathBuf,
    table: String,
    format: StreamFormat,
    columns: Vec<String>,
    header: Vec<u8>,
}

impl FolderTask {
    /// Reads the rules and all headers below `folder`, and fits them to each other.
    ///
    /// # Errors
    /// Fails with every problem of the rules, or of the rules against the headers (then as a refusal),
    /// if files of one table have different headers, or if the masking key is not to be had.
    pub(crate) fn prepare(
        session: &Session,
        rules: &Path,
        folder: TableFolder<'_>,
        scope_id: &str,
    ) -> Result<Self, OperationError> {
        let rules = Rules::read(session, rules)?;
        let key = rules.key(session, scope_id)?;
        let canaries = rules.planted(session)?.search();
        let (mut found, mut left_out, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for Below { path, is_file } in folder.below()? {
            let shown = path.display();
            // What a link leads to may lie anywhere.
            if !is_file {
                left_out.push(format!("{shown}: no file"));
                continue;
            }
            let place = StreamPlace::File(folder.path.join(&path));
            let Some(format) = StreamFormat::of_name(&place, folder.null) else {
                left_out.push(format!("file {shown}: neither CSV nor JSON Lines"));
                continue;
            };
            match table_of(&path, &place, &rules.set) {
                Some(table) => found.push(Found::look(path, (place, format), table, &rules.set)?),
                None => unknown.push(format!("`{shown}`")),
            }
        }
        refuse_unknown(&unknown)?;
        if found.is_empty() {
            return Err(no_tables(folder.path));
        }
        let schema = schema(&found)?;
        let (plan, warnings) = rules.fit(&schema, &key)?;
        for warning in warnings.iter() {
            tracing::warn!("{warning}");
        }
        let plan = Arc::new(plan);
        let unlisted = rules.set.policy().unlisted;
        let with_masks = |file: Found| {
            let table = plan.table(&file.table);
            let format = file.format.text(table, &file.columns, unlisted);
            let masker = TextMasker::new(plan.clone(), &file.table, format);
            TableFile {
                path: file.path,
                stream: TableStream {
                    masker: masker.expect("the plan has every table of the schema"),
                    header: file.header,
                },
            }
        };
        Ok(Self {
            folder: folder.path.to_owned(),
            files: found.into_iter().map(with_masks).collect(),
            plan: plan.clone(),
            canaries,
            left_out,
        })
    }

    /// Masks into the new folder `output` and judges the result. Blocks.
    ///
    /// It is released only if every gate passes; otherwise the caller must remove it.
    ///
    /// # Errors
    /// Fails if a row is malformed or a value cannot be masked, or if reading or writing fails.
    pub(crate) fn run(
        &self,
        session: &Session,
        output: &Path,
    ) -> Result<(MaskReport, Result<Masked<MaskedFolder>, OperationError>), OperationError> {
        let watch = Stopwatch::start(&*session.world.clock);
        session.progress.phase("masking", 0);
        let mut originals = Originals::new(&self.plan);
        let mut rows = BTreeMap::<String, u64>::new();
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            let before = rows.entry(file.table().to_owned()).or_default();
            let flow = self.mask(session, (file, *before), output, &mut originals);
            let flow = flow.map_err(|error| in_file(&file.path, *before, error))?;
            *before += flow.rows;
            hasher.update(file.path.as_os_str().as_encoded_bytes());
            hasher.update(flow.output_hash.as_bytes());
        }
        let mask_secs = watch.elapsed().as_secs_f64();
        session.progress.phase("looking for leaks", 0);
        let leak_report = {
            let mut evidence = evidence(session, hasher.finalize().to_hex().to_string());
            evidence.source_rows = rows.clone();
            let scan = self.scan(session, output, &originals)?;
            verify(&self.plan, &originals, &scan, &evidence)
        };
        let released = leak_report.release(MaskedFolder(output.to_owned()));
        let verify_secs = watch.elapsed().as_secs_f64() - mask_secs;
        let report = self.report(&rows, leak_report, (mask_secs, verify_secs));
        Ok((report, released.map_err(OperationError::from)))
    }

    fn mask(
        &self,
        session: &Session,
        (file, first_row): (&TableFile, u64),
        output: &Path,
        originals: &mut Originals,
    ) -> Result<Flow, OperationError> {
        let from = self.folder.join(&file.path);
        let to = output.join(&file.path);
        let parent = to.parent().expect("it lies in the output");
        fs::create_dir_all(parent)
            .map_err(|error| OperationError::io("create the folder", parent, error))?;
        let failed = |error| io::failed_to_read(&file.path, error);
        let mut source = io::open(&StreamPlace::File(from.clone())).map_err(failed)?;
        let mut header = vec![0; file.stream.header.len()];
        source.read_exact(&mut header).map_err(failed)?;
        let sink =
            Sink::create(&to, &to).map_err(|error| OperationError::io("create", &to, error))?;
        let input = Input {
            source: &mut source,
            ahead: Vec::new(),
            shown: &file.path,
            first_row,
        };
        let output = Output { sink, shown: &to };
        let pool = &session.world.pool;
        file.stream.flow(pool, input, output, originals, None)
    }

    fn scan<'a>(
        &'a self,
        session: &Session,
        output: &Path,
        originals: &'a Originals,
    ) -> Result<OutputScan<'a>, OperationError> {
        let mut scan = OutputScan::new(&self.plan, originals, &self.canaries);
        for file in &self.files {
            // What a file is called is copied as it is.
            let name = file.path.to_string_lossy();
            for part in words_of(&file.path) {
                scan.scan_text("file name", &part);
            }
            let header = String::from_utf8_lossy(&file.stream.header);
            scan.scan_text(&format!("header of {name}"), &header);
            let made = output.join(&file.path);
            file.stream
                .scan_file(&session.world.pool, &made, &mut scan)?;
        }
        Ok(scan)
    }

    fn report(
        &self,
        rows: &BTreeMap<String, u64>,
        leak_report: LeakReport,
        (mask_secs, verify_secs): (f64, f64),
    ) -> MaskReport {
        let mut kept: Vec<String> = self
            .files
            .iter()
            .flat_map(|file| file.stream.kept())
            .collect();
        kept.sort();
        kept.dedup();
        MaskReport {
            tables: rows.len() as u64,
            rows: rows.values().sum(),
            kept,
            emptied: Vec::new(),
            leak_report,
            mask_secs,
            verify_secs,
        }
    }
}

impl TableFile {
    fn table(&self) -> &str {
        self.stream.masker.table().name()
    }
}

impl Found {
    /// Reads how a file of a table begins.
    fn look(
        path: PathBuf,
        (place, format): (StreamPlace, StreamFormat),
        table: String,
        rules: &RuleSet,
    ) -> Result<Self, OperationError> {
        let failed = |error| io::failed_to_read(&path, error);
        let mut source = io::open(&place).map_err(failed)?;
        let head = Head::read(&format, &path, rules, &table, &mut source)?;
        head.refuse_rows(&path, rules, &table)?;
        Ok(Self {
            path,
            table,
            format,
            columns: head.columns,
            header: head.header,
        })
    }
}

/// Finds the table that a file is of: the one it is called after, or else its folder.
fn table_of(path: &Path, place: &StreamPlace, rules: &RuleSet) -> Option<String> {
    let (stem, _) = place.name_and_ending()?;
    table_called(rules, &stem).or_else(|| {
        let folder = path.parent()?.file_name()?.to_str()?;
        table_called(rules, folder)
    })
}

/// Whatever the rules say of columns that they do not name: of a table that they do not name, not even
/// the header may be copied.
fn refuse_unknown(files: &[String]) -> Result<(), OperationError> {
    if files.is_empty() {
        return Ok(());
    }
    Err(OperationError::Refused {
        message: format!("no rule names the table of {}", files.join(", ")),
        hint:
            "add `[table.NAME]` with its columns to the masking rules, NAME being that of the file \
               without its ending, or of its folder"
                .to_owned(),
    })
}

/// Says that a folder holds no file of rows.
pub(crate) fn no_tables(folder: &Path) -> OperationError {
    OperationError::Refused {
        message: format!("`{}` holds neither CSV nor JSON Lines", folder.display()),
        hint: "see `path`, `include` and `exclude` of the source".to_owned(),
    }
}

/// Says that two files of a table are not alike.
pub(crate) fn not_alike(first: &Path, other: &Path, table: &str) -> OperationError {
    OperationError::Refused {
        message: format!(
            "`{}` and `{}` are of table `{table}` and have different columns",
            first.display(),
            other.display(),
        ),
        hint: "give them the same header, or a table of its own to each; a table is either CSV or JSON \
               Lines"
            .to_owned(),
    }
}

/// Returns what the parts of a path may say of people: as they are, without the endings of a table's
/// file, and as words.
fn words_of(path: &Path) -> Vec<String> {
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let stem = StreamPlace::File(path.to_owned()).name_and_ending();
    let as_they_are: Vec<String> = parts.chain(stem.map(|(stem, _)| stem)).collect();
    let as_words = as_they_are
        .iter()
        .map(|part| part.replace(['.', '_', '-', '+', '='], " "));
    let as_words: Vec<String> = as_words.collect();
    [as_they_are, as_words].concat()
}

/// Describes each table by the header that all its files have.
fn schema(files: &[Found]) -> Result<Schema, OperationError> {
    let mut tables = BTreeMap::<&str, &Found>::new();
    for file in files {
        let first = *tables.entry(&file.table).or_insert(file);
        if first.columns != file.columns {
            return Err(not_alike(&first.path, &file.path, &file.table));
        }
    }
    let tables = tables
        .iter()
        .map(|(name, file)| described(name, &file.columns));
    Ok(Schema {
        tables: tables.collect(),
    })
}

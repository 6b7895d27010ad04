//! Some rows of CSV and JSON Lines: of one file, or of each table of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use lifeboat_masking::{Cell, ColumnSchema, ColumnType, RowBatch, Schema, TableSchema};
use serde_json::{Map, Value};

use crate::error::OperationError;
use crate::mask_stream::{
    StreamPlace, TableFolder, failed_to_read, no_header, no_tables, not_alike, open,
    refuse_other_delimiter, refuse_twice, refuse_values,
};
use crate::sampled::SampledInput;

/// Longest line of JSON Lines that is read, bytes.
const LINE_MAX: u64 = 16 << 20;

/// The form of a file of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Fields between such bytes, and a header.
    Delimited(u8),
    JsonLines,
}

/// Some rows of a table.
enum TableSample {
    Delimited {
        columns: Vec<String>,
        rows: RowBatch,
    },
    JsonLines(Vec<Map<String, Value>>),
}

/// Reads at most `rows_max` rows of a file, which is a table called after it; `None` if its name is
/// that of something else.
pub(crate) fn of_file(
    input: &Path,
    rows_max: usize,
) -> Result<Option<SampledInput>, OperationError> {
    let Some((table, form)) = named(input) else {
        return Ok(None);
    };
    let sample = TableSample::read(input, input, form, rows_max)?;
    Ok(Some(sampled([(table, sample)])))
}

/// Reads at most `rows_max` rows of each table of a folder, as refreshes take them.
pub(crate) fn of_folder(
    folder: TableFolder<'_>,
    rows_max: usize,
) -> Result<SampledInput, OperationError> {
    let mut files = Vec::new();
    for below in folder.below()?.into_iter().filter(|below| below.is_file) {
        match named(&below.path) {
            // Refreshes take no TSV.
            None | Some((_, Form::Delimited(b'\t'))) => {}
            Some((name, form)) => {
                files.push(File::look(folder.path, below.path, name, form)?);
            }
        }
    }
    if files.is_empty() {
        return Err(no_tables(folder.path));
    }
    let mut tables = BTreeMap::<String, Vec<&File>>::new();
    for (table, file) in tables_of(&files).into_iter().zip(&files) {
        tables.entry(table).or_default().push(file);
    }
    let mut samples = Vec::new();
    for (table, files) in tables {
        let sample = sample_of(folder.path, &table, &files, rows_max)?;
        samples.push((table, sample));
    }
    Ok(sampled(samples))
}

/// A file of rows in a folder.
struct File {
    path: PathBuf,
    /// Without its ending.
    name: String,
    form: Form,
    /// Those of the header; JSON Lines have none.
    columns: Vec<String>,
}

impl File {
    fn look(
        folder: &Path,
        path: PathBuf,
        name: String,
        form: Form,
    ) -> Result<Self, OperationError> {
        let columns = match TableSample::read(&folder.join(&path), &path, form, 0)? {
            TableSample::Delimited { columns, .. } => columns,
            TableSample::JsonLines(_) => Vec::new(),
        };
        Ok(Self {
            path,
            name,
            form,
            columns,
        })
    }

    /// Returns the folder that it is a part in: its name has digits, as those of months and numbers do.
    fn part_in(&self) -> Option<&Path> {
        let folder = self.path.parent()?;
        let is_part = self.name.contains(|c: char| c.is_ascii_digit());
        (is_part && folder.file_name()?.to_str().is_some()).then_some(folder)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.form == other.form && self.columns == other.columns
    }
}

/// Names the table of each file: parts of a folder are of one called after it if they are alike, every
/// other file is a table of its own.
fn tables_of(files: &[File]) -> Vec<String> {
    let alike_in = |folder: &Path, file: &File| {
        let mut parts = files.iter().filter(|part| part.part_in() == Some(folder));
        parts.all(|part| part.is_like(file))
    };
    let table = |file: &File| {
        let folder = file.part_in().filter(|folder| alike_in(folder, file));
        let folder = folder.and_then(Path::file_name);
        match folder.and_then(|name| name.to_str()) {
            Some(name) => name.to_owned(),
            None => file.name.clone(),
        }
    };
    files.iter().map(table).collect()
}

/// Reads as many rows of each file of a table.
fn sample_of(
    folder: &Path,
    table: &str,
    files: &[&File],
    rows_max: usize,
) -> Result<TableSample, OperationError> {
    let first = files[0];
    if let Some(other) = files.iter().find(|file| !file.is_like(first)) {
        return Err(not_alike(&first.path, &other.path, table));
    }
    let each = rows_max.div_ceil(files.len());
    let mut read = files.iter().map(|file| {
        let File { path, form, .. } = file;
        TableSample::read(&folder.join(path), path, *form, each)
    });
    let mut sample = read.next().expect("a table has a file")?;
    for more in read {
        sample.append(more?);
    }
    Ok(sample)
}

impl TableSample {
    /// Reads at most `rows_max` rows; `shown` is how messages name the file.
    fn read(
        file: &Path,
        shown: &Path,
        form: Form,
        rows_max: usize,
    ) -> Result<Self, OperationError> {
        let failed = |error| failed_to_read(shown, error);
        let stream = open(&StreamPlace::File(file.to_owned())).map_err(failed)?;
        match form {
            Form::Delimited(delimiter) => read_delimited(stream, shown, delimiter, rows_max),
            Form::JsonLines => read_json_lines(stream, shown, rows_max),
        }
    }

    /// Takes the rows of another file of the same form and columns.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Delimited { rows, .. }, Self::Delimited { rows: more, .. }) => {
                more.rows().for_each(|row| rows.push_row(row.cells()));
            }
            (Self::JsonLines(records), Self::JsonLines(more)) => records.extend(more),
            _ => unreachable!("files of a table are alike"),
        }
    }

    fn columns_and_rows(self) -> (Vec<String>, RowBatch) {
        match self {
            Self::Delimited { columns, rows } => (columns, rows),
            Self::JsonLines(records) => rows_of(&records),
        }
    }
}

/// Takes a file's name apart: that of its table, and its form.
fn named(path: &Path) -> Option<(String, Form)> {
    let (name, ending) = StreamPlace::File(path.to_owned()).name_and_ending()?;
    let form = match ending.as_str() {
        "csv" => Form::Delimited(b','),
        "tsv" => Form::Delimited(b'\t'),
        "jsonl" | "ndjson" => Form::JsonLines,
        _ => return None,
    };
    Some((name, form))
}

fn sampled(tables: impl IntoIterator<Item = (String, TableSample)>) -> SampledInput {
    let mut input = SampledInput {
        schema: Schema { tables: Vec::new() },
        rows: Vec::new(),
    };
    for (name, sample) in tables {
        let (columns, rows) = sample.columns_and_rows();
        let columns = columns.into_iter();
        input.schema.tables.push(TableSchema {
            name,
            columns: columns
                .map(|name| ColumnSchema::new(name, ColumnType::Any))
                .collect(),
            rows: None,
        });
        input.rows.push(rows);
    }
    input
}

fn read_delimited(
    stream: impl Read,
    shown: &Path,
    delimiter: u8,
    rows_max: usize,
) -> Result<TableSample, OperationError> {
    let failed = |error: csv::Error| csv_error(shown, error);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(BufReader::new(stream));
    let columns: Vec<String> = reader
        .headers()
        .map_err(failed)?
        .iter()
        .map(str::to_owned)
        .collect();
    if columns.is_empty() {
        return Err(no_header(shown));
    }
    refuse_other_delimiter(&columns, shown)?;
    refuse_twice(&columns, shown)?;
    refuse_values(&columns, shown)?;
    let mut rows = RowBatch::new(columns.len(), 0);
    for record in reader.byte_records().take(rows_max) {
        let record = record.map_err(failed)?;
        rows.push_row(record.iter().map(Cell::Text));
    }
    Ok(TableSample::Delimited { columns, rows })
}

/// The library's own words repeat fields of the file, so only the place is told.
fn csv_error(shown: &Path, error: csv::Error) -> OperationError {
    let line = error.position().map_or(0, csv::Position::line);
    let what = match error.into_kind() {
        csv::ErrorKind::Io(error) => return failed_to_read(shown, error),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("line {line} has {len} fields and the header {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "the header is not valid UTF-8".to_owned(),
        _ => format!("line {line} is none of a CSV file"),
    };
    OperationError::Malformed {
        path: shown.to_owned(),
        format: "CSV",
        what,
        hint: "the first line names the columns, every other has as many fields",
    }
}

fn read_json_lines(
    stream: impl Read,
    shown: &Path,
    rows_max: usize,
) -> Result<TableSample, OperationError> {
    let failed = |error| failed_to_read(shown, error);
    let mut reader = BufReader::new(stream);
    let mut records = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        if records.len() == rows_max {
            break;
        }
        line.clear();
        let mut limited = Read::take(&mut reader, LINE_MAX);
        if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Value::Object(members)) => records.push(members),
            _ => {
                return Err(OperationError::Malformed {
                    path: shown.to_owned(),
                    format: "JSON Lines",
                    what: format!("line {number} is not one JSON object"),
                    hint: "JSON Lines has one object on each line",
                });
            }
        }
    }
    Ok(TableSample::JsonLines(records))
}

/// Gives each member that some record has a column.
fn rows_of(records: &[Map<String, Value>]) -> (Vec<String>, RowBatch) {
    let names = records.iter().flat_map(Map::keys);
    let names: BTreeSet<&String> = names.collect();
    let mut rows = RowBatch::new(names.len(), 0);
    for record in records {
        let texts: Vec<Option<String>> =
            names.iter().map(|name| nested(record.get(*name))).collect();
        rows.push_row(names.iter().zip(&texts).map(|(name, text)| {
            match (record.get(*name), text) {
                (_, Some(text)) => Cell::Text(text.as_bytes()),
                (Some(Value::String(text)), _) => Cell::Text(text.as_bytes()),
                (Some(Value::Bool(flag)), _) => Cell::Integer(i64::from(*flag)),
                (Some(Value::Number(number)), _) => match (number.as_i64(), number.as_f64()) {
                    (Some(number), _) => Cell::Integer(number),
                    (None, Some(number)) => Cell::Real(number),
                    (None, None) => Cell::Null,
                },
                _ => Cell::Null,
            }
        }));
    }
    (names.into_iter().cloned().collect(), rows)
}

/// Writes what lies inside a member as a document.
fn nested(value: Option<&Value>) -> Option<String> {
    value
        .filter(|value| value.is_object() || value.is_array())
        .map(ToString::to_string)
}

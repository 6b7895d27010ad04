//! Some rows of an input, whatever it is: a SQLite database, CSV or JSON Lines.
//!
//! For those who need an impression and not all rows: discovery and preview. Rows stay in memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use lifeboat_masking::{Cell, ColumnSchema, ColumnType, RowBatch, Schema, TableSchema};
use lifeboat_source_sqlite::{RowRange, RowReader, SqliteError, TableInfo, read_schema};
use serde_json::Value;

use crate::error::OperationError;
use crate::mask::{describe, to_cell};

/// Places of a table that rows are taken from, so that they are not all of its beginning.
const PLACES: usize = 16;
/// Longest line of JSON Lines that is read, bytes.
const LINE_MAX: u64 = 16 << 20;

/// The schema of an input and some of its rows.
pub(crate) struct SampledInput {
    pub(crate) schema: Schema,
    /// Rows of each table, in the schema's order.
    pub(crate) rows: Vec<RowBatch>,
}

impl SampledInput {
    /// Reads at most `rows_max` rows of each table, or of the one that is asked for.
    pub(crate) fn read(
        input: &Path,
        table: Option<&str>,
        rows_max: usize,
    ) -> Result<Self, OperationError> {
        let extension = input.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => read_csv(input, b',', rows_max),
            Some("tsv") => read_csv(input, b'\t', rows_max),
            Some("jsonl" | "ndjson") => read_json_lines(input, rows_max),
            _ => read_database(input, table, rows_max),
        }
    }
}

fn read_database(
    input: &Path,
    only: Option<&str>,
    rows_max: usize,
) -> Result<SampledInput, OperationError> {
    let database = read_schema(input)?;
    let reader = RowReader::open(input)?;
    let schema = describe(&database, &reader)?;
    let mut rows = Vec::new();
    for table in &schema.tables {
        let stored = table.columns.iter().filter(|column| !column.generated);
        let columns: Vec<&str> = stored.map(|column| column.name.as_str()).collect();
        let mut batch = RowBatch::new(columns.len(), 0);
        let info = database.table(&table.name);
        if let Some(info) = info.filter(|_| only.is_none_or(|only| only == table.name)) {
            sample_table(&reader, info, &columns, rows_max, &mut batch)?;
        }
        rows.push(batch);
    }
    Ok(SampledInput { schema, rows })
}

/// Why reading ended before the end of a range.
enum Stop {
    Enough,
    Failed(SqliteError),
}

impl From<SqliteError> for Stop {
    fn from(error: SqliteError) -> Self {
        Self::Failed(error)
    }
}

fn sample_table(
    reader: &RowReader,
    info: &TableInfo,
    columns: &[&str],
    rows_max: usize,
    batch: &mut RowBatch,
) -> Result<(), OperationError> {
    let ranges = match reader.count(info)? {
        count if count <= rows_max as u64 => vec![RowRange::All],
        _ => reader.ranges(info, PLACES)?,
    };
    let each = rows_max.div_ceil(ranges.len().max(1));
    for range in ranges {
        let mut taken = 0;
        let read = reader.read::<Stop>(info, columns, range, |values| {
            if taken == each || batch.len() == rows_max {
                return Err(Stop::Enough);
            }
            taken += 1;
            batch.push_row(values.iter().map(to_cell));
            Ok(())
        });
        match read {
            Ok(_) | Err(Stop::Enough) => {}
            Err(Stop::Failed(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_csv(input: &Path, delimiter: u8, rows_max: usize) -> Result<SampledInput, OperationError> {
    let failed = |error: csv::Error| csv_error(input, &error);
    let file = File::open(input).map_err(|error| OperationError::io("open", input, error))?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(BufReader::new(file));
    let names: Vec<String> = reader
        .headers()
        .map_err(failed)?
        .iter()
        .map(str::to_owned)
        .collect();
    let mut rows = RowBatch::new(names.len(), 0);
    for record in reader.byte_records().take(rows_max) {
        let record = record.map_err(failed)?;
        rows.push_row(record.iter().map(Cell::Text));
    }
    Ok(one_table(input, names, rows))
}

/// The library's own words repeat fields of the file, so only the place is told.
fn csv_error(input: &Path, error: &csv::Error) -> OperationError {
    let line = error.position().map_or(0, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("it has {len} fields and the header {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the header is not valid UTF-8".to_owned(),
        _ => "it cannot be read as CSV".to_owned(),
    };
    OperationError::Usage {
        message: format!("line {line} of `{}` does not do: {what}", input.display()),
        hint: "the first line names the columns, every other has as many fields".to_owned(),
    }
}

fn read_json_lines(input: &Path, rows_max: usize) -> Result<SampledInput, OperationError> {
    let failed = |error| OperationError::io("read", input, error);
    let mut reader = BufReader::new(File::open(input).map_err(failed)?);
    let mut records = Vec::new();
    let mut names = BTreeSet::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, LINE_MAX);
        let len = limited.read_until(b'\n', &mut line).map_err(failed)?;
        if len == 0 || records.len() == rows_max {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Value::Object(members)) => {
                names.extend(members.keys().cloned());
                records.push(members);
            }
            _ => {
                return Err(OperationError::Usage {
                    message: format!("line {number} of `{}` is no JSON object", input.display()),
                    hint: "JSON Lines has one object on each line".to_owned(),
                });
            }
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    let mut rows = RowBatch::new(names.len(), 0);
    for record in &records {
        let texts: Vec<Option<String>> =
            names.iter().map(|name| nested(record.get(name))).collect();
        rows.push_row(names.iter().zip(&texts).map(|(name, text)| {
            match (record.get(name), text) {
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
    Ok(one_table(input, names, rows))
}

/// Writes what lies inside a member as a document.
fn nested(value: Option<&Value>) -> Option<String> {
    value
        .filter(|value| value.is_object() || value.is_array())
        .map(ToString::to_string)
}

/// A file is one table, called after it.
fn one_table(input: &Path, names: Vec<String>, rows: RowBatch) -> SampledInput {
    let name = input.file_stem().unwrap_or_default().to_string_lossy();
    let columns = names.into_iter();
    SampledInput {
        schema: Schema {
            tables: vec![TableSchema {
                name: name.into_owned(),
                columns: columns
                    .map(|name| ColumnSchema::new(name, ColumnType::Any))
                    .collect(),
                rows: None,
            }],
        },
        rows: vec![rows],
    }
}

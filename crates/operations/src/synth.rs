//! Making a data set out of nothing but a schema and rules: for development and tests, which may hold
//! no production data.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use lifeboat_masking::{
    Cell, ColumnType, RowBatch, RowCounts, RuleSet, Schema, Synthesis, schema_of_rules,
};
use lifeboat_model::RunId;
use lifeboat_runtime::Stopwatch;
use lifeboat_source_sqlite::{
    DatabaseSchema, Rebuild, SqliteError, ToSqlOutput, install, parse_schema, read_schema,
    read_schema_of_sql,
};
use serde::Serialize;

use crate::error::OperationError;
use crate::mask::{describe_tables, to_value};
use crate::rules::Rules;
use crate::scratch::Scratch;
use crate::session::Session;

/// Rows that are made at once, by one thread.
const ROWS_AT_ONCE: u64 = 4_096;
/// Groups of rows that wait to be written.
const GROUPS_WAITING: usize = 2;

/// What to make.
#[derive(Debug, Clone)]
pub struct SynthRequest {
    /// The masking rules: they say what values look like.
    pub rules: PathBuf,
    /// A SQLite database or a file of SQL statements whose schema to use; without one the rules' own
    /// tables and columns are made. No row of it is read.
    pub schema: Option<PathBuf>,
    /// How many rows.
    pub rows: RowCounts,
    /// Equal seeds make equal data.
    pub seed: u64,
    /// The table to make, for a CSV file.
    pub table: Option<String>,
    /// The new file: `.csv`, otherwise a SQLite database.
    pub out: PathBuf,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct SynthReport {
    /// Rows by table.
    pub tables: Vec<(String, u64)>,
    /// Rows in all.
    pub rows: u64,
    /// How long it took, seconds.
    pub secs: f64,
}

/// Makes a data set. The file appears only when it is whole. Blocks.
///
/// # Errors
/// Fails if the rules do not fit the schema, if the file exists or cannot be written, or if the
/// finished database breaks one of its own constraints.
pub fn synth(session: &Session, request: &SynthRequest) -> Result<SynthReport, OperationError> {
    let watch = Stopwatch::start(&*session.world.clock);
    let rules = Rules::read(session, &request.rules)?;
    let database = database_schema(request, &rules.set)?;
    let schema = describe_tables(&database, |_| Ok(None))?;
    for table in request.rows.of.keys().chain(&request.table) {
        if schema.table(table).is_none() {
            return Err(no_table(table, &schema));
        }
    }
    let compiled = Synthesis::compile(&rules.set, &schema, request.seed, &request.rows);
    let (synthesis, _) = compiled.map_err(|problems| rules.refused(problems))?;
    if request.out.symlink_metadata().is_ok() {
        let path = request.out.clone();
        return Err(SqliteError::Exists { path }.into());
    }
    session.progress.phase("making rows", 0);
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let scratch = Scratch::beside(&request.out, ".synth", &run.to_string())?;
    let made = scratch.path().join("made");
    let is_csv = request
        .out
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let tables = if is_csv {
        write_csv(session, &synthesis, request.table.as_deref(), &made)?
    } else {
        write_database(session, &synthesis, &database, &made)?
    };
    install(&made, &request.out)?;
    Ok(SynthReport {
        rows: tables.iter().map(|(_, rows)| rows).sum(),
        tables,
        secs: watch.elapsed().as_secs_f64(),
    })
}

fn database_schema(
    request: &SynthRequest,
    rules: &RuleSet,
) -> Result<DatabaseSchema, OperationError> {
    let Some(file) = &request.schema else {
        let sql = statements(&schema_of_rules(rules));
        return Ok(parse_schema(&sql, &request.rules)?);
    };
    let is_sql = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("sql"));
    Ok(match is_sql {
        true => read_schema_of_sql(file)?,
        false => read_schema(file)?,
    })
}

/// Writes the tables that rules name as SQL.
fn statements(schema: &Schema) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let table = |table: &lifeboat_masking::TableSchema| {
        let columns = table.columns.iter().map(|column| {
            let ty = if column.ty == ColumnType::Integer {
                "INTEGER"
            } else {
                "TEXT"
            };
            let key = if column.primary_key {
                " PRIMARY KEY"
            } else {
                ""
            };
            let reference = column
                .references
                .as_ref()
                .map(|(table, column)| format!(" REFERENCES {} ({})", quote(table), quote(column)));
            format!(
                "{} {ty}{key}{}",
                quote(&column.name),
                reference.unwrap_or_default()
            )
        });
        let columns: Vec<String> = columns.collect();
        format!(
            "CREATE TABLE {} ({});\n",
            quote(&table.name),
            columns.join(", ")
        )
    };
    schema.tables.iter().map(table).collect()
}

fn no_table(name: &str, schema: &Schema) -> OperationError {
    let names: Vec<&str> = schema
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    OperationError::Usage {
        message: format!("there is no table `{name}` to make"),
        hint: match lifeboat_document::suggest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        },
    }
}

fn write_database(
    session: &Session,
    synthesis: &Synthesis,
    database: &DatabaseSchema,
    file: &Path,
) -> Result<Vec<(String, u64)>, OperationError> {
    let mut rebuild = Rebuild::create(file, database)?;
    let mut tables = Vec::new();
    for (table, rows) in synthesis.tables() {
        let columns = synthesis.columns(table);
        make(session, synthesis, table, rows, |batch| {
            let mut values = Vec::with_capacity(columns.len());
            for row in batch.rows() {
                values.clear();
                values.extend(
                    row.cells()
                        .map(|cell| ToSqlOutput::Borrowed(to_value(cell))),
                );
                rebuild.insert(table, &columns, &values)?;
            }
            Ok(())
        })?;
        tables.push((table.to_owned(), rows));
    }
    let rebuilt = rebuild.finish()?;
    if rebuilt.problems.is_empty() {
        return Ok(tables);
    }
    Err(OperationError::Usage {
        message: format!(
            "the schema has constraints that synthetic rows do not keep: {}",
            rebuilt.problems.join("; ")
        ),
        hint: "ask for fewer rows of that table, or give its columns rules that fit".to_owned(),
    })
}

fn write_csv(
    session: &Session,
    synthesis: &Synthesis,
    table: Option<&str>,
    file: &Path,
) -> Result<Vec<(String, u64)>, OperationError> {
    let all: Vec<(&str, u64)> = synthesis.tables().collect();
    let chosen: Vec<_> = all
        .iter()
        .filter(|(name, _)| table.is_none_or(|table| table == *name))
        .collect();
    let [(name, rows)] = chosen[..] else {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        return Err(OperationError::Usage {
            message: "a CSV file holds one table, and there are several".to_owned(),
            hint: format!("choose one with `--table`: {}", names.join(", ")),
        });
    };
    let failed = |error| OperationError::io("write", file, error);
    let created = File::create_new(file).map_err(failed)?;
    let mut writer = csv::Writer::from_writer(BufWriter::new(created));
    writer
        .write_record(synthesis.columns(name))
        .map_err(|error| failed(error.into()))?;
    make(session, synthesis, name, *rows, |batch| {
        for row in batch.rows() {
            for cell in row.cells() {
                let written = match cell {
                    Cell::Null => writer.write_field(""),
                    Cell::Integer(number) => writer.write_field(number.to_string()),
                    Cell::Real(number) => writer.write_field(number.to_string()),
                    Cell::Text(bytes) | Cell::Blob(bytes) => writer.write_field(bytes),
                };
                written.map_err(|error| failed(error.into()))?;
            }
            writer
                .write_record(None::<&[u8]>)
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    })?;
    let mut inner = writer
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    inner.flush().map_err(failed)?;
    inner.get_ref().sync_all().map_err(failed)?;
    Ok(vec![((*name).to_owned(), *rows)])
}

/// Makes the rows of a table on the pool and hands them over in order.
fn make(
    session: &Session,
    synthesis: &Synthesis,
    table: &str,
    rows: u64,
    mut write: impl FnMut(&RowBatch) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let pool = &session.world.pool;
    let batches = pool.width() as u64;
    let at_once = ROWS_AT_ONCE * batches;
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(GROUPS_WAITING);
        scope.spawn(move || {
            let mut first = 0;
            while first < rows {
                let made = pool.install(|| synthesis.batches(table, first, batches, ROWS_AT_ONCE));
                if send.send(made).is_err() {
                    break;
                }
                first += at_once;
            }
        });
        for made in receive {
            for batch in made? {
                write(&batch)?;
            }
        }
        Ok(())
    })
}

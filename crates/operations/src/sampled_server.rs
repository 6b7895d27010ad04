//! Schema and some rows of a PostgreSQL database, read from its server.

use lifeboat_config::SourceId;
use lifeboat_masking::{Cell, CopyText, RowBatch};
use lifeboat_source_postgres::logical::{
    BaseType, CopyColumn, CopyReader, CopyTable, LogicalSource,
};

use crate::cluster::conninfo;
use crate::error::OperationError;
use crate::refresh::describe_database;
use crate::sampled::SampledInput;
use crate::session::Session;

/// Bytes of a table that are looked at: rows can be long.
const SAMPLE_BYTES_MAX: usize = 8 << 20;

/// Reads at most `rows_max` rows of each table of the database that a source's `url` names.
pub(crate) async fn read(
    session: &Session,
    source: &SourceId,
    rows_max: usize,
) -> Result<SampledInput, OperationError> {
    let view = open(session, source).await?;
    let reader = view.reader().await?;
    let mut rows = Vec::new();
    for table in &view.catalog().tables {
        rows.push(sample(&reader, table, rows_max).await?);
    }
    Ok(SampledInput {
        schema: describe_database(view.catalog()),
        rows,
    })
}

/// Connects to the server of a source.
pub(crate) async fn open(
    session: &Session,
    source: &SourceId,
) -> Result<LogicalSource, OperationError> {
    let (_, found) = session.config.source(source)?;
    let Some(cluster) = found.cluster() else {
        return Err(OperationError::Usage {
            message: format!("`{source}` is neither a PostgreSQL cluster nor a folder"),
            hint: "name the file with `--input`, or a copy of it while somebody writes to it"
                .to_owned(),
        });
    };
    let conninfo = conninfo(session, cluster)?;
    let view = LogicalSource::open(&conninfo).await?;
    refuse_empty(&view, &conninfo.dbname)?;
    Ok(view)
}

/// A database without tables is another one than was meant.
pub(crate) fn refuse_empty(view: &LogicalSource, database: &str) -> Result<(), OperationError> {
    if !view.catalog().tables.is_empty() {
        return Ok(());
    }
    Err(OperationError::Usage {
        message: format!("database `{database}` has no table with columns"),
        hint: "name the database that is meant in the source's `url`, as in `dbname=shop`"
            .to_owned(),
    })
}

async fn sample(
    reader: &CopyReader,
    table: &CopyTable,
    rows_max: usize,
) -> Result<RowBatch, OperationError> {
    let stored = table.columns.iter().filter(|column| !column.generated);
    let stored: Vec<&CopyColumn> = stored.collect();
    let mut text = Vec::new();
    let mut take = |chunk: &[u8]| {
        text.extend_from_slice(chunk);
        text.len() < SAMPLE_BYTES_MAX
    };
    reader.sample(table, rows_max, &mut take).await?;
    // A row that was cut off is none.
    let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    text.truncate(whole);
    let mut batch = RowBatch::new(stored.len(), 0);
    let mut decoded: Vec<Vec<u8>> = vec![Vec::new(); stored.len()];
    // The server escapes every tab and line feed of a value.
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let fields = line.split(|byte| *byte == b'\t');
        let cells = fields.zip(&mut decoded).zip(&stored);
        let cells = cells.map(|((raw, value), column)| cell(raw, value, column.base));
        batch.push_row(cells);
    }
    Ok(batch)
}

fn cell<'v>(raw: &[u8], value: &'v mut Vec<u8>, base: BaseType) -> Cell<'v> {
    if raw == b"\\N" {
        return Cell::Null;
    }
    value.clear();
    CopyText::decode(raw, value);
    let number = || std::str::from_utf8(value).ok()?.parse().ok();
    match base {
        BaseType::Integer => number().map_or(Cell::Text(value), Cell::Integer),
        _ => Cell::Text(value),
    }
}

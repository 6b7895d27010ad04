//! Some rows of an input, whatever it is: a SQLite database, CSV or JSON Lines.
//!
//! For those who need an impression and not all rows: discovery and preview. Rows stay in memory.

use std::path::Path;

use lifeboat_masking::{RowBatch, Schema};
use lifeboat_source_sqlite::{RowRange, RowReader, SqliteError, TableInfo, read_schema};

use crate::error::OperationError;
use crate::mask::{describe, to_cell};
use crate::sampled_files;

/// Places of a table that rows are taken from, so that they are not all of its beginning.
const PLACES: usize = 16;

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
        match sampled_files::of_file(input, rows_max)? {
            Some(sampled) => Ok(sampled),
            None => read_database(input, table, rows_max),
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

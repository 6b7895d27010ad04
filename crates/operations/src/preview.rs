//! Some rows before and after masking, for the eyes of somebody who may see production.
//!
//! What is here must go nowhere but onto a terminal: no file, no log, no report.

use std::fmt;
use std::path::Path;

use lifeboat_config::SourceId;
use lifeboat_masking::{Cell, ColumnClass, Plan, RowBatch, Schema};

use crate::error::OperationError;
use crate::mask_stream::{FolderTask, TableFolder};
use crate::refresh::describe_database;
use crate::rules::Rules;
use crate::sampled::SampledInput;
use crate::sampled_server;
use crate::session::Session;

/// Longest value that is shown, in characters.
const SHOWN_CHARS: usize = 60;

/// Rows of one table, before and after. Prints nothing of them by itself.
pub struct PreviewTable {
    /// The table.
    pub name: String,
    /// Its columns, and how each came to its rule.
    pub columns: Vec<(String, ColumnClass)>,
    /// Each row: a pair of texts for each column, before and after.
    pub rows: Vec<Vec<(String, String)>>,
}

impl fmt::Debug for PreviewTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.len();
        write!(f, "PreviewTable({}, {rows} rows)", self.name)
    }
}

/// Masks some rows of `input` in memory, of all tables or of one. Blocks.
///
/// # Errors
/// Fails as [`crate::MaskTask::prepare`] does, or if a value cannot be masked, or if there is no such
/// table.
pub fn preview(
    session: &Session,
    rules: &Path,
    input: &Path,
    table: Option<&str>,
    rows: usize,
) -> Result<Vec<PreviewTable>, OperationError> {
    let sampled = SampledInput::read(input, table, rows)?;
    if let Some(name) = table.filter(|name| sampled.schema.table(name).is_none()) {
        return Err(no_table(name, &sampled.schema));
    }
    let plan = fit(session, rules, &sampled.schema)?;
    let mut shown = Vec::new();
    for (schema, before) in sampled.schema.tables.iter().zip(&sampled.rows) {
        let Some(plan) = plan.table(&schema.name) else {
            continue;
        };
        if before.is_empty() || table.is_some_and(|only| only != schema.name) {
            continue;
        }
        let after = plan.mask(before)?;
        shown.push(PreviewTable {
            name: schema.name.clone(),
            columns: plan
                .columns()
                .map(|(name, class)| (name.to_owned(), class))
                .collect(),
            rows: pairs(before, &after),
        });
    }
    Ok(shown)
}

/// Fits rules to a source: to the PostgreSQL database that its `url` names, or to the headers of a
/// folder of CSV and JSON Lines. Reads no row.
///
/// # Errors
/// Fails with every problem of the rules, or of the rules against the source (then as a refusal), or
/// if the masking key is not to be had.
pub async fn check_source(
    session: &Session,
    rules: &Path,
    source: &SourceId,
) -> Result<(), OperationError> {
    let (_, found) = session.config.source(source)?;
    if let Some(folder) = TableFolder::of_source(found) {
        return FolderTask::prepare(session, rules, folder, "check").map(drop);
    }
    let view = sampled_server::open(session, source).await?;
    let schema = describe_database(view.catalog());
    fit(session, rules, &schema).map(drop)
}

/// Reads the rules and fits them to a schema.
fn fit(session: &Session, rules: &Path, schema: &Schema) -> Result<Plan, OperationError> {
    let rules = Rules::read(session, rules)?;
    let key = rules.key(session, "preview")?;
    let (plan, _) = rules.fit(schema, &key)?;
    Ok(plan)
}

fn no_table(name: &str, schema: &Schema) -> OperationError {
    let names: Vec<&str> = schema
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    OperationError::Usage {
        message: format!("there is no table `{name}`"),
        hint: match lifeboat_document::suggest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        },
    }
}

fn pairs(before: &RowBatch, after: &RowBatch) -> Vec<Vec<(String, String)>> {
    let rows = before.rows().zip(after.rows());
    rows.map(|(before, after)| {
        let cells = before.cells().zip(after.cells());
        cells
            .map(|(before, after)| (text(before), text(after)))
            .collect()
    })
    .collect()
}

fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let mut shown: String = text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(SHOWN_CHARS)
                .collect();
            if text.chars().nth(SHOWN_CHARS).is_some() {
                shown.push('…');
            }
            shown
        }
        Cell::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

//! Proposing masking rules for an input that has none.

use std::path::Path;

use lifeboat_config::SourceId;
use lifeboat_masking::{Discovery, Sample, discover as propose};

use crate::error::OperationError;
use crate::mask_stream::TableFolder;
use crate::sampled::SampledInput;
use crate::session::Session;
use crate::{sampled_files, sampled_server};

/// Looks at schema and some rows of `input` and proposes a rule for every column. Blocks.
///
/// `input` is a SQLite database that nobody writes to, CSV with a header, or JSON Lines.
///
/// # Errors
/// Fails if the input cannot be read.
pub fn discover(input: &Path) -> Result<Discovery, OperationError> {
    Ok(propose_for(&SampledInput::read(
        input,
        None,
        Sample::ROWS_MAX,
    )?))
}

/// Looks at a source, at its schema and some of its rows, and proposes a rule for every column: at the
/// PostgreSQL database that its `url` names, or at a folder of CSV and JSON Lines.
///
/// # Errors
/// Fails if the server or a file cannot be read.
pub async fn discover_source(
    session: &Session,
    source: &SourceId,
) -> Result<Discovery, OperationError> {
    let (_, found) = session.config.source(source)?;
    let input = match TableFolder::of_source(found) {
        Some(folder) => sampled_files::of_folder(folder, Sample::ROWS_MAX)?,
        None => sampled_server::read(session, source, Sample::ROWS_MAX).await?,
    };
    Ok(propose_for(&input))
}

fn propose_for(input: &SampledInput) -> Discovery {
    let mut sample = Sample::new(&input.schema);
    for (table, rows) in input.schema.tables.iter().zip(&input.rows) {
        sample.observe(&table.name, rows);
    }
    propose(&input.schema, &sample)
}

/// Writes a proposal to a new file; one that is there already and says the same is left alone.
///
/// # Errors
/// Fails if the file exists and says something else, or cannot be written.
pub fn write_rules(discovery: &Discovery, file: &Path) -> Result<(), OperationError> {
    use std::io::Write as _;
    let text = discovery.rules();
    if std::fs::read_to_string(file).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let failed = |error| OperationError::io("create", file, error);
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut created = std::fs::File::create_new(file).map_err(failed)?;
    created.write_all(text.as_bytes()).map_err(failed)
}

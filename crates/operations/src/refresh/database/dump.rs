//! The definitions of a database: what is copied, and the statements that make it.

use lifeboat_masking::TextFormat;
use lifeboat_source_postgres::logical::{
    Catalog, CopyColumn, Ddl, DdlOptions, LeftOut, TargetServer,
};
use serde::{Deserialize, Serialize};

use super::original::Original;
use super::{CopiedFrom, Job};
use crate::error::OperationError;
use crate::sampled_server::refuse_empty;

/// A database without its rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dump {
    /// `server_version_num` of where it comes from.
    pub(super) version: u32,
    /// Tables, sequences and settings.
    pub(super) catalog: Catalog,
    /// The statements, in order.
    pub(super) ddl: Ddl,
}

impl Dump {
    /// Reads the definitions of the moment that `original` shows.
    pub(super) async fn read(job: &Job<'_>, original: &Original) -> Result<Self, OperationError> {
        refuse_empty(&original.view, &original.database)?;
        let options = DdlOptions {
            keep_comments: job.way.target.keep_comments,
        };
        let ddl = original.view.dump_ddl(&original.programs, &options).await?;
        let mut catalog = original.view.catalog().clone();
        if let CopiedFrom::Snapshot { .. } = job.way.from {
            let why = "a backup of files holds none of them";
            let lost = catalog.unlogged.iter().map(|table| LeftOut {
                what: format!("rows of unlogged table {table}"),
                why: why.to_owned(),
            });
            catalog.left_out.extend(lost.collect::<Vec<_>>());
        }
        Ok(Self {
            version: original.view.version(),
            catalog,
            ddl,
        })
    }

    /// Says what is not copied, and why, a line each.
    pub(super) fn left_out(&self) -> Vec<String> {
        let from_catalog = self.catalog.left_out.iter();
        let from_ddl = self.ddl.left_out.iter();
        let line = |left: &LeftOut| format!("{}: {}", left.what, left.why);
        from_catalog.chain(from_ddl).map(line).collect()
    }

    /// Makes sure that a server can take the database, and lists everything that it lacks.
    pub(super) async fn check_target(&self, server: &TargetServer) -> Result<(), OperationError> {
        let problems = server.check(&self.catalog, self.version).await?;
        if problems.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Err(OperationError::Usage {
            message: format!(
                "the target's server cannot take the database: {}",
                lines.join("; ")
            ),
            hint: "mend that on the server, and refresh again; nothing was changed".to_owned(),
        })
    }

    /// Returns the columns of a table that are copied, in order.
    pub(super) fn columns(&self, table: usize) -> impl Iterator<Item = &CopyColumn> {
        let columns = self.catalog.tables[table].columns.iter();
        columns.filter(|column| !column.generated)
    }

    /// Returns the form of a table's rows.
    pub(super) fn format(&self, table: usize) -> TextFormat {
        TextFormat::CopyText(lifeboat_masking::CopyText::new(self.columns(table).count()))
    }
}

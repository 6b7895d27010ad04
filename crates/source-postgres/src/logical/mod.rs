//! Logical copies: one moment of one database, read table by table, and a new database made of it.
//!
//! Everything is seen through one exported snapshot: the catalog, the statements that `pg_dump`
//! writes, and the rows that several sessions read at once. No value of a row enters an error.

mod catalog;
mod ddl;
mod dump;
mod names;
mod post_data;
mod read;
mod sequences;
mod statements;
mod subset;
mod tables;
mod takeover;
mod target;
mod write;

pub use catalog::{Catalog, DatabaseSettings, LeftOut};
pub use ddl::{Ddl, Section, Statement, StatementKind};
pub use dump::DdlOptions;
pub use names::RelationName;
pub use read::{CopyRange, CopyReader, LogicalSource};
pub use sequences::SequenceInfo;
pub use statements::split_statements;
pub use subset::Subset;
pub use tables::{BaseType, CopyColumn, CopyLeaf, CopyTable};
pub use target::{Adopt, DatabaseIdentity, TargetProblem, TargetServer, database_identity};
pub use write::{CopyWriter, NotValidated, RowsIn, TargetDatabase};

//! Masking rules, transformers, the parallel engine and leak verification. Bytes in, bytes out.
//!
//! The way of a copy: [`RuleSet::parse`] reads the rules, [`Plan::compile`] fits them to a
//! [`Schema`] under a [`MaskKey`] and refuses whatever could leak or break, [`TablePlan::mask`] turns
//! row batches into masked ones. [`Originals`] remembers what must not come out, [`OutputScan`] reads
//! the finished copy back, and [`verify`] decides whether it may leave as [`Masked`].
//!
//! This crate knows no database, no storage, no network and no clock. NULL stays NULL and empty
//! stays empty, unless a rule says `null`. No error, log or report holds a cell's value.

mod batch;
mod detect;
mod discover;
mod face;
mod form;
mod key;
mod limits;
mod mask;
mod plan;
mod rules;
mod schema;
mod signs;
mod sip;
mod synth;
mod verify;
mod words;

pub use batch::{Cell, Row, RowBatch};
pub use detect::{Hit, HitKind, detect};
pub use discover::{Clue, DiscoveredColumn, Discovery, Outcome, Sample, discover};
pub use face::{
    CopyText, Csv, JsonLines, RowTooLong, TextBatch, TextBatches, TextFormat, TextMasker,
};
pub use form::ValueForm;
pub use key::{KeyError, MaskKey};
pub use plan::{ColumnClass, MaskError, Plan, PlanManifest, TablePlan};
pub use rules::{RULES_SCHEMA, RulePolicy, RuleScope, RuleSet, Unlisted};
pub use schema::{ColumnSchema, ColumnType, Schema, TableSchema};
pub use synth::{RowCounts, Synthesis, schema_of_rules};
pub use verify::{
    Canaries, Evidence, Finding, Gate, IntegrityCheck, LeakReport, Masked, NotMasked, Originals,
    OutputScan, ScanFindings, verify,
};
pub use words::WORD_LIST_VERSION;

//! The plan: rules fitted to a schema and a key. Everything that can be refused is refused here,
//! all at once and before a row moves.

mod check;
mod compile;
mod constraint;
mod dangling;
mod engine;
mod form;
mod missing;
mod names;
mod propose;

use lifeboat_model::Problems;

pub(crate) use dangling::looks_like as looks_like_key;
pub use engine::MaskError;
pub(crate) use names::words as name_words;
pub(crate) use propose::rule_fits;

use crate::detect::HitKind;
use crate::key::MaskKey;
use crate::mask::Bound;
use crate::rules::{CompiledCondition, RuleSet};
use crate::schema::{ColumnType, Schema};
use crate::sip::SipKey;
use crate::words::WORD_LIST_VERSION;

/// What happens to every column of a source.
#[derive(Debug)]
pub struct Plan {
    pub(crate) tables: Vec<TablePlan>,
    pub(crate) originals_key: SipKey,
    pub(crate) risk: Option<RiskPlan>,
    manifest: PlanManifest,
}

/// Columns that together may point at a person.
#[derive(Debug, Clone)]
pub(crate) struct RiskPlan {
    /// By table: positions of the columns; none where the table has no such column.
    pub(crate) columns: Vec<Vec<usize>>,
    /// How many rows must share each combination.
    pub(crate) k: u64,
}

impl RiskPlan {
    fn of(rules: &RuleSet, tables: &[TablePlan]) -> Option<Self> {
        let risk = rules.risk.as_ref()?;
        let columns = tables.iter().map(|table| {
            let mut quasi = risk.quasi.iter();
            let of_table = quasi.by_ref().filter(|(name, ..)| *name == table.name);
            of_table
                .filter_map(|(_, name, _)| table.columns.iter().position(|c| c.name == *name))
                .collect()
        });
        Some(Self {
            columns: columns.collect(),
            k: risk.k,
        })
    }
}

/// What a masked copy must be able to say about how it was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlanManifest {
    /// Hash of the rules, see [`RuleSet::hash`].
    pub rules_hash: String,
    /// Public fingerprint of key and scope.
    pub key_id: String,
    /// The word lists behind pseudonyms.
    pub word_lists: &'static str,
    /// Fingerprint of tables, columns and constraints.
    pub schema_fingerprint: String,
}

/// What happens to every column of one table.
#[derive(Debug, Clone)]
pub struct TablePlan {
    pub(crate) name: String,
    /// Position among the plan's tables.
    pub(crate) index: usize,
    pub(crate) columns: Vec<ColumnPlan>,
    /// Positions of the columns that are masked in at least some rows, in the order to mask them:
    /// those last that read other masked ones.
    pub(crate) masked: Vec<usize>,
    /// Whether a column's original value is looked at: because it is masked, or another needs it.
    pub(crate) looked_at: Vec<bool>,
}

/// What happens to one column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    pub(crate) name: String,
    pub(crate) class: ColumnClass,
    pub(crate) ty: ColumnType,
    pub(crate) arms: Vec<ArmPlan>,
    /// Detector finds that the reason for keeping the column covers.
    pub(crate) allow: Vec<HitKind>,
}

/// How a column came to its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnClass {
    /// A rule keeps it.
    Kept,
    /// A rule masks it.
    Masked,
    /// A rule keeps some rows and masks the others.
    Mixed,
    /// It follows the column its foreign key points at.
    Inherited,
    /// No rule names it; the policy empties it.
    Policy,
}

#[derive(Debug, Clone)]
pub(crate) struct ArmPlan {
    pub(crate) when: Option<CompiledCondition>,
    /// `None` keeps the value.
    pub(crate) action: Option<Bound>,
}

impl Plan {
    /// Fits rules to a schema and a key, and reports every problem at once.
    ///
    /// # Errors
    /// Returns all problems if one of them is an error: a column without a rule, a rule without a
    /// column, a foreign key that would not join, a unique column whose mask may collide, a mask
    /// that does not fit its column's type, length, NOT NULL, enumeration or CHECK, a column that looks
    /// personal and is kept without a reason, a column that nobody has decided about. A kept column that
    /// looks like a masked key is a warning; a CHECK that cannot be read is told.
    pub fn compile(
        rules: &RuleSet,
        schema: &Schema,
        key: &MaskKey,
    ) -> Result<(Plan, Problems), Problems> {
        let (tables, problems) = compile::tables(rules, schema, key);
        problems.into_result(Plan {
            risk: RiskPlan::of(rules, &tables),
            tables,
            originals_key: key.originals(),
            manifest: PlanManifest {
                rules_hash: rules.hash().to_owned(),
                key_id: key.key_id(),
                word_lists: WORD_LIST_VERSION,
                schema_fingerprint: schema.fingerprint(),
            },
        })
    }

    /// Returns the plan for the table called `name` alone, if there is one: for sources of one table,
    /// whose rules may speak of others.
    pub fn only(mut self, name: &str) -> Option<Plan> {
        self.tables.retain(|table| table.name == name);
        let table = self.tables.first_mut()?;
        if let Some(risk) = &mut self.risk {
            risk.columns = vec![risk.columns.swap_remove(table.index)];
        }
        table.index = 0;
        Some(self)
    }

    /// Returns the plan of the table called `name`.
    pub fn table(&self, name: &str) -> Option<&TablePlan> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Iterates over the tables in schema order.
    pub fn tables(&self) -> impl Iterator<Item = &TablePlan> {
        self.tables.iter()
    }

    /// Returns what the copy's manifest must say.
    pub fn manifest(&self) -> &PlanManifest {
        &self.manifest
    }
}

impl TablePlan {
    /// Returns the table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Iterates over the columns that batches must hold, in order: all but generated ones.
    pub fn columns(&self) -> impl Iterator<Item = (&str, ColumnClass)> {
        self.columns
            .iter()
            .map(|column| (column.name.as_str(), column.class))
    }

    /// Reports whether the column at `index` passes unchanged in every row, so that a face which
    /// carries encoded rows may splice its bytes.
    pub fn is_kept(&self, index: usize) -> bool {
        self.columns[index].class == ColumnClass::Kept
    }
}

//! From rules, schema and key to tables with bound masks.

use std::cell::RefCell;

use lifeboat_document::{Origin, suggest};
use lifeboat_model::{Problem, Problems};

use super::missing::Missing;
use super::{ArmPlan, ColumnClass, ColumnPlan, TablePlan, check, constraint};
use crate::key::MaskKey;
use crate::mask::{Binder, Bound};
use crate::rules::{Arm, Choice, ColumnRule, CompiledCondition, RuleSet};
use crate::schema::{ColumnSchema, Schema, TableSchema};

/// How deep foreign keys are followed to the column that decides.
const FOLLOW_MAX: usize = 32;

/// Everything that compiling looks at.
pub(super) struct Compiler<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) schema: &'a Schema,
    pub(super) key: &'a MaskKey,
    problems: RefCell<Problems>,
}

pub(super) fn tables(
    rules: &RuleSet,
    schema: &Schema,
    key: &MaskKey,
) -> (Vec<TablePlan>, Problems) {
    let compiler = Compiler {
        rules,
        schema,
        key,
        problems: RefCell::default(),
    };
    compiler.check_names();
    compiler.check_risk();
    let tables = schema.tables.iter().enumerate();
    let tables: Vec<TablePlan> = tables
        .map(|(index, table)| compiler.table(index, table))
        .collect();
    for (table, plan) in schema.tables.iter().zip(&tables) {
        constraint::check(&compiler, table, plan);
    }
    (tables, compiler.problems.into_inner())
}

/// The rule that decides about a column, and where it was found.
pub(super) struct Decision<'a> {
    pub(super) rule: &'a ColumnRule,
    table: &'a TableSchema,
    column: &'a ColumnSchema,
    /// Whether another column's rule decides.
    pub(super) inherited: bool,
}

impl<'a> Compiler<'a> {
    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn error(&self, origin: &Origin, message: String, hint: impl Into<String>) {
        self.push(origin.error(message, Some(hint.into())));
    }

    /// Reports an error that has no place in the rule file.
    pub(super) fn error_in_file(&self, message: String, hint: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        problems.push_file(&self.rules.file, message, Some(hint.into()));
    }

    /// Reports rules whose table or column does not exist.
    fn check_names(&self) {
        for rules in &self.rules.tables {
            let Some(table) = self.schema.table(&rules.name) else {
                let names = self.schema.tables.iter().map(|table| table.name.as_str());
                let message = format!("there is no table `{}`", rules.name);
                self.error(&rules.origin, message, near(&rules.name, names));
                continue;
            };
            let ruled = rules.columns.iter().map(|rule| (&rule.name, &rule.origin));
            let undecided = rules.undecided.iter().map(|key| (&key.name, &key.origin));
            for (name, origin) in ruled.chain(undecided) {
                if table.column(name).is_none() {
                    let names = table.columns.iter().map(|column| column.name.as_str());
                    let message = format!("there is no column `{}.{name}`", table.name);
                    self.error(origin, message, near(name, names));
                }
            }
        }
    }

    /// Reports columns of `[risk]` that do not exist.
    fn check_risk(&self) {
        for (name, column, origin) in self.rules.risk.iter().flat_map(|risk| &risk.quasi) {
            let Some(table) = self.schema.table(name) else {
                let names = self.schema.tables.iter().map(|table| table.name.as_str());
                let message = format!("`quasi` names no table `{name}`");
                self.error(origin, message, near(name, names));
                continue;
            };
            if table
                .column(column)
                .is_none_or(|(_, column)| column.generated)
            {
                let names = table.columns.iter().map(|column| column.name.as_str());
                let message = format!("`quasi` names no stored column `{name}.{column}`");
                self.error(origin, message, near(column, names));
            }
        }
    }

    fn table(&self, index: usize, table: &TableSchema) -> TablePlan {
        let stored: Vec<&ColumnSchema> = table
            .columns
            .iter()
            .filter(|column| !column.generated)
            .collect();
        let mut missing = Missing::new(self, table);
        let columns: Vec<ColumnPlan> = stored
            .iter()
            .map(|column| self.column(table, &stored, column, &mut missing))
            .collect();
        missing.report();
        TablePlan {
            name: table.name.clone(),
            index,
            masked: masked_in_order(&columns),
            looked_at: looked_at(&columns),
            columns,
        }
    }

    fn column(
        &self,
        table: &'a TableSchema,
        stored: &[&ColumnSchema],
        column: &'a ColumnSchema,
        missing: &mut Missing<'_, 'a>,
    ) -> ColumnPlan {
        let mut plan = ColumnPlan {
            name: column.name.clone(),
            class: ColumnClass::Policy,
            ty: column.ty,
            arms: Vec::new(),
            allow: Vec::new(),
        };
        let Some(decision) = self.decision(table, column) else {
            plan.arms = missing.arm(column).into_iter().collect();
            return plan;
        };
        let place = format!("{}.{}", decision.table.name, decision.column.name);
        let position = |name: &str| stored.iter().position(|column| column.name == name);
        let masked = |name: &str| self.is_masked(table, name);
        let binder = Binder {
            rules: self.rules,
            key: self.key,
            place,
            position: &position,
            masked: &masked,
            inside: false,
        };
        for arm in &decision.rule.arms {
            plan.arms
                .extend(self.arm(arm, &binder, decision.rule, stored));
            if let Choice::Keep(keep) = &arm.choice {
                plan.allow.extend(&keep.allow);
            }
        }
        plan.class = class(&plan.arms, decision.inherited);
        check::column(self, table, column, &decision, &plan);
        plan
    }

    fn arm(
        &self,
        arm: &Arm,
        binder: &Binder<'_>,
        rule: &ColumnRule,
        stored: &[&ColumnSchema],
    ) -> Option<ArmPlan> {
        let names = stored.iter().map(|column| column.name.as_str());
        let when = match &arm.when {
            None => None,
            Some(condition) => match condition.compile(binder.position) {
                Ok(condition) => Some(condition),
                Err(column) => {
                    let message = format!("`when` names no column `{column}` of this table");
                    let hint = match suggest(&column, names) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "conditions read columns of the same row".to_owned(),
                    };
                    self.error(&rule.origin, message, hint);
                    return None;
                }
            },
        };
        match self.action(&arm.choice, binder) {
            Ok(action) => Some(ArmPlan { when, action }),
            Err(message) => {
                let hint = meant(&message, names);
                let message = format!("`{}`: {message}", binder.place);
                self.error(&rule.origin, message, hint);
                None
            }
        }
    }

    fn action(&self, choice: &Choice, binder: &Binder<'_>) -> Result<Option<Bound>, String> {
        match choice {
            Choice::Keep(_) => Ok(None),
            Choice::Mask(rule) => binder.rule(rule).map(Some),
            Choice::Domain(name) => binder.domain(name).map(Some),
            // `decision` follows references; one inside an arm has nothing to follow.
            Choice::References(..) => Err("`references` must be the whole rule".to_owned()),
        }
    }

    /// Finds the rule that decides about a column: its own, or that of the column its foreign key
    /// points at.
    pub(super) fn decision(
        &self,
        table: &'a TableSchema,
        column: &'a ColumnSchema,
    ) -> Option<Decision<'a>> {
        let (mut at_table, mut at_column) = (table, column);
        for step in 0..FOLLOW_MAX {
            let rule = self.rule(&at_table.name, &at_column.name);
            let target = match rule {
                Some(rule) => match &rule.arms[..] {
                    [
                        Arm {
                            choice: Choice::References(table, column, origin),
                            ..
                        },
                    ] => {
                        let target = (table, column);
                        if self.find(target).is_none() {
                            let message =
                                format!("`references` names no column `{table}.{column}`");
                            self.error(origin, message, self.near_column(table, column));
                            return None;
                        }
                        target
                    }
                    _ => {
                        return Some(Decision {
                            rule,
                            table: at_table,
                            column: at_column,
                            inherited: step > 0,
                        });
                    }
                },
                None if self.undecided(&at_table.name, &at_column.name).is_some() => return None,
                None => {
                    let (table, column) = at_column.references.as_ref()?;
                    (table, column)
                }
            };
            (at_table, at_column) = self.find(target)?;
        }
        None
    }

    pub(super) fn find(
        &self,
        (table, column): (&String, &String),
    ) -> Option<(&'a TableSchema, &'a ColumnSchema)> {
        let table = self.schema.table(table)?;
        table.column(column).map(|(_, column)| (table, column))
    }

    /// Says which column was probably meant.
    fn near_column(&self, table: &str, column: &str) -> String {
        match self.schema.table(table) {
            Some(table) => near(
                column,
                table.columns.iter().map(|column| column.name.as_str()),
            ),
            None => near(
                table,
                self.schema.tables.iter().map(|table| table.name.as_str()),
            ),
        }
    }

    pub(super) fn rule(&self, table: &str, column: &str) -> Option<&'a ColumnRule> {
        let rules = self.rules.tables.iter().find(|rules| rules.name == table)?;
        rules.columns.iter().find(|rule| rule.name == column)
    }

    /// Returns where a rule says that somebody has still to decide about a column.
    pub(super) fn undecided(&self, table: &str, column: &str) -> Option<&'a Origin> {
        let rules = self.rules.tables.iter().find(|rules| rules.name == table)?;
        let mut undecided = rules.undecided.iter();
        let key = undecided.find(|key| key.name == column)?;
        Some(&key.origin)
    }

    /// Reports whether a rule masks a column in at least some rows.
    pub(super) fn masks(&self, table: &'a TableSchema, column: &'a ColumnSchema) -> bool {
        self.decision(table, column).is_some_and(|decision| {
            let mut arms = decision.rule.arms.iter();
            arms.any(|arm| !matches!(arm.choice, Choice::Keep(_)))
        })
    }

    fn is_masked(&self, table: &'a TableSchema, name: &str) -> bool {
        let Some((_, column)) = table.column(name) else {
            return false;
        };
        let Some(decision) = self.decision(table, column) else {
            return false;
        };
        decision.rule.arms.iter().all(|arm| match &arm.choice {
            Choice::Mask(rule) => !rule.mask.reads_masked(),
            Choice::Domain(name) => {
                let domain = self.rules.domain(name);
                domain.is_some_and(|domain| !domain.rule.mask.reads_masked())
            }
            _ => false,
        })
    }
}

/// Says which column was probably meant by the last name in a message.
fn meant<'n>(message: &str, names: impl Iterator<Item = &'n str>) -> String {
    let mut quoted = message.rsplit('`').skip(1);
    match quoted.next().and_then(|name| suggest(name, names)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "columns are those of the same row; docs/masking.md says what each mask takes"
            .to_owned(),
    }
}

/// Returns the columns to mask, those last that read others.
fn masked_in_order(columns: &[ColumnPlan]) -> Vec<usize> {
    let late = |at: &usize| {
        columns[*at]
            .actions()
            .any(|bound| bound.mask.reads_masked())
    };
    let mut masked: Vec<usize> = (0..columns.len())
        .filter(|at| columns[*at].actions().next().is_some())
        .collect();
    masked.sort_by_key(late);
    masked
}

/// Marks the columns whose original value decides about a masked one.
fn looked_at(columns: &[ColumnPlan]) -> Vec<bool> {
    let mut looked_at = vec![false; columns.len()];
    for (at, column) in columns.iter().enumerate() {
        for arm in &column.arms {
            let tested = arm.when.iter().flat_map(CompiledCondition::columns);
            let read = arm.action.iter().filter_map(|bound| bound.mask.reads());
            tested.chain(read).for_each(|other| looked_at[other] = true);
            looked_at[at] |= arm.action.is_some();
        }
    }
    looked_at
}

fn near<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match suggest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

fn class(arms: &[ArmPlan], inherited: bool) -> ColumnClass {
    let kept = arms.iter().filter(|arm| arm.action.is_none()).count();
    match kept {
        _ if kept > 0 && kept == arms.len() => ColumnClass::Kept,
        0 if inherited => ColumnClass::Inherited,
        0 => ColumnClass::Masked,
        _ => ColumnClass::Mixed,
    }
}

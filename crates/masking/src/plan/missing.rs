//! Columns that no rule names: what the policy makes of them, and what to add where it is an error.

use super::ArmPlan;
use super::compile::Compiler;
use super::{check, propose};
use crate::mask::{Bound, null_mask, redact};
use crate::rules::{Choice, MaskRule, Normalize, Unlisted, written};
use crate::schema::{ColumnSchema, TableSchema};

/// The columns of one table that lack a rule, reported together so that one paste adds them.
pub(super) struct Missing<'c, 'a> {
    compiler: &'c Compiler<'a>,
    table: &'a TableSchema,
    found: Vec<(&'a ColumnSchema, String)>,
}

impl<'c, 'a> Missing<'c, 'a> {
    pub(super) fn new(compiler: &'c Compiler<'a>, table: &'a TableSchema) -> Self {
        Self {
            compiler,
            table,
            found: Vec::new(),
        }
    }

    /// Applies the policy to a column without a rule; where that cannot be, it is reported later.
    pub(super) fn arm(&mut self, column: &'a ColumnSchema) -> Option<ArmPlan> {
        let compiler = self.compiler;
        let place = format!("{}.{}", self.table.name, column.name);
        if let Some(origin) = compiler.undecided(&self.table.name, &column.name) {
            let message = format!("nobody has decided yet what happens to `{place}`");
            let line = propose::line(compiler, self.table, column);
            let hint = format!(
                "write a rule, such as `{}`; or keep it with a reason, if it says nothing about people",
                line.rule
            );
            compiler.error(origin, message, hint);
            return None;
        }
        let keyed = column.unique || column.primary_key;
        let (name, mask, fits) = match compiler.rules.policy.unlisted {
            Unlisted::Error => {
                self.note(column, format!("no rule names `{place}`"));
                return None;
            }
            Unlisted::Null => ("null", null_mask(), !column.not_null && !column.primary_key),
            Unlisted::Redact => ("redact", redact(), check::takes_redacted(column) && !keyed),
        };
        if !fits {
            let message =
                format!("no rule names `{place}`, and the policy does not fit the column");
            self.note(column, message);
            return None;
        }
        let normalize = Normalize::default();
        let rule = MaskRule {
            name,
            mask,
            normalize,
        };
        let action = Bound::constant(&rule, compiler.key, &place);
        Some(ArmPlan {
            when: None,
            action: Some(action),
        })
    }

    fn note(&mut self, column: &'a ColumnSchema, message: String) {
        let compiler = self.compiler;
        let rule = compiler.rule(&self.table.name, &column.name);
        let followed = match rule.map(|rule| &rule.arms[..]) {
            Some([arm]) => match &arm.choice {
                Choice::References(table, target, _) => Some((table, target)),
                _ => None,
            },
            Some(_) => None,
            None => column
                .references
                .as_ref()
                .map(|(table, name)| (table, name)),
        };
        let followed = followed.filter(|place| compiler.find(*place).is_some());
        match (rule, followed) {
            // What decides is the column it follows: a line of its own would contradict that one.
            (_, Some((table, target))) => {
                let hint = format!(
                    "give `{table}.{target}` a rule, which it follows; references in a circle \
                     decide nothing"
                );
                let Some(rule) = rule else {
                    return compiler.error_in_file(message, hint);
                };
                let message = format!(
                    "`{}.{}` references `{table}.{target}`, for which no rule decides",
                    self.table.name, column.name
                );
                compiler.error(&rule.origin, message, hint);
            }
            // It references what does not exist, and that is reported already.
            (Some(_), None) => {}
            (None, None) => self.found.push((column, message)),
        }
    }

    /// Reports what was found, each column with its line and the last one with all lines.
    pub(super) fn report(self) {
        let (compiler, table) = (self.compiler, self.table);
        let header = written::columns_header(&table.name);
        let mut rules = compiler.rules.tables.iter();
        let rules = rules.find(|rules| rules.name == table.name);
        let listed = rules.is_some_and(|rules| rules.lists_columns);
        let lines: Vec<_> = self
            .found
            .iter()
            .map(|(column, _)| propose::line(compiler, table, column))
            .collect();
        let add = if listed {
            format!("add to `{header}`")
        } else {
            format!("add `{header}` and below it")
        };
        for (n, (_, message)) in self.found.into_iter().enumerate() {
            let mut hint = format!("{add}: `{}`{}", lines[n].rule, lines[n].why());
            if n > 0 && n + 1 == lines.len() {
                hint.push_str(&block(&header, listed, &lines));
            }
            match rules {
                Some(rules) => compiler.error(&rules.origin, message, hint),
                None => compiler.error_in_file(message, hint),
            }
        }
    }
}

/// Returns all lines as they can be pasted. A header that the file has cannot come a second time.
fn block(header: &str, listed: bool, lines: &[propose::Line]) -> String {
    let count = lines.len();
    let mut block = if listed {
        format!("\nor all {count} at once, below `{header}`:\n")
    } else {
        format!("\nor all {count} at once:\n{header}\n")
    };
    for line in lines {
        block.push_str(&format!("{}  # {}\n", line.rule, line.comment()));
    }
    block.truncate(block.trim_end().len());
    block
}

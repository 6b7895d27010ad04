//! Where a value of the output stands, and what made it.

use crate::detect::HitKind;
use crate::mask::{Alphabet, Bound};
use crate::plan::TablePlan;

/// Where a text stands and what made it.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) table: &'a str,
    pub(super) column: &'a str,
    pub(super) allow: &'a [HitKind],
    pub(super) mask: Option<&'a Bound>,
    /// Position of the column in its table, and of the table.
    pub(super) at: Option<(usize, usize)>,
    pub(super) redraws: Option<Alphabet>,
}

impl<'a> Origin<'a> {
    pub(super) fn of(table: &'a TablePlan, at: usize) -> Self {
        let column = &table.columns[at];
        // Which arm made a cell is not known here: a word list counts only where all arms draw on it.
        let mask = match &column.arms[..] {
            [only] => only.action.as_ref(),
            _ => None,
        };
        Self {
            table: &table.name,
            column: &column.name,
            allow: &column.allow,
            mask,
            at: Some((table.index, at)),
            redraws: mask.and_then(|bound| bound.mask.redraws()),
        }
    }

    /// A value inside one of the column, and what made it.
    pub(super) fn inside(self, mask: Option<&'a Bound>) -> Self {
        let redraws = mask.and_then(|bound| bound.mask.redraws());
        Self {
            mask,
            redraws,
            ..self
        }
    }

    /// A text that belongs to no row.
    pub(super) fn place(name: &'a str) -> Self {
        Self {
            table: name,
            column: "",
            allow: &[],
            mask: None,
            at: None,
            redraws: None,
        }
    }
}

//! The report of a leak verification, and the type that says it was passed.

use lifeboat_model::{Diagnose, ErrorKind, Verdict};
use serde::Serialize;

use crate::plan::{ColumnClass, PlanManifest};

/// What verification found. Holds counts and names of columns, never a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeakReport {
    pub(super) verdict: Verdict,
    pub(super) gates: Vec<Gate>,
    pub(super) columns: Vec<ClassifiedColumn>,
    pub(super) manifest: PlanManifest,
    pub(super) tool_version: String,
    pub(super) output_hash: Option<String>,
}

/// One demand on the copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// The gate's name, such as `value_reuse`.
    pub name: &'static str,
    /// What it found; `None` if there was nothing it could look for.
    pub verdict: Option<Verdict>,
    /// How many things it looked at: columns, rows, cells or checks.
    pub checked: u64,
    /// Where it found what, in schema order.
    ///
    /// Findings of a passed gate are information, not faults: columns that are kept, coincidences
    /// within chance, finds that a reason allows. Judge by the verdict, never by this list.
    pub findings: Vec<Finding>,
    /// What the numbers mean.
    pub note: String,
}

/// A number of equal finds in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The table, or the place a text came from.
    pub table: String,
    /// The column; empty where there is none.
    pub column: String,
    /// How many.
    pub count: u64,
    /// What: a detector's name, the column an original came from, or `kept`.
    pub kind: String,
}

/// A column and how it came to its rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ClassifiedColumn {
    pub(super) table: String,
    pub(super) column: String,
    pub(super) class: ColumnClass,
}

impl LeakReport {
    /// Returns the verdict over all gates; only a pass releases the copy.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the gates in the order they are looked at.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// Returns the gate called `name`.
    pub fn gate(&self, name: &str) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.name == name)
    }

    /// Returns what made the copy: rules, key, word lists and schema.
    pub fn manifest(&self) -> &PlanManifest {
        &self.manifest
    }

    /// Declares `copy`, whose output this report is about, to be masked.
    ///
    /// # Errors
    /// Fails if a gate failed or could not decide; `copy` is dropped then.
    pub fn release<T>(&self, copy: T) -> Result<Masked<T>, NotMasked> {
        if self.verdict == Verdict::Pass {
            return Ok(Masked { copy });
        }
        let open = self
            .gates
            .iter()
            .filter(|gate| !matches!(gate.verdict, None | Some(Verdict::Pass)));
        Err(NotMasked {
            verdict: self.verdict,
            gates: open.map(|gate| gate.name).collect(),
        })
    }
}

/// Something that passed every gate. There is no other way to make one than
/// [`LeakReport::release`], so a function that takes it cannot export production data by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked<T> {
    copy: T,
}

impl<T> Masked<T> {
    /// Returns the copy and forgets that it was verified.
    pub fn into_inner(self) -> T {
        self.copy
    }
}

impl<T> AsRef<T> for Masked<T> {
    fn as_ref(&self) -> &T {
        &self.copy
    }
}

/// The copy must not leave: a gate failed or could not decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the masked copy is not released: {}", gates.join(", "))]
pub struct NotMasked {
    verdict: Verdict,
    gates: Vec<&'static str>,
}

impl Diagnose for NotMasked {
    fn kind(&self) -> ErrorKind {
        match self.verdict {
            Verdict::NotVerified => ErrorKind::NotVerified,
            Verdict::Pass | Verdict::Fail => ErrorKind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            "the leak report names table and column of every find; mask those and run again".into(),
        )
    }
}

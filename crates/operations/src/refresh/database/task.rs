//! The plan of masking: rules, schema and key, fitted to each other before a row moves.

use std::sync::Arc;

use lifeboat_masking::{
    Canaries, ColumnClass, Finding, Originals, OutputScan, Plan, TextMasker, verify,
};

use super::Job;
use super::dump::Dump;
use super::schema::describe;
use crate::error::OperationError;
use crate::rules::Rules;

/// Rules fitted to a database.
pub(super) struct Task {
    pub(super) plan: Arc<Plan>,
    pub(super) canaries: Canaries,
    /// One for each table of the catalog.
    pub(super) maskers: Vec<TextMasker>,
}

impl Task {
    /// Fits the rules to the database, and reports every problem at once.
    pub(super) fn prepare(job: &Job<'_>, dump: &Dump) -> Result<Self, OperationError> {
        let session = job.session;
        let rules = Rules::read(session, &job.plan.rules)?;
        let scope = match job.plan.snapshot {
            Some(snapshot) => snapshot.to_string(),
            None => job.run.to_string(),
        };
        let key = rules.key(session, &scope)?;
        let canaries = rules.planted(session)?.search();
        let schema = describe(&dump.catalog);
        let (plan, warnings) = rules.fit(&schema, &key)?;
        for warning in warnings.iter() {
            tracing::warn!("{warning}");
        }
        let plan = Arc::new(plan);
        let masker = |at: usize| {
            let name = dump.catalog.tables[at].name.to_string();
            let masker = TextMasker::new(plan.clone(), &name, dump.format(at));
            masker.expect("the plan has every table of the schema")
        };
        Ok(Self {
            maskers: (0..dump.catalog.tables.len()).map(masker).collect(),
            canaries,
            plan,
        })
    }

    /// Returns the columns that pass unchanged in every row.
    pub(super) fn kept(&self) -> Vec<String> {
        let tables = self.plan.tables();
        let kept = tables.flat_map(|table| {
            let kept = table
                .columns()
                .filter(|(_, class)| *class == ColumnClass::Kept);
            kept.map(|(name, _)| format!("{}.{name}", table.name()))
        });
        kept.collect()
    }

    /// Refuses definitions in which a detector finds personal data, before a row moves. Values of
    /// rows are looked for in them later, when they are known.
    pub(super) fn refuse_leaking(&self, dump: &Dump) -> Result<(), OperationError> {
        let nothing = Originals::new(&self.plan);
        let mut scan = OutputScan::new(&self.plan, &nothing, &self.canaries);
        scan_definitions(dump, &mut scan);
        let report = verify(&self.plan, &nothing, &scan, &Default::default());
        let of_text = |name: &str| {
            let found = report
                .gate(name)
                .into_iter()
                .flat_map(|gate| &gate.findings);
            let found = found.filter(|finding| finding.column.is_empty());
            found.map(line).collect::<Vec<_>>()
        };
        let found = [of_text("detectors"), of_text("canaries")].concat();
        if found.is_empty() {
            return Ok(());
        }
        Err(OperationError::Refused {
            message: format!("the definitions hold personal data: {}", found.join("; ")),
            hint:
                "take it out of the definition in production, where it leaks to everybody who may \
                   read the catalog"
                    .to_owned(),
        })
    }
}

fn line(finding: &Finding) -> String {
    format!("{} in {}", finding.kind, finding.table)
}

/// Looks through every statement, and through what the catalog says beside them.
pub(super) fn scan_definitions(dump: &Dump, scan: &mut OutputScan<'_>) {
    for statement in &dump.ddl.statements {
        scan.scan_text(&format!("ddl of {}", statement.subject), &statement.sql);
    }
}

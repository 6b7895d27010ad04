//! Checks of a restored source: at least one must prove data.

use std::path::Path;

use jiff::Timestamp;
use lifeboat_config::{Source, SourceSpec};
use lifeboat_model::{Verdict, error_chain};
use lifeboat_operations::{FINGERPRINT_FACT, RestoreReport};
use lifeboat_repository::Snapshot;
use lifeboat_source_sqlite::{
    DatabaseFingerprint, SqliteError, assertion, check_integrity, compare, fingerprint,
    newest_commit,
};
use serde::Serialize;

/// Clocks of two hosts that differ by no more than this agree.
const CLOCK_TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What was found, in a sentence; never a value of the data.
    pub detail: String,
}

impl Check {
    pub(crate) fn new(name: &str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            detail: detail.into(),
        }
    }

    /// Turns a check that could not be carried out into "not verified".
    fn of(name: &str, found: Result<(bool, String), SqliteError>) -> Self {
        match found {
            Ok((passed, detail)) => Self::new(name, Verdict::from_passed(passed), detail),
            Err(error) => Self::new(name, Verdict::NotVerified, error_chain(&error)),
        }
    }
}

/// Checks that hold for every kind of source.
pub(crate) fn common(restored: &RestoreReport, snapshot: &Snapshot) -> Vec<Check> {
    // A restore that met a wrong hash has failed before it came here; one of nothing shows nothing.
    let proven = if restored.bytes > 0 {
        Verdict::Pass
    } else {
        Verdict::NotVerified
    };
    let hashes = format!(
        "{} bytes, each checked against its keyed hash before it was written",
        restored.bytes
    );
    let unread = snapshot.skipped.len();
    let mut whole = match unread {
        0 => "the backup could read everything".to_owned(),
        _ => format!("the backup could not read {unread} of its items"),
    };
    let notes = restored.not_restored.len() - unread.min(restored.not_restored.len());
    if notes > 0 {
        // Owners, attributes and sockets: not content, and often expected where a drill runs.
        whole.push_str(&format!(
            "; {notes} notes on what is no content, as in the restore's report"
        ));
    }
    vec![
        Check::new("content hashes", proven, hashes),
        Check::new("completeness", Verdict::from_passed(unread == 0), whole),
    ]
}

/// Reports whether the engine opens the database: the moment a service could connect.
pub(crate) fn engine_opens(database: &Path) -> Check {
    let opened = assertion(database, "SELECT count(*) >= 0 FROM sqlite_schema");
    Check::of(
        "engine opens it",
        opened.map(|ok| (ok, "SQLite reads its schema".to_owned())),
    )
}

/// Checks of a restored SQLite database, cheap to dear.
pub(crate) fn sqlite(database: &Path, source: &Source, snapshot: &Snapshot) -> Vec<Check> {
    let SourceSpec::Sqlite { checks, .. } = &source.spec else {
        return Vec::new();
    };
    let integrity = check_integrity(database).map(|problems| {
        let detail = match problems.first() {
            None => "integrity_check and foreign_key_check found nothing".to_owned(),
            Some(first) => format!("{} problems, the first: {first}", problems.len()),
        };
        (problems.is_empty(), detail)
    });
    let mut found = vec![Check::of("integrity", integrity), rows(database, snapshot)];
    for sql in checks {
        let held = assertion(database, sql);
        let detail = |held: bool| if held { "it holds" } else { "it does not hold" }.to_owned();
        found.push(Check::of(
            &format!("assertion `{sql}`"),
            held.map(|held| (held, detail(held))),
        ));
    }
    found
}

/// Compares every table with what was counted and hashed when the backup was taken.
fn rows(database: &Path, snapshot: &Snapshot) -> Check {
    let name = "rows as at the backup";
    let expected = snapshot.facts.get(FINGERPRINT_FACT);
    let expected = expected.map(|json| serde_json::from_str::<DatabaseFingerprint>(json));
    let Some(Ok(expected)) = expected else {
        let why = "the backup recorded no fingerprint that can be read";
        return Check::new(name, Verdict::NotVerified, why);
    };
    let found = fingerprint(database).map(|actual| {
        let differences = compare(&expected, &actual);
        let rows: u64 = actual.tables.iter().map(|table| table.rows).sum();
        let detail = match differences.first() {
            None => format!("{rows} rows in {} tables are the same", actual.tables.len()),
            Some(first) => format!("{} differences, the first: {first}", differences.len()),
        };
        (differences.is_empty(), detail)
    });
    Check::of(name, found)
}

/// Finds when the newest transaction in the restored database was committed.
///
/// One from after the backup was finished is impossible: then clocks disagree, and nothing is measured.
pub(crate) fn newest_commit_in(
    database: &Path,
    source: &Source,
    snapshot: &Snapshot,
) -> (Option<Timestamp>, Check) {
    let name = "newest commit";
    let SourceSpec::Sqlite {
        newest_commit: Some(sql),
        ..
    } = &source.spec
    else {
        let why = "the source names no `newest_commit` query, so no RPO can be proven";
        return (None, Check::new(name, Verdict::NotVerified, why));
    };
    match newest_commit(database, sql) {
        Ok(Some(at)) if at.duration_since(snapshot.finished) > CLOCK_TOLERANCE => {
            let why = format!("committed at {at}, after the backup ended: clocks disagree");
            (None, Check::new(name, Verdict::NotVerified, why))
        }
        Ok(Some(at)) => (
            Some(at),
            Check::new(name, Verdict::Pass, format!("committed at {at}")),
        ),
        Ok(None) => (
            None,
            Check::new(name, Verdict::NotVerified, "the query yields nothing"),
        ),
        Err(error) => (
            None,
            Check::new(name, Verdict::NotVerified, error_chain(&error)),
        ),
    }
}

//! Questions about a restored database: is it sound, how fresh is it, does it hold what it must?

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::SqliteError;
use crate::open::open_private;

/// Checks structure, constraints and foreign keys; an empty list means that the database is sound.
///
/// Messages name tables, indexes and pages, never a value.
///
/// # Errors
/// Fails if the check cannot run.
pub fn check_integrity(database: &Path) -> Result<Vec<String>, SqliteError> {
    let connection = open_private(database)?;
    problems_of(&connection).map_err(|error| SqliteError::sqlite("check", database, error))
}

/// Runs both of SQLite's checks over an open database.
pub(crate) fn problems_of(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    connection.pragma_query(None, "integrity_check", |row| {
        let message: String = row.get(0)?;
        if message != "ok" {
            problems.extend(message.lines().map(without_row_numbers));
        }
        Ok(())
    })?;
    let mut orphans: BTreeMap<(String, String), u64> = BTreeMap::new();
    connection.pragma_query(None, "foreign_key_check", |row| {
        *orphans.entry((row.get(0)?, row.get(2)?)).or_default() += 1;
        Ok(())
    })?;
    for ((table, parent), rows) in orphans {
        let message = format!("{rows} rows of table `{table}` refer to no row of table `{parent}`");
        problems.push(message);
    }
    Ok(problems)
}

/// A row's number can be a value, such as a customer's number, so it is blanked: whatever digits
/// follow the word `row` or `rowid`.
fn without_row_numbers(message: &str) -> String {
    let mut after_row = false;
    let words = message.split(' ').map(|word| {
        let is_number = word
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit());
        let blank = after_row && is_number;
        after_row = word.eq_ignore_ascii_case("row") || word.eq_ignore_ascii_case("rowid");
        if blank { "?" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Asks the database for the time of its newest commit: the first value of the first row of `sql`.
///
/// Understands unix seconds (whole or not), RFC 3339, and SQLite's own `YYYY-MM-DD HH:MM:SS`, which is
/// UTC. No row and NULL mean that there is no commit.
///
/// # Errors
/// Fails if the query does, writes, or answers something else.
pub fn newest_commit(database: &Path, sql: &str) -> Result<Option<Timestamp>, SqliteError> {
    ask(database, sql, |value| {
        let time = match value {
            ValueRef::Null => return Ok(None),
            ValueRef::Integer(secs) => Timestamp::from_second(secs).ok(),
            ValueRef::Real(secs) => from_real(secs),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(from_text),
            ValueRef::Blob(_) => None,
        };
        time.map(Some).ok_or(SqliteError::BadQuery {
            why: "answers no point in time",
            hint: "answer unix seconds or a text such as `2026-01-31 12:00:00`, for example with `SELECT max(updated_at) FROM orders`",
        })
    })
    .map(Option::flatten)
}

/// Asks the database a yes-or-no question: whether the first value of the first row of `sql` is true,
/// that is a number other than zero. No row is no.
///
/// # Errors
/// Fails if the query does, writes, or answers something else.
pub fn assertion(database: &Path, sql: &str) -> Result<bool, SqliteError> {
    let answer = ask(database, sql, |value| match value {
        ValueRef::Null => Ok(false),
        ValueRef::Integer(number) => Ok(number != 0),
        ValueRef::Real(number) => Ok(number != 0.0),
        ValueRef::Text(_) | ValueRef::Blob(_) => Err(SqliteError::BadQuery {
            why: "answers neither yes nor no",
            hint: "compare something, as in `SELECT count(*) > 0 FROM orders`",
        }),
    })?;
    Ok(answer.unwrap_or(false))
}

fn ask<T>(
    database: &Path,
    sql: &str,
    judge: impl FnOnce(ValueRef<'_>) -> Result<T, SqliteError>,
) -> Result<Option<T>, SqliteError> {
    let connection = open_private(database)?;
    let failed = |error| SqliteError::sqlite("query", database, error);
    connection
        .pragma_update(None, "query_only", true)
        .map_err(failed)?;
    let mut statement = connection.prepare(sql).map_err(failed)?;
    if !statement.readonly() {
        return Err(SqliteError::BadQuery {
            why: "changes the database",
            hint: "a check may only read: write a `SELECT`",
        });
    }
    if statement.column_count() == 0 {
        return Err(SqliteError::BadQuery {
            why: "answers nothing",
            hint: "write a `SELECT` of one value",
        });
    }
    statement
        .query_row([], |row| row.get_ref(0).map(judge))
        .optional()
        .map_err(failed)?
        .transpose()
}

fn from_real(secs: f64) -> Option<Timestamp> {
    let whole = secs.floor();
    let nanos = ((secs - whole) * 1e9) as i32;
    // The cast saturates, and what it saturates to is outside of what `Timestamp` takes.
    Timestamp::new(whole as i64, nanos.min(999_999_999)).ok()
}

fn from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(secs) = text.parse::<i64>() {
        return Timestamp::from_second(secs).ok();
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_numbers_never_reach_a_message() {
        let blank = without_row_numbers;
        assert_eq!(
            blank("row 77 missing from index by_name"),
            "row ? missing from index by_name"
        );
        assert_eq!(
            blank("Tree 5 page 3 cell 0: Rowid -41 out of order"),
            "Tree 5 page 3 cell 0: Rowid ? out of order"
        );
        assert_eq!(blank("Page 7: never used"), "Page 7: never used");
    }

    #[test]
    fn times_are_understood_as_sqlite_writes_them() {
        let expected: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for text in [
            "2026-01-31 12:00:00",
            "2026-01-31T12:00:00Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T12:00:00.000",
            "1769860800",
        ] {
            assert_eq!(from_text(text), Some(expected), "{text}");
        }
        assert_eq!(from_real(1_769_860_800.0), Some(expected));
        assert_eq!(from_real(f64::INFINITY), None);
        // Milliseconds lie 50,000 years ahead.
        assert_eq!(from_text("1769860800000"), None);
        assert_eq!(from_text("yesterday"), None);
    }
}

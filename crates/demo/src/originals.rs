//! A sample of what must never be seen again in a masked copy.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::DemoError;

/// What identifies a person, each as a table and a column that is unlikely to repeat by chance.
const COLUMNS: [(&str, &str); 7] = [
    ("customers", "email"),
    ("customers", "full_name"),
    ("customers", "phone"),
    ("customers", "iban"),
    ("payments", "card_number"),
    ("payments", "card_holder"),
    ("support_notes", "body"),
];

/// Reads up to `limit` values of each kind, spread evenly over the database at `path`: e-mails,
/// names, phones, IBANs, card numbers, card holders and notes, without repetition.
///
/// The notes that the shop itself writes about an order's status name nobody and are left out.
///
/// # Errors
/// Fails if there is no webshop at `path`.
pub fn originals(path: &Path, limit: u64) -> Result<Vec<String>, DemoError> {
    read(path, limit).map_err(DemoError::sqlite("read the originals of", path))
}

fn read(path: &Path, limit: u64) -> rusqlite::Result<Vec<String>> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut found = std::collections::BTreeSet::new();
    for (table, column) in COLUMNS {
        let staff_only = if column == "body" {
            "author <> 'system'"
        } else {
            "TRUE"
        };
        let step: i64 = database.query_row(
            &format!("SELECT max(1, coalesce(max(id), 0) / max(1, ?1)) FROM {table}"),
            [limit.cast_signed()],
            |row| row.get(0),
        )?;
        let mut statement = database.prepare(&format!(
            "SELECT {column} FROM {table}
             WHERE id % ?1 = 0 AND {column} IS NOT NULL AND {staff_only} LIMIT ?2"
        ))?;
        let values = statement.query_map([step, limit.cast_signed()], |row| row.get(0))?;
        for value in values {
            found.insert(value?);
        }
    }
    Ok(found.into_iter().collect())
}

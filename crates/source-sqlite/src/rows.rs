//! Reads a table's rows as they are stored, whole or in ranges for several readers.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};

use crate::ddl::quote;
use crate::error::SqliteError;
use crate::open::open_private;
use crate::schema::TableInfo;

/// A part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowRange {
    /// Every row.
    All,
    /// Rows by number, both ends included.
    Numbers {
        /// Lowest number.
        first: i64,
        /// Highest number.
        last: i64,
    },
}

/// Reads rows from a database that nobody writes to, such as a [`crate::SqliteCopy`].
///
/// For parallel reading open one reader a thread and give each its own ranges.
#[derive(Debug)]
pub struct RowReader {
    connection: Connection,
    path: PathBuf,
}

impl RowReader {
    /// Opens a database for reading.
    ///
    /// # Errors
    /// Fails if the file is missing or no SQLite database.
    pub fn open(database: &Path) -> Result<RowReader, SqliteError> {
        Ok(RowReader {
            connection: open_private(database)?,
            path: database.to_owned(),
        })
    }

    /// Returns how many rows a table has.
    ///
    /// # Errors
    /// Fails if SQLite cannot read the table.
    pub fn count(&self, table: &TableInfo) -> Result<u64, SqliteError> {
        let sql = format!("SELECT count(*) FROM {}", quote(&table.name));
        self.connection
            .query_row(&sql, [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(|error| self.failed("count the rows of", table, error))
    }

    /// Divides a table into at most `parts` ranges of about the same width in row numbers, in order.
    ///
    /// A table without row numbers is one range; an empty one is none.
    ///
    /// # Errors
    /// Fails if SQLite cannot read the table.
    pub fn ranges(&self, table: &TableInfo, parts: usize) -> Result<Vec<RowRange>, SqliteError> {
        let Some(number) = table.row_number() else {
            return Ok(vec![RowRange::All]);
        };
        // Two queries, since SQLite looks up only one of min and max by the tree at a time.
        let end = |function: &str| {
            let sql = format!(
                "SELECT {function}({}) FROM {}",
                quote(number),
                quote(&table.name)
            );
            self.connection
                .query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))
                .map_err(|error| self.failed("read", table, error))
        };
        match (end("min")?, end("max")?) {
            (Some(first), Some(last)) => Ok(divide(first, last, parts.max(1))),
            _ => Ok(Vec::new()),
        }
    }

    /// Hands every row of `range` to `visit`, in the order of row numbers or of the primary key.
    ///
    /// `columns` may name [`TableInfo::rowid`] besides columns. Texts are bytes as stored, not
    /// necessarily UTF-8. Returns how many rows were visited.
    ///
    /// # Errors
    /// Fails if SQLite cannot read a row, or with what `visit` fails with.
    pub fn read<E: From<SqliteError>>(
        &self,
        table: &TableInfo,
        columns: &[&str],
        range: RowRange,
        visit: impl FnMut(&[ValueRef<'_>]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let number = table.row_number().map(quote);
        let list: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let mut sql = format!("SELECT {} FROM {}", list.join(", "), quote(&table.name));
        if let (Some(number), RowRange::Numbers { .. }) = (&number, range) {
            sql += &format!(" WHERE {number} BETWEEN ?1 AND ?2");
        }
        if let Some(order) = number.or_else(|| key_order(table)) {
            sql += &format!(" ORDER BY {order}");
        }
        match range {
            RowRange::Numbers { first, last } => self.visit(table, &sql, [first, last], visit),
            RowRange::All => self.visit(table, &sql, [], visit),
        }
    }

    fn visit<E: From<SqliteError>>(
        &self,
        table: &TableInfo,
        sql: &str,
        parameters: impl Params,
        mut visit: impl FnMut(&[ValueRef<'_>]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let failed = |error| self.failed("read the rows of", table, error);
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let width = statement.column_count();
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut seen = 0;
        let mut spare: Vec<ValueRef<'static>> = Vec::with_capacity(width);
        while let Some(row) = rows.next().map_err(failed)? {
            let mut values = recycle(spare);
            for column in 0..width {
                values.push(row.get_ref(column).map_err(failed)?);
            }
            visit(&values)?;
            spare = recycle(values);
            seen += 1;
        }
        Ok(seen)
    }

    fn failed(&self, op: &str, table: &TableInfo, error: rusqlite::Error) -> SqliteError {
        SqliteError::item(format!("{op} table `{}` in", table.name), &self.path, error)
    }
}

fn key_order(table: &TableInfo) -> Option<String> {
    let mut key: Vec<_> = table.columns.iter().filter(|c| c.primary_key > 0).collect();
    key.sort_by_key(|column| column.primary_key);
    let names: Vec<String> = key.iter().map(|column| quote(&column.name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Empties a list and gives it values of another lifetime: collecting in place keeps its memory.
fn recycle<'b>(mut values: Vec<ValueRef<'_>>) -> Vec<ValueRef<'b>> {
    values.clear();
    values.into_iter().map(|_| ValueRef::Null).collect()
}

fn divide(first: i64, last: i64, parts: usize) -> Vec<RowRange> {
    let width = i128::from(last) - i128::from(first) + 1;
    let parts = (parts as i128).min(width);
    // Within first..=last, so it fits.
    let at = |part: i128| (i128::from(first) + width * part / parts) as i64;
    (0..parts)
        .map(|part| RowRange::Numbers {
            first: at(part),
            last: if part + 1 == parts {
                last
            } else {
                at(part + 1) - 1
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_number_once() {
        let ends = [
            (1, 10),
            (5, 5),
            (-7, 3),
            (i64::MIN, i64::MAX),
            (i64::MAX - 1, i64::MAX),
        ];
        for ((first, last), parts) in ends.into_iter().flat_map(|e| [1, 2, 3, 8].map(|p| (e, p))) {
            let mut next = i128::from(first);
            for range in divide(first, last, parts) {
                let RowRange::Numbers { first, last } = range else {
                    panic!("a range of numbers");
                };
                assert_eq!(i128::from(first), next);
                assert!(first <= last);
                next = i128::from(last) + 1;
            }
            assert_eq!(next, i128::from(last) + 1);
        }
    }
}

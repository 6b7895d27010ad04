//! Reads a schema from SQLite's own catalog and pragmas.

use rusqlite::{Connection, OptionalExtension as _};

use crate::ddl;
use crate::schema::{
    ColumnInfo, DatabaseSchema, DatabaseSettings, SchemaItem, SchemaItemKind, TableInfo, TableKind,
};

/// Reads everything about a database but its rows.
pub(crate) fn schema_of(connection: &Connection) -> rusqlite::Result<DatabaseSchema> {
    let mut tables = read_tables(connection)?;
    resolve_implicit_references(&mut tables);
    let others = read_others(connection)?
        .into_iter()
        .filter(|item| {
            let owner = tables.iter().find(|table| table.name == item.table);
            owner.is_none_or(|table| table.kind != TableKind::Shadow)
        })
        .collect();
    Ok(DatabaseSchema {
        settings: read_settings(connection)?,
        others,
        sequences: read_sequences(connection)?,
        tables,
    })
}

fn read_settings(connection: &Connection) -> rusqlite::Result<DatabaseSettings> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    Ok(DatabaseSettings {
        page_size: number("page_size")? as u32,
        encoding: text("encoding")?,
        user_version: number("user_version")? as i32,
        application_id: number("application_id")? as i32,
        auto_vacuum: number("auto_vacuum")? as u8,
        wal: text("journal_mode")?.eq_ignore_ascii_case("wal"),
        analyzed: has_table(connection, "sqlite_stat1")?,
    })
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection
        .query_row(sql, [name], |_| Ok(()))
        .optional()?
        .is_some())
}

fn read_sequences(connection: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    if !has_table(connection, "sqlite_sequence")? {
        return Ok(Vec::new());
    }
    connection
        .prepare(
            "SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer' ORDER BY name",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn read_others(connection: &Connection) -> rusqlite::Result<Vec<SchemaItem>> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema \
               WHERE type <> 'table' AND sql IS NOT NULL ORDER BY rowid";
    connection
        .prepare(sql)?
        .query_map([], |row| {
            let kind: String = row.get(0)?;
            Ok(SchemaItem {
                kind: match kind.as_str() {
                    "index" => SchemaItemKind::Index,
                    "view" => SchemaItemKind::View,
                    _ => SchemaItemKind::Trigger,
                },
                name: row.get(1)?,
                table: row.get(2)?,
                sql: row.get(3)?,
            })
        })?
        .collect()
}

fn read_tables(connection: &Connection) -> rusqlite::Result<Vec<TableInfo>> {
    let sql = "SELECT s.name, s.sql, l.type, l.wr, l.strict \
               FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name \
               WHERE l.schema = 'main' AND s.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               ORDER BY s.rowid";
    let mut tables = connection
        .prepare(sql)?
        .query_map([], |row| {
            let sql: String = row.get(1)?;
            let kind: String = row.get(2)?;
            Ok(TableInfo {
                name: row.get(0)?,
                without_rowid: row.get(3)?,
                strict: row.get(4)?,
                kind: match kind.as_str() {
                    "virtual" => TableKind::Virtual(ddl::virtual_content(&sql)),
                    "shadow" => TableKind::Shadow,
                    _ => TableKind::Ordinary,
                },
                sql,
                columns: Vec::new(),
                rowid: None,
                rowid_column: None,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for table in &mut tables {
        table.columns = read_columns(connection, &table.name)?;
        mark_references(connection, table)?;
        mark_keys(connection, table)?;
        mark_key_parts(connection, table)?;
    }
    Ok(tables)
}

fn read_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ColumnInfo>> {
    connection
        .prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1)")?
        .query_map([table], |row| {
            let declared_type: String = row.get(1)?;
            let hidden: i64 = row.get(4)?;
            Ok(ColumnInfo {
                name: row.get(0)?,
                not_null: row.get(2)?,
                primary_key: row.get::<_, i64>(3)?.try_into().unwrap_or(u8::MAX),
                unique: false,
                key_part: false,
                // 2 and 3 are generated columns, virtual and stored; 1 is hidden.
                generated: hidden >= 2,
                hidden: hidden == 1,
                max_len: ddl::declared_max_len(&declared_type),
                declared_type,
                references: None,
            })
        })?
        .collect()
}

/// Finds the columns that are unique by themselves, and how rows are numbered.
fn mark_keys(connection: &Connection, table: &mut TableInfo) -> rusqlite::Result<()> {
    let mut indexes = connection.prepare(
        "SELECT l.origin, l.\"unique\" AND NOT l.partial, count(*), max(i.name) \
         FROM pragma_index_list(?1) l, pragma_index_info(l.name) i GROUP BY l.name",
    )?;
    let mut rows = indexes.query([&table.name])?;
    let mut has_key_index = table.without_rowid;
    while let Some(row) = rows.next()? {
        let origin: String = row.get(0)?;
        has_key_index |= origin == "pk";
        let name: Option<String> = row.get(3)?;
        if row.get(1)?
            && row.get::<_, i64>(2)? == 1
            && let Some(column) = table
                .columns
                .iter_mut()
                .find(|c| Some(&c.name) == name.as_ref())
        {
            column.unique = true;
        }
    }
    let mut key = table
        .columns
        .iter_mut()
        .filter(|column| column.primary_key > 0);
    // A primary key without an index of its own is the row's number.
    if let (Some(column), None) = (key.next(), key.next())
        && !has_key_index
        && table.kind == TableKind::Ordinary
    {
        column.unique = true;
        table.rowid_column = Some(column.name.clone());
    }
    let numbered = match &table.kind {
        TableKind::Ordinary => !table.without_rowid && table.rowid_column.is_none(),
        TableKind::Virtual(_) => ddl::is_full_text(&table.sql),
        TableKind::Shadow => false,
    };
    if numbered {
        table.rowid = free_rowid_name(&table.columns);
    }
    Ok(())
}

/// Finds the columns that are unique only together with others.
fn mark_key_parts(connection: &Connection, table: &mut TableInfo) -> rusqlite::Result<()> {
    let keyed = table.columns.iter().filter(|c| c.primary_key > 0).count();
    let sql = "SELECT DISTINCT i.name FROM pragma_index_list(?1) l, pragma_index_info(l.name) i \
               WHERE l.\"unique\" AND NOT l.partial \
               AND (SELECT count(*) FROM pragma_index_info(l.name)) > 1";
    let mut statement = connection.prepare(sql)?;
    let parts = statement
        .query_map([&table.name], |row| row.get::<_, Option<String>>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for column in &mut table.columns {
        column.key_part = column.primary_key > 0 && keyed > 1
            || parts.iter().any(|part| part.as_ref() == Some(&column.name));
    }
    Ok(())
}

/// A column may bear one of the three names of the row number and hide it.
fn free_rowid_name(columns: &[ColumnInfo]) -> Option<String> {
    let taken = |name: &str| columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let free = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|name| !taken(name));
    free.map(str::to_owned)
}

fn mark_references(connection: &Connection, table: &mut TableInfo) -> rusqlite::Result<()> {
    let mut keys = connection.prepare(
        "SELECT \"from\", \"table\", \"to\", seq FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq",
    )?;
    let mut rows = keys.query([&table.name])?;
    while let Some(row) = rows.next()? {
        let from: String = row.get(0)?;
        let parent: String = row.get(1)?;
        let to: Option<String> = row.get(2)?;
        let place: i64 = row.get(3)?;
        let column = table
            .columns
            .iter_mut()
            .find(|column| column.name.eq_ignore_ascii_case(&from) && column.references.is_none());
        if let Some(column) = column {
            // Without a named column the parent's primary key is meant: see below.
            let to = to.unwrap_or_else(|| format!("\0{place}"));
            column.references = Some((parent, to));
        }
    }
    Ok(())
}

/// Names the parent's key column in references that leave it out, and spells names as the parent does.
fn resolve_implicit_references(tables: &mut [TableInfo]) {
    let parents: Vec<_> = tables
        .iter()
        .map(|table| (table.name.clone(), table.columns.clone()))
        .collect();
    for column in tables.iter_mut().flat_map(|table| &mut table.columns) {
        column.references = column.references.take().and_then(|(parent, to)| {
            let (name, columns) = parents
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(&parent))?;
            let target = match to.strip_prefix('\0') {
                Some(place) => {
                    let place = place.parse::<u8>().ok()?.checked_add(1)?;
                    columns.iter().find(|c| c.primary_key == place)?
                }
                None => columns.iter().find(|c| c.name.eq_ignore_ascii_case(&to))?,
            };
            Some((name.clone(), target.name.clone()))
        });
    }
}

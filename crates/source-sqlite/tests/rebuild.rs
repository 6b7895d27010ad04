//! A rebuilt database has the original's shape and nothing of what its rows held.

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_sqlite::{
    DatabaseSchema, Rebuild, RebuildReport, RowRange, RowReader, SqliteError, TableInfo, TableKind,
    ToSqlOutput, Value, ValueRef, VirtualContent, check_integrity, compare, fingerprint,
    read_schema,
};
use rusqlite::Connection;

const CANARY: &str = "zq7canary";

const ORIGINAL: &str = "
    PRAGMA page_size = 8192; PRAGMA auto_vacuum = 2; PRAGMA user_version = 42; PRAGMA application_id = 77;
    CREATE TABLE users ( -- comment with zq7canary
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        email VARCHAR(120) NOT NULL UNIQUE,
        name TEXT /* another zq7canary */ DEFAULT '--not a comment',
        shout TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL,
        kept TEXT AS (lower(name)) STORED
    );
    CREATE TABLE orders (number TEXT, line INT, owner INTEGER NOT NULL REFERENCES users,
        PRIMARY KEY (number, line)) WITHOUT ROWID;
    CREATE TABLE totals (day TEXT, cents INTEGER) STRICT;
    CREATE TABLE log (what TEXT);
    CREATE TABLE notes (body TEXT);
    CREATE VIRTUAL TABLE note_index USING fts5(body, content='notes');
    CREATE VIRTUAL TABLE mail USING fts5(subject, body);
    CREATE VIRTUAL TABLE bare USING fts5(body, content='');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
    CREATE INDEX by_name ON users (name) WHERE name IS NOT NULL; -- zq7canary
    CREATE VIEW names AS SELECT name /* zq7canary */ FROM users;
    CREATE TRIGGER logged AFTER INSERT ON users BEGIN INSERT INTO log VALUES ('inserted'); END;
    INSERT INTO users (id, email, name) VALUES (7, 'zq7canary@example.com', 'zq7canary Smith'), (9, 'b@example.com', NULL);
    INSERT INTO users (id, email) VALUES (500, 'zq7canary-deleted'); DELETE FROM users WHERE id = 500;
    INSERT INTO orders VALUES ('B', 2, 9), ('A', 1, 7), ('B', 1, 7);
    INSERT INTO totals VALUES ('2026-01-01', 995);
    INSERT INTO notes (rowid, body) VALUES (3, 'zq7canary one'), (8, 'two'); INSERT INTO note_index(note_index) VALUES ('rebuild');
    INSERT INTO mail (rowid, subject, body) VALUES (5, 'zq7canary', 'hello');
    INSERT INTO bare (rowid, body) VALUES (1, 'zq7canary');
    INSERT INTO boxes VALUES (1, 0.5, 2.5);
    ANALYZE;";

fn original(folder: &Path) -> PathBuf {
    let path = folder.join("original.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(ORIGINAL)
        .unwrap();
    path
}

/// Copies every row, the texts changed by `mask`.
fn rebuild(from: &Path, to: &Path, mask: fn(&str) -> String) -> Result<RebuildReport, SqliteError> {
    let schema = read_schema(from)?;
    let reader = RowReader::open(from)?;
    let mut rebuild = Rebuild::create(to, &schema)?;
    for table in schema.tables.iter().filter(|table| table.holds_rows()) {
        let columns: Vec<&str> = table
            .rowid
            .as_deref()
            .into_iter()
            .chain(table.stored_columns().map(|column| column.name.as_str()))
            .collect();
        reader.read(table, &columns, RowRange::All, |values| {
            let masked: Vec<Value> = values
                .iter()
                .map(|value| match Value::try_from(*value).unwrap() {
                    Value::Text(text) => Value::Text(mask(&text)),
                    other => other,
                })
                .collect();
            rebuild.insert(&table.name, &columns, &masked)
        })?;
    }
    rebuild.finish()
}

fn unchanged(text: &str) -> String {
    text.to_owned()
}

fn masked(text: &str) -> String {
    text.replace(CANARY, "masked")
}

fn ask<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

fn table<'a>(schema: &'a DatabaseSchema, name: &str) -> &'a TableInfo {
    schema.table(name).unwrap()
}

#[test]
fn the_schema_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let schema = read_schema(&original(folder.path())).unwrap();
    assert_eq!(
        (schema.settings.page_size, schema.settings.auto_vacuum),
        (8192, 2)
    );
    assert_eq!(
        (schema.settings.user_version, schema.settings.application_id),
        (42, 77)
    );
    assert!(schema.settings.analyzed);
    assert_eq!(schema.sequences, [("users".to_owned(), 500)]);

    let users = table(&schema, "users");
    let flags: Vec<_> = users
        .columns
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.primary_key,
                c.unique,
                c.generated,
                c.max_len,
            )
        })
        .collect();
    assert_eq!(
        flags,
        [
            ("id", 1, true, false, None),
            ("email", 0, true, false, Some(120)),
            ("name", 0, false, false, None),
            ("shout", 0, false, true, None),
            ("kept", 0, false, true, None),
        ]
    );
    assert_eq!(users.rowid_column.as_deref(), Some("id"));
    let orders = table(&schema, "orders");
    assert!(orders.without_rowid && orders.rowid.is_none());
    let owner = Some(("users".to_owned(), "id".to_owned()));
    assert_eq!(orders.columns[2].references, owner);
    assert!(orders.columns[2].not_null);
    assert!(orders.columns.iter().all(|column| !column.unique));
    assert!(table(&schema, "totals").strict);

    let kind = |name| table(&schema, name).kind.clone();
    let external = VirtualContent::External {
        table: "notes".into(),
    };
    assert_eq!(kind("note_index"), TableKind::Virtual(external));
    assert_eq!(kind("mail"), TableKind::Virtual(VirtualContent::Rows));
    assert_eq!(
        kind("bare"),
        TableKind::Virtual(VirtualContent::Contentless)
    );
    assert_eq!(kind("mail_data"), TableKind::Shadow);
    assert_eq!(kind("boxes_node"), TableKind::Shadow);
    let mail: Vec<_> = table(&schema, "mail")
        .stored_columns()
        .map(|c| &c.name)
        .collect();
    assert_eq!(mail, ["subject", "body"]);
}

#[test]
fn a_rebuild_of_the_same_rows_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (original(folder.path()), folder.path().join("new.db"));
    let report = rebuild(&from, &to, unchanged).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.emptied, ["bare"]);
    let (before, after) = (fingerprint(&from).unwrap(), fingerprint(&to).unwrap());
    let content = |f: &lifeboat_source_sqlite::DatabaseFingerprint| -> Vec<_> {
        let tables = f.tables.iter();
        // The inner layout of full-text indexes depends on how they were filled.
        tables
            .filter(|t| !t.table.contains('_') && t.table != "log")
            .cloned()
            .collect()
    };
    assert_eq!(content(&before), content(&after));
    assert!(
        compare(&before, &after).len() > 1,
        "the comments are gone, so the schema differs"
    );
}

#[test]
fn a_rebuild_keeps_every_feature() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (original(folder.path()), folder.path().join("new.db"));
    rebuild(&from, &to, masked).unwrap();
    let (before, after) = (read_schema(&from).unwrap(), read_schema(&to).unwrap());
    assert_eq!(before.settings, after.settings);
    assert_eq!(before.sequences, after.sequences);
    assert_eq!(before.others.len(), after.others.len());
    assert_eq!(
        ask::<String>(&to, "SELECT shout FROM users WHERE id = 7"),
        "MASKED SMITH"
    );
    assert_eq!(
        ask::<String>(&to, "SELECT kept FROM users WHERE id = 7"),
        "masked smith"
    );
    assert_eq!(
        ask::<i64>(
            &to,
            "SELECT rowid FROM note_index WHERE note_index MATCH 'masked'"
        ),
        3
    );
    assert_eq!(
        ask::<i64>(&to, "SELECT rowid FROM mail WHERE mail MATCH 'hello'"),
        5
    );
    assert_eq!(ask::<i64>(&to, "SELECT id FROM boxes WHERE x0 < 1"), 1);
    assert_eq!(ask::<i64>(&to, "SELECT count(*) FROM names"), 2);
    assert_eq!(
        ask::<String>(
            &to,
            "SELECT dflt_value FROM pragma_table_info('users') WHERE name = 'name'"
        ),
        "'--not a comment'"
    );

    // The original's trigger logged three inserts; loading rows is none.
    assert_eq!(ask::<i64>(&to, "SELECT count(*) FROM log"), 3);
    let writer = Connection::open(&to).unwrap();
    writer
        .execute("INSERT INTO users (email) VALUES ('new')", [])
        .unwrap();
    assert_eq!(
        writer.last_insert_rowid(),
        501,
        "numbers are not given twice"
    );
    assert_eq!(ask::<i64>(&to, "SELECT count(*) FROM log"), 4);
    assert!(
        writer
            .execute("INSERT INTO totals VALUES ('x', 'text')", [])
            .is_err()
    );
}

#[test]
fn nothing_of_what_was_masked_is_left_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (original(folder.path()), folder.path().join("new.db"));
    let holds_canary = |path: &Path| {
        let bytes = std::fs::read(path).unwrap().to_ascii_lowercase();
        bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes())
    };
    assert!(holds_canary(&from));
    rebuild(&from, &to, masked).unwrap();
    assert!(!holds_canary(&to));
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["new.db", "original.db"],
        "no journal is left either"
    );
}

#[test]
fn the_encoding_and_wal_mode_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let sql =
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('grüße');
               PRAGMA journal_mode = WAL;";
    Connection::open(&from).unwrap().execute_batch(sql).unwrap();
    rebuild(&from, &to, unchanged).unwrap();
    assert_eq!(ask::<String>(&to, "PRAGMA encoding"), "UTF-16le");
    assert_eq!(ask::<String>(&to, "PRAGMA journal_mode"), "wal");
    assert_eq!(ask::<String>(&to, "SELECT a FROM t"), "grüße");
    assert!(!folder.path().join("b.db-wal").exists());
}

#[test]
fn orphans_are_reported_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let schema = read_schema(&original(folder.path())).unwrap();
    let mut new = Rebuild::create(&folder.path().join("new.db"), &schema).unwrap();
    let row = ["A", "1", "99"].map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())));
    new.insert("orders", &["number", "line", "owner"], &row)
        .unwrap();
    let report = new.finish().unwrap();
    assert_eq!(report.rows, 1);
    assert_eq!(
        report.problems,
        ["1 rows of table `orders` refer to no row of table `users`"]
    );
}

#[test]
fn a_refused_row_is_an_error_without_its_values_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let schema = read_schema(&original(folder.path())).unwrap();
    let to = folder.path().join("new.db");
    let mut new = Rebuild::create(&to, &schema).unwrap();
    let row = [Value::Text(CANARY.into())];
    new.insert("users", &["email"], &row).unwrap();
    let error = new.insert("users", &["email"], &row).unwrap_err();
    let text = format!(
        "{error} {:?}",
        std::error::Error::source(&error).unwrap().to_string()
    );
    assert!(!text.contains(CANARY), "{text}");
    drop(new);
    assert!(!to.exists());
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = original(folder.path());
    let schema = read_schema(&path).unwrap();
    let error = Rebuild::create(&path, &schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(check_integrity(&path).unwrap(), Vec::<String>::new());
}

#[test]
fn ranges_together_are_the_whole_table_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let sql = "CREATE TABLE t (a INTEGER PRIMARY KEY); CREATE TABLE empty (a);
               WITH RECURSIVE n (i) AS (SELECT -50 UNION ALL SELECT i + 3 FROM n WHERE i < 2000)
               INSERT INTO t SELECT i FROM n;";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let schema = read_schema(&path).unwrap();
    let reader = RowReader::open(&path).unwrap();
    let t = table(&schema, "t");
    let read = |ranges: &[RowRange]| {
        let mut seen = Vec::new();
        for range in ranges {
            let push = |values: &[ValueRef<'_>]| {
                seen.push(values[0].as_i64().unwrap());
                Ok::<_, SqliteError>(())
            };
            reader.read(t, &["a"], *range, push).unwrap();
        }
        seen
    };
    let all = read(&[RowRange::All]);
    assert!(all.is_sorted() && all.len() as u64 == reader.count(t).unwrap());
    let parts = reader.ranges(t, 7).unwrap();
    assert_eq!(parts.len(), 7);
    assert_eq!(read(&parts), all);
    assert_eq!(reader.ranges(table(&schema, "empty"), 7).unwrap(), []);
}

#[test]
fn a_refused_statement_is_an_error_without_its_literals() {
    let folder = tempfile::tempdir().unwrap();
    let mut schema = read_schema(&original(folder.path())).unwrap();
    schema.tables[0].sql =
        format!("CREATE TABLE users (email DEFAULT '{CANARY}', name nonsense()))");
    let error = Rebuild::create(&folder.path().join("new.db"), &schema).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to create table `users` in"),
        "{error}"
    );
    let source = std::error::Error::source(&error).unwrap();
    assert!(!format!("{error} {error:?} {source} {source:?}").contains(CANARY));
    assert!(!folder.path().join("new.db").exists());
}

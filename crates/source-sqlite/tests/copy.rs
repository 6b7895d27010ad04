//! Copies of living databases are of one moment, stand alone and leave the source as it was.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_sqlite::{CopyOptions, SqliteCopy, SqliteError, check_integrity};
use rusqlite::Connection;

/// The two tables of one ledger always have the same sum, if read at one moment.
const SCHEMA: &str = "CREATE TABLE debit (id INTEGER PRIMARY KEY, amount INTEGER, note TEXT);
                      CREATE TABLE credit (id INTEGER PRIMARY KEY, amount INTEGER, note TEXT);
                      INSERT INTO debit VALUES (0, 0, 'start'); INSERT INTO credit VALUES (0, 0, 'start');";

fn create(path: &Path, journal_mode: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .query_row(&format!("PRAGMA journal_mode = {journal_mode}"), [], |_| {
            Ok(())
        })
        .unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn write_until(path: &Path, stop: &AtomicBool, commits: &AtomicU64) {
    let mut connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection
        .pragma_update(None, "synchronous", "OFF")
        .unwrap();
    let mut n = 0_i64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let transaction = connection.transaction().unwrap();
        for table in ["debit", "credit"] {
            let insert =
                format!("INSERT INTO {table} (amount, note) VALUES (?1, hex(randomblob(400)))");
            transaction.execute(&insert, [n]).unwrap();
            let delete = format!("DELETE FROM {table} WHERE id % 7 = ?1 AND id < ?2 - 100");
            transaction.execute(&delete, [n % 7, n]).unwrap();
        }
        transaction.commit().unwrap();
        commits.fetch_add(1, Ordering::Relaxed);
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn take(path: &Path, scratch: &Path) -> Result<SqliteCopy, SqliteError> {
    SqliteCopy::take(path, scratch, &CopyOptions::default())
}

fn copies_are_consistent_under_a_writer(journal_mode: &str) {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    drop(create(&path, journal_mode));
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| write_until(&path, &stop, &commits));
        let mut seen = 0;
        for _ in 0..12 {
            while commits.load(Ordering::Relaxed) < seen + 5 {
                std::thread::yield_now();
            }
            seen = commits.load(Ordering::Relaxed);
            let copy = take(&path, scratch.path()).unwrap();
            assert_eq!(check_integrity(copy.path()).unwrap(), Vec::<String>::new());
            let reader = Connection::open(copy.path()).unwrap();
            let sums = "SELECT (SELECT sum(amount) FROM debit), (SELECT sum(amount) FROM credit)";
            let (debit, credit): (i64, i64) = reader
                .query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(debit, credit);
            assert!(debit > 0, "the copy holds what was committed before");
            assert_eq!(copy.bytes() % u64::from(copy.page_size()), 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        names_in(scratch.path()),
        Vec::<String>::new(),
        "copies are gone"
    );
    assert_eq!(check_integrity(&path).unwrap(), Vec::<String>::new());
}

#[test]
fn copies_are_consistent_under_a_writer_in_wal_mode() {
    copies_are_consistent_under_a_writer("WAL");
}

#[test]
fn copies_are_consistent_under_a_writer_in_rollback_mode() {
    copies_are_consistent_under_a_writer("DELETE");
}

#[test]
fn a_copy_stands_alone_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = create(&path, "WAL");
    writer
        .execute("INSERT INTO debit VALUES (9, 7, 'in the wal')", [])
        .unwrap();
    let copy = take(&path, folder.path()).unwrap();
    assert_eq!(names_in(copy.path().parent().unwrap()), ["copy.sqlite"]);
    let mode = copy.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Moved away from everything around it, it still has the row.
    let alone = folder.path().join("alone.db");
    std::fs::copy(copy.path(), &alone).unwrap();
    let reader = Connection::open(&alone).unwrap();
    let amount = reader.query_row("SELECT amount FROM debit WHERE id = 9", [], |row| {
        row.get(0)
    });
    assert_eq!(amount, Ok(7_i64));
}

#[test]
fn the_source_is_left_as_it_was() {
    for mode in ["WAL", "DELETE", "TRUNCATE"] {
        let folder = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(create(&path, mode));
        let before = std::fs::read(&path).unwrap();
        let names = names_in(folder.path());
        let modified = path.metadata().unwrap().modified().unwrap();
        drop(take(&path, scratch.path()).unwrap());
        assert_eq!(names_in(folder.path()), names, "{mode}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{mode}");
        assert_eq!(
            path.metadata().unwrap().modified().unwrap(),
            modified,
            "{mode}"
        );
    }
}

#[test]
fn a_wal_in_use_is_neither_emptied_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = create(&path, "WAL");
    let wal = folder.path().join("a.db-wal");
    let before = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
    assert!(!before.1.is_empty());
    drop(take(&path, scratch.path()).unwrap());
    assert_eq!(
        (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap()),
        before
    );
    writer
        .execute("INSERT INTO debit VALUES (9, 7, '')", [])
        .unwrap();
}

#[test]
fn what_is_no_database_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let garbage: Vec<u8> = (0..8192_u32).map(|n| (n * 131 % 251) as u8).collect();
    for path in [
        file("text", b"hello, world"),
        file("garbage", &garbage),
        file("empty", b""),
        folder.path().to_owned(),
    ] {
        let error = take(&path, folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{path:?}");
        let message = format!("`{}` is not a SQLite database", path.display());
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some());
    }
    let error = take(&folder.path().join("absent"), folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!folder.path().join("absent").exists());
}

#[test]
fn a_database_held_exclusively_is_busy_after_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = create(&path, "DELETE");
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let options = CopyOptions {
        busy_timeout: Duration::from_millis(20),
    };
    let error = SqliteCopy::take(&path, folder.path(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    writer.execute_batch("ROLLBACK").unwrap();
    assert!(SqliteCopy::take(&path, folder.path(), &options).is_ok());
}

#[test]
fn a_hot_journal_is_reported_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = create(&path, "DELETE");
    writer.pragma_update(None, "cache_size", 2).unwrap();
    writer
        .execute_batch("BEGIN; UPDATE debit SET note = hex(randomblob(90000));")
        .unwrap();
    // A crash in the middle of a transaction: what lies on disk, seen elsewhere without the locks.
    let crashed = folder.path().join("crashed.db");
    let journal = folder.path().join("crashed.db-journal");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(folder.path().join("a.db-journal"), &journal).unwrap();
    let before = std::fs::read(&journal).unwrap();
    let error = take(&crashed, folder.path()).unwrap_err();
    assert!(
        matches!(error, SqliteError::NeedsRecovery { .. }),
        "{error:?}"
    );
    assert!(error.hint().is_some());
    assert_eq!(std::fs::read(&journal).unwrap(), before);
}

#[test]
fn the_wal_of_a_crashed_process_is_read_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = create(&path, "WAL");
    writer
        .set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            true,
        )
        .unwrap();
    writer
        .execute("INSERT INTO debit VALUES (9, 7, 'in the wal')", [])
        .unwrap();
    drop(writer);
    let wal = folder.path().join("a.db-wal");
    let before = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
    std::os::unix::fs::symlink("a.db", folder.path().join("link")).unwrap();
    for name in ["a.db", "link"] {
        let copy = take(&folder.path().join(name), scratch.path()).unwrap();
        let reader = Connection::open(copy.path()).unwrap();
        let sql = "SELECT amount FROM debit WHERE id = 9";
        assert_eq!(reader.query_row(sql, [], |row| row.get(0)), Ok(7_i64));
        let after = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
        assert_eq!(after, before);
    }
}

//! Databases are put in place whole, and never next to another one's WAL.

use std::path::{Path, PathBuf};

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_source_sqlite::{check_integrity, install, publish};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

fn database(folder: &Path, name: &str, marker: i64) -> PathBuf {
    let path = folder.join(name);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE t (a INTEGER)")
        .unwrap();
    connection
        .execute("INSERT INTO t VALUES (?1)", [marker])
        .unwrap();
    path
}

fn markers(path: &Path) -> Vec<i64> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT a FROM t ORDER BY a").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Leaves committed rows in the WAL, as a crashed process does.
fn crash_in_wal_mode(path: &Path, marker: i64) {
    let connection = Connection::open(path).unwrap();
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    connection
        .execute("INSERT INTO t VALUES (?1)", [marker])
        .unwrap();
    drop(connection);
    let wal = format!("{}-wal", path.display());
    assert!(
        std::fs::metadata(wal).unwrap().len() > 0,
        "the crash left a WAL"
    );
}

#[test]
fn installing_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("app.db");
    for name in ["app.db", "app.db-wal", "app.db-journal", "app.db-shm"] {
        let restored = database(folder.path(), "restored.db", 1);
        let in_the_way = folder.path().join(name);
        std::fs::write(&in_the_way, "precious").unwrap();
        let error = install(&restored, &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}");
        assert!(error.hint().is_some());
        assert_eq!(std::fs::read(&in_the_way).unwrap(), b"precious");
        std::fs::remove_file(in_the_way).unwrap();
        std::fs::remove_file(restored).unwrap();
    }
    let restored = database(folder.path(), "restored.db", 1);
    install(&restored, &target).unwrap();
    assert_eq!(names_in(folder.path()), ["app.db"]);
    assert_eq!(markers(&target), [1]);
}

#[test]
fn publishing_keeps_as_many_former_databases_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("app.db");
    for marker in 1..=5 {
        let new = database(folder.path(), "new.db", marker);
        publish(&new, &target, 2).unwrap();
        assert_eq!(markers(&target), [marker]);
    }
    assert_eq!(
        names_in(folder.path()),
        ["app.db", "app.db.previous-1", "app.db.previous-2"]
    );
    assert_eq!(markers(&folder.path().join("app.db.previous-1")), [4]);
    assert_eq!(markers(&folder.path().join("app.db.previous-2")), [3]);
    let new = database(folder.path(), "new.db", 6);
    let published = publish(&new, &target, 0).unwrap();
    assert_eq!(published.previous, Vec::<PathBuf>::new());
    assert_eq!(names_in(folder.path()), ["app.db"]);
}

#[test]
fn a_leftover_wal_goes_into_the_old_database_and_never_into_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let target = database(folder.path(), "app.db", 1);
    crash_in_wal_mode(&target, 2);
    let new = database(folder.path(), "new.db", 100);
    let published = publish(&new, &target, 1).unwrap();
    assert_eq!(names_in(folder.path()), ["app.db", "app.db.previous-1"]);
    assert_eq!(markers(&target), [100]);
    assert_eq!(check_integrity(&target).unwrap(), Vec::<String>::new());
    assert_eq!(markers(&published.previous[0]), [1, 2]);
}

#[test]
fn a_wal_without_its_database_is_not_applied_to_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let target = database(folder.path(), "app.db", 1);
    crash_in_wal_mode(&target, 2);
    std::fs::remove_file(&target).unwrap();
    let new = database(folder.path(), "new.db", 100);
    publish(&new, &target, 1).unwrap();
    assert_eq!(names_in(folder.path()), ["app.db"]);
    assert_eq!(markers(&target), [100]);
}

#[test]
fn a_database_in_use_is_not_replaced() {
    for mode in ["WAL", "DELETE"] {
        let folder = tempfile::tempdir().unwrap();
        let target = database(folder.path(), "app.db", 1);
        let holder = Connection::open(&target).unwrap();
        let sql = format!("PRAGMA journal_mode = {mode}");
        holder.query_row(&sql, [], |_| Ok(())).unwrap();
        holder.execute("INSERT INTO t VALUES (2)", []).unwrap();
        let new = database(folder.path(), "new.db", 100);
        let error = publish(&new, &target, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{mode}");
        assert_eq!(markers(&new), [100], "the new database is still there");
        drop(holder);
        publish(&new, &target, 1).unwrap();
        assert_eq!(markers(&target), [100]);
        assert_eq!(markers(&folder.path().join("app.db.previous-1")), [1, 2]);
    }
}

#[test]
fn a_published_database_takes_over_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let target = database(folder.path(), "app.db", 1);
    std::fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).unwrap();
    let new = database(folder.path(), "new.db", 2);
    publish(&new, &target, 0).unwrap();
    assert_eq!(
        target.metadata().unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn a_new_database_on_another_file_system_is_refused_before_anything_moves() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let device = |path: &Path| path.metadata().unwrap().dev();
    if device(folder.path()) == device(elsewhere.path()) {
        return;
    }
    let target = database(folder.path(), "app.db", 2);
    database(folder.path(), "app.db.previous-1", 1);
    let new = database(elsewhere.path(), "new.db", 3);
    let error = publish(&new, &target, 1).unwrap_err();
    assert!(error.hint().unwrap().contains("atomic"));
    assert_eq!(markers(&target), [2]);
    assert_eq!(markers(&folder.path().join("app.db.previous-1")), [1]);
}

#[test]
fn a_link_to_a_database_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let real = database(folder.path(), "real.db", 1);
    crash_in_wal_mode(&real, 2);
    let link = folder.path().join("app.db");
    std::os::unix::fs::symlink("real.db", &link).unwrap();
    let new = database(folder.path(), "new.db", 3);
    publish(&new, &link, 1).unwrap();
    assert!(link.is_symlink());
    assert_eq!(
        names_in(folder.path()),
        ["app.db", "real.db", "real.db.previous-1"]
    );
    assert_eq!(markers(&link), [3]);
    assert_eq!(markers(&folder.path().join("real.db.previous-1")), [1, 2]);
}

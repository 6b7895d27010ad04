//! What the generator and the writer promise, checked on real databases.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_demo::{Commit, INVARIANT_SQL, Shop, ShopOptions, ShopStats, ShopWriter, originals};
use lifeboat_model::{Diagnose as _, ErrorKind};
use rusqlite::Connection;
use rusqlite::types::Value;

const TABLES: [&str; 5] = [
    "customers",
    "orders",
    "payments",
    "support_notes",
    "heartbeat",
];

fn noon() -> Timestamp {
    "2026-03-14T12:00:00Z".parse().unwrap()
}

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    stats: ShopStats,
}

fn shop(customers: u64, seed: u64) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let options = ShopOptions {
        customers,
        seed,
        now: noon(),
    };
    let stats = Shop::create(&path, &options).unwrap();
    Fixture {
        _folder: folder,
        path,
        stats,
    }
}

/// Returns every row of every table.
fn content(path: &Path) -> Vec<Vec<Value>> {
    let database = Connection::open(path).unwrap();
    let mut rows = Vec::new();
    for table in TABLES {
        let mut statement = database
            .prepare(&format!("SELECT * FROM {table} ORDER BY id"))
            .unwrap();
        let columns = statement.column_count();
        let read = statement
            .query_map([], |row| (0..columns).map(|n| row.get(n)).collect())
            .unwrap();
        rows.extend(read.map(Result::unwrap));
    }
    rows
}

fn text(database: &Connection, sql: &str) -> String {
    database
        .query_row(sql, [], |row| row.get::<_, Value>(0))
        .map(|value| match value {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        })
        .unwrap()
}

fn assert_sound(path: &Path) {
    let database = Connection::open(path).unwrap();
    assert_eq!(text(&database, INVARIANT_SQL), "1", "the money adds up");
    assert_eq!(text(&database, "PRAGMA integrity_check"), "ok");
    let orphans = "SELECT count(*) FROM pragma_foreign_key_check";
    assert_eq!(text(&database, orphans), "0", "rows without a parent");
}

#[test]
fn one_seed_makes_one_shop_and_another_seed_another() {
    let (first, again, other) = (shop(150, 1), shop(150, 1), shop(150, 2));
    assert_eq!(content(&first.path), content(&again.path));
    assert_ne!(content(&first.path), content(&other.path));
}

#[test]
fn a_new_shop_is_sound_complete_and_in_wal_mode() {
    let shop = shop(2_000, 3);
    assert_sound(&shop.path);
    let database = Connection::open(&shop.path).unwrap();
    assert_eq!(text(&database, "PRAGMA journal_mode"), "wal");
    let count = |table: &str| -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        text(&database, &sql).parse().unwrap()
    };
    let counted = ShopStats {
        customers: count("customers"),
        orders: count("orders"),
        payments: count("payments"),
        notes: count("support_notes"),
    };
    assert_eq!(counted, shop.stats);
    assert_eq!(counted.customers, 2_000);
    // Two orders a customer, 87 payments in a hundred orders, notes for three in ten.
    assert!((3_800..4_200).contains(&counted.orders), "{counted:?}");
    assert!((3_300..3_700).contains(&counted.payments), "{counted:?}");
    assert!((500..700).contains(&counted.notes), "{counted:?}");
    assert!(count("revenue_by_country") >= 5);
}

#[test]
fn texts_have_the_form_that_their_column_promises() {
    let shop = shop(2_000, 4);
    let database = Connection::open(&shop.path).unwrap();
    let none = |sql: &str| assert_eq!(text(&database, sql), "0", "{sql}");
    let utc = "'20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z'";
    for (table, column) in [
        ("customers", "created_at"),
        ("orders", "placed_at"),
        ("payments", "paid_at"),
        ("support_notes", "created_at"),
    ] {
        none(&format!(
            "SELECT count(*) FROM {table} WHERE {column} NOT GLOB {utc}
             OR {column} > '2026-03-14T12:00:00Z'"
        ));
    }
    none("SELECT count(*) FROM customers WHERE NOT json_valid(profile)");
    none("SELECT count(*) FROM customers WHERE profile ->> '$.contact.email' IS NOT email");
    none("SELECT count(*) FROM customers WHERE profile ->> '$.contact.phone' IS NOT phone");
    none("SELECT count(*) FROM customers WHERE email NOT GLOB '[a-z]*[0-9]@[a-z]*.[a-z]*'");
    none("SELECT count(*) FROM customers WHERE phone NOT GLOB '+[1-9]*'");
    none("SELECT count(*) FROM customers WHERE full_name NOT GLOB '* *[ -]*'");
    none("SELECT count(*) FROM payments WHERE (method = 'card') <> (card_number IS NOT NULL)");
    none(
        "SELECT count(*) FROM support_notes JOIN customers ON customers.id = customer_id
         WHERE instr(body, full_name) = 0",
    );
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    std::fs::write(&path, "precious").unwrap();
    let options = ShopOptions {
        customers: 1,
        seed: 1,
        now: noon(),
    };
    let error = Shop::create(&path, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_a_killed_run_left_behind_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let partial = folder.path().join("shop.db.partial");
    std::fs::write(&partial, "half a shop").unwrap();
    let options = ShopOptions {
        customers: 3,
        seed: 1,
        now: noon(),
    };
    Shop::create(&path, &options).unwrap();
    assert_sound(&path);
    assert!(!partial.exists());
}

#[test]
fn every_commit_keeps_the_invariant_and_moves_the_heartbeat() {
    let shop = shop(100, 5);
    let mut writer = ShopWriter::open(&shop.path, 6).unwrap();
    let database = Connection::open(&shop.path).unwrap();
    let mut kinds = [0; 4];
    for n in 1..=300_i64 {
        let now = noon() + SignedDuration::from_millis(n * 7);
        kinds[match writer.commit_one(now).unwrap() {
            Commit::NewCustomer { .. } => 0,
            Commit::NewOrder { .. } => 1,
            Commit::StatusChange { .. } => 2,
            Commit::Note { .. } => 3,
        }] += 1;
        let heartbeat = text(&database, "SELECT at FROM heartbeat");
        assert_eq!(heartbeat.parse::<Timestamp>().unwrap(), now);
        assert_eq!(heartbeat.len(), "2026-03-14T12:00:00.007Z".len());
        assert_eq!(text(&database, INVARIANT_SQL), "1", "after commit {n}");
    }
    assert!(kinds.iter().all(|count| *count > 20), "{kinds:?}");
    assert_sound(&shop.path);
}

#[test]
fn one_seed_makes_one_history() {
    let run = || {
        let shop = shop(40, 8);
        let mut writer = ShopWriter::open(&shop.path, 9).unwrap();
        for n in 0..120 {
            let now = noon() + SignedDuration::from_secs(n);
            writer.commit_one(now).unwrap();
        }
        drop(writer);
        content(&shop.path)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_status_change_leaves_the_trace_that_the_trigger_writes() {
    let shop = shop(100, 10);
    let database = Connection::open(&shop.path).unwrap();
    let trace = "SELECT count(*) FROM support_notes WHERE author = 'system'";
    assert_eq!(text(&database, trace), "0");
    let ship = "UPDATE orders SET status = 'shipped'
                WHERE id = (SELECT min(id) FROM orders WHERE status = 'paid')";
    assert_eq!(database.execute(ship, []).unwrap(), 1);
    assert_eq!(text(&database, trace), "1");
    let dated = "SELECT created_at FROM support_notes WHERE author = 'system'";
    assert_eq!(
        text(&database, dated),
        text(&database, "SELECT at FROM heartbeat")
    );
}

#[test]
fn the_invariant_notices_half_a_transaction() {
    let shop = shop(100, 11);
    let database = Connection::open(&shop.path).unwrap();
    let lose = "DELETE FROM payments WHERE id = (SELECT min(id) FROM payments)";
    assert_eq!(database.execute(lose, []).unwrap(), 1);
    assert_eq!(text(&database, INVARIANT_SQL), "0");
}

#[test]
fn a_shop_without_customers_finds_its_first() {
    let shop = shop(0, 12);
    let mut writer = ShopWriter::open(&shop.path, 13).unwrap();
    let first = writer.commit_one(noon()).unwrap();
    assert_eq!(first, Commit::NewCustomer { customer: 1 });
    assert_sound(&shop.path);
}

#[test]
fn two_writers_share_a_shop_until_they_are_stopped() {
    let shop = shop(50, 14);
    let stop = AtomicBool::new(false);
    let ticks = AtomicI64::new(0);
    let run = |seed| {
        let mut writer = ShopWriter::open(&shop.path, seed).unwrap();
        let now = || {
            // The clock ends the run, so that the test neither sleeps nor depends on speed.
            let tick = ticks.fetch_add(1, Ordering::SeqCst);
            if tick >= 100 {
                stop.store(true, Ordering::Release);
            }
            noon() + SignedDuration::from_millis(tick)
        };
        writer.run_until(&stop, Duration::ZERO, now).unwrap()
    };
    let commits = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        run(2) + other.join().unwrap()
    });
    assert_eq!(commits.cast_signed(), ticks.load(Ordering::SeqCst));
    assert!(commits > 100);
    assert_sound(&shop.path);
}

#[test]
fn a_missing_shop_is_not_created_by_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let Err(error) = ShopWriter::open(&path, 1) else {
        panic!("opened nothing");
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!path.exists());
}

#[test]
fn originals_are_a_sample_of_what_identifies_people() {
    let shop = shop(500, 15);
    let sample = originals(&shop.path, 20).unwrap();
    assert!((100..=140).contains(&sample.len()), "{}", sample.len());
    let database = Connection::open(&shop.path).unwrap();
    for (table, column) in [
        ("customers", "email"),
        ("customers", "full_name"),
        ("customers", "phone"),
        ("customers", "iban"),
        ("payments", "card_number"),
        ("support_notes", "body"),
    ] {
        let mut known = database
            .prepare(&format!("SELECT 1 FROM {table} WHERE {column} = ?1"))
            .unwrap();
        let found = sample.iter().filter(|value| known.exists([value]).unwrap());
        assert!(found.count() >= 10, "{column}");
    }
}

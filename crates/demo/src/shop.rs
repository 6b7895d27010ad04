//! Making a shop: the whole database in one go.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_model::ErrorKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use rusqlite::Connection;

use crate::DemoError;
use crate::country::{Countries, currency_of};
use crate::notes::{self, Mentioned};
use crate::orders::{Order, Payment};
use crate::people::{Customer, moment};
use crate::schema::{AFTER_LOAD, TABLES};

const OP: &str = "create the webshop";

/// What a shop is made from; equal options make equal shops.
#[derive(Debug, Clone, Copy)]
pub struct ShopOptions {
    /// How many customers; each places two orders on average.
    pub customers: u64,
    /// Where the random draws start.
    pub seed: u64,
    /// When the shop's history ends; nothing in it is later.
    pub now: Timestamp,
}

/// How many rows a shop was made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShopStats {
    /// Rows of `customers`.
    pub customers: u64,
    /// Rows of `orders`.
    pub orders: u64,
    /// Rows of `payments`.
    pub payments: u64,
    /// Rows of `support_notes`.
    pub notes: u64,
}

/// The webshop's database.
#[derive(Debug)]
pub struct Shop;

impl Shop {
    /// Creates the database at `path`, in WAL mode.
    ///
    /// It is built under another name next to `path` and renamed when complete, so that no half
    /// shop ever stands under its name.
    ///
    /// # Errors
    /// Fails if `path` exists or cannot be written.
    pub fn create(path: &Path, options: &ShopOptions) -> Result<ShopStats, DemoError> {
        if path.exists() {
            return Err(DemoError {
                op: OP,
                path: path.to_owned(),
                kind: ErrorKind::AlreadyExists,
                source: "the file exists".into(),
            });
        }
        let partial = partial_path(path);
        // A run that was killed may have left one; it is of no use to anybody.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DemoError::io(OP, path)(error));
            }
            _ => {}
        }
        let stats = build(&partial, options).map_err(DemoError::sqlite(OP, path))?;
        std::fs::rename(&partial, path).map_err(DemoError::io(OP, path))?;
        Ok(stats)
    }
}

fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn build(path: &Path, options: &ShopOptions) -> rusqlite::Result<ShopStats> {
    let mut database = Connection::open(path)?;
    // Nobody reads this file before it is renamed and a failed run throws it away, so the load
    // needs neither a journal nor syncs.
    database.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;
         PRAGMA foreign_keys = ON;",
    )?;
    let transaction = database.transaction()?;
    transaction.execute_batch(TABLES)?;
    let stats = load(&transaction, options)?;
    transaction.execute(
        "INSERT INTO heartbeat (id, at) VALUES (1, ?1)",
        [heartbeat(options.now)],
    )?;
    transaction.execute_batch(AFTER_LOAD)?;
    transaction.commit()?;
    // The mode is kept in the file: whoever opens it next writes through a WAL.
    database.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;")?;
    database.close().map_err(|(_, error)| error)?;
    Ok(stats)
}

fn load(database: &Connection, options: &ShopOptions) -> rusqlite::Result<ShopStats> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
    let countries = Countries::draw(&mut rng);
    let mut rows = Inserter::prepare(database)?;
    for id in 1..=options.customers.cast_signed() {
        let customer = Customer::draw_past(&mut rng, &countries, id, options.now);
        rows.customer(&customer)?;
        let mut last_card = None;
        for _ in 0..rng.random_range(0..5) {
            let order = Order::draw_past(&mut rng, customer.created_at, options.now);
            let order_id = rows.order(&customer, &order)?;
            for payment in order.payments(&mut rng, options.now) {
                rows.payment(order_id, &customer.full_name, &payment)?;
                last_card = payment.card_number.or(last_card);
            }
        }
        if rng.random_ratio(3, 10) {
            let about = Mentioned {
                full_name: &customer.full_name,
                email: &customer.email,
                phone: customer.phone.as_deref(),
                card_number: last_card.as_deref(),
            };
            let body = notes::body(&mut rng, &about);
            let at = moment(&mut rng, customer.created_at, options.now);
            rows.note(id, notes::author(&mut rng), &body, at)?;
        }
    }
    Ok(rows.stats)
}

/// Writes a time as the heartbeat holds it: with milliseconds, because it measures data loss.
pub(crate) fn heartbeat(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Writes a time as rows hold it: whole seconds, UTC.
fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Inserts rows and counts them.
pub(crate) struct Inserter<'db> {
    customer: rusqlite::CachedStatement<'db>,
    order: rusqlite::CachedStatement<'db>,
    payment: rusqlite::CachedStatement<'db>,
    note: rusqlite::CachedStatement<'db>,
    stats: ShopStats,
}

impl<'db> Inserter<'db> {
    pub(crate) fn prepare(database: &'db Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            customer: database.prepare_cached(
                "INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
            order: database.prepare_cached(
                "INSERT INTO orders (customer_id, status, total_cents, currency, placed_at,
                    shipping_name, shipping_address)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            payment: database.prepare_cached(
                "INSERT INTO payments (order_id, method, card_number, card_holder, amount_cents,
                    paid_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            note: database.prepare_cached(
                "INSERT INTO support_notes (customer_id, author, body, created_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?,
            stats: ShopStats::default(),
        })
    }

    pub(crate) fn customer(&mut self, customer: &Customer) -> rusqlite::Result<()> {
        self.stats.customers += 1;
        self.customer
            .insert(rusqlite::params![
                customer.id,
                customer.email,
                customer.full_name,
                customer.phone,
                customer.street,
                customer.city,
                customer.postcode,
                customer.country,
                customer.birth_date,
                customer.iban,
                seconds(customer.created_at),
                customer.profile,
            ])
            .map(drop)
    }

    /// Inserts an order and returns its id.
    pub(crate) fn order(&mut self, customer: &Customer, order: &Order) -> rusqlite::Result<i64> {
        self.stats.orders += 1;
        self.order.insert(rusqlite::params![
            customer.id,
            order.status,
            order.total_cents,
            currency_of(&customer.country),
            seconds(order.placed_at),
            customer.full_name,
            customer.address(),
        ])
    }

    pub(crate) fn payment(
        &mut self,
        order_id: i64,
        payer: &str,
        payment: &Payment,
    ) -> rusqlite::Result<()> {
        self.stats.payments += 1;
        let holder = payment.card_number.as_ref().map(|_| payer);
        self.payment
            .insert(rusqlite::params![
                order_id,
                payment.method,
                payment.card_number,
                holder,
                payment.amount_cents,
                seconds(payment.paid_at),
            ])
            .map(drop)
    }

    pub(crate) fn note(
        &mut self,
        customer_id: i64,
        author: &str,
        body: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        self.stats.notes += 1;
        self.note
            .insert(rusqlite::params![customer_id, author, body, seconds(at)])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{is_card, is_iban};

    #[test]
    fn every_card_and_every_iban_passes_its_check() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let options = ShopOptions {
            customers: 500,
            seed: 21,
            now: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(490_000),
        };
        Shop::create(&path, &options).unwrap();
        let database = Connection::open(&path).unwrap();
        let mut checked = 0;
        for (sql, sound) in [
            (
                "SELECT iban FROM customers WHERE iban IS NOT NULL",
                is_iban as fn(&str) -> bool,
            ),
            (
                "SELECT card_number FROM payments WHERE card_number IS NOT NULL",
                is_card,
            ),
        ] {
            let mut statement = database.prepare(sql).unwrap();
            for number in statement.query_map([], |row| row.get(0)).unwrap() {
                let number: String = number.unwrap();
                assert!(sound(&number), "{number}");
                checked += 1;
            }
        }
        assert!(checked > 900, "{checked}");
    }
}

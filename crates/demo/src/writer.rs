//! The live writer: customers who keep ordering while backups and drills run.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction};

use crate::DemoError;
use crate::country::Countries;
use crate::notes::{self, Mentioned};
use crate::orders::{Order, cover};
use crate::people::Customer;
use crate::shop::{Inserter, heartbeat};

const OP: &str = "write to the webshop";

/// How long a commit waits for another writer before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What one transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Somebody new signed up, ordered and paid.
    NewCustomer {
        /// The customer's id.
        customer: i64,
    },
    /// A known customer ordered and paid.
    NewOrder {
        /// The order's id.
        order: i64,
    },
    /// An order went one step further: paid, shipped, delivered or cancelled.
    StatusChange {
        /// The order's id.
        order: i64,
    },
    /// The support desk wrote a note.
    Note {
        /// The customer's id.
        customer: i64,
    },
}

/// Writes to a shop the way its customers do, one realistic transaction at a time.
///
/// Each transaction keeps [`crate::INVARIANT_SQL`] and sets `heartbeat.at` to its own time, so that
/// a restored copy tells how much work it lost.
pub struct ShopWriter {
    path: PathBuf,
    database: Connection,
    rng: Xoshiro256PlusPlus,
    countries: Countries,
}

impl ShopWriter {
    /// Opens the shop at `path`; `seed` decides what its customers will do.
    ///
    /// # Errors
    /// Fails if there is no database at `path`.
    pub fn open(path: &Path, seed: u64) -> Result<Self, DemoError> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let database = Connection::open_with_flags(path, flags)?;
            database.busy_timeout(BUSY_TIMEOUT)?;
            database.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL;")?;
            Ok(database)
        };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Ok(Self {
            path: path.to_owned(),
            database: open().map_err(DemoError::sqlite("open the webshop", path))?,
            countries: Countries::draw(&mut rng),
            rng,
        })
    }

    /// Commits one transaction that happens at `now`.
    ///
    /// # Errors
    /// Fails if the database cannot be written or another writer holds it for five seconds.
    pub fn commit_one(&mut self, now: Timestamp) -> Result<Commit, DemoError> {
        self.transact(now)
            .map_err(DemoError::sqlite(OP, &self.path))
    }

    /// Commits until `stop` is set, resting for `pause` after each commit, and returns how many
    /// commits there were.
    ///
    /// # Errors
    /// Ends with the first commit that fails.
    pub fn run_until(
        &mut self,
        stop: &AtomicBool,
        pause: Duration,
        now: impl Fn() -> Timestamp,
    ) -> Result<u64, DemoError> {
        let mut commits = 0;
        while !stop.load(Ordering::Acquire) {
            self.commit_one(now())?;
            commits += 1;
            std::thread::sleep(pause);
        }
        Ok(commits)
    }

    fn transact(&mut self, now: Timestamp) -> rusqlite::Result<Commit> {
        // Taking the write lock at once lets the busy timeout apply; a read lock that is upgraded
        // later fails without waiting.
        let transaction = self
            .database
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // First, because the trigger on orders dates its notes by it.
        transaction
            .prepare_cached("UPDATE heartbeat SET at = ?1")?
            .execute([heartbeat(now)])?;
        let mut scene = Scene {
            database: &transaction,
            rng: &mut self.rng,
            countries: &self.countries,
            now,
        };
        let commit = scene.play()?;
        transaction.commit()?;
        Ok(commit)
    }
}

/// One open transaction and what is needed to fill it.
struct Scene<'a> {
    database: &'a Transaction<'a>,
    rng: &'a mut Xoshiro256PlusPlus,
    countries: &'a Countries,
    now: Timestamp,
}

impl Scene<'_> {
    /// Does one thing; where nothing old can be found to act on, somebody new signs up.
    fn play(&mut self) -> rusqlite::Result<Commit> {
        let done = match self.rng.random_range(0..10) {
            0..3 => None,
            3..6 => self.order_again()?,
            6..8 => self.move_order_on()?,
            _ => self.write_note()?,
        };
        match done {
            Some(commit) => Ok(commit),
            None => self.sign_up(),
        }
    }

    fn sign_up(&mut self) -> rusqlite::Result<Commit> {
        let id = self.database.query_row(
            "SELECT coalesce(max(id), 0) + 1 FROM customers",
            [],
            |row| row.get(0),
        )?;
        let customer = Customer::draw(self.rng, self.countries, id, self.now);
        Inserter::prepare(self.database)?.customer(&customer)?;
        self.place_order(&customer)?;
        Ok(Commit::NewCustomer { customer: id })
    }

    fn order_again(&mut self) -> rusqlite::Result<Option<Commit>> {
        let Some(customer) = self.any_customer()? else {
            return Ok(None);
        };
        let order = self.place_order(&customer)?;
        Ok(Some(Commit::NewOrder { order }))
    }

    fn place_order(&mut self, customer: &Customer) -> rusqlite::Result<i64> {
        let order = Order::draw_paid(self.rng, self.now);
        let mut rows = Inserter::prepare(self.database)?;
        let id = rows.order(customer, &order)?;
        for payment in order.payments(self.rng, self.now) {
            rows.payment(id, &customer.full_name, &payment)?;
        }
        Ok(id)
    }

    fn move_order_on(&mut self) -> rusqlite::Result<Option<Commit>> {
        let from = ["pending", "paid", "shipped"][self.rng.random_range(0..3)];
        let found = self
            .database
            .prepare_cached(
                "SELECT orders.id, total_cents, full_name
                 FROM orders JOIN customers ON customers.id = customer_id
                 WHERE status = ?1 AND status IN ('pending', 'paid', 'shipped')
                 ORDER BY orders.id LIMIT 1",
            )?
            .query_row([from], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, String>(2)?))
            })
            .optional()?;
        let Some((order, total_cents, payer)) = found else {
            return Ok(None);
        };
        let to = match from {
            "pending" if self.rng.random_ratio(1, 4) => "cancelled",
            "pending" => "paid",
            "paid" => "shipped",
            _ => "delivered",
        };
        if to == "paid" {
            let mut rows = Inserter::prepare(self.database)?;
            for payment in cover(self.rng, total_cents, self.now, self.now) {
                rows.payment(order, &payer, &payment)?;
            }
        }
        self.database
            .prepare_cached("UPDATE orders SET status = ?1 WHERE id = ?2")?
            .execute(rusqlite::params![to, order])?;
        Ok(Some(Commit::StatusChange { order }))
    }

    fn write_note(&mut self) -> rusqlite::Result<Option<Commit>> {
        let Some(customer) = self.any_customer()? else {
            return Ok(None);
        };
        let card: Option<String> = self
            .database
            .prepare_cached(
                "SELECT card_number FROM payments JOIN orders ON orders.id = order_id
                 WHERE customer_id = ?1 AND card_number IS NOT NULL LIMIT 1",
            )?
            .query_row([customer.id], |row| row.get(0))
            .optional()?;
        let about = Mentioned {
            full_name: &customer.full_name,
            email: &customer.email,
            phone: customer.phone.as_deref(),
            card_number: card.as_deref(),
        };
        let (body, author) = (notes::body(self.rng, &about), notes::author(self.rng));
        Inserter::prepare(self.database)?.note(customer.id, author, &body, self.now)?;
        Ok(Some(Commit::Note {
            customer: customer.id,
        }))
    }

    /// Draws a customer of the shop, or `None` if it has none.
    fn any_customer(&mut self) -> rusqlite::Result<Option<Customer>> {
        let last: i64 =
            self.database
                .query_row("SELECT coalesce(max(id), 0) FROM customers", [], |row| {
                    row.get(0)
                })?;
        let from = self.rng.random_range(0..=last);
        self.database
            .prepare_cached("SELECT * FROM customers WHERE id >= ?1 ORDER BY id LIMIT 1")?
            .query_row([from], customer_of)
            .optional()
    }
}

fn customer_of(row: &Row<'_>) -> rusqlite::Result<Customer> {
    let created_at: String = row.get("created_at")?;
    Ok(Customer {
        id: row.get("id")?,
        email: row.get("email")?,
        full_name: row.get("full_name")?,
        phone: row.get("phone")?,
        street: row.get("street")?,
        city: row.get("city")?,
        postcode: row.get("postcode")?,
        country: row.get("country")?,
        birth_date: row.get("birth_date")?,
        iban: row.get("iban")?,
        // A masked copy may hold any text here, and a shop goes on selling on it.
        created_at: created_at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        profile: row.get("profile")?,
    })
}

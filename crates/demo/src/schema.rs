//! The webshop's schema, and the promise that each of its transactions keeps.

/// The tables, without what slows a bulk load down.
pub(crate) const TABLES: &str = "
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    full_name TEXT NOT NULL,
    phone TEXT,
    street TEXT,
    city TEXT,
    postcode TEXT,
    country TEXT NOT NULL,
    birth_date TEXT,
    iban TEXT,
    created_at TEXT NOT NULL,
    profile TEXT
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    status TEXT NOT NULL
        CHECK (status IN ('pending', 'paid', 'shipped', 'delivered', 'cancelled')),
    total_cents INTEGER NOT NULL CHECK (total_cents > 0),
    currency TEXT NOT NULL,
    placed_at TEXT NOT NULL,
    shipping_name TEXT NOT NULL,
    shipping_address TEXT NOT NULL
);
CREATE TABLE payments (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    method TEXT NOT NULL CHECK (method IN ('card', 'transfer', 'voucher')),
    card_number TEXT,
    card_holder TEXT,
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    paid_at TEXT NOT NULL
);
CREATE TABLE support_notes (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    author TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at TEXT NOT NULL
);
";

/// Indexes, the view and the trigger; made after the load, which is three times as fast.
///
/// The trigger takes its time from the heartbeat, which a transaction sets first: a shop written
/// with a given clock stays reproducible.
pub(crate) const AFTER_LOAD: &str = "
CREATE INDEX customers_by_country ON customers (country);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE INDEX orders_by_status ON orders (status) WHERE status IN ('pending', 'paid', 'shipped');
CREATE INDEX payments_by_order ON payments (order_id);
CREATE INDEX support_notes_by_customer ON support_notes (customer_id);
CREATE VIEW revenue_by_country AS
    SELECT c.country, o.currency, count(*) AS orders, sum(o.total_cents) AS revenue_cents
    FROM orders AS o JOIN customers AS c ON c.id = o.customer_id
    WHERE o.status IN ('paid', 'shipped', 'delivered')
    GROUP BY c.country, o.currency;
CREATE TRIGGER orders_status_changed AFTER UPDATE OF status ON orders
WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO support_notes (customer_id, author, body, created_at)
    SELECT NEW.customer_id, 'system',
        'order ' || NEW.id || ' went from ' || OLD.status || ' to ' || NEW.status, heartbeat.at
    FROM heartbeat;
END;
";

/// Answers 1 as long as the money adds up: payments cover an order exactly if it is paid, shipped
/// or delivered, and there are none otherwise.
///
/// Every transaction of the shop keeps this, so a copy that answers 0 was cut in the middle of one.
pub const INVARIANT_SQL: &str = "
SELECT NOT EXISTS (
    SELECT 1 FROM orders
    WHERE (SELECT coalesce(sum(amount_cents), 0) FROM payments WHERE order_id = orders.id)
        <> CASE WHEN status IN ('paid', 'shipped', 'delivered') THEN total_cents ELSE 0 END
)";

-- A shop of invented people: @CUSTOMERS@ of them in 15 columns, and as many orders.
CREATE TABLE customers (
    id bigint NOT NULL, email text NOT NULL, first_name text NOT NULL, last_name text NOT NULL,
    phone text NOT NULL, street text NOT NULL, city text NOT NULL, postcode text NOT NULL,
    country char(2) NOT NULL, born date NOT NULL, iban text NOT NULL, plan text NOT NULL,
    balance numeric(12, 2) NOT NULL, created_at timestamptz NOT NULL, about text NOT NULL
);
INSERT INTO customers
SELECT i, 'person' || i || '@post-' || i % 977 || '.de',
       (ARRAY['Anna', 'Boris', 'Clara', 'David', 'Emma', 'Felix', 'Greta', 'Hugo'])[1 + i % 8] || i % 1000,
       (ARRAY['Krause', 'Vogel', 'Sommer', 'Brandt', 'Busch', 'Engel', 'Horn', 'Winter'])[1 + i / 8 % 8] || i % 5000,
       '+49 30 ' || 10000000 + i, 'Lindenallee ' || 1 + i % 300, 'Neustadt-' || i % 2000, lpad((i % 90000 + 10000)::text, 5, '0'),
       'DE', date '1940-01-01' + (i % 25000)::int,
       'DE' || lpad((i % 97)::text, 2, '0') || lpad((37040044::bigint * 10000000000 + i)::text, 18, '0'),
       (ARRAY['free', 'basic', 'pro'])[1 + i % 3], (i % 100000) / 7.0,
       timestamptz '2020-01-01' + i * interval '17 seconds',
       'Ordered ' || i % 50 || ' times, likes blue and fast delivery, asked about the size twice'
  FROM generate_series(1::bigint, @CUSTOMERS@) i;
CREATE TABLE orders (
    id bigint NOT NULL, customer_id bigint NOT NULL, status text NOT NULL,
    total numeric(12, 2) NOT NULL, placed_at timestamptz NOT NULL
);
INSERT INTO orders
SELECT i, 1 + (i * 7919) % @CUSTOMERS@, (ARRAY['open', 'paid', 'sent'])[1 + i % 3], (i % 50000) / 3.0,
       timestamptz '2021-01-01' + i * interval '13 seconds'
  FROM generate_series(1::bigint, @CUSTOMERS@) i;
ALTER TABLE customers ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX customers_email ON customers (email);
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_customer ON orders (customer_id);
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id);
VACUUM ANALYZE;

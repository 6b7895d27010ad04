-- Invented cards with right check digits. The rules in ../pci-dss.toml must make a copy that passes every leak gate.
CREATE TABLE cards (
    id INTEGER PRIMARY KEY,
    pan TEXT NOT NULL,
    cardholder TEXT NOT NULL,
    brand TEXT NOT NULL CHECK (brand IN ('visa', 'mastercard')),
    expiry_month INTEGER NOT NULL CHECK (expiry_month BETWEEN 1 AND 12),
    expiry_year INTEGER NOT NULL,
    cvv TEXT,
    track2 TEXT,
    pin_block TEXT,
    vault_token TEXT NOT NULL,
    fingerprint TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'blocked'))
);
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY,
    card_id INTEGER NOT NULL REFERENCES cards (id),
    pan TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    currency TEXT NOT NULL,
    auth_code TEXT,
    merchant_reference TEXT,
    terminal_ip TEXT,
    result_code TEXT NOT NULL,
    raw_message TEXT,
    created_at TEXT NOT NULL
);

-- The check digit is the Luhn sum of the fifteen digits before it.
WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 80),
body (k, digits) AS (SELECT k, printf('453201%09d', k * 1299709) FROM n),
place (k, digits, at, total) AS (
    SELECT k, digits, 1, 0 FROM body
    UNION ALL
    SELECT k, digits, at + 1, total + CASE
        WHEN at % 2 = 0 THEN CAST(substr(digits, at, 1) AS INTEGER)
        WHEN CAST(substr(digits, at, 1) AS INTEGER) < 5 THEN 2 * CAST(substr(digits, at, 1) AS INTEGER)
        ELSE 2 * CAST(substr(digits, at, 1) AS INTEGER) - 9 END
    FROM place WHERE at <= 15
)
INSERT INTO cards
SELECT k, digits || ((10 - total % 10) % 10),
    CASE k % 4 WHEN 0 THEN 'Annegret' WHEN 1 THEN 'Matthias' WHEN 2 THEN 'Sieglinde' ELSE 'Thorsten' END || ' ' ||
    CASE k % 3 WHEN 0 THEN 'Obermaier' WHEN 1 THEN 'Lindqvist' ELSE 'Castellani' END || printf('-%02d', k),
    'visa', 1 + k % 12, 2026 + k % 4, printf('%03d', (k * 37) % 1000), ';' || digits || '=29011010000',
    printf('0612AC%010X', k * 104729), printf('vlt_%024d', k * 31), printf('%032x', k * 7919),
    CASE k % 9 WHEN 0 THEN 'blocked' ELSE 'active' END
FROM place WHERE at = 16;
INSERT INTO transactions
SELECT c.id * 10 + j.value, c.id,
    CASE j.value WHEN 1 THEN c.pan ELSE substr(c.pan, 1, 4) || ' ' || substr(c.pan, 5, 4) || ' ' || substr(c.pan, 9, 4) || ' ' || substr(c.pan, 13, 4) END,
    1000 + c.id * 13, 'EUR', printf('%06d', c.id * 104729 % 1000000), printf('MRC-%08d', c.id * 10 + j.value),
    printf('84.133.%d.%d', c.id % 200, 20 + c.id), '00',
    json_object('pan', c.pan, 'holder', c.cardholder, 'mcc', '5411', 'emv', '9F2608' || printf('%016X', c.id * 7919)),
    '2025-06-01 12:00:00'
FROM cards c, json_each('[1, 2]') j;

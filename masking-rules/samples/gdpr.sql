-- Invented people. The rules in ../gdpr.toml must make a copy of this that passes every leak gate.
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    phone TEXT,
    street TEXT,
    city TEXT,
    postcode TEXT,
    country TEXT NOT NULL,
    birth_year INTEGER,
    national_id TEXT,
    iban TEXT,
    religion TEXT,
    health_note TEXT,
    union_member INTEGER,
    created_at TEXT NOT NULL
);
CREATE TABLE consents (
    id INTEGER PRIMARY KEY,
    person_id INTEGER NOT NULL REFERENCES people (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('newsletter', 'profiling', 'sharing')),
    ip_address TEXT,
    user_agent TEXT,
    given_at TEXT NOT NULL,
    withdrawn_at TEXT
);
CREATE TABLE newsletter (email TEXT NOT NULL, token TEXT NOT NULL, subscribed_at TEXT NOT NULL);
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, actor_email TEXT NOT NULL, action TEXT NOT NULL, detail TEXT
);

WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 120)
INSERT INTO people
SELECT k,
    'kunde' || k || '@posteo.de',
    CASE k % 5 WHEN 0 THEN 'Annegret' WHEN 1 THEN 'Matthias' WHEN 2 THEN 'Sieglinde' WHEN 3 THEN 'Thorsten' ELSE 'Wilhelmine' END,
    CASE k % 7 WHEN 0 THEN 'Obermaier' WHEN 1 THEN 'Lindqvist' WHEN 2 THEN 'Kowalczyk' WHEN 3 THEN 'Vermeulen'
        WHEN 4 THEN 'Fontaine' WHEN 5 THEN 'Castellani' ELSE 'Papadopoulos' END,
    printf('+49 171 %07d', 2000000 + k * 7919),
    'Kastanienallee ' || k, CASE k % 3 WHEN 0 THEN 'Göttingen' WHEN 1 THEN 'Rosenheim' ELSE 'Oldenburg' END,
    printf('%05d', 20000 + k * 37), CASE k % 2 WHEN 0 THEN 'DE' ELSE 'AT' END, 1950 + k % 50,
    printf('L%08dX', k * 104729), NULL, CASE k % 4 WHEN 0 THEN 'römisch-katholisch' END,
    CASE k % 9 WHEN 0 THEN 'Diabetes, insulinpflichtig' END, k % 2, printf('2024-%02d-11 08:00:00', 1 + k % 12)
FROM n;
INSERT INTO consents
SELECT id, id, CASE id % 3 WHEN 0 THEN 'newsletter' WHEN 1 THEN 'profiling' ELSE 'sharing' END,
    printf('84.133.%d.%d', id % 200, 20 + id % 100), 'Mozilla/5.0 (Windows NT 10.0; kunde' || id || ')',
    created_at, CASE id % 10 WHEN 0 THEN '2025-01-01 00:00:00' END FROM people;
INSERT INTO newsletter SELECT upper(email), printf('tok%029d', id * 7), created_at FROM people WHERE id % 2 = 0;
INSERT INTO audit_log
SELECT id, created_at, email, 'login', first_name || ' ' || last_name || ' signed in from Göttingen' FROM people;

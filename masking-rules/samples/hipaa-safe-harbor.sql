-- Invented patients. The rules in ../hipaa-safe-harbor.toml must make a copy that passes every leak gate.
CREATE TABLE patients (
    id INTEGER PRIMARY KEY,
    mrn TEXT NOT NULL UNIQUE,
    full_name TEXT NOT NULL,
    street TEXT,
    city TEXT,
    zip3 TEXT,
    state TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    death_date TEXT,
    phone TEXT,
    fax TEXT,
    email TEXT,
    ssn TEXT,
    health_plan_number TEXT,
    account_number TEXT,
    drivers_license TEXT,
    license_plate TEXT,
    fingerprint BLOB,
    photo_url TEXT,
    gender TEXT NOT NULL CHECK (gender IN ('f', 'm', 'x'))
);
CREATE TABLE encounters (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    kind TEXT NOT NULL CHECK (kind IN ('inpatient', 'outpatient')),
    diagnosis_code TEXT NOT NULL,
    admitted_at TEXT NOT NULL,
    discharged_at TEXT,
    device_serial TEXT,
    portal_url TEXT,
    kiosk_ip TEXT,
    notes TEXT
);

WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 150)
INSERT INTO patients
SELECT k, printf('MRN-%07d', 1000000 + k * 7919),
    CASE k % 4 WHEN 0 THEN 'Clementine' WHEN 1 THEN 'Thaddeus' WHEN 2 THEN 'Rosalind' ELSE 'Montgomery' END || ' ' ||
    CASE k % 3 WHEN 0 THEN 'Featherstone' WHEN 1 THEN 'Abernethy' ELSE 'Villanueva' END || printf('-%03d', k),
    k || ' Sycamore Lane', 'Burlington', printf('05%03d', 401 + k % 3), 'VT',
    printf('%04d-%02d-%02d', 1930 + k % 80, 1 + k % 12, 1 + k % 28), NULL,
    printf('802-%03d-%04d', 222 + k, 3000 + k * 17), printf('802-%03d-%04d', 333 + k, 4000 + k),
    'patient' || k || '@vtmail.net', printf('0%02d-%02d-%04d', 10 + k % 80, 10 + k % 80, 1000 + k * 31),
    printf('HPN%09d', k * 104729), printf('ACC%09d', k * 1299709), printf('VT%07d', k * 7907), printf('ABC %04d', k * 13),
    randomblob(16), 'https://portal.vtmail.net/photos/' || (k * 7919), CASE k % 2 WHEN 0 THEN 'f' ELSE 'm' END
FROM n;
INSERT INTO encounters
SELECT p.id * 10 + j.value, p.id, CASE j.value WHEN 1 THEN 'inpatient' ELSE 'outpatient' END, 'E11.9',
    printf('2024-%02d-%02d 09:30:00', 1 + p.id % 12, 1 + p.id % 28), printf('2024-%02d-%02d 17:00:00', 1 + p.id % 12, 1 + p.id % 28),
    printf('DEV-%010d', p.id * 104729), 'https://portal.vtmail.net/e/' || p.id, printf('84.133.%d.%d', p.id % 200, 20 + p.id % 100),
    p.full_name || ' reports dizziness since ' || p.birth_date || '; call ' || p.phone
FROM patients p, json_each('[1, 2]') j;

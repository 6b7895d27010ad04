-- One of each oddity that a logical copy of a PostgreSQL database has to get right.
--
-- Made for PostgreSQL 13 and later, by a superuser, into an empty database. Contrib modules are used
-- where they are installed. Everything below is invented; what looks like a person is a planted value
-- that must be nowhere in a masked copy: `Quillfeather`, and addresses at `oddities-canary.de`.

SELECT 'CREATE ROLE oddities_reader'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'oddities_reader') \gexec

CREATE SCHEMA odd;
CREATE SCHEMA "Odd Schema";
COMMENT ON SCHEMA odd IS 'asked for by Ottoline Quillfeather, ottoline@oddities-canary.de';

-- Types -----------------------------------------------------------------------------------------

CREATE TYPE odd.mood AS ENUM ('sad', 'so; so', 'happy');
CREATE TYPE odd.address AS (street text, "Postal Code" text, point numeric(8, 5)[]);
CREATE DOMAIN odd.short AS varchar(12) CHECK (VALUE <> '') NOT NULL;
CREATE DOMAIN odd.shorter AS odd.short CHECK (length(VALUE) < 8);
CREATE TYPE odd.float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION odd.bytes (provider = libc, locale = 'C');

-- Functions -------------------------------------------------------------------------------------

CREATE FUNCTION odd.label(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
    SELECT 'it''s; ' || n || $$; $$ -- a comment; with 'quotes'
$body$;
CREATE FUNCTION odd.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Marks what was written by people: a copy that fires it changes its rows.
    NEW.note := COALESCE(NEW.note, '') || ' [fired]';
    RETURN NEW;
END $$;
CREATE FUNCTION odd.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO odd.ddl_log (tag) VALUES (tg_tag);
END $$;
DO $do$
BEGIN
    IF current_setting('server_version_num')::int >= 140000 THEN
        EXECUTE $sql$
            CREATE FUNCTION odd.beginning(n int) RETURNS text LANGUAGE sql
            BEGIN ATOMIC
                SELECT CASE WHEN n > 0 THEN CASE n WHEN 1 THEN 'one; ' ELSE 'many' END ELSE 'none' END;
                SELECT 'end; ' || n;
            END $sql$;
        EXECUTE $sql$
            CREATE PROCEDURE odd.atomic_procedure() LANGUAGE sql
            BEGIN ATOMIC
                SELECT 1; SELECT 2;
            END $sql$;
    END IF;
END $do$;
CREATE AGGREGATE odd.glue(text) (sfunc = textcat, stype = text, initcond = '');
CREATE OPERATOR odd.=== (leftarg = text, rightarg = text, function = texteq, commutator = OPERATOR(odd.===));
CREATE CAST (odd.mood AS int) WITH INOUT;

-- Columns of all kinds ----------------------------------------------------------------------------

CREATE TABLE odd.people (
    gone_first int,
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 10) PRIMARY KEY,
    email text NOT NULL,
    gone text,
    "select" text DEFAULT 'a;b''c\d',
    mood odd.mood DEFAULT 'so; so',
    home odd.address,
    tags text[] DEFAULT '{}',
    grid int[][],
    short odd.shorter,
    padded char(6) COLLATE odd.bytes,
    seen tstzrange,
    spread odd.float_range,
    doc jsonb,
    doc_text json,
    raw bytea,
    amount numeric,
    ratio double precision,
    born date,
    moment timestamptz,
    clock timetz,
    span interval,
    address inet,
    bits bit varying,
    page xml,
    words tsvector,
    uid uuid,
    flag boolean,
    domain_of text GENERATED ALWAYS AS (split_part(email, '@', 2)) STORED,
    manager bigint,
    CONSTRAINT "people; email" CHECK (email LIKE '%@%' OR email = 'a;b')
);
ALTER TABLE odd.people DROP COLUMN gone, DROP COLUMN gone_first;
ALTER TABLE odd.people ADD FOREIGN KEY (manager) REFERENCES odd.people (id) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON COLUMN odd.people.email IS 'for example ottoline@oddities-canary.de';
CREATE UNIQUE INDEX people_email ON odd.people (lower(email));
CREATE INDEX people_happy ON odd.people (id) WHERE mood = 'happy';
CREATE INDEX people_label ON odd.people (odd.label(id)) INCLUDE (email);
CREATE INDEX people_doc ON odd.people USING gin (doc jsonb_path_ops);
ALTER INDEX odd.people_label ALTER COLUMN 1 SET STATISTICS 300;
ALTER TABLE odd.people CLUSTER ON people_pkey;
ALTER TABLE odd.people ALTER COLUMN email SET STATISTICS 500, ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE STATISTICS odd.people_together (dependencies, ndistinct) ON mood, flag FROM odd.people;

INSERT INTO odd.people (email, mood, home, tags, grid, short, padded, seen, spread, doc, doc_text, raw, amount,
                        ratio, born, moment, clock, span, address, bits, page, words, uid, flag, manager)
VALUES
    ('ottoline@oddities-canary.de', 'happy', ROW('Quillfeather Row; 1', 'D-"1"', '{1.5,NULL}'),
     '{"a,b","c\"d","e\\f",NULL,"NULL",""}', '{{1,2},{3,4}}', 'abc', 'x', '[2020-01-01,)', '[1.5,2.5)',
     '{"name": "Ottoline Quillfeather", "a": [1, {"b": "\u0001\t"}]}', '{"z":1,  "a":2, "a":3}', '\x00ff5c0a', 'NaN',
     'Infinity', '0044-03-15 BC', 'infinity', '12:00:00.000001+05:30', '1 mon -2 days 03:04:05.6', '10.1.2.3/8', B'101',
     NULL, to_tsvector('simple', 'one two two'), '00000000-0000-0000-0000-00000000000a', true, NULL),
    (E'tab\there@x', 'sad', NULL, '{}', '{}', 'd', '', 'empty', 'empty', 'null', 'null', '\x', 1e30, 'NaN',
     '-infinity', '0001-01-01 00:00:00+00 BC', NULL, '-178000000 years', '::1', B'', NULL, '', NULL, false, 100),
    (E'line\nfeed\r\n@back\\slash\\N', NULL, ROW(NULL, NULL, NULL), NULL, NULL, 'e', NULL, NULL, '(,)', '{}', '[]', NULL,
     0.000000000000000000000000001, -0.0, 'infinity', '294276-12-31 23:59:59.999999+00', NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, 120),
    ('\N@\.', 'so; so', ROW('', '', '{}'), '{x}', NULL, 'f', E'\b\f\v', NULL, NULL, '"\\N"', '1', '\x5c2e', -1,
     1.7976931348623157e308, '2024-02-29', '2024-03-31 02:30:00+01', NULL, '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO odd.people (email, short, amount, doc)
SELECT 'p' || i || '@oddities-canary.de', 'p' || i % 1000, i / 7.0, jsonb_build_object('i', i, 'by', 'Quillfeather')
  FROM generate_series(1, 3000) i;
DELETE FROM odd.people WHERE amount > 100 AND amount < 200;
-- Not every server was built with XML.
DO $$
BEGIN
    UPDATE odd.people SET page = '<a b="c">t</a>' WHERE id = 100;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;
-- One row does not hold to it, and need not.
ALTER TABLE odd.people ADD CONSTRAINT not_checked CHECK (amount < 1e20) NOT VALID;

-- A trigger that must not fire while rows are loaded, and one that was switched off.
CREATE TABLE odd.fired (id int PRIMARY KEY, note text);
INSERT INTO odd.fired VALUES (1, 'as it was'), (2, NULL);
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON odd.fired FOR EACH ROW EXECUTE FUNCTION odd.stamp();
CREATE TRIGGER stamp_again BEFORE INSERT ON odd.fired FOR EACH ROW EXECUTE FUNCTION odd.stamp();
ALTER TABLE odd.fired DISABLE TRIGGER stamp_again;

-- A rule that would send rows elsewhere.
CREATE TABLE odd.ruled (id int, what text);
INSERT INTO odd.ruled VALUES (1, 'kept');
CREATE RULE nowhere AS ON INSERT TO odd.ruled DO INSTEAD (SELECT 1; SELECT 2);

-- Foreign keys in a circle.
CREATE TABLE odd.chicken (id int PRIMARY KEY, egg int);
CREATE TABLE odd.egg (id int PRIMARY KEY, chicken int NOT NULL REFERENCES odd.chicken);
INSERT INTO odd.chicken VALUES (1, NULL), (2, NULL);
INSERT INTO odd.egg VALUES (10, 1), (20, 2);
UPDATE odd.chicken SET egg = id * 10;
ALTER TABLE odd.chicken ADD FOREIGN KEY (egg) REFERENCES odd.egg;

-- Partitions: by list, then by range, a default at each level, one with its columns in another order.
CREATE TABLE odd.events (
    at date NOT NULL,
    region text NOT NULL,
    id bigserial,
    note text,
    PRIMARY KEY (region, at, id)
) PARTITION BY LIST (region);
CREATE TABLE odd.events_eu PARTITION OF odd.events FOR VALUES IN ('eu', 'e''u') PARTITION BY RANGE (at);
CREATE TABLE odd.events_eu_old PARTITION OF odd.events_eu FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE odd.events_eu_rest PARTITION OF odd.events_eu DEFAULT;
CREATE TABLE odd.events_rest (
    dropped int,
    note text,
    id bigint NOT NULL DEFAULT nextval('odd.events_id_seq'),
    region text NOT NULL,
    at date NOT NULL
);
ALTER TABLE odd.events_rest DROP COLUMN dropped;
ALTER TABLE odd.events ATTACH PARTITION odd.events_rest DEFAULT;
CREATE INDEX events_note ON odd.events (note);
CREATE TABLE odd.events_seen (region text, at date, id bigint, FOREIGN KEY (region, at, id) REFERENCES odd.events);
INSERT INTO odd.events (at, region, note)
SELECT date '2019-06-01' + i, CASE i % 3 WHEN 0 THEN 'eu' WHEN 1 THEN 'us' ELSE 'e''u' END, 'event ' || i
  FROM generate_series(1, 500) i;
INSERT INTO odd.events_seen SELECT region, at, id FROM odd.events WHERE id % 50 = 0;

-- Inheritance: a child's rows are its own.
CREATE TABLE odd.animals (id serial PRIMARY KEY, name text);
CREATE TABLE odd.birds (wings int DEFAULT 2, CHECK (wings >= 0)) INHERITS (odd.animals);
INSERT INTO odd.animals (name) VALUES ('cat'), ('dog');
INSERT INTO odd.birds (name) VALUES ('owl');

-- Row security that hides rows even from who owns them.
CREATE TABLE odd.secured (id int PRIMARY KEY, owner text);
ALTER TABLE odd.secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE odd.secured FORCE ROW LEVEL SECURITY;
CREATE POLICY half ON odd.secured TO oddities_reader USING (id % 2 = 0);
INSERT INTO odd.secured SELECT i, 'owner ' || i FROM generate_series(1, 10) i;

-- Keys other than keys.
CREATE TABLE odd.booked (room int4range, during daterange, EXCLUDE USING gist (room WITH &&, during WITH &&));
INSERT INTO odd.booked VALUES ('[1,2)', '[2024-01-01,2024-01-05)'), ('[1,2)', '[2024-01-05,2024-01-09)');
CREATE TABLE odd.replicated (id int NOT NULL, code text NOT NULL, UNIQUE (code) DEFERRABLE);
CREATE UNIQUE INDEX replicated_id ON odd.replicated (id);
ALTER TABLE odd.replicated REPLICA IDENTITY USING INDEX replicated_id;
INSERT INTO odd.replicated VALUES (1, 'a'), (2, 'b');

-- Tables that are hardly tables, and names that are hardly names.
CREATE TABLE odd.nothing ();
CREATE TABLE odd.empty (id int PRIMARY KEY, note text);
CREATE TABLE odd.computed (four int GENERATED ALWAYS AS (2 + 2) STORED);
CREATE UNLOGGED TABLE odd.unlogged (id int, note text);
INSERT INTO odd.unlogged VALUES (1, 'not in the log');
CREATE TABLE "Odd Schema"."Weird ""Name"".x" ("Id" int PRIMARY KEY, "a""b;c" text, "ünïcode" text, "order" int, "%" int);
INSERT INTO "Odd Schema"."Weird ""Name"".x" VALUES (1, 'a', 'ß', 2, 3);
CREATE INDEX "Odd index; it's" ON "Odd Schema"."Weird ""Name"".x" ("a""b;c");
COMMENT ON TABLE "Odd Schema"."Weird ""Name"".x" IS 'written by Ottoline Quillfeather; it''s odd';

-- Values that do not fit into a page.
CREATE TABLE odd.toasted (id int PRIMARY KEY, body text, raw bytea);
INSERT INTO odd.toasted
SELECT i, (SELECT string_agg(md5(i || '-' || j), '') FROM generate_series(1, 3000) j),
       decode(repeat(md5(i::text), 20000), 'hex')
  FROM generate_series(1, 5) i;

-- Sequences: alone, downwards, shared, at the end of their strength, and in a text.
CREATE SEQUENCE odd.alone START WITH 1000 CACHE 5;
SELECT setval('odd.alone', 1009) \gset
CREATE SEQUENCE odd.down INCREMENT BY -1 MINVALUE -100 MAXVALUE -1;
CREATE TABLE odd.downwards (id int PRIMARY KEY DEFAULT nextval('odd.down'));
INSERT INTO odd.downwards SELECT FROM generate_series(1, 5);
CREATE SEQUENCE odd.shared;
CREATE TABLE odd.share_one (id bigint PRIMARY KEY DEFAULT nextval('odd.shared'), note text);
CREATE TABLE odd.share_two (id bigint PRIMARY KEY DEFAULT nextval('odd.shared'), note text);
INSERT INTO odd.share_one (note) VALUES ('first');
INSERT INTO odd.share_two (note) VALUES ('second'), ('third');
CREATE SEQUENCE odd.invoice_number;
CREATE TABLE odd.invoices (number text PRIMARY KEY DEFAULT 'INV-' || lpad(nextval('odd.invoice_number')::text, 6, '0'), total money);
INSERT INTO odd.invoices (total) VALUES (12.5), (13.5);
CREATE TABLE odd.small (id smallserial PRIMARY KEY, at timestamp DEFAULT 'now');
INSERT INTO odd.small DEFAULT VALUES;

-- Views, one of them over another, one that needs a primary key, and one that may be written to.
CREATE VIEW odd.happy AS SELECT id, email, 'a;b' AS "begin" FROM odd.people WHERE mood = 'happy' WITH LOCAL CHECK OPTION;
CREATE VIEW odd.barrier WITH (security_barrier) AS SELECT * FROM odd.happy;
CREATE RECURSIVE VIEW odd.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 3;
CREATE VIEW odd.grouped AS SELECT p.id, p.email, count(*) FROM odd.people p GROUP BY p.id;
CREATE FUNCTION odd.write_happy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER write_happy INSTEAD OF INSERT ON odd.barrier FOR EACH ROW EXECUTE FUNCTION odd.write_happy();

-- Materialized views: the name of the second sorts before that of the first, which it reads; one that
-- needs a primary key, which `pg_dump` therefore makes after the keys; one that was never filled.
CREATE MATERIALIZED VIEW odd.m_base AS SELECT region, count(*) AS n FROM odd.events GROUP BY region;
CREATE UNIQUE INDEX m_base_region ON odd.m_base (region);
CREATE VIEW odd.m_between AS SELECT * FROM odd.m_base;
CREATE MATERIALIZED VIEW odd.a_over_it AS SELECT sum(n) AS total FROM odd.m_between;
CREATE MATERIALIZED VIEW odd.m_needs_key AS SELECT p.id, p.email, count(*) AS n FROM odd.people p GROUP BY p.id;
CREATE UNIQUE INDEX m_needs_key_id ON odd.m_needs_key (id);
CREATE MATERIALIZED VIEW odd.m_never_filled AS SELECT 1 AS one WITH NO DATA;

-- What does not belong into a copy: large objects, publications, servers with credentials.
SELECT lo_from_bytea(0, 'Ottoline Quillfeather, ottoline@oddities-canary.de') AS made \gset
CREATE TABLE odd.files (id int PRIMARY KEY, content oid);
INSERT INTO odd.files VALUES (1, :made);
-- A server whose log does not suffice for it warns.
SET client_min_messages = error;
CREATE PUBLICATION odd_publication FOR TABLE odd.replicated;

-- Contrib modules, where they are installed.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw') AS has_fdw \gset
\if :has_fdw
CREATE EXTENSION postgres_fdw SCHEMA odd;
CREATE SERVER "odd server" TYPE 'a;b' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host 'db.oddities-canary.de', dbname 'it''s; OPTIONS (x ''y'')');
CREATE USER MAPPING FOR PUBLIC SERVER "odd server" OPTIONS (user 'quillfeather', password 'Quillfeather-secret');
CREATE FOREIGN TABLE odd.far (id int, note text) SERVER "odd server" OPTIONS (table_name 'far');
CREATE VIEW odd.far_seen AS SELECT id FROM odd.far;
\endif
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore') AS has_hstore,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS has_citext \gset
\if :has_hstore
CREATE EXTENSION hstore SCHEMA public;
CREATE TABLE odd.pairs (id int PRIMARY KEY, pairs public.hstore);
INSERT INTO odd.pairs VALUES (1, '"a b"=>"c\"d", n=>NULL');
\endif
\if :has_citext
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE odd.careless (name public.citext PRIMARY KEY);
INSERT INTO odd.careless VALUES ('Mixed Case');
\endif

-- Last, since it sees all that comes after: what runs on every change of a definition.
CREATE TABLE odd.ddl_log (at timestamptz DEFAULT now(), tag text);
CREATE EVENT TRIGGER odd_log_ddl ON ddl_command_end EXECUTE FUNCTION odd.log_ddl();

//! What a database consists of, as its catalog says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

use super::names::{RelationName, literal, quoted};
use super::sequences::{self, SequenceInfo};
use super::tables::{BaseType, CopyColumn, CopyLeaf, CopyTable};
use crate::backup::get;
use crate::error::PostgresError;
use crate::heartbeat;

/// A database without its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The tables that hold rows, by name; partitions are part of their root.
    pub tables: Vec<CopyTable>,
    /// The sequences.
    pub sequences: Vec<SequenceInfo>,
    /// The materialized views that are filled, each after those that it reads.
    pub materialized_views: Vec<RelationName>,
    /// How the database is made.
    pub settings: DatabaseSettings,
    /// The extensions it needs.
    pub extensions: Vec<String>,
    /// The roles that row policies name.
    pub policy_roles: Vec<String>,
    /// Tables whose rows no backup of files holds.
    pub unlogged: Vec<String>,
    /// What a copy does not hold.
    pub left_out: Vec<LeftOut>,
}

/// How a database is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSettings {
    /// Its encoding.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Who compares texts: `c`, `i` or `b`.
    pub provider: String,
    /// The provider's locale, if it has one of its own.
    pub locale: Option<String>,
}

/// Something that a copy does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl LeftOut {
    pub(crate) fn new(what: impl Into<String>, why: &str) -> Self {
        Self {
            what: what.into(),
            why: why.to_owned(),
        }
    }
}

/// Relations of people, not of the server and not of an extension.
const OURS: &str = "
    n.nspname NOT IN ('pg_catalog', 'information_schema', 'lifeboat_subset') AND n.nspname !~ '^pg_(toast|temp)'
    AND c.relpersistence <> 't'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objid = c.oid
                       AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)";

impl Catalog {
    /// Reads it. The tables must be locked, so that they stay what they are.
    pub(super) async fn read(client: &Client, version: u32) -> Result<Self, PostgresError> {
        let mut catalog = Self {
            tables: tables(client).await?,
            sequences: sequences::read(client, OURS).await?,
            materialized_views: materialized_views(client).await?,
            settings: settings(client, version).await?,
            extensions: names(client, EXTENSIONS).await?,
            policy_roles: names(client, POLICY_ROLES).await?,
            unlogged: names(client, &unlogged()).await?,
            left_out: left_out(client).await?,
        };
        catalog.set_aside_tables_without_columns();
        sequences::bind(&mut catalog.sequences, &mut catalog.tables);
        Ok(catalog)
    }

    fn set_aside_tables_without_columns(&mut self) {
        let (with, without) = std::mem::take(&mut self.tables)
            .into_iter()
            .partition(|table: &CopyTable| table.copied_columns() > 0);
        self.tables = with;
        let without: Vec<CopyTable> = without;
        let left = without.iter().map(|table| {
            let why = "it has no column that is copied";
            LeftOut::new(format!("rows of table {}", table.name), why)
        });
        self.left_out.extend(left);
    }
}

/// Tables that are no partitions, without the heartbeat's.
pub(super) fn table_list() -> String {
    format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p'
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND {OURS}
            AND (n.nspname, c.relname) <> ({}, {})
          ORDER BY 2, 3",
        literal(heartbeat::SCHEMA),
        literal(heartbeat::TABLE)
    )
}

/// Where the rows of a table are.
const LEAVES: &str = "
    SELECT n.nspname::text, c.relname::text,
           pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8,
           GREATEST(c.reltuples, 0)::int8
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r'
       AND (c.oid = $1 OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1)))
     ORDER BY 1, 2";

const COLUMNS: &str = "
    WITH RECURSIVE bases(domain, base, typmod) AS (
        SELECT oid, typbasetype, typtypmod FROM pg_catalog.pg_type WHERE typtype = 'd'
        UNION ALL
        SELECT b.domain, t.typbasetype, t.typtypmod
          FROM bases b JOIN pg_catalog.pg_type t ON t.oid = b.base WHERE t.typtype = 'd')
    SELECT a.attnum, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
           t.typname::text, t.typtype::text, t.typcategory::text,
           a.attnotnull OR declared.typnotnull, a.attgenerated <> '', a.attidentity <> '',
           CASE WHEN t.typname IN ('varchar', 'bpchar')
                THEN NULLIF(COALESCE(b.typmod, a.atttypmod), -1) - 4 END,
           ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
                  WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
           ARRAY(SELECT pg_catalog.pg_get_expr(k.conbin, 0) FROM pg_catalog.pg_constraint k
                  WHERE k.contypid <> 0 AND k.contype = 'c' AND k.contypid IN (
                        SELECT a.atttypid UNION ALL SELECT o.base FROM bases o WHERE o.domain = a.atttypid)),
           CASE WHEN t.typcategory = 'A' THEN COALESCE(i.typname, '') || '[]'
                WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace OR t.typname = 'hstore'
                THEN t.typname::text ELSE '' END
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_type declared ON declared.oid = a.atttypid
      LEFT JOIN bases b ON b.domain = a.atttypid
            AND NOT EXISTS (SELECT FROM bases o WHERE o.domain = b.base)
      JOIN pg_catalog.pg_type t ON t.oid = COALESCE(b.base, a.atttypid)
      LEFT JOIN bases ib ON ib.domain = t.typelem
            AND NOT EXISTS (SELECT FROM bases o WHERE o.domain = ib.base)
      LEFT JOIN pg_catalog.pg_type i ON i.oid = COALESCE(ib.base, t.typelem) AND t.typcategory = 'A'
            AND i.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum";

/// The columns of unique indexes, those of expressions included, and how many an index has.
const UNIQUE: &str = "
    SELECT i.indisprimary, count(*) OVER (PARTITION BY i.indexrelid), x.attnum
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL (
           SELECT k AS attnum FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k WHERE k > 0
            UNION
           SELECT d.refobjsubid::int2 FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
              AND d.refobjid = i.indrelid AND d.refobjsubid > 0 AND i.indexprs IS NOT NULL) x
     WHERE i.indrelid = $1 AND i.indisunique";

const FOREIGN_KEYS: &str = "
    SELECT k.attnum, n.nspname::text, c.relname::text, f.attname::text
      FROM pg_catalog.pg_constraint o
      CROSS JOIN LATERAL unnest(o.conkey, o.confkey) AS k(attnum, target)
      JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute f ON f.attrelid = o.confrelid AND f.attnum = k.target
     WHERE o.contype = 'f' AND o.conrelid = $1 AND o.conparentid = 0
     ORDER BY array_length(o.conkey, 1) DESC, o.oid DESC";

const CHECKS: &str = "
    SELECT k.attnum, pg_catalog.pg_get_expr(o.conbin, o.conrelid)
      FROM pg_catalog.pg_constraint o CROSS JOIN LATERAL unnest(o.conkey) AS k(attnum)
     WHERE o.contype = 'c' AND o.conrelid = $1
     ORDER BY o.conname";

pub(super) async fn tables(client: &Client) -> Result<Vec<CopyTable>, PostgresError> {
    let mut tables = Vec::new();
    for row in query(client, &table_list(), &[]).await? {
        let oid: u32 = get(&row, 0)?;
        let name = name_at(&row, 1)?;
        let mut rows_estimate = 0;
        let mut leaves = Vec::new();
        for row in query(client, LEAVES, &[&oid]).await? {
            rows_estimate += get::<i64>(&row, 3)?.unsigned_abs();
            leaves.push(CopyLeaf {
                name: name_at(&row, 0)?,
                pages: get::<i64>(&row, 2)?.unsigned_abs(),
            });
        }
        tables.push(CopyTable {
            oid,
            name,
            columns: columns(client, oid).await?,
            leaves,
            rows_estimate,
        });
    }
    Ok(tables)
}

/// A foreign key: columns of one table, and those of another that they refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) from: (RelationName, Vec<String>),
    pub(super) to: (RelationName, Vec<String>),
}

const ALL_FOREIGN_KEYS: &str = "
    SELECT fn.nspname::text, f.relname::text, tn.nspname::text, t.relname::text,
           ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k(attnum, place)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
                  ORDER BY k.place),
           ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k(attnum, place)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.attnum
                  ORDER BY k.place)
      FROM pg_catalog.pg_constraint o
      JOIN pg_catalog.pg_class f ON f.oid = o.conrelid
      JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
      JOIN pg_catalog.pg_class t ON t.oid = o.confrelid
      JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
     WHERE o.contype = 'f' AND o.conparentid = 0
     ORDER BY o.oid";

/// Returns every foreign key of the database.
pub(super) async fn foreign_keys(client: &Client) -> Result<Vec<ForeignKey>, PostgresError> {
    let rows = query(client, ALL_FOREIGN_KEYS, &[]).await?;
    let key = |row: &Row| {
        Ok(ForeignKey {
            from: (name_at(row, 0)?, get(row, 4)?),
            to: (name_at(row, 2)?, get(row, 5)?),
        })
    };
    rows.iter().map(key).collect()
}

async fn columns(client: &Client, table: u32) -> Result<Vec<CopyColumn>, PostgresError> {
    let mut columns = BTreeMap::new();
    for row in query(client, COLUMNS, &[&table]).await? {
        columns.insert(get::<i16>(&row, 0)?, column(&row)?);
    }
    for row in query(client, UNIQUE, &[&table]).await? {
        let (primary, width): (bool, i64) = (get(&row, 0)?, get(&row, 1)?);
        if let Some(column) = columns.get_mut(&get::<i16>(&row, 2)?) {
            column.unique |= width == 1;
            column.primary_key |= width == 1 && primary;
            column.key_part |= width > 1;
        }
    }
    // Of several foreign keys the simplest and oldest comes last and counts.
    for row in query(client, FOREIGN_KEYS, &[&table]).await? {
        if let Some(column) = columns.get_mut(&get::<i16>(&row, 0)?) {
            column.references = Some((name_at(&row, 1)?, get(&row, 3)?));
        }
    }
    for row in query(client, CHECKS, &[&table]).await? {
        if let Some(column) = columns.get_mut(&get::<i16>(&row, 0)?) {
            column.checks.push(get(&row, 1)?);
        }
    }
    Ok(columns.into_values().collect())
}

fn column(row: &Row) -> Result<CopyColumn, PostgresError> {
    let name: String = get(row, 1)?;
    let max_chars: Option<i32> = get(row, 9)?;
    let of_domain: Vec<String> = get(row, 11)?;
    let (type_name, kind, category): (String, String, String) =
        (get(row, 3)?, get(row, 4)?, get(row, 5)?);
    Ok(CopyColumn {
        declared: get(row, 2)?,
        base: base_type(&type_name, &kind, &category),
        value_type: get(row, 12)?,
        not_null: get(row, 6)?,
        generated: get(row, 7)?,
        identity: get(row, 8)?,
        unique: false,
        primary_key: false,
        key_part: false,
        references: None,
        max_chars: max_chars.and_then(|chars| chars.try_into().ok()),
        labels: get(row, 10)?,
        // A domain calls the column VALUE.
        checks: of_domain
            .iter()
            .map(|check| check.replace("VALUE", &quoted(&name)))
            .collect(),
        sequence: None,
        name,
    })
}

fn base_type(name: &str, kind: &str, category: &str) -> BaseType {
    match (name, kind, category) {
        ("int2" | "int4" | "int8", ..) => BaseType::Integer,
        ("float4" | "float8", ..) => BaseType::Real,
        ("numeric", ..) => BaseType::Numeric,
        ("bytea", ..) => BaseType::Bytes,
        ("date", ..) => BaseType::Date,
        ("timestamp" | "timestamptz", ..) => BaseType::Timestamp,
        ("json" | "jsonb", ..) => BaseType::Json,
        ("uuid", ..) => BaseType::Uuid,
        (_, "e", _) => BaseType::Enum,
        (_, "c", _) => BaseType::Composite,
        (_, "r" | "m", _) => BaseType::Range,
        (.., "A") => BaseType::Array,
        (.., "B") => BaseType::Bool,
        (.., "I") => BaseType::Network,
        (.., "S") => BaseType::Text,
        _ => BaseType::Other,
    }
}

/// Those that read foreign tables stay empty: what they would show, no gate has seen. A view that reads another one comes after it: it reads all that the other reads, and the other.
async fn materialized_views(client: &Client) -> Result<Vec<RelationName>, PostgresError> {
    let sql = format!(
        "WITH RECURSIVE edges AS (
             SELECT DISTINCT w.ev_class AS reader, d.refobjid AS source
               FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.objid = w.oid
                AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
              WHERE d.refobjid <> w.ev_class),
         closure AS (
             SELECT reader, source FROM edges
              UNION SELECT c.reader, e.source FROM closure c JOIN edges e ON e.reader = c.source)
         SELECT n.nspname::text, c.relname::text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind = 'm' AND c.relispopulated AND {OURS}
            AND NOT EXISTS (SELECT FROM closure l JOIN pg_catalog.pg_class f ON f.oid = l.source
                             WHERE l.reader = c.oid AND f.relkind = 'f')
          ORDER BY (SELECT count(*) FROM closure l JOIN pg_catalog.pg_class m ON m.oid = l.source
                     WHERE l.reader = c.oid AND m.relkind = 'm'), 1, 2"
    );
    let rows = query(client, &sql, &[]).await?;
    rows.iter().map(|row| name_at(row, 0)).collect()
}

async fn settings(client: &Client, version: u32) -> Result<DatabaseSettings, PostgresError> {
    let (provider, locale) = match version / 10_000 {
        ..15 => ("'c'", "NULL::text"),
        15 | 16 => ("datlocprovider::text", "daticulocale::text"),
        _ => ("datlocprovider::text", "datlocale::text"),
    };
    let sql = format!(
        "SELECT pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text,
                {provider}, {locale}
           FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    );
    let rows = query(client, &sql, &[]).await?;
    let row = rows.first().expect("a session is in a database");
    Ok(DatabaseSettings {
        encoding: get(row, 0)?,
        collate: get(row, 1)?,
        ctype: get(row, 2)?,
        provider: get(row, 3)?,
        locale: get(row, 4)?,
    })
}

const EXTENSIONS: &str =
    "SELECT extname::text FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";

const POLICY_ROLES: &str = "
    SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_policy p
      CROSS JOIN LATERAL unnest(p.polroles) AS o(oid) JOIN pg_catalog.pg_roles r ON r.oid = o.oid
     ORDER BY 1";

/// What is looked for, why it stays behind, and how the catalog is asked for its names.
const STAYS: [(&str, &str, &str); 5] = [
    (
        "foreign table",
        "its rows are another server's",
        "SELECT pg_catalog.format('%s.%s', n.nspname, c.relname) FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' ORDER BY 1",
    ),
    (
        "rows of extension table",
        "the extension owns them",
        "SELECT pg_catalog.format('%s.%s', n.nspname, c.relname) FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
            AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          WHERE c.relkind = 'r' AND n.nspname <> 'pg_catalog' ORDER BY 1",
    ),
    (
        "large objects",
        "nothing says what they hold",
        "SELECT count(*)::text FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0",
    ),
    (
        "publication",
        "a copy must not feed anybody",
        "SELECT pubname::text FROM pg_catalog.pg_publication ORDER BY 1",
    ),
    (
        "subscription",
        "a copy must not be fed from production",
        "SELECT subname::text FROM pg_catalog.pg_subscription s WHERE s.subdbid =
            (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          ORDER BY 1",
    ),
];

fn unlogged() -> String {
    format!(
        "SELECT pg_catalog.format('%s.%s', n.nspname, c.relname) FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND {OURS} ORDER BY 1"
    )
}

async fn left_out(client: &Client) -> Result<Vec<LeftOut>, PostgresError> {
    let mut left = Vec::new();
    for (what, why, sql) in STAYS {
        for name in names(client, sql).await? {
            left.push(LeftOut::new(format!("{what} {name}"), why));
        }
    }
    Ok(left)
}

async fn names(client: &Client, sql: &str) -> Result<Vec<String>, PostgresError> {
    let rows = query(client, sql, &[]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

pub(super) fn name_at(row: &Row, at: usize) -> Result<RelationName, PostgresError> {
    Ok(RelationName {
        schema: get(row, at)?,
        name: get(row, at + 1)?,
    })
}

pub(super) async fn query(
    client: &Client,
    sql: &str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<Row>, PostgresError> {
    let rows = client.query(sql, params).await;
    rows.map_err(PostgresError::server("read the database's catalog"))
}

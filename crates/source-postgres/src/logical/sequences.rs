//! Sequences, and where they go on in a copy.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

use super::catalog::{Catalog, name_at, query};
use super::names::{RelationName, literal, quoted};
use super::tables::{BaseType, CopyTable};
use crate::backup::get;
use crate::error::PostgresError;

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceInfo {
    /// Its name.
    pub name: RelationName,
    /// The columns that hold numbers of it.
    pub numbers: Vec<(RelationName, String)>,
    /// Whether it counts down.
    pub descends: bool,
}

/// Which columns a sequence numbers: those that own it, and those whose default asks it. Partitions are
/// part of their root.
pub(super) async fn read(client: &Client, ours: &str) -> Result<Vec<SequenceInfo>, PostgresError> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, s.seqincrement < 0, tn.nspname::text, t.relname::text,
                a.attname::text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
           LEFT JOIN LATERAL (
                SELECT d.refobjid AS relation, d.refobjsubid AS attnum FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                   AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
                 UNION
                SELECT f.adrelid, f.adnum FROM pg_catalog.pg_attrdef f
                  JOIN pg_catalog.pg_depend d ON d.objid = f.oid
                   AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                 WHERE d.refobjid = c.oid) used ON true
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = used.relation AND a.attnum = used.attnum
           LEFT JOIN pg_catalog.pg_class t
                  ON t.oid = COALESCE(pg_catalog.pg_partition_root(used.relation), used.relation)
           LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
          WHERE c.relkind = 'S' AND {ours}
          ORDER BY 1, 2, 4, 5, 6"
    );
    let mut sequences: Vec<SequenceInfo> = Vec::new();
    for row in query(client, &sql, &[]).await? {
        let name = name_at(&row, 0)?;
        if sequences.last().is_none_or(|last| last.name != name) {
            sequences.push(SequenceInfo {
                name,
                numbers: Vec::new(),
                descends: get(&row, 2)?,
            });
        }
        let sequence = sequences.last_mut().expect("it was just put there");
        if let Some(column) = numbered(&row)?
            && !sequence.numbers.contains(&column)
        {
            sequence.numbers.push(column);
        }
    }
    Ok(sequences)
}

fn numbered(row: &Row) -> Result<Option<(RelationName, String)>, PostgresError> {
    let table: Option<String> = get(row, 4)?;
    match table {
        Some(_) => Ok(Some((name_at(row, 3)?, get(row, 5)?))),
        None => Ok(None),
    }
}

/// Leaves columns that hold numbers and are copied, and tells these of their sequence. From `INV-007`
/// nobody reads a number.
pub(super) fn bind(sequences: &mut [SequenceInfo], tables: &mut [CopyTable]) {
    for sequence in sequences {
        let name = sequence.name.clone();
        sequence.numbers.retain(|(table, column)| {
            let mut columns = tables
                .iter_mut()
                .filter(|other| other.name == *table)
                .flat_map(|table| table.columns.iter_mut());
            let found = columns.find(|other| other.name == *column);
            let holds_numbers = |base| matches!(base, BaseType::Integer | BaseType::Numeric);
            match found {
                Some(found) if holds_numbers(found.base) => {
                    found.sequence = Some(name.clone());
                    true
                }
                _ => false,
            }
        });
    }
}

impl Catalog {
    /// Returns the statements that let sequences go on behind the largest value of their columns.
    /// What no column uses starts anew: how far it was says how much production does.
    pub fn sequence_statements(&self) -> Vec<String> {
        let bound = self
            .sequences
            .iter()
            .filter(|sequence| !sequence.numbers.is_empty());
        bound.map(SequenceInfo::go_on).collect()
    }
}

impl SequenceInfo {
    fn go_on(&self) -> String {
        let name = literal(&self.name.quoted());
        let last = if self.descends { "min" } else { "max" };
        // Each alone, so that an index answers.
        let lasts = self.numbers.iter().map(|(table, column)| {
            format!(
                "SELECT {last}({})::numeric FROM {}",
                quoted(column),
                table.quoted()
            )
        });
        let lasts = lasts.collect::<Vec<_>>().join(" UNION ALL ");
        format!(
            "SELECT pg_catalog.setval({name}, LEAST(GREATEST(l.last, s.seqmin), s.seqmax)::bigint, true) \
             FROM (SELECT {last}(x) AS last FROM ({lasts}) AS each(x)) AS l, pg_catalog.pg_sequence s \
             WHERE s.seqrelid = {name}::pg_catalog.regclass AND l.last IS NOT NULL;"
        )
    }
}

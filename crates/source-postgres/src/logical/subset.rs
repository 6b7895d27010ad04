//! A part of a database that is whole in itself: some rows, what hangs on them, and all that these
//! refer to.
//!
//! Needs a server that is nobody else's: which rows stay is worked out in tables beside the data.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::catalog::{ForeignKey, foreign_keys, tables};
use super::names::{RelationName, quoted};
use super::read::connect;
use super::tables::CopyTable;
use crate::conninfo::Conninfo;
use crate::error::{PostgresError, ServerAnswer};

/// The schema of the tables that say which rows stay.
pub(super) const SCHEMA: &str = "lifeboat_subset";

/// Which rows a copy begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subset {
    /// A condition for each table that the copy begins with, by the table's name.
    pub rows: BTreeMap<String, String>,
    /// References that no foreign key declares, as `schema.table.column` each.
    pub links: Vec<(String, String)>,
}

/// The tables that are cut down: for each, the table that says which of its rows stay.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(BTreeMap<RelationName, String>);

impl Cut {
    /// Returns the condition that a row of a table stays, for a query that calls the row `t`.
    pub(super) fn condition(&self, table: &RelationName) -> Option<String> {
        let kept = self.0.get(table)?;
        Some(format!(
            "EXISTS (SELECT FROM {kept} k WHERE k.leaf = t.tableoid AND k.tid = t.ctid)"
        ))
    }
}

impl Subset {
    /// Works out which rows stay, in the database itself.
    ///
    /// Rows for which a condition holds stay, and what refers to them, directly or over others. Then
    /// everything stays that any of these rows refer to, so that no reference is left open. Tables that
    /// hang on none of those with conditions stay as they are.
    ///
    /// # Errors
    /// Fails if a table or column is not there, or a condition is none.
    pub(super) async fn cut(&self, conninfo: &Conninfo) -> Result<Cut, PostgresError> {
        let session = connect(conninfo).await?;
        let tables = tables(&session).await?;
        let mut references = foreign_keys(&session).await?;
        for (from, to) in &self.links {
            references.push(ForeignKey {
                from: side(from, &tables)?,
                to: side(to, &tables)?,
            });
        }
        let roots = self.rows.iter().map(|(name, condition)| {
            let table = tables.iter().find(|table| table.name.to_string() == *name);
            let table = table.ok_or_else(|| PostgresError::BadQuery {
                why: format!("of `subset` names no table `{name}`"),
                hint: "write its schema too, as in `public.customers`",
            })?;
            Ok((table.name.clone(), condition.as_str()))
        });
        let roots: Vec<_> = roots.collect::<Result<_, PostgresError>>()?;
        let closure = Closure {
            client: &session,
            cut: cut_down(&roots, &references),
            references: &references,
        };
        closure.run(&roots).await?;
        Ok(closure.cut)
    }
}

fn side(text: &str, tables: &[CopyTable]) -> Result<(RelationName, Vec<String>), PostgresError> {
    let found = tables.iter().find_map(|table| {
        let name = table.name.to_string();
        let column = text.strip_prefix(&name)?.strip_prefix('.')?;
        let known = table.columns.iter().any(|known| known.name == column);
        known.then(|| (table.name.clone(), vec![column.to_owned()]))
    });
    found.ok_or_else(|| PostgresError::BadQuery {
        why: format!("of `links` names no column `{text}`"),
        hint: "write SCHEMA.TABLE.COLUMN, as in `public.orders.customer_id`",
    })
}

/// Returns the tables with conditions and all that hang on them, each with a table of its own.
fn cut_down(roots: &[(RelationName, &str)], references: &[ForeignKey]) -> Cut {
    let mut reached: Vec<RelationName> = roots.iter().map(|(name, _)| name.clone()).collect();
    let mut at = 0;
    while at < reached.len() {
        let here = reached[at].clone();
        for reference in references.iter().filter(|one| one.to.0 == here) {
            if !reached.contains(&reference.from.0) {
                reached.push(reference.from.0.clone());
            }
        }
        at += 1;
    }
    let kept = reached.into_iter().enumerate();
    Cut(kept
        .map(|(at, name)| (name, format!("{SCHEMA}.kept_{at}")))
        .collect())
}

/// Rows that stay, growing.
struct Closure<'a> {
    client: &'a Client,
    cut: Cut,
    references: &'a [ForeignKey],
}

impl Closure<'_> {
    async fn run(&self, roots: &[(RelationName, &str)]) -> Result<(), PostgresError> {
        let mut make = format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA};");
        for kept in self.cut.0.values() {
            make.push_str(&format!(
                "CREATE UNLOGGED TABLE {kept} (leaf oid, tid tid, PRIMARY KEY (leaf, tid));"
            ));
        }
        self.execute(&make, SCHEMA).await?;
        for (table, condition) in roots {
            let kept = &self.cut.0[table];
            let sql = format!(
                "INSERT INTO {kept} SELECT t.tableoid, t.ctid FROM {} t WHERE ({condition})",
                table.quoted()
            );
            self.execute(&sql, &table.to_string()).await?;
        }
        self.grow(|one| (&one.to, &one.from)).await?;
        self.grow(|one| (&one.from, &one.to)).await
    }

    /// Adds rows on the far side of references whose near side stays, until none is left to add.
    async fn grow<'r>(
        &'r self,
        direction: impl Fn(&'r ForeignKey) -> (&'r Side, &'r Side),
    ) -> Result<(), PostgresError> {
        let steps: Vec<(String, String)> = self
            .references
            .iter()
            .filter_map(|one| {
                let (near, far) = direction(one);
                let (kept, more) = (self.cut.0.get(&near.0)?, self.cut.0.get(&far.0)?);
                Some((far.0.to_string(), step((near, kept), (far, more))))
            })
            .collect();
        loop {
            let mut added = 0;
            for (table, sql) in &steps {
                added += self.execute(sql, table).await?;
            }
            if added == 0 {
                return Ok(());
            }
        }
    }

    async fn execute(&self, sql: &str, table: &str) -> Result<u64, PostgresError> {
        let failed = |error: tokio_postgres::Error| PostgresError::Relation {
            op: "choose the rows of",
            name: table.to_owned(),
            // A condition can quote what it could not convert; that a column is unknown may be told.
            answer: match error
                .code()
                .is_some_and(|state| state.code().starts_with("42"))
            {
                true => ServerAnswer::new(&error),
                false => ServerAnswer::without_message(&error),
            },
        };
        let messages = self.client.simple_query(sql).await.map_err(failed)?;
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        Ok(rows.sum())
    }
}

type Side = (RelationName, Vec<String>);

fn step((near, kept): (&Side, &String), (far, more): (&Side, &String)) -> String {
    let pairs = near.1.iter().zip(&far.1);
    let same: Vec<_> = pairs
        .map(|(near, far)| format!("n.{} = t.{}", quoted(near), quoted(far)))
        .collect();
    format!(
        "INSERT INTO {more} SELECT t.tableoid, t.ctid FROM {} t WHERE EXISTS (
             SELECT FROM {} n JOIN {kept} k ON k.leaf = n.tableoid AND k.tid = n.ctid WHERE {})
           AND NOT EXISTS (SELECT FROM {more} m WHERE m.leaf = t.tableoid AND m.tid = t.ctid)",
        far.0.quoted(),
        near.0.quoted(),
        same.join(" AND ")
    )
}

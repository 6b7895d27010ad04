//! What is made once the rows are there: indexes and keys, several at a time.
//!
//! Most of the time goes into a few large indexes and into holding foreign keys against the rows. So
//! indexes of large tables come first, and a foreign key is added `NOT VALID` and validated later: that
//! locks the tables so little that others can be validated at the same time.

use std::collections::{BTreeMap, HashMap};

use super::catalog::Catalog;
use super::ddl::{Ddl, Section, Statement, StatementKind};
use super::tables::CopyTable;
use super::write::{TargetDatabase, run, set};
use crate::backup::get;
use crate::error::PostgresError;

/// For holding keys against rows: fresh indexes lie in memory and in order, and merging two of them takes
/// a fifth of the time of a join by hash.
const VALIDATING: &str = "SET enable_hashjoin = off; SET random_page_cost = 1.1; SET jit = off";
const VALIDATED: &str = "RESET enable_hashjoin; RESET random_page_cost; RESET jit";

impl TargetDatabase {
    /// Builds indexes and keys, and then all that needs them: foreign keys, which the server holds
    /// against the rows, triggers, policies.
    ///
    /// # Errors
    /// Fails with the name of what could not be made: a key that does not hold, for one.
    pub async fn run_post_data(
        &mut self,
        ddl: &Ddl,
        catalog: &Catalog,
    ) -> Result<(), PostgresError> {
        let statements = || ddl.section(Section::PostData);
        let of = |kind| move |one: &&Statement| one.kind == kind;
        for setting in statements().filter(of(StatementKind::Setting)) {
            for session in &self.sessions {
                run(session, setting).await?;
            }
        }
        self.prepare_sessions().await?;
        self.close_definer_functions().await?;
        // A view that groups by a primary key is made after the key, and its indexes after it.
        let late = statements().filter_map(|one| one.subject.strip_prefix("materialized view "));
        let late: Vec<&str> = late.collect();
        let is_early = |one: &&Statement| one.kind == StatementKind::Index && !one.is_on_any(&late);
        let mut early: Vec<_> = statements().filter(is_early).cloned().collect();
        let pages = Pages::of(&catalog.tables);
        early.sort_by_key(|one| std::cmp::Reverse(pages.below(one)));
        self.in_parallel(early).await?;
        let done = [StatementKind::Setting, StatementKind::EventTrigger];
        let rest = statements().filter(|one| !is_early(one) && !done.contains(&one.kind));
        self.make_and_validate(rest, catalog).await
    }

    /// Runs statements in their order. Foreign keys that follow each other are held against the rows
    /// together, before what comes next: row policies may keep them from being read.
    async fn make_and_validate(
        &mut self,
        statements: impl Iterator<Item = &Statement>,
        catalog: &Catalog,
    ) -> Result<(), PostgresError> {
        let mut keys = Vec::new();
        for statement in statements {
            match without_validation(statement, &catalog.tables) {
                Some(key) => keys.push(key),
                None => {
                    self.add_keys(std::mem::take(&mut keys)).await?;
                    run(&self.sessions[0], statement).await?;
                }
            }
        }
        self.add_keys(keys).await
    }

    /// Adds foreign keys one after the other, and then has them validated several at a time.
    async fn add_keys(&mut self, keys: Vec<Statement>) -> Result<(), PostgresError> {
        let Some(one) = keys.first().cloned() else {
            return Ok(());
        };
        let known = self.not_validated_keys().await?;
        for key in &keys {
            run(&self.sessions[0], key).await?;
        }
        let mut new = self.not_validated_keys().await?;
        new.retain(|oid, _| !known.contains_key(oid));
        if new.len() != keys.len() {
            return Err(PostgresError::KeysNotFound {
                added: keys.len(),
                found: new.len(),
            });
        }
        let validate = |(key, sql)| Statement {
            sql,
            subject: key,
            ..one.clone()
        };
        for session in &self.sessions {
            set(session, VALIDATING).await?;
        }
        self.in_parallel(new.into_values().map(validate).collect())
            .await?;
        for session in &self.sessions {
            set(session, VALIDATED).await?;
        }
        Ok(())
    }

    /// Returns the foreign keys that are not validated, by their numbers: what people call each, and
    /// the statement that validates it.
    async fn not_validated_keys(&self) -> Result<BTreeMap<u32, (String, String)>, PostgresError> {
        const SQL: &str = "
            SELECT oid, pg_catalog.format('foreign key %s of %s', conname, conrelid::pg_catalog.regclass),
                   pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I',
                                          conrelid::pg_catalog.regclass, conname)
              FROM pg_catalog.pg_constraint WHERE contype = 'f' AND NOT convalidated";
        let rows = self.sessions[0].query(SQL, &[]).await;
        let rows = rows.map_err(PostgresError::server("ask which keys were checked"))?;
        let one = |row: &tokio_postgres::Row| Ok((get(row, 0)?, (get(row, 1)?, get(row, 2)?)));
        rows.iter().map(one).collect()
    }
}

/// Returns a foreign key's statement without holding it against the rows; `None` for whatever else, and
/// for a key that the server takes only at once: from or to a partitioned table.
fn without_validation(key: &Statement, tables: &[CopyTable]) -> Option<Statement> {
    let sql = key.sql.trim_end().strip_suffix(';')?;
    let is_partial = [" NOT VALID", " NOT ENFORCED"]
        .iter()
        .any(|how| sql.contains(how));
    // `pg_dump` writes ONLY for every table but a partitioned one.
    let is_plain = sql.starts_with("ALTER TABLE ONLY ");
    if key.kind != StatementKind::ForeignKey || is_partial || !is_plain {
        return None;
    }
    let (_, referenced) = sql.rsplit_once(" REFERENCES ")?;
    let referenced = referenced.split_once('(')?.0.replace('"', "");
    let table = tables
        .iter()
        .find(|table| table.name.to_string() == referenced)?;
    let is_whole = matches!(&table.leaves[..], [leaf] if leaf.name == table.name);
    is_whole.then(|| Statement {
        sql: format!("{sql} NOT VALID"),
        ..key.clone()
    })
}

/// How many pages tables have, by their names without quotes.
struct Pages(HashMap<String, u64>);

impl Pages {
    fn of(tables: &[CopyTable]) -> Self {
        let mut pages = HashMap::new();
        for table in tables {
            for leaf in &table.leaves {
                pages.insert(leaf.name.to_string(), leaf.pages);
                if leaf.name != table.name {
                    *pages.entry(table.name.to_string()).or_default() += leaf.pages;
                }
            }
        }
        Self(pages)
    }

    /// Returns how many pages an index or a key is made of. It decides nothing but what comes first.
    fn below(&self, index: &Statement) -> u64 {
        let table = table_of(&index.sql).map(|name| name.replace('"', ""));
        table
            .and_then(|name| self.0.get(&name).copied())
            .unwrap_or_default()
    }
}

/// Returns the table of an index or a key, as `pg_dump` writes it.
fn table_of(sql: &str) -> Option<&str> {
    let (after, end) = match sql.split_once("ALTER TABLE ") {
        Some((_, after)) => (after, "\n"),
        None => (sql.split_once(" ON ")?.1, " USING "),
    };
    let name = after.split_once(end)?.0;
    Some(name.strip_prefix("ONLY ").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical::{CopyLeaf, RelationName};

    fn name(table: &str) -> RelationName {
        RelationName {
            schema: "public".to_owned(),
            name: table.to_owned(),
        }
    }

    fn table(table: &str, leaves: &[(&str, u64)]) -> CopyTable {
        let leaf = |(leaf, pages): &(&str, u64)| CopyLeaf {
            name: name(leaf),
            pages: *pages,
        };
        CopyTable {
            oid: 1,
            name: name(table),
            columns: Vec::new(),
            leaves: leaves.iter().map(leaf).collect(),
            rows_estimate: 0,
        }
    }

    fn tables() -> [CopyTable; 4] {
        [
            table("customers", &[("customers", 100)]),
            table("Odd Ones", &[("Odd Ones", 7)]),
            table("log", &[("log_1", 30), ("log_2", 40)]),
            table("empty", &[]),
        ]
    }

    fn statements(script: &str) -> Vec<Statement> {
        let mut ddl = Ddl::default();
        ddl.add(Section::PostData, script).unwrap();
        ddl.statements
    }

    #[test]
    fn keys_between_plain_tables_are_validated_later_and_no_others() {
        let key = |of: &str, to: &str, how: &str| {
            format!(
                "ALTER TABLE {of}\n    ADD CONSTRAINT k FOREIGN KEY (a, b) REFERENCES {to}(a, b){how};"
            )
        };
        for (of, to, how, is_later) in [
            ("ONLY public.orders", "public.customers", "", true),
            (
                "ONLY public.orders",
                "public.\"Odd Ones\"",
                " ON DELETE CASCADE DEFERRABLE",
                true,
            ),
            ("ONLY public.orders", "public.log", "", false),
            ("ONLY public.orders", "public.empty", "", false),
            ("ONLY public.orders", "public.unknown", "", false),
            ("public.log", "public.customers", "", false),
            (
                "ONLY public.orders",
                "public.customers",
                " NOT VALID",
                false,
            ),
            (
                "ONLY public.orders",
                "public.customers",
                " NOT ENFORCED",
                false,
            ),
        ] {
            let key = key(of, to, how);
            let [statement] = &statements(&key)[..] else {
                panic!("{key}")
            };
            let quick = without_validation(statement, &tables());
            assert_eq!(quick.is_some(), is_later, "{key}");
            if let Some(quick) = quick {
                assert_eq!(quick.sql, key.replace(';', " NOT VALID"));
            }
        }
        let index = "ALTER TABLE ONLY public.customers\n    ADD CONSTRAINT c PRIMARY KEY (id);";
        assert_eq!(without_validation(&statements(index)[0], &tables()), None);
    }

    #[test]
    fn indexes_are_of_their_tables_size() {
        let script = "
            CREATE INDEX a ON public.customers USING btree (id);
            CREATE UNIQUE INDEX b ON ONLY public.log USING btree (id);
            CREATE INDEX c ON public.log_2 USING gin (words);
            ALTER TABLE ONLY public.\"Odd Ones\"\n    ADD CONSTRAINT c PRIMARY KEY (id);
            ALTER TABLE public.log\n    ADD CONSTRAINT c UNIQUE (id);
            CREATE INDEX d ON public.unknown USING btree (id);";
        let pages = Pages::of(&tables());
        let below: Vec<_> = statements(script)
            .iter()
            .map(|one| pages.below(one))
            .collect();
        assert_eq!(below, [100, 70, 40, 7, 70, 0]);
    }
}

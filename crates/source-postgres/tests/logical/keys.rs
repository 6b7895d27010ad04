//! Foreign keys of a copy: held against the rows, whoever makes the copy.

use lifeboat_source_postgres::logical::{DdlOptions, LogicalSource, TargetDatabase};
use lifeboat_testkit::PgCluster;

use crate::support::{conninfo, conninfo_as, programs};

/// A key behind row policies can be validated by its owner only before they are in force. Those that
/// production has not validated stay so.
#[tokio::test]
async fn keys_are_validated_by_a_role_that_row_policies_bind() {
    let Some(cluster) = PgCluster::or_skip("keys are validated behind row policies") else {
        return;
    };
    cluster.psql("CREATE ROLE copier LOGIN CREATEDB");
    cluster.psql("CREATE DATABASE source");
    cluster.psql("CREATE DATABASE copied OWNER copier");
    let tables = "CREATE TABLE owners (id int PRIMARY KEY);
                  CREATE TABLE items (id int PRIMARY KEY, owner int REFERENCES owners,
                                      parent int REFERENCES items DEFERRABLE);
                  CREATE TABLE parts (item int REFERENCES items) PARTITION BY RANGE (item);
                  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (2);
                  ALTER TABLE owners ADD COLUMN best int;
                  ALTER TABLE owners ADD FOREIGN KEY (best) REFERENCES items NOT VALID;
                  ALTER TABLE items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                  CREATE POLICY all_of_them ON items USING (true)";
    cluster.psql_in("source", tables);
    let source = LogicalSource::open(&conninfo(&cluster, "source"))
        .await
        .unwrap();
    let options = DdlOptions::default();
    let ddl = source
        .dump_ddl(&programs(&cluster), &options)
        .await
        .unwrap();
    let copier = conninfo_as(&cluster, "copier", "copied");
    let mut target = TargetDatabase::open(&copier, 2).await.unwrap();
    target.run_pre_data(&ddl).await.unwrap();
    let made = target.run_post_data(&ddl, source.catalog()).await;
    made.unwrap_or_else(|error| panic!("{}", lifeboat_model::error_chain(&error)));
    let keys =
        "SELECT conrelid::regclass, conname, convalidated, condeferrable, confrelid::regclass
                  FROM pg_constraint WHERE contype = 'f' ORDER BY 1::text, 2";
    let there = cluster.psql_in("copied", keys);
    assert_eq!(there, cluster.psql_in("source", keys));
    assert_eq!(there.matches("|f|f|").count(), 1, "{there}");
}

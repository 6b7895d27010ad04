//! What the server says of rows stays there.

use bytes::Bytes;
use lifeboat_model::error_chain;
use lifeboat_source_postgres::PostgresError;
use lifeboat_source_postgres::logical::{CopyTable, DdlOptions, LogicalSource, TargetDatabase};
use lifeboat_testkit::PgCluster;

use crate::support::{conninfo, programs};

/// A value that cannot be: in a row, in a key, and in what an index or a view computes of it.
#[tokio::test]
async fn no_error_holds_a_value() {
    let Some(cluster) = PgCluster::or_skip("no error holds a value") else {
        return;
    };
    cluster.psql("CREATE DATABASE source");
    cluster.psql("CREATE DATABASE copied");
    let tables = "CREATE TABLE people (email text UNIQUE, age int);
                  CREATE TABLE ages (age text);
                  CREATE INDEX ages_as_numbers ON ages ((age::int));
                  CREATE MATERIALIZED VIEW sums AS SELECT sum(age::int) FROM ages";
    cluster.psql_in("source", tables);
    let source = LogicalSource::open(&conninfo(&cluster, "source"))
        .await
        .unwrap();
    let ddl = source
        .dump_ddl(&programs(&cluster), &DdlOptions::default())
        .await
        .unwrap();
    let catalog = source.catalog();
    let mut target = TargetDatabase::open(&conninfo(&cluster, "copied"), 1)
        .await
        .unwrap();
    target.run_pre_data(&ddl).await.unwrap();
    let table = |name: &str| {
        catalog
            .tables
            .iter()
            .find(|table| table.name.name == name)
            .unwrap()
    };
    let mut told = Vec::new();
    let people = table("people");
    told.push(
        load(&target, people, "a@secret.example\tsecret-age\n")
            .await
            .unwrap_err(),
    );
    load(
        &target,
        people,
        "a@secret.example\t1\na@secret.example\t2\n",
    )
    .await
    .unwrap();
    told.push(target.run_post_data(&ddl, catalog).await.unwrap_err());
    cluster.psql_in("copied", "TRUNCATE people");
    let mut target = TargetDatabase::open(&conninfo(&cluster, "copied"), 1)
        .await
        .unwrap();
    load(&target, table("ages"), "secret-age\n").await.unwrap();
    told.push(target.run_post_data(&ddl, catalog).await.unwrap_err());
    told.push(
        target
            .refresh_materialized_views(catalog)
            .await
            .unwrap_err(),
    );
    for (error, names) in told.iter().zip([
        "public.people",
        "public.people",
        "ages_as_numbers",
        "public.sums",
    ]) {
        let text = error_chain(error);
        assert!(text.contains(names), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

async fn load(
    target: &TargetDatabase,
    table: &CopyTable,
    rows: &str,
) -> Result<u64, PostgresError> {
    let mut writer = target.loader().await?;
    let mut into = writer.begin(table).await?;
    into.feed(Bytes::from(rows.to_owned())).await?;
    into.finish().await
}

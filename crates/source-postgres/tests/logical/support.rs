//! What the tests of this folder share.

use bytes::Bytes;
use lifeboat_source_postgres::ServerPrograms;
use lifeboat_source_postgres::conninfo::{Conninfo, Surroundings};
use lifeboat_source_postgres::logical::{
    Catalog, CopyRange, CopyReader, CopyTable, Ddl, DdlOptions, LogicalSource, TargetDatabase,
    TargetServer,
};
use lifeboat_testkit::PgCluster;

pub(crate) const ODDITIES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/oddities.sql");
/// Small, so that every table of some length is read in several stretches.
pub(crate) const RANGE_BYTES: u64 = 64 << 10;

pub(crate) fn conninfo(cluster: &PgCluster, database: &str) -> Conninfo {
    let text = cluster.conninfo();
    let parsed = Conninfo::parse(&text, Surroundings::NONE).expect("the test kit wrote it");
    parsed.with_dbname(database)
}

/// The same, as another role.
pub(crate) fn conninfo_as(cluster: &PgCluster, role: &str, database: &str) -> Conninfo {
    let text = cluster
        .conninfo()
        .replace("user=postgres", &format!("user={role}"));
    let parsed = Conninfo::parse(&text, Surroundings::NONE).expect("the test kit wrote it");
    parsed.with_dbname(database)
}

pub(crate) fn programs(cluster: &PgCluster) -> ServerPrograms {
    let installation = cluster.installation();
    ServerPrograms::find(installation.major, std::slice::from_ref(&installation.bin)).unwrap()
}

/// What a copy was made of.
pub(crate) struct Copied {
    pub(crate) catalog: Catalog,
    pub(crate) ddl: Ddl,
}

/// Copies a database into a new one, bytes through.
pub(crate) async fn copy(cluster: &PgCluster, from: &str, to: &str) -> Copied {
    let source = LogicalSource::open(&conninfo(cluster, from)).await.unwrap();
    let ddl = source
        .dump_ddl(&programs(cluster), &DdlOptions::default())
        .await
        .unwrap();
    let catalog = source.catalog().clone();
    let server = TargetServer::connect(&conninfo(cluster, "published"))
        .await
        .unwrap();
    assert_eq!(server.check(&catalog, source.version()).await.unwrap(), []);
    server
        .create(to, "published", &catalog.settings, None)
        .await
        .unwrap();
    let mut target = TargetDatabase::open(&conninfo(cluster, to), 2)
        .await
        .unwrap();
    target.run_pre_data(&ddl).await.unwrap();
    copy_rows(&source, &target).await;
    target.run_post_data(&ddl, &catalog).await.unwrap();
    target.set_sequences(&catalog).await.unwrap();
    target.refresh_materialized_views(&catalog).await.unwrap();
    target.make_event_triggers(&ddl).await.unwrap();
    target.analyze(&catalog).await.unwrap();
    Copied { catalog, ddl }
}

async fn copy_rows(source: &LogicalSource, target: &TargetDatabase) {
    let reader = source.reader().await.unwrap();
    let mut writer = target.loader().await.unwrap();
    let mut loaded = vec![0; source.catalog().tables.len()];
    for range in source.ranges(RANGE_BYTES) {
        let table = &source.catalog().tables[range.table];
        let mut rows = Vec::new();
        let mut take = |chunk: &[u8]| {
            rows.extend_from_slice(chunk);
            true
        };
        reader.copy_out(table, &range, &mut take).await.unwrap();
        let mut into = writer.begin(table).await.unwrap();
        into.feed(Bytes::from(rows)).await.unwrap();
        loaded[range.table] += into.finish().await.unwrap();
    }
    for (table, loaded) in source.catalog().tables.iter().zip(loaded) {
        assert_eq!(reader.count(table).await.unwrap(), loaded, "{}", table.name);
    }
}

/// Reads a stretch as text.
pub(crate) async fn read(reader: &CopyReader, table: &CopyTable, range: &CopyRange) -> String {
    let mut rows = Vec::new();
    let mut take = |chunk: &[u8]| {
        rows.extend_from_slice(chunk);
        true
    };
    reader.copy_out(table, range, &mut take).await.unwrap();
    String::from_utf8(rows).unwrap()
}

//! How fast rows go out and in. A measurement, not a promise: run by hand, in a release build.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lifeboat_source_postgres::logical::{
    CopyRange, CopyReader, CopyTable, CopyWriter, DdlOptions, LogicalSource, TargetDatabase,
};
use lifeboat_testkit::PgCluster;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{conninfo, programs};

const ROWS: u32 = 2_000_000;
const RANGE_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: `cargo test --release -p lifeboat-source-postgres --test logical speed -- --ignored --nocapture`"]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
async fn rows_a_second_out_and_in() {
    let Some(cluster) = PgCluster::or_skip("speed") else {
        return;
    };
    make_people(&cluster);
    let source = LogicalSource::open(&conninfo(&cluster, "postgres"))
        .await
        .unwrap();
    for sessions in [1, 2] {
        let start = Instant::now();
        let bytes = read_all(&source, sessions, None).await;
        let secs = start.elapsed().as_secs_f64();
        eprintln!(
            "out, {sessions} sessions: {secs:.2} s, {:.2} M rows/s, {:.0} MB/s",
            f64::from(ROWS) / secs / 1e6,
            bytes as f64 / secs / 1e6
        );
    }
    let ddl = source
        .dump_ddl(&programs(&cluster), &DdlOptions::default())
        .await
        .unwrap();
    for sessions in [1, 2] {
        let name = format!("copy_{sessions}");
        cluster.psql(&format!("CREATE DATABASE {name}"));
        let mut target = TargetDatabase::open(&conninfo(&cluster, &name), sessions)
            .await
            .unwrap();
        target.run_pre_data(&ddl).await.unwrap();
        let start = Instant::now();
        read_all(&source, sessions, Some(&target)).await;
        let secs = start.elapsed().as_secs_f64();
        eprintln!(
            "out and in, {sessions} sessions: {secs:.2} s, {:.2} M rows/s",
            f64::from(ROWS) / secs / 1e6
        );
        let start = Instant::now();
        target.run_post_data(&ddl, source.catalog()).await.unwrap();
        eprintln!(
            "two keys and two indexes, {sessions} sessions: {:.2} s",
            start.elapsed().as_secs_f64()
        );
    }
}

/// What the sessions have to read.
#[derive(Clone)]
struct Work {
    table: Arc<CopyTable>,
    ranges: Arc<Mutex<VecDeque<CopyRange>>>,
}

/// Reads every stretch, and loads what was read into a target if there is one; returns the bytes read.
async fn read_all(source: &LogicalSource, sessions: usize, target: Option<&TargetDatabase>) -> u64 {
    let work = Work {
        table: Arc::new(source.catalog().tables[0].clone()),
        ranges: Arc::new(Mutex::new(source.ranges(RANGE_BYTES).into())),
    };
    let mut working = JoinSet::new();
    for _ in 0..sessions {
        let reader = source.reader().await.unwrap();
        let writer = match target {
            Some(target) => Some(target.loader().await.unwrap()),
            None => None,
        };
        working.spawn(one_session(work.clone(), reader, writer));
    }
    working.join_all().await.into_iter().sum()
}

/// Reads stretch by stretch; each is loaded when it was read.
async fn one_session(work: Work, reader: CopyReader, mut writer: Option<CopyWriter>) -> u64 {
    let mut bytes = 0;
    let next = || work.ranges.lock().unwrap().pop_front();
    while let Some(range) = next() {
        let (mut full, mut chunk) = (Vec::new(), Vec::with_capacity(CHUNK_BYTES));
        let mut take = |piece: &[u8]| {
            bytes += piece.len() as u64;
            chunk.extend_from_slice(piece);
            if chunk.len() >= CHUNK_BYTES {
                let next = Vec::with_capacity(CHUNK_BYTES);
                full.push(Bytes::from(std::mem::replace(&mut chunk, next)));
            }
            true
        };
        reader
            .copy_out(&work.table, &range, &mut take)
            .await
            .unwrap();
        full.push(Bytes::from(chunk));
        let Some(writer) = &mut writer else { continue };
        let mut rows = writer.begin(&work.table).await.unwrap();
        for chunk in full {
            rows.feed(chunk).await.unwrap();
        }
        rows.finish().await.unwrap();
    }
    bytes
}

fn make_people(cluster: &PgCluster) {
    cluster.psql(&format!(
        "CREATE TABLE people AS
         SELECT i::bigint AS id, 'person' || i || '@post-' || i % 977 || '.de' AS email,
                'Anna' || i % 1000 AS first_name, 'Krause' || i % 5000 AS last_name,
                '+49 30 ' || 10000000 + i AS phone, 'Lindenallee ' || i % 300 AS street,
                'Neustadt-' || i % 2000 AS city, lpad((i % 90000)::text, 5, '0') AS postcode,
                'DE'::char(2) AS country, date '1940-01-01' + i % 25000 AS born,
                'DE' || lpad(i::text, 20, '0') AS iban, 'basic'::text AS plan,
                (i % 100000) / 7.0::numeric(12, 2) AS balance,
                timestamptz '2020-01-01' + i * interval '17 seconds' AS created_at,
                'Ordered ' || i % 50 || ' times, likes blue and fast delivery, asked twice' AS about
           FROM generate_series(1, {ROWS}) i;
         ALTER TABLE people ADD PRIMARY KEY (id), ADD UNIQUE (iban);
         CREATE INDEX ON people (email); CREATE INDEX ON people (last_name)"
    ));
    cluster.psql("VACUUM ANALYZE people");
}

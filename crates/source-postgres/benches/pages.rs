//! How fast page checksums are computed, and a whole cluster is read: a backup verifies every page.

use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;
use lifeboat_model::Lsn;
use lifeboat_source_postgres::page::{self, PAGE_BYTES};
use lifeboat_source_postgres::{ClusterItem, ClusterReader, DataDirectory, PageChecks};
use lifeboat_testkit::{PgCluster, PgInstallation, StopMode};

fn main() {
    divan::main();
}

#[divan::bench]
fn judge_a_mebibyte(bencher: Bencher<'_, '_>) {
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (pages, _) = bytes.as_chunks::<PAGE_BYTES>();
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        (0..)
            .zip(pages)
            .filter(|(block, page)| page::judge(page, *block) == page::PageVerdict::Damaged)
            .count()
    });
}

/// Reads a cluster of about 300 MB from the page cache.
#[divan::bench(args = [PageChecks::IfThere, PageChecks::Off], sample_count = 20, max_time = Duration::from_secs(20))]
fn read_a_cluster(bencher: Bencher<'_, '_>, checks: PageChecks) {
    let Some(installation) = PgInstallation::newest_or_skip("read_a_cluster") else {
        return;
    };
    let mut cluster = PgCluster::on(installation).without_fsync().start();
    cluster.pgbench(&["-i", "-q", "-s", "20"]);
    cluster.stop(StopMode::Fast);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let read = || {
        let directory = DataDirectory::open(cluster.data_dir()).expect("it is a data directory");
        let mut reader = ClusterReader::start(directory, Lsn::default(), checks);
        runtime.block_on(async {
            let mut bytes = 0;
            while let Some(item) = reader.next().await.expect("every file can be read") {
                if let ClusterItem::Block(block) = item {
                    bytes += block.len();
                }
            }
            bytes
        })
    };
    bencher.counter(BytesCount::new(read())).bench_local(read);
}

//! How fast page checksums are computed: a backup verifies every page that it reads.

use divan::Bencher;
use divan::counter::BytesCount;
use lifeboat_source_postgres::page::{self, PAGE_BYTES};

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

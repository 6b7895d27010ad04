//! What one thread of this machine does with the arithmetic that a backup is made of.
//!
//! Prints a line `what: figure` each, for `cargo xtask bench-peers` and for people.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark for a terminal measures time"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const BLOCK_LEN: usize = 1 << 20;
const TIME: Duration = Duration::from_millis(500);

fn main() {
    // `cargo test` runs benchmarks too, and only wants to know that they start.
    let time = match std::env::args().any(|arg| arg == "--bench") {
        true => TIME,
        false => Duration::ZERO,
    };
    let block = mixed_block();
    speed("BLAKE3", time, || {
        black_box(blake3::hash(black_box(&block)));
    });
    let key = UnboundKey::new(&AES_256_GCM, &[1; 32]).expect("the key has 32 bytes");
    let key = LessSafeKey::new(key);
    let mut sealed = block.clone();
    speed("AES-256-GCM", time, || {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed);
        black_box(tag.expect("a block is short enough").as_ref().len());
    });
    let mut compressor = zstd::bulk::Compressor::new(3).expect("3 is a level");
    speed("zstd 3, compress", time, || {
        black_box(
            compressor
                .compress(black_box(&block))
                .expect("memory takes it"),
        );
    });
    let compressed = compressor.compress(&block).expect("memory takes it");
    let mut decompressor = zstd::bulk::Decompressor::new().expect("it needs no dictionary");
    speed("zstd 3, decompress", time, || {
        let block = decompressor.decompress(black_box(&compressed), BLOCK_LEN);
        black_box(block.expect("it was compressed just now"));
    });
    let ratio = block.len() as f64 / compressed.len() as f64;
    println!("zstd 3, ratio on this block: {ratio:.2}");
}

/// Half numbers, half text, as a database's pages are.
fn mixed_block() -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_LEN);
    for row in 0_u32.. {
        let hash = blake3::hash(&row.to_le_bytes());
        block.extend_from_slice(&hash.as_bytes()[..16]);
        block.extend_from_slice(format!("customer {row}, order of 2026-11-21").as_bytes());
        if block.len() >= BLOCK_LEN {
            break;
        }
    }
    block.truncate(BLOCK_LEN);
    block
}

/// Repeats `work` on a block for a while and prints the speed.
fn speed(what: &str, time: Duration, mut work: impl FnMut()) {
    work();
    let start = Instant::now();
    let mut blocks = 0_u32;
    while blocks == 0 || start.elapsed() < time {
        work();
        blocks += 1;
    }
    let speed = f64::from(blocks) * BLOCK_LEN as f64 / 1e9 / start.elapsed().as_secs_f64();
    println!("{what}, one thread: {speed:.2} GB/s");
}

//! What the machine itself does: the floor below which no tool can be.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::clock::Stopwatch;
use super::folder::at;
use super::measure::sync;

const WRITTEN: u64 = 1 << 30;

/// A limit's name and figure, as the page shows them.
pub(crate) type Limit = (String, String);

/// Measures how quickly a file is written into `folder`.
pub(crate) fn writing(folder: &Path) -> Result<Limit, String> {
    let speed = write_speed(&folder.join("written"))?;
    let figure = format!("{speed:.2} GB/s");
    Ok(("write 1 GiB, then fsync".to_owned(), figure))
}

/// Measures how quickly `read` returns the number of bytes that it read; the first time warms up.
pub(crate) fn reading(what: &str, read: impl Fn() -> Result<u64, String>) -> Result<Limit, String> {
    read()?;
    let watch = Stopwatch::start();
    let bytes = read()?;
    let secs = watch.secs();
    let speed = bytes as f64 / 1e9 / secs.max(1e-9);
    Ok((what.to_owned(), format!("{secs:.2} s, {speed:.1} GB/s")))
}

/// Measures the arithmetic with the program `benches/limits.rs`, built with `profile`.
pub(crate) fn arithmetic(profile: &str) -> Result<Vec<Limit>, String> {
    let line = format!("bench --quiet --locked --profile {profile} --bench limits");
    println!("running: cargo {line}");
    let output = Command::new("cargo").args(line.split(' ')).output();
    let output = output.map_err(|error| format!("failed to start `cargo`: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`cargo {line}` failed: {}\n{text}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    Ok(pairs
        .map(|(what, figure)| (what.to_owned(), figure.to_owned()))
        .collect())
}

fn write_speed(path: &Path) -> Result<f64, String> {
    let at = |error| at(path, &error);
    let block: Vec<u8> = (0..1 << 20)
        .map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    sync();
    let watch = Stopwatch::start();
    let mut file = File::create(path).map_err(at)?;
    for _ in 0..WRITTEN / block.len() as u64 {
        file.write_all(&block).map_err(at)?;
    }
    file.sync_all().map_err(at)?;
    let secs = watch.secs();
    fs::remove_file(path).map_err(at)?;
    Ok(WRITTEN as f64 / 1e9 / secs)
}

/// Describes the machine: cores, processor, memory, kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
        line.unwrap_or("?").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = memory
        .split(' ')
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_default();
    format!(
        "{cores} cores of {}, {} GB of memory, Linux {}",
        field(&read("/proc/cpuinfo"), "model name"),
        memory * 1024 / 1_000_000_000,
        read("/proc/sys/kernel/osrelease").trim()
    )
}

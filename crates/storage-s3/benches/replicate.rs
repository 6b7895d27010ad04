//! Copies 20,000 objects of 10 KiB and 2,000 of 1 MiB between two S3 servers, with Lifeboat's copy and
//! with `rclone sync`, turn by turn.
//!
//! The servers are processes of their own, in memory. Each copy is a process of its own too, whose
//! largest resident memory is read from the kernel, as is the CPU time of all three: where they share
//! the cores, what the servers take is not the copy's to save. Run it with
//! `cargo bench -p lifeboat-storage-s3 --bench replicate`; rclone is taken from `PATH`. With ` -- far`
//! after that, each request waits before it is answered, as between regions; with `rounds=N`, each tool
//! has N turns and not three; with `before=PROGRAM`, an earlier build of this benchmark copies, too.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark for a terminal measures time"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_repository::{CopyLimits, copy_checked};
use lifeboat_runtime::{ComputePool, OsEntropy, SystemClock, World};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore};
use lifeboat_storage_s3::{CredentialSource, S3Settings, S3Store};
use lifeboat_testkit::s3::{S3Options, S3Server};

const SMALL: (usize, usize) = (20_000, 10 << 10);
const LARGE: (usize, usize) = (2_000, 1 << 20);
const ROUNDS: usize = 3;
/// How long a far server lets every request wait: the way to another region and back.
const FAR: Duration = Duration::from_millis(20);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", millis] => serve(Duration::from_millis(millis.parse().expect("a number"))),
        ["copy", from, to] => copy(from, to),
        // `cargo test` runs benchmarks too, and only wants to know that they start.
        _ if !words.contains(&"--bench") => {}
        _ => compare(&words),
    }
}

/// Serves until standard input ends, and tells where.
fn serve(delay: Duration) {
    let options = S3Options {
        delay,
        ..S3Options::default()
    };
    let server = S3Server::start(options).expect("a port is free");
    let key = server.admin();
    println!("{} {} {}", server.endpoint(), key.id, key.secret);
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("it is a pipe");
}

struct Served {
    child: Child,
    _input: Option<ChildStdin>,
    /// Address, access key, secret.
    place: String,
}

impl Served {
    fn start(delay: Duration) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("it is running"));
        command
            .args(["serve", &delay.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut place = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut place)
            .expect("it tells where");
        Self {
            _input: child.stdin.take(),
            child,
            place: place.trim().to_owned(),
        }
    }

    fn store(&self) -> S3Store {
        store(&self.place)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It is gone already, then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn store(place: &str) -> S3Store {
    let parts: Vec<&str> = place.split(' ').collect();
    let keys = format!("{}:{}", parts[1], parts[2]);
    let settings = S3Settings {
        endpoint: Some(parts[0].to_owned()),
        region: Some("eu-central-1".to_owned()),
        path_style: true,
        credentials: CredentialSource::Keys(keys.parse().expect("it is a key")),
        ..S3Settings::new("s3://backups".parse().expect("it is an address"))
    };
    let world = World {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy),
        pool: ComputePool::inline(),
    };
    S3Store::new(settings, &world)
}

/// What Lifeboat does between two stores: list both, copy what is missing, check each by its hash.
fn copy(from: &str, to: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("threads are granted");
    runtime.block_on(async {
        let (from, to) = (store(from), store(to));
        let (here, there) = futures::join!(from.list(""), to.list(""));
        let (here, there) = (here.expect("it lists"), there.expect("it lists"));
        let missing: Vec<ObjectMeta> = here
            .into_iter()
            .filter(|meta| !there.contains(meta))
            .collect();
        copy_checked(&from, &to, &missing, &CopyLimits::default(), &|_| {})
            .await
            .expect("it copies");
    });
}

fn compare(words: &[&str]) {
    let delay = match words.contains(&"far") {
        true => FAR,
        false => Duration::ZERO,
    };
    let before = words.iter().find_map(|word| word.strip_prefix("before="));
    let mut tools = vec!["lifeboat", "rclone", "rclone 16", "rclone 64"];
    tools.extend(before.map(|_| "before"));
    let source = Served::start(delay);
    let runtime = tokio::runtime::Runtime::new().expect("threads are granted");
    runtime.block_on(fill(&source.store()));
    let count = SMALL.0 + LARGE.0;
    let rounds = words.iter().find_map(|word| word.strip_prefix("rounds="));
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    for round in 1..=rounds {
        for &tool in &tools {
            let target = Served::start(delay);
            let command = match tool {
                "lifeboat" => own(None, &source.place, &target.place),
                "before" => own(before, &source.place, &target.place),
                // As it comes: 4 transfers.
                "rclone" => rclone(&source.place, &target.place, &[]),
                "rclone 16" => rclone(&source.place, &target.place, &["--transfers=16"]),
                _ => rclone(
                    &source.place,
                    &target.place,
                    &[
                        "--transfers=64",
                        "--checkers=64",
                        "--s3-no-head",
                        "--size-only",
                    ],
                ),
            };
            let served = || [&source, &target].map(|server| cpu_secs(server.child.id()));
            let before = served();
            let used = measured(command);
            let after = served();
            let [sending, taking] = [0, 1].map(|at| {
                let both = after[at].zip(before[at]);
                both.map_or(f64::NAN, |(after, before)| after - before)
            });
            let arrived = runtime.block_on(target.store().list("")).expect("it lists");
            assert_eq!(arrived.len(), count, "{tool} did not copy everything");
            println!(
                "round {round}: {tool}: {:.1} s, {:.0} objects/s, {:.1} CPU-s, {} MB at most; \
                 the servers: {sending:.1} CPU-s from, {taking:.1} to",
                used.time.as_secs_f64(),
                count as f64 / used.time.as_secs_f64(),
                used.cpu_secs,
                used.memory_kib / 1000
            );
        }
    }
}

async fn fill(store: &S3Store) {
    let objects = [SMALL, LARGE].into_iter().flat_map(|(count, size)| {
        (0..count).map(move |number| {
            let mut bytes = vec![0; size];
            let mut hasher = blake3::Hasher::new();
            hasher.update(&number.to_le_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            Bytes::from(bytes)
        })
    });
    let puts = stream::iter(objects).map(|body| async move {
        let name = blake3::hash(&body).to_hex();
        let key = ObjectKey::new(format!("packs/{}/{name}", &name[..2])).expect("it is a key");
        store.put(&key, body).await.map(drop)
    });
    puts.buffer_unordered(32)
        .try_collect::<()>()
        .await
        .expect("it takes them");
}

/// Copies with this program, or with an earlier build of it.
fn own(before: Option<&str>, from: &str, to: &str) -> Command {
    let this = || std::env::current_exe().expect("it is running");
    let mut command = Command::new(before.map_or_else(this, Into::into));
    command.args(["copy", from, to]);
    command
}

fn rclone(from: &str, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new("rclone");
    // Its HTTP client takes no bundle from this variable and gives up; nothing here is encrypted.
    command.env_remove("AWS_CA_BUNDLE");
    command.args(["sync", "from:backups", "to:backups", "--config=/dev/null"]);
    command
        .args(["--s3-list-version=2", "--s3-no-check-bucket"])
        .args(more);
    for (name, place) in [("FROM", from), ("TO", to)] {
        let parts: Vec<&str> = place.split(' ').collect();
        let set = |what: &str| format!("RCLONE_CONFIG_{name}_{what}");
        command.env(set("TYPE"), "s3").env(set("PROVIDER"), "Other");
        command
            .env(set("ENDPOINT"), parts[0])
            .env(set("REGION"), "eu-central-1");
        command
            .env(set("ACCESS_KEY_ID"), parts[1])
            .env(set("SECRET_ACCESS_KEY"), parts[2]);
    }
    command
}

/// What a command took.
#[derive(Default)]
struct Used {
    time: Duration,
    /// In user mode and in the kernel, as last seen before it ended.
    cpu_secs: f64,
    /// Its largest resident memory.
    memory_kib: u64,
}

fn measured(mut command: Command) -> Used {
    let start = Instant::now();
    let mut child = command.spawn().expect("it is in PATH");
    let mut used = Used::default();
    loop {
        used.memory_kib = high_water(child.id()).unwrap_or(0).max(used.memory_kib);
        used.cpu_secs = cpu_secs(child.id()).unwrap_or(0.0).max(used.cpu_secs);
        if let Some(status) = child.try_wait().expect("it is a child") {
            assert!(status.success(), "{command:?} failed");
            used.time = start.elapsed();
            return used;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn high_water(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads the fields `utime` and `stime` of proc(5), in hundredths of a second on Linux.
fn cpu_secs(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

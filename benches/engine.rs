//! The repository engine on memory stores: what it costs besides the disk.
//!
//! `cargo bench --bench engine`

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use futures::StreamExt as _;
use lifeboat_model::{
    BackupKind, Entry, EntryKind, EntryPath, EnvironmentClass, Metadata, SourceKind, Tier,
};
use lifeboat_repository::{Layout, Repository, Snapshot, SnapshotDraft};
use lifeboat_runtime::{ComputePool, OsEntropy, SystemClock, World};
use lifeboat_storage::MemoryStore;
use tokio::runtime::Runtime;

const MIB: usize = 1 << 20;
const LEN: usize = 128 * MIB;
const PAGE: u32 = 8192;
/// Small files that [`LEN`] bytes make.
const FILES: usize = 32_768;

fn main() {
    divan::main();
}

/// A full backup of one large file of database-like pages.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn full_backup_of_pages(bencher: Bencher) {
    let content = pages(0);
    let runtime = runtime();
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        runtime.block_on(async {
            let repository = repository().await;
            backup(&repository, &content, paged(), BackupKind::Full).await
        })
    });
}

/// An incremental in which one page in a thousand changed.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn incremental_of_pages(bencher: Bencher) {
    let runtime = runtime();
    let repository = runtime.block_on(async {
        let repository = repository().await;
        backup(&repository, &pages(0), paged(), BackupKind::Full).await;
        repository
    });
    let changed = pages(1);
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        runtime.block_on(backup(
            &repository,
            &changed,
            paged(),
            BackupKind::Incremental,
        ))
    });
}

/// A full backup of one large file, cut by content.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn full_backup_of_a_stream(bencher: Bencher) {
    let content = pages(0);
    let runtime = runtime();
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        runtime.block_on(async {
            let repository = repository().await;
            backup(&repository, &content, Layout::Stream, BackupKind::Full).await
        })
    });
}

/// A full backup of many small files: what each of them costs besides its bytes.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn full_backup_of_small_files(bencher: Bencher) {
    let content = pages(0);
    let runtime = runtime();
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        runtime.block_on(async {
            let repository = repository().await;
            backup_files(&repository, &content, BackupKind::Full).await
        })
    });
}

/// An incremental in which none of many files changed: a walk through the parent's manifest.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn incremental_of_unchanged_files(bencher: Bencher) {
    let content = pages(0);
    let runtime = runtime();
    let repository = runtime.block_on(async {
        let repository = repository().await;
        backup_files(&repository, &content, BackupKind::Full).await;
        repository
    });
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        runtime.block_on(backup_files(&repository, &content, BackupKind::Incremental))
    });
}

/// Fetching, opening and checking every chunk of a snapshot.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn restore(bencher: Bencher) {
    let runtime = runtime();
    let (repository, snapshot) = runtime.block_on(async {
        let repository = repository().await;
        let snapshot = backup(&repository, &pages(0), paged(), BackupKind::Full).await;
        (repository, snapshot)
    });
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        runtime.block_on(async {
            let manifest = repository.manifest(&snapshot).await.unwrap();
            let mut pieces = Box::pin(manifest.fetch([(0, 0)]).unwrap());
            while let Some(pieces) = pieces.next().await {
                divan::black_box(pieces.unwrap());
            }
        });
    });
}

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

fn paged() -> Layout {
    Layout::Pages { page_size: PAGE }
}

/// Pages a third of which is noise and the rest compresses, as tables do; `round` changes some.
fn pages(round: u8) -> Vec<u8> {
    let mut bytes = vec![b' '; LEN];
    for (number, page) in bytes.chunks_mut(PAGE as usize).enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&number.to_le_bytes());
        if number % 1000 == 0 {
            hasher.update(&[round]);
        }
        hasher.finalize_xof().fill(&mut page[..PAGE as usize / 3]);
    }
    bytes
}

async fn repository() -> Repository {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let world = World {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy),
        pool: ComputePool::with_threads(threads).unwrap(),
    };
    let store = Arc::new(MemoryStore::new("bench"));
    let (region, location) = ("home".parse().unwrap(), "eu".parse().unwrap());
    Repository::create(store, region, location, world)
        .await
        .unwrap()
        .0
}

async fn backup(
    repository: &Repository,
    content: &[u8],
    layout: Layout,
    kind: BackupKind,
) -> Snapshot {
    let mut writer = repository.snapshot_writer(draft(kind)).await.unwrap();
    let file = entry("file", content.len());
    writer.begin_file(file, layout).await.unwrap();
    for part in content.chunks(MIB) {
        writer.write(part).await.unwrap();
    }
    writer.end_file().await.unwrap();
    writer.commit(jiff::Timestamp::UNIX_EPOCH).await.unwrap()
}

/// Backs the content up as files of equal length.
async fn backup_files(repository: &Repository, content: &[u8], kind: BackupKind) -> Snapshot {
    let mut writer = repository.snapshot_writer(draft(kind)).await.unwrap();
    for (number, part) in content.chunks(LEN / FILES).enumerate() {
        let file = entry(&format!("folder/{number:08}"), part.len());
        if !writer.reuse(&file).await.unwrap() {
            writer.begin_file(file, Layout::Stream).await.unwrap();
            writer.room()[..part.len()].copy_from_slice(part);
            writer.filled(part.len()).await.unwrap();
            writer.end_file().await.unwrap();
        }
    }
    writer.commit(jiff::Timestamp::UNIX_EPOCH).await.unwrap()
}

fn entry(path: &str, len: usize) -> Entry {
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind: EntryKind::File { size: len as u64 },
        metadata: Metadata::default(),
    }
}

fn draft(kind: BackupKind) -> SnapshotDraft {
    SnapshotDraft {
        environment: "prod".parse().unwrap(),
        class: EnvironmentClass::Production,
        source: "db".parse().unwrap(),
        source_kind: SourceKind::Sqlite,
        tier: Tier::Daily,
        kind,
        host: String::new(),
        program: String::new(),
        masked: false,
    }
}

//! What a mounted snapshot answers, asked without a kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_model::{
    BackupKind, Entry, EntryKind, EntryPath, EnvironmentClass, Metadata, SourceKind, Span, Tier,
};
use lifeboat_mount::{MountError, MountTree, NodeKind};
use lifeboat_repository::{Layout, Repository, Snapshot, SnapshotDraft};
use lifeboat_runtime::{ComputePool, ManualClock, SeededEntropy, World};
use lifeboat_storage::MemoryStore;

/// A repository on a memory store, with all keys.
struct Bench {
    repository: Repository,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-21T03:04:05Z".parse().unwrap()));
        let world = World {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            pool: ComputePool::inline(),
        };
        let store = Arc::new(MemoryStore::new("home"));
        let (region, location) = ("home".parse().unwrap(), "eu".parse().unwrap());
        let (repository, _) = Repository::create(store, region, location, world)
            .await
            .unwrap();
        Self { repository, clock }
    }

    /// Backs up entries, of which files get these bytes.
    async fn backup(
        &self,
        source: &str,
        entries: &[(&str, EntryKind)],
        bytes: &BTreeMap<&str, Vec<u8>>,
    ) -> Snapshot {
        let draft = SnapshotDraft {
            environment: "prod".parse().unwrap(),
            class: EnvironmentClass::Production,
            source: source.parse().unwrap(),
            source_kind: SourceKind::Files,
            tier: Tier::Daily,
            kind: BackupKind::Full,
            host: "host".to_owned(),
            program: "test".to_owned(),
            masked: false,
        };
        let mut writer = self.repository.snapshot_writer(draft).await.unwrap();
        for (path, kind) in entries {
            let entry = Entry {
                path: EntryPath::new(*path).unwrap(),
                kind: kind.clone(),
                metadata: Metadata {
                    mode: 0o640,
                    uid: 7,
                    mtime_ns: 1_000_000_007,
                    xattrs: vec![(b"user.note".to_vec(), path.as_bytes().to_vec())],
                    ..Metadata::default()
                },
            };
            if let EntryKind::File { .. } = kind {
                writer.begin_file(entry, Layout::Stream).await.unwrap();
                writer.write(&bytes[path]).await.unwrap();
                writer.end_file().await.unwrap();
            } else {
                writer.add(entry).await.unwrap();
            }
        }
        self.clock.advance(std::time::Duration::from_secs(60));
        let instant = self.repository_now();
        writer.commit(instant).await.unwrap()
    }

    fn repository_now(&self) -> jiff::Timestamp {
        use lifeboat_runtime::Clock as _;
        self.clock.now()
    }
}

const ROOT: u64 = 1;

/// A source with every kind of entry.
fn entries() -> Vec<(&'static str, EntryKind)> {
    let first = EntryPath::new("a/file").unwrap();
    vec![
        ("", EntryKind::Directory),
        ("a", EntryKind::Directory),
        ("a/file", EntryKind::File { size: 300_000 }),
        (
            "a/link",
            EntryKind::Symlink {
                target: b"../z".to_vec(),
            },
        ),
        ("a/pipe", EntryKind::Fifo),
        // Not below `a`, though its path begins so, and without an entry for its folder.
        ("a.d/x/deep", EntryKind::File { size: 4 }),
        ("again", EntryKind::Hardlink { first }),
        ("z", EntryKind::File { size: 0 }),
    ]
}

fn contents() -> BTreeMap<&'static str, Vec<u8>> {
    let bytes = (0..300_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    BTreeMap::from([
        ("a/file", bytes),
        ("a.d/x/deep", b"deep".to_vec()),
        ("z", Vec::new()),
    ])
}

async fn names(tree: &MountTree, folder: u64) -> Vec<String> {
    let items = tree.list(folder, 0).await.unwrap();
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    items.iter().map(|item| text(&item.name)).collect()
}

/// Follows a path from the topmost folder.
async fn find(tree: &MountTree, path: &str) -> Result<u64, MountError> {
    let mut inode = ROOT;
    for part in path.split('/') {
        inode = tree.lookup(inode, part.as_bytes()).await?.0;
    }
    Ok(inode)
}

#[tokio::test]
async fn a_snapshot_is_a_folder_with_all_that_the_source_held() {
    let bench = Bench::new().await;
    let snapshot = bench.backup("files", &entries(), &contents()).await;
    let browser = bench.repository.browse().await.unwrap();
    let tree = MountTree::of_snapshot(browser, snapshot).await.unwrap();
    assert_eq!(names(&tree, ROOT).await, ["a", "a.d", "again", "z"]);
    let a = find(&tree, "a").await.unwrap();
    assert_eq!(names(&tree, a).await, ["file", "link", "pipe"]);
    assert_eq!(tree.list(a, 2).await.unwrap().len(), 1);
    assert_eq!(tree.parent(a).await.unwrap(), ROOT);
    let deep = find(&tree, "a.d/x/deep").await.unwrap();
    let implied = tree.parent(deep).await.unwrap();
    assert_eq!(
        tree.attributes(implied).await.unwrap().kind,
        NodeKind::Folder
    );

    let file = find(&tree, "a/file").await.unwrap();
    let attributes = tree.attributes(file).await.unwrap();
    assert_eq!(
        (
            attributes.size,
            attributes.mode,
            attributes.uid,
            attributes.mtime_ns
        ),
        (300_000, 0o640, 7, 1_000_000_007)
    );
    // Both names are one file.
    assert_eq!(find(&tree, "again").await.unwrap(), file);
    assert_eq!(attributes.names, 2);
    let link = find(&tree, "a/link").await.unwrap();
    assert_eq!(tree.link(link).await.unwrap(), b"../z");
    assert_eq!(tree.attributes(link).await.unwrap().size, 4);
    let xattrs = tree.xattrs(file).await.unwrap();
    assert_eq!(xattrs, [(b"user.note".to_vec(), b"a/file".to_vec())]);

    for missing in ["b", "a/x", "z/x", "a.d/x/deep/er"] {
        assert!(find(&tree, missing).await.is_err(), "{missing}");
    }
    for number in [0, 100, 1 << 32 | 1, u64::MAX] {
        assert!(tree.attributes(number).await.is_err(), "{number}");
        assert!(tree.open(number).await.is_err(), "{number}");
    }
}

#[tokio::test]
async fn any_range_of_a_file_is_read_until_it_is_closed() {
    let bench = Bench::new().await;
    let snapshot = bench.backup("files", &entries(), &contents()).await;
    let browser = bench.repository.browse().await.unwrap();
    let tree = MountTree::of_snapshot(browser, snapshot).await.unwrap();
    let file = find(&tree, "again").await.unwrap();
    let handle = tree.open(file).await.unwrap();
    let whole = &contents()["a/file"];
    for span in [
        Span { offset: 0, len: 10 },
        Span {
            offset: 131_071,
            len: 131_072,
        },
        Span {
            offset: 299_990,
            len: 4096,
        },
        Span {
            offset: 300_000,
            len: 1,
        },
        Span {
            offset: u64::MAX,
            len: 1,
        },
    ] {
        let (start, end) = (
            span.offset.min(300_000),
            (span.offset.saturating_add(span.len)).min(300_000),
        );
        let read = tree
            .read(handle, span.offset, span.len as usize)
            .await
            .unwrap();
        assert!(read == whole[start as usize..end as usize], "{span:?}");
    }
    tree.close(handle);
    assert!(tree.read(handle, 0, 1).await.is_err());
}

#[tokio::test]
async fn an_environment_is_a_folder_of_sources_with_their_snapshots_and_the_latest() {
    let bench = Bench::new().await;
    let mut snapshots = Vec::new();
    for round in 0..6_u8 {
        let bytes = BTreeMap::from([("f", vec![round; 10])]);
        let file = [("f", EntryKind::File { size: 10 })];
        snapshots.push(bench.backup("logs", &file, &bytes).await);
    }
    snapshots.push(bench.backup("files", &entries(), &contents()).await);
    let browser = bench.repository.browse().await.unwrap();
    let tree = MountTree::of_environment(browser, snapshots.clone()).unwrap();
    assert_eq!(names(&tree, ROOT).await, ["files", "logs"]);
    let logs = find(&tree, "logs").await.unwrap();
    let folders = names(&tree, logs).await;
    assert_eq!(folders.len(), 7);
    assert_eq!(folders[6], "latest");
    assert!(folders[0].starts_with("20261121T030505."), "{folders:?}");
    let latest = find(&tree, "logs/latest").await.unwrap();
    assert_eq!(
        tree.attributes(latest).await.unwrap().kind,
        NodeKind::Symlink
    );
    assert_eq!(tree.link(latest).await.unwrap(), folders[5].as_bytes());
    // More snapshots than are kept: numbers stay the same when one is loaded again.
    let mut numbers = Vec::new();
    for _ in 0..2 {
        for (round, folder) in folders[..6].iter().enumerate() {
            let inode = find(&tree, &format!("logs/{folder}/f")).await.unwrap();
            let handle = tree.open(inode).await.unwrap();
            assert_eq!(tree.read(handle, 0, 99).await.unwrap(), [round as u8; 10]);
            tree.close(handle);
            numbers.push(inode);
        }
    }
    assert_eq!(numbers[..6], numbers[6..]);
    let folder = tree.parent(numbers[0]).await.unwrap();
    assert_eq!(tree.parent(folder).await.unwrap(), logs);
    assert_eq!(tree.parent(logs).await.unwrap(), ROOT);
}

#[tokio::test]
async fn a_hard_link_to_nothing_is_damage() {
    let bench = Bench::new().await;
    let first = EntryPath::new("gone").unwrap();
    let broken = [("link", EntryKind::Hardlink { first })];
    let snapshot = bench.backup("files", &broken, &BTreeMap::new()).await;
    let browser = bench.repository.browse().await.unwrap();
    let error = MountTree::of_snapshot(browser, snapshot)
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("which a hard link names"),
        "{error}"
    );
}

//! Pruning: what goes, what stays, and what a death in the middle leaves.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_model::{BackupKind, ErrorKind};
use lifeboat_repository::layout::{INDEX, LEASES, PACKS, TOMBSTONES};
use lifeboat_repository::{
    Lease, PruneOptions, PruneReport, Repository, RepositoryError, Role, RunKind, Snapshot,
    VerifyLevel,
};
use lifeboat_storage::{
    Calls, Fault, FaultPlan, FaultyStore, MemoryStore, ObjectStore, Op, RecordedStore,
};

use crate::support::{Bench, PAGE, Tree, draft, noise};

fn delete(snapshots: &[&Snapshot]) -> PruneOptions {
    PruneOptions {
        delete: snapshots.iter().map(|snapshot| snapshot.name()).collect(),
        host: "pruner".to_owned(),
        ..PruneOptions::default()
    }
}

async fn count(store: &dyn ObjectStore, prefix: &str) -> usize {
    store.list(prefix).await.unwrap().len()
}

async fn bytes_of_packs(store: &dyn ObjectStore) -> u64 {
    let packs = store.list(PACKS).await.unwrap();
    packs.iter().map(|meta| meta.size).sum()
}

/// A small tree whose large file has a frame of its own.
fn tree(seed: u64) -> Tree {
    let mut tree = Tree::new();
    tree.insert("a/tiny".to_owned(), format!("tiny {seed}").into_bytes());
    tree.insert("b/large.db".to_owned(), noise(seed, 256 * PAGE));
    tree.insert("shop.db".to_owned(), noise(seed + 100, 60 * PAGE));
    tree
}

/// A repository with one snapshot to delete and one to keep, which share some files.
async fn two_snapshots(memory: &Arc<MemoryStore>) -> (Bench, Snapshot, Snapshot, Tree) {
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let old = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let mut files = tree(1);
    files.insert("b/large.db".to_owned(), noise(7, 256 * PAGE));
    let new = bench.backup(&files, BackupKind::Incremental).await.unwrap();
    (bench, old, new, files)
}

async fn assert_whole(bench: &Bench, snapshot: &Snapshot, files: &Tree, context: &str) {
    let restored = bench.restore(snapshot).await;
    let restored = restored.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(restored == *files, "{context}: other bytes came back");
    let reader = bench.open(Role::Reader).await.unwrap();
    let report = reader.verify(VerifyLevel::Full).await.unwrap();
    assert_eq!(report.damage, [], "{context}");
}

#[tokio::test]
async fn a_prune_frees_what_only_deleted_snapshots_needed() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, old, new, files) = two_snapshots(&memory).await;
    let before = bytes_of_packs(&*memory).await;
    let repository = bench.open(Role::Pruner).await.unwrap();
    let report = repository.prune(&delete(&[&old])).await.unwrap();
    assert_eq!(report.snapshots, 1);
    // The old large file went, and nothing else: frames that stay were moved, sealed as they were.
    let freed = before - bytes_of_packs(&*memory).await;
    assert!(
        (1_000_000..1_100_000).contains(&freed),
        "{freed} bytes freed"
    );
    assert!(report.repacked > 0, "{report:?}");
    assert_whole(&bench, &new, &files, "after the prune").await;
    assert!(bench.restore(&old).await.is_err());
    for prefix in [LEASES, TOMBSTONES] {
        let left = memory.list(prefix).await.unwrap();
        assert_eq!(left, [], "left behind");
    }
    let again = repository.prune(&PruneOptions::default()).await.unwrap();
    assert_eq!(again, PruneReport::default(), "nothing is left to do");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_what_would_go() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, old, _, _) = two_snapshots(&memory).await;
    let recorded = Arc::new(RecordedStore::new(memory.clone()));
    let bench = Bench {
        store: recorded.clone(),
        ..bench
    };
    let repository = bench.open(Role::Pruner).await.unwrap();
    let options = delete(&[&old]);
    let dry_run = PruneOptions {
        dry_run: true,
        ..options.clone()
    };
    let foretold = repository.prune(&dry_run).await.unwrap();
    assert_eq!(recorded.writes(), []);
    let done = repository.prune(&options).await.unwrap();
    assert_eq!(
        (
            foretold.snapshots,
            foretold.packs,
            foretold.bytes,
            foretold.repacked
        ),
        (done.snapshots, done.packs, done.bytes, done.repacked)
    );
}

#[tokio::test]
async fn interrupted_prune_loses_no_snapshot_and_hinders_no_later_one() {
    for (name, plan) in [
        (
            "dies before",
            FaultPlan::crash_before as fn(u64) -> FaultPlan,
        ),
        ("dies after", FaultPlan::crash_after),
        ("loses the reply of", |call| {
            FaultPlan::none().at(Calls::Any, call, Fault::LoseReply)
        }),
    ] {
        for call in 1.. {
            let memory = Arc::new(MemoryStore::new("home"));
            let (bench, old, new, files) = two_snapshots(&memory).await;
            let faulty = Arc::new(FaultyStore::new(memory.clone(), plan(call)));
            let cut = Bench {
                store: faulty.clone(),
                ..bench
            };
            if let Ok(repository) = cut.open(Role::Pruner).await {
                let _ = repository.prune(&delete(&[&old])).await;
            }
            let bench = Bench {
                store: memory.clone(),
                ..cut
            };
            let context = format!("the prune {name} call {call}");
            assert_whole(&bench, &new, &files, &context).await;
            bench.clock.advance(Duration::from_secs(2 * 3600));
            let repository = bench.open(Role::Pruner).await.unwrap();
            repository.prune(&delete(&[&old])).await.unwrap();
            assert_whole(&bench, &new, &files, &context).await;
            let packs = count(&*memory, PACKS).await;
            let named = lifeboat_repository::IndexCatalog::read(&*memory)
                .await
                .unwrap();
            assert_eq!(packs, named.packs().len(), "{context}: garbage is left");
            assert_eq!(count(&*memory, TOMBSTONES).await, 0, "{context}");
            if faulty.faults() == 0 {
                assert!(call > 20, "{name}: ended too early to have tested anything");
                break;
            }
        }
    }
}

/// A writer that has stored everything and is about to commit.
async fn writer_about_to_commit(
    bench: &Bench,
    files: &Tree,
) -> (lifeboat_repository::SnapshotWriter, Repository) {
    use lifeboat_model::{EntryKind, EntryPath};
    let repository = bench.open(Role::Writer).await.unwrap();
    let mut writer = repository
        .snapshot_writer(draft(BackupKind::Incremental))
        .await
        .unwrap();
    for (path, bytes) in files {
        let size = bytes.len() as u64;
        let path = EntryPath::new(path.as_str()).unwrap();
        let entry = crate::support::entry(path, EntryKind::File { size });
        writer
            .begin_file(entry, lifeboat_repository::Layout::Stream)
            .await
            .unwrap();
        writer.write(bytes).await.unwrap();
        writer.end_file().await.unwrap();
    }
    (writer, repository)
}

#[tokio::test]
async fn a_writer_that_slept_through_a_prune_commits_something_whole_or_nothing() {
    let mut fenced = 0;
    for call in 1.. {
        let memory = Arc::new(MemoryStore::new("home"));
        let (bench, old, _, _) = two_snapshots(&memory).await;
        // It builds on what only the old snapshot needs.
        let (writer, _) = writer_about_to_commit(&bench, &tree(1)).await;
        bench.clock.advance(Duration::from_secs(2 * 3600));
        let faulty = Arc::new(FaultyStore::new(
            memory.clone(),
            FaultPlan::crash_before(call),
        ));
        let cut = Bench {
            store: faulty.clone(),
            ..bench
        };
        if let Ok(repository) = cut.open(Role::Pruner).await {
            let _ = repository.prune(&delete(&[&old])).await;
        }
        let bench = Bench {
            store: memory.clone(),
            ..cut
        };
        let context = format!("the prune died before call {call}");
        match writer.commit(bench.world.clock.now()).await {
            Ok(snapshot) => assert_whole(&bench, &snapshot, &tree(1), &context).await,
            Err(RepositoryError::Fenced { .. }) => fenced += 1,
            Err(error) => panic!("{context}: {error}"),
        }
        if faulty.faults() == 0 {
            break;
        }
    }
    assert!(fenced > 5, "the writer was fenced {fenced} times only");
}

#[tokio::test]
async fn what_a_writer_wrote_down_before_it_died_is_committed_for_it() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, ..) = two_snapshots(&memory).await;
    // The record is put once; it dies there.
    let plan =
        |call| FaultPlan::none().since(Calls::Of(Op::Put), call, Fault::Fail(ErrorKind::Failed));
    let mut committed_for = 0;
    for call in 1..30 {
        let faulty = Arc::new(FaultyStore::new(memory.clone(), plan(call)));
        let dying = Bench::with_store(&bench, faulty.clone());
        let before = count(&*memory, "snapshots/").await;
        let failed = dying.backup(&tree(call), BackupKind::Full).await.is_err();
        let there = count(&*memory, "snapshots/").await;
        bench.clock.advance(Duration::from_secs(2 * 3600));
        let repository = bench.open(Role::Pruner).await.unwrap();
        let report = repository.prune(&PruneOptions::default()).await.unwrap();
        if !failed {
            break;
        }
        assert_eq!(there, before, "it died before its record was there");
        assert_eq!(report.fenced.len(), usize::from(call > 1));
        committed_for += count(&*memory, "snapshots/").await - before;
    }
    assert_eq!(
        committed_for, 1,
        "once, it had written down what it was about to commit"
    );
    let reader = bench.open(Role::Reader).await.unwrap();
    for snapshot in reader.snapshots(None, None).await.unwrap() {
        bench.restore(&snapshot).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_a_session_may_refer_to_it() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, old, new, files) = two_snapshots(&memory).await;
    let (writer, _) = writer_about_to_commit(&bench, &tree(1)).await;
    let repository = bench.open(Role::Pruner).await.unwrap();
    let report = repository.prune(&delete(&[&old])).await.unwrap();
    assert_eq!((report.snapshots, report.packs), (1, 0));
    assert!(
        report.packs_waiting > 0 && report.waiting_for.len() == 1,
        "{report:?}"
    );
    let snapshot = writer.commit(bench.world.clock.now()).await.unwrap();
    let report = repository.prune(&PruneOptions::default()).await.unwrap();
    assert!(report.rescued > 0, "{report:?}");
    assert_whole(&bench, &snapshot, &tree(1), "the one that was waited for").await;
    assert_whole(&bench, &new, &files, "the one before").await;
}

#[tokio::test]
async fn a_second_prune_is_told_of_the_first() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, ..) = two_snapshots(&memory).await;
    let other = Lease::take(memory.clone(), &bench.world, RunKind::Prune, "other").await;
    let repository = bench.open(Role::Pruner).await.unwrap();
    let error = repository
        .prune(&PruneOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, RepositoryError::PruneRunning { ref host, .. } if host == "other"));
    other.unwrap().release().await.unwrap();
    repository.prune(&PruneOptions::default()).await.unwrap();
}

#[tokio::test]
async fn locked_objects_are_reported_and_stop_nothing() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, old, new, files) = two_snapshots(&memory).await;
    let locked = Fault::Fail(ErrorKind::Denied);
    let plan = FaultPlan::none().since(Calls::Of(Op::Delete), 1, locked);
    let bench = Bench {
        store: Arc::new(FaultyStore::new(memory.clone(), plan)),
        ..bench
    };
    let repository = bench.open(Role::Pruner).await.unwrap();
    let error = repository.prune(&delete(&[&old])).await;
    // The prune's own lease cannot be removed either, but its work was done as far as it could be.
    assert!(error.is_ok_and(|report| !report.locked.is_empty() && report.packs == 0));
    let bench = Bench {
        store: memory.clone(),
        ..bench
    };
    assert_whole(&bench, &new, &files, "locked").await;
    assert_eq!(bench.restore(&old).await.unwrap(), tree(1));
}

#[tokio::test]
async fn a_damaged_snapshot_stops_a_prune_before_anything_is_marked() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, old, new, _) = two_snapshots(&memory).await;
    let record = memory.get(&new.name().key()).await.unwrap();
    memory.tamper(&new.name().key(), record.slice(..record.len() / 2));
    let before = count(&*memory, PACKS).await;
    let repository = bench.open(Role::Pruner).await.unwrap();
    let error = repository.prune(&delete(&[&old])).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Corrupt { .. }), "{error}");
    assert_eq!(count(&*memory, PACKS).await, before);
    assert_eq!(count(&*memory, TOMBSTONES).await, 0);
}

#[tokio::test]
async fn many_small_packs_and_index_objects_are_joined() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let mut snapshots = Vec::new();
    for round in 0..20 {
        let mut files = Tree::new();
        files.insert("same".to_owned(), noise(1, 500));
        files.insert("other".to_owned(), noise(round + 2, 500));
        let snapshot = bench.backup(&files, BackupKind::Incremental).await.unwrap();
        snapshots.push((snapshot, files));
    }
    let repository = bench.open(Role::Pruner).await.unwrap();
    let (packs, index) = (count(&*memory, PACKS).await, count(&*memory, INDEX).await);
    repository.prune(&PruneOptions::default()).await.unwrap();
    assert!(packs >= 40 && count(&*memory, PACKS).await == 2);
    assert!(index >= 20 && count(&*memory, INDEX).await == 1);
    // Records that list index objects that are gone are served by the one that stands in for them.
    let report = repository.verify(VerifyLevel::Quick).await.unwrap();
    assert_eq!(report.damage, []);
    for (snapshot, files) in &snapshots {
        assert_eq!(bench.restore(snapshot).await.unwrap(), *files);
    }
    // Once more, with a generation in between.
    let first = &snapshots[0].0;
    repository.prune(&delete(&[first])).await.unwrap();
    let mut files = snapshots[5].1.clone();
    files.insert("new".to_owned(), noise(99, 500));
    let last = bench.backup(&files, BackupKind::Full).await.unwrap();
    repository.prune(&PruneOptions::default()).await.unwrap();
    assert_whole(&bench, &last, &files, "the newest").await;
    assert_whole(&bench, &snapshots[1].0, &snapshots[1].1, "the oldest left").await;
}

/// Puts a tombstone that names everything, as whoever can write to the store could.
async fn forge_tombstone(store: &dyn ObjectStore, packs: bool) {
    let names = async |prefix| -> Vec<String> {
        let listed = store.list(prefix).await.unwrap();
        listed
            .iter()
            .map(|meta| meta.key.file_name().to_owned())
            .collect()
    };
    let forged = serde_json::json!({
        "tombstone": "0102030405060708",
        "marked": "2026-11-21T00:00:00Z",
        "index": names(INDEX).await,
        "packs": if packs { names(PACKS).await } else { Vec::new() },
    });
    let key = lifeboat_storage::ObjectKey::new("tombstones/0102030405060708").unwrap();
    store.put(&key, forged.to_string().into()).await.unwrap();
}

#[tokio::test]
async fn a_forged_tombstone_deletes_nothing_that_a_snapshot_needs() {
    for packs in [false, true] {
        let memory = Arc::new(MemoryStore::new("home"));
        let (bench, old, new, files) = two_snapshots(&memory).await;
        forge_tombstone(&*memory, packs).await;
        let repository = bench.open(Role::Pruner).await.unwrap();
        let report = repository.prune(&PruneOptions::default()).await.unwrap();
        assert!(report.index_objects > 0, "it was acted on: {report:?}");
        assert_whole(&bench, &new, &files, "the newer one").await;
        assert_whole(&bench, &old, &tree(1), "the older one").await;
    }
}

#[tokio::test]
async fn a_replication_counts_on_nothing_that_a_prune_of_its_target_has_marked() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, ..) = two_snapshots(&memory).await;
    let target = MemoryStore::new("target");
    for meta in memory.list("").await.unwrap() {
        let bytes = memory.get(&meta.key).await.unwrap();
        target.put(&meta.key, bytes).await.unwrap();
    }
    lifeboat_repository::Replication::plan(&*memory, &target)
        .await
        .unwrap();
    forge_tombstone(&target, true).await;
    let error = lifeboat_repository::Replication::plan(&*memory, &target)
        .await
        .unwrap_err();
    assert!(
        matches!(error, RepositoryError::PruneUnfinished { .. }),
        "{error}"
    );
    drop(bench);
}

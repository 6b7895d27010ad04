//! Snapshots that need a stretch of the log: receipts, verification, repair, prune and copies.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_model::{
    BackupKind, Diagnose as _, Entry, EntryKind, EntryPath, ErrorKind, Lsn, RegionName, Timeline,
    WalObject, WalRange,
};
use lifeboat_repository::layout::{SNAPSHOTS, TOMBSTONES, WAL};
use lifeboat_repository::{
    CopyLimits, ObjectClass, PruneOptions, Receipt, Replication, Repository, Role, RunKind,
    Snapshot, VerifyLevel, WalCopied,
};
use lifeboat_storage::{
    Call, Calls, Fault, FaultPlan, FaultyStore, MemoryStore, ObjectKey, ObjectStore, RecordedStore,
};

use crate::support::{Bench, draft as snapshot_draft, entry};
use crate::wal::{SIZE, content, draft, place, put};

const LEVELS: [VerifyLevel; 3] = [
    VerifyLevel::Quick,
    VerifyLevel::Structure,
    VerifyLevel::Full,
];

fn range(start: u64, stop: u64, embedded: bool) -> WalRange {
    let position = |quarters: u64| Lsn::new(quarters * u64::from(SIZE.bytes()) / 4);
    WalRange {
        system: place().system,
        timeline: Timeline::new(1),
        start: position(start * 4 + 1),
        stop: position(stop * 4 + 1),
        segment_size: SIZE,
        embedded,
    }
}

async fn push(bench: &Bench, numbers: Range<u64>) {
    let writer = bench.open(Role::Writer).await.unwrap();
    for number in numbers {
        put(&writer, &draft(number, None), content(number))
            .await
            .unwrap();
    }
}

async fn push_piece(bench: &Bench, number: u64, piece: Range<u32>) {
    let writer = bench.open(Role::Writer).await.unwrap();
    let bytes = content(number)[piece.start as usize..piece.end as usize].to_vec();
    put(&writer, &draft(number, Some(piece)), bytes)
        .await
        .unwrap();
}

async fn back_up(bench: &Bench, range: WalRange) -> Snapshot {
    let writer = bench.open(Role::Writer).await.unwrap();
    let mut writer = writer
        .snapshot_writer(snapshot_draft(BackupKind::Full))
        .await
        .unwrap();
    let root: Entry = entry(EntryPath::root(), EntryKind::Directory);
    writer.add(root).await.unwrap();
    writer.set_wal(range);
    bench.clock.advance(std::time::Duration::from_secs(60));
    writer.commit(bench.world.clock.now()).await.unwrap()
}

/// Segments 1 to 6, and a snapshot that needs those from 2 on, and the first quarter of 4.
async fn archive(memory: &Arc<MemoryStore>) -> (Bench, Snapshot) {
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    push(&bench, 1..7).await;
    let snapshot = back_up(&bench, range(2, 4, false)).await;
    (bench, snapshot)
}

fn class_of(call: &Call) -> ObjectClass {
    ObjectClass::of(&ObjectKey::new(call.key.as_str()).unwrap())
}

async fn keys_of(store: &dyn ObjectStore, number: u64) -> Vec<ObjectKey> {
    let listing = Repository::wal_listing(store, &place()).await.unwrap();
    let objects = listing.of(draft(number, None).file).iter();
    objects.map(|object| place().key(object)).collect()
}

async fn numbers(store: &dyn ObjectStore) -> Vec<u32> {
    let listing = Repository::wal_listing(store, &place()).await.unwrap();
    let segments = listing.objects().iter().filter_map(WalObject::segment);
    segments.map(|segment| segment.part).collect()
}

#[tokio::test]
async fn a_snapshot_keeps_the_stretch_of_the_log_that_it_was_given() {
    let bench = Bench::in_memory().await;
    push(&bench, 2..5).await;
    for range in [range(2, 4, false), range(7, 7, true)] {
        let snapshot = back_up(&bench, range).await;
        assert_eq!(snapshot.wal, Some(range));
        let auditor = bench.open(Role::Auditor).await.unwrap();
        assert_eq!(
            auditor.snapshot(&snapshot.name()).await.unwrap().wal,
            Some(range)
        );
    }
    let writer = bench.open(Role::Writer).await.unwrap();
    let mut writer = writer
        .snapshot_writer(snapshot_draft(BackupKind::Full))
        .await
        .unwrap();
    let backwards = WalRange {
        stop: Lsn::new(1),
        ..range(2, 4, false)
    };
    writer.set_wal(backwards);
    let refused = writer.commit(bench.world.clock.now()).await.unwrap_err();
    assert!(refused.to_string().contains("0/240000"), "{refused}");
}

async fn copy_all(from: &MemoryStore, to: &MemoryStore) -> Replication {
    let plan = Replication::plan(from, to).await.unwrap();
    plan.copy_objects(from, to, &CopyLimits::default(), |_| {})
        .await
        .unwrap();
    for meta in from.list(SNAPSHOTS).await.unwrap() {
        to.put(&meta.key, from.get(&meta.key).await.unwrap())
            .await
            .unwrap();
    }
    plan
}

#[tokio::test]
async fn no_snapshot_is_committed_that_refers_to_a_part_of_the_log_that_is_missing_or_marked() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, _) = archive(&memory).await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let commit = async |wal: WalRange| {
        let mut writer = writer
            .snapshot_writer(snapshot_draft(BackupKind::Full))
            .await
            .unwrap();
        writer.set_wal(wal);
        writer.commit(bench.world.clock.now()).await
    };
    let refused = commit(range(5, 7, false)).await.unwrap_err();
    assert!(
        refused.to_string().contains("`000000010000000000000007`"),
        "{refused}"
    );
    push_piece(&bench, 7, 0..SIZE.bytes() / 4 + 1).await;
    commit(range(5, 7, false)).await.unwrap();
    let key = keys_of(&*memory, 1).await.remove(0);
    let text = format!(
        "{{\"tombstone\":\"0102030405060708\",\"marked\":\"2026-11-21T00:00:00Z\",\"index\":[],\
         \"packs\":[],\"wal\":[\"{key}\"]}}"
    );
    let tombstone = ObjectKey::new("tombstones/0102030405060708").unwrap();
    memory.tamper(&tombstone, text.into());
    let refused = commit(range(1, 2, false)).await.unwrap_err();
    assert!(
        refused.to_string().contains("`000000010000000000000001`"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_region_gets_a_receipt_only_with_all_of_the_log_that_a_snapshot_needs() {
    let (memory, target) = (Arc::new(MemoryStore::new("home")), MemoryStore::new("away"));
    let (bench, snapshot) = archive(&memory).await;
    let plan = copy_all(&memory, &target).await;
    assert_eq!(
        target.list(WAL).await.unwrap(),
        memory.list(WAL).await.unwrap()
    );
    let (away, now): (RegionName, _) = ("away".parse().unwrap(), bench.world.clock.now());
    for number in [2, 3, 4] {
        let key = keys_of(&target, number).await.remove(0);
        target.delete(&key).await.unwrap();
        let refused = plan
            .write_receipts(&*memory, &target, &away, now)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert!(
            refused.to_string().contains(&format!("0000000{number}")),
            "{refused}"
        );
        assert_eq!(Receipt::list(&target, &away).await.unwrap(), []);
        target
            .put(&key, memory.get(&key).await.unwrap())
            .await
            .unwrap();
    }
    // Of the last one the first quarter will do, and what lies outside of the stretch is not asked for.
    for number in [1, 4, 5, 6] {
        target
            .delete(&keys_of(&target, number).await[0])
            .await
            .unwrap();
    }
    push_piece(&bench, 4, 0..SIZE.bytes() / 4).await;
    let piece = keys_of(&*memory, 4).await.remove(1);
    target
        .put(&piece, memory.get(&piece).await.unwrap())
        .await
        .unwrap();
    let written = plan
        .write_receipts(&*memory, &target, &away, now)
        .await
        .unwrap();
    assert_eq!(written, [snapshot.id]);
    assert_eq!(
        Receipt::list(&target, &away).await.unwrap()[0].wal_objects,
        3
    );
}

#[tokio::test]
async fn the_log_is_copied_before_the_records_that_need_it_and_no_piece_that_is_held_otherwise() {
    let (memory, target) = (Arc::new(MemoryStore::new("home")), MemoryStore::new("away"));
    let (bench, _) = archive(&memory).await;
    for (number, piece) in [(6, 0..8192), (7, 0..4096), (7, 0..8192), (7, 8192..9000)] {
        push_piece(&bench, number, piece).await;
    }
    let recorded = RecordedStore::new(target);
    let plan = Replication::plan(&*memory, &recorded).await.unwrap();
    plan.copy_objects(&*memory, &recorded, &CopyLimits::default(), |_| {})
        .await
        .unwrap();
    let classes: Vec<ObjectClass> = recorded.writes().iter().map(class_of).collect();
    assert!(classes.is_sorted(), "{classes:?}");
    assert!(classes.contains(&ObjectClass::Wal) && !classes.contains(&ObjectClass::Snapshot));
    assert_eq!(numbers(&recorded).await, [1, 2, 3, 4, 5, 6, 7, 7]);
}

#[tokio::test]
async fn new_parts_of_the_log_are_copied_alone_and_once() {
    let (memory, target) = (Arc::new(MemoryStore::new("home")), MemoryStore::new("away"));
    let (bench, _) = archive(&memory).await;
    push_piece(&bench, 7, 0..8192).await;
    let recorded = RecordedStore::new(target);
    let copy = async |wanted: fn(&WalObject) -> bool| {
        Repository::copy_wal(&*memory, &recorded, &place(), wanted)
            .await
            .unwrap()
    };
    let younger = |object: &WalObject| object.segment().is_some_and(|segment| segment.part > 2);
    assert_eq!(copy(younger).await.objects, 5);
    assert_eq!(numbers(&recorded).await, [3, 4, 5, 6, 7]);
    assert_eq!(copy(younger).await, WalCopied::default());
    push(&bench, 7..8).await;
    let last = copy(|_| true).await;
    assert_eq!(last.objects, 3, "segments 1, 2 and 7");
    push_piece(&bench, 7, 8192..9000).await;
    assert_eq!(
        copy(|_| true).await,
        WalCopied::default(),
        "the whole segment is there"
    );
    let of_wal = |call: &Call| class_of(call) == ObjectClass::Wal;
    assert!(recorded.writes().iter().all(of_wal));
}

#[tokio::test]
async fn every_level_finds_what_it_looks_at_and_names_the_snapshots_concerned() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, snapshot) = archive(&memory).await;
    let reader = bench.open(Role::Reader).await.unwrap();
    let report = reader.verify(VerifyLevel::Full).await.unwrap();
    assert_eq!((report.damage, report.wal_opened), (vec![], 6));
    for (number, needed) in [(3, true), (6, false)] {
        let key = keys_of(&*memory, number).await.remove(0);
        let good = memory.get(&key).await.unwrap();
        let mut flipped = good.to_vec();
        flipped[good.len() - 100] ^= 1;
        let cut = good.slice(..good.len() - 1);
        // What is missing is missed only where a snapshot needs it.
        for (bad, found) in [
            (None, [needed; 3]),
            (Some(cut), [false, true, true]),
            (Some(Bytes::from(flipped)), [false, false, true]),
        ] {
            match bad {
                None => memory.delete(&key).await.unwrap(),
                Some(bad) => memory.tamper(&key, bad),
            }
            for (level, found) in LEVELS.into_iter().zip(found) {
                let report = reader.verify(level).await.unwrap();
                assert_eq!(!report.damage.is_empty(), found, "{number} {level:?}");
                let affected = report.affected.contains_key(&snapshot.id);
                assert_eq!(affected, found && needed, "{number} {level:?}");
            }
            memory.tamper(&key, good.clone());
        }
    }
}

#[tokio::test]
async fn a_conflict_and_a_foreign_name_are_damage_at_every_level() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, snapshot) = archive(&memory).await;
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let foreign = ObjectKey::new("wal/prod/shop/7/00000001/00000000/x").unwrap();
    memory.tamper(&foreign, Bytes::from_static(b"x"));
    for level in LEVELS {
        let damage = auditor.verify(level).await.unwrap().damage;
        assert_eq!(
            (damage.len(), damage[0].object.as_str()),
            (1, foreign.as_str())
        );
    }
    memory.delete(&foreign).await.unwrap();
    let writer = bench.open(Role::Writer).await.unwrap();
    let blind = Default::default();
    let (place, draft) = (place(), draft(3, None));
    let other = writer.put_wal(&place, &draft, content(9).into(), &blind);
    other.await.unwrap();
    for level in LEVELS {
        let report = auditor.verify(level).await.unwrap();
        assert!(
            report
                .damage
                .iter()
                .any(|damage| damage.what.contains("other content"))
        );
        assert!(report.affected.contains_key(&snapshot.id), "{level:?}");
    }
}

#[tokio::test]
async fn what_is_lost_or_damaged_of_the_log_comes_back_from_another_region() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, _) = archive(&memory).await;
    let replica = MemoryStore::new("away");
    for meta in memory.list("").await.unwrap() {
        replica
            .put(&meta.key, memory.get(&meta.key).await.unwrap())
            .await
            .unwrap();
    }
    memory.delete(&keys_of(&*memory, 3).await[0]).await.unwrap();
    memory.tamper(&keys_of(&*memory, 2).await[0], Bytes::from_static(b"bad"));
    memory.tamper(&keys_of(&*memory, 6).await[0], Bytes::from_static(b"bad"));
    let pruner = bench.open(Role::Pruner).await.unwrap();
    let sources: [Arc<dyn ObjectStore>; 1] = [Arc::new(replica)];
    let report = pruner
        .repair(VerifyLevel::Full, &sources, false)
        .await
        .unwrap();
    assert_eq!((report.repaired.len(), report.left.damage), (3, vec![]));
    let reader = bench.open(Role::Reader).await.unwrap();
    assert_eq!(reader.verify(VerifyLevel::Full).await.unwrap().damage, []);
}

fn prune(wal: Vec<ObjectKey>) -> PruneOptions {
    PruneOptions {
        wal,
        host: "pruner".to_owned(),
        ..PruneOptions::default()
    }
}

async fn all_wal(store: &dyn ObjectStore) -> Vec<ObjectKey> {
    let listed = store.list(WAL).await.unwrap();
    listed.into_iter().map(|meta| meta.key).collect()
}

#[tokio::test]
async fn a_prune_deletes_of_the_log_what_it_is_asked_to_and_nothing_that_a_snapshot_needs() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, snapshot) = archive(&memory).await;
    push_piece(&bench, 3, 0..8192).await;
    let pruner = bench.open(Role::Pruner).await.unwrap();
    let dry_run = PruneOptions {
        dry_run: true,
        ..prune(all_wal(&*memory).await)
    };
    let foretold = pruner.prune(&dry_run).await.unwrap();
    assert_eq!(numbers(&*memory).await.len(), 7);
    // A piece goes although its segment is needed: but only beside the whole one.
    let piece = keys_of(&*memory, 3).await.remove(1);
    let done = pruner.prune(&prune(vec![piece])).await.unwrap();
    assert_eq!(done.wal_objects, 1);
    let done = pruner.prune(&prune(all_wal(&*memory).await)).await.unwrap();
    assert_eq!((done.wal_objects, done.wal_waiting), (3, 0));
    assert!(done.wal_bytes > 0 && foretold.wal_objects >= 3);
    assert_eq!(numbers(&*memory).await, [2, 3, 4]);
    let delete = PruneOptions {
        delete: vec![snapshot.name()],
        ..prune(all_wal(&*memory).await)
    };
    pruner.prune(&delete).await.unwrap();
    assert_eq!(numbers(&*memory).await, [0; 0]);
    assert_eq!(memory.list(TOMBSTONES).await.unwrap(), []);
}

#[tokio::test]
async fn the_log_waits_for_sessions_and_stays_for_what_they_commit() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    push(&bench, 1..5).await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let mut at_work = writer
        .snapshot_writer(snapshot_draft(BackupKind::Full))
        .await
        .unwrap();
    let pruner = bench.open(Role::Pruner).await.unwrap();
    let marked = pruner.prune(&prune(all_wal(&*memory).await)).await.unwrap();
    assert_eq!((marked.wal_objects, marked.wal_waiting), (0, 4));
    at_work
        .add(entry(EntryPath::root(), EntryKind::Directory))
        .await
        .unwrap();
    at_work.set_wal(range(2, 3, false));
    at_work.commit(bench.world.clock.now()).await.unwrap();
    let done = pruner.prune(&prune(Vec::new())).await.unwrap();
    assert_eq!((done.wal_objects, done.wal_waiting), (2, 0));
    assert_eq!(numbers(&*memory).await, [2, 3]);
    let lease = pruner.lease(RunKind::Restore, "reader").await.unwrap();
    let marked = pruner.prune(&prune(all_wal(&*memory).await)).await.unwrap();
    assert_eq!(
        (marked.wal_objects, marked.wal_waiting),
        (0, 0),
        "a snapshot needs them"
    );
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_forged_tombstone_takes_no_part_of_the_log_that_a_snapshot_needs_and_nothing_else() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, snapshot) = archive(&memory).await;
    let mut named: Vec<String> = all_wal(&*memory)
        .await
        .iter()
        .map(ToString::to_string)
        .collect();
    named.extend([
        "repo.json".to_owned(),
        snapshot.name().key().to_string(),
        "../x".to_owned(),
    ]);
    let named: Vec<String> = named.iter().map(|name| format!("{name:?}")).collect();
    let text = format!(
        "{{\"tombstone\":\"0102030405060708\",\"marked\":\"2026-11-21T00:00:00Z\",\"index\":[],\
         \"packs\":[],\"wal\":[{}]}}",
        named.join(",")
    );
    let key = ObjectKey::new("tombstones/0102030405060708").unwrap();
    memory.tamper(&key, text.into());
    let pruner = bench.open(Role::Pruner).await.unwrap();
    pruner.prune(&prune(Vec::new())).await.unwrap();
    assert_eq!(numbers(&*memory).await, [2, 3, 4]);
    let reader = bench.open(Role::Reader).await.unwrap();
    assert_eq!(reader.verify(VerifyLevel::Full).await.unwrap().damage, []);
}

#[tokio::test]
async fn a_prune_of_the_log_cut_off_at_any_call_loses_nothing_that_is_needed() {
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
            let (bench, _) = archive(&memory).await;
            let wanted = all_wal(&*memory).await;
            let faulty = Arc::new(FaultyStore::new(memory.clone(), plan(call)));
            let cut = Bench::with_store(&bench, faulty.clone());
            if let Ok(pruner) = cut.open(Role::Pruner).await {
                // What came of it is for the next one to find out.
                let _ = pruner.prune(&prune(wanted.clone())).await;
            }
            let context = format!("the prune {name} call {call}");
            let reader = bench.open(Role::Reader).await.unwrap();
            let report = reader.verify(VerifyLevel::Full).await.unwrap();
            assert_eq!(report.damage, [], "{context}");
            bench
                .clock
                .advance(std::time::Duration::from_secs(2 * 3600));
            let pruner = bench.open(Role::Pruner).await.unwrap();
            pruner.prune(&prune(wanted)).await.unwrap();
            assert_eq!(numbers(&*memory).await, [2, 3, 4], "{context}");
            if faulty.faults() == 0 {
                assert!(call > 20, "{name}: ended too early to have tested anything");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_prune_of_the_target_that_has_not_finished_is_waited_for_only_where_it_matters() {
    let (memory, target) = (Arc::new(MemoryStore::new("home")), MemoryStore::new("away"));
    let (_bench, _) = archive(&memory).await;
    for (number, refused) in [(3, true), (6, false)] {
        let key = keys_of(&*memory, number).await.remove(0);
        target.tamper(&key, memory.get(&key).await.unwrap());
        let text = format!(
            "{{\"tombstone\":\"0102030405060708\",\"marked\":\"2026-11-21T00:00:00Z\",\
             \"index\":[],\"packs\":[],\"wal\":[\"{key}\"]}}"
        );
        let tombstone = ObjectKey::new("tombstones/0102030405060708").unwrap();
        target.tamper(&tombstone, text.into());
        let plan = Replication::plan(&*memory, &target).await;
        assert_eq!(plan.is_err(), refused, "segment {number}");
    }
}

//! Faults of the store: whatever fails, whenever it fails, committed snapshots stay whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{self, Bench, Tree, tree};
use bytes::Bytes;
use lifeboat_model::{BackupKind, ErrorKind, SnapshotId};
use lifeboat_repository::{ObjectClass, Repository, Role, VerifyLevel};
use lifeboat_storage::{
    Calls, Fault, FaultPlan, FaultRates, FaultyStore, MemoryStore, ObjectStore, Op, RecordedStore,
};

/// Takes a full and an incremental through `plan`; returns what was reported as committed, and
/// how many faults struck.
async fn run(memory: &Arc<MemoryStore>, plan: FaultPlan) -> (Bench, Vec<(SnapshotId, Tree)>, u64) {
    let faulty = Arc::new(FaultyStore::new(memory.clone(), plan));
    let bench = Bench::create(memory.clone(), faulty.clone()).await;
    let mut committed = Vec::new();
    for (seed, kind) in [(1, BackupKind::Full), (2, BackupKind::Incremental)] {
        let mut files = tree(1);
        files.get_mut("shop.db").unwrap()[seed * 9000] ^= seed as u8;
        match bench.backup(&files, kind).await {
            Ok(snapshot) => committed.push((snapshot.id, files)),
            Err(error) => assert!(support::is_store_fault(&error), "{error:?}"),
        }
    }
    (
        Bench {
            store: memory.clone(),
            ..bench
        },
        committed,
        faulty.faults(),
    )
}

/// Checks that every commit record restores, and that those reported as committed are there.
async fn check(bench: &Bench, committed: &[(SnapshotId, Tree)], context: &str) {
    let reader = bench.open(Role::Reader).await.unwrap();
    let found = reader.snapshots(None, None).await.unwrap();
    let known: BTreeMap<_, _> = committed.iter().cloned().collect();
    for snapshot in &found {
        let restored = support::restore(&reader, snapshot).await;
        let restored = restored.unwrap_or_else(|error| panic!("{context}: {error}"));
        if let Some(files) = known.get(&snapshot.id) {
            assert!(restored == *files, "{context}: other bytes came back");
        }
    }
    for (id, _) in committed {
        assert!(
            found.iter().any(|snapshot| snapshot.id == *id),
            "{context}: {id} was lost"
        );
    }
    let report = reader.verify(VerifyLevel::Full).await.unwrap();
    assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
}

#[tokio::test]
async fn a_backup_cut_off_at_any_call_leaves_every_committed_snapshot_whole() {
    for (name, plan) in [
        (
            "nothing lands any more",
            FaultPlan::crash_before as fn(u64) -> FaultPlan,
        ),
        (
            "the last call lands, its reply is lost",
            FaultPlan::crash_after,
        ),
        ("the disk is full", FaultPlan::full_since_put),
    ] {
        for call in 1.. {
            let memory = Arc::new(MemoryStore::new("home"));
            let (bench, committed, faults) = run(&memory, plan(call)).await;
            check(&bench, &committed, &format!("{name} from call {call}")).await;
            if faults == 0 {
                assert!(
                    call > 5,
                    "{name}: ended at call {call}, too early to have tested anything"
                );
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_lost_reply_at_any_put_loses_nothing() {
    for call in 1.. {
        let memory = Arc::new(MemoryStore::new("home"));
        let plan = FaultPlan::none().at(Calls::Of(Op::Put), call, Fault::LoseReply);
        let (bench, committed, faults) = run(&memory, plan).await;
        check(&bench, &committed, &format!("reply {call} lost")).await;
        if faults == 0 {
            break;
        }
    }
}

#[tokio::test]
async fn packs_come_before_the_index_and_the_commit_record_last() {
    let recorded = Arc::new(RecordedStore::new(MemoryStore::new("home")));
    let bench = Bench::create(recorded.clone(), recorded.clone()).await;
    bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let writes = recorded.writes();
    let of = |class| {
        let key = |call: &&lifeboat_storage::Call| {
            ObjectClass::of(&lifeboat_storage::ObjectKey::new(call.key.as_str()).unwrap()) == class
        };
        writes.iter().filter(key).cloned().collect::<Vec<_>>()
    };
    let (packs, indexes, commits) = (
        of(ObjectClass::Pack),
        of(ObjectClass::Index),
        of(ObjectClass::Snapshot),
    );
    assert!(packs.len() >= 2 && indexes.len() == 1 && commits.len() == 1);
    assert!(packs.iter().all(|pack| pack.precedes(&indexes[0])));
    assert!(indexes[0].precedes(&commits[0]));
}

/// Damages one object after the other in several ways and asks what verify and restore say.
#[tokio::test]
async fn damage_to_any_object_is_found_and_never_restored_as_good() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    let mut tried = 0;
    for meta in memory.list("").await.unwrap() {
        let class = ObjectClass::of(&meta.key);
        if !matches!(
            class,
            ObjectClass::Pack | ObjectClass::Index | ObjectClass::Snapshot
        ) {
            continue;
        }
        let good = memory.get(&meta.key).await.unwrap();
        for bad in damaged(&good) {
            tried += 1;
            memory.tamper(&meta.key, bad.clone());
            let report = reader.verify(VerifyLevel::Full).await.unwrap();
            assert!(
                !report.damage.is_empty(),
                "{} was damaged unnoticed",
                meta.key
            );
            // A restore gives the right bytes or none, and none only if verify said so.
            match support::restore(&reader, &snapshot).await {
                Ok(restored) => assert!(restored == tree(1), "{} gave other bytes", meta.key),
                Err(_) => {
                    let told = report.affected.contains_key(&snapshot.id);
                    assert!(
                        told || class == ObjectClass::Index,
                        "{} affects nothing",
                        meta.key
                    );
                }
            }
        }
        memory.delete(&meta.key).await.unwrap();
        if class != ObjectClass::Snapshot {
            let report = reader.verify(VerifyLevel::Structure).await.unwrap();
            assert!(
                !report.damage.is_empty(),
                "{} is missing unnoticed",
                meta.key
            );
        }
        memory.put(&meta.key, good).await.unwrap();
    }
    assert!(tried > 20, "only {tried} damages were tried");
    let report = reader.verify(VerifyLevel::Full).await.unwrap();
    assert!(
        report.damage.is_empty(),
        "the damage was not undone: {:?}",
        report.damage
    );
}

/// Truncations and flipped bits at the start, the end and places between.
fn damaged(good: &Bytes) -> Vec<Bytes> {
    let len = good.len();
    let mut all: Vec<Bytes> = [0, 1, len / 2, len - 1]
        .into_iter()
        .map(|cut| good.slice(..cut))
        .collect();
    for at in [
        0,
        8,
        9,
        20,
        50,
        len / 3,
        len / 2,
        len - 20,
        len - 12,
        len - 1,
    ] {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x10;
        all.push(bytes.into());
    }
    all
}

#[tokio::test]
async fn a_commit_record_moved_to_another_environment_is_refused() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let mut name = snapshot.name();
    let bytes = memory.get(&name.key()).await.unwrap();
    name.environment = "staging".parse().unwrap();
    memory.put(&name.key(), bytes).await.unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    let error = reader.snapshot(&name).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it was stored under another name"),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_disk_is_told_apart_from_other_failures() {
    let memory = Arc::new(MemoryStore::new("home"));
    let store = Arc::new(FaultyStore::new(
        memory.clone(),
        FaultPlan::full_since_put(1),
    ));
    let bench = Bench::create(memory, store).await;
    let error = bench.backup(&tree(1), BackupKind::Full).await.unwrap_err();
    assert_eq!(lifeboat_model::Diagnose::kind(&error), ErrorKind::NoSpace);
}

#[tokio::test]
async fn an_interrupted_backups_packs_hinder_nobody() {
    let memory = Arc::new(MemoryStore::new("home"));
    let (bench, committed, _) = run(&memory, FaultPlan::crash_before(6)).await;
    assert!(committed.is_empty());
    let snapshot = bench
        .backup(&tree(3), BackupKind::Incremental)
        .await
        .unwrap();
    assert_eq!(bench.restore(&snapshot).await.unwrap(), tree(3));
    let names = Repository::snapshot_names(&*memory, None, None)
        .await
        .unwrap();
    assert_eq!(names.len(), 1);
}

/// Seeds in the everyday run; `LIFEBOAT_SEEDS` asks for more.
const SEEDS: u64 = 60;

#[tokio::test]
async fn random_faults_on_reads_and_writes_lose_no_snapshot_and_corrupt_none() {
    #[expect(
        clippy::disallowed_methods,
        reason = "who runs the test decides how long"
    )]
    let seeds = std::env::var("LIFEBOAT_SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    let mut committed_in_all = 0;
    for seed in 0..seeds {
        let memory = Arc::new(MemoryStore::new("home"));
        let plan = FaultPlan::seeded(
            seed,
            FaultRates {
                fail: 0.03,
                lose_reply: 0.03,
                truncate: 0.03,
                flip_bit: 0.03,
                stale_list: 0.03,
                stale_list_calls: 5,
            },
        );
        let faulty = Arc::new(FaultyStore::new(memory.clone(), plan));
        let bench = Bench::create(memory.clone(), faulty.clone()).await;
        let mut committed = Vec::new();
        let mut files = tree(seed);
        for round in 0..6_usize {
            files.get_mut("shop.db").unwrap()
                [(seed as usize * 31 + round * 7001) * 40 % 2_000_000] ^= 1;
            files.insert(format!("a/round-{round}"), vec![round as u8; 2000]);
            let kind = if round % 3 == 0 {
                BackupKind::Full
            } else {
                BackupKind::Incremental
            };
            // A flipped bit in an answer may look like damage or a wrong key: any error will do, as
            // long as nothing is committed that does not restore.
            if let Ok(snapshot) = bench.backup(&files, kind).await {
                committed.push((snapshot.id, files.clone()));
            }
        }
        committed_in_all += committed.len() as u64;
        let sound = Bench {
            store: memory.clone(),
            ..bench
        };
        check(&sound, &committed, &format!("seed {seed}")).await;
    }
    assert!(
        committed_in_all > seeds,
        "only {committed_in_all} backups succeeded"
    );
}

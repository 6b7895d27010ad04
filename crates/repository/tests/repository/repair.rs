//! Repair from another store, and of an index that nobody has any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use lifeboat_model::BackupKind;
use lifeboat_repository::layout::{INDEX, PACKS, SNAPSHOTS};
use lifeboat_repository::{ObjectClass, Role, Snapshot, VerifyLevel};
use lifeboat_storage::{MemoryStore, ObjectKey, ObjectStore};

use crate::support::{Bench, tree};

/// A repository with a copy of every object in another store.
async fn with_replica() -> (Bench, Arc<MemoryStore>, Arc<dyn ObjectStore>, Snapshot) {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let replica = MemoryStore::new("replica");
    for meta in memory.list("").await.unwrap() {
        let bytes = memory.get(&meta.key).await.unwrap();
        replica.put(&meta.key, bytes).await.unwrap();
    }
    (bench, memory, Arc::new(replica), snapshot)
}

async fn hash_named(store: &MemoryStore) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    for prefix in [PACKS, INDEX, SNAPSHOTS] {
        let listed = store.list(prefix).await.unwrap();
        keys.extend(listed.into_iter().map(|meta| meta.key));
    }
    keys
}

#[tokio::test]
async fn whatever_is_lost_or_damaged_comes_back_from_another_region() {
    let (bench, memory, replica, snapshot) = with_replica().await;
    let auditor = bench.open(Role::Pruner).await.unwrap();
    let keys = hash_named(&memory).await;
    assert!(keys.len() >= 4);
    for key in keys {
        let good = memory.get(&key).await.unwrap();
        let mut flipped = good.to_vec();
        flipped[good.len() / 2] ^= 1;
        for bad in [
            None,
            Some(good.slice(..good.len() / 2)),
            Some(flipped.into()),
        ] {
            // A record that is missing is not noticed by this store alone: nothing tells of it.
            if bad.is_none() && ObjectClass::of(&key) == ObjectClass::Snapshot {
                continue;
            }
            match bad {
                None => memory.delete(&key).await.unwrap(),
                Some(bad) => memory.tamper(&key, bad),
            }
            let sources = [replica.clone()];
            let foretold = auditor
                .repair(VerifyLevel::Full, &sources, true)
                .await
                .unwrap();
            assert!(
                foretold.repaired.contains_key(key.as_str()),
                "{key}: {foretold:?}"
            );
            let report = auditor
                .repair(VerifyLevel::Full, &sources, false)
                .await
                .unwrap();
            assert_eq!(report.left.damage, [], "{key}");
            assert_eq!(report.repaired.len(), 1, "{key}: {report:?}");
            assert_eq!(memory.get(&key).await.unwrap(), good);
        }
    }
    assert_eq!(bench.restore(&snapshot).await.unwrap(), tree(1));
}

#[tokio::test]
async fn what_is_damaged_everywhere_is_left_as_it_is_and_told() {
    let (bench, memory, replica, _) = with_replica().await;
    let key = memory.list(PACKS).await.unwrap().remove(0).key;
    let half = memory.get(&key).await.unwrap().slice(..100);
    memory.tamper(&key, half.clone());
    replica.delete(&key).await.unwrap();
    let auditor = bench.open(Role::Pruner).await.unwrap();
    let report = auditor
        .repair(VerifyLevel::Full, &[replica], false)
        .await
        .unwrap();
    assert!(report.repaired.is_empty() && !report.left.damage.is_empty());
    assert_eq!(memory.get(&key).await.unwrap(), half);
}

#[tokio::test]
async fn an_index_that_nobody_has_is_made_anew_from_the_packs() {
    let (bench, memory, _, snapshot) = with_replica().await;
    for meta in memory.list(INDEX).await.unwrap() {
        memory.delete(&meta.key).await.unwrap();
    }
    assert!(bench.restore(&snapshot).await.is_err());
    let auditor = bench.open(Role::Pruner).await.unwrap();
    let report = auditor.repair(VerifyLevel::Full, &[], false).await.unwrap();
    assert!(report.reindexed >= 2, "{report:?}");
    assert_eq!(report.left.damage, []);
    assert_eq!(bench.restore(&snapshot).await.unwrap(), tree(1));
}

#[tokio::test]
async fn what_has_arrived_meanwhile_is_not_put_again() {
    let (bench, memory, replica, _) = with_replica().await;
    let pruner = bench.open(Role::Pruner).await.unwrap();
    let keys: BTreeSet<ObjectKey> = hash_named(&memory).await.into_iter().collect();
    let lost = keys.first().unwrap();
    memory.delete(lost).await.unwrap();
    let brought = pruner.bring(&keys, &[replica], false).await.unwrap();
    assert_eq!(brought.keys().collect::<Vec<_>>(), [lost.as_str()]);
    assert!(memory.get(lost).await.is_ok());
}

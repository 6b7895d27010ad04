//! Looking into snapshots: entries, comparisons, content in pieces, usage.

use lifeboat_model::{BackupKind, EntryKind};
use lifeboat_repository::{OpenFile, Role, StoredEntry};
use lifeboat_storage::{FaultPlan, FaultyStore, MemoryStore};
use std::sync::Arc;

use crate::support::{self, Bench, PAGE, noise, tree};

async fn entries(
    browser: &lifeboat_repository::Browser,
    snapshot: &lifeboat_repository::Snapshot,
) -> Vec<(lifeboat_repository::RecordPlace, StoredEntry)> {
    let mut reader = browser.entries(snapshot);
    let mut found = Vec::new();
    loop {
        let place = reader.place();
        match reader.next().await.unwrap() {
            Some(entry) => found.push((place, entry)),
            None => return found,
        }
    }
}

#[tokio::test]
async fn any_range_of_any_file_reads_as_it_was_backed_up_however_small_the_cache() {
    let bench = Bench::in_memory().await;
    let mut files = tree(1);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    // A few pages change, so that the database is made of parts of several chunks.
    for page in [3, 250, 599] {
        files.get_mut("shop.db").unwrap()[page * PAGE..][..PAGE].fill(7);
    }
    let snapshot = bench.backup(&files, BackupKind::Incremental).await.unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    let browser = reader.browse().await.unwrap();
    for cache in [1, 1 << 20, 64 << 20] {
        let content = browser.content_reader(cache).unwrap();
        for (_, stored) in entries(&browser, &snapshot).await {
            let Some(size) = stored.size() else { continue };
            let whole = &files[&stored.entry.path.to_string()];
            let file = OpenFile::new(&stored);
            assert_eq!(file.size(), size);
            let mut offset = 0;
            while offset < whole.len() + 10 {
                let len = 130_001;
                let end = (offset + len).min(whole.len());
                let expected = &whole[offset.min(end)..end];
                let read = content.read(&file, offset as u64, len).await.unwrap();
                assert!(read == expected, "{} at {offset}", stored.entry.path);
                offset += 91_003;
            }
        }
    }
}

#[tokio::test]
async fn content_needs_the_reader_key_and_names_do_not() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let browser = auditor.browse().await.unwrap();
    assert_eq!(entries(&browser, &snapshot).await.len(), 6);
    assert!(browser.content_reader(1 << 20).is_err());
}

#[tokio::test]
async fn an_entry_is_found_again_by_its_place() {
    let bench = Bench::in_memory().await;
    let mut files = tree(1);
    // Enough entries for a manifest of several chunks.
    for number in 0..30_000 {
        files.insert(format!("many/{number:08}"), Vec::new());
    }
    let snapshot = bench.backup(&files, BackupKind::Full).await.unwrap();
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let browser = auditor.browse().await.unwrap();
    let all = entries(&browser, &snapshot).await;
    let mut records = browser.records(&snapshot);
    let last = all.len() - 1;
    for number in (0..all.len()).step_by(997).chain([last, 0]) {
        let (place, expected) = &all[number];
        let found = records.at(*place).await.unwrap();
        assert_eq!(found.entry, expected.entry);
    }
    let (place, _) = all[1];
    let inside = lifeboat_repository::RecordPlace(place.0 + 1);
    assert!(
        records.at(inside).await.is_err(),
        "a record began inside one"
    );
    let behind = lifeboat_repository::RecordPlace(u64::MAX);
    assert!(records.at(behind).await.is_err());
}

#[tokio::test]
async fn snapshots_side_by_side_tell_what_differs() {
    let bench = Bench::in_memory().await;
    let before = tree(1);
    let mut after = before.clone();
    after.remove("a/tiny");
    after.insert("a/new".to_owned(), b"new".to_vec());
    after.insert("b/large".to_owned(), noise(9, 3_000_000));
    after.get_mut("shop.db").unwrap()[0] ^= 1;
    let first = bench.backup(&before, BackupKind::Full).await.unwrap();
    let second = bench.backup(&after, BackupKind::Incremental).await.unwrap();
    let third = bench.backup(&after, BackupKind::Full).await.unwrap();
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let browser = auditor.browse().await.unwrap();
    let compare = async |one, two| {
        let mut comparison = browser.compare(Some(one), Some(two));
        let mut found = Vec::new();
        while let Some(pair) = comparison.next().await.unwrap() {
            let (path, what) = match (&pair.before, &pair.after) {
                (Some(one), Some(two)) if one.same_content(two) => continue,
                (Some(one), Some(_)) => (&one.entry.path, "changed"),
                (Some(one), None) => (&one.entry.path, "removed"),
                (None, Some(two)) => (&two.entry.path, "added"),
                (None, None) => unreachable!(),
            };
            found.push(format!("{what} {path}"));
        }
        found
    };
    assert_eq!(
        compare(&first, &second).await,
        [
            "added a/new",
            "removed a/tiny",
            "changed b/large",
            "changed shop.db"
        ]
    );
    // Stored page by page in one and whole in the other, the database is the same.
    assert_eq!(compare(&second, &third).await, Vec::<String>::new());
}

#[tokio::test]
async fn usage_adds_up_and_finds_what_no_snapshot_needs() {
    let store = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(store.clone(), store.clone()).await;
    let files = tree(1);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    bench.backup(&files, BackupKind::Full).await.unwrap();
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let usage = async || {
        let listing = auditor.listing(None, None).await.unwrap();
        auditor
            .browse()
            .await
            .unwrap()
            .usage(&listing)
            .await
            .unwrap()
    };
    let found = usage().await;
    let source = &found.sources[0];
    let raw: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!((source.snapshots, source.restored_bytes), (2, 2 * raw));
    assert_eq!(source.own_raw_bytes, source.raw_bytes);
    assert!(
        source.raw_bytes < raw + raw / 10,
        "nothing was stored twice"
    );
    assert_eq!(
        found.data.raw_bytes + found.metadata.raw_bytes,
        source.raw_bytes
    );
    assert_eq!((found.waste.unused_bytes, found.waste.stray_packs), (0, 0));
    assert!(found.unreadable.is_empty() && found.index.chunks > 5);
    assert_eq!(found.objects["snapshots"].count, 2);

    // A backup that dies leaves packs that no index names.
    let faulty = Arc::new(FaultyStore::new(
        store.clone(),
        FaultPlan::full_since_put(3),
    ));
    let dying = Bench {
        store: faulty,
        ..bench
    };
    let error = dying.backup(&tree(2), BackupKind::Full).await.unwrap_err();
    assert!(support::is_store_fault(&error), "{error}");
    let found = usage().await;
    assert!(found.waste.stray_packs > 0 && found.waste.stray_bytes > 0);

    // Without its snapshots, everything is waste, and nothing is without an answer.
    for meta in lifeboat_storage::ObjectStore::list(&*store, "snapshots/")
        .await
        .unwrap()
    {
        store.tamper(&meta.key, b"?".to_vec().into());
    }
    let found = usage().await;
    assert_eq!(found.unreadable.len(), 2);
    let stored = found.data.stored_bytes + found.metadata.stored_bytes;
    assert_eq!(
        (found.waste.unused_bytes, found.waste.partly_unused_bytes),
        (stored, 0)
    );
}

#[tokio::test]
async fn a_damaged_chunk_is_never_read_as_good() {
    let store = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(store.clone(), store.clone()).await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    let browser = reader.browse().await.unwrap();
    let all = entries(&browser, &snapshot).await;
    let large = all
        .iter()
        .find(|(_, stored)| stored.entry.kind == EntryKind::File { size: 3_000_000 });
    let file = OpenFile::new(&large.unwrap().1);
    for meta in lifeboat_storage::ObjectStore::list(&*store, "packs/")
        .await
        .unwrap()
    {
        let good = lifeboat_storage::ObjectStore::get(&*store, &meta.key)
            .await
            .unwrap();
        let mut bad = good.to_vec();
        for byte in bad.iter_mut().skip(100).step_by(1000) {
            *byte ^= 1;
        }
        store.tamper(&meta.key, bad.into());
    }
    let content = browser.content_reader(64 << 20).unwrap();
    assert!(content.read(&file, 0, 1000).await.is_err());
}

//! What goes in comes out, increments are small, and parents are not trusted blindly.

use crate::support::{self, Bench, PAGE, Tree, draft, entry, noise, tree};
use futures::stream::{self, StreamExt as _};
use lifeboat_model::{BackupKind, EntryKind, EntryPath, Metadata};
use lifeboat_repository::{FileWindow, Layout, Repository, Role, Snapshot};

/// Reads a snapshot back in windows of so many files.
async fn read_in_windows(repository: &Repository, snapshot: &Snapshot, files: usize) -> Tree {
    let reader = repository.snapshot_reader(snapshot).await.unwrap();
    let mut entries = reader.entries();
    let (mut names, mut windows) = (Vec::new(), vec![FileWindow::default()]);
    let mut found = Tree::new();
    while let Some(stored) = entries.next().await.unwrap() {
        if let EntryKind::File { size } = stored.entry.kind {
            if names.len() % files == 0 {
                windows.push(FileWindow::default());
            }
            windows.last_mut().unwrap().add(names.len(), &stored, None);
            names.push(stored.entry.path.to_string());
            found.insert(names.last().unwrap().clone(), vec![0; size as usize]);
        }
    }
    let mut stream = std::pin::pin!(reader.fetch(stream::iter(windows)));
    let mut window = 0;
    while let Some(pieces) = stream.next().await {
        let pieces = pieces.unwrap();
        for piece in pieces.pieces {
            let number = piece.destination.file;
            assert!(
                number / files >= window,
                "a window came before its turn ended"
            );
            window = number / files;
            let start = piece.destination.offset as usize;
            let bytes = &pieces.bytes[piece.range];
            let file = found.get_mut(&names[number]).unwrap();
            file[start..start + bytes.len()].copy_from_slice(bytes);
        }
    }
    found
}

#[tokio::test]
async fn windows_of_any_size_give_every_file_its_bytes() {
    let bench = Bench::in_memory().await;
    let mut first = tree(1);
    for number in 0..50 {
        first.insert(
            format!("many/{number}"),
            noise(number, 500 + number as usize),
        );
        first.insert(
            format!("many/{number}-again"),
            noise(number, 500 + number as usize),
        );
    }
    let snapshot = bench.backup(&first, BackupKind::Full).await.unwrap();
    let repository = bench.open(Role::Reader).await.unwrap();
    for files in [1, 7, 1000] {
        let found = read_in_windows(&repository, &snapshot, files).await;
        assert!(found == first, "windows of {files}");
    }
}

#[tokio::test]
async fn a_file_is_compared_by_the_ids_of_its_chunks_without_fetching_any() {
    let bench = Bench::in_memory().await;
    let content = noise(3, 5_000_000);
    let files = Tree::from([("large".to_owned(), content.clone())]);
    let snapshot = bench.backup(&files, BackupKind::Full).await.unwrap();
    let repository = bench.open(Role::Writer).await.unwrap();
    let reader = repository.snapshot_reader(&snapshot).await.unwrap();
    let check = reader.content_check().unwrap();
    let mut entries = reader.entries();
    entries.next().await.unwrap();
    let stored = entries.next().await.unwrap().unwrap();
    let compare = |content: &[u8]| {
        let mut same = 0;
        let read = |offset: u64, buffer: &mut [u8]| {
            let rest = &content[content.len().min(offset as usize)..];
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok::<_, ()>(len)
        };
        let count = |_, bytes: &[u8]| {
            same += bytes.len();
            Ok(())
        };
        let differing = check.differing(&stored, None, &mut Vec::new(), read, count);
        (differing.unwrap(), same)
    };
    let (differing, same) = compare(&content);
    assert!(differing.is_empty() && same == content.len());
    let mut changed = content.clone();
    changed[2_500_000] ^= 1;
    let (differing, same) = compare(&changed);
    assert!(!differing.is_empty() && !differing.is_everything());
    assert!(same > 0 && same < content.len());
    let (differing, same) = compare(b"short");
    assert!(differing.is_everything() && same == 0);
}

#[tokio::test]
async fn a_database_is_compared_page_by_page_however_many_increments_made_it() {
    let bench = Bench::in_memory().await;
    let mut files = Tree::from([("shop.db".to_owned(), noise(4, 1024 * PAGE))]);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    for page in [3, 500, 900] {
        files.get_mut("shop.db").unwrap()[page * PAGE] ^= 1;
        bench.backup(&files, BackupKind::Incremental).await.unwrap();
    }
    let content = files["shop.db"].clone();
    let repository = bench.open(Role::Writer).await.unwrap();
    let snapshots = repository.snapshots(None, None).await.unwrap();
    let reader = repository
        .snapshot_reader(snapshots.last().unwrap())
        .await
        .unwrap();
    let mut entries = reader.entries();
    entries.next().await.unwrap();
    let stored = entries.next().await.unwrap().unwrap();
    let pages = reader.page_maps().unwrap().of(&stored).await.unwrap();
    let check = reader.content_check().unwrap();
    let compare = |content: &[u8]| {
        let mut same = 0;
        let read = |offset: u64, buffer: &mut [u8]| {
            let rest = &content[content.len().min(offset as usize)..];
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok::<_, ()>(len)
        };
        let count = |_, bytes: &[u8]| {
            same += bytes.len();
            Ok(())
        };
        let differing = check.differing(&stored, pages.as_ref(), &mut Vec::new(), read, count);
        (differing.unwrap(), same)
    };
    // Blocks that are made of parts of several chunks are recognized, too.
    let (differing, same) = compare(&content);
    assert!(differing.is_empty() && same == content.len());
    let mut changed = content.clone();
    changed[500 * PAGE + 1] ^= 1;
    let (differing, same) = compare(&changed);
    assert!(!differing.is_empty());
    assert_eq!(same, content.len() - PAGE, "only that page differs");
}

#[tokio::test]
async fn full_and_incremental_snapshots_restore_byte_for_byte() {
    let bench = Bench::in_memory().await;
    let first = tree(1);
    let mut second = first.clone();
    second.get_mut("b/large").unwrap()[5] ^= 1;
    second.get_mut("shop.db").unwrap()[300 * PAGE + 7] ^= 1;
    second.insert("c/new".to_owned(), b"new".to_vec());
    second.remove("a/tiny");
    let one = bench.backup(&first, BackupKind::Full).await.unwrap();
    let two = bench
        .backup(&second, BackupKind::Incremental)
        .await
        .unwrap();
    assert_eq!(two.parent, Some(one.id));
    assert_eq!(bench.restore(&one).await.unwrap(), first);
    assert_eq!(bench.restore(&two).await.unwrap(), second);
}

#[tokio::test]
async fn one_changed_page_costs_little_more_than_a_page() {
    let bench = Bench::in_memory().await;
    let mut files = Tree::from([("shop.db".to_owned(), noise(1, 4096 * PAGE))]);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    files.get_mut("shop.db").unwrap()[1000 * PAGE] ^= 1;
    let increment = bench.backup(&files, BackupKind::Incremental).await.unwrap();
    // The page, a map chunk, the manifest, and the envelopes of two packs and an index.
    assert!(
        increment.totals.bytes_stored < 12_000,
        "{} bytes",
        increment.totals.bytes_stored
    );
    assert_eq!(bench.restore(&increment).await.unwrap(), files);
}

#[tokio::test]
async fn a_database_that_grows_shrinks_and_changes_stays_whole_over_many_increments() {
    let bench = Bench::in_memory().await;
    let mut files = Tree::from([("shop.db".to_owned(), noise(1, 700 * PAGE))]);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    let mut snapshots = Vec::new();
    for round in 0..24_usize {
        let database = files.get_mut("shop.db").unwrap();
        match round % 6 {
            4 => database.extend(noise(round as u64, 37 * PAGE)),
            5 => database.truncate(database.len() - 11 * PAGE),
            _ => {
                for n in 0..=round {
                    let page = (n * 7919 + round * 31) % (database.len() / PAGE);
                    database[page * PAGE..][..8].copy_from_slice(&(round as u64 + 1).to_le_bytes());
                }
            }
        }
        let snapshot = bench.backup(&files, BackupKind::Incremental).await.unwrap();
        snapshots.push((snapshot, files.clone()));
    }
    for (snapshot, files) in &snapshots {
        assert!(
            bench.restore(snapshot).await.unwrap() == *files,
            "snapshot {}",
            snapshot.id
        );
    }
}

#[tokio::test]
async fn the_same_content_is_stored_once_wherever_it_is() {
    let bench = Bench::in_memory().await;
    let mut files = Tree::from([("a".to_owned(), noise(1, 100_000))]);
    bench.backup(&files, BackupKind::Full).await.unwrap();
    files.insert("z/copy".to_owned(), noise(1, 100_000));
    let snapshot = bench.backup(&files, BackupKind::Full).await.unwrap();
    assert!(
        snapshot.totals.bytes_stored < 5_000,
        "{} bytes",
        snapshot.totals.bytes_stored
    );
    assert_eq!(bench.restore(&snapshot).await.unwrap(), files);
}

#[tokio::test]
async fn holes_cost_nothing_and_come_back_as_holes() {
    let bench = Bench::in_memory().await;
    let repository = bench.open(Role::Writer).await.unwrap();
    let mut writer = repository
        .snapshot_writer(draft(BackupKind::Full))
        .await
        .unwrap();
    let path = EntryPath::new("sparse").unwrap();
    let size = 4 << 30;
    writer
        .begin_file(entry(path, EntryKind::File { size }), Layout::Stream)
        .await
        .unwrap();
    writer.write(b"head").await.unwrap();
    writer.hole(size - 8).await.unwrap();
    writer.write(b"tail").await.unwrap();
    writer.end_file().await.unwrap();
    let snapshot = writer.commit(support::start()).await.unwrap();
    assert_eq!(snapshot.totals.bytes, size);
    assert!(snapshot.totals.bytes_stored < 5_000);
    let manifest = bench
        .open(Role::Reader)
        .await
        .unwrap()
        .manifest(&snapshot)
        .await
        .unwrap();
    assert_eq!(manifest.entries[0].holes(), [(4, size - 8)]);
}

/// Backs up one file that is said to have these attributes and reports whether it was reused.
async fn reused(bench: &Bench, metadata: &Metadata, size: u64) -> bool {
    let repository = bench.open(Role::Writer).await.unwrap();
    let mut writer = repository
        .snapshot_writer(draft(BackupKind::Incremental))
        .await
        .unwrap();
    let mut file = entry(EntryPath::new("f").unwrap(), EntryKind::File { size });
    file.metadata = metadata.clone();
    let reused = writer.reuse(&file).await.unwrap();
    if !reused {
        writer.begin_file(file, Layout::Stream).await.unwrap();
        writer.write(&vec![7; size as usize]).await.unwrap();
        writer.end_file().await.unwrap();
    }
    bench.clock.advance(std::time::Duration::from_secs(60));
    writer.commit(bench.world.clock.now()).await.unwrap();
    reused
}

#[tokio::test]
async fn a_file_is_reused_only_if_nothing_about_it_changed() {
    let bench = Bench::in_memory().await;
    let old = support::start().as_nanosecond() as i64 - 60_000_000_000;
    let file = Metadata {
        mtime_ns: old,
        ctime_ns: old,
        inode: 5,
        ..Metadata::default()
    };
    assert!(!reused(&bench, &file, 10).await, "there is no parent");
    assert!(reused(&bench, &file, 10).await);
    assert!(!reused(&bench, &file, 11).await, "size");
    assert!(reused(&bench, &file, 11).await);
    for changed in [
        Metadata {
            mtime_ns: old + 1,
            ..file.clone()
        },
        Metadata {
            ctime_ns: old + 2,
            ..file.clone()
        },
        Metadata {
            inode: 6,
            ..file.clone()
        },
    ] {
        assert!(!reused(&bench, &changed, 11).await, "{changed:?}");
    }
}

#[tokio::test]
async fn a_file_touched_while_the_parent_ran_is_read_again() {
    let bench = Bench::in_memory().await;
    let now = support::start().as_nanosecond() as i64 - 500_000_000;
    let file = Metadata {
        mtime_ns: now,
        ctime_ns: now,
        inode: 5,
        ..Metadata::default()
    };
    assert!(!reused(&bench, &file, 10).await);
    assert!(
        !reused(&bench, &file, 10).await,
        "half a second of rest was enough"
    );
    assert!(reused(&bench, &file, 10).await, "by now it has rested");
}

#[tokio::test]
async fn the_newest_snapshot_wins_even_if_the_clock_went_back() {
    let bench = Bench::in_memory().await;
    bench.clock.set("2027-01-01T00:00:00Z".parse().unwrap());
    let ahead = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    bench.clock.set(support::start());
    let back = bench
        .backup(&tree(2), BackupKind::Incremental)
        .await
        .unwrap();
    // Both exist and restore; nothing was overwritten or skipped because of the jump.
    assert_eq!(bench.restore(&ahead).await.unwrap(), tree(1));
    assert_eq!(bench.restore(&back).await.unwrap(), tree(2));
    let repository = bench.open(Role::Auditor).await.unwrap();
    assert_eq!(repository.snapshots(None, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn snapshots_are_found_by_the_start_of_their_id() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let repository = bench.open(Role::Auditor).await.unwrap();
    assert_eq!(
        repository.find(&snapshot.id.short()).await.unwrap().id,
        snapshot.id
    );
    let wrong = if snapshot.id.short().starts_with('0') {
        "1"
    } else {
        "0"
    };
    let error = repository.find(wrong).await.unwrap_err().to_string();
    assert_eq!(error, format!("no snapshot has the id `{wrong}`"));
    let names = Repository::snapshot_names(&*bench.store, None, None)
        .await
        .unwrap();
    assert_eq!(names.len(), 1);
}

#[tokio::test]
async fn a_reused_file_keeps_the_extended_attributes_of_its_parent() {
    let bench = Bench::in_memory().await;
    let old = support::start().as_nanosecond() as i64 - 60_000_000_000;
    let attributes = vec![(b"user.label".to_vec(), b"secret".to_vec())];
    let known = Metadata {
        mtime_ns: old,
        ctime_ns: old,
        xattrs: attributes.clone(),
        ..Metadata::default()
    };
    assert!(!reused(&bench, &known, 10).await);
    // The walk did not ask for them this time.
    let asked_for_less = Metadata {
        xattrs: Vec::new(),
        ..known
    };
    assert!(reused(&bench, &asked_for_less, 10).await);
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let newest = auditor.snapshots(None, None).await.unwrap().pop().unwrap();
    let manifest = auditor.manifest(&newest).await.unwrap();
    assert_eq!(manifest.entries[0].entry.metadata.xattrs, attributes);
}

#[tokio::test]
async fn a_reused_folder_keeps_the_extended_attributes_of_its_parent() {
    let bench = Bench::in_memory().await;
    let old = support::start().as_nanosecond() as i64 - 60_000_000_000;
    let mut folder = entry(EntryPath::new("d").unwrap(), EntryKind::Directory);
    folder.metadata.mtime_ns = old;
    folder.metadata.ctime_ns = old;
    let mut known = folder.clone();
    known.metadata.xattrs = vec![(b"user.label".to_vec(), b"secret".to_vec())];
    let mut moved_on = folder.clone();
    moved_on.metadata.ctime_ns += 1;
    for (given, expected) in [(&known, false), (&folder, true), (&moved_on, false)] {
        let repository = bench.open(Role::Writer).await.unwrap();
        let mut writer = repository
            .snapshot_writer(draft(BackupKind::Incremental))
            .await
            .unwrap();
        assert_eq!(writer.reuse(given).await.unwrap(), expected);
        if !expected {
            writer.add(given.clone()).await.unwrap();
        }
        bench.clock.advance(std::time::Duration::from_secs(60));
        let snapshot = writer.commit(bench.world.clock.now()).await.unwrap();
        let manifest = repository.manifest(&snapshot).await.unwrap();
        let expected = if given == &moved_on {
            &moved_on
        } else {
            &known
        };
        assert_eq!(manifest.entries.len(), 1);
        assert_eq!(manifest.entries[0].entry, *expected);
    }
}

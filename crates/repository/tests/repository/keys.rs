//! What each key can do is found out by trying.

use crate::support::{self, Bench, tree};
use lifeboat_model::{BackupKind, Diagnose as _, ErrorKind};
use lifeboat_repository::{Credential, Repository, Role};

#[tokio::test]
async fn a_stolen_writer_key_opens_no_content_not_even_its_own() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let writer = bench.open(Role::Writer).await.unwrap();
    // It sees the names, as it must to take increments, and nothing of the bytes.
    assert_eq!(writer.manifest(&snapshot).await.unwrap().entries.len(), 6);
    let error = support::restore(&writer, &snapshot).await.unwrap_err();
    assert_eq!(error.to_string(), "a writer key cannot read content");
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    // Nor does any plaintext lie around in what it wrote.
    for meta in bench.store.list("").await.unwrap() {
        let bytes = bench.store.get(&meta.key).await.unwrap();
        for needle in [b"tiny 1".as_slice(), b"line 1\nline 1", b"shop.db"] {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} holds plaintext", meta.key);
        }
    }
}

#[tokio::test]
async fn an_auditor_verifies_but_neither_reads_nor_writes() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let report = auditor
        .verify(lifeboat_repository::VerifyLevel::Full)
        .await
        .unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert!(support::restore(&auditor, &snapshot).await.is_err());
    let draft = support::draft(BackupKind::Full);
    assert!(auditor.snapshot_writer(draft).await.is_err());
}

#[tokio::test]
async fn the_printed_root_secret_alone_recovers_everything() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let root = bench.open(Role::Root).await.unwrap();
    assert_eq!(support::restore(&root, &snapshot).await.unwrap(), tree(1));
}

#[tokio::test]
async fn keys_of_another_repository_are_refused() {
    let here = Bench::in_memory().await;
    let (_, world) = support::world(99);
    let store = std::sync::Arc::new(lifeboat_storage::MemoryStore::new("other"));
    let (_, other) = Repository::create(
        store,
        "home".parse().unwrap(),
        "eu".parse().unwrap(),
        world.clone(),
    )
    .await
    .unwrap();
    let try_open = async |credential| {
        let opened = Repository::open(here.store.clone(), &credential, world.clone()).await;
        opened.map(|_| ()).unwrap_err()
    };
    let (_, reader) = other
        .secrets
        .into_iter()
        .find(|(role, _)| *role == Role::Reader)
        .unwrap();
    let error = try_open(Credential::Key(reader, "reader key".to_owned())).await;
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(
        error
            .to_string()
            .starts_with("the reader key opens no key of repository")
    );
    let error = try_open(Credential::Root(other.root)).await;
    assert_eq!(error.kind(), ErrorKind::WrongKey);
}

#[tokio::test]
async fn a_second_repository_in_the_same_place_is_refused() {
    let bench = Bench::in_memory().await;
    let created = Repository::create(
        bench.store.clone(),
        "home".parse().unwrap(),
        "eu".parse().unwrap(),
        bench.world.clone(),
    )
    .await;
    assert_eq!(
        created.map(|_| ()).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
}

//! Keys that are issued later, protected by passphrases, and revoked: what opens and what does not.

use std::sync::Arc;

use bytes::Bytes;
use lifeboat_model::{BackupKind, Diagnose as _, ErrorKind};
use lifeboat_repository::{
    Action, Credential, NewKey, PassphraseFor, Repository, RepositoryError, Revocations, Role,
};
use lifeboat_runtime::SecretBytes;
use lifeboat_storage::{MemoryStore, ObjectKey, ObjectStore};

use crate::support::{self, Bench, tree};

const PASSPHRASE: &str = "five random words are enough";

fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn by_passphrase(text: &str, role: Option<Role>) -> Credential {
    let wanted = PassphraseFor { role, key: None };
    Credential::Passphrase(secret(text), wanted, "passphrase".to_owned())
}

fn by_secret(key: &NewKey) -> Credential {
    Credential::Key(key.secret.clone(), format!("{} key", key.info.role))
}

/// Issues a key into the bench's store.
async fn issue(bench: &Bench, role: Role, passphrase: Option<&str>) -> NewKey {
    let root = bench.open(Role::Root).await.unwrap();
    let passphrase = passphrase.map(secret);
    let name = Some("laptop".to_owned());
    let key = root.make_key(role, name, passphrase.as_ref()).unwrap();
    key.write(&*bench.store).await.unwrap();
    key
}

async fn open(bench: &Bench, credential: Credential) -> Result<Repository, RepositoryError> {
    Repository::open(bench.store.clone(), &credential, bench.world.clone()).await
}

async fn open_error(bench: &Bench, credential: Credential) -> RepositoryError {
    open(bench, credential).await.map(|_| ()).unwrap_err()
}

/// The same objects in another store.
async fn copy_of(store: &dyn ObjectStore) -> Arc<dyn ObjectStore> {
    let copy = MemoryStore::new("copy");
    for meta in store.list("").await.unwrap() {
        let bytes = store.get(&meta.key).await.unwrap();
        copy.put(&meta.key, bytes).await.unwrap();
    }
    Arc::new(copy)
}

/// Puts other bytes in an object's place, as whoever owns a store can.
async fn replace(store: &dyn ObjectStore, key: &ObjectKey, bytes: Vec<u8>) {
    store.delete(key).await.unwrap();
    store.put(key, Bytes::from(bytes)).await.unwrap();
}

fn object_of(key: &NewKey) -> ObjectKey {
    ObjectKey::new(format!("keys/{}", key.info.key)).unwrap()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths are part of the object");
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes());
    let at = at.expect("the label holds it");
    let mut changed = bytes.to_vec();
    changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    changed
}

#[tokio::test]
async fn a_pruner_lists_and_may_prune_but_neither_opens_content_nor_makes_chunks() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let key = issue(&bench, Role::Pruner, None).await;
    let pruner = open(&bench, by_secret(&key)).await.unwrap();
    assert_eq!(pruner.manifest(&snapshot).await.unwrap().entries.len(), 6);
    pruner.require(Action::Prune).unwrap();
    let error = support::restore(&pruner, &snapshot).await.unwrap_err();
    assert_eq!(error.to_string(), "a pruner key cannot read content");
    let draft = support::draft(BackupKind::Full);
    let error = pruner.snapshot_writer(draft).await.err().unwrap();
    assert_eq!(error.to_string(), "a pruner key cannot back up");
}

#[tokio::test]
async fn who_may_not_prune_or_issue_is_told_who_may() {
    let bench = Bench::in_memory().await;
    for role in [Role::Auditor, Role::Writer, Role::Reader] {
        let repository = bench.open(role).await.unwrap();
        let error = repository.require(Action::Prune).unwrap_err();
        assert_eq!(error.to_string(), format!("a {role} key cannot prune"));
        assert_eq!(error.hint().unwrap(), "this needs the pruner key");
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        let error = repository.make_key(Role::Writer, None, None).err().unwrap();
        assert_eq!(error.hint().unwrap(), "this needs the recovery code");
    }
    bench
        .open(Role::Root)
        .await
        .unwrap()
        .require(Action::Prune)
        .unwrap();
}

#[tokio::test]
async fn a_key_issued_later_opens_what_was_there_before() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    let key = issue(&bench, Role::Reader, None).await;
    let reader = open(&bench, by_secret(&key)).await.unwrap();
    assert_eq!(support::restore(&reader, &snapshot).await.unwrap(), tree(1));
    let listed = reader.key_list().await.unwrap();
    assert!(listed.contains(&key.info), "{listed:?}");
    assert_eq!(key.info.name.as_deref(), Some("laptop"));
}

#[tokio::test]
async fn the_right_passphrase_opens_and_any_other_is_a_wrong_key() {
    let bench = Bench::in_memory().await;
    let snapshot = bench.backup(&tree(1), BackupKind::Full).await.unwrap();
    issue(&bench, Role::Reader, Some(PASSPHRASE)).await;
    let reader = open(&bench, by_passphrase(PASSPHRASE, Some(Role::Reader)))
        .await
        .unwrap();
    assert_eq!(support::restore(&reader, &snapshot).await.unwrap(), tree(1));
    assert_eq!(
        open(&bench, by_passphrase(PASSPHRASE, None))
            .await
            .unwrap()
            .role(),
        Role::Reader
    );
    for wrong in [
        "five random words are enougH",
        "",
        &format!("{PASSPHRASE} "),
    ] {
        let error = open_error(&bench, by_passphrase(wrong, None)).await;
        assert_eq!(error.kind(), ErrorKind::WrongKey, "{wrong:?}");
        assert!(
            error.to_string().starts_with("the passphrase opens no key"),
            "{error}"
        );
    }
    // It is the reader's, and opens no other role's keys.
    let error = open_error(&bench, by_passphrase(PASSPHRASE, Some(Role::Writer))).await;
    assert_eq!(error.kind(), ErrorKind::WrongKey);
}

#[tokio::test]
async fn a_key_object_whose_label_was_changed_opens_nothing() {
    let bench = Bench::in_memory().await;
    let key = issue(&bench, Role::Reader, Some(PASSPHRASE)).await;
    let auditor = issue(&bench, Role::Auditor, None).await;
    let object = object_of(&key);
    let good = bench.store.get(&object).await.unwrap();
    for (from, to) in [
        ("\"laptop\"", "\"server\""),
        ("\"reader\"", "\"writer\""),
        ("2026-11-21", "2026-11-22"),
        ("\"memory_kib\": 65536", "\"memory_kib\": 00512"),
        ("\"memory_kib\": 65536", "\"memory_kib\": 65528"),
        ("\"passes\": 3", "\"passes\": 2"),
        ("\"revocation\"", "\"revocatiom\""),
    ] {
        replace(&*bench.store, &object, replaced(&good, from, to)).await;
        let error = open_error(&bench, by_passphrase(PASSPHRASE, None)).await;
        assert_eq!(error.kind(), ErrorKind::WrongKey, "{to}: {error}");
    }
    replace(&*bench.store, &object, good.to_vec()).await;
    assert!(open(&bench, by_passphrase(PASSPHRASE, None)).await.is_ok());
    // A key object under another's name is not taken for that other's.
    let borrowed = bench.store.get(&object_of(&auditor)).await.unwrap();
    replace(&*bench.store, &object, borrowed.to_vec()).await;
    let error = open_error(&bench, by_secret(&key)).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_key_object_that_asks_for_too_much_is_refused_and_shuts_out_no_other() {
    let bench = Bench::in_memory().await;
    let greedy = issue(&bench, Role::Reader, Some(PASSPHRASE)).await;
    let object = object_of(&greedy);
    let good = bench.store.get(&object).await.unwrap();
    let asks = replaced(&good, "\"memory_kib\": 65536", "\"memory_kib\": 99999");
    let asks = replaced(&asks, "\"passes\": 3", "\"passes\":99");
    replace(&*bench.store, &object, asks).await;
    let error = open_error(&bench, by_passphrase(PASSPHRASE, None)).await;
    assert!(error.to_string().contains("asks for more work"), "{error}");
    let sound = issue(&bench, Role::Reader, Some(PASSPHRASE)).await;
    assert!(open(&bench, by_passphrase(PASSPHRASE, None)).await.is_ok());
    // However many newer ones somebody adds: who names the key is not kept waiting.
    let cheap = replaced(&good, "\"memory_kib\": 65536", "\"memory_kib\":    64");
    let newer = replaced(&cheap, "2026-11-21", "2026-11-22");
    for n in 0..10 {
        let id = format!("{n:016x}");
        let planted = replaced(&newer, &greedy.info.key.to_string(), &id);
        let name = ObjectKey::new(format!("keys/{id}")).unwrap();
        bench.store.put(&name, Bytes::from(planted)).await.unwrap();
    }
    assert!(open(&bench, by_passphrase(PASSPHRASE, None)).await.is_err());
    let wanted = PassphraseFor {
        role: None,
        key: Some(sound.info.key),
    };
    let named = Credential::Passphrase(secret(PASSPHRASE), wanted, "passphrase".to_owned());
    assert!(open(&bench, named).await.is_ok());
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_even_where_its_object_is_left() {
    let bench = Bench::in_memory().await;
    let root = bench.open(Role::Root).await.unwrap();
    for passphrase in [None, Some(PASSPHRASE)] {
        let key = issue(&bench, Role::Reader, passphrase).await;
        let credential = || match passphrase {
            None => by_secret(&key),
            Some(text) => by_passphrase(text, None),
        };
        assert!(open(&bench, credential()).await.is_ok());
        root.make_revocation(&key.info)
            .unwrap()
            .write(&*bench.store)
            .await
            .unwrap();
        let error = open_error(&bench, credential()).await;
        assert!(
            matches!(error, RepositoryError::KeyRevoked { .. }),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        Repository::delete_key_object(&*bench.store, key.info.key)
            .await
            .unwrap();
        let error = open_error(&bench, by_secret(&key)).await;
        assert!(
            matches!(error, RepositoryError::KeyRevoked { .. }),
            "{error}"
        );
    }
    // Others are not touched by it.
    assert!(bench.open(Role::Reader).await.is_ok());
}

#[tokio::test]
async fn who_can_only_write_to_the_store_revokes_nobody() {
    let bench = Bench::in_memory().await;
    let (victim, other) = (
        issue(&bench, Role::Reader, None).await,
        issue(&bench, Role::Writer, None).await,
    );
    let root = bench.open(Role::Root).await.unwrap();
    // Neither made-up names nor the true revocation of another key do anything.
    let true_of_other = root.make_revocation(&other.info).unwrap().token.to_string();
    for token in ["00".repeat(32), true_of_other, "x".to_owned()] {
        let name = format!("revoked/{}/{token}", victim.info.key);
        let name = ObjectKey::new(name).unwrap();
        bench.store.put(&name, Bytes::from("{}")).await.unwrap();
    }
    assert!(open(&bench, by_secret(&victim)).await.is_ok());
    // Nor do they keep the true one out.
    root.make_revocation(&victim.info)
        .unwrap()
        .write(&*bench.store)
        .await
        .unwrap();
    assert!(open(&bench, by_secret(&victim)).await.is_err());
}

#[tokio::test]
async fn revocations_hold_in_each_copy_and_can_be_told_without_a_key() {
    let bench = Bench::in_memory().await;
    let key = issue(&bench, Role::Writer, None).await;
    let missed = copy_of(&*bench.store).await;
    let root = bench.open(Role::Root).await.unwrap();
    let revocation = root.make_revocation(&key.info).unwrap();
    revocation.write(&*bench.store).await.unwrap();
    let here = Revocations::of(&*bench.store).await.unwrap();
    let there = Revocations::of(&*missed).await.unwrap();
    assert!(here.revokes(&key.info) && !there.revokes(&key.info));
    assert!(there.and(&here).revokes(&key.info));
    let copy = copy_of(&*bench.store).await;
    let opened = Repository::open(copy, &by_secret(&key), bench.world.clone()).await;
    assert!(matches!(
        opened.err().unwrap(),
        RepositoryError::KeyRevoked { .. }
    ));
}

#[tokio::test]
async fn root_tells_keys_it_issued_from_others() {
    let bench = Bench::in_memory().await;
    let root = bench.open(Role::Root).await.unwrap();
    for info in root.key_list().await.unwrap() {
        assert_eq!(root.issued(&info), Some(true), "{info:?}");
        let mut forged = info.clone();
        forged.role = match info.role {
            Role::Reader => Role::Writer,
            _ => Role::Reader,
        };
        assert_eq!(root.issued(&forged), Some(false));
        assert_eq!(bench.open(Role::Reader).await.unwrap().issued(&info), None);
    }
}

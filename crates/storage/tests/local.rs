//! What a folder can do to a store, and how the store answers.

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use lifeboat_model::{Diagnose, ErrorKind};
use lifeboat_storage::{LocalStore, ObjectKey, ObjectStore, Put, StoreError};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn why(error: &StoreError) -> String {
    error.source().unwrap().to_string()
}

fn temp_names(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("tmp")) else {
        return Vec::new();
    };
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

#[test]
fn a_missing_folder_is_named_and_never_made() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("backup-disk");
    let error = LocalStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRepository);
    assert_eq!(
        error.to_string(),
        format!("failed to open `{}`", path.display())
    );
    assert_eq!(
        why(&error),
        "the folder does not exist; its disk may not be mounted"
    );
    assert!(error.hint().unwrap().contains("mounted"));
    assert!(!path.exists());
}

#[test]
fn a_file_is_not_a_store() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = LocalStore::open(file.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRepository);
    assert_eq!(why(&error), "it is not a folder");
    let error = LocalStore::create(file.path().join("in/it")).unwrap_err();
    assert!(error.to_string().starts_with("failed to create `/"));
}

#[tokio::test]
async fn create_makes_folders_that_only_the_owner_reads_and_is_repeatable() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b/store");
    let store = LocalStore::create(&path).unwrap();
    store.put(&key("packs/aa/one"), body("1")).await.unwrap();
    let again = LocalStore::create(&path).unwrap();
    assert_eq!(again.get(&key("packs/aa/one")).await.unwrap(), body("1"));

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["", "packs", "packs/aa", "tmp"] {
        assert_eq!(mode(&path.join(folder)), 0o700, "of `{folder}`");
    }
    assert_eq!(mode(&path.join("packs/aa/one")), 0o600);
}

#[tokio::test]
async fn a_writer_killed_midway_leaves_no_object_and_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put(&key("whole"), body("whole")).await.unwrap();
    let temp = folder.path().join("tmp");
    fs::write(temp.join("4194000-7"), "half an obj").unwrap();
    fs::write(temp.join("notes.txt"), "not ours").unwrap();

    let listed = store.list("").await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key, key("whole"));

    LocalStore::open(folder.path()).unwrap();
    assert_eq!(temp_names(folder.path()), ["notes.txt"]);
}

#[tokio::test]
async fn only_regular_files_with_sound_names_are_objects() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("packs/lost+found/deep")).unwrap();
    fs::write(root.join("packs/lost+found/deep/file"), "").unwrap();
    fs::write(root.join("packs/a b"), "").unwrap();
    fs::write(root.join("packs/real"), "real").unwrap();
    symlink(outside.path(), root.join("packs/folder-link")).unwrap();
    symlink(outside.path().join("secret"), root.join("packs/link")).unwrap();
    let fifo = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("packs/pipe"), fifo.0, fifo.1, 0).unwrap();

    let store = LocalStore::open(root).unwrap();
    for prefix in ["", "packs/"] {
        let listed = store.list(prefix).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].key, key("packs/real"));
    }
    assert_eq!(store.list("packs/folder-link/").await.unwrap(), []);
    for other in ["packs", "packs/link", "packs/pipe"] {
        let other = key(other);
        let error = store.get(&other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(store.head(&other).await.unwrap(), None);
        let error = store.put(&other, body("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
        store.delete(&other).await.unwrap();
        assert!(fs::symlink_metadata(root.join(other.as_str())).is_ok());
    }
}

#[tokio::test]
async fn an_object_in_the_place_of_a_folder_is_an_error_that_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put(&key("a"), body("a")).await.unwrap();
    let error = store.put(&key("a/b"), body("b")).await.unwrap_err();
    assert_eq!(error.key, "a/b");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(temp_names(folder.path()).is_empty());
    assert_eq!(store.get(&key("a")).await.unwrap(), body("a"));
}

#[tokio::test]
async fn empty_folders_tidied_away_by_somebody_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put(&key("packs/aa/one"), body("1")).await.unwrap();
    store.delete(&key("packs/aa/one")).await.unwrap();
    fs::remove_dir_all(folder.path().join("packs")).unwrap();
    fs::remove_dir(folder.path().join("tmp")).unwrap();
    let put = store.put(&key("packs/aa/two"), body("2")).await.unwrap();
    assert_eq!(put, Put::Created);
    assert_eq!(store.list("packs/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_folder_that_disappears_is_an_error_of_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put(&key("packs/one"), body("1")).await.unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    let one = key("packs/one");
    let errors = [
        store.put(&one, body("1")).await.unwrap_err(),
        store.get(&one).await.unwrap_err(),
        store.get_range(&one, 0..1).await.unwrap_err(),
        store.head(&one).await.unwrap_err(),
        store.list("").await.unwrap_err(),
        store.list("packs/").await.unwrap_err(),
        store.delete(&one).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NoRepository, "{error}");
        assert_eq!(
            why(&error),
            "the folder was removed or unmounted while in use"
        );
    }
    assert!(!folder.path().exists(), "the folder was made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_racing_for_a_key_have_one_winner_and_readers_see_no_part() {
    const LENGTH: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let stores = [
        LocalStore::open(folder.path()).unwrap(),
        LocalStore::open(folder.path()).unwrap(),
    ];
    for round in 0..8 {
        let name = key(&format!("race/{round}/object"));
        let mut puts = Vec::new();
        let mut gets = Vec::new();
        for racer in 0..16_u8 {
            let (store, name) = (stores[usize::from(racer % 2)].clone(), name.clone());
            let (reader, read_name) = (store.clone(), name.clone());
            gets.push(tokio::spawn(async move { reader.get(&read_name).await }));
            puts.push(tokio::spawn(async move {
                let put = store.put(&name, vec![racer; LENGTH].into()).await;
                (racer, put.unwrap())
            }));
        }
        let mut winners = Vec::new();
        for put in puts {
            let (racer, put) = put.await.unwrap();
            if put == Put::Created {
                winners.push(racer);
            }
        }
        assert_eq!(winners.len(), 1, "of round {round}");
        let stored = stores[1].get(&name).await.unwrap();
        assert!(stored == vec![winners[0]; LENGTH], "of round {round}");
        for get in gets {
            match get.await.unwrap() {
                Ok(seen) => assert!(seen == stored, "a part was read in round {round}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
    }
    assert!(temp_names(folder.path()).is_empty());
}

/// A small file system of its own, where the tests may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn mount() -> Option<Self> {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        let mounted = disk.run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
        if !mounted {
            eprintln!("SKIPPED: mounting a tmpfs is not permitted here");
        }
        mounted.then_some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let output = std::process::Command::new(program)
            .args(arguments)
            .arg(self.path())
            .output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It fails where the mount did, and there is nothing to undo then.
        self.run("umount", &["-l"]);
    }
}

#[tokio::test]
async fn a_full_disk_is_no_space_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = LocalStore::open(disk.path()).unwrap();
    store.put(&key("small"), body("small")).await.unwrap();
    let error = store
        .put(&key("packs/big"), vec![1; 2 << 20].into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.hint().unwrap().contains("free some space"));
    assert!(temp_names(disk.path()).is_empty());
    assert_eq!(store.head(&key("packs/big")).await.unwrap(), None);
    assert_eq!(store.get(&key("small")).await.unwrap(), body("small"));
    let put = store.put(&key("packs/after"), body("after")).await.unwrap();
    assert_eq!(put, Put::Created);
}

#[tokio::test]
async fn a_disk_mounted_read_only_is_read_and_refuses_writes() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = LocalStore::open(disk.path()).unwrap();
    store.put(&key("packs/aa/one"), body("one")).await.unwrap();
    fs::write(disk.path().join("tmp/1-1"), "left behind").unwrap();
    drop(store);
    assert!(disk.run("mount", &["-o", "remount,ro"]));

    let store = LocalStore::open(disk.path()).unwrap();
    assert_eq!(store.get(&key("packs/aa/one")).await.unwrap(), body("one"));
    assert_eq!(store.list("").await.unwrap().len(), 1);
    // What is there needs no write to be confirmed.
    let put = store
        .put(&key("packs/aa/one"), body("other"))
        .await
        .unwrap();
    assert_eq!(put, Put::AlreadyExists);
    let error = store.put(&key("two"), body("two")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = store.delete(&key("packs/aa/one")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn what_root_makes_in_somebodys_store_is_theirs() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    if !rustix::process::geteuid().is_root() {
        // Nobody else could give anything away.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(65_534), Some(65_533)).unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let key: ObjectKey = "a/b/c".parse().unwrap();
    store.put(&key, Bytes::from_static(b"x")).await.unwrap();
    for name in ["a", "a/b", "a/b/c", "tmp"] {
        let found = folder.path().join(name).symlink_metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (65_534, 65_533), "{name}");
    }
}

//! Base backups over the wire, beside the files on the server's disk.

use std::collections::BTreeMap;
use std::path::Path;

use lifeboat_model::{EntryKind, Segment, SegmentSize};
use lifeboat_source_postgres::CheckpointPace;
use lifeboat_source_postgres::replication::{BackupEvent, BackupStream, StreamOptions};
use lifeboat_testkit::{PgCluster, PgInstallation};

use crate::support::sender;

type Files = BTreeMap<String, Vec<u8>>;

/// Reads a whole stream; returns the files and the order they came in.
async fn read_all(stream: &mut BackupStream) -> (Files, Vec<String>) {
    let (mut files, mut order) = (Files::new(), Vec::new());
    let mut open: Option<(String, u64)> = None;
    while let Some(event) = stream.next().await.unwrap() {
        match event {
            BackupEvent::Entry(entry) => {
                assert!(open.is_none());
                assert_eq!(entry.kind, EntryKind::Directory);
                order.push(format!("{}/", entry.path));
            }
            BackupEvent::File { entry, paged } => {
                let path = entry.path.to_string();
                let EntryKind::File { size } = entry.kind else {
                    panic!("{path} is no file");
                };
                assert!(!paged || size % 8192 == 0, "{path} has half a page");
                files.insert(path.clone(), Vec::new());
                order.push(path.clone());
                open = Some((path, size));
            }
            BackupEvent::Block(bytes) => {
                let (path, _) = open.as_ref().expect("a block belongs to a file");
                files.get_mut(path).unwrap().extend_from_slice(&bytes);
            }
            BackupEvent::FileEnd => {
                let (path, size) = open.take().expect("a file ends after it began");
                assert_eq!(files[&path].len() as u64, size, "{path}");
            }
        }
    }
    (files, order)
}

/// Collects the files below `folder` that a backup holds, by what the snapshot names them.
fn on_disk(folder: &Path, name: &str, found: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let file_name = entry.file_name().into_string().unwrap();
        let path = format!("{name}/{file_name}");
        if entry.file_type().unwrap().is_dir() {
            on_disk(&entry.path(), &path, found);
        } else if !file_name.starts_with("pg_internal.init") {
            found.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

async fn backup_equals_disk(installation: &PgInstallation) {
    let cluster = PgCluster::on(installation)
        .conf("autovacuum = off")
        .without_fsync()
        .start();
    let space = cluster.make_folder("space");
    cluster.psql(&format!(
        "CREATE TABLESPACE space LOCATION '{}'",
        space.display()
    ));
    cluster.psql(
        "CREATE TABLE big AS SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n; \
         CREATE TABLE there TABLESPACE space AS SELECT n FROM generate_series(1, 5000) n; \
         CREATE UNLOGGED TABLE unlogged AS SELECT 1",
    );
    let unlogged = cluster.psql("SELECT pg_relation_filepath('unlogged')");
    let oid = cluster.psql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");
    // Left behind by an earlier recovery; the server would send them.
    for name in ["standby.signal.old", "backup_label.old", "standby.signal"] {
        std::fs::write(cluster.data_dir().join(name), "").unwrap();
    }
    cluster.psql("CHECKPOINT");

    let options = StreamOptions {
        label: "it's lifeboat's".to_owned(),
        pace: CheckpointPace::Fast,
        wait_for_archive: false,
        max_rate_kib: None,
    };
    let connected = sender(&cluster).await;
    let (mut stream, start) = BackupStream::start(connected, &options).await.unwrap();
    assert_eq!(start.tablespaces.len(), 1);
    assert_eq!(start.tablespaces[0].oid.to_string(), oid);
    assert_eq!(start.tablespaces[0].location, space);
    let (files, order) = read_all(&mut stream).await;
    let (mut connected, end) = stream.finish().await.unwrap();
    assert!(end.lsn > start.lsn);
    assert_eq!(end.timeline, start.timeline);
    assert!(end.left_out >= 3);
    // The connection serves on.
    connected.identify_system().await.unwrap();

    let mut expected = Files::new();
    on_disk(&cluster.data_dir().join("base"), "data/base", &mut expected);
    on_disk(
        &cluster.data_dir().join("pg_xact"),
        "data/pg_xact",
        &mut expected,
    );
    on_disk(&space, &format!("pg_tblspc/{oid}"), &mut expected);
    expected.retain(|path, _| *path != format!("data/{unlogged}"));
    let below = |path: &str| {
        ["data/base/", "data/pg_xact/", "pg_tblspc/"]
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    let sent: Files = files
        .clone()
        .into_iter()
        .filter(|(path, _)| below(path))
        .collect();
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sent), names(&expected));
    for (path, content) in &expected {
        assert!(&sent[path] == content, "{path} differs");
    }
    assert!(sent.contains_key(&format!("data/{unlogged}_init")));
    check_recovery_files(&files, &order, &start.lsn.to_string(), &oid);
    let segment = Segment::holding(start.timeline, start.lsn, SegmentSize::DEFAULT);
    assert!(text(&files, "recovery/backup_label").contains(&segment.to_string()));
}

fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files[path].clone()).unwrap()
}

fn check_recovery_files(files: &Files, order: &[String], start: &str, oid: &str) {
    let label = text(files, "recovery/backup_label");
    assert!(
        label.contains(&format!("START WAL LOCATION: {start}")),
        "{label}"
    );
    assert!(label.contains("LABEL: it's lifeboat's"), "{label}");
    assert!(text(files, "recovery/tablespace_map").starts_with(&format!("{oid} ")));
    assert_eq!(files["recovery/pg_control"].len(), 8192);
    assert!(!files.contains_key("data/global/pg_control"));
    assert!(
        !files
            .keys()
            .any(|path| path.contains("signal") || path.contains("label.old"))
    );
    assert!(!files.keys().any(|path| path.starts_with("data/pg_wal/")));
    // The control file is the last of the data directory's, and every file's folder came before it.
    let at = |wanted: &str| order.iter().position(|path| path == wanted).unwrap();
    let last = order
        .iter()
        .rposition(|path| path.starts_with("data/") && !path.ends_with('/'));
    assert!(at("recovery/pg_control") > last.unwrap());
    for path in order {
        let folder = &path[..=path.trim_end_matches('/').rfind('/').unwrap_or(0)];
        assert!(
            folder.len() <= 1 || at(folder) < at(path),
            "{path} came before its folder"
        );
    }
    for kept_empty in ["data/pg_wal/", "data/pg_tblspc/", "data/pg_replslot/"] {
        assert!(order.contains(&kept_empty.to_owned()), "{kept_empty}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_streamed_equals_what_is_on_the_disk() {
    for installation in PgInstallation::all_or_skip("streaming a base backup") {
        backup_equals_disk(installation).await;
    }
}

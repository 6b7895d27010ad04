//! What the tests of this crate share: connections, and a snapshot that is a plain folder.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_model::{Entry, EntryKind, EntryPath, WalFileName};
use lifeboat_source_postgres::{
    BackupEnd, BackupOptions, BaseBackup, CheckpointPace, ClusterItem, ClusterReader,
    DataDirectory, KeepWal, PageChecks, PostgresError, ReadEnd, ReadStats, RecoveryFiles,
    ServerPrograms,
};
use lifeboat_testkit::PgCluster;
use tokio_postgres::{Client, NoTls};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn connect(cluster: &PgCluster) -> Client {
    connect_with(&cluster.conninfo()).await
}

pub(crate) async fn connect_with(conninfo: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client
}

pub(crate) fn programs(cluster: &PgCluster) -> ServerPrograms {
    let installation = cluster.installation();
    ServerPrograms::find(installation.major, std::slice::from_ref(&installation.bin)).unwrap()
}

pub(crate) fn options(cluster: &PgCluster) -> BackupOptions<'_> {
    BackupOptions {
        label: "test",
        checkpoint: CheckpointPace::Fast,
        data_directory: Some(cluster.data_dir()),
        wal: KeepWal::No,
    }
}

/// A snapshot as a folder: each entry of a reader at its own path.
pub(crate) struct Snapshot {
    pub(crate) folder: PathBuf,
    pub(crate) paths: Vec<String>,
    last: Option<EntryPath>,
}

impl Snapshot {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let (paths, last) = (Vec::new(), None);
        Self {
            folder,
            paths,
            last,
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// Takes everything that a reader hands out, and checks that it comes in order.
    pub(crate) async fn take(
        &mut self,
        mut reader: ClusterReader,
    ) -> Result<ReadEnd, PostgresError> {
        let mut file: Option<(File, u64)> = None;
        while let Some(item) = reader.next().await? {
            match item {
                ClusterItem::Entry(entry) => self.make(&entry),
                ClusterItem::File { entry, .. } => {
                    let EntryKind::File { size } = entry.kind else {
                        panic!("`{}` is no file", entry.path)
                    };
                    let path = self.note(&entry);
                    file = Some((File::create_new(&path).unwrap(), size));
                    dress(&path, &entry);
                }
                ClusterItem::Block(bytes) => {
                    let (file, missing) = file.as_mut().expect("a block belongs to a file");
                    file.write_all(&bytes).unwrap();
                    *missing -= bytes.len() as u64;
                }
                ClusterItem::FileEnd => {
                    let (_, missing) = file.take().expect("a file was begun");
                    assert_eq!(missing, 0, "{:?} is too short", self.last);
                }
                ClusterItem::End(end) => {
                    assert!(file.is_none());
                    assert!(reader.next().await?.is_none());
                    return Ok(*end);
                }
            }
        }
        panic!("the reader ended without saying so");
    }

    fn make(&mut self, entry: &Entry) {
        let path = self.note(entry);
        match &entry.kind {
            // The snapshot's root is the folder itself, which belongs to the test.
            EntryKind::Directory if entry.path.is_root() => return,
            EntryKind::Directory => fs::create_dir(&path).unwrap(),
            EntryKind::Symlink { target } => {
                symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap();
            }
            other => panic!("{other:?}"),
        }
        dress(&path, entry);
    }

    fn note(&mut self, entry: &Entry) -> PathBuf {
        assert!(
            self.last < Some(entry.path.clone()),
            "`{}` comes after {:?}",
            entry.path,
            self.last
        );
        self.last = Some(entry.path.clone());
        self.paths.push(entry.path.to_string());
        self.folder
            .join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|listed| listed == path)
    }
}

fn dress(path: &Path, entry: &Entry) {
    let metadata = &entry.metadata;
    lchown(path, Some(metadata.uid), Some(metadata.gid)).unwrap();
    if !matches!(entry.kind, EntryKind::Symlink { .. }) {
        fs::set_permissions(path, Permissions::from_mode(metadata.mode)).unwrap();
    }
}

/// A backup of `cluster` into the folder `name` beside it, with the log that it needs.
pub(crate) async fn back_up(cluster: &PgCluster, name: &str) -> (Snapshot, BackupEnd, ReadStats) {
    let client = connect(cluster).await;
    let options = BackupOptions {
        wal: KeepWal::UntilSessionEnds,
        ..options(cluster)
    };
    let backup = BaseBackup::start(&client, &options).await.unwrap();
    let mut snapshot = Snapshot::new(cluster.make_folder(name));
    let directory = DataDirectory::open(cluster.data_dir()).unwrap();
    let reader = ClusterReader::start(directory, backup.start_lsn(), PageChecks::IfThere);
    let read = snapshot.take(reader).await.unwrap();
    let end = backup.stop().await.unwrap();
    let stats = read.settle(end.stop);
    let recovery = ClusterReader::recovery(RecoveryFiles {
        data_directory: cluster.data_dir().to_owned(),
        control: read.control,
        end: end.clone(),
        wal: end.segments().map(WalFileName::Segment).collect(),
    });
    snapshot.take(recovery).await.unwrap();
    (snapshot, end, stats)
}

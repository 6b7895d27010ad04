//! A base backup of a data directory on this host, into a snapshot.

use std::path::Path;

use jiff::Timestamp;
use lifeboat_config::{Environment, Source, WalKeeping};
use lifeboat_model::{RunId, WalFileName, WalRange};
use lifeboat_repository::{Layout, SnapshotWriter};
use lifeboat_source_postgres::page::PAGE_BYTES;
use lifeboat_source_postgres::{
    BackupEnd, BackupOptions, BaseBackup, CheckpointPace, ClusterItem, ClusterReader,
    DataDirectory, KeepWal, PageChecks, ReadEnd, RecoveryFiles, ServerFacts,
};

use super::facts::ClusterFacts;
use super::kept::Kept;
use super::server::{beat_once, connect};
use crate::error::OperationError;
use crate::session::Session;

/// Reads a cluster into a snapshot and returns the moment whose state it holds.
///
/// # Errors
/// Fails if the server cannot be backed up, a file cannot be read, or the log that the snapshot needs
/// is not kept.
pub(crate) async fn read_cluster(
    session: &Session,
    environment: &Environment,
    source: &Source,
    run: RunId,
    writer: &mut SnapshotWriter,
) -> Result<Timestamp, OperationError> {
    let cluster = source.cluster().expect("the source is a cluster");
    let Some(path) = &source.path else {
        return super::remote::read_cluster(session, environment, source, run, writer).await;
    };
    let server = connect(session, cluster).await?;
    let embedded = cluster.wal == WalKeeping::InSnapshot;
    session
        .progress
        .phase(&format!("starting a backup of {}", source.name), 0);
    let backup = BaseBackup::start(&server, &options(path, embedded)).await?;
    let facts = backup.facts().clone();
    beat_once(cluster, &server, facts.in_recovery).await;
    let names = (environment, source);
    let log = (!embedded).then(|| Kept::of(session, writer.repository(), names, &facts));
    if let Some(log) = &log {
        log.expect_start(&server, facts.timeline, backup.start_lsn())
            .await?;
    }
    let directory = DataDirectory::open(path)?;
    session
        .progress
        .phase(&format!("backing up {}", source.name), 0);
    let reader = ClusterReader::start(directory, backup.start_lsn(), PageChecks::IfThere);
    let read = store(reader, session, writer).await?;
    let end = backup.stop().await?;
    let range = range_of(&facts, &end, embedded);
    if let Some(log) = &log {
        log.expect_range(range).await?;
    }
    // A slot keeps the log of a snapshot that carries it for as long as the session lives.
    let recovery = ClusterReader::recovery(RecoveryFiles {
        data_directory: path.clone(),
        control: read.control.clone(),
        wal: embedded_wal(embedded, &end),
        end: end.clone(),
    });
    store(recovery, session, writer).await?;
    drop(server);
    let stats = read.settle(end.stop);
    warn_of_damage(session, path, stats.damaged_pages);
    ClusterFacts::new(&facts, &end, &stats).note(writer);
    writer.set_wal(range);
    Ok(end.stopped)
}

fn options(path: &Path, embedded: bool) -> BackupOptions<'_> {
    BackupOptions {
        label: "lifeboat",
        checkpoint: CheckpointPace::Fast,
        data_directory: Some(path),
        wal: match embedded {
            true => KeepWal::UntilSessionEnds,
            false => KeepWal::No,
        },
    }
}

fn range_of(server: &ServerFacts, end: &BackupEnd, embedded: bool) -> WalRange {
    WalRange {
        system: server.system_id,
        timeline: end.timeline,
        start: end.start,
        stop: end.stop,
        segment_size: end.segment_size,
        embedded,
    }
}

fn embedded_wal(embedded: bool, end: &BackupEnd) -> Vec<WalFileName> {
    let segments = end.segments().filter(|_| embedded);
    segments.map(WalFileName::Segment).collect()
}

/// Damaged pages are the server's, and a copy of them is worth more than none.
fn warn_of_damage(session: &Session, path: &Path, damaged: u64) {
    if damaged > 0 {
        session.progress.warn(&format!(
            "{damaged} pages in `{}` have a wrong checksum: the server's own files are damaged there, \
             and so is this copy of them; `lifeboat show` lists them",
            path.display()
        ));
    }
}

/// Stores what a reader hands out.
async fn store(
    mut reader: ClusterReader,
    session: &Session,
    writer: &mut SnapshotWriter,
) -> Result<ReadEnd, OperationError> {
    let pages = Layout::Pages {
        page_size: PAGE_BYTES as u32,
    };
    while let Some(item) = reader.next().await? {
        match item {
            ClusterItem::Entry(entry) => writer.add(entry).await?,
            ClusterItem::File { entry, paged } => {
                let layout = if paged { pages } else { Layout::Stream };
                writer.begin_file(entry, layout).await?;
            }
            ClusterItem::Block(bytes) => {
                writer.write(&bytes).await?;
                session.progress.advance(bytes.len() as u64);
            }
            ClusterItem::FileEnd => writer.end_file().await?,
            ClusterItem::End(end) => return Ok(*end),
        }
    }
    unreachable!("a reader ends with an error or with its end")
}

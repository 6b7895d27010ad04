//! A base backup over the replication protocol, for a cluster whose files are on another host.
//!
//! The server sends files in the order of its folders, and a snapshot is written in the order of
//! paths. So what comes is kept in a private folder first: this takes as much room as the cluster.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_config::{Environment, Source, WalKeeping};
use lifeboat_model::{Entry, RunId, WalRange};
use lifeboat_repository::{Layout, SnapshotWriter};
use lifeboat_source_postgres::page::PAGE_BYTES;
use lifeboat_source_postgres::replication::{BackupEvent, BackupStream, StreamOptions, WalSender};
use lifeboat_source_postgres::{CheckpointPace, ServerFacts, server_time};

use super::facts::{ClusterFacts, Span};
use super::kept::Kept;
use super::server::{beat_once, connect, conninfo};
use crate::error::OperationError;
use crate::session::Session;

/// Bytes read back at a time.
const READ_LEN: usize = 1 << 20;

/// One entry of the cluster as it came.
struct Arrived {
    entry: Entry,
    content: Option<Content>,
}

/// Where a file's bytes wait.
struct Content {
    place: PathBuf,
    paged: bool,
}

/// Reads a cluster on another host into a snapshot and returns the moment whose state it holds.
///
/// # Errors
/// Fails if the server cannot be backed up, or the log that the snapshot needs is not kept.
pub(super) async fn read_cluster(
    session: &Session,
    environment: &Environment,
    source: &Source,
    run: RunId,
    writer: &mut SnapshotWriter,
) -> Result<Timestamp, OperationError> {
    let cluster = source.cluster().expect("the source is a cluster");
    if cluster.wal == WalKeeping::InSnapshot {
        return Err(OperationError::Usage {
            message: format!("a snapshot of `{}` cannot carry its log", source.name),
            hint: "set `wal = \"archived\"`, or run on the server's host with `data_directory`"
                .to_owned(),
        });
    }
    let server = connect(session, cluster).await?;
    let facts = ServerFacts::ask(&server).await?;
    let log = Kept::of(session, writer.repository(), (environment, source), &facts);
    let scratch = session.scratch(run)?;
    session
        .progress
        .phase(&format!("receiving {}", source.name), 0);
    let sender = WalSender::connect(&conninfo(session, cluster)?).await?;
    let started = server_time(&server).await?;
    let (mut stream, start) = BackupStream::start(sender, &options()).await?;
    beat_once(cluster, &server, facts.in_recovery).await;
    log.expect_start(&server, start.timeline, start.lsn).await?;
    let mut arrived = receive(&mut stream, scratch.path(), session).await?;
    let (sender, end) = stream.finish().await?;
    // Now, not when all is stored: what is committed from here on is not in it.
    let stopped = server_time(&server).await?;
    sender.close().await;
    let range = WalRange {
        system: facts.system_id,
        timeline: end.timeline,
        start: start.lsn,
        stop: end.lsn,
        segment_size: facts.segment_size,
        embedded: false,
    };
    log.expect_range(range).await?;
    arrived.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    session
        .progress
        .phase(&format!("backing up {}", source.name), 0);
    for one in arrived {
        store(one, writer, session).await?;
    }
    let span = Span {
        timeline: end.timeline,
        start: start.lsn,
        stop: end.lsn,
        started,
        stopped,
    };
    ClusterFacts::of_stream(&facts, span).note(writer);
    writer.set_wal(range);
    Ok(stopped)
}

fn options() -> StreamOptions {
    StreamOptions {
        label: "lifeboat".to_owned(),
        pace: CheckpointPace::Fast,
        wait_for_archive: false,
        max_rate_kib: None,
    }
}

/// Keeps what the server sends in a private folder.
async fn receive(
    stream: &mut BackupStream,
    folder: &Path,
    session: &Session,
) -> Result<Vec<Arrived>, OperationError> {
    let mut arrived: Vec<Arrived> = Vec::new();
    let mut open: Option<(File, PathBuf)> = None;
    while let Some(event) = stream.next().await? {
        match event {
            BackupEvent::Entry(entry) => arrived.push(Arrived {
                entry,
                content: None,
            }),
            BackupEvent::File { entry, paged } => {
                let place = folder.join(arrived.len().to_string());
                let file = File::create(&place)
                    .map_err(|error| OperationError::io("create", &place, error))?;
                open = Some((file, place.clone()));
                arrived.push(Arrived {
                    entry,
                    content: Some(Content { place, paged }),
                });
            }
            BackupEvent::Block(bytes) => {
                let (file, place) = open.as_mut().expect("a file was begun");
                file.write_all(&bytes)
                    .map_err(|error| OperationError::io("write", &*place, error))?;
                session.progress.advance(bytes.len() as u64);
            }
            BackupEvent::FileEnd => open = None,
        }
    }
    Ok(arrived)
}

async fn store(
    one: Arrived,
    writer: &mut SnapshotWriter,
    session: &Session,
) -> Result<(), OperationError> {
    let Some(content) = one.content else {
        return Ok(writer.add(one.entry).await?);
    };
    let layout = match content.paged {
        true => Layout::Pages {
            page_size: PAGE_BYTES as u32,
        },
        false => Layout::Stream,
    };
    let failed = |error| OperationError::io("read", &content.place, error);
    let mut file = File::open(&content.place).map_err(failed)?;
    let mut buffer = vec![0; READ_LEN];
    writer.begin_file(one.entry, layout).await?;
    loop {
        let len = file.read(&mut buffer).map_err(failed)?;
        if len == 0 {
            break;
        }
        writer.write(&buffer[..len]).await?;
        session.progress.advance(len as u64);
    }
    writer.end_file().await?;
    // Room is given back as it goes; what is left goes with the folder.
    std::fs::remove_file(&content.place).ok();
    Ok(())
}

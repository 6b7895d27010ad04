//! Doors to what a server sends: messages, the log, and the archives of a base backup.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::FutureExt as _;
use lifeboat_model::{EntryKind, Lsn, Timeline};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use super::archive::{ArchiveReader, Piece};
use super::base_backup::{BackupEvent, BackupStream, StreamOptions};
use super::client::WalSender;
use super::messages::Channel;
use super::stream::{Started, Streamed};
use crate::CheckpointPace;
use crate::connect::Wire;

/// Bytes that fit between both ends of a connection.
const ROOM: usize = 1 << 20;

/// Reads an archive, at once and in pieces, which must say the same.
pub fn archive(bytes: &[u8]) -> bool {
    let step = bytes.last().map_or(1, |byte| usize::from(*byte).max(1));
    let (whole, pieces) = (read_archive(bytes, ROOM), read_archive(bytes, step));
    assert_eq!(whole, pieces);
    whole.is_ok_and(|members| !members.is_empty())
}

/// Names with contents.
type Members = Vec<(Vec<u8>, Vec<u8>)>;

fn read_archive(bytes: &[u8], step: usize) -> Result<Members, String> {
    let mut reader = ArchiveReader::default();
    let mut pieces = VecDeque::new();
    for piece in bytes.chunks(step) {
        reader.feed(Bytes::copy_from_slice(piece), &mut pieces)?;
    }
    reader.finish()?;
    let mut members = Members::new();
    for piece in pieces {
        match piece {
            Piece::Member(member) => members.push((member.name, Vec::new())),
            Piece::Content(bytes) => members
                .last_mut()
                .expect("content has a member")
                .1
                .extend_from_slice(&bytes),
            Piece::End => {}
        }
    }
    Ok(members)
}

/// Reads what a server sends after a login: the first byte says in answer to what.
pub fn messages(bytes: &[u8]) -> bool {
    let Some((kind, sent)) = bytes.split_first() else {
        return false;
    };
    let read = async {
        match kind % 4 {
            0 => rows(sent).await,
            1 => log(sent).await,
            2 => backup(sent, 15).await,
            _ => backup(sent, 14).await,
        }
    };
    read.now_or_never()
        .expect("all that is sent is there already")
}

/// Returns a connection over which a server has sent `bytes` and nothing more, and the server's end
/// of it: while that is kept, what we say fails no more than it does with a server that is busy.
async fn connection(bytes: &[u8], version: u32) -> (WalSender, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(ROOM);
    theirs.write_all(bytes).await.expect("there is room");
    theirs.shutdown().await.expect("it is open");
    let channel = Channel::new(Wire::plain(ours), "host".to_owned(), "user".to_owned());
    (WalSender::over(channel, version), theirs)
}

async fn rows(sent: &[u8]) -> bool {
    let (mut sender, _server) = connection(sent, 15).await;
    let identity = sender.identify_system().await.is_ok();
    let slot = "slot".parse().expect("it is a name");
    identity || sender.read_slot(&slot).await.is_ok()
}

async fn log(sent: &[u8]) -> bool {
    let (sender, _server) = connection(sent, 15).await;
    let started = sender.start_replication(None, Timeline::new(1), Lsn::default());
    let Ok(Started::Streaming(mut stream)) = started.await else {
        return false;
    };
    let mut came = 0;
    while let Ok(streamed) = stream.next().await {
        match streamed {
            Streamed::Wal { .. } | Streamed::KeepAlive { .. } => came += 1,
            Streamed::TimelineEnded => return stream.finish().await.is_ok(),
            Streamed::ServerEnded => break,
        }
    }
    came > 0
}

async fn backup(sent: &[u8], version: u32) -> bool {
    let (sender, _server) = connection(sent, version).await;
    let options = StreamOptions {
        label: "x".to_owned(),
        pace: CheckpointPace::Fast,
        wait_for_archive: false,
        max_rate_kib: None,
    };
    let Ok((mut stream, _)) = BackupStream::start(sender, &options).await else {
        return false;
    };
    let mut open: Option<u64> = None;
    while let Ok(Some(event)) = stream.next().await {
        match event {
            BackupEvent::Entry(_) => assert!(open.is_none()),
            BackupEvent::File { entry, .. } => {
                assert!(open.is_none());
                let EntryKind::File { size } = entry.kind else {
                    panic!("a file is a file");
                };
                open = Some(size);
            }
            BackupEvent::Block(bytes) => {
                let left = open.as_mut().expect("a file was begun");
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .expect("no more than was said");
            }
            BackupEvent::FileEnd => assert_eq!(open.take(), Some(0)),
        }
    }
    stream.finish().await.is_ok()
}

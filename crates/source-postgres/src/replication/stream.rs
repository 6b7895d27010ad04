//! The log as it is streamed: one connection, one timeline.

use bytes::{BufMut as _, Bytes, BytesMut};
use lifeboat_model::{Lsn, Timeline};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};

use super::client::WalSender;
use super::error::ReplicationError;
use super::messages::{Incoming, Row, unexpected};
use super::slot::SlotName;
use crate::connect::ServerError;

const START: &str = "start streaming the log";
const STREAM: &str = "stream the log";
/// Length of what comes before the log's bytes in a message: a letter, two positions, a time.
const WAL_HEADER: usize = 1 + 8 + 8 + 8;
const KEEPALIVE: usize = 1 + 8 + 8 + 1;

/// The timeline that follows one which ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The next timeline.
    pub next: Timeline,
    /// Where it begins: the first byte that is no longer of the one before.
    pub at: Lsn,
}

/// What came of asking for the log.
#[derive(Debug)]
pub enum Started {
    /// It comes.
    Streaming(WalStream),
    /// The timeline ends where it was to begin.
    TimelineEnded(WalSender, TimelineSwitch),
}

/// One thing out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Streamed {
    /// Bytes of the log.
    Wal {
        /// Position of the first.
        start: Lsn,
        /// How far the server's log goes.
        server_end: Lsn,
        /// The bytes.
        bytes: Bytes,
    },
    /// The server is there.
    KeepAlive {
        /// How far its log goes.
        server_end: Lsn,
        /// Whether it wants to hear from us, soon.
        reply: bool,
    },
    /// The timeline ends here; [`WalStream::finish`] says which one follows.
    TimelineEnded,
    /// The server ends the stream: it shuts down.
    ServerEnded,
}

impl WalSender {
    /// Asks for the log of `timeline` from `start` on.
    ///
    /// # Errors
    /// Fails if the server has no such timeline or position, or the slot cannot be used. That a
    /// segment was removed shows only in the stream.
    pub async fn start_replication(
        mut self,
        slot: Option<&SlotName>,
        timeline: Timeline,
        start: Lsn,
    ) -> Result<Started, ReplicationError> {
        let with_slot = slot.map_or_else(String::new, |slot| format!("SLOT {slot} "));
        let query = format!("START_REPLICATION {with_slot}PHYSICAL {start} TIMELINE {timeline}");
        self.channel.send_query(START, &query).await?;
        let about = |error: ReplicationError| match slot {
            Some(slot) => error.about_slot(slot),
            None => error,
        };
        match self.channel.receive(START).await? {
            Incoming::CopyBoth => Ok(Started::Streaming(WalStream { sender: self })),
            Incoming::Message(Message::RowDescription(_)) => {
                let rows = self.channel.rows_until_ready(START).await?;
                let switch = read_switch(&rows)?;
                Ok(Started::TimelineEnded(self, switch))
            }
            Incoming::Message(Message::ErrorResponse(body)) => {
                let answer = ServerError::read(body.fields());
                Err(about(self.channel.refused(START, answer)))
            }
            _ => Err(unexpected(START)),
        }
    }
}

fn read_switch(rows: &[Row]) -> Result<TimelineSwitch, ReplicationError> {
    let switch = rows.first().and_then(|row| {
        Some(TimelineSwitch {
            next: Timeline::new(row.parse(0)?),
            at: row.parse(1)?,
        })
    });
    switch.ok_or_else(|| ReplicationError::protocol(STREAM, "does not name the next timeline"))
}

/// The log of one timeline, as it is written.
#[derive(Debug)]
pub struct WalStream {
    sender: WalSender,
}

impl WalStream {
    /// Waits for the next thing. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Fails if the connection breaks or the server ends it with an error: 58P01 if a segment that
    /// is needed was removed.
    pub async fn next(&mut self) -> Result<Streamed, ReplicationError> {
        match self.sender.channel.receive(STREAM).await? {
            Incoming::Message(Message::CopyData(body)) => read_streamed(&body.into_bytes()),
            Incoming::Message(Message::CopyDone) => Ok(Streamed::TimelineEnded),
            Incoming::Message(Message::CommandComplete(_)) => Ok(Streamed::ServerEnded),
            Incoming::Message(Message::ErrorResponse(body)) => {
                let answer = ServerError::read(body.fields());
                Err(self.sender.channel.refused(STREAM, answer))
            }
            _ => Err(unexpected(STREAM)),
        }
    }

    /// Tells the server what is durable: all of the log before `durable`. It may then forget it.
    ///
    /// # Errors
    /// Fails if the connection breaks.
    pub async fn send_status(
        &mut self,
        durable: Lsn,
        ask: AskForReply,
    ) -> Result<(), ReplicationError> {
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        // Written and flushed are one here: bytes count only once they are durable. What is applied
        // stays unknown. The clock is not told either, since the server only shows it.
        status.put_u64(durable.get());
        status.put_u64(durable.get());
        status.put_u64(0);
        status.put_i64(0);
        status.put_u8(u8::from(ask == AskForReply::Yes));
        let outbox = &mut self.sender.channel.outbox;
        let message = CopyData::new(status.freeze());
        message.expect("34 bytes fit a message").write(outbox);
        self.sender.channel.flush(STREAM).await
    }

    /// Ends the stream from our side, or answers the end of the timeline. Returns the connection, and
    /// the timeline that follows if this one ended.
    ///
    /// # Errors
    /// Fails if the connection breaks.
    pub async fn finish(mut self) -> Result<(WalSender, Option<TimelineSwitch>), ReplicationError> {
        let channel = &mut self.sender.channel;
        frontend::copy_done(&mut channel.outbox);
        channel.flush(STREAM).await?;
        let mut rows = Vec::new();
        loop {
            match channel.receive(STREAM).await? {
                // What was under way when we ended it.
                Incoming::Message(Message::CopyData(_) | Message::CopyDone) => {}
                Incoming::Message(Message::RowDescription(_)) => {
                    rows = channel.rows_until_ready(STREAM).await?;
                    break;
                }
                Incoming::Message(Message::CommandComplete(_)) => {}
                Incoming::Message(Message::ReadyForQuery(_)) => break,
                Incoming::Message(Message::ErrorResponse(body)) => {
                    let answer = ServerError::read(body.fields());
                    return Err(channel.refused(STREAM, answer));
                }
                _ => return Err(unexpected(STREAM)),
            }
        }
        let switch = if rows.is_empty() {
            None
        } else {
            Some(read_switch(&rows)?)
        };
        Ok((self.sender, switch))
    }

    /// Returns the host that streams.
    pub fn host(&self) -> &str {
        self.sender.host()
    }
}

/// Whether the server is to answer a status at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskForReply {
    /// It is.
    Yes,
    /// It need not.
    No,
}

fn read_streamed(message: &Bytes) -> Result<Streamed, ReplicationError> {
    let position = |at: usize| {
        let bytes = message.get(at..at + 8)?.try_into().ok()?;
        Some(Lsn::new(u64::from_be_bytes(bytes)))
    };
    let read = || match message.first()? {
        b'w' if message.len() >= WAL_HEADER => Some(Streamed::Wal {
            start: position(1)?,
            server_end: position(9)?,
            bytes: message.slice(WAL_HEADER..),
        }),
        b'k' if message.len() >= KEEPALIVE => Some(Streamed::KeepAlive {
            server_end: position(1)?,
            reply: message[KEEPALIVE - 1] != 0,
        }),
        _ => None,
    };
    read().ok_or_else(|| ReplicationError::protocol(STREAM, "is no part of a log"))
}

//! Messages of the protocol: framing, and answers to simple queries.

use bytes::{Buf as _, Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::ReplicationError;
use crate::connect::{ServerError, Wire};

/// Servers send at most some 160 KiB at once; an error or a history may be longer, but not this long.
const MESSAGE_MAX: usize = 16 << 20;
/// How much is read at once.
const READ: usize = 256 << 10;
/// No answer of the replication protocol has more rows: a base backup lists its tablespaces.
const ROWS_MAX: usize = 10_000;
/// `CopyBothResponse`, which `postgres-protocol` does not know.
const COPY_BOTH: u8 = b'W';

/// One message from the server.
pub(super) enum Incoming {
    Message(Message),
    CopyBoth,
}

/// One row: texts, or nothing for NULL.
#[derive(Debug)]
pub(super) struct Row(Vec<Option<Bytes>>);

impl Row {
    fn read(body: &DataRowBody) -> std::io::Result<Self> {
        let buffer = body.buffer_bytes();
        let cells = body
            .ranges()
            .map(|range| Ok(range.map(|range| buffer.slice(range))));
        cells.collect().map(Self)
    }

    /// Returns the bytes of a column.
    pub(super) fn bytes(&self, column: usize) -> Option<&Bytes> {
        self.0.get(column)?.as_ref()
    }

    /// Returns a column as text.
    pub(super) fn text(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(column)?).ok()
    }

    /// Parses a column.
    pub(super) fn parse<T: std::str::FromStr>(&self, column: usize) -> Option<T> {
        self.text(column)?.parse().ok()
    }
}

/// A connection down to messages.
#[derive(Debug)]
pub(super) struct Channel {
    wire: Wire,
    inbox: BytesMut,
    pub(super) outbox: BytesMut,
    pub(super) host: String,
    pub(super) user: String,
    /// `server_version` as the server reports it.
    pub(super) version: String,
    /// The server's process at the other end; 0 until it is known.
    pub(super) backend: i32,
}

impl Channel {
    pub(super) fn new(wire: Wire, host: String, user: String) -> Self {
        Self {
            wire,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            host,
            user,
            version: String::new(),
            backend: 0,
        }
    }

    pub(super) const fn wire(&self) -> &Wire {
        &self.wire
    }

    fn broken(&self, op: &'static str, source: std::io::Error) -> ReplicationError {
        ReplicationError::Broken {
            op,
            host: self.host.clone(),
            source,
        }
    }

    pub(super) fn refused(&self, op: &'static str, source: ServerError) -> ReplicationError {
        ReplicationError::of_server(op, &self.user, &self.host, source)
    }

    /// Sends what was put into the outbox.
    pub(super) async fn flush(&mut self, op: &'static str) -> Result<(), ReplicationError> {
        let bytes = self.outbox.split().freeze();
        let sent = async {
            self.wire.write_all(&bytes).await?;
            self.wire.flush().await
        };
        sent.await.map_err(|error| self.broken(op, error))
    }

    /// Receives the next message; notices and settings that change are dealt with here.
    ///
    /// Dropping the future loses nothing: what was read so far stays in the inbox.
    pub(super) async fn receive(&mut self, op: &'static str) -> Result<Incoming, ReplicationError> {
        loop {
            match self.take_message(op)? {
                Some(Incoming::Message(Message::NoticeResponse(_))) => {}
                Some(Incoming::Message(Message::NotificationResponse(_))) => {}
                Some(Incoming::Message(Message::ParameterStatus(status))) => {
                    if let (Ok("server_version"), Ok(value)) = (status.name(), status.value()) {
                        value.clone_into(&mut self.version);
                    }
                }
                Some(incoming) => return Ok(incoming),
                None => self.read_more(op).await?,
            }
        }
    }

    async fn read_more(&mut self, op: &'static str) -> Result<(), ReplicationError> {
        if self.inbox.capacity() - self.inbox.len() < READ / 8 {
            self.inbox.reserve(READ);
        }
        let read = self.wire.read_buf(&mut self.inbox).await;
        match read.map_err(|error| self.broken(op, error))? {
            0 => Err(self.broken(op, std::io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    fn take_message(&mut self, op: &'static str) -> Result<Option<Incoming>, ReplicationError> {
        let odd =
            |error: std::io::Error| ReplicationError::protocol(op, format!("is odd: {error}"));
        let Some(header) = Header::parse(&self.inbox).map_err(odd)? else {
            return Ok(None);
        };
        // The length counts itself, not the letter before it.
        let length = usize::try_from(header.len())
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        if length > MESSAGE_MAX {
            return Err(ReplicationError::protocol(op, "is longer than any may be"));
        }
        if self.inbox.len() < length {
            return Ok(None);
        }
        if header.tag() == COPY_BOTH {
            self.inbox.advance(length);
            return Ok(Some(Incoming::CopyBoth));
        }
        let message = Message::parse(&mut self.inbox).map_err(odd)?;
        Ok(message.map(Incoming::Message))
    }

    /// Sends a command.
    pub(super) async fn send_query(
        &mut self,
        op: &'static str,
        query: &str,
    ) -> Result<(), ReplicationError> {
        postgres_protocol::message::frontend::query(query, &mut self.outbox).map_err(|error| {
            ReplicationError::protocol(op, format!("was not asked for: {error}"))
        })?;
        self.flush(op).await
    }

    /// Sends a command and returns the rows of its answer.
    pub(super) async fn query(
        &mut self,
        op: &'static str,
        query: &str,
    ) -> Result<Vec<Row>, ReplicationError> {
        self.send_query(op, query).await?;
        self.rows_until_ready(op).await
    }

    /// Collects rows until the server is ready for the next command. A refusal counts only then, so
    /// that the connection stays usable.
    pub(super) async fn rows_until_ready(
        &mut self,
        op: &'static str,
    ) -> Result<Vec<Row>, ReplicationError> {
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            match self.receive(op).await? {
                Incoming::Message(Message::DataRow(body)) => push_row(op, &mut rows, &body)?,
                Incoming::Message(Message::ErrorResponse(body)) => {
                    let answer = self.refused(op, ServerError::read(body.fields()));
                    refusal.get_or_insert(answer);
                }
                Incoming::Message(Message::ReadyForQuery(_)) => break,
                Incoming::Message(
                    Message::RowDescription(_)
                    | Message::CommandComplete(_)
                    | Message::EmptyQueryResponse
                    | Message::CopyDone,
                ) => {}
                _ => return Err(unexpected(op)),
            }
        }
        refusal.map_or(Ok(rows), Err)
    }

    /// Collects the rows of one result, and leaves what follows it.
    pub(super) async fn rows_of_one_result(
        &mut self,
        op: &'static str,
    ) -> Result<Vec<Row>, ReplicationError> {
        let mut rows = Vec::new();
        loop {
            match self.receive(op).await? {
                Incoming::Message(Message::DataRow(body)) => push_row(op, &mut rows, &body)?,
                Incoming::Message(Message::CommandComplete(_)) => return Ok(rows),
                Incoming::Message(Message::RowDescription(_)) => {}
                Incoming::Message(Message::ErrorResponse(body)) => {
                    return Err(self.refused(op, ServerError::read(body.fields())));
                }
                _ => return Err(unexpected(op)),
            }
        }
    }

    /// Says goodbye, for a server that still listens.
    pub(super) async fn terminate(&mut self) {
        postgres_protocol::message::frontend::terminate(&mut self.outbox);
        // One that does not is gone already, which is what was wanted.
        self.flush("say goodbye").await.ok();
        self.wire.shutdown().await.ok();
    }
}

fn push_row(
    op: &'static str,
    rows: &mut Vec<Row>,
    body: &DataRowBody,
) -> Result<(), ReplicationError> {
    if rows.len() == ROWS_MAX {
        return Err(ReplicationError::protocol(op, "has more rows than any may"));
    }
    let row = Row::read(body);
    rows.push(row.map_err(|error| ReplicationError::protocol(op, format!("is odd: {error}")))?);
    Ok(())
}

pub(super) fn unexpected(op: &'static str) -> ReplicationError {
    ReplicationError::protocol(op, "is a message that does not belong there")
}

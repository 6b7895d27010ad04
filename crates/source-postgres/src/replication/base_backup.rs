//! A base backup over the wire: files in the server's order, laid out as a snapshot has them.
//!
//! The order is that of the server's walk, not of paths: whoever needs one sorts. The control file
//! comes last within the data directory, whose archive comes first or last by version.

use std::collections::{HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use lifeboat_model::{Entry, EntryKind, EntryPath, Lsn, Metadata, Timeline};
use postgres_protocol::message::backend::Message;

use super::archive::{ArchiveReader, Member, MemberKind, Piece};
use super::client::WalSender;
use super::error::ReplicationError;
use super::messages::{Incoming, Row, unexpected};
use crate::connect::ServerError;
use crate::{CheckpointPace, Tablespace, rules};

const OP: &str = "take a base backup";
/// How much of a file is handed over at once: 128 pages.
const BLOCK_BYTES: usize = 1 << 20;
/// `MAXPGPATH`, which limits a label too.
const LABEL_MAX: usize = 1023;

/// How a base backup is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// What `backup_label` says.
    pub label: String,
    /// How fast the server writes the checkpoint that it begins with.
    pub pace: CheckpointPace,
    /// Whether the server waits at the end until its archive has the log that the backup needs.
    pub wait_for_archive: bool,
    /// At most so many KiB a second, from 32 up.
    pub max_rate_kib: Option<u32>,
}

/// Where a base backup begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStart {
    /// Recovery needs the log from here.
    pub lsn: Lsn,
    /// On this timeline.
    pub timeline: Timeline,
    /// The cluster's own tablespaces, and where they lie on the server.
    pub tablespaces: Vec<Tablespace>,
}

/// Where a base backup ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnd {
    /// Recovery needs the log up to here.
    pub lsn: Lsn,
    /// On this timeline.
    pub timeline: Timeline,
    /// Members that a snapshot does not keep.
    pub left_out: u64,
}

/// The next thing of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupEvent {
    /// A folder, complete.
    Entry(Entry),
    /// A file begins; its blocks follow, then [`BackupEvent::FileEnd`].
    File {
        /// The file. Its content is exactly as long as this says.
        entry: Entry,
        /// Whether it is a relation, made of pages.
        paged: bool,
    },
    /// The next bytes of the file: a mebibyte, except at its end.
    Block(Bytes),
    /// The file is complete.
    FileEnd,
}

/// A base backup on its way.
#[derive(Debug)]
pub struct BackupStream {
    sender: WalSender,
    /// Archives that servers before version 15 announce; later ones name each as it comes.
    announced: VecDeque<Origin>,
    framed: bool,
    archive: Option<OpenArchive>,
    pieces: VecDeque<Piece>,
    events: VecDeque<BackupEvent>,
    block: BytesMut,
    /// Whether the file under way is one that a snapshot keeps.
    keeps: bool,
    /// Folders of the layout that the server does not send.
    made: HashSet<EntryPath>,
    left_out: u64,
    complete: bool,
}

/// What an archive is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    DataDirectory,
    Tablespace(u32),
}

#[derive(Debug)]
struct OpenArchive {
    origin: Origin,
    reader: ArchiveReader,
}

impl Origin {
    fn name(self) -> String {
        match self {
            Self::DataDirectory => "base.tar".to_owned(),
            Self::Tablespace(oid) => format!("{oid}.tar"),
        }
    }

    /// As version 15 and later name archives.
    fn parse(name: &[u8]) -> Option<Self> {
        match name.strip_suffix(b".tar")? {
            b"base" => Some(Self::DataDirectory),
            oid => rules::number(std::str::from_utf8(oid).ok()?).map(Self::Tablespace),
        }
    }
}

impl BackupStream {
    /// Asks for a base backup and waits for its checkpoint.
    ///
    /// # Errors
    /// Fails if the label is too long or the server refuses.
    pub async fn start(
        mut sender: WalSender,
        options: &StreamOptions,
    ) -> Result<(Self, StreamStart), ReplicationError> {
        let framed = sender.major_version() >= 15;
        let query = options.query(framed)?;
        sender.channel.send_query(OP, &query).await?;
        let position = sender.channel.rows_of_one_result(OP).await?;
        let (lsn, timeline) = read_position(&position)?;
        let rows = sender.channel.rows_of_one_result(OP).await?;
        let (mut announced, mut tablespaces) = (VecDeque::new(), Vec::new());
        for row in &rows {
            let origin = read_tablespace(row, &mut tablespaces)?;
            announced.push_back(origin);
        }
        let stream = Self {
            sender,
            announced,
            framed,
            archive: None,
            pieces: VecDeque::new(),
            events: VecDeque::new(),
            block: BytesMut::new(),
            keeps: false,
            made: HashSet::new(),
            left_out: 0,
            complete: false,
        };
        let start = StreamStart {
            lsn,
            timeline,
            tablespaces,
        };
        Ok((stream, start))
    }

    /// Returns the next thing: none when all archives came.
    ///
    /// # Errors
    /// Fails if the connection breaks, the server gives up, or an archive is not in its form.
    pub async fn next(&mut self) -> Result<Option<BackupEvent>, ReplicationError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some(piece) = self.pieces.pop_front() {
                self.take_piece(piece)?;
            } else if self.complete {
                return Ok(None);
            } else {
                self.take_message().await?;
            }
        }
    }

    /// Learns where the backup ends, and returns the connection.
    ///
    /// # Errors
    /// Fails if not everything was taken, or the server says that the backup is not good.
    pub async fn finish(mut self) -> Result<(WalSender, StreamEnd), ReplicationError> {
        if !self.complete || !self.pieces.is_empty() || !self.events.is_empty() {
            return Err(ReplicationError::protocol(OP, "was not read to its end"));
        }
        let rows = self.sender.channel.rows_until_ready(OP).await?;
        let (lsn, timeline) = read_position(&rows)?;
        let end = StreamEnd {
            lsn,
            timeline,
            left_out: self.left_out,
        };
        Ok((self.sender, end))
    }

    async fn take_message(&mut self) -> Result<(), ReplicationError> {
        match self.sender.channel.receive(OP).await? {
            Incoming::Message(Message::CopyOutResponse(_)) if self.framed => Ok(()),
            Incoming::Message(Message::CopyOutResponse(_)) => {
                let origin = self.announced.pop_front();
                self.open_archive(origin.ok_or_else(|| unexpected(OP))?)
            }
            Incoming::Message(Message::CopyData(body)) if self.framed => {
                self.take_framed(body.into_bytes())
            }
            Incoming::Message(Message::CopyData(body)) => self.feed(body.into_bytes()),
            Incoming::Message(Message::CopyDone) => {
                self.close_archive()?;
                self.complete = self.framed || self.announced.is_empty();
                Ok(())
            }
            Incoming::Message(Message::ErrorResponse(body)) => {
                let answer = ServerError::read(body.fields());
                Err(self.sender.channel.refused(OP, answer))
            }
            _ => Err(unexpected(OP)),
        }
    }

    fn take_framed(&mut self, mut message: Bytes) -> Result<(), ReplicationError> {
        let letter = message.first().copied();
        let rest = if message.is_empty() {
            Bytes::new()
        } else {
            message.split_off(1)
        };
        match letter {
            Some(b'd') => self.feed(rest),
            // How far the server is: our own count says more.
            Some(b'p') => Ok(()),
            Some(b'n') => {
                self.close_archive()?;
                let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                let origin = Origin::parse(name).ok_or_else(|| ReplicationError::Archive {
                    archive: String::from_utf8_lossy(name).into_owned(),
                    why: "is none that was asked for".to_owned(),
                })?;
                self.open_archive(origin)
            }
            _ => Err(unexpected(OP)),
        }
    }

    fn open_archive(&mut self, origin: Origin) -> Result<(), ReplicationError> {
        if self.archive.is_some() {
            return Err(unexpected(OP));
        }
        let reader = ArchiveReader::default();
        self.archive = Some(OpenArchive { origin, reader });
        Ok(())
    }

    fn close_archive(&mut self) -> Result<(), ReplicationError> {
        let Some(archive) = self.archive.take() else {
            return Ok(());
        };
        let finished = archive.reader.finish();
        finished.map_err(|why| odd(archive.origin, why))
    }

    fn feed(&mut self, bytes: Bytes) -> Result<(), ReplicationError> {
        let archive = self.archive.as_mut().ok_or_else(|| unexpected(OP))?;
        let fed = archive.reader.feed(bytes, &mut self.pieces);
        fed.map_err(|why| odd(archive.origin, why))
    }

    fn take_piece(&mut self, piece: Piece) -> Result<(), ReplicationError> {
        match piece {
            Piece::Member(member) => self.take_member(&member),
            Piece::Content(_) | Piece::End if !self.keeps => Ok(()),
            Piece::Content(bytes) => {
                self.gather(bytes);
                Ok(())
            }
            Piece::End => {
                if !self.block.is_empty() {
                    let block = self.block.split().freeze();
                    self.events.push_back(BackupEvent::Block(block));
                }
                self.events.push_back(BackupEvent::FileEnd);
                Ok(())
            }
        }
    }

    /// Collects the server's small pieces into blocks.
    fn gather(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            if self.block.is_empty() {
                self.block.reserve(BLOCK_BYTES);
            }
            let take = (BLOCK_BYTES - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes.split_to(take));
            if self.block.len() == BLOCK_BYTES {
                let block = self.block.split().freeze();
                self.events.push_back(BackupEvent::Block(block));
            }
        }
    }

    fn take_member(&mut self, member: &Member) -> Result<(), ReplicationError> {
        let archive = self.archive.as_ref().ok_or_else(|| unexpected(OP))?;
        let origin = archive.origin;
        self.keeps = false;
        let Some(path) = snapshot_path(origin, &member.name) else {
            self.left_out += 1;
            return Ok(());
        };
        let path = EntryPath::new(path);
        let path = path.map_err(|error| odd(origin, format!("has a bad member: {error}")))?;
        self.make_parents(&path, member);
        let metadata = metadata(member, member.mode);
        match member.kind {
            MemberKind::Link => Err(odd(origin, "holds a link".to_owned())),
            MemberKind::Folder => {
                let kind = EntryKind::Directory;
                self.made.insert(path.clone());
                self.events.push_back(BackupEvent::Entry(Entry {
                    path,
                    kind,
                    metadata,
                }));
                Ok(())
            }
            MemberKind::File => {
                self.keeps = true;
                let paged = is_relation(origin, &member.name);
                let kind = EntryKind::File { size: member.size };
                let entry = Entry {
                    path,
                    kind,
                    metadata,
                };
                self.events.push_back(BackupEvent::File { entry, paged });
                Ok(())
            }
        }
    }

    /// Adds the folders of the layout that no archive holds: `data`, `recovery`, a tablespace's own.
    fn make_parents(&mut self, path: &EntryPath, member: &Member) {
        let mut missing = Vec::new();
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| !folder.is_root()) {
            if self.made.contains(&folder) {
                break;
            }
            parent = folder.parent();
            missing.push(folder);
        }
        while let Some(path) = missing.pop() {
            self.made.insert(path.clone());
            self.events.push_back(BackupEvent::Entry(Entry {
                path,
                kind: EntryKind::Directory,
                metadata: metadata(member, 0o700),
            }));
        }
    }
}

impl StreamOptions {
    fn query(&self, framed: bool) -> Result<String, ReplicationError> {
        let label = &self.label;
        if label.len() > LABEL_MAX || label.chars().any(char::is_control) {
            return Err(ReplicationError::protocol(
                OP,
                "was not asked for: its label is too long or has line breaks",
            ));
        }
        let label = label.replace('\'', "''");
        if framed {
            Ok(self.query_since_15(&label))
        } else {
            Ok(self.query_before_15(&label))
        }
    }

    fn query_since_15(&self, label: &str) -> String {
        let checkpoint = match self.pace {
            CheckpointPace::Fast => "fast",
            CheckpointPace::Spread => "spread",
        };
        let wait = self.wait_for_archive;
        let rate = self.max_rate_kib;
        let rate = rate.map_or_else(String::new, |rate| format!(", MAX_RATE {rate}"));
        format!(
            "BASE_BACKUP (LABEL '{label}', CHECKPOINT '{checkpoint}', WAIT {wait}, WAL false, \
             TABLESPACE_MAP true, MANIFEST 'no'{rate})"
        )
    }

    fn query_before_15(&self, label: &str) -> String {
        let fast = match self.pace {
            CheckpointPace::Fast => " FAST",
            CheckpointPace::Spread => "",
        };
        let wait = if self.wait_for_archive { "" } else { " NOWAIT" };
        let rate = self.max_rate_kib;
        let rate = rate.map_or_else(String::new, |rate| format!(" MAX_RATE {rate}"));
        format!("BASE_BACKUP LABEL '{label}'{fast}{wait}{rate} TABLESPACE_MAP MANIFEST 'no'")
    }
}

fn odd(origin: Origin, why: String) -> ReplicationError {
    ReplicationError::Archive {
        archive: origin.name(),
        why,
    }
}

fn read_position(rows: &[Row]) -> Result<(Lsn, Timeline), ReplicationError> {
    let row = rows.first();
    let position = row.and_then(|row| Some((row.parse(0)?, Timeline::new(row.parse(1)?))));
    position.ok_or_else(|| ReplicationError::protocol(OP, "lacks a position"))
}

/// Reads a row of the list of tablespaces; the data directory's has no number.
fn read_tablespace(
    row: &Row,
    tablespaces: &mut Vec<Tablespace>,
) -> Result<Origin, ReplicationError> {
    if row.bytes(0).is_none() {
        return Ok(Origin::DataDirectory);
    }
    let tablespace = || {
        Some(Tablespace {
            oid: row.parse(0)?,
            location: row.text(1)?.into(),
        })
    };
    let tablespace = tablespace();
    let tablespace =
        tablespace.ok_or_else(|| ReplicationError::protocol(OP, "lacks a tablespace's place"))?;
    let origin = Origin::Tablespace(tablespace.oid);
    tablespaces.push(tablespace);
    Ok(origin)
}

/// Returns where a snapshot keeps a member; none if it does not.
///
/// Servers leave out nearly all that must not be kept. What is left are the signs of another backup
/// or recovery, such as `standby.signal`, and folders below those that are kept empty.
fn snapshot_path(origin: Origin, name: &[u8]) -> Option<Vec<u8>> {
    let base = name.rsplit(|byte| *byte == b'/').next()?;
    if name.is_empty() || rules::is_left_out_anywhere(base) {
        return None;
    }
    let below = |folder: &str| [folder.as_bytes(), name].concat();
    let oid = match origin {
        Origin::Tablespace(oid) => oid,
        Origin::DataDirectory => {
            match name {
                b"backup_label" | b"tablespace_map" => return Some(below("recovery/")),
                b"global/pg_control" => return Some(b"recovery/pg_control".to_vec()),
                _ => {}
            }
            let top = name.split(|byte| *byte == b'/').next()?;
            let is_below = top.len() < name.len();
            let left_out = rules::is_left_out_of_root(top) || is_below && rules::is_kept_empty(top);
            return (!left_out).then(|| below("data/"));
        }
    };
    Some(below(&format!("pg_tblspc/{oid}/")))
}

/// Reports whether a member is a relation's file: pages, all but the maps of free space and such.
fn is_relation(origin: Origin, name: &[u8]) -> bool {
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    let place = match (origin, &parts[..]) {
        (Origin::DataDirectory, [b"global", file] | [b"base", _, file]) => Some(*file),
        (Origin::Tablespace(_), [_, _, file]) => Some(*file),
        _ => None,
    };
    place.is_some_and(|file| rules::RelationFile::parse(file).is_some())
}

fn metadata(member: &Member, mode: u32) -> Metadata {
    Metadata {
        mode,
        uid: member.uid,
        gid: member.gid,
        mtime_ns: member.modified_secs.saturating_mul(1_000_000_000),
        ..Metadata::default()
    }
}

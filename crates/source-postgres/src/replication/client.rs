//! A connection to a server's WAL sender, and the commands that are answered at once.

use bytes::Bytes;
use lifeboat_model::{Lsn, SegmentSize, SystemId, Timeline, WalFileName};

use super::error::ReplicationError;
use super::login;
use super::messages::{Channel, Row};
use super::slot::{SlotKind, SlotName, SlotPosition};
use crate::connect::{self, SqlSession};
use crate::conninfo::Conninfo;

/// Who a server is, and how far its log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The cluster.
    pub system_id: SystemId,
    /// Its newest timeline.
    pub timeline: Timeline,
    /// How far its log is durable: on a standby, how far it was replayed or received.
    pub end: Lsn,
}

/// The history file of a timeline, as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// Whose history it is.
    pub timeline: Timeline,
    /// Its content, byte for byte.
    pub content: Bytes,
}

/// A slot that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Its name.
    pub name: SlotName,
    /// The first byte that it keeps, if it keeps the log already.
    pub restart: Option<Lsn>,
}

/// A connection that speaks the replication protocol.
#[derive(Debug)]
pub struct WalSender {
    pub(super) channel: Channel,
    major_version: u32,
    /// For what the protocol of old servers cannot say.
    conninfo: Conninfo,
}

impl WalSender {
    /// Connects to the first of the hosts that will do, for replication.
    ///
    /// # Errors
    /// As [`SqlSession::connect`]; the role needs `REPLICATION`.
    pub async fn connect(conninfo: &Conninfo) -> Result<Self, ReplicationError> {
        let channel = connect::reach(conninfo, |wire, host| login::log_in(wire, host, conninfo));
        let channel = channel.await?;
        let digits = channel
            .version
            .find(|letter: char| !letter.is_ascii_digit());
        let major = channel.version[..digits.unwrap_or(channel.version.len())].parse();
        let major_version = major.map_err(|_| {
            ReplicationError::protocol("log in", "does not say which version the server has")
        })?;
        Ok(Self {
            channel,
            major_version,
            conninfo: conninfo.clone(),
        })
    }

    /// Takes a connection over whose login is done.
    #[cfg(any(test, fuzzing))]
    pub(super) fn over(channel: Channel, major_version: u32) -> Self {
        let conninfo = Conninfo::parse("host=h user=u", crate::conninfo::Surroundings::NONE);
        Self {
            channel,
            major_version,
            conninfo: conninfo.expect("it is a connection string"),
        }
    }

    /// Returns the server's major version, such as 15.
    pub const fn major_version(&self) -> u32 {
        self.major_version
    }

    /// Returns the host that answered.
    pub fn host(&self) -> &str {
        &self.channel.host
    }

    async fn one_row(&mut self, op: &'static str, query: &str) -> Result<Row, ReplicationError> {
        let mut rows = self.channel.query(op, query).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(ReplicationError::protocol(op, "is not one row")),
        }
    }

    /// Asks who the server is.
    ///
    /// # Errors
    /// Fails if the connection breaks.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, ReplicationError> {
        const OP: &str = "identify the server";
        let row = self.one_row(OP, "IDENTIFY_SYSTEM").await?;
        let identity = || {
            Some(SystemIdentity {
                system_id: row.parse(0)?,
                timeline: Timeline::new(row.parse(1)?),
                end: row.parse(2)?,
            })
        };
        identity().ok_or_else(|| ReplicationError::protocol(OP, "lacks a column"))
    }

    /// Asks for a setting, as `SHOW` prints it.
    ///
    /// # Errors
    /// Fails if there is no such setting or the connection breaks.
    pub async fn show(&mut self, setting: &str) -> Result<String, ReplicationError> {
        const OP: &str = "ask for a setting";
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        if !setting.bytes().all(sound) {
            return Err(ReplicationError::protocol(
                OP,
                "was not asked for: no setting has this name",
            ));
        }
        let row = self.one_row(OP, &format!("SHOW {setting}")).await?;
        let text = row.text(0).map(str::to_owned);
        text.ok_or_else(|| ReplicationError::protocol(OP, "lacks a column"))
    }

    /// Asks how long the cluster's segments are.
    ///
    /// # Errors
    /// Fails if the connection breaks.
    pub async fn segment_size(&mut self) -> Result<SegmentSize, ReplicationError> {
        let text = self.show("wal_segment_size").await?;
        let parsed = parse_size(&text).and_then(SegmentSize::new);
        parsed.ok_or_else(|| {
            ReplicationError::protocol(
                "ask for a setting",
                format!("is no segment's length: `{text}`"),
            )
        })
    }

    /// Fetches the history of a timeline. The first timeline has none.
    ///
    /// # Errors
    /// Fails if the server does not have it.
    pub async fn timeline_history(
        &mut self,
        timeline: Timeline,
    ) -> Result<HistoryFile, ReplicationError> {
        const OP: &str = "fetch the history of a timeline";
        let row = self
            .one_row(OP, &format!("TIMELINE_HISTORY {timeline}"))
            .await?;
        let named = row.parse::<WalFileName>(0) == Some(WalFileName::History(timeline));
        let content = row.bytes(1).filter(|_| named).cloned();
        let content = content.ok_or_else(|| ReplicationError::protocol(OP, "is another file"))?;
        Ok(HistoryFile { timeline, content })
    }

    /// Makes a physical slot that keeps the log from now on.
    ///
    /// # Errors
    /// Fails if there is one of that name, or no more are allowed.
    pub async fn create_slot(
        &mut self,
        name: &SlotName,
        kind: SlotKind,
    ) -> Result<CreatedSlot, ReplicationError> {
        const OP: &str = "create a replication slot";
        let kind = match kind {
            SlotKind::Lasting => "",
            SlotKind::Temporary => "TEMPORARY ",
        };
        let query = format!("CREATE_REPLICATION_SLOT {name} {kind}PHYSICAL RESERVE_WAL");
        let row = self.one_row(OP, &query).await;
        let row = row.map_err(|error| error.about_new_slot(name))?;
        // Physical slots answer `0/0`: where it begins is read back.
        let restart = row.parse(1).filter(|lsn| *lsn != Lsn::new(0));
        Ok(CreatedSlot {
            name: name.clone(),
            restart,
        })
    }

    /// Makes a temporary slot of this connection's own, that ends with it.
    ///
    /// # Errors
    /// As [`WalSender::create_slot`].
    pub async fn create_own_slot(&mut self) -> Result<SlotName, ReplicationError> {
        let name = SlotName::of_backend(self.channel.backend);
        self.create_slot(&name, SlotKind::Temporary).await?;
        Ok(name)
    }

    /// Drops a slot.
    ///
    /// # Errors
    /// Fails if there is none, or it is in use.
    pub async fn drop_slot(&mut self, name: &SlotName) -> Result<(), ReplicationError> {
        const OP: &str = "drop a replication slot";
        let query = format!("DROP_REPLICATION_SLOT {name}");
        let dropped = self.channel.query(OP, &query).await;
        dropped.map(drop).map_err(|error| error.about_slot(name))
    }

    /// Asks where a slot stands: none if there is no such slot.
    ///
    /// Servers before version 15 are asked by SQL, over a connection of its own.
    ///
    /// # Errors
    /// Fails if the connection breaks, or the slot is a logical one.
    pub async fn read_slot(
        &mut self,
        name: &SlotName,
    ) -> Result<Option<SlotPosition>, ReplicationError> {
        const OP: &str = "read a replication slot";
        if self.major_version < 15 {
            return read_slot_by_sql(&self.conninfo, name).await;
        }
        let row = self
            .one_row(OP, &format!("READ_REPLICATION_SLOT {name}"))
            .await?;
        Ok(row.text(0).map(|_| SlotPosition {
            restart: row.parse(1),
            timeline: row.parse(2).map(Timeline::new),
        }))
    }

    /// Ends the connection in peace.
    pub async fn close(mut self) {
        self.channel.terminate().await;
    }
}

async fn read_slot_by_sql(
    conninfo: &Conninfo,
    name: &SlotName,
) -> Result<Option<SlotPosition>, ReplicationError> {
    const OP: &str = "read a replication slot";
    const QUERY: &str = "SELECT restart_lsn::pg_catalog.text FROM pg_catalog.pg_replication_slots \
        WHERE slot_name = $1::pg_catalog.text AND slot_type = 'physical'";
    let session = SqlSession::connect(conninfo).await?;
    let rows = session.query(QUERY, &[&name.as_str()]).await;
    let rows = rows.map_err(|error| match connect::ServerError::of_sql(&error) {
        Some(source) => ReplicationError::of_server(OP, &conninfo.user, "", source),
        None => ReplicationError::protocol(OP, lifeboat_model::error_chain(&error)),
    })?;
    let position = rows.first().map(|row| SlotPosition {
        restart: row
            .get::<_, Option<&str>>(0)
            .and_then(|lsn| lsn.parse().ok()),
        timeline: None,
    });
    Ok(position)
}

/// Parses `16MB`, as `SHOW` prints lengths.
fn parse_size(text: &str) -> Option<u32> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit: u32 = match unit {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

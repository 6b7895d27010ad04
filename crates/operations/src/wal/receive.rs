//! `wal receive`: the log as it is written, kept within the second.
//!
//! Owns when a byte counts as kept: when it is durable in the home region. Only that is told to the
//! server, which may then forget it.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_config::{Cluster, Environment, Region, Source};
use lifeboat_model::{Lsn, RegionName, Segment, Timeline, WalObject, error_chain};
use lifeboat_repository::{Repository, WalPlace};
use lifeboat_runtime::Clock;
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::conninfo::Conninfo;
use lifeboat_source_postgres::heartbeat;
use lifeboat_source_postgres::replication::{ReplicationError, WalEvent, WalReceiver, WalSender};
use lifeboat_storage::ObjectStore;
use serde::Serialize;

use super::archive::{Archive, Replica, refuse_foreign};
use super::incoming::Incoming;
use super::resume::{
    history_draft, keep_history, may_be_resumed, next_segment, receiver_options, resume_at,
    warn_unprotected,
};
use crate::cluster::{connect, conninfo};
use crate::error::OperationError;
use crate::session::Session;

/// How long a home region that fails is asked again before the receiver gives up.
const HOME_PATIENCE: Duration = Duration::from_secs(600);
/// How long a replica that failed is left alone.
const REST: Duration = Duration::from_secs(5);
/// How often somebody is told how far things are.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How to receive.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveOptions {
    /// How long a byte may wait before it is durable at home.
    pub within: Duration,
}

/// How often pieces are begun, at most: a byte waits no longer than that and the time that bringing it
/// into a store takes, however long the piece before took.
#[derive(Debug, Clone, Copy)]
struct Pace {
    home: Duration,
    replicas: Duration,
}

impl Pace {
    /// Leaves some of what a byte may wait for bringing it home. A piece in a folder costs two flushes,
    /// one in a bucket money, so that those are begun less often; and replicas need no more than the
    /// second that they are told to keep within.
    fn within(within: Duration, home: &Region) -> Self {
        Self {
            home: match home.folder() {
                Some(_) => within * 2 / 5,
                None => within * 3 / 4,
            },
            replicas: within,
        }
    }
}

/// Which regions get what they lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    All,
    /// The home, and replicas if their last piece was begun long enough ago.
    Due,
}

/// How far a receiver is.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// The timeline.
    pub timeline: Timeline,
    /// All of the log before this is durable at home.
    pub durable: Lsn,
    /// How far the server's log goes, as it last said.
    pub server: Lsn,
    /// Replicas that lack something, and why.
    pub behind: Vec<(RegionName, String)>,
}

impl Session {
    /// Receives the log of a cluster and keeps it, until something fails that waiting does not help.
    ///
    /// # Errors
    /// Fails if the server is another cluster or has removed what is needed, or if the home region
    /// cannot be written for ten minutes.
    pub async fn wal_receive(
        &self,
        environment: &Environment,
        source: &Source,
        options: &ReceiveOptions,
        tell: &(dyn Fn(&Received) + Sync),
    ) -> Result<(), OperationError> {
        let mut reception = Reception::prepare(self, environment, source, options).await?;
        reception.catch_up_all().await;
        let cluster = source.cluster().expect("the source is a cluster");
        let heart = cluster.heartbeat.then(|| {
            let beating = beat(self.clone(), cluster.clone(), options.within);
            tokio::spawn(beating)
        });
        let result = reception.run_on(cluster, tell).await;
        if let Some(heart) = heart {
            heart.abort();
        }
        result
    }
}

/// Returns the newest segment of which a region holds anything.
async fn newest_segment(
    store: &dyn ObjectStore,
    place: &WalPlace,
) -> Result<Option<Segment>, OperationError> {
    let listing = Repository::wal_listing(store, place).await?;
    Ok(listing
        .objects()
        .iter()
        .filter_map(WalObject::segment)
        .max())
}

/// A log on its way from the server into the regions.
struct Reception<'a> {
    session: &'a Session,
    environment: &'a Environment,
    clock: Arc<dyn Clock>,
    archive: Archive,
    conninfo: Conninfo,
    receiver: WalReceiver,
    incoming: Incoming,
    pace: Pace,
    /// When the newest piece was begun, at home and in replicas, on the clock.
    begun: Begun,
    /// Whether it was told that the server keeps nothing for the receiver.
    told_unprotected: bool,
    /// Replicas that failed, in their order.
    resting: Vec<Option<Rest>>,
}

/// When pieces were begun, on the clock.
#[derive(Debug, Default, Clone, Copy)]
struct Begun {
    home: Duration,
    replicas: Duration,
}

/// A replica that failed is left alone for a while: neither the home nor the others wait for it.
struct Rest {
    why: String,
    /// When it is tried again, on the clock.
    until: Duration,
    /// The first segment that it may lack.
    since: Segment,
}

impl<'a> Reception<'a> {
    /// Asks the server who it is and where its log is, and finds where the home's ends.
    async fn prepare(
        session: &'a Session,
        environment: &'a Environment,
        source: &Source,
        options: &ReceiveOptions,
    ) -> Result<Self, OperationError> {
        let cluster = source.cluster().expect("the source is a cluster");
        let conninfo = conninfo(session, cluster)?;
        let mut sender = WalSender::connect(&conninfo).await?;
        let identity = sender.identify_system().await?;
        let size = sender.segment_size().await?;
        let system = identity.system_id;
        refuse_foreign(session, environment, source, system).await?;
        let archive = Archive::open(session, environment, source, system).await?;
        let now = Segment::holding(identity.timeline, identity.end, size);
        let first = next_segment(&archive, size).await?.unwrap_or(now);
        keep_history(&archive, &mut sender, identity.timeline).await?;
        let mut from = receiver_options(cluster, system, &mut sender).await?;
        (from.timeline, from.start) = (first.timeline, first.start(size));
        sender.close().await;
        let home = session.config.region(environment.home.as_str())?;
        Ok(Self {
            session,
            environment,
            clock: session.world.clock.clone(),
            incoming: Incoming::new(first, size, &archive),
            receiver: WalReceiver::new(conninfo.clone(), from),
            pace: Pace::within(options.within, home),
            begun: Begun::default(),
            told_unprotected: false,
            resting: archive.replicas.iter().map(|_| None).collect(),
            archive,
            conninfo,
        })
    }

    /// Receives; goes on behind a hole, and on another timeline, as long as that gets further.
    async fn run_on(
        &mut self,
        cluster: &Cluster,
        tell: &(dyn Fn(&Received) + Sync),
    ) -> Result<(), OperationError> {
        let mut resumed = None;
        loop {
            let ended = self.run(tell).await;
            let place = (self.receiver.timeline(), self.receiver.position());
            match ended {
                Err(OperationError::Replication(error)) if resumed != Some(place) => {
                    self.resume(cluster, error).await?;
                    resumed = Some((self.receiver.timeline(), self.receiver.position()));
                }
                ended => return ended,
            }
        }
    }

    /// Takes the log up again after an error, if that can be.
    async fn resume(
        &mut self,
        cluster: &Cluster,
        error: ReplicationError,
    ) -> Result<(), OperationError> {
        if !may_be_resumed(&error) {
            return Err(error.into());
        }
        let size = self.incoming.size();
        let mut sender = WalSender::connect(&self.conninfo).await?;
        let server = sender.identify_system().await?;
        let reached = self.incoming.segment();
        let Some(at) = resume_at(&error, reached, (&mut sender, server), size).await? else {
            return Err(error.into());
        };
        for timeline in [at.timeline, server.timeline] {
            keep_history(&self.archive, &mut sender, timeline).await?;
        }
        let mut from = receiver_options(cluster, self.archive.place.system, &mut sender).await?;
        sender.close().await;
        (from.timeline, from.start) = (at.timeline, at.start(size));
        self.receiver = WalReceiver::new(self.conninfo.clone(), from);
        self.incoming = Incoming::new(at, size, &self.archive);
        Ok(())
    }

    async fn run(&mut self, tell: &(dyn Fn(&Received) + Sync)) -> Result<(), OperationError> {
        let mut told = Duration::ZERO;
        loop {
            let wait = self.until_due();
            match self.receiver.next(wait).await? {
                WalEvent::Bytes {
                    timeline,
                    start,
                    bytes,
                } => self.take(timeline, start, bytes).await?,
                WalEvent::TimelineEnded { next, history, .. } => {
                    self.keep(Whom::All).await?;
                    self.archive.keep(&history_draft(next), history).await?;
                }
                WalEvent::Disconnected {
                    error, retry_in, ..
                } => {
                    tracing::warn!("{}; tried again in {retry_in:?}", error_chain(&error));
                    self.keep(Whom::All).await?;
                }
                WalEvent::Connected {
                    host, unprotected, ..
                } => {
                    tracing::info!("receives from {host}, from {} on", self.receiver.position());
                    // Once, however often the connection is lost.
                    if let (Some(why), false) = (&unprotected, self.told_unprotected) {
                        warn_unprotected(why);
                    }
                    self.told_unprotected = unprotected.is_some();
                }
                // A piece is begun when all that has come is taken: with a store that is slower than
                // the pace it would hold one message, and the log would outrun it.
                WalEvent::Idle if wait.is_zero() => self.keep(Whom::Due).await?,
                WalEvent::Idle => {}
            }
            if self.clock.elapsed().saturating_sub(told) >= TELL_EVERY || told.is_zero() {
                told = self.clock.elapsed().max(Duration::from_nanos(1));
                tell(&self.received());
            }
        }
    }

    /// Returns how long it is until a piece is begun, or anything is looked at again.
    fn until_due(&self) -> Duration {
        let home = self.incoming.is_behind();
        let home = home.then(|| self.begun.home + self.pace.home);
        let replicas = self
            .lags()
            .then(|| self.begun.replicas + self.pace.replicas);
        match home.into_iter().chain(replicas).min() {
            Some(due) => due.saturating_sub(self.clock.elapsed()),
            None => self.pace.home,
        }
    }

    /// Reports whether a replica that works lacks anything.
    fn lags(&self) -> bool {
        let mut replicas = self.resting.iter().enumerate();
        replicas.any(|(at, rest)| rest.is_none() && self.incoming.is_replica_behind(at))
    }

    async fn take(
        &mut self,
        timeline: Timeline,
        start: Lsn,
        mut bytes: bytes::Bytes,
    ) -> Result<(), OperationError> {
        if timeline != self.incoming.segment().timeline {
            let size = self.incoming.size();
            self.incoming = Incoming::holding(timeline, start, size, &self.archive);
        }
        while !bytes.is_empty() {
            self.incoming.take(&mut bytes);
            if self.incoming.is_full() {
                self.keep(Whom::All).await?;
                self.incoming = self.incoming.next(&self.archive);
            }
        }
        Ok(())
    }

    /// Makes what came durable at home, and tells the server. A home that fails is asked again for a
    /// while: the server keeps what is not confirmed.
    async fn keep(&mut self, whom: Whom) -> Result<(), OperationError> {
        if !self.incoming.is_behind() && !self.lags() {
            return Ok(());
        }
        let now = self.clock.elapsed();
        let tried = match whom == Whom::All || now >= self.begun.replicas + self.pace.replicas {
            true => {
                self.begun.replicas = now;
                self.wake().await?
            }
            false => vec![false; self.resting.len()],
        };
        self.begun.home = now;
        let end = self.clock.elapsed() + HOME_PATIENCE;
        let mut pause = Duration::from_millis(100);
        loop {
            match self.incoming.keep(&self.archive, &tried).await {
                Ok(failed) => {
                    self.note(&tried, failed);
                    break;
                }
                Err(error) if may_pass(&error) && self.clock.elapsed() < end => {
                    tracing::warn!("the home region: {}; tried again", error_chain(&error));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error),
            }
        }
        let durable = self.incoming.durable();
        tracing::debug!(%durable, took = ?self.clock.elapsed().saturating_sub(now), "kept");
        self.receiver.confirm(durable);
        Ok(())
    }

    /// Says which replicas are tried now; one that could not be opened is opened again.
    async fn wake(&mut self) -> Result<Vec<bool>, OperationError> {
        let now = self.clock.elapsed();
        let rested = |rest: &Option<Rest>| rest.as_ref().is_none_or(|rest| rest.until <= now);
        let tried: Vec<bool> = self.resting.iter().map(rested).collect();
        for (replica, tried) in self.archive.replicas.iter_mut().zip(&tried) {
            if *tried && replica.repository.is_err() {
                let region = replica.region.clone();
                *replica = Replica::open(self.session, self.environment, &region).await?;
            }
        }
        Ok(tried)
    }

    /// Lets replicas rest that failed, and brings those up to date that are back.
    fn note(&mut self, tried: &[bool], failed: Vec<Option<String>>) {
        let until = self.clock.elapsed() + REST;
        let segment = self.incoming.segment();
        for (at, failed) in failed.into_iter().enumerate().filter(|(at, _)| tried[*at]) {
            let region = &self.archive.replicas[at].region;
            let rest = &mut self.resting[at];
            let since = rest.as_ref().map_or(segment, |rest| rest.since);
            match failed {
                Some(why) => {
                    if rest.is_none() {
                        tracing::warn!("region `{region}` is behind: {why}");
                    }
                    *rest = Some(Rest { why, until, since });
                }
                None if rest.take().is_some() => self.catch_up(at, since),
                None => {}
            }
        }
    }

    /// Brings replicas what the receiver before this one kept at home alone: it may have been killed.
    async fn catch_up_all(&self) {
        for (at, replica) in self.archive.replicas.iter().enumerate() {
            let Ok(repository) = &replica.repository else {
                continue;
            };
            match newest_segment(&**repository.store(), &self.archive.place).await {
                Ok(Some(newest)) => self.catch_up(at, newest),
                // All of it is for `replicate`, which knows what the region keeps.
                Ok(None) => {}
                Err(error) => tracing::info!(
                    "region `{}` cannot be listed: {}",
                    replica.region,
                    error_chain(&error)
                ),
            }
        }
    }

    /// Copies what a replica missed, while the log goes on.
    fn catch_up(&self, at: usize, since: Segment) {
        let replica = &self.archive.replicas[at];
        let Ok(repository) = &replica.repository else {
            return;
        };
        let (from, to) = (
            self.archive.home.store().clone(),
            repository.store().clone(),
        );
        let (place, region) = (self.archive.place.clone(), replica.region.clone());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let wanted = |object: &WalObject| object.segment().is_none_or(|one| one >= since);
            match runtime.block_on(Repository::copy_wal(&*from, &*to, &place, wanted)) {
                Ok(copied) if copied.objects == 0 => {}
                Ok(copied) => tracing::warn!(
                    "region `{region}` is back, and got the {} objects that it missed",
                    copied.objects
                ),
                Err(error) => tracing::warn!(
                    "region `{region}` is back and lacks a part of the log: {}; `lifeboat replicate` \
                     brings it",
                    error_chain(&error)
                ),
            }
        });
    }

    fn behind(&self) -> Vec<(RegionName, String)> {
        let replicas = self.archive.replicas.iter().zip(&self.resting);
        let behind = replicas.filter_map(|(replica, rest)| {
            let rest = rest.as_ref()?;
            Some((replica.region.clone(), rest.why.clone()))
        });
        behind.collect()
    }

    fn received(&self) -> Received {
        Received {
            timeline: self.incoming.segment().timeline,
            durable: self.incoming.durable(),
            server: self.receiver.server_end(),
            behind: self.behind(),
        }
    }
}

/// Reports whether a store may work again soon. One that is full or denies needs somebody to act, but
/// while somebody may, nothing is lost by asking.
fn may_pass(error: &OperationError) -> bool {
    use lifeboat_model::{Diagnose as _, ErrorKind};
    matches!(
        error.kind(),
        ErrorKind::Transient | ErrorKind::NoSpace | ErrorKind::Denied | ErrorKind::Failed
    )
}

/// Writes the heartbeat as often as the log is kept. A server that does not take it is told of once;
/// receiving goes on, and a recovery then proves its age by other commits.
async fn beat(session: Session, cluster: Cluster, every: Duration) {
    let mut sql: Option<SqlSession> = None;
    let mut warned = false;
    loop {
        let done = async {
            if sql.is_none() {
                let opened = connect(&session, &cluster).await?;
                heartbeat::create(&opened).await?;
                sql = Some(opened);
            }
            let client = sql.as_ref().expect("it was just opened");
            heartbeat::beat(client).await?;
            Ok::<(), OperationError>(())
        };
        match done.await {
            Ok(()) => warned = false,
            Err(error) => {
                sql = None;
                if !warned {
                    tracing::warn!("no heartbeat is written: {}", error_chain(&error));
                    warned = true;
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}

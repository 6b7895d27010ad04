//! `replicate --continuous`: replicas that follow the home within seconds.
//!
//! Each turn brings the parts of write-ahead logs that only the home has, which costs a few listings
//! of the log alone. A turn with a snapshot that a replica has no receipt for is a whole replication,
//! and so is one an hour.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use lifeboat_config::Environment;
use lifeboat_model::{Diagnose as _, ErrorKind, RegionName, Segment, WalObject, error_chain};
use lifeboat_repository::{CopyLimits, Outcome, Receipt, Repository, RunKind, WalPlace};
use serde::Serialize;

use crate::error::OperationError;
use crate::ledger::Facts;
use crate::place::Opened;
use crate::session::Session;

/// How often everything is looked at, whether there is a new snapshot or not.
const WHOLE_EVERY: Duration = Duration::from_secs(3600);
/// The first pause after a whole replication that failed; each next one is twice as long …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this: every attempt leaves an entry in the ledger.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often the ledger is told what was copied of logs alone.
const RECORD_EVERY: Duration = Duration::from_secs(900);

/// How a replica stands after a turn.
#[derive(Debug, Clone, Serialize)]
pub struct Followed {
    /// The replica.
    pub to: RegionName,
    /// Number of objects that this turn copied.
    pub objects: u64,
    /// Their length together, bytes.
    pub bytes: u64,
    /// Snapshots that got their receipt in this turn.
    pub receipts_new: u64,
    /// Time since the home held nothing that the replica lacks, seconds; `None` if that was never so
    /// since this began.
    pub lag_secs: Option<f64>,
    /// Length of what the replica still lacks of the home, bytes; `None` if it cannot be asked.
    pub pending_bytes: Option<u64>,
    /// Why it lacks something.
    pub fault: Option<String>,
}

/// One replica that is kept up to date.
struct Follower<'a> {
    session: &'a Session,
    environment: &'a Environment,
    limits: &'a CopyLimits,
    to: RegionName,
    /// Home and replica; opened again after a fault.
    opened: Option<(Opened, Opened)>,
    /// The logs that the home keeps, and from which segment on they are brought: what lies before was
    /// brought as a whole, and what the replica prunes of it must not come back.
    logs: BTreeMap<WalPlace, Option<Segment>>,
    /// When everything was last looked at, on the clock.
    whole: Option<Duration>,
    /// Why the last whole replication failed, and the pause after it.
    failed: Option<(String, Duration)>,
    /// Before this, on the clock, no whole replication is tried again.
    retry_at: Duration,
    /// The newest moment at which the home held nothing that the replica now lacks.
    even: Option<Timestamp>,
    unrecorded: Copied,
    recorded: Duration,
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default)]
struct Copied {
    objects: u64,
    bytes: u64,
    receipts_new: u64,
}

impl Session {
    /// Keeps replicas up to date, with `every` between two turns, until `stop` is ready; a turn that
    /// is under way ends first. `tell` hears of every turn; the last one is returned.
    ///
    /// # Errors
    /// Fails if policy forbids a region to hold what it would get. A region that fails for another
    /// reason is tried again with the next turn, and holds up no other.
    pub async fn replicate_continuously(
        &self,
        environment: &Environment,
        targets: &[RegionName],
        (limits, every): (&CopyLimits, Duration),
        stop: impl Future<Output = ()>,
        tell: &(dyn Fn(&[Followed]) + Sync),
    ) -> Result<Vec<Followed>, OperationError> {
        let follower = |to: &RegionName| Follower::new(self, environment, limits, to.clone());
        let mut followers: Vec<Follower<'_>> = targets.iter().map(follower).collect();
        let mut stop = pin!(stop);
        loop {
            let turns = followers.iter_mut().map(Follower::turn);
            let turns = join_all(turns).await.into_iter();
            let followed = turns.collect::<Result<Vec<_>, OperationError>>()?;
            tell(&followed);
            if tokio::time::timeout(every, &mut stop).await.is_ok() {
                for (follower, last) in followers.iter_mut().zip(&followed) {
                    follower.record(last).await;
                }
                return Ok(followed);
            }
        }
    }
}

impl<'a> Follower<'a> {
    fn new(
        session: &'a Session,
        environment: &'a Environment,
        limits: &'a CopyLimits,
        to: RegionName,
    ) -> Self {
        Self {
            session,
            environment,
            limits,
            to,
            opened: None,
            logs: BTreeMap::new(),
            whole: None,
            failed: None,
            retry_at: Duration::ZERO,
            even: None,
            unrecorded: Copied::default(),
            recorded: session.world.clock.elapsed(),
        }
    }

    /// Brings what is missing, and says how things stand.
    async fn turn(&mut self) -> Result<Followed, OperationError> {
        let clock = self.session.world.clock.clone();
        let looked = clock.now();
        let (copied, fault) = match self.bring().await {
            Ok(copied) => (copied, self.failed.as_ref().map(|(why, _)| why.clone())),
            Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
            Err(error) => (Copied::default(), Some(error_chain(&error))),
        };
        let pending_bytes = match fault {
            None => Some(0),
            Some(_) => self.pending_bytes().await,
        };
        match fault {
            None => self.even = Some(looked),
            Some(_) => self.opened = None,
        }
        let lag = |even| clock.now().duration_since(even).as_secs_f64().max(0.0);
        let followed = Followed {
            to: self.to.clone(),
            objects: copied.objects,
            bytes: copied.bytes,
            receipts_new: copied.receipts_new,
            lag_secs: self.even.map(lag),
            pending_bytes,
            fault,
        };
        if clock.elapsed().saturating_sub(self.recorded) >= RECORD_EVERY {
            self.record(&followed).await;
        }
        Ok(followed)
    }

    async fn bring(&mut self) -> Result<Copied, OperationError> {
        let (from, to) = self.open().await?;
        let mut sum = self.bring_logs(&from, &to).await?;
        let now = self.session.world.clock.elapsed();
        let is_due = self
            .whole
            .is_none_or(|at| now.saturating_sub(at) >= WHOLE_EVERY);
        if !is_due && !self.lacks_snapshot(&from, &to).await? {
            self.failed = None;
        } else if now >= self.retry_at {
            match self.bring_all(&from).await {
                Ok(copied) => {
                    self.failed = None;
                    sum.objects += copied.objects;
                    sum.bytes += copied.bytes;
                    sum.receipts_new = copied.receipts_new;
                }
                Err(error) => {
                    let pause = self.failed.as_ref().map(|(_, pause)| *pause * 2);
                    let pause = pause.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
                    self.retry_at = self.session.world.clock.elapsed() + pause;
                    self.failed = Some((error_chain(&error), pause));
                    return Err(error);
                }
            }
        }
        Ok(sum)
    }

    async fn bring_logs(&mut self, from: &Opened, to: &Opened) -> Result<Copied, OperationError> {
        let mut sum = Copied::default();
        for (place, floor) in &self.logs {
            let wanted = is_wanted(*floor);
            let copied = Repository::copy_wal(&*from.store, &*to.store, place, wanted).await?;
            sum.objects += copied.objects;
            sum.bytes += copied.bytes;
        }
        self.unrecorded.objects += sum.objects;
        self.unrecorded.bytes += sum.bytes;
        Ok(sum)
    }

    /// Opens both regions; whether the replica may hold the data is asked before anything is written.
    async fn open(&mut self) -> Result<(Opened, Opened), OperationError> {
        if let Some(opened) = &self.opened {
            return Ok(opened.clone());
        }
        let from = self.session.open_region(&self.environment.home).await?;
        let to = self.session.open_region_for(self.environment, &self.to);
        let opened = (from, to.await?);
        self.opened = Some(opened.clone());
        Ok(opened)
    }

    async fn lacks_snapshot(&self, from: &Opened, to: &Opened) -> Result<bool, OperationError> {
        let snapshots = Repository::snapshot_names(&*from.store, None, None).await?;
        Ok(!Receipt::are_there(&*to.store, &self.to, &snapshots).await?)
    }

    /// Replicates as a command by itself does, and notes where the logs are then.
    async fn bring_all(&mut self, from: &Opened) -> Result<Copied, OperationError> {
        let logs = self.logs_of(from).await?;
        let (session, environment) = (self.session, self.environment);
        let plan = session.plan_replicate(environment, &self.to).await?;
        let report = session.replicate(environment, &plan, self.limits).await?;
        self.logs = logs;
        self.whole = Some(session.world.clock.elapsed());
        Ok(Copied {
            objects: report.objects,
            bytes: report.bytes,
            receipts_new: report.receipts_new.len() as u64,
        })
    }

    /// Lists the logs that the home keeps, each with its newest segment.
    async fn logs_of(
        &self,
        from: &Opened,
    ) -> Result<BTreeMap<WalPlace, Option<Segment>>, OperationError> {
        let mut logs = BTreeMap::new();
        let environment = &self.environment.name;
        for source in self.environment.sources.values() {
            if source.cluster().is_none() {
                continue;
            }
            let systems = Repository::wal_systems(&*from.store, environment, &source.name);
            for system in systems.await? {
                let place = WalPlace {
                    environment: environment.clone(),
                    source: source.name.clone(),
                    system,
                };
                let listing = Repository::wal_listing(&*from.store, &place).await?;
                let segments = listing.objects().iter().filter_map(WalObject::segment);
                logs.insert(place, segments.max());
            }
        }
        Ok(logs)
    }

    /// Asks what of the logs is missing, though bringing it failed.
    async fn pending_bytes(&self) -> Option<u64> {
        let (from, to) = self.opened.as_ref()?;
        // As long as nothing was brought as a whole, far more than logs may be missing.
        self.whole?;
        let mut bytes = 0;
        for (place, floor) in &self.logs {
            let wanted = is_wanted(*floor);
            let pending = Repository::wal_pending(&*from.store, &*to.store, place, wanted);
            bytes += pending.await.ok()?.bytes;
        }
        Some(bytes)
    }

    /// Tells the ledger what was copied of logs since it was last told, if anything was.
    async fn record(&mut self, last: &Followed) {
        self.recorded = self.session.world.clock.elapsed();
        let Some((from, _)) = &self.opened else {
            return;
        };
        if self.unrecorded.objects == 0 {
            return;
        }
        let copied = std::mem::take(&mut self.unrecorded);
        let session = self.session;
        let written = async {
            let run = session.begin_run(from, RunKind::Replicate, self.environment, None);
            run.await?
                .end(session, Ok(()), |()| (Outcome::Done, facts(last, copied)))
                .await
        };
        if let Err(error) = written.await {
            tracing::warn!("the ledger was not told: {}", error_chain(&error));
        }
    }
}

fn facts(last: &Followed, copied: Copied) -> Facts {
    Facts::from([
        ("region".to_owned(), last.to.to_string().into()),
        ("continuous".to_owned(), true.into()),
        ("objects".to_owned(), copied.objects.into()),
        ("bytes".to_owned(), copied.bytes.into()),
        ("lag_secs".to_owned(), last.lag_secs.into()),
        ("pending_bytes".to_owned(), last.pending_bytes.into()),
    ])
}

/// Picks what lies in a segment from `floor` on, and what lies in none.
fn is_wanted(floor: Option<Segment>) -> impl Fn(&WalObject) -> bool {
    move |object| {
        object
            .segment()
            .is_none_or(|one| floor.is_none_or(|floor| one >= floor))
    }
}

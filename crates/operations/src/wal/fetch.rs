//! `wal fetch`: what `restore_command` runs.
//!
//! Owns the difference between "there is no such file", which ends a recovery and opens the database,
//! and "it cannot be had right now", which must not.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use lifeboat_model::{
    Diagnose as _, EnvironmentName, ErrorKind, InvalidName, RegionName, Segment, SegmentSize,
    SourceName, SystemId, WalFileName, error_chain,
};
use lifeboat_repository::{Repository, Role};
use lifeboat_storage::ListedBy;
use serde::Serialize;

use super::missing::GAP_PATIENCE;
use super::region_log::{Held, RegionLog, log_of};
use super::spool::{Spool, write_whole};
use crate::error::OperationError;
use crate::place::as_one;
use crate::rescue::Rescue;
use crate::session::Session;

/// How long a store that fails is asked again before the recovery is stopped.
const PATIENCE: Duration = Duration::from_secs(120);
const GAP_PAUSE: Duration = Duration::from_millis(500);
/// How long a segment that somebody is fetching ahead is waited for.
const AHEAD_WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// More is fetched ahead as soon as fewer segments than this are left.
const AHEAD_LOW: usize = 6;

/// What a recovery asks for.
#[derive(Debug, Clone)]
pub struct WalFetchRequest<'a> {
    /// The file's name.
    pub name: &'a str,
    /// Where it goes.
    pub target: &'a Path,
    /// The folder for what is fetched ahead, of this recovery alone.
    pub spool: Option<&'a Path>,
    /// The last segment that the recovery needs; `None` if it goes on to the end of the log.
    pub until: Option<Segment>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalFetch {
    /// It is at the target.
    Found,
    /// The repository has no such file: the log ends before it.
    NotThere,
}

impl WalFetchRequest<'_> {
    fn segment(&self) -> Option<Segment> {
        self.name.parse().ok()
    }

    /// Reports whether the server is a standby, which goes on asking: the target lies in its `pg_wal`.
    fn is_for_standby(&self) -> bool {
        let data_directory = self.target.parent().and_then(Path::parent);
        data_directory.is_some_and(|folder| folder.join("standby.signal").is_file())
    }

    /// Reports whether the recovery needs nothing of a segment: a server looks further than it goes, and
    /// behind an old snapshot a prune leaves holes on purpose.
    fn is_done_before(&self, segment: Segment) -> bool {
        let place = |segment: Segment| (segment.log, segment.part);
        self.until
            .is_some_and(|until| place(until) < place(segment))
    }

    /// Delivers what was fetched ahead, waiting for it if it is on its way. Says whether it did.
    ///
    /// # Errors
    /// Fails if the target cannot be written.
    pub async fn take_ahead(&self) -> Result<bool, OperationError> {
        let (Some(spool), Some(segment)) = (self.spool, self.segment()) else {
            return Ok(false);
        };
        let spool = Spool::at(spool);
        let mut waited = Duration::ZERO;
        loop {
            if spool.take(segment, self.target)? {
                return Ok(true);
            }
            if waited >= AHEAD_WAIT || !spool.is_being_filled() {
                // It may have come between the two looks.
                return spool.take(segment, self.target);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    /// Reports whether it is time to fetch more ahead, at a segment that was just delivered.
    pub fn runs_low(&self, segment: Segment) -> bool {
        // The names go on at the same place of any log, so the usual length will do to guess.
        let size = SegmentSize::DEFAULT;
        let mut later = std::iter::successors(Some(segment.next(size)), |s| Some(s.next(size)));
        let soon = later.nth(AHEAD_LOW);
        let spool = self.spool.map(Spool::at);
        spool.is_some_and(|spool| !spool.is_being_filled() && soon.is_some_and(|s| !spool.holds(s)))
    }

    /// Makes the folder for what is fetched ahead.
    ///
    /// # Errors
    /// Fails if it cannot be made.
    pub fn prepare_spool(&self) -> Result<(), OperationError> {
        self.spool.map_or(Ok(()), |spool| Spool::at(spool).create())
    }

    /// Removes the folder of what was fetched ahead: the recovery has ended.
    ///
    /// # Errors
    /// Fails if it cannot be removed.
    pub fn remove_spool(&self) -> Result<(), OperationError> {
        self.spool.map_or(Ok(()), |spool| Spool::at(spool).remove())
    }
}

/// Whose log is meant.
#[derive(Debug, Clone, Copy)]
pub struct WalFrom<'a> {
    /// The environment.
    pub environment: &'a str,
    /// The source.
    pub source: &'a str,
    /// The cluster; `None` for that of the newest snapshot.
    pub system: Option<SystemId>,
    /// The region to read; `None` for all of the environment, its home first.
    pub region: Option<&'a str>,
}

impl Session {
    /// Opens the log of a source for a recovery, in one region or in all that can be opened.
    ///
    /// # Errors
    /// Fails if no region can be opened, or no snapshot is of such a cluster.
    pub async fn wal(&self, from: &WalFrom<'_>) -> Result<WalSource, OperationError> {
        let environment = self.environment(from.environment)?;
        let source = parse_name(from.source)?;
        let regions: Vec<&RegionName> = match from.region {
            Some(name) => vec![&self.config.region(name)?.name],
            None => environment.regions().collect(),
        };
        let mut regions_read = Vec::new();
        let (mut unasked, mut failed) = (None, None);
        for (order, region) in regions.into_iter().enumerate() {
            let open = async {
                let opened = self.open_region(region).await?;
                self.open_repository(environment, &opened, Role::Reader)
                    .await
            };
            match open.await {
                Ok(repository) => regions_read.push((region.to_string(), repository)),
                Err(error) => {
                    tracing::info!("region `{region}` cannot serve: {}", error_chain(&error));
                    match order {
                        0 => unasked = Some(error),
                        _ => failed = failed.or(Some(error)),
                    }
                }
            }
        }
        match unasked.take_if(|_| regions_read.is_empty()).or(failed) {
            Some(error) if regions_read.is_empty() => Err(error),
            _ => {
                let of = (&environment.name, &source);
                let logs = logs_of(regions_read, of, from.system).await?;
                Ok(WalSource { logs, unasked })
            }
        }
    }
}

/// Finds the log of the cluster named, or of that of the newest snapshot, in regions of one
/// repository. What the first says that has such a snapshot holds for all: one that has lost its
/// snapshots may have the log still.
///
/// # Errors
/// Fails if no region has a snapshot of such a cluster.
async fn logs_of(
    regions: Vec<(String, Repository)>,
    (environment, source): (&EnvironmentName, &SourceName),
    system: Option<SystemId>,
) -> Result<Vec<(String, RegionLog)>, OperationError> {
    let mut of = None;
    for (_, repository) in &regions {
        let found = log_of(repository, environment, source, system).await;
        let is_found = found.is_ok();
        // Why the first cannot tell matters most.
        if is_found || of.is_none() {
            of = Some(found);
        }
        if is_found {
            break;
        }
    }
    let place = of.expect("there is a region")?;
    let log = |(region, repository)| (region, RegionLog::new(repository, place.clone()));
    Ok(regions.into_iter().map(log).collect())
}

impl Rescue {
    /// Opens the log of a source for a recovery.
    ///
    /// # Errors
    /// Fails if no snapshot is of such a cluster.
    pub async fn wal(&self, from: &WalFrom<'_>) -> Result<WalSource, OperationError> {
        let environment = parse_name(from.environment)?;
        let source = parse_name(from.source)?;
        let store = self.repository().store().describe();
        let regions = vec![(store, self.repository().clone())];
        Ok(WalSource {
            logs: logs_of(regions, (&environment, &source), from.system).await?,
            unasked: None,
        })
    }
}

fn parse_name<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, OperationError> {
    text.parse()
        .map_err(|error: InvalidName| OperationError::Usage {
            message: error.to_string(),
            hint: "`lifeboat snapshots` lists the names".to_owned(),
        })
}

/// The log of one cluster, in every region that can serve it, the preferred one first.
pub struct WalSource {
    logs: Vec<(String, RegionLog)>,
    /// Why the preferred region cannot be opened. A replica may lack the newest part of the log, so
    /// without the home nobody can say that a file is nowhere.
    unasked: Option<OperationError>,
}

impl WalSource {
    /// Fetches a file for a recovery, from the first region that has it whole; else as much as any
    /// region received of it.
    ///
    /// # Errors
    /// Fails if no region has the file and one of them cannot be read for two minutes, or holds what
    /// is damaged or contradictory, if the preferred one cannot be opened, or if the log goes on behind
    /// what is there: the recovery must stop then, not end.
    pub async fn fetch(
        mut self,
        session: &Session,
        request: &WalFetchRequest<'_>,
    ) -> Result<WalFetch, OperationError> {
        // A recovery may ask for files that no archive has.
        let Ok(file) = request.name.parse::<WalFileName>() else {
            return Ok(WalFetch::NotThere);
        };
        let end = session.world.clock.elapsed() + GAP_PATIENCE;
        loop {
            match self.fetch_once(session, request, file).await {
                // Segments of a server that is at work arrive side by side, not one after the other.
                Err(OperationError::WalGap { .. }) if session.world.clock.elapsed() < end => {
                    tokio::time::sleep(GAP_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn fetch_once(
        &mut self,
        session: &Session,
        request: &WalFetchRequest<'_>,
        file: WalFileName,
    ) -> Result<WalFetch, OperationError> {
        let mut longest: Option<Held> = None;
        let (mut failed, mut home_failed) = (None, self.unasked.is_some());
        for (order, (_, log)) in self.logs.iter().enumerate() {
            match patiently(session, || log.file(file)).await {
                Ok(Some(held)) if held.whole => {
                    write_whole(request.target, &held.bytes)?;
                    return Ok(WalFetch::Found);
                }
                Ok(Some(part)) => {
                    let is_longer = longest.as_ref().is_none_or(|known| known.end < part.end);
                    longest = if is_longer { Some(part) } else { longest };
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("{file}: {}", error_chain(&error));
                    home_failed |= order == 0;
                    failed = failed.or(Some(error));
                }
            }
        }
        if let (WalFileName::Segment(segment), Some(part)) = (file, &longest)
            && let Some(joined) = self.joined(session, segment, part.end).await?
        {
            if joined.whole {
                write_whole(request.target, &joined.bytes)?;
                return Ok(WalFetch::Found);
            }
            longest = Some(joined);
        }
        // What a replica has of a segment may be less than what the home would have.
        if longest.is_none() || home_failed {
            failed.or_else(|| self.unasked.take()).map_or(Ok(()), Err)?;
        }
        if let WalFileName::Segment(segment) = file {
            let held = longest.as_ref().map_or(0, |part| part.end);
            self.expect_end(request, segment, held).await?;
        }
        match longest {
            Some(part) => {
                write_whole(request.target, &part.bytes)?;
                Ok(WalFetch::Found)
            }
            None => Ok(WalFetch::NotThere),
        }
    }

    /// Puts a segment together from pieces of all regions, if that makes more of it than the `held`
    /// bytes that one of them has.
    async fn joined(
        &self,
        session: &Session,
        segment: Segment,
        held: u32,
    ) -> Result<Option<Held>, OperationError> {
        let [(_, first), _, ..] = self.logs.as_slice() else {
            return Ok(None);
        };
        let stores = self.logs.iter();
        let stores = stores.map(|(region, log)| (region.clone(), log.store().clone()));
        let all = first.read_from(as_one(stores.collect(), ListedBy::Any));
        let joined = patiently(session, || all.segment(segment)).await?;
        Ok(joined.filter(|joined| joined.end > held))
    }

    /// Makes sure that the log ends in a segment of which no more than `held` bytes are there: a server
    /// takes the end of what it is given for the end of the log, and opens the database.
    async fn expect_end(
        &self,
        request: &WalFetchRequest<'_>,
        segment: Segment,
        held: u32,
    ) -> Result<(), OperationError> {
        let own = request.target.with_file_name(segment.to_string());
        // A standby asks again. Any other server takes what lies in its own `pg_wal` next, if anything.
        let is_no_end = held == 0
            && (request.is_for_standby()
                || request.is_done_before(segment)
                || self
                    .logs
                    .iter()
                    .any(|(_, log)| log.is_segment(&own, segment)));
        if is_no_end {
            return Ok(());
        }
        for (_, log) in &self.logs {
            if log.goes_on_after(segment).await? {
                let held = u64::from(held);
                return Err(OperationError::WalGap { segment, held });
            }
        }
        Ok(())
    }

    /// Fetches the segments after `segment` into the spool, as long as they are there whole. Ends at
    /// once if somebody else does so.
    ///
    /// # Errors
    /// Fails if a segment cannot be read; the recovery will ask for it itself, and be told why.
    pub async fn fetch_ahead(
        &self,
        spool: &Path,
        after: Segment,
        count: u32,
    ) -> Result<(), OperationError> {
        let spool = Spool::at(spool);
        match (spool.lock()?, self.logs.first()) {
            (Some(_fetching), Some((_, log))) => log.fetch_ahead(&spool, after, count).await,
            _ => Ok(()),
        }
    }
}

/// Asks again while a store fails, for as long as a recovery can wait.
async fn patiently<T, F: Future<Output = Result<T, OperationError>>>(
    session: &Session,
    ask: impl Fn() -> F,
) -> Result<T, OperationError> {
    let clock = &*session.world.clock;
    let end = clock.elapsed() + PATIENCE;
    let mut pause = Duration::from_millis(200);
    loop {
        match ask().await {
            Err(error) if error.kind() == ErrorKind::Transient && clock.elapsed() < end => {
                tracing::warn!(%error, "asked again in {} ms", pause.as_millis());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            done => return done,
        }
    }
}

//! `wal fetch`: what `restore_command` runs.
//!
//! Owns the difference between "there is no such file", which ends a recovery and opens the database,
//! and "it cannot be had right now", which must not.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use futures::future::join_all;
use lifeboat_config::Environment;
use lifeboat_model::{
    Diagnose as _, EnvironmentName, ErrorKind, InvalidName, RegionName, Segment, SegmentSize,
    SourceName, SystemId, WalFileName, error_chain,
};
use lifeboat_repository::{Repository, Role};
use lifeboat_storage::ListedBy;
use serde::Serialize;

use super::expected::Expected;
use super::missing::GAP_PATIENCE;
use super::region_log::{Held, RegionLog, log_of};
use super::spool::{Spool, write_whole};
use crate::error::OperationError;
use crate::place::{as_one, in_time};
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
    /// What the restore was planned with: nothing of it may be missing.
    pub expected: &'a [Expected],
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

    /// Returns how much of a file the restore was planned with; `None` if nothing.
    fn planned(&self, file: WalFileName) -> Option<u32> {
        let mut planned = self.expected.iter();
        planned.find_map(|expected| expected.bytes_of(file))
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
        let (home, others) = regions.split_first().expect("an environment has a home");
        let (mut opened, mut unopened, mut unasked) = (Vec::new(), Vec::new(), None);
        match self.open_log(environment, home, !others.is_empty()).await {
            Ok(repository) => {
                // The others are asked for what it has not.
                let of = (&environment.name, &source);
                if let Ok(place) = log_of(&repository, of.0, of.1, from.system).await {
                    let log = RegionLog::new(repository, place);
                    return Ok(WalSource {
                        logs: vec![(home.to_string(), log)],
                        later: others.iter().map(|name| (*name).clone()).collect(),
                        unopened,
                        unasked,
                    });
                }
                opened.push((home.to_string(), repository));
            }
            Err(error) => {
                unopened.push(cannot_serve(home, &error));
                unasked = Some(error);
            }
        }
        let (more, failed) = self.open_logs(environment, others).await;
        opened.extend(more);
        unopened.extend(failed);
        match unasked.take_if(|_| opened.is_empty()) {
            Some(error) => Err(error),
            None => Ok(WalSource {
                logs: logs_of(opened, (&environment.name, &source), from.system).await?,
                later: Vec::new(),
                unopened,
                unasked,
            }),
        }
    }

    /// Opens the repository in a region, within the limit if there are others to ask.
    async fn open_log(
        &self,
        environment: &Environment,
        region: &RegionName,
        has_others: bool,
    ) -> Result<Repository, OperationError> {
        let open = async {
            let opened = self.open_region(region).await?;
            self.open_repository(environment, &opened, Role::Reader)
                .await
        };
        match has_others {
            true => in_time(region, open).await,
            false => open.await,
        }
    }

    /// Opens regions at the same time. Returns those that serve, and why the others do not.
    async fn open_logs(
        &self,
        environment: &Environment,
        regions: &[&RegionName],
    ) -> (Vec<(String, Repository)>, Vec<String>) {
        let opens = regions
            .iter()
            .map(|region| self.open_log(environment, region, true));
        let (mut opened, mut unopened) = (Vec::new(), Vec::new());
        for (region, repository) in regions.iter().zip(join_all(opens).await) {
            match repository {
                Ok(repository) => opened.push((region.to_string(), repository)),
                Err(error) => unopened.push(cannot_serve(region, &error)),
            }
        }
        (opened, unopened)
    }
}

/// Tells of a region that cannot be opened, and returns what an error says of it.
fn cannot_serve(region: &RegionName, error: &OperationError) -> String {
    let why = error_chain(error);
    tracing::warn!("region `{region}` cannot serve: {why}");
    format!("region `{region}` cannot be read: {why}")
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
            later: Vec::new(),
            unopened: Vec::new(),
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

/// What came of asking regions for a file.
struct Asked {
    /// The file, or the longest part of a segment that one region has.
    held: Option<Held>,
    /// Why the first of those that failed did.
    failed: Option<OperationError>,
    /// Whether the preferred one failed, or could not be asked.
    home_failed: bool,
}

/// The log of one cluster, in every region that can serve it, the preferred one first.
pub struct WalSource {
    logs: Vec<(String, RegionLog)>,
    /// Regions that are opened only for what those do not have whole.
    later: Vec<RegionName>,
    /// Which regions cannot be opened, and why.
    unopened: Vec<String>,
    /// Why the preferred region cannot be opened. A replica may lack the newest part of the log, so
    /// without the home nobody can say that a file is nowhere.
    unasked: Option<OperationError>,
}

impl WalSource {
    /// Fetches a file for a recovery, from the first region that has it whole; else as much as any
    /// region received of it.
    ///
    /// # Errors
    /// Fails if the restore was planned with more of the file than can be had now. Fails, too, if no
    /// region has the file and one of them cannot be read for two minutes, or holds what
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
        let asked = self.ask_each(session, file).await?;
        let (mut longest, mut failed) = (asked.held, asked.failed);
        if let Some(all) = longest.take_if(|held| held.whole) {
            write_whole(request.target, &all.bytes)?;
            return Ok(WalFetch::Found);
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
        if longest.is_none() || asked.home_failed {
            failed.take().map_or(Ok(()), Err)?;
        }
        let held = longest.as_ref().map_or(0, |part| part.end);
        self.expect_planned(request, file, held, failed.as_ref())?;
        if longest.is_none() || asked.home_failed {
            self.unasked.take().map_or(Ok(()), Err)?;
        }
        if let WalFileName::Segment(segment) = file {
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

    /// Asks one region after the other for a file, until one has it whole.
    async fn ask_each(
        &mut self,
        session: &Session,
        file: WalFileName,
    ) -> Result<Asked, OperationError> {
        let mut asked = Asked {
            held: None,
            failed: None,
            home_failed: self.unasked.is_some(),
        };
        let mut order = 0;
        loop {
            if order == self.logs.len() {
                self.open_later(session).await?;
            }
            let Some((_, log)) = self.logs.get(order) else {
                return Ok(asked);
            };
            match patiently(session, || log.file(file)).await {
                Ok(Some(held)) if held.whole => {
                    asked.held = Some(held);
                    return Ok(asked);
                }
                Ok(Some(part)) => {
                    let known = asked.held.as_ref();
                    if known.is_none_or(|known| known.end < part.end) {
                        asked.held = Some(part);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("{file}: {}", error_chain(&error));
                    asked.home_failed |= order == 0;
                    asked.failed = asked.failed.or(Some(error));
                }
            }
            order += 1;
        }
    }

    /// Opens the regions that were not needed so far.
    async fn open_later(&mut self, session: &Session) -> Result<(), OperationError> {
        let later = std::mem::take(&mut self.later);
        let [(_, first), ..] = self.logs.as_slice() else {
            return Ok(());
        };
        if later.is_empty() {
            return Ok(());
        }
        let environment = session.environment(first.environment().as_str())?;
        let later: Vec<&RegionName> = later.iter().collect();
        let (opened, unopened) = session.open_logs(environment, &later).await;
        let log = |(region, repository)| (region, first.in_repository(repository));
        let more: Vec<_> = opened.into_iter().map(log).collect();
        self.logs.extend(more);
        self.unopened.extend(unopened);
        Ok(())
    }

    /// Makes sure that of a file which the restore was planned with as much is there as was then. What
    /// nobody promised may be nowhere.
    fn expect_planned(
        &self,
        request: &WalFetchRequest<'_>,
        file: WalFileName,
        held: u32,
        failed: Option<&OperationError>,
    ) -> Result<(), OperationError> {
        if request.planned(file).is_none_or(|planned| planned <= held) {
            return Ok(());
        }
        let failed = failed.map(|error| error_chain(error).to_string());
        let mut why: Vec<String> = self.unopened.iter().cloned().chain(failed).collect();
        if why.is_empty() {
            why.push("no region has more of it".to_owned());
        }
        let why = why.join("; ");
        Err(OperationError::WalUnmet { file, held, why })
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

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
use lifeboat_repository::{Repository, Role, WalListing, WalPlace};
use serde::Serialize;

use super::spool::{Spool, write_whole};
use crate::error::OperationError;
use crate::rescue::Rescue;
use crate::session::Session;

/// How long a store that fails is asked again before the recovery is stopped.
const PATIENCE: Duration = Duration::from_secs(120);
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
        let (mut logs, mut unasked, mut failed) = (Vec::new(), None, None);
        for (order, region) in regions.into_iter().enumerate() {
            let open = async {
                let opened = self.open_region(region).await?;
                let repository = self
                    .open_repository(environment, &opened, Role::Reader)
                    .await?;
                Log::find(repository, &environment.name, &source, from.system).await
            };
            match open.await {
                Ok(log) => logs.push(log),
                Err(error) => {
                    tracing::info!("region `{region}` cannot serve: {}", error_chain(&error));
                    match order {
                        0 => unasked = Some(error),
                        _ => failed = failed.or(Some(error)),
                    }
                }
            }
        }
        match unasked.take_if(|_| logs.is_empty()).or(failed) {
            Some(error) if logs.is_empty() => Err(error),
            _ => Ok(WalSource { logs, unasked }),
        }
    }
}

impl Rescue {
    /// Opens the log of a source for a recovery.
    ///
    /// # Errors
    /// Fails if no snapshot is of such a cluster.
    pub async fn wal(&self, from: &WalFrom<'_>) -> Result<WalSource, OperationError> {
        let environment = parse_name(from.environment)?;
        let source = parse_name(from.source)?;
        let log = Log::find(
            self.repository().clone(),
            &environment,
            &source,
            from.system,
        )
        .await?;
        Ok(WalSource {
            logs: vec![log],
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
    logs: Vec<Log>,
    /// Why the preferred region cannot be opened. A replica may lack the newest part of the log, so
    /// without the home nobody can say that a file is nowhere.
    unasked: Option<OperationError>,
}

impl WalSource {
    /// Fetches a file for a recovery, from the first region that has it.
    ///
    /// # Errors
    /// Fails if no region has the file and one of them cannot be read for two minutes, or holds what
    /// is damaged, contradictory or has a gap, or if the preferred one cannot be opened: the recovery
    /// must stop then, not end.
    pub async fn fetch(
        self,
        session: &Session,
        request: &WalFetchRequest<'_>,
    ) -> Result<WalFetch, OperationError> {
        // A recovery may ask for files that no archive has.
        let Ok(file) = request.name.parse::<WalFileName>() else {
            return Ok(WalFetch::NotThere);
        };
        let mut failed = None;
        for log in &self.logs {
            match patiently(session, || log.file(file)).await {
                Ok(Some(bytes)) => {
                    write_whole(request.target, &bytes)?;
                    return Ok(WalFetch::Found);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("{file}: {}", error_chain(&error));
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed.or(self.unasked) {
            Some(error) => Err(error),
            None => Ok(WalFetch::NotThere),
        }
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
            (Some(_fetching), Some(log)) => log.fetch_ahead(&spool, after, count).await,
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

/// The log of one cluster in one region.
struct Log {
    repository: Repository,
    place: WalPlace,
    size: SegmentSize,
}

impl Log {
    async fn find(
        repository: Repository,
        environment: &EnvironmentName,
        source: &SourceName,
        system: Option<SystemId>,
    ) -> Result<Self, OperationError> {
        let (place, size) = log_of(&repository, environment, source, system).await?;
        Ok(Self {
            repository,
            place,
            size,
        })
    }

    /// Reads a file of the log; of a segment, as much as was received.
    async fn file(&self, file: WalFileName) -> Result<Option<Vec<u8>>, OperationError> {
        match file {
            WalFileName::Segment(segment) => self.segment(segment).await,
            _ => self.small_file(file).await,
        }
    }

    async fn fetch_ahead(
        &self,
        spool: &Spool,
        after: Segment,
        count: u32,
    ) -> Result<(), OperationError> {
        let mut listing = self.listing_beside(after).await?;
        let mut next = after;
        for _ in 0..count {
            let last = next;
            next = last.next(self.size);
            if next.log != last.log {
                listing = self.listing_beside(next).await?;
            }
            if spool.holds(next) {
                continue;
            }
            let Some(object) = listing.whole(next) else {
                return Ok(());
            };
            let bytes = self.repository.get_wal(&self.place, object).await?;
            spool.put(next, &bytes)?;
        }
        Ok(())
    }

    async fn small_file(&self, file: WalFileName) -> Result<Option<Vec<u8>>, OperationError> {
        let store = &**self.repository.store();
        let listing = Repository::wal_listing_beside(store, &self.place, file).await?;
        let whole = listing
            .of(file)
            .iter()
            .find(|object| object.piece.is_none());
        match whole {
            Some(object) => Ok(Some(self.repository.get_wal(&self.place, object).await?)),
            None => Ok(None),
        }
    }

    /// Reads a segment, whole or as far as it was received.
    async fn segment(&self, segment: Segment) -> Result<Option<Vec<u8>>, OperationError> {
        let listing = self.listing_beside(segment).await?;
        if listing.of(WalFileName::Segment(segment)).is_empty() {
            return Ok(None);
        }
        let assembled = self
            .repository
            .assemble_segment_of(&self.place, &listing, segment, self.size)
            .await?;
        let Some(found) = assembled else {
            return Ok(None);
        };
        // A recovery takes the end of a part for the end of the log. It must not, if there is more.
        if !found.whole && self.goes_on_after(segment).await? {
            return Err(OperationError::WalGap {
                segment,
                held: u64::from(found.end),
            });
        }
        Ok(Some(found.bytes))
    }

    async fn goes_on_after(&self, segment: Segment) -> Result<bool, OperationError> {
        let next = segment.next(self.size);
        let listing = self.listing_beside(next).await?;
        Ok(!listing.of(WalFileName::Segment(next)).is_empty())
    }

    async fn listing_beside(&self, segment: Segment) -> Result<WalListing, OperationError> {
        let store = &**self.repository.store();
        let file = WalFileName::Segment(segment);
        Ok(Repository::wal_listing_beside(store, &self.place, file).await?)
    }
}

/// Finds which cluster's log is meant, the one named or that of the newest snapshot, and how long its
/// segments are.
async fn log_of(
    repository: &Repository,
    environment: &EnvironmentName,
    source: &SourceName,
    system: Option<SystemId>,
) -> Result<(WalPlace, SegmentSize), OperationError> {
    let store = &**repository.store();
    let mut names = Repository::snapshot_names(store, Some(environment), Some(source)).await?;
    names.sort_by_key(|name| std::cmp::Reverse((name.instant, name.id)));
    for name in names {
        let Some(Ok(snapshot)) = repository.readable(&name).await? else {
            continue;
        };
        let wal = snapshot
            .wal
            .filter(|wal| system.is_none_or(|system| wal.system == system));
        if let Some(wal) = wal {
            let place = WalPlace {
                environment: environment.clone(),
                source: source.clone(),
                system: wal.system,
            };
            return Ok((place, wal.segment_size));
        }
    }
    let of = system.map_or_else(String::new, |system| format!(" {system}"));
    Err(OperationError::Usage {
        message: format!("`{environment}/{source}` has no snapshot of a cluster{of}"),
        hint: "`lifeboat snapshots` lists what there is".to_owned(),
    })
}

//! The log of one cluster in one region, as a recovery asks for it.

use std::path::Path;
use std::sync::Arc;

use lifeboat_model::{
    EnvironmentName, Segment, SegmentSize, SourceName, SystemId, WalFileName, WalObject,
};
use lifeboat_repository::{Repository, WalListing, WalPlace};
use lifeboat_source_postgres::wal::check_segment;
use lifeboat_storage::ObjectStore;

use super::spool::Spool;
use crate::error::OperationError;

/// What a region holds of a file.
pub(super) struct Held {
    /// A file's bytes; a segment's are as many as a segment has, zeros where nothing is known.
    pub(super) bytes: Vec<u8>,
    /// How many of them, from the first on, are the log's.
    pub(super) end: u32,
    /// Whether it is all of the file.
    pub(super) whole: bool,
}

/// The log of one cluster in one region.
pub(super) struct RegionLog {
    repository: Repository,
    place: WalPlace,
    size: SegmentSize,
}

impl RegionLog {
    pub(super) fn new(repository: Repository, (place, size): (WalPlace, SegmentSize)) -> Self {
        Self {
            repository,
            place,
            size,
        }
    }

    /// Returns the same log as another store has it, or several.
    pub(super) fn read_from(&self, store: Arc<dyn ObjectStore>) -> Self {
        let place = (self.place.clone(), self.size);
        Self::new(self.repository.read_from(store), place)
    }

    /// Returns the same log as another region's repository has it.
    pub(super) fn in_repository(&self, repository: Repository) -> Self {
        Self::new(repository, (self.place.clone(), self.size))
    }

    /// Returns the environment that it is of.
    pub(super) fn environment(&self) -> &EnvironmentName {
        &self.place.environment
    }

    /// Returns the region's store.
    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        self.repository.store()
    }

    /// Reads a file of the log; of a segment, as much as was received.
    pub(super) async fn file(&self, file: WalFileName) -> Result<Option<Held>, OperationError> {
        match file {
            WalFileName::Segment(segment) => self.segment(segment).await,
            _ => self.small_file(file).await,
        }
    }

    /// Fetches the segments after `after` into the spool, as long as they are there whole.
    pub(super) async fn fetch_ahead(
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

    /// Reports whether the log of the timeline goes on after a segment.
    pub(super) async fn goes_on_after(&self, segment: Segment) -> Result<bool, OperationError> {
        let store = &**self.repository.store();
        let listing =
            Repository::wal_listing_of_timeline(store, &self.place, segment.timeline).await?;
        let mut segments = listing.objects().iter().filter_map(WalObject::segment);
        Ok(segments.any(|other| other > segment))
    }

    /// Reports whether a file is this segment of the cluster's log, and not what the server keeps for
    /// reuse under its name.
    pub(super) fn is_segment(&self, path: &Path, segment: Segment) -> bool {
        // One that cannot be read is none.
        let bytes = std::fs::read(path).unwrap_or_default();
        check_segment(&bytes, &WalFileName::Segment(segment), self.place.system).is_ok()
    }

    async fn small_file(&self, file: WalFileName) -> Result<Option<Held>, OperationError> {
        let store = &**self.repository.store();
        let listing = Repository::wal_listing_beside(store, &self.place, file).await?;
        let objects = listing.of(file).iter();
        let Some(object) = objects.clone().find(|object| object.piece.is_none()) else {
            return Ok(None);
        };
        let bytes = self.repository.get_wal(&self.place, object).await?;
        Ok(Some(Held {
            end: bytes.len() as u32,
            bytes,
            whole: true,
        }))
    }

    /// Reads as much of a segment as was received.
    pub(super) async fn segment(&self, segment: Segment) -> Result<Option<Held>, OperationError> {
        let listing = self.listing_beside(segment).await?;
        if listing.of(WalFileName::Segment(segment)).is_empty() {
            return Ok(None);
        }
        let assembled = self
            .repository
            .assemble_segment_of(&self.place, &listing, segment, self.size)
            .await?;
        Ok(assembled.map(|found| Held {
            bytes: found.bytes,
            end: found.end,
            whole: found.whole || found.end == self.size.bytes(),
        }))
    }

    async fn listing_beside(&self, segment: Segment) -> Result<WalListing, OperationError> {
        let store = &**self.repository.store();
        let file = WalFileName::Segment(segment);
        Ok(Repository::wal_listing_beside(store, &self.place, file).await?)
    }
}

/// Finds which cluster's log is meant, the one named or that of the newest snapshot, and how long its
/// segments are.
///
/// # Errors
/// Fails if no snapshot is of such a cluster.
pub(super) async fn log_of(
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

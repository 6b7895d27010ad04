//! The log that a backup counts on, and the proof that it is kept.

use std::time::Duration;

use lifeboat_config::{Environment, Source};
use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline, WalFileName, WalRange};
use lifeboat_repository::{Repository, WalListing, WalPlace};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::{ServerFacts, switch_wal};

use crate::error::OperationError;
use crate::session::Session;

/// How long a segment may take from the server into the repository before archiving is taken for
/// broken.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(60);
/// The same where the server hands nothing over: only a receiver can bring it, which does so at once.
const RECEIVER_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The log that a backup counts on.
pub(super) struct Kept<'a> {
    session: &'a Session,
    repository: Repository,
    place: WalPlace,
    size: SegmentSize,
    /// Whether the server hands finished segments over.
    archives: bool,
    standby: bool,
}

impl<'a> Kept<'a> {
    /// Describes the log of the server that is backed up.
    pub(super) fn of(
        session: &'a Session,
        repository: &Repository,
        (environment, source): (&Environment, &Source),
        server: &ServerFacts,
    ) -> Self {
        Self {
            session,
            repository: repository.clone(),
            place: WalPlace {
                environment: environment.name.clone(),
                source: source.name.clone(),
                system: server.system_id,
            },
            size: server.segment_size,
            archives: server.archives,
            standby: server.in_recovery,
        }
    }

    /// Waits until the log at the start of the backup is in the repository: before hours are spent on
    /// a copy that nothing could bring to a consistent state.
    pub(super) async fn expect_start(
        &self,
        server: &SqlSession,
        timeline: Timeline,
        start: Lsn,
    ) -> Result<(), OperationError> {
        // Only a whole segment is handed over, so the one at hand is ended.
        if self.archives && !self.standby {
            switch_wal(server).await?;
        }
        let stop = Lsn::new(start.get() + 1);
        self.expect(timeline, start, stop).await
    }

    /// Waits until all that the snapshot needs is in the repository.
    pub(super) async fn expect_range(&self, range: WalRange) -> Result<(), OperationError> {
        self.expect(range.timeline, range.start, range.stop).await
    }

    async fn expect(
        &self,
        timeline: Timeline,
        start: Lsn,
        stop: Lsn,
    ) -> Result<(), OperationError> {
        let range = WalRange {
            system: self.place.system,
            timeline,
            start,
            stop,
            segment_size: self.size,
            embedded: false,
        };
        let clock = &*self.session.world.clock;
        let mut deadline = clock.elapsed() + self.patience();
        let mut lacking_before = usize::MAX;
        loop {
            let lacking = self.lacking(range).await?;
            let Some(first) = lacking.first() else {
                return Ok(());
            };
            // As long as segments arrive, archiving works and is behind.
            if lacking.len() < lacking_before {
                deadline = clock.elapsed() + self.patience();
            }
            lacking_before = lacking.len();
            if clock.elapsed() >= deadline {
                return Err(self.not_kept(*first));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn patience(&self) -> Duration {
        match self.archives {
            true => ARCHIVE_PATIENCE,
            false => RECEIVER_PATIENCE,
        }
    }

    async fn lacking(&self, range: WalRange) -> Result<Vec<Segment>, OperationError> {
        let store = &**self.repository.store();
        let mut lacking = Vec::new();
        let (mut log, mut listing) = (None, WalListing::default());
        for (segment, needed) in range.segments() {
            if log != Some(segment.log) {
                let file = WalFileName::Segment(segment);
                listing = Repository::wal_listing_beside(store, &self.place, file).await?;
                log = Some(segment.log);
            }
            if listing.reach(segment, self.size) < needed {
                lacking.push(segment);
            }
        }
        Ok(lacking)
    }

    fn not_kept(&self, segment: Segment) -> OperationError {
        OperationError::LogNotKept {
            source_name: self.place.source.clone(),
            segment,
            secs: self.patience().as_secs(),
            archives: self.archives,
            environment: self.place.environment.to_string(),
        }
    }
}

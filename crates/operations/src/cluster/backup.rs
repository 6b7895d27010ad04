//! A base backup into a snapshot, and the proof that the log it needs is kept.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_config::{Environment, Source, WalKeeping};
use lifeboat_model::{Lsn, RunId, Segment, SegmentSize, Timeline, WalFileName, WalRange};
use lifeboat_repository::{Layout, Repository, SnapshotWriter, WalListing, WalPlace};
use lifeboat_source_postgres::connect::SqlSession;
use lifeboat_source_postgres::page::PAGE_BYTES;
use lifeboat_source_postgres::{
    BackupEnd, BackupOptions, BaseBackup, CheckpointPace, ClusterItem, ClusterReader,
    DataDirectory, KeepWal, PageChecks, ReadEnd, RecoveryFiles, switch_wal,
};

use super::facts::{CLUSTER_FACT, ClusterFacts};
use super::server::connect;
use crate::error::OperationError;
use crate::session::Session;

/// How long a segment may take from the server into the repository before archiving is taken for
/// broken.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(60);
/// The same where the server hands nothing over: only a receiver can bring it, which does so at once.
const RECEIVER_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads a cluster into a snapshot and returns the moment whose state it holds.
///
/// # Errors
/// Fails if the server cannot be backed up, a file cannot be read, or the log that the snapshot needs
/// is not kept.
pub(crate) async fn read_cluster(
    session: &Session,
    environment: &Environment,
    source: &Source,
    run: RunId,
    writer: &mut SnapshotWriter,
) -> Result<Timestamp, OperationError> {
    let cluster = source.cluster().expect("the source is a cluster");
    let Some(path) = &source.path else {
        return super::remote::read_cluster(session, environment, source, run, writer).await;
    };
    let server = connect(session, cluster).await?;
    let embedded = cluster.wal == WalKeeping::InSnapshot;
    let options = BackupOptions {
        label: "lifeboat",
        checkpoint: CheckpointPace::Fast,
        data_directory: Some(path),
        wal: match embedded {
            true => KeepWal::UntilSessionEnds,
            false => KeepWal::No,
        },
    };
    session
        .progress
        .phase(&format!("starting a backup of {}", source.name), 0);
    let backup = BaseBackup::start(&server, &options).await?;
    let facts = backup.facts().clone();
    let log = Kept {
        session,
        repository: writer.repository().clone(),
        place: WalPlace {
            environment: environment.name.clone(),
            source: source.name.clone(),
            system: facts.system_id,
        },
        size: facts.segment_size,
        archives: facts.archives,
    };
    if !embedded {
        // Before hours are spent on a copy that nothing could bring to a consistent state.
        log.expect_start(
            &server,
            facts.timeline,
            backup.start_lsn(),
            facts.in_recovery,
        )
        .await?;
    }
    let directory = DataDirectory::open(path)?;
    session
        .progress
        .phase(&format!("backing up {}", source.name), 0);
    let reader = ClusterReader::start(directory, backup.start_lsn(), PageChecks::IfThere);
    let read = store(reader, session, writer).await?;
    let end = backup.stop().await?;
    let range = WalRange {
        system: facts.system_id,
        timeline: end.timeline,
        start: end.start,
        stop: end.stop,
        segment_size: end.segment_size,
        embedded,
    };
    if !embedded {
        log.expect_range(range).await?;
    }
    let recovery = ClusterReader::recovery(RecoveryFiles {
        data_directory: path.clone(),
        control: read.control.clone(),
        wal: embedded_wal(embedded, &end),
        end: end.clone(),
    });
    store(recovery, session, writer).await?;
    let stats = read.settle(end.stop);
    warn_of_damage(session, path, stats.damaged_pages);
    let facts = ClusterFacts::new(&facts, &end, &stats);
    let stopped = facts.stopped;
    writer.fact(
        CLUSTER_FACT,
        serde_json::to_string(&facts).expect("facts serialize"),
    );
    writer.set_wal(range);
    Ok(stopped)
}

fn embedded_wal(embedded: bool, end: &BackupEnd) -> Vec<WalFileName> {
    let segments = end.segments().filter(|_| embedded);
    segments.map(WalFileName::Segment).collect()
}

/// Damaged pages are the server's, and a copy of them is worth more than none.
fn warn_of_damage(session: &Session, path: &Path, damaged: u64) {
    if damaged > 0 {
        session.progress.warn(&format!(
            "{damaged} pages in `{}` have a wrong checksum: the server's own files are damaged there, \
             and so is this copy of them; `lifeboat show` lists them",
            path.display()
        ));
    }
}

/// Stores what a reader hands out.
async fn store(
    mut reader: ClusterReader,
    session: &Session,
    writer: &mut SnapshotWriter,
) -> Result<ReadEnd, OperationError> {
    let pages = Layout::Pages {
        page_size: PAGE_BYTES as u32,
    };
    while let Some(item) = reader.next().await? {
        match item {
            ClusterItem::Entry(entry) => writer.add(entry).await?,
            ClusterItem::File { entry, paged } => {
                let layout = if paged { pages } else { Layout::Stream };
                writer.begin_file(entry, layout).await?;
            }
            ClusterItem::Block(bytes) => {
                writer.write(&bytes).await?;
                session.progress.advance(bytes.len() as u64);
            }
            ClusterItem::FileEnd => writer.end_file().await?,
            ClusterItem::End(end) => return Ok(*end),
        }
    }
    unreachable!("a reader ends with an error or with its end")
}

/// The log that a backup counts on.
pub(super) struct Kept<'a> {
    pub(super) session: &'a Session,
    pub(super) repository: Repository,
    pub(super) place: WalPlace,
    pub(super) size: SegmentSize,
    /// Whether the server hands finished segments over.
    pub(super) archives: bool,
}

impl Kept<'_> {
    /// Waits until the log at the start of the backup is in the repository.
    pub(super) async fn expect_start(
        &self,
        server: &SqlSession,
        timeline: Timeline,
        start: Lsn,
        standby: bool,
    ) -> Result<(), OperationError> {
        // Only a whole segment is handed over, so the one at hand is ended.
        if self.archives && !standby {
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

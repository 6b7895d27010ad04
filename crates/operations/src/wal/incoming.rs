//! The segment that is being received, and how much of it each region holds.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jiff::Timestamp;
use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline, WalFileName, error_chain};
use lifeboat_repository::{Repository, SealedWal, WalDraft};
use lifeboat_source_postgres::wal::scan_segment;

use super::archive::Archive;
use crate::error::OperationError;

/// How long a replica may take before it is left behind for now: the home must not wait for it.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);

/// A segment as it comes in.
pub(super) struct Incoming {
    segment: Segment,
    size: SegmentSize,
    bytes: Vec<u8>,
    /// How many bytes each region holds: the home's, then the replicas' in order.
    kept: Vec<u32>,
}

impl Incoming {
    /// Begins a segment, of which nothing is there yet.
    pub(super) fn new(segment: Segment, size: SegmentSize, archive: &Archive) -> Self {
        Self {
            segment,
            size,
            bytes: Vec::with_capacity(size.bytes() as usize),
            kept: vec![0; 1 + archive.replicas.len()],
        }
    }

    /// Begins the segment that holds `lsn`.
    pub(super) fn holding(
        timeline: Timeline,
        lsn: Lsn,
        size: SegmentSize,
        archive: &Archive,
    ) -> Self {
        Self::new(Segment::holding(timeline, lsn, size), size, archive)
    }

    /// Begins the segment after this one.
    pub(super) fn next(&self, archive: &Archive) -> Self {
        Self::new(self.segment.next(self.size), self.size, archive)
    }

    pub(super) fn segment(&self) -> Segment {
        self.segment
    }

    pub(super) fn size(&self) -> SegmentSize {
        self.size
    }

    /// Returns the position after the last byte that the home holds.
    pub(super) fn durable(&self) -> Lsn {
        Lsn::new(self.segment.start(self.size).get() + u64::from(self.kept[0]))
    }

    /// Reports whether the home lacks bytes that came.
    pub(super) fn is_behind(&self) -> bool {
        (self.kept[0] as usize) < self.bytes.len()
    }

    /// Reports whether a replica lacks bytes that came.
    pub(super) fn is_replica_behind(&self, replica: usize) -> bool {
        (self.kept[1 + replica] as usize) < self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.size.bytes() as usize
    }

    /// Takes bytes that follow those before, as many as belong to this segment; returns the rest.
    pub(super) fn take(&mut self, bytes: &mut Bytes) {
        let room = self.size.bytes() as usize - self.bytes.len();
        let taken = bytes.split_to(room.min(bytes.len()));
        self.bytes.extend_from_slice(&taken);
    }

    /// Keeps what came since the last time, at home and in those replicas that `tried` names; a full
    /// segment as a whole. When this returns, all of it is durable at home.
    ///
    /// # Errors
    /// Fails if the home contradicts it or cannot be written. What went wrong with a replica is
    /// returned, in their order; it gets what it lacks the next time.
    pub(super) async fn keep(
        &mut self,
        archive: &Archive,
        tried: &[bool],
    ) -> Result<Vec<Option<String>>, OperationError> {
        let len = self.bytes.len() as u32;
        // A copy, so that all is still there if a store fails.
        let bytes = Bytes::copy_from_slice(&self.bytes);
        let newest_commit = self.newest_commit(&bytes);
        let mut pieces = Pieces {
            archive,
            file: WalFileName::Segment(self.segment),
            bytes,
            newest_commit,
            whole: self.is_full(),
            sealed: Vec::new(),
        };
        let at_home = pieces.piece(self.kept[0]..len).await?;
        let mut elsewhere = Vec::with_capacity(tried.len());
        for (kept, tried) in self.kept[1..].iter().zip(tried) {
            elsewhere.push(match tried {
                true => pieces.piece(*kept..len).await?,
                false => None,
            });
        }
        let home = put(&archive.home, archive, at_home.as_ref());
        let replicas = archive.replicas.iter().zip(&elsewhere);
        let replicas = join_all(replicas.map(|(replica, sealed)| async {
            let repository = replica.repository.as_ref().map_err(String::clone)?;
            let put = put(repository, archive, sealed.as_ref());
            match tokio::time::timeout(REPLICA_PATIENCE, put).await {
                Ok(done) => done.map_err(|error| error_chain(&error)),
                Err(_) => Err(format!("it took over {} s", REPLICA_PATIENCE.as_secs())),
            }
        }));
        let (home, replicas) = futures::join!(home, replicas);
        let failed = replicas.into_iter().map(Result::err);
        let failed: Vec<_> = failed.collect();
        for ((kept, failed), tried) in self.kept[1..].iter_mut().zip(&failed).zip(tried) {
            if *tried && failed.is_none() {
                *kept = len;
            }
        }
        // Last, so that replicas are not given the same again while the home is asked again.
        home?;
        self.kept[0] = len;
        Ok(failed)
    }

    fn newest_commit(&self, bytes: &[u8]) -> Option<Timestamp> {
        let start = self.segment.start(self.size);
        let scanned = scan_segment(bytes, start, self.size);
        scanned.newest_commit.map(|commit| commit.at)
    }
}

/// What is sealed of a segment: regions that lack the same get the same object.
struct Pieces<'a> {
    archive: &'a Archive,
    file: WalFileName,
    bytes: Bytes,
    newest_commit: Option<Timestamp>,
    whole: bool,
    sealed: Vec<(Range<u32>, SealedWal)>,
}

impl Pieces<'_> {
    /// Seals what a region lacks; nothing if it lacks nothing.
    async fn piece(&mut self, lacks: Range<u32>) -> Result<Option<SealedWal>, OperationError> {
        let range = match self.whole {
            true => 0..self.bytes.len() as u32,
            false if lacks.is_empty() => return Ok(None),
            false => lacks,
        };
        if let Some((_, sealed)) = self.sealed.iter().find(|(sealed, _)| *sealed == range) {
            return Ok(Some(sealed.clone()));
        }
        let draft = WalDraft {
            file: self.file,
            piece: (!self.whole).then(|| range.clone()),
            newest_commit: self.newest_commit,
        };
        let bytes = self.bytes.slice(range.start as usize..range.end as usize);
        let sealed = self
            .archive
            .home
            .seal_wal(&self.archive.place, &draft, bytes)
            .await?;
        self.sealed.push((range, sealed.clone()));
        Ok(Some(sealed))
    }
}

async fn put(
    repository: &Repository,
    archive: &Archive,
    sealed: Option<&SealedWal>,
) -> Result<(), OperationError> {
    match sealed {
        Some(sealed) => archive.put(repository, sealed).await,
        None => Ok(()),
    }
}

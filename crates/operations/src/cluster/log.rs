//! Bringing the log along that a recovery replays, so that the server needs nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use futures::stream::{self, TryStreamExt as _};
use lifeboat_model::{Segment, SegmentSize, WalFileName, WalObject};
use lifeboat_repository::{Repository, Snapshot, WalListing, WalPlace};

use super::recovery::Recovery;
use crate::error::OperationError;
use crate::session::Session;
use crate::wal::write_whole;

/// Segments that are fetched at the same time.
const AT_ONCE: usize = 4;

/// Fetches every segment that the replay can need, and the histories of its timelines, into a folder.
///
/// # Errors
/// Fails if a part is missing or damaged, or cannot be written.
pub(super) async fn bring_log(
    repository: &Repository,
    snapshot: &Snapshot,
    recovery: &Recovery,
    to: &Path,
    session: &Session,
) -> Result<(), OperationError> {
    let place = WalPlace {
        environment: snapshot.environment.clone(),
        source: snapshot.source.clone(),
        system: recovery.range.system,
    };
    let listing = Repository::wal_listing(&**repository.store(), &place).await?;
    let size = recovery.range.segment_size;
    let files = files_needed(&listing, recovery);
    refuse_missing(&files, &recovery.segments, to)?;
    std::fs::create_dir_all(to).map_err(|error| OperationError::io("create", to, error))?;
    let bytes = files.len() as u64 * u64::from(size.bytes());
    session.progress.phase("fetching the log", bytes);
    stream::iter(files.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |file| {
            let (place, listing) = (&place, &listing);
            async move {
                let path = to.join(file.to_string());
                // A snapshot that carries its log brought it already.
                if path.exists() {
                    return Ok(());
                }
                if let Some(bytes) = read(repository, place, listing, file, size).await? {
                    session.progress.advance(bytes.len() as u64);
                    write_whole(&path, &bytes)?;
                }
                Ok(())
            }
        })
        .await
}

/// Refuses to go on without a segment that was there when the recovery was planned: the server would
/// take the place for the end of the log. Another timeline's segment of that place does not stand in for
/// it. What a snapshot carries along lies in `to` already.
fn refuse_missing(
    files: &[WalFileName],
    planned: &[Segment],
    to: &Path,
) -> Result<(), OperationError> {
    let there: BTreeSet<WalFileName> = files.iter().copied().collect();
    let is_missing = |segment: &&Segment| {
        let is_carried = || to.join(segment.to_string()).exists();
        !there.contains(&WalFileName::Segment(**segment)) && !is_carried()
    };
    match planned.iter().find(is_missing) {
        Some(missing) => Err(OperationError::WalGap {
            segment: *missing,
            held: 0,
        }),
        None => Ok(()),
    }
}

/// Warns of what a recovery replays and the region that is read lacks, though another one has it: the
/// region may have lost it, or be behind, or have deleted it with a prune.
pub(super) async fn warn_of_lacking(
    repository: &Repository,
    place: &WalPlace,
    listing: &WalListing,
    recovery: &Recovery,
) {
    let Some(regions) = repository.store().as_failover() else {
        return;
    };
    let read = &regions.members()[0];
    let lacks = |object: &WalObject| regions.is_lacking(&place.key(object));
    let files = files_needed(listing, recovery).into_iter();
    let suspects = files.filter(|file| listing.of(*file).iter().any(lacks));
    let suspects: Vec<WalFileName> = suspects.collect();
    if suspects.is_empty() {
        return;
    }
    // What was being written while the listings were made is there by now. Of a region that cannot be
    // asked any more nothing is known.
    let Ok(own) = Repository::wal_listing(read.store(), place).await else {
        return;
    };
    let size = recovery.range.segment_size;
    let is_less = |file: &&WalFileName| match file {
        WalFileName::Segment(segment) => own.reach(*segment, size) < listing.reach(*segment, size),
        file => own.of(**file).is_empty(),
    };
    let lacking: Vec<&WalFileName> = suspects.iter().filter(is_less).collect();
    if let Some(first) = lacking.first() {
        let (name, of) = (read.name(), &place.environment);
        tracing::warn!(
            "region `{name}` lacks `{first}` of the log of `{of}/{}`, {} files in all, and another one is \
             read: `lifeboat repair {of} --region {name}` brings back what belongs there",
            place.source,
            lacking.len(),
        );
    }
}

/// Names the segments between the first and the last, on every timeline up to the one that is
/// followed, and all histories: the server takes what lies on its way.
fn files_needed(listing: &WalListing, recovery: &Recovery) -> Vec<WalFileName> {
    let size = recovery.range.segment_size;
    let (first, last) = (recovery.first.number(size), recovery.last.number(size));
    let needed = |object: &WalObject| match object.file {
        WalFileName::Segment(segment) => {
            segment.timeline <= recovery.timeline && (first..=last).contains(&segment.number(size))
        }
        WalFileName::History(timeline) => timeline <= recovery.timeline,
        _ => false,
    };
    let mut files: Vec<_> = listing
        .objects()
        .iter()
        .filter(|object| needed(object))
        .map(|object| object.file)
        .collect();
    files.dedup();
    files
}

async fn read(
    repository: &Repository,
    place: &WalPlace,
    listing: &WalListing,
    file: WalFileName,
    size: SegmentSize,
) -> Result<Option<Vec<u8>>, OperationError> {
    let WalFileName::Segment(segment) = file else {
        return match listing.of(file).first() {
            Some(object) => Ok(Some(repository.get_wal(place, object).await?)),
            None => Ok(None),
        };
    };
    let found = repository
        .assemble_segment_of(place, listing, segment, size)
        .await?;
    Ok(found.map(|segment| segment.bytes))
}

#[cfg(test)]
mod tests {
    use lifeboat_model::Timeline;

    use super::*;

    #[test]
    fn a_planned_segment_is_missing_though_another_timeline_has_one_of_its_number() {
        let segment = |timeline, number| {
            Segment::numbered(Timeline::new(timeline), number, SegmentSize::DEFAULT)
        };
        let planned = [segment(1, 4), segment(2, 5), segment(2, 6)];
        let file = WalFileName::Segment;
        let mut there = planned.map(file).to_vec();
        let folder = tempfile::tempdir().unwrap();
        refuse_missing(&there, &planned, folder.path()).unwrap();
        there[1] = file(segment(1, 5));
        let refused = refuse_missing(&there, &planned, folder.path());
        let Err(OperationError::WalGap {
            segment: missing, ..
        }) = refused
        else {
            panic!("nothing was refused");
        };
        assert_eq!(missing, segment(2, 5));
        // A snapshot may carry it along.
        std::fs::write(folder.path().join(missing.to_string()), "").unwrap();
        refuse_missing(&there, &planned, folder.path()).unwrap();
    }
}

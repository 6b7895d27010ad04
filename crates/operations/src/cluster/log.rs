//! Bringing the log along that a recovery replays, so that the server needs nothing else.

use std::path::Path;

use futures::stream::{self, TryStreamExt as _};
use lifeboat_model::{SegmentSize, WalFileName, WalObject};
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

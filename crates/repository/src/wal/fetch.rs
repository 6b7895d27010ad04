//! Reading files of a write-ahead log, and putting a segment together from pieces.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use lifeboat_model::{Diagnose as _, ErrorKind, Segment, SegmentSize, WalFileName, WalObject};

use crate::error::{Flaw, RepositoryError};
use crate::format::wal::WalHead;
use crate::index_store::until_settled;
use crate::layout::ObjectClass;
use crate::repository::Repository;
use crate::wal::listing::{WalListing, conflict};
use crate::wal::name::WalPlace;
use crate::wal::put::{TEXT_LEN_MAX, content_of};

/// Pieces that are read at the same time.
const PIECES_AT_ONCE: usize = 8;

/// A segment as far as it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssembledSegment {
    /// As many bytes as a segment has; zeros where nothing is known.
    pub bytes: Vec<u8>,
    /// How many of them, from the first on, are the log's.
    pub end: u32,
    /// Whether the segment was stored whole.
    pub whole: bool,
}

impl Repository {
    /// Reads a WAL object, and checks it against all that its name says. Needs the reader key.
    ///
    /// # Errors
    /// Fails if the object is gone or damaged, or the key cannot open content.
    pub async fn get_wal(
        &self,
        place: &WalPlace,
        object: &WalObject,
    ) -> Result<Vec<u8>, RepositoryError> {
        let key = place.key(object);
        let bytes = self.store.get(&key).await?;
        if ObjectClass::name_matches(&key, &bytes) != Some(true) {
            return Err(RepositoryError::corrupt(
                &key,
                "its bytes do not match its name",
            ));
        }
        let opened = self.open_wal(place, object, bytes).await?;
        opened.map_err(|flaw| flaw.of(&key))
    }

    /// Opens the bytes of a WAL object. Needs the reader key.
    pub(crate) async fn open_wal(
        &self,
        place: &WalPlace,
        object: &WalObject,
        bytes: Bytes,
    ) -> Result<Result<Vec<u8>, Flaw>, RepositoryError> {
        let private = self.keys.content_private()?;
        let content_key = self.wal_content_key("read content")?;
        let head = match WalHead::parse(&bytes, bytes.len() as u64) {
            Ok(head) if len_fits(object, head.raw_len) => head,
            Ok(_) => return Ok(Err(Flaw::damaged("its length is not what its name says"))),
            Err(flaw) => return Ok(Err(flaw)),
        };
        let Some(key) = private.decapsulate(self.id, head.salt()) else {
            return Ok(Err(Flaw::damaged("its key cannot be recovered")));
        };
        let opener = Arc::new(head.opener(self.id, &key, &bytes, &place.stem(object)));
        let jobs: Vec<_> = (0_u64..)
            .zip(head.places())
            .map(|(number, (frame, end))| {
                let start = end - frame.stored_len();
                let sealed = bytes.slice(start as usize..end as usize);
                let opener = opener.clone();
                self.world
                    .pool
                    .run(move || frame.open(&opener, number, &sealed))
            })
            .collect();
        let mut raw = Vec::with_capacity(head.raw_len as usize);
        for job in jobs {
            match job.await {
                Ok(frame) => raw.extend_from_slice(&frame),
                Err(flaw) => return Ok(Err(flaw)),
            }
        }
        raw.resize(head.raw_len as usize, 0);
        let wanted = object.content;
        let job = move || match content_of(&content_key, &raw) == wanted {
            true => Ok(raw),
            false => Err(Flaw::damaged("it has other content than its name says")),
        };
        Ok(self.world.pool.run(job).await)
    }

    /// Puts a segment together: from a whole object if there is one, else from pieces that follow
    /// each other from its first byte on. `None` if nothing of its beginning is there. Needs the
    /// reader key.
    ///
    /// A damaged object is passed over if another one holds the same bytes.
    ///
    /// # Errors
    /// Fails if objects contradict each other, if what there is is damaged, or if the store cannot
    /// be read.
    pub async fn assemble_segment(
        &self,
        place: &WalPlace,
        segment: Segment,
        size: SegmentSize,
    ) -> Result<Option<AssembledSegment>, RepositoryError> {
        let file = WalFileName::Segment(segment);
        // A prune takes pieces away once the whole segment is there: then the listing is made again.
        until_settled(|| async {
            let listing = Self::wal_listing_beside(&*self.store, place, file).await?;
            self.assemble_segment_of(place, &listing, segment, size)
                .await
        })
        .await
    }

    /// Does as [`Repository::assemble_segment`] does, from a listing that is at hand.
    ///
    /// # Errors
    /// Fails as it does.
    pub async fn assemble_segment_of(
        &self,
        place: &WalPlace,
        listing: &WalListing,
        segment: Segment,
        size: SegmentSize,
    ) -> Result<Option<AssembledSegment>, RepositoryError> {
        let objects = listing.of(WalFileName::Segment(segment));
        let (whole, pieces): (Vec<_>, Vec<_>) =
            objects.iter().partition(|object| object.piece.is_none());
        if let [first, rest @ ..] = whole.as_slice()
            && let Some(other) = rest.iter().find(|other| other.content != first.content)
        {
            return Err(conflict(place, first, other.content));
        }
        let mut failed = None;
        for object in whole {
            match self.get_wal(place, object).await {
                Ok(bytes) if bytes.len() == size.bytes() as usize => {
                    let end = size.bytes();
                    let whole = true;
                    return Ok(Some(AssembledSegment { bytes, end, whole }));
                }
                Ok(_) => {
                    let what = format!("it is no segment of {} bytes", size.bytes());
                    failed = Some(RepositoryError::corrupt(&place.key(object), what));
                }
                Err(error) => failed = Some(passable(error)?),
            }
        }
        let joined = self.join_pieces(place, pieces, size).await;
        match (joined, failed) {
            // What the damaged object held is all there, in pieces.
            (Ok(Some(joined)), Some(_)) if joined.end == size.bytes() => Ok(Some(joined)),
            (_, Some(error)) => Err(error),
            (joined, None) => joined,
        }
    }

    /// Joins pieces as far as they follow each other from the first byte of a segment on.
    ///
    /// Fails if one of them is damaged whose bytes no other one holds.
    async fn join_pieces(
        &self,
        place: &WalPlace,
        mut pieces: Vec<&WalObject>,
        size: SegmentSize,
    ) -> Result<Option<AssembledSegment>, RepositoryError> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut damaged = Vec::new();
        pieces.retain(|object| range_of(object).end <= size.bytes());
        loop {
            let chain = chain(&pieces, bytes.len() as u32);
            if chain.is_empty() {
                break;
            }
            let read = |object| async move { (object, self.get_wal(place, object).await) };
            let mut reads = stream::iter(chain).map(read).buffered(PIECES_AT_ONCE);
            while let Some((object, piece)) = reads.next().await {
                match piece {
                    Ok(piece) => append(place, object, &mut bytes, &piece)?,
                    Err(error) => {
                        damaged.push((range_of(object).end, passable(error)?));
                        // Others may go on from here.
                        pieces.retain(|other| *other != object);
                        break;
                    }
                }
            }
        }
        let end = bytes.len() as u32;
        if let Some((_, error)) = damaged.into_iter().find(|(lost, _)| *lost > end) {
            return Err(error);
        }
        bytes.resize(size.bytes() as usize, 0);
        let whole = false;
        Ok((end > 0).then_some(AssembledSegment { bytes, end, whole }))
    }
}

fn range_of(object: &WalObject) -> Range<u32> {
    object.piece.clone().unwrap_or_default()
}

/// Returns the fewest pieces that go on from byte `end`, in order.
fn chain<'a>(pieces: &[&'a WalObject], mut end: u32) -> Vec<&'a WalObject> {
    let mut chain = Vec::new();
    loop {
        let goes_on = |object: &&&WalObject| {
            let range = range_of(object);
            range.start <= end && end < range.end
        };
        let next = pieces.iter().filter(goes_on);
        let Some(next) = next.max_by_key(|object| range_of(object).end) else {
            return chain;
        };
        end = range_of(next).end;
        chain.push(*next);
    }
}

/// Appends what a piece adds to the bytes before it, with which it must agree where they overlap.
fn append(
    place: &WalPlace,
    object: &WalObject,
    bytes: &mut Vec<u8>,
    piece: &[u8],
) -> Result<(), RepositoryError> {
    let start = range_of(object).start as usize;
    let (known, new) = piece.split_at(bytes.len() - start);
    if bytes[start..] != *known {
        let what = "it contradicts the piece before it";
        return Err(RepositoryError::corrupt(&place.key(object), what));
    }
    bytes.extend_from_slice(new);
    Ok(())
}

/// Reports whether so many bytes can be what a name promises.
fn len_fits(object: &WalObject, raw_len: u32) -> bool {
    match (&object.piece, object.file.holds_pages()) {
        (Some(piece), _) => piece.len() == raw_len as usize,
        (None, true) => SegmentSize::new(raw_len).is_some(),
        (None, false) => raw_len as usize <= TEXT_LEN_MAX,
    }
}

/// Passes on what is not the fault of one object.
fn passable(error: RepositoryError) -> Result<RepositoryError, RepositoryError> {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound => Ok(error),
        _ => Err(error),
    }
}

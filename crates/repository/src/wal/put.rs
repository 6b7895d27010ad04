//! Sealing files of a write-ahead log, and putting them where they belong.

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_model::{Branch, SegmentSize, WalContentId, WalFileName, WalHash, WalObject};
use lifeboat_storage::ObjectStore;

use crate::compress::compress_wal;
use crate::crypto::SymmetricKey;
use crate::error::RepositoryError;
use crate::format::wal;
use crate::repository::Repository;
use crate::wal::listing::WalListing;
use crate::wal::name::WalPlace;

/// History and backup files are a few lines.
pub(super) const TEXT_LEN_MAX: usize = 1 << 20;

const CONTENT_LABEL: &str = "lifeboat v1 wal content";

/// What is about to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalDraft {
    /// The file, as PostgreSQL calls it.
    pub file: WalFileName,
    /// Which bytes of the segment these are; `None` for a whole file.
    pub piece: Option<Range<u32>>,
    /// When the newest transaction in it was committed; `None` if it has none, or nobody looked.
    pub newest_commit: Option<Timestamp>,
}

/// A WAL object that is ready to be put, into as many stores of the repository as are wanted.
#[derive(Debug, Clone)]
pub struct SealedWal {
    place: WalPlace,
    object: WalObject,
    bytes: Bytes,
}

/// What came of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalPut {
    /// It is there now, durable.
    Stored(WalObject),
    /// An object with the same content was there already, durable too.
    AlreadyThere(WalObject),
}

impl SealedWal {
    /// Returns what it will be called.
    pub fn object(&self) -> &WalObject {
        &self.object
    }

    /// Puts it into a store of the repository. When this returns, the object is durable there.
    ///
    /// # Errors
    /// Fails if `known`, a listing of the store that was made a moment ago, has the same file with
    /// other content, or if the store cannot be written.
    pub async fn put(
        &self,
        store: &dyn ObjectStore,
        known: &WalListing,
    ) -> Result<WalPut, RepositoryError> {
        let draft = WalDraft {
            file: self.object.file,
            piece: self.object.piece.clone(),
            newest_commit: self.object.newest_commit,
        };
        if let Some(there) = known.find(&self.place, &draft, self.object.content)? {
            return Ok(WalPut::AlreadyThere(there.clone()));
        }
        let key = self.place.key(&self.object);
        store.put(&key, self.bytes.clone()).await?;
        Ok(WalPut::Stored(self.object.clone()))
    }
}

impl Repository {
    /// Puts a file of a write-ahead log, or a piece of a segment. Needs the writer key.
    ///
    /// `known` is a listing of the place, or of what lies beside the file, that was made a moment
    /// ago: it tells what is there already, and what contradicts it.
    ///
    /// # Errors
    /// Fails if the same file is there with other content, if the bytes cannot be what the draft
    /// says, or if the store cannot be written.
    pub async fn put_wal(
        &self,
        place: &WalPlace,
        draft: &WalDraft,
        bytes: Bytes,
        known: &WalListing,
    ) -> Result<WalPut, RepositoryError> {
        let content = self.wal_content(&bytes).await?;
        if let Some(there) = known.find(place, draft, content)? {
            return Ok(WalPut::AlreadyThere(there.clone()));
        }
        let sealed = self.seal_wal_as(place, draft, bytes, content).await?;
        sealed.put(&*self.store, known).await
    }

    /// Returns what tells this content from other content in a listing. Needs the writer key.
    ///
    /// # Errors
    /// Fails if the key cannot write.
    pub async fn wal_content(&self, bytes: &Bytes) -> Result<WalContentId, RepositoryError> {
        let key = self.wal_content_key("back up")?;
        let bytes = bytes.clone();
        Ok(self.world.pool.run(move || content_of(&key, &bytes)).await)
    }

    /// Compresses and seals a file of a write-ahead log, or a piece of a segment, for every region
    /// of the repository: all of them have the same keys. Needs the writer key.
    ///
    /// # Errors
    /// Fails if the key cannot write, or the bytes cannot be what the draft says.
    pub async fn seal_wal(
        &self,
        place: &WalPlace,
        draft: &WalDraft,
        bytes: Bytes,
    ) -> Result<SealedWal, RepositoryError> {
        let content = self.wal_content(&bytes).await?;
        self.seal_wal_as(place, draft, bytes, content).await
    }

    async fn seal_wal_as(
        &self,
        place: &WalPlace,
        draft: &WalDraft,
        bytes: Bytes,
        content: WalContentId,
    ) -> Result<SealedWal, RepositoryError> {
        check_len(draft, bytes.len())?;
        let public = self.keys.content_public()?;
        let key = public.encapsulate(self.id, &*self.world.entropy);
        let raw_len = bytes.len() as u32;
        let branch = match draft.file {
            // A listing tells then which timeline left which, to who can open nothing.
            WalFileName::History(_) => Branch::of_history(&bytes),
            _ => None,
        };
        let frames = self.wal_frames(bytes).await;
        let mut object = WalObject {
            file: draft.file,
            piece: draft.piece.clone(),
            branch,
            // What comes before 1970, or within its first microsecond, no server has committed.
            newest_commit: draft
                .newest_commit
                .and_then(|at| Timestamp::from_microsecond(at.as_microsecond()).ok())
                .filter(|at| *at > Timestamp::UNIX_EPOCH),
            content,
            hash: WalHash::from_bytes([0; 32]),
            stored_len: 0,
        };
        let (repository, stem) = (self.id, place.stem(&object));
        let job = move || {
            let sealed = wal::seal(repository, &key, &stem, raw_len, &frames);
            (blake3::hash(&sealed), sealed)
        };
        let (hash, sealed) = self.world.pool.run(job).await;
        object.hash = WalHash::from_bytes(*hash.as_bytes());
        object.stored_len = sealed.len() as u64;
        Ok(SealedWal {
            place: place.clone(),
            object,
            bytes: sealed.into(),
        })
    }

    /// Compresses all but the zeros at the end, each frame on the compute pool.
    async fn wal_frames(&self, bytes: Bytes) -> Vec<wal::PlainFrame> {
        let used = bytes.iter().rposition(|byte| *byte != 0);
        let used = bytes.slice(..used.map_or(0, |last| last + 1));
        // There is always a frame, so that the table is authenticated.
        let frames = used.len().div_ceil(wal::FRAME_LEN).max(1);
        let jobs: Vec<_> = (0..frames)
            .map(|number| {
                let start = number * wal::FRAME_LEN;
                let end = used.len().min(start + wal::FRAME_LEN);
                let raw = used.slice(start..end);
                self.world.pool.run(move || compress_wal(&raw))
            })
            .collect();
        let mut done = Vec::with_capacity(frames);
        for job in jobs {
            done.push(job.await);
        }
        done
    }

    pub(super) fn wal_content_key(
        &self,
        action: &'static str,
    ) -> Result<SymmetricKey, RepositoryError> {
        let id_key = self.keys.id(action)?;
        Ok(id_key.for_object(CONTENT_LABEL, &[0; 32]))
    }
}

pub(super) fn content_of(key: &SymmetricKey, bytes: &[u8]) -> WalContentId {
    let hash = blake3::keyed_hash(&key.0, bytes);
    WalContentId::from_bytes(
        hash.as_bytes()[..16]
            .try_into()
            .expect("a hash has 32 bytes"),
    )
}

fn check_len(draft: &WalDraft, len: usize) -> Result<(), RepositoryError> {
    let is_segment = |len| u32::try_from(len).is_ok_and(|len| SegmentSize::new(len).is_some());
    let (what, fits) = match (&draft.piece, draft.file) {
        (Some(piece), WalFileName::Segment(_)) => {
            let fits = piece.len() == len && len > 0 && piece.end <= wal::RAW_MAX;
            ("piece of", fits)
        }
        (Some(_), _) => ("piece of", false),
        (None, WalFileName::Segment(_)) => ("whole segment", is_segment(len)),
        (None, WalFileName::Partial(_)) => ("partial segment", is_segment(len)),
        (None, WalFileName::Backup(..)) => ("backup file", len <= TEXT_LEN_MAX),
        (None, WalFileName::History(_)) => ("history file", len <= TEXT_LEN_MAX),
    };
    let file = draft.file;
    fits.then_some(())
        .ok_or(RepositoryError::WalLength { file, what, len })
}

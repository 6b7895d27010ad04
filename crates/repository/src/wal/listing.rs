//! What is there of a write-ahead log: told by names alone.

use std::collections::BTreeSet;

use lifeboat_model::{
    Branch, EnvironmentName, Segment, SegmentSize, SourceName, SystemId, Timeline, WalContentId,
    WalFileName, WalObject, WalRange,
};
use lifeboat_storage::{ObjectMeta, ObjectStore};

use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::stored::list_told;
use crate::wal::name::WalPlace;
use crate::wal::put::WalDraft;

/// Two objects that hold the same file with different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalConflict {
    /// One of them.
    pub one: WalObject,
    /// The other.
    pub other: WalObject,
}

/// The WAL objects of a place, or of a part of it.
#[derive(Debug, Clone, Default)]
pub struct WalListing {
    /// By file, whole ones before pieces, then by where pieces lie.
    objects: Vec<WalObject>,
}

impl WalListing {
    /// Puts objects of one place in order.
    pub fn new(mut objects: Vec<WalObject>) -> Self {
        objects.sort_by_key(WalObject::order);
        Self { objects }
    }

    /// Returns all objects: by file, whole ones before pieces, then by where pieces lie.
    pub fn objects(&self) -> &[WalObject] {
        &self.objects
    }

    /// Returns the objects that hold `file`, or pieces of it.
    pub fn of(&self, file: WalFileName) -> &[WalObject] {
        let start = self.objects.partition_point(|object| object.file < file);
        let end = self.objects.partition_point(|object| object.file <= file);
        &self.objects[start..end]
    }

    /// Returns the whole segment, if there is one.
    pub fn whole(&self, segment: Segment) -> Option<&WalObject> {
        let mut objects = self.of(WalFileName::Segment(segment)).iter();
        objects.find(|object| object.piece.is_none())
    }

    /// Returns how many bytes of a segment are there without a gap, from its first on.
    pub fn reach(&self, segment: Segment, size: SegmentSize) -> u32 {
        WalObject::reach(self.of(WalFileName::Segment(segment)), size)
    }

    /// Returns the timelines whose beginnings are known.
    pub fn branches(&self) -> impl Iterator<Item = (Timeline, Branch)> {
        let branch = |object: &WalObject| Some((object.file.timeline(), object.branch?));
        self.objects.iter().filter_map(branch)
    }

    /// Returns the segments of `range` of which a needed byte is missing.
    pub fn lacking(&self, range: WalRange) -> impl Iterator<Item = Segment> {
        let size = range.segment_size;
        let lacks =
            move |(segment, needed)| (self.reach(segment, size) < needed).then_some(segment);
        range.segments().filter_map(lacks)
    }

    /// Returns the objects that hold bytes of the segments of `range`.
    pub fn needed(&self, range: WalRange) -> impl Iterator<Item = &WalObject> {
        let segments = range.segments();
        segments.flat_map(|(segment, _)| self.of(WalFileName::Segment(segment)))
    }

    /// Returns every pair of objects that contradict each other: two whole files, or two pieces of one
    /// range, with different content.
    pub fn conflicts(&self) -> Vec<WalConflict> {
        let pairs = self.objects.windows(2);
        let contradict = |one: &WalObject, other: &WalObject| {
            one.file == other.file && one.piece == other.piece && one.content != other.content
        };
        pairs
            .filter(|pair| contradict(&pair[0], &pair[1]))
            .map(|pair| WalConflict {
                one: pair[0].clone(),
                other: pair[1].clone(),
            })
            .collect()
    }

    /// Looks for what is about to be put: returns the object that holds it already, if there is one.
    ///
    /// # Errors
    /// Fails if there is one of the same name with other content, and names both.
    pub fn find(
        &self,
        place: &WalPlace,
        draft: &WalDraft,
        content: WalContentId,
    ) -> Result<Option<&WalObject>, RepositoryError> {
        let same_name = self.of(draft.file).iter();
        let mut same_name = same_name.filter(|object| object.piece == draft.piece);
        let mut found = None;
        same_name.try_for_each(|object| match object.content == content {
            true => {
                found = Some(object);
                Ok(())
            }
            false => Err(conflict(place, object, content)),
        })?;
        Ok(found)
    }
}

/// Makes the error for an object that has other content than `ours`.
pub(super) fn conflict(
    place: &WalPlace,
    stored: &WalObject,
    ours: WalContentId,
) -> RepositoryError {
    RepositoryError::WalConflict {
        file: stored.file,
        system: place.system,
        stored: place.key(stored).to_string(),
        theirs: stored.content,
        ours,
    }
}

/// Lists the objects below a prefix of one place.
async fn list(store: &dyn ObjectStore, prefix: &str) -> Result<WalListing, RepositoryError> {
    let listed = list_told(store, prefix).await?;
    let objects = listed.iter().filter_map(|meta: &ObjectMeta| {
        let parsed = WalPlace::parse(meta);
        if parsed.is_none() {
            tracing::warn!("`{}` is no WAL object", meta.key);
        }
        Some(parsed?.1)
    });
    Ok(WalListing::new(objects.collect()))
}

impl Repository {
    /// Lists the clusters whose write-ahead logs a source has, by system id. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn wal_systems(
        store: &dyn ObjectStore,
        environment: &EnvironmentName,
        source: &SourceName,
    ) -> Result<Vec<SystemId>, RepositoryError> {
        let listed = store
            .list(&WalPlace::folder_of(environment, source))
            .await?;
        let systems = listed
            .iter()
            .filter_map(|meta| Some(WalPlace::parse(meta)?.0.system));
        let systems: BTreeSet<SystemId> = systems.collect();
        Ok(systems.into_iter().collect())
    }

    /// Lists all that is there of a write-ahead log. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn wal_listing(
        store: &dyn ObjectStore,
        place: &WalPlace,
    ) -> Result<WalListing, RepositoryError> {
        list(store, &place.folder()).await
    }

    /// Lists what is there of one timeline of a write-ahead log. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn wal_listing_of_timeline(
        store: &dyn ObjectStore,
        place: &WalPlace,
        timeline: Timeline,
    ) -> Result<WalListing, RepositoryError> {
        list(store, &place.folder_of_timeline(timeline)).await
    }

    /// Lists what lies beside `file`: the 4 GiB of log that it belongs to, on its timeline, or the
    /// timeline's history. Needs no key.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn wal_listing_beside(
        store: &dyn ObjectStore,
        place: &WalPlace,
        file: WalFileName,
    ) -> Result<WalListing, RepositoryError> {
        list(store, &place.folder_beside(file)).await
    }
}

//! All WAL objects of a store, and which of them snapshots need. Needs no key.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_model::{Segment, WalFileName, WalObject, WalRange};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore};

use crate::error::RepositoryError;
use crate::format::commit::CommitPublic;
use crate::layout::{ObjectClass, SnapshotName, WAL};
use crate::wal::listing::WalListing;
use crate::wal::name::WalPlace;

/// The WAL objects of a store, by place.
#[derive(Debug, Default)]
pub(crate) struct WalCatalog {
    places: BTreeMap<WalPlace, WalListing>,
    /// Objects below `wal/` whose names are no WAL object's.
    pub(crate) foreign: Vec<ObjectKey>,
}

impl WalCatalog {
    /// Sorts out what a listing holds of write-ahead logs; other objects are left out.
    pub(crate) fn of<'a>(listed: impl IntoIterator<Item = &'a ObjectMeta>) -> Self {
        let mut places: BTreeMap<WalPlace, Vec<WalObject>> = BTreeMap::new();
        let mut foreign = Vec::new();
        let listed = listed.into_iter();
        for meta in listed.filter(|meta| ObjectClass::of(&meta.key) == ObjectClass::Wal) {
            match WalPlace::parse(meta) {
                Some((place, object)) => places.entry(place).or_default().push(object),
                None => foreign.push(meta.key.clone()),
            }
        }
        let places = places.into_iter();
        Self {
            places: places
                .map(|(place, objects)| (place, WalListing::new(objects)))
                .collect(),
            foreign,
        }
    }

    /// Lists the WAL objects of a store.
    pub(crate) async fn read(store: &dyn ObjectStore) -> Result<Self, RepositoryError> {
        Ok(Self::of(&store.list(WAL).await?))
    }

    /// Returns the places, with what is there of each.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&WalPlace, &WalListing)> {
        self.places.iter()
    }

    /// Returns the objects of `place` that hold `file`, or pieces of it.
    pub(crate) fn beside(&self, place: &WalPlace, file: WalFileName) -> &[WalObject] {
        self.places
            .get(place)
            .map_or(&[], |listing| listing.of(file))
    }

    /// Returns the first segment of `range` of which a needed byte is missing.
    pub(crate) fn lacks(&self, place: &WalPlace, range: WalRange) -> Option<Segment> {
        let listing = self.places.get(place);
        let mut lacking = listing.map(|listing| listing.lacking(range));
        match &mut lacking {
            Some(lacking) => lacking.next(),
            None => range.segments().next().map(|(segment, _)| segment),
        }
    }

    /// Returns the objects that hold bytes of the segments of `range`.
    pub(crate) fn needed(
        &self,
        place: &WalPlace,
        range: WalRange,
    ) -> impl Iterator<Item = &WalObject> {
        let listing = self.places.get(place).into_iter();
        listing.flat_map(move |listing| listing.needed(range))
    }

    /// Reports whether other objects hold all of a piece.
    pub(crate) fn supersedes(&self, place: &WalPlace, object: &WalObject) -> bool {
        let mut others = self.beside(place, object.file).iter();
        others.any(|other| other.supersedes(object))
    }
}

/// Looks for the first segment of `range` of which a needed byte is missing. What is in `doomed` is as
/// good as gone. Lists no more than the folders of the range.
pub(crate) async fn first_lacking(
    store: &dyn ObjectStore,
    place: &WalPlace,
    range: WalRange,
    doomed: &BTreeSet<ObjectKey>,
) -> Result<Option<Segment>, RepositoryError> {
    let files = range
        .segments()
        .map(|(segment, _)| WalFileName::Segment(segment));
    let folders: BTreeSet<String> = files.map(|file| place.folder_beside(file)).collect();
    let mut there = Vec::new();
    for folder in folders {
        let listed = store.list(&folder).await?;
        there.extend(
            listed
                .into_iter()
                .filter(|meta| !doomed.contains(&meta.key)),
        );
    }
    Ok(WalCatalog::of(&there).lacks(place, range))
}

/// The stretch of a log that a snapshot needs beside its packs, with the place where it must be.
pub(crate) fn wal_needed_by(
    name: &SnapshotName,
    record: &[u8],
) -> Result<Option<(WalPlace, WalRange)>, RepositoryError> {
    let public = CommitPublic::of(record).map_err(|flaw| flaw.of(&name.key()))?;
    Ok(public.wal().map(|range| (place_of(name, range), range)))
}

/// Returns the place of a snapshot's log.
pub(crate) fn place_of(name: &SnapshotName, range: WalRange) -> WalPlace {
    WalPlace {
        environment: name.environment.clone(),
        source: name.source.clone(),
        system: range.system,
    }
}

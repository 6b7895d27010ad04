//! Verification of write-ahead logs: their names, what they look like from outside, what is in them, and
//! whether snapshots find what they need.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use lifeboat_model::WalObject;
use lifeboat_storage::ObjectKey;

use crate::error::RepositoryError;
use crate::format::wal::{HEAD_MAX, WalHead};
use crate::layout::{ObjectClass, WAL};
use crate::repository::{READS_AT_ONCE as HEADS_AT_ONCE, Repository};
use crate::role::Action;
use crate::snapshot::Snapshot;
use crate::verify::{READS_AT_ONCE, Verification, VerifyLevel, is_due};
use crate::wal::{WalCatalog, WalPlace, place_of};

/// What was looked at of one object.
struct Looked {
    bytes: u64,
    opened: u64,
}

impl Verification<'_> {
    /// Checks all WAL objects to the depth asked, and that those are there which snapshots need.
    pub(super) async fn check_wal(
        &mut self,
        snapshots: &[Snapshot],
        level: VerifyLevel,
    ) -> Result<(), RepositoryError> {
        let listed = self.repository.store.list(WAL).await?;
        let catalog = WalCatalog::of(&listed);
        self.report.objects += listed.len() as u64;
        for key in &catalog.foreign {
            self.note(key, "its name is no WAL object's");
        }
        let mut bad = self.check_conflicts(&catalog);
        if level != VerifyLevel::Quick {
            bad.extend(self.check_objects(&catalog, level).await?);
        }
        let whole = listed.iter().filter(|meta| !bad.contains(&meta.key));
        self.check_needed(snapshots, &WalCatalog::of(whole));
        Ok(())
    }

    /// Notes objects that contradict each other, and returns them: nobody can say which one is right.
    fn check_conflicts(&mut self, catalog: &WalCatalog) -> BTreeSet<ObjectKey> {
        let mut bad = BTreeSet::new();
        for (place, listing) in catalog.places() {
            for conflict in listing.conflicts() {
                let (one, other) = (place.key(&conflict.one), place.key(&conflict.other));
                self.note(&other, format!("it has other content than `{one}`"));
                bad.extend([one, other]);
            }
        }
        bad
    }

    /// Looks at every object, at some from outside only, and returns those that are damaged.
    async fn check_objects(
        &mut self,
        catalog: &WalCatalog,
        level: VerifyLevel,
    ) -> Result<BTreeSet<ObjectKey>, RepositoryError> {
        let repository = self.repository;
        let is_read = |object: &WalObject| match level {
            VerifyLevel::Quick | VerifyLevel::Structure => false,
            VerifyLevel::Sample { days, today } => is_due(object.hash.as_bytes(), days, today),
            VerifyLevel::Full => true,
        };
        let all = catalog.places().flat_map(|(place, listing)| {
            let objects = listing.objects().iter();
            objects.map(move |object| (place, object))
        });
        let (whole, outside): (Vec<_>, Vec<_>) = all.partition(|(_, object)| is_read(object));
        let whole = stream::iter(whole)
            .map(|(place, object)| async move {
                (
                    place.key(object),
                    read_whole(repository, place, object).await,
                )
            })
            .buffer_unordered(READS_AT_ONCE);
        let outside = stream::iter(outside)
            .map(|(place, object)| async move {
                (
                    place.key(object),
                    read_head(repository, place, object).await,
                )
            })
            .buffer_unordered(HEADS_AT_ONCE);
        let mut looked_at = whole.chain(outside).boxed();
        let mut bad = BTreeSet::new();
        while let Some((key, looked)) = looked_at.next().await {
            match looked {
                Ok(Looked { bytes, opened }) => {
                    self.report.bytes_read += bytes;
                    self.report.wal_opened += opened;
                }
                Err(error) => {
                    self.note_error(&key, error)?;
                    bad.insert(key);
                }
            }
        }
        Ok(bad)
    }

    /// Notes snapshots for which a part of the log is missing, given what is whole.
    fn check_needed(&mut self, snapshots: &[Snapshot], whole: &WalCatalog) {
        for snapshot in snapshots {
            let Some(range) = snapshot.wal.filter(|range| !range.embedded) else {
                continue;
            };
            let name = snapshot.name();
            if let Some(segment) = whole.lacks(&place_of(&name, range), range) {
                let what = format!("it needs WAL segment {segment}, which is missing or damaged");
                self.note(&name.key(), what);
                let all = "all of it: the log that makes it consistent is not whole".to_owned();
                let affected = self.report.affected.entry(snapshot.id).or_default();
                affected.push(all);
            }
        }
    }
}

/// Reads header and table of an object.
async fn read_head(
    repository: &Repository,
    place: &WalPlace,
    object: &WalObject,
) -> Result<Looked, RepositoryError> {
    let key = place.key(object);
    let bytes = object.stored_len.min(HEAD_MAX);
    let head = repository.store.get_range(&key, 0..bytes).await?;
    WalHead::parse(&head, object.stored_len).map_err(|flaw| flaw.of(&key))?;
    Ok(Looked { bytes, opened: 0 })
}

/// Reads an object, and opens it if the key can.
async fn read_whole(
    repository: &Repository,
    place: &WalPlace,
    object: &WalObject,
) -> Result<Looked, RepositoryError> {
    let key = place.key(object);
    let stored = repository.store.get(&key).await?;
    let bytes = stored.len() as u64;
    if ObjectClass::name_matches(&key, &stored) == Some(false) {
        let what = "its bytes do not match its name";
        return Err(RepositoryError::corrupt(&key, what));
    }
    WalHead::parse(&stored, bytes).map_err(|flaw| flaw.of(&key))?;
    if !repository.keys.role().may(Action::ReadContent) {
        return Ok(Looked { bytes, opened: 0 });
    }
    let opened = repository.open_wal(place, object, stored).await?;
    opened.map_err(|flaw| flaw.of(&key))?;
    Ok(Looked { bytes, opened: 1 })
}

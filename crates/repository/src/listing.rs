//! Listing snapshots without stopping at a damaged commit record.
//!
//! A listing is for people and for choosing: it says of each commit record what it says, or why it
//! cannot be read. Whoever must know all of them, as pruning does, asks [`Repository::snapshots`],
//! which fails at the first that is damaged.

use futures::stream::{self, StreamExt as _};
use lifeboat_model::{EnvironmentName, ErrorKind, SourceName, error_chain};

use crate::error::RepositoryError;
use crate::layout::SnapshotName;
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// How many commit records are read at the same time.
const READS_AT_ONCE: usize = 16;

/// What there is: the snapshots, and the commit records that cannot be read.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Oldest first by the moment each holds.
    pub snapshots: Vec<Snapshot>,
    /// Oldest first by the moment their names tell.
    pub damaged: Vec<DamagedSnapshot>,
}

/// A commit record that cannot be read: only its name tells whose it is, and of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedSnapshot {
    /// What the object's name says.
    pub name: SnapshotName,
    /// What is wrong with the object.
    pub what: String,
}

impl Repository {
    /// Lists the snapshots of an environment, the damaged ones apart. Needs any key.
    ///
    /// A record that is removed while the listing is made is in neither list.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn listing(
        &self,
        environment: Option<&EnvironmentName>,
        source: Option<&SourceName>,
    ) -> Result<Listing, RepositoryError> {
        let names = Self::snapshot_names(&*self.store, environment, source).await?;
        let mut reads = stream::iter(names)
            .map(|name| async move { (self.readable(&name).await, name) })
            .buffer_unordered(READS_AT_ONCE);
        let mut listing = Listing::default();
        while let Some((read, name)) = reads.next().await {
            match read? {
                Some(Ok(snapshot)) => listing.snapshots.push(snapshot),
                Some(Err(what)) => listing.damaged.push(DamagedSnapshot { name, what }),
                None => {}
            }
        }
        listing
            .snapshots
            .sort_by_key(|snapshot| (snapshot.instant, snapshot.finished, snapshot.id));
        listing
            .damaged
            .sort_by_key(|damaged| (damaged.name.instant, damaged.name.id));
        Ok(listing)
    }

    /// Reads a commit record, or says what is wrong with it; `None` if it is no longer there.
    ///
    /// # Errors
    /// Fails where the fault is not that one object's: the store is gone, or the key is wrong.
    pub async fn readable(
        &self,
        name: &SnapshotName,
    ) -> Result<Option<Result<Snapshot, String>>, RepositoryError> {
        match self.snapshot(name).await {
            Ok(snapshot) => Ok(Some(Ok(snapshot))),
            Err(RepositoryError::Corrupt { what, .. }) => Ok(Some(Err(what))),
            Err(error @ RepositoryError::NewerFormat { .. }) => Ok(Some(Err(error.to_string()))),
            Err(RepositoryError::Store(error)) => match error.kind {
                ErrorKind::NotFound => Ok(None),
                ErrorKind::NoRepository => Err(error.into()),
                // A bad sector under one record must not hide the others.
                _ => Ok(Some(Err(error_chain(&error)))),
            },
            Err(other) => Err(other),
        }
    }
}

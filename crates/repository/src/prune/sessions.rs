//! Who is at work on the store: the other side of [`crate::lease`].

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use lifeboat_model::{ErrorKind, SessionId, TombstoneId};
use lifeboat_storage::{ObjectKey, ObjectStore};

use crate::error::RepositoryError;
use crate::layout::{self, LEASES, LeasePart, ObjectClass, SnapshotName};
use crate::lease::{DEAD_AFTER, IntentV1, LeaseRecord};
use crate::repository::Repository;

/// A session as its folder shows it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Its newest lease; `None` if there is none that can be read.
    pub(super) lease: Option<LeaseRecord>,
    pub(super) intents: Vec<u32>,
    pub(super) fenced: bool,
    pub(super) ended: bool,
    numbers: Vec<u32>,
}

/// Lists all sessions.
pub(super) async fn read_sessions(
    store: &dyn ObjectStore,
) -> Result<BTreeMap<SessionId, Session>, RepositoryError> {
    let mut sessions: BTreeMap<SessionId, Session> = BTreeMap::new();
    for meta in store.list(LEASES).await? {
        let mut parts = meta.key.as_str().rsplit('/');
        let part = parts.next().and_then(LeasePart::parse);
        let id = parts.next().and_then(|id| id.parse().ok());
        let (Some(part), Some(id)) = (part, id) else {
            continue;
        };
        let session = sessions.entry(id).or_default();
        match part {
            LeasePart::Number(number) => session.numbers.push(number),
            LeasePart::Intent(number) => session.intents.push(number),
            LeasePart::Fence => session.fenced = true,
            LeasePart::End => session.ended = true,
        }
    }
    for (id, session) in &mut sessions {
        session.numbers.sort_unstable();
        let mut newest_first = session.numbers.iter().rev().filter(|_| !session.ended);
        session.lease = loop {
            let Some(number) = newest_first.next() else {
                break None;
            };
            // One that cannot be read, or speaks of another session, says nothing about this one.
            let key = layout::lease(*id, LeasePart::Number(*number));
            let lease: Option<LeaseRecord> = read(store, &key)
                .await?
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(lease) = lease.filter(|lease| lease.session == *id) {
                break Some(lease);
            }
        };
    }
    Ok(sessions)
}

/// Reads an object; `None` if it is gone.
async fn read(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<Option<bytes::Bytes>, RepositoryError> {
    match store.get(key).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Session {
    /// Reports whether the session has shown no sign of life for long, or its process on this `host` is
    /// gone. A wrong guess makes the session fail, and loses nothing.
    pub(super) fn seems_dead(&self, now: Timestamp, host: &str) -> bool {
        if let Some(lease) = &self.lease
            && lease.host == host
            && Path::new("/proc/self").exists()
            && !Path::new(&format!("/proc/{}", lease.process)).exists()
        {
            return true;
        }
        // One that is dated in the future lives until its time has come.
        let dead = |lease: &LeaseRecord| {
            now.duration_since(lease.renewed)
                > jiff::SignedDuration::try_from(DEAD_AFTER).expect("an hour fits")
        };
        self.lease.as_ref().is_none_or(dead)
    }

    /// Reports whether the session can still commit something, or read something.
    pub(super) fn is_over(&self) -> bool {
        self.ended || self.fenced || self.numbers.is_empty()
    }

    /// Reports whether the session read a tombstone before it looked at the index.
    pub(super) fn honours(&self, tombstone: TombstoneId) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.honours.contains(&tombstone))
    }

    /// Describes the session for people.
    pub(super) fn describe(&self, id: SessionId) -> String {
        match &self.lease {
            Some(LeaseRecord {
                work,
                host,
                began,
                renewed,
                ..
            }) => {
                format!("{work} `{id}` of host `{host}`, begun {began:.0}, last seen {renewed:.0}")
            }
            None => format!("session `{id}`, whose lease cannot be read"),
        }
    }

    /// Reads the records that the session was about to commit. What cannot be read was never whole,
    /// so its session never went on to commit it.
    pub(super) async fn records(
        &self,
        store: &dyn ObjectStore,
        id: SessionId,
    ) -> Result<Vec<(ObjectKey, Vec<u8>)>, RepositoryError> {
        let mut records = Vec::new();
        for number in &self.intents {
            let key = layout::lease(id, LeasePart::Intent(*number));
            let intent: Option<IntentV1> = read(store, &key)
                .await?
                .and_then(|bytes| postcard::from_bytes(&bytes).ok());
            for (key, bytes) in intent.into_iter().flat_map(|intent| intent.records) {
                let key = ObjectKey::new(key).ok();
                // Intents are not sealed: nothing but a record under its own name is taken from one.
                let record = |key: &ObjectKey| {
                    ObjectClass::of(key) == ObjectClass::Snapshot
                        && ObjectClass::name_matches(key, &bytes) == Some(true)
                };
                records.extend(key.filter(record).map(|key| (key, bytes.clone())));
            }
        }
        Ok(records)
    }

    /// Takes the session for dead.
    ///
    /// What it wrote down in order to commit it is committed for it first: it may be about to do the
    /// same, and writing the same bytes twice does no harm. After that it can commit nothing.
    pub(super) async fn fence(
        &self,
        repository: &Repository,
        id: SessionId,
    ) -> Result<(), RepositoryError> {
        let store = &*repository.store;
        let there = async |part| store.head(&layout::lease(id, part)).await;
        for (key, bytes) in self.records(store, id).await? {
            // What is not a record of this repository, whoever wrote it down, becomes none.
            let name = SnapshotName::parse(&key);
            if name.is_none_or(|name| repository.open_commit(&name, &bytes).is_err()) {
                continue;
            }
            // Asked anew for each: a fence that is there now may have been seen by the session.
            let fenced = there(LeasePart::Fence).await?.is_some();
            if !fenced && there(LeasePart::Number(0)).await?.is_some() {
                store.put(&key, bytes.into()).await?;
            }
        }
        let key = layout::lease(id, LeasePart::Fence);
        store
            .put(&key, bytes::Bytes::from_static(b"fenced\n"))
            .await?;
        Ok(())
    }

    /// Reports whether nothing that the session wrote down in order to commit it is left open.
    pub(super) async fn has_settled(
        &self,
        store: &dyn ObjectStore,
        id: SessionId,
    ) -> Result<bool, RepositoryError> {
        // Without its first lease, a session commits nothing.
        if self.ended || self.numbers.is_empty() {
            return Ok(true);
        }
        for (key, _) in self.records(store, id).await? {
            if store.head(&key).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the folder of a session that is over.
    ///
    /// Leases go first: a session that wakes up later and misses them commits nothing. Where the
    /// store lets none of them go, they stay: the session is over all the same.
    pub(super) async fn remove(
        &self,
        store: &dyn ObjectStore,
        id: SessionId,
    ) -> Result<(), RepositoryError> {
        let numbers = self.numbers.iter().map(|n| LeasePart::Number(*n));
        let intents = self.intents.iter().map(|n| LeasePart::Intent(*n));
        let last = [
            self.fenced.then_some(LeasePart::Fence),
            self.ended.then_some(LeasePart::End),
        ];
        for part in numbers.chain(intents).chain(last.into_iter().flatten()) {
            match store.delete(&layout::lease(id, part)).await {
                Err(error) if error.kind == ErrorKind::Denied => break,
                other => other?,
            }
        }
        Ok(())
    }
}

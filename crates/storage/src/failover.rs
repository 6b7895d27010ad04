//! Several stores that hold the same objects, read as one.
//!
//! A read goes to the first store. If that one fails, or takes far longer than reads usually do, the
//! next is asked as well, and the first good answer counts. One that failed, or was overtaken again
//! and again, is asked last for a while.
//!
//! What there is at all is told by the listing of the preferred store, or by those of all: then an
//! object is read from a store that lists it, and that another one lacks it is no damage by itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt as _};
use lifeboat_model::{ErrorKind, error_chain};
use tokio::time::{Instant, timeout};

use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::pace::Pace;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// How long a store may take over a whole object before the next one is asked too.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long over a listing, which may be long and may lack elsewhere what is newest.
const LISTING_PATIENCE: Duration = Duration::from_secs(15);
/// How long a store that failed or is slow is asked last.
const REST: Duration = Duration::from_secs(30);
/// How often in a row a store may be overtaken before it counts as slow.
const OVERTAKEN_MAX: u32 = 3;
/// Damaged objects that are remembered at most: more of them tell no more.
const DAMAGED_MAX: usize = 1000;

/// Tells whether bytes can be the object of a key, as far as a name can tell.
pub type NameCheck = fn(&ObjectKey, &[u8]) -> bool;

/// Whose listings tell what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListedBy {
    /// That of the preferred store, as long as it answers.
    #[default]
    Preferred,
    /// Those of all stores that answer.
    Any,
}

/// Stores with the same objects, the one to prefer first.
///
/// Writes go to every store that takes them: what is written through this, such as the lease of a
/// restore, concerns all that are read. It deletes nothing.
pub struct FailoverStore {
    members: Vec<Member>,
    check: NameCheck,
    patience: Duration,
    /// Of reads of ranges, whose length is known.
    pace: Pace,
    listed_by: ListedBy,
    /// Objects that listings of some members had and those of these members, by their place, had not.
    lacking: Mutex<BTreeMap<ObjectKey, Vec<usize>>>,
    damaged: Mutex<BTreeSet<DamagedObject>>,
}

/// An object that is damaged or missing in one store, and was read from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedObject {
    /// The store's name.
    pub member: String,
    /// The object.
    pub key: ObjectKey,
}

/// One of the stores that are read as one.
pub struct Member {
    name: String,
    store: Arc<dyn ObjectStore>,
    /// Until when it is asked last, since it failed.
    resting: Mutex<Option<Instant>>,
    /// Until when its listing is done without, since it could not be had.
    unlisted: Mutex<Option<Instant>>,
    /// How often another was faster, since it last answered in time.
    overtaken: AtomicU32,
}

impl Member {
    fn is_resting(&self, now: Instant) -> bool {
        is_before(&self.resting, now)
    }

    fn rest(&self) {
        let until = Instant::now() + REST;
        *self.resting.lock().expect("no holder panics") = Some(until);
    }

    /// Lists what it holds, or says that it does without: what it alone has will not be found. It is
    /// not asked again for a while, so that one that hangs costs its time once.
    async fn list(&self, prefix: &str) -> Option<Vec<ObjectMeta>> {
        if is_before(&self.unlisted, Instant::now()) {
            return None;
        }
        let why = match timeout(LISTING_PATIENCE, self.store.list(prefix)).await {
            Ok(Ok(listed)) => return Some(listed),
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("it did not answer within {} s", LISTING_PATIENCE.as_secs()),
        };
        tracing::warn!(
            "what region `{}` alone has is not considered: {why}",
            self.name
        );
        *self.unlisted.lock().expect("no holder panics") = Some(Instant::now() + REST);
        self.rest();
        None
    }

    fn note(&self, error: &StoreError) {
        if is_about_the_object(error) {
            return;
        }
        tracing::warn!(%error, "another region than `{}` is asked", self.name);
        if matches!(
            error.kind,
            ErrorKind::Transient | ErrorKind::Denied | ErrorKind::NoRepository
        ) {
            self.rest();
        }
    }

    /// Notes that a store that was asked later has answered first.
    fn note_overtaken(&self) {
        if self.overtaken.fetch_add(1, Ordering::Relaxed) + 1 >= OVERTAKEN_MAX {
            self.overtaken.store(0, Ordering::Relaxed);
            tracing::warn!("region `{}` is slow, another one is read", self.name);
            self.rest();
        }
    }

    /// Returns the store's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the store alone, for who wants to know what this one holds.
    pub fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }
}

fn is_before(until: &Mutex<Option<Instant>>, now: Instant) -> bool {
    let until = *until.lock().expect("no holder panics");
    until.is_some_and(|until| now < until)
}

/// Tells whether an error is about one object, and says nothing of the rest of the store.
fn is_about_the_object(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound)
}

impl FailoverStore {
    /// Joins stores with their names, the one to prefer first. `check` recognizes a damaged object by
    /// its key.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn new(stores: Vec<(String, Arc<dyn ObjectStore>)>, check: NameCheck) -> Self {
        assert!(!stores.is_empty(), "there must be a store to read");
        let member = |(name, store)| Member {
            name,
            store,
            resting: Mutex::new(None),
            unlisted: Mutex::new(None),
            overtaken: AtomicU32::new(0),
        };
        Self {
            members: stores.into_iter().map(member).collect(),
            check,
            patience: PATIENCE,
            pace: Pace::default(),
            listed_by: ListedBy::default(),
            lacking: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    /// Sets whose listings tell what there is.
    #[must_use]
    pub fn with_listed_by(mut self, listed_by: ListedBy) -> Self {
        self.listed_by = listed_by;
        self
    }

    /// Sets how long a store may take over a read before the next one is asked too, as long as nothing
    /// is known of how long reads take.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self.pace = Pace::beginning_with(patience);
        self
    }

    /// Returns the stores, the one to prefer first.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Notes, and tells once, that an object is damaged or missing in one store and was read from
    /// another.
    pub fn note_damage(&self, member: &Member, key: &ObjectKey, why: &str) {
        let mut damaged = self.damaged.lock().expect("no holder panics");
        let object = DamagedObject {
            member: member.name.clone(),
            key: key.clone(),
        };
        if damaged.len() < DAMAGED_MAX && damaged.insert(object) {
            tracing::warn!(
                "`{key}` is damaged in region `{}`, another one is read: {why}",
                member.name
            );
        }
    }

    /// Returns what was noted as damaged so far.
    pub fn damaged(&self) -> Vec<DamagedObject> {
        let damaged = self.damaged.lock().expect("no holder panics");
        damaged.iter().cloned().collect()
    }

    /// Lists what is there according to those whose listings tell ([`ListedBy`]), sorted by key. Where
    /// stores differ in an object, the preferred one's word counts.
    ///
    /// A store whose listing cannot be had in time is left out, with a warning.
    ///
    /// # Errors
    /// Fails if no store can be listed.
    pub async fn list_told(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        if self.listed_by == ListedBy::Preferred {
            return self.list(prefix).await;
        }
        let lists = self.members.iter().map(|member| member.list(prefix));
        let lists: Vec<_> = join_all(lists).await;
        let told = (0..)
            .zip(lists)
            .filter_map(|(place, list)| Some((place, list?)));
        let told: Vec<(usize, Vec<ObjectMeta>)> = told.collect();
        if told.is_empty() {
            return self.list(prefix).await;
        }
        self.note_lacking(prefix, &told);
        let mut found = BTreeMap::new();
        for meta in told.into_iter().flat_map(|(_, list)| list) {
            found.entry(meta.key.clone()).or_insert(meta);
        }
        Ok(found.into_values().collect())
    }

    /// Remembers what some listings have and others have not.
    fn note_lacking(&self, prefix: &str, told: &[(usize, Vec<ObjectMeta>)]) {
        let keys = |list: &'_ [ObjectMeta]| list.iter().map(|meta| meta.key.clone()).collect();
        let held = told.iter().map(|(place, list)| (*place, keys(list)));
        let held: Vec<(usize, HashSet<ObjectKey>)> = held.collect();
        let mut lacking = self.lacking.lock().expect("no holder panics");
        lacking.retain(|key, _| !key.as_str().starts_with(prefix));
        for key in held.iter().flat_map(|(_, keys)| keys) {
            let without = held.iter().filter(|(_, keys)| !keys.contains(key));
            let without: Vec<usize> = without.map(|(place, _)| *place).collect();
            if !without.is_empty() {
                lacking.insert(key.clone(), without);
            }
        }
    }

    /// Returns the members that did not list an object when another did.
    pub fn lacking(&self, key: &ObjectKey) -> Vec<&Member> {
        let lacking = self.lacking.lock().expect("no holder panics");
        let places = lacking.get(key).into_iter().flatten();
        places.map(|place| &self.members[*place]).collect()
    }

    /// Reports whether the preferred store did not list an object when another did.
    pub fn is_lacking(&self, key: &ObjectKey) -> bool {
        let lacking = self.lacking.lock().expect("no holder panics");
        lacking.get(key).is_some_and(|places| places.contains(&0))
    }

    /// Returns the members in the order to ask them now: for an object, first those that list it.
    fn in_order(&self, key: Option<&ObjectKey>) -> Vec<&Member> {
        let now = Instant::now();
        let lacking = key.map_or_else(Vec::new, |key| self.lacking(key));
        let mut order: Vec<&Member> = self.members.iter().collect();
        order.sort_by_key(|member| (is_among(&lacking, member), member.is_resting(now)));
        order
    }

    /// Asks one store after the other until one answers well, the next one when `patience` is over.
    /// `key` is the object that is read, if it is one. Returns how long the answer took, too.
    async fn ask<'a, T: Send>(
        &'a self,
        key: Option<&ObjectKey>,
        patience: Duration,
        read: impl Fn(&'a dyn ObjectStore) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<(T, Duration), StoreError> {
        let start = |member: &'a Member| {
            let (begun, answer) = (Instant::now(), read(&*member.store));
            async move { (member, answer.await, begun.elapsed()) }
        };
        let mut waiting = self.in_order(key).into_iter();
        let mut newest = waiting.next();
        let mut asked: FuturesUnordered<_> = newest.map(start).into_iter().collect();
        let mut slow: Vec<&Member> = Vec::new();
        let mut failed: Vec<(&Member, StoreError)> = Vec::new();
        loop {
            match timeout(patience, asked.next()).await {
                Ok(Some((member, Ok(value), took))) => {
                    self.settle(member, &slow, &failed, key);
                    return Ok((value, took));
                }
                Ok(Some((member, Err(error), _))) => {
                    member.note(&error);
                    slow.retain(|one| !std::ptr::eq(*one, member));
                    failed.push((member, error));
                    if asked.is_empty() {
                        newest = waiting.next();
                        asked.extend(newest.map(start));
                    }
                }
                // What the preferred one said matters most.
                Ok(None) => return Err(failed.swap_remove(0).1),
                // Too slow: another is asked beside, and whoever is first counts.
                Err(_) => {
                    slow.extend(newest.take());
                    newest = waiting.next();
                    asked.extend(newest.map(start));
                }
            }
        }
    }

    /// Draws conclusions from a read that `winner` answered well in the end.
    fn settle(
        &self,
        winner: &Member,
        slow: &[&Member],
        failed: &[(&Member, StoreError)],
        key: Option<&ObjectKey>,
    ) {
        for member in slow.iter().filter(|slow| !std::ptr::eq(**slow, winner)) {
            member.note_overtaken();
        }
        if slow.is_empty() {
            winner.overtaken.store(0, Ordering::Relaxed);
        }
        let Some(key) = key else { return };
        let lacking = self.lacking(key);
        for (member, error) in failed
            .iter()
            .filter(|(member, error)| is_about_the_object(error) && !is_among(&lacking, member))
        {
            let why = error
                .source
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            self.note_damage(member, key, &why);
        }
    }

    fn checked(
        &self,
        key: &ObjectKey,
        store: &dyn ObjectStore,
        body: Bytes,
    ) -> Result<Bytes, StoreError> {
        if (self.check)(key, &body) {
            return Ok(body);
        }
        let why = "its bytes do not match its name";
        Err(StoreError::new(
            "read",
            key.as_str(),
            store.describe(),
            ErrorKind::Corrupt,
            why,
        ))
    }
}

fn not_found(key: &ObjectKey, store: &dyn ObjectStore) -> StoreError {
    let (place, kind) = (store.describe(), ErrorKind::NotFound);
    StoreError::new("look for", key.as_str(), place, kind, "it is not there")
}

fn is_among(members: &[&Member], member: &Member) -> bool {
    members.iter().any(|one| std::ptr::eq(*one, member))
}

#[async_trait]
impl ObjectStore for FailoverStore {
    fn describe(&self) -> String {
        self.members[0].store.describe()
    }

    fn as_failover(&self) -> Option<&FailoverStore> {
        Some(self)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let now = Instant::now();
        let fit = self.members.iter().filter(|member| !member.is_resting(now));
        let mut members: Vec<&Member> = fit.collect();
        if members.is_empty() {
            members = self.members.iter().collect();
        }
        let puts = members.into_iter().map(|member| {
            let put = member.store.put(key, body.clone());
            async move {
                // One that can only be read serves reads all the same, so it is not left aside.
                let warn =
                    |error: &StoreError| tracing::warn!(%error, "another region is written to");
                put.await.inspect_err(warn)
            }
        });
        let mut outcomes = join_all(puts).await;
        let taken = outcomes.iter().position(Result::is_ok).unwrap_or_default();
        outcomes.swap_remove(taken)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let sound = self.ask(Some(key), self.patience, |store| {
            Box::pin(async move { self.checked(key, store, store.get(key).await?) })
        });
        match sound.await {
            Ok((body, _)) => Ok(body),
            // Nobody has a sound one: what is wrong with it is for the reader to say.
            Err(error) if error.kind == ErrorKind::Corrupt => {
                self.in_order(Some(key))[0].store.get(key).await
            }
            Err(error) => Err(error),
        }
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let bytes = range.end.saturating_sub(range.start);
        let patience = self.pace.patience(bytes);
        let read = self.ask(Some(key), patience, |store| {
            store.get_range(key, range.clone())
        });
        let (body, took) = read.await?;
        self.pace.note(bytes, took);
        Ok(body)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let none_is_final = self.listed_by == ListedBy::Preferred;
        let found = self.ask(None, self.patience, |store| {
            Box::pin(async move {
                match store.head(key).await? {
                    None if !none_is_final => Err(not_found(key, store)),
                    meta => Ok(meta),
                }
            })
        });
        match found.await {
            Ok((meta, _)) => Ok(meta),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = self.ask(None, LISTING_PATIENCE, |store| store.list(prefix));
        listed.await.map(|(found, _)| found)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let why = "several regions are read as one, and nothing is deleted in all of them";
        Err(StoreError::new(
            "delete",
            key.as_str(),
            self.describe(),
            ErrorKind::Usage,
            why,
        ))
    }
}

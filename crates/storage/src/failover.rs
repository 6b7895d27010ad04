//! Several stores that hold the same objects, read as one.
//!
//! A read goes to the first store. If that one fails, or takes longer than patience lasts, the next
//! is asked as well, and the first good answer counts. One that failed is asked last for a while.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt as _};
use lifeboat_model::ErrorKind;
use tokio::time::{Instant, timeout};

use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// How long a store may take over a read before the next one is asked too.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a store that failed is asked last.
const REST: Duration = Duration::from_secs(30);

/// Tells whether bytes can be the object of a key, as far as a name can tell.
pub type NameCheck = fn(&ObjectKey, &[u8]) -> bool;

/// Stores with the same objects, the one to prefer first.
///
/// Writes go to every store that takes them: what is written through this, such as the lease of a
/// restore, concerns all that are read. It deletes nothing.
pub struct FailoverStore {
    members: Vec<Member>,
    check: NameCheck,
    patience: Duration,
}

struct Member {
    store: Arc<dyn ObjectStore>,
    /// Until when it is asked last, since it failed.
    resting: Mutex<Option<Instant>>,
}

impl Member {
    fn is_resting(&self, now: Instant) -> bool {
        let until = *self.resting.lock().expect("no holder panics");
        until.is_some_and(|until| now < until)
    }

    fn note(&self, error: &StoreError) {
        tracing::warn!(%error, "another region is asked");
        if matches!(
            error.kind,
            ErrorKind::Transient | ErrorKind::Denied | ErrorKind::NoRepository
        ) {
            let until = Instant::now() + REST;
            *self.resting.lock().expect("no holder panics") = Some(until);
        }
    }
}

impl FailoverStore {
    /// Joins `stores`, the one to prefer first. `check` recognizes a damaged object by its name.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn new(stores: Vec<Arc<dyn ObjectStore>>, check: NameCheck) -> Self {
        assert!(!stores.is_empty(), "there must be a store to read");
        let member = |store| Member {
            store,
            resting: Mutex::new(None),
        };
        Self {
            members: stores.into_iter().map(member).collect(),
            check,
            patience: PATIENCE,
        }
    }

    /// Sets how long a store may take over a read before the next one is asked too.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns the members in the order to ask them now.
    fn in_order(&self) -> Vec<&Member> {
        let now = Instant::now();
        let mut order: Vec<&Member> = self.members.iter().collect();
        order.sort_by_key(|member| member.is_resting(now));
        order
    }

    /// Asks one store after the other until one answers well.
    async fn ask<'a, T: Send>(
        &'a self,
        read: impl Fn(&'a dyn ObjectStore) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = |member: &'a Member| {
            let answer = read(&*member.store);
            async move { (member, answer.await) }
        };
        let mut waiting = self.in_order().into_iter();
        let mut asked: FuturesUnordered<_> = waiting.next().map(start).into_iter().collect();
        let mut failure: Option<StoreError> = None;
        loop {
            match timeout(self.patience, asked.next()).await {
                Ok(Some((_, Ok(value)))) => return Ok(value),
                Ok(Some((member, Err(error)))) => {
                    member.note(&error);
                    // What the preferred one said matters most.
                    failure.get_or_insert(error);
                    if asked.is_empty() {
                        asked.extend(waiting.next().map(start));
                    }
                }
                Ok(None) => return Err(failure.expect("a store was asked and failed")),
                // Too slow: another is asked beside, and whoever is first counts.
                Err(_) => asked.extend(waiting.next().map(start)),
            }
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

#[async_trait]
impl ObjectStore for FailoverStore {
    fn describe(&self) -> String {
        self.members[0].store.describe()
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
        let sound = self
            .ask(|store| Box::pin(async move { self.checked(key, store, store.get(key).await?) }));
        match sound.await {
            // Nobody has a sound one: what is wrong with it is for the reader to say.
            Err(error) if error.kind == ErrorKind::Corrupt => self.members[0].store.get(key).await,
            answered => answered,
        }
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.ask(|store| store.get_range(key, range.clone())).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.ask(|store| store.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.ask(|store| store.list(prefix)).await
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

//! Leases: how a session shows that it is at work, so that pruning takes nothing from under it.
//!
//! A session is one backup, restore or replication. It writes a lease before it looks at anything,
//! renews it under the next number, and ends it. Pruning deletes nothing that a session may have
//! seen until that session has ended or was fenced. The rules, which need neither a lock nor a
//! trustworthy clock, only listings and reads that show what was written before:
//!
//! - the session writes its lease, then reads the tombstones. Prune writes a tombstone, then lists
//!   the leases. So one of the two sees the other.
//! - the session writes down what it is about to commit, then looks for a fence. Prune writes the
//!   fence, then looks for what is about to be committed. So one of the two sees the other.
//!
//! This module never deletes anything: whoever may write can keep these rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_model::{SessionId, TombstoneId};
use lifeboat_runtime::{Clock, World};
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::error::RepositoryError;
use crate::layout::{self, LeasePart};
use crate::ledger::RunKind;
use crate::repository::{put_new, to_json};

/// How often a session shows that it lives.
const RENEW_EVERY: Duration = Duration::from_secs(5 * 60);

/// After so long without a sign of life, prune may take a session for dead. A wrong clock can make
/// it do so too early: then the session fails, and nothing is lost.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(60 * 60);

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    pub(crate) session: SessionId,
    /// What the session does.
    pub(crate) work: RunKind,
    pub(crate) host: String,
    /// The process on that host.
    pub(crate) process: u32,
    pub(crate) began: Timestamp,
    pub(crate) renewed: Timestamp,
    /// Tombstones that the session read before it looked at the index: it refers to nothing in them.
    pub(crate) honours: Vec<TombstoneId>,
}

/// Records on their way: what a session writes down before it commits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IntentV1 {
    /// Commit records: key and bytes.
    pub(crate) records: Vec<(String, Vec<u8>)>,
}

/// The lease of a session that is at work on one store.
///
/// [`Lease::release`] ends it. A lease that is only dropped, because its holder failed or died, is
/// fenced by a prune an hour later, or at once if that runs on the same host and the process is gone.
pub struct Lease {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    record: LeaseRecord,
    number: u32,
    intents: u32,
}

impl Lease {
    /// Announces a session. Needs no key.
    ///
    /// Take it before anything else is read of the store.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn take(
        store: Arc<dyn ObjectStore>,
        world: &World,
        work: RunKind,
        host: &str,
    ) -> Result<Self, RepositoryError> {
        let began = world.clock.now();
        let lease = Self {
            store,
            clock: world.clock.clone(),
            record: LeaseRecord {
                session: SessionId::from_bytes(world.entropy.bytes()),
                work,
                host: host.to_owned(),
                process: std::process::id(),
                began,
                renewed: began,
                honours: Vec::new(),
            },
            number: 0,
            intents: 0,
        };
        lease.write().await?;
        Ok(lease)
    }

    /// Returns the session's id.
    pub fn session(&self) -> SessionId {
        self.record.session
    }

    /// Shows that the session lives, if it is time to.
    ///
    /// # Errors
    /// Fails if the session was fenced meanwhile, or the store cannot be written.
    pub async fn renew(&mut self) -> Result<(), RepositoryError> {
        let now = self.clock.now();
        let age = now.duration_since(self.record.renewed).unsigned_abs();
        if age < RENEW_EVERY {
            return Ok(());
        }
        self.check_fence().await?;
        self.next(now).await
    }

    /// Promises to refer to nothing that these tombstones name.
    pub(crate) async fn honour(
        &mut self,
        tombstones: impl IntoIterator<Item = TombstoneId>,
    ) -> Result<(), RepositoryError> {
        let before = self.record.honours.len();
        self.record.honours.extend(tombstones);
        if self.record.honours.len() == before {
            return Ok(());
        }
        let now = self.clock.now();
        self.next(now).await
    }

    /// Writes commit records, so that from then on these snapshots exist.
    ///
    /// Everything they need must be durable. If it fails, the snapshots may exist nevertheless,
    /// and are whole then.
    ///
    /// # Errors
    /// Fails if the session was fenced, or the store cannot be written.
    pub async fn commit(
        &mut self,
        records: Vec<(ObjectKey, Bytes)>,
    ) -> Result<(), RepositoryError> {
        let named = records
            .iter()
            .map(|(key, bytes)| (key.to_string(), bytes.to_vec()));
        let intent = IntentV1 {
            records: named.collect(),
        };
        let bytes = postcard::to_allocvec(&intent).expect("it serializes into memory");
        let key = layout::lease(self.session(), LeasePart::Intent(self.intents));
        self.intents += 1;
        put_new(&*self.store, &key, bytes).await?;
        // Only now may the fence be looked for: see the rules above.
        if let Err(error) = self.check_fence().await {
            if matches!(error, RepositoryError::Fenced { .. }) {
                self.give_up().await;
            }
            return Err(error);
        }
        for (key, bytes) in records {
            self.store.put(&key, bytes).await?;
        }
        Ok(())
    }

    /// Ends the session: it commits nothing any more, and refers to nothing.
    ///
    /// # Errors
    /// Fails if the store cannot be written; the lease is fenced later then.
    pub async fn release(self) -> Result<(), RepositoryError> {
        let key = layout::lease(self.session(), LeasePart::End);
        let ended = serde_json::json!({ "session": self.session(), "ended": self.clock.now() });
        put_new(&*self.store, &key, to_json(&ended)).await
    }

    /// Says that a session that was fenced commits nothing, so that nobody waits for what it wrote down.
    async fn give_up(&self) {
        let key = layout::lease(self.session(), LeasePart::End);
        let said = self.store.put(&key, Bytes::from_static(b"fenced\n")).await;
        if let Err(error) = said {
            tracing::warn!(%error, "the end of a fenced session was not recorded");
        }
    }

    async fn next(&mut self, now: Timestamp) -> Result<(), RepositoryError> {
        self.number += 1;
        self.record.renewed = now;
        self.write().await
    }

    async fn write(&self) -> Result<(), RepositoryError> {
        let key = layout::lease(self.session(), LeasePart::Number(self.number));
        put_new(&*self.store, &key, to_json(&self.record)).await
    }

    /// Fails if there is a fence, or was one: the first lease is removed before the fence is. So it does
    /// if somebody else wrote into the session's folder: prune may have believed that.
    pub(crate) async fn check_fence(&self) -> Result<(), RepositoryError> {
        let (session, work) = (self.session(), self.record.work);
        let parts = self.store.list(&layout::lease_folder(session)).await?;
        let parts: Vec<Option<LeasePart>> = parts
            .iter()
            .map(|meta| LeasePart::parse(meta.key.file_name()))
            .collect();
        let own = |part: &Option<LeasePart>| match part {
            Some(LeasePart::Number(number)) => *number <= self.number,
            Some(LeasePart::Intent(number)) => *number < self.intents,
            Some(LeasePart::Fence | LeasePart::End) | None => false,
        };
        let first = Some(LeasePart::Number(0));
        if parts.contains(&first) && parts.iter().all(own) {
            Ok(())
        } else {
            Err(RepositoryError::Fenced { session, work })
        }
    }
}

//! Pruning: deleting snapshots, and the objects that no snapshot needs any more.
//!
//! It runs beside backups, restores and replications of other hosts, without a lock. What nobody
//! needs is marked first, by a tombstone; it is deleted once no session is left that may have seen it
//! before it was marked, and after a second look at what is needed by then. Order of deleting:
//! commit records, parts of write-ahead logs, index objects, packs. A crash between any two steps leaves garbage and a
//! tombstone, which the next run goes on from.
//!
//! Two prunes at once are refused, and would do no harm: neither counts on what the other marked.

mod garbage;
mod live;
mod repack;
mod roots;
mod sessions;
mod sweep;
mod tombstone;
mod wal;

use std::collections::BTreeMap;

use lifeboat_model::{ErrorKind, SessionId};
use lifeboat_storage::{ObjectKey, ObjectStore};
use serde::Serialize;

use crate::error::RepositoryError;
use crate::layout::SnapshotName;
use crate::lease::Lease;
use crate::ledger::RunKind;
use crate::repository::Repository;
use crate::role::Action;
pub(crate) use live::LiveWalk;
use roots::Roots;
use sessions::{Session, read_sessions};
pub(crate) use tombstone::{Tombstone, Tombstones};

/// What a prune is asked to do.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Snapshots to delete.
    pub delete: Vec<SnapshotName>,
    /// WAL objects to delete, as policy decided by the snapshots that stay. Those that a snapshot needs
    /// to be consistent stay all the same.
    pub wal: Vec<ObjectKey>,
    /// Sessions known to be dead, though they showed signs of life a moment ago.
    pub fence: Vec<SessionId>,
    /// The host it runs on.
    pub host: String,
    /// Look and write nothing.
    pub dry_run: bool,
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Snapshots deleted.
    pub snapshots: u64,
    /// Packs deleted.
    pub packs: u64,
    /// Their length together, bytes.
    pub bytes: u64,
    /// Packs rewritten because much of them was garbage, or because they were small.
    pub repacked: u64,
    /// Length of the packs written for them, bytes.
    pub bytes_repacked: u64,
    /// Index objects deleted.
    pub index_objects: u64,
    /// Packs that were marked, and found to be needed after all.
    pub rescued: u64,
    /// Packs that are marked and wait for a session to end.
    pub packs_waiting: u64,
    /// Their length together, bytes.
    pub bytes_waiting: u64,
    /// WAL objects deleted.
    pub wal_objects: u64,
    /// Their length together, bytes.
    pub wal_bytes: u64,
    /// WAL objects that are marked and wait for a session to end.
    pub wal_waiting: u64,
    /// The sessions that are waited for.
    pub waiting_for: Vec<String>,
    /// The sessions that were taken for dead.
    pub fenced: Vec<String>,
    /// Objects that the store did not let go, because they are locked or the right is missing.
    pub locked: Vec<String>,
    /// Packs that would have been rewritten, but are damaged.
    pub damaged: Vec<String>,
}

/// A prune under way.
struct Pruner<'a> {
    repository: &'a Repository,
    options: &'a PruneOptions,
    lease: Option<Lease>,
    report: PruneReport,
}

impl Repository {
    /// Deletes snapshots and whatever no snapshot needs. Needs the pruner key, and the right to
    /// delete at the store; any key will do for a dry run.
    ///
    /// # Errors
    /// Fails if another prune is running, if a snapshot that stays is damaged (then nobody can
    /// say what it needs), or if the store fails; what is left is garbage for the next run.
    pub async fn prune(&self, options: &PruneOptions) -> Result<PruneReport, RepositoryError> {
        let mut pruner = Pruner {
            repository: self,
            options,
            lease: None,
            report: PruneReport::default(),
        };
        if options.dry_run {
            pruner.look().await?;
            return Ok(pruner.report);
        }
        self.require(Action::Prune)?;
        pruner.lease = Some(self.lease(RunKind::Prune, &options.host).await?);
        let result = pruner.run().await;
        if let Some(lease) = pruner.lease.take() {
            let ended = end_lease(&*self.store, lease).await;
            // The work's own error is the one to tell.
            if result.is_ok() {
                ended?;
            }
        }
        result.map(|()| pruner.report)
    }
}

/// Reads all that sessions and prunes have left in a store, for who throws bytes at it. Returns whether
/// a lease and a tombstone could be read.
#[cfg(any(test, fuzzing))]
pub(crate) async fn read_everything(store: &dyn ObjectStore) -> bool {
    let sessions = read_sessions(store).await.expect("memory gives it");
    let mut leases = 0;
    for (id, session) in &sessions {
        session.describe(*id);
        session.seems_dead(jiff::Timestamp::UNIX_EPOCH, "host");
        session.seems_dead(jiff::Timestamp::MAX, "host");
        session.records(store, *id).await.expect("memory gives it");
        leases += usize::from(session.lease.is_some());
    }
    let tombstones = Tombstones::read(store).await.expect("memory gives it");
    leases > 0 && !tombstones.known.is_empty()
}

/// Ends the session of this prune and removes its folder: who prunes may delete.
async fn end_lease(store: &dyn ObjectStore, lease: Lease) -> Result<(), RepositoryError> {
    let own = lease.session();
    lease.release().await?;
    let sessions = read_sessions(store).await?;
    let Some(session) = sessions.get(&own) else {
        return Ok(());
    };
    session.remove(store, own).await
}

impl Pruner<'_> {
    /// Looks at what would be deleted, and writes nothing.
    async fn look(&mut self) -> Result<(), RepositoryError> {
        let mut roots = Roots::read(self.repository).await?;
        let there = roots.leave_out(&self.options.delete);
        self.report.snapshots = there.len() as u64;
        let tombstones = Tombstones::read(&*self.repository.store).await?;
        let marked = tombstones.packs();
        self.report.wal_waiting = tombstones.wal().len() as u64;
        let sizes = self.repository.packs_there().await?;
        self.report.packs_waiting = marked.len() as u64;
        self.report.bytes_waiting = marked.iter().filter_map(|id| sizes.get(id)).sum();
        let garbage = self.find_garbage(&roots).await?;
        for (_, size) in garbage.packs() {
            self.report.packs += 1;
            self.report.bytes += size;
        }
        for (_, size) in self.unneeded_wal(self.options.wal.clone(), &roots).await? {
            self.report.wal_objects += 1;
            self.report.wal_bytes += size;
        }
        self.report.repacked = garbage.rewrite.len() as u64;
        self.report.bytes_repacked = garbage.live_bytes;
        self.report.index_objects = garbage.index.len() as u64;
        Ok(())
    }

    async fn run(&mut self) -> Result<(), RepositoryError> {
        let sessions = self.settle_sessions().await?;
        self.delete_snapshots().await?;
        let mut waiting = false;
        for id in Tombstones::read(&*self.repository.store).await?.damaged {
            // Nobody can act on it, and sessions that meet it refer to nothing that is stored.
            self.delete(&crate::layout::tombstone(id)).await?;
        }
        for tombstone in Tombstones::read(&*self.repository.store).await?.known {
            waiting |= !self.sweep(&tombstone, None).await?;
        }
        // What is marked already is waited for before more is: a session that lives long would
        // otherwise let tombstones pile up.
        if !waiting && let Some((tombstone, seen)) = self.mark().await? {
            self.sweep(&tombstone, Some(&seen)).await?;
        }
        self.remove_sessions(sessions).await
    }

    /// Finds out who is at work, and takes for dead who has been silent for long.
    async fn settle_sessions(&mut self) -> Result<BTreeMap<SessionId, Session>, RepositoryError> {
        let store = &*self.repository.store;
        let now = self.repository.world.clock.now();
        let own = self.lease.as_ref().map(Lease::session);
        let mut sessions = read_sessions(store).await?;
        sessions.retain(|id, _| Some(*id) != own);
        let mut fenced = false;
        for (id, session) in sessions.iter().filter(|(_, session)| !session.is_over()) {
            if session.seems_dead(now, &self.options.host) || self.options.fence.contains(id) {
                session.fence(self.repository, *id).await?;
                self.report.fenced.push(session.describe(*id));
                fenced = true;
            } else if let Some(lease) = &session.lease
                && lease.work == RunKind::Prune
            {
                return Err(RepositoryError::PruneRunning {
                    session: *id,
                    host: lease.host.clone(),
                    store: store.describe(),
                });
            }
        }
        if fenced {
            sessions = read_sessions(store).await?;
            sessions.retain(|id, _| Some(*id) != own);
        }
        Ok(sessions)
    }

    /// Deletes the commit records that were asked for: from then on these snapshots do not exist.
    async fn delete_snapshots(&mut self) -> Result<(), RepositoryError> {
        let names = Repository::snapshot_names(&*self.repository.store, None, None).await?;
        for name in &self.options.delete {
            if names.contains(name) && self.delete(&name.key()).await? {
                self.report.snapshots += 1;
            }
        }
        Ok(())
    }

    /// Removes the folders of sessions that were over when this prune began.
    async fn remove_sessions(
        &mut self,
        sessions: BTreeMap<SessionId, Session>,
    ) -> Result<(), RepositoryError> {
        let store = &*self.repository.store;
        for (id, session) in sessions {
            if session.is_over() && session.has_settled(store, id).await? {
                session.remove(store, id).await?;
            }
        }
        Ok(())
    }

    /// Shows that this prune lives.
    async fn renew(&mut self) -> Result<(), RepositoryError> {
        match &mut self.lease {
            Some(lease) => lease.renew().await,
            None => Ok(()),
        }
    }

    /// Deletes an object; returns whether the store let it go. A locked one is noted.
    async fn delete(&mut self, key: &ObjectKey) -> Result<bool, RepositoryError> {
        self.renew().await?;
        match self.repository.store.delete(key).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Denied => {
                self.report.locked.push(key.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

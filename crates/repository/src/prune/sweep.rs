//! Sweeping: deleting what was marked, once nobody can refer to it any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use lifeboat_model::PackId;

use crate::chunk_index::ChunkIndex;
use crate::error::RepositoryError;
use crate::format::index::{IndexPublic, IndexedPackV1, prefix_of};
use crate::layout;
use crate::prune::repack::Seen;
use crate::prune::roots::Roots;
use crate::prune::sessions::read_sessions;
use crate::prune::{Pruner, Tombstone, Tombstones};

impl Pruner<'_> {
    /// Deletes what a tombstone names. Returns whether it could: not while a session lives that may
    /// have seen it before it was marked.
    ///
    /// `seen` are the records that were there when it was marked, if that was a moment ago.
    pub(super) async fn sweep(
        &mut self,
        tombstone: &Tombstone,
        seen: Option<&Seen>,
    ) -> Result<bool, RepositoryError> {
        let sizes = self.repository.packs_there().await?;
        let bytes_of = |packs: &[PackId]| packs.iter().filter_map(|id| sizes.get(id)).sum::<u64>();
        let waiting_for = self.sessions_before(tombstone).await?;
        if !waiting_for.is_empty() {
            self.report.packs_waiting += tombstone.packs.len() as u64;
            self.report.bytes_waiting += bytes_of(&tombstone.packs);
            self.report.wal_waiting += tombstone.wal.len() as u64;
            for session in waiting_for {
                if !self.report.waiting_for.contains(&session) {
                    self.report.waiting_for.push(session);
                }
            }
            return Ok(false);
        }
        if let Some(lease) = &self.lease {
            // Whoever fenced this prune sees its tombstone; or this prune sees the fence.
            lease.check_fence().await?;
        }
        let roots = Roots::read(self.repository).await?;
        let needed = if seen.is_some_and(|seen| *seen == roots.names()) {
            BTreeSet::new()
        } else {
            self.rescue(tombstone, &roots).await?
        };
        self.sweep_wal(tombstone, &roots).await?;
        for index in &tombstone.index {
            if !self.delete(&layout::index(*index)).await? {
                // A locked index object goes on naming its packs, so they stay as long as it does.
                return Ok(true);
            }
            self.report.index_objects += 1;
        }
        for pack in tombstone.packs.iter().filter(|id| !needed.contains(id)) {
            if self.delete(&layout::pack(*pack)).await? {
                self.report.packs += 1;
                self.report.bytes += bytes_of(&[*pack]);
            }
        }
        self.delete(&layout::tombstone(tombstone.tombstone)).await?;
        Ok(true)
    }

    /// Lists the sessions that may refer to what a tombstone names.
    async fn sessions_before(&self, tombstone: &Tombstone) -> Result<Vec<String>, RepositoryError> {
        let own = self.lease.as_ref().map(crate::lease::Lease::session);
        let sessions = read_sessions(&*self.repository.store).await?;
        let waited_for = sessions.iter().filter(|(id, session)| {
            Some(**id) != own && !session.is_over() && !session.honours(tombstone.tombstone)
        });
        Ok(waited_for
            .map(|(id, session)| session.describe(*id))
            .collect())
    }

    /// Looks again: returns the marked packs that a snapshot needs by now, after making sure that
    /// an index object names them that stays.
    async fn rescue(
        &mut self,
        tombstone: &Tombstone,
        roots: &Roots,
    ) -> Result<BTreeSet<PackId>, RepositoryError> {
        let repository = self.repository;
        let all = Tombstones::read(&*repository.store).await?;
        let objects = repository.index_objects().await?;
        let sizes = repository.packs_there().await?;
        let everything = Arc::new(repository.index_of(&objects, &sizes, &all.packs()));
        let (leaving, doomed) = (all.index(), all.packs());
        let (staying, going): (Vec<_>, Vec<_>) = objects
            .iter()
            .partition(|object| !leaving.contains(&object.id));
        // What another prune marked is as good as gone, and so is what only a leaving object names.
        let mut safe = ChunkIndex::default();
        let mut kept: BTreeSet<PackId> = BTreeSet::new();
        for pack in staying.iter().flat_map(|object| &object.packs) {
            let id = PackId::from_bytes(pack.id);
            kept.insert(id);
            if sizes.get(&id) == Some(&pack.size) && !doomed.contains(&id) {
                safe.add(pack);
            }
        }
        let mut unsafe_chunks = BTreeSet::new();
        let needs = |chunk| {
            if !safe.contains(&chunk) {
                unsafe_chunks.insert(chunk);
            }
            everything.contains(&chunk)
        };
        roots.walk(repository, everything.clone(), needs).await?;
        let all_packs = staying
            .iter()
            .chain(&going)
            .flat_map(|object| &object.packs);
        let mut needed: Vec<&IndexedPackV1> = all_packs
            .filter(|pack| sizes.get(&PackId::from_bytes(pack.id)) == Some(&pack.size))
            .filter(|pack| pack.chunks().any(|chunk| unsafe_chunks.contains(&chunk)))
            .collect();
        let id_of = |pack: &IndexedPackV1| PackId::from_bytes(pack.id);
        let rescued: BTreeSet<PackId> = needed.iter().map(|pack| id_of(pack)).collect();
        self.report.rescued += rescued.len() as u64;
        needed.retain(|pack| !kept.contains(&id_of(pack)));
        let packs = needed.into_iter().cloned().collect();
        self.keep_in_index(packs, tombstone).await?;
        Ok(rescued)
    }

    /// Writes an index object for packs that are named only by ones that go.
    async fn keep_in_index(
        &self,
        mut packs: Vec<IndexedPackV1>,
        tombstone: &Tombstone,
    ) -> Result<(), RepositoryError> {
        packs.sort_by_key(|pack| pack.id);
        packs.dedup_by_key(|pack| pack.id);
        if packs.is_empty() {
            return Ok(());
        }
        let mut public = IndexPublic::of(&packs);
        public.replaces = tombstone.index.iter().map(prefix_of).collect();
        self.repository.write_index_object(&public, packs).await?;
        Ok(())
    }
}

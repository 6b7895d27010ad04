//! One snapshot as a file system: its nodes, its records, its content.

use std::sync::Arc;

use lifeboat_model::EntryKind;
use lifeboat_repository::{Browser, ContentReader, OpenFile, RecordReader, Snapshot, StoredEntry};
use tokio::sync::Mutex;

use crate::error::MountError;
use crate::nodes::{NodeTable, NodeTableBuilder};

/// A snapshot whose manifest was read once, into a table.
pub(crate) struct SnapshotTree {
    pub(crate) nodes: NodeTable,
    records: Mutex<RecordReader>,
    content: Arc<ContentReader>,
}

impl SnapshotTree {
    pub(crate) async fn load(
        browser: &Browser,
        snapshot: &Snapshot,
        content: Arc<ContentReader>,
    ) -> Result<Self, MountError> {
        let mut entries = browser.entries(snapshot);
        let mut nodes = NodeTableBuilder::new();
        loop {
            let place = entries.place();
            match entries.next().await? {
                Some(stored) => nodes.add(&stored, place)?,
                None => break,
            }
        }
        let label = format!("the manifest of snapshot {}", snapshot.id.short());
        Ok(Self {
            nodes: nodes.finish(&label)?,
            records: Mutex::new(browser.records(snapshot)),
            content,
        })
    }

    async fn record(&self, node: u32) -> Result<Option<StoredEntry>, MountError> {
        match self.nodes.place(node) {
            Some(place) => Ok(Some(self.records.lock().await.at(place).await?)),
            None => Ok(None),
        }
    }

    /// Prepares a file for reading.
    pub(crate) async fn open(&self, node: u32) -> Result<OpenFile, MountError> {
        let stored = self.record(node).await?.ok_or(MountError::NotFound)?;
        Ok(OpenFile::new(&stored))
    }

    pub(crate) async fn read(
        &self,
        file: &OpenFile,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, MountError> {
        Ok(self.content.read(file, offset, len).await?)
    }

    /// Returns where a symbolic link leads.
    pub(crate) async fn link(&self, node: u32) -> Result<Vec<u8>, MountError> {
        match self.record(node).await?.map(|stored| stored.entry.kind) {
            Some(EntryKind::Symlink { target }) => Ok(target),
            _ => Err(MountError::NotFound),
        }
    }

    /// Returns a node's extended attributes.
    pub(crate) async fn xattrs(&self, node: u32) -> Result<Vec<(Vec<u8>, Vec<u8>)>, MountError> {
        let stored = self.record(node).await?;
        Ok(stored.map_or_else(Vec::new, |stored| stored.entry.metadata.xattrs))
    }
}

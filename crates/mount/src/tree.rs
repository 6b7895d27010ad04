//! What is mounted: one snapshot, or all of an environment, a folder for each.
//!
//! ```text
//! one snapshot:      what the source held
//! an environment:    <source>/<instant>-<short id>/what the source held
//!                    <source>/latest -> the newest of them
//! ```
//! Numbers of inodes: the upper half says which snapshot, the lower half which node in it, counted
//! from 1. They come out the same however often a snapshot is forgotten and loaded again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use lifeboat_model::SourceName;
use lifeboat_repository::{Browser, ContentReader, OpenFile, Snapshot};
use tokio::sync::OnceCell;

use crate::error::MountError;
use crate::nodes::{Attributes, NodeKind};
use crate::snapshot_tree::SnapshotTree;

/// The topmost folder's number.
const ROOT: u64 = 1;
/// How many snapshots' tables are kept.
const TREES_KEPT: usize = 4;
/// How many opened bytes of content are kept.
const CACHE_BYTES: usize = 64 << 20;
/// The name of the link to the newest snapshot of a source.
const LATEST: &[u8] = b"latest";

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name.
    pub name: Vec<u8>,
    /// The number of what it names.
    pub inode: u64,
    /// What that is.
    pub kind: NodeKind,
}

/// Snapshots as a file system, asked by number.
pub struct MountTree {
    browser: Browser,
    content: Arc<ContentReader>,
    snapshots: Vec<Snapshot>,
    /// Each source with the numbers of its snapshots, oldest first; `None` if one snapshot is all.
    sources: Option<Vec<(SourceName, Vec<usize>)>>,
    /// Newest use first.
    trees: std::sync::Mutex<VecDeque<(usize, TreeSlot)>>,
    files: std::sync::Mutex<HashMap<u64, Handle>>,
    next_handle: AtomicU64,
}

/// A snapshot's table, loaded once, however many want it at the same time.
type TreeSlot = Arc<OnceCell<Arc<SnapshotTree>>>;

/// An open file.
type Handle = Arc<(Arc<SnapshotTree>, OpenFile)>;

/// What a number means.
enum Meaning {
    /// The folder of all sources.
    Sources,
    /// The folder of a source, by its place among them.
    Source(usize),
    /// The link to the newest snapshot of a source.
    Latest(usize),
    /// A node of a snapshot.
    Node { snapshot: usize, node: u32 },
}

impl MountTree {
    /// Shows one snapshot. Needs the reader key.
    ///
    /// # Errors
    /// Fails if the key reads no content, or the manifest is damaged.
    pub async fn of_snapshot(browser: Browser, snapshot: Snapshot) -> Result<Self, MountError> {
        let tree = Self::new(browser, vec![snapshot], None)?;
        // Loaded now, so that damage is told before anything is mounted.
        tree.tree(0).await?;
        Ok(tree)
    }

    /// Shows all given snapshots, which are in order of time, by source. Needs the reader key.
    ///
    /// # Errors
    /// Fails if the key reads no content.
    pub fn of_environment(browser: Browser, snapshots: Vec<Snapshot>) -> Result<Self, MountError> {
        let mut sources: BTreeMap<SourceName, Vec<usize>> = BTreeMap::new();
        for (number, snapshot) in snapshots.iter().enumerate() {
            sources
                .entry(snapshot.source.clone())
                .or_default()
                .push(number);
        }
        Self::new(browser, snapshots, Some(sources.into_iter().collect()))
    }

    fn new(
        browser: Browser,
        snapshots: Vec<Snapshot>,
        sources: Option<Vec<(SourceName, Vec<usize>)>>,
    ) -> Result<Self, MountError> {
        Ok(Self {
            content: Arc::new(browser.content_reader(CACHE_BYTES)?),
            browser,
            snapshots,
            sources,
            trees: std::sync::Mutex::default(),
            files: std::sync::Mutex::default(),
            next_handle: AtomicU64::new(1),
        })
    }

    /// Finds a name in a folder.
    ///
    /// # Errors
    /// Fails if there is none, or the manifest is damaged.
    pub async fn lookup(&self, folder: u64, name: &[u8]) -> Result<(u64, Attributes), MountError> {
        let inode = match self.meaning(folder)? {
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                let node = tree.nodes.lookup(tree.nodes.check(node)?, name)?;
                self.inode(snapshot, node)
            }
            Meaning::Latest(_) => return Err(MountError::NotAFolder),
            _ => {
                let mut items = self.list(folder, 0).await?.into_iter();
                let found = items.find(|item| item.name == name);
                found.ok_or(MountError::NotFound)?.inode
            }
        };
        Ok((inode, self.attributes(inode).await?))
    }

    /// Tells what a number is.
    ///
    /// # Errors
    /// Fails if there is no such number, or the manifest is damaged.
    pub async fn attributes(&self, inode: u64) -> Result<Attributes, MountError> {
        match self.meaning(inode)? {
            Meaning::Sources => Ok(folder(self.snapshots.last())),
            Meaning::Source(source) => Ok(folder(self.newest(source))),
            Meaning::Latest(source) => Ok(Attributes {
                kind: NodeKind::Symlink,
                size: self.latest(source)?.len() as u64,
                mode: 0o777,
                names: 1,
                ..folder(self.newest(source))
            }),
            // Of a snapshot's own folder its date is told, without loading it: whoever lists all
            // snapshots wants none of them read.
            Meaning::Node { snapshot, node: 0 } if self.sources.is_some() => {
                Ok(folder(self.snapshots.get(snapshot)))
            }
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                Ok(tree.nodes.attributes(tree.nodes.check(node)?))
            }
        }
    }

    /// Returns the folder that a folder lies in; the topmost lies in itself.
    ///
    /// # Errors
    /// Fails if there is no such number, or the manifest is damaged.
    pub async fn parent(&self, inode: u64) -> Result<u64, MountError> {
        match self.meaning(inode)? {
            Meaning::Sources | Meaning::Source(_) => Ok(ROOT),
            Meaning::Latest(source) => Ok(source_inode(source)),
            Meaning::Node { snapshot, node: 0 } => {
                let sources = self.sources.iter().flatten().enumerate();
                let mut holds = sources.filter(|(_, (_, all))| all.contains(&snapshot));
                Ok(holds
                    .next()
                    .map_or(ROOT, |(source, _)| source_inode(source)))
            }
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                let parent = tree.nodes.parent(tree.nodes.check(node)?);
                Ok(self.inode(snapshot, parent))
            }
        }
    }

    /// Lists a folder, without the first `skip` names. The order is always the same.
    ///
    /// # Errors
    /// Fails if it is no folder, or the manifest is damaged.
    pub async fn list(&self, folder: u64, skip: usize) -> Result<Vec<Item>, MountError> {
        match self.meaning(folder)? {
            Meaning::Sources => {
                let sources = self.sources.iter().flatten().enumerate();
                Ok(sources
                    .map(|(number, (name, _))| Item {
                        name: name.as_str().as_bytes().to_vec(),
                        inode: source_inode(number),
                        kind: NodeKind::Folder,
                    })
                    .skip(skip)
                    .collect())
            }
            Meaning::Source(source) => {
                Ok(self.list_source(source).into_iter().skip(skip).collect())
            }
            Meaning::Latest(_) => Err(MountError::NotAFolder),
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                let nodes = &tree.nodes;
                let item = |child: &u32| {
                    let meant = nodes.meant(*child);
                    Item {
                        name: nodes.name(*child).to_vec(),
                        inode: self.inode(snapshot, meant),
                        kind: nodes.attributes(meant).kind,
                    }
                };
                let children = nodes.children(nodes.check(node)?)?;
                Ok(children.iter().skip(skip).map(item).collect())
            }
        }
    }

    fn list_source(&self, source: usize) -> Vec<Item> {
        let snapshots = self.sources.iter().flatten().nth(source);
        let snapshots = snapshots.iter().flat_map(|(_, snapshots)| snapshots);
        let mut items: Vec<Item> = snapshots
            .map(|number| Item {
                name: folder_name(&self.snapshots[*number]),
                inode: self.inode(*number, 0),
                kind: NodeKind::Folder,
            })
            .collect();
        items.push(Item {
            name: LATEST.to_vec(),
            inode: source_inode(source) + 1,
            kind: NodeKind::Symlink,
        });
        items
    }

    /// Returns where a symbolic link leads.
    ///
    /// # Errors
    /// Fails if it is none, or the manifest is damaged.
    pub async fn link(&self, inode: u64) -> Result<Vec<u8>, MountError> {
        match self.meaning(inode)? {
            Meaning::Latest(source) => self.latest(source),
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                tree.link(tree.nodes.check(node)?).await
            }
            _ => Err(MountError::NotFound),
        }
    }

    /// Returns the extended attributes, sorted by name.
    ///
    /// # Errors
    /// Fails if there is no such number, or the manifest is damaged.
    pub async fn xattrs(&self, inode: u64) -> Result<Vec<(Vec<u8>, Vec<u8>)>, MountError> {
        match self.meaning(inode)? {
            Meaning::Node { snapshot, node } => {
                let tree = self.tree(snapshot).await?;
                tree.xattrs(tree.nodes.check(node)?).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Opens a file and returns the number to read it by, until [`MountTree::close`].
    ///
    /// # Errors
    /// Fails if there is no such file, or the manifest is damaged.
    pub async fn open(&self, inode: u64) -> Result<u64, MountError> {
        let Meaning::Node { snapshot, node } = self.meaning(inode)? else {
            return Err(MountError::NotFound);
        };
        let tree = self.tree(snapshot).await?;
        let file = tree.open(tree.nodes.check(node)?).await?;
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        lock(&self.files).insert(handle, Arc::new((tree, file)));
        Ok(handle)
    }

    /// Reads up to `len` bytes from `offset` of an open file; fewer only at its end.
    ///
    /// # Errors
    /// Fails if it is not open, or what was to be read is missing or damaged.
    pub async fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, MountError> {
        let open = lock(&self.files).get(&handle).cloned();
        let open = open.ok_or(MountError::NotFound)?;
        open.0.read(&open.1, offset, len).await
    }

    /// Closes a file.
    pub fn close(&self, handle: u64) {
        lock(&self.files).remove(&handle);
    }

    fn meaning(&self, inode: u64) -> Result<Meaning, MountError> {
        let (slot, low) = ((inode >> 32) as usize, inode as u32);
        let node = low.checked_sub(1).ok_or(MountError::NotFound)?;
        let Some(sources) = &self.sources else {
            return match slot {
                0 => Ok(Meaning::Node { snapshot: 0, node }),
                _ => Err(MountError::NotFound),
            };
        };
        match (slot.checked_sub(1), node.checked_sub(1)) {
            (Some(snapshot), _) if snapshot < self.snapshots.len() => {
                Ok(Meaning::Node { snapshot, node })
            }
            (Some(_), _) => Err(MountError::NotFound),
            (None, None) => Ok(Meaning::Sources),
            (None, Some(number)) => {
                let source = number as usize / 2;
                match (source < sources.len(), number % 2) {
                    (true, 0) => Ok(Meaning::Source(source)),
                    (true, _) => Ok(Meaning::Latest(source)),
                    (false, _) => Err(MountError::NotFound),
                }
            }
        }
    }

    fn inode(&self, snapshot: usize, node: u32) -> u64 {
        let slot = match &self.sources {
            Some(_) => snapshot as u64 + 1,
            None => 0,
        };
        slot << 32 | (u64::from(node) + 1)
    }

    fn newest(&self, source: usize) -> Option<&Snapshot> {
        let (_, snapshots) = self.sources.as_ref()?.get(source)?;
        self.snapshots.get(*snapshots.last()?)
    }

    fn latest(&self, source: usize) -> Result<Vec<u8>, MountError> {
        self.newest(source)
            .map(folder_name)
            .ok_or(MountError::NotFound)
    }

    /// Returns a snapshot's table, loading it if it is none of those used last.
    async fn tree(&self, snapshot: usize) -> Result<Arc<SnapshotTree>, MountError> {
        let slot = {
            let mut trees = lock(&self.trees);
            let known = trees.iter().position(|(number, _)| *number == snapshot);
            let entry = known.and_then(|place| trees.remove(place));
            let entry = entry.unwrap_or_else(|| (snapshot, TreeSlot::default()));
            let slot = entry.1.clone();
            trees.push_front(entry);
            trees.truncate(TREES_KEPT);
            slot
        };
        let load = || async {
            let content = self.content.clone();
            let tree = SnapshotTree::load(&self.browser, &self.snapshots[snapshot], content);
            Ok::<_, MountError>(Arc::new(tree.await?))
        };
        Ok(slot.get_or_try_init(load).await?.clone())
    }
}

fn source_inode(source: usize) -> u64 {
    ROOT + 1 + 2 * source as u64
}

/// Names a snapshot's folder so that the order of names is that of time.
fn folder_name(snapshot: &Snapshot) -> Vec<u8> {
    let at = snapshot.instant.to_zoned(jiff::tz::TimeZone::UTC);
    let at = at.strftime("%Y%m%dT%H%M%S.%3fZ");
    format!("{at}-{}", snapshot.id.short()).into_bytes()
}

/// Describes a folder that no source has, as old as a snapshot.
fn folder(snapshot: Option<&Snapshot>) -> Attributes {
    let at = snapshot.map_or(0, |snapshot| snapshot.instant.as_nanosecond());
    Attributes {
        kind: NodeKind::Folder,
        size: 0,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_ns: i64::try_from(at).unwrap_or(0),
        names: 2,
        device: 0,
    }
}

/// Locks what a panic elsewhere cannot have left half-changed.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The entries of one snapshot as a table of numbered nodes, small enough to hold millions.
//!
//! A node is 48 bytes, its name and a number in its folder's list. What is rarely asked for, such
//! as what a file is made of, where a link leads and extended attributes, stays in the manifest:
//! a node knows the place of its record.

use std::collections::HashMap;

use lifeboat_model::{EntryKind, EntryPath, Metadata};
use lifeboat_repository::{RecordPlace, RepositoryError, StoredEntry};

use crate::error::MountError;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// Another name of a file. Never shown: whoever asks gets the file.
    Hardlink,
}

/// What a file system tells of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: NodeKind,
    /// Length of a file, or of a link's target, bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Number of names.
    pub names: u32,
    /// Number of a device.
    pub device: u64,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    place: u64,
    mtime_ns: i64,
    /// Of a file or link its length, of a device its number, of a hard link the node it stands for,
    /// of a folder where its list begins (upper half) and how long it is (lower half).
    detail: u64,
    parent: u32,
    name_start: u32,
    uid: u32,
    gid: u32,
    name_len: u16,
    mode: u16,
    kind: NodeKind,
}

/// No record: folders that are only implied by what lies in them.
const NO_PLACE: u64 = u64::MAX;

/// The entries of a snapshot. Node 0 is the topmost folder.
#[derive(Debug)]
pub(crate) struct NodeTable {
    nodes: Vec<Node>,
    names: Vec<u8>,
    /// The lists of all folders, each sorted by name.
    children: Vec<u32>,
    /// Nodes with more than one name, and how many they have.
    names_of: HashMap<u32, u32>,
}

/// Fills a table from entries in path order.
pub(crate) struct NodeTableBuilder {
    nodes: Vec<Node>,
    names: Vec<u8>,
    /// The folders that the entry before lies in, topmost first, with the lengths of their paths.
    open: Vec<(u32, usize)>,
    path: Vec<u8>,
    hardlinks: Vec<(u32, EntryPath)>,
}

impl NodeTableBuilder {
    pub(crate) fn new() -> Self {
        let root = Node {
            place: NO_PLACE,
            mtime_ns: 0,
            detail: 0,
            parent: 0,
            name_start: 0,
            uid: 0,
            gid: 0,
            name_len: 0,
            mode: 0o755,
            kind: NodeKind::Folder,
        };
        Self {
            nodes: vec![root],
            names: Vec::new(),
            open: vec![(0, 0)],
            path: Vec::new(),
            hardlinks: Vec::new(),
        }
    }

    /// Adds an entry, which must not come before those added already.
    pub(crate) fn add(
        &mut self,
        stored: &StoredEntry,
        place: RecordPlace,
    ) -> Result<(), MountError> {
        let entry = &stored.entry;
        let number = match entry.path.is_root() {
            true => 0,
            false => self.add_name(entry.path.as_bytes())?,
        };
        let (kind, detail) = kind_of(&entry.kind);
        if let EntryKind::Hardlink { first } = &entry.kind {
            self.hardlinks.push((number, first.clone()));
        }
        let Metadata {
            mode,
            uid,
            gid,
            mtime_ns,
            ..
        } = entry.metadata;
        let node = &mut self.nodes[number as usize];
        *node = Node {
            place: place.0,
            mtime_ns,
            detail,
            uid,
            gid,
            mode: (mode & 0o7777) as u16,
            kind,
            ..*node
        };
        if kind == NodeKind::Folder && number > 0 {
            self.path.clear();
            self.path.extend_from_slice(entry.path.as_bytes());
            self.open.push((number, self.path.len()));
        }
        Ok(())
    }

    /// Makes a node for a path, and for folders above it that have no entry of their own.
    fn add_name(&mut self, path: &[u8]) -> Result<u32, MountError> {
        let inside = |open: &[u8]| {
            open.is_empty() || (path.starts_with(open) && path.get(open.len()) == Some(&b'/'))
        };
        while let Some((_, len)) = self.open.last() {
            if inside(&self.path[..*len]) {
                break;
            }
            self.open.pop();
        }
        loop {
            let (parent, len) = *self
                .open
                .last()
                .expect("the topmost folder holds every path");
            let rest = &path[if len == 0 { 0 } else { len + 1 }..];
            let Some(end) = rest.iter().position(|byte| *byte == b'/') else {
                return self.push(parent, rest);
            };
            let folder = self.push(parent, &rest[..end])?;
            self.path.truncate(0);
            self.path
                .extend_from_slice(&path[..path.len() - rest.len() + end]);
            self.open.push((folder, self.path.len()));
        }
    }

    fn push(&mut self, parent: u32, name: &[u8]) -> Result<u32, MountError> {
        let number = u32::try_from(self.nodes.len()).map_err(|_| MountError::TooLarge)?;
        let name_start = u32::try_from(self.names.len()).map_err(|_| MountError::TooLarge)?;
        let name_len = u16::try_from(name.len()).map_err(|_| MountError::TooLarge)?;
        self.names.extend_from_slice(name);
        self.nodes.push(Node {
            parent,
            name_start,
            name_len,
            ..Self::new().nodes[0]
        });
        Ok(number)
    }

    /// Sorts the nodes into their folders and finds what hard links stand for.
    pub(crate) fn finish(mut self, label: &str) -> Result<NodeTable, MountError> {
        self.nodes.shrink_to_fit();
        self.names.shrink_to_fit();
        let mut table = NodeTable {
            children: list_children(&mut self.nodes),
            nodes: self.nodes,
            names: self.names,
            names_of: HashMap::new(),
        };
        table.sort_children();
        for (number, first) in self.hardlinks {
            // Only what came earlier, and no folder: otherwise links could go round in circles.
            let sound = |target: &u32| {
                *target < number && table.nodes[*target as usize].kind != NodeKind::Folder
            };
            let target = table.resolve(&first).filter(sound);
            let target = target.ok_or_else(|| {
                let what = format!("`{first}`, which a hard link names, is no earlier file");
                RepositoryError::corrupt(&label, what)
            })?;
            table.nodes[number as usize].detail = u64::from(target);
            *table.names_of.entry(target).or_insert(1) += 1;
        }
        Ok(table)
    }
}

fn kind_of(kind: &EntryKind) -> (NodeKind, u64) {
    match kind {
        EntryKind::Directory => (NodeKind::Folder, 0),
        EntryKind::File { size } => (NodeKind::File, *size),
        EntryKind::Symlink { target } => (NodeKind::Symlink, target.len() as u64),
        EntryKind::Hardlink { .. } => (NodeKind::Hardlink, 0),
        EntryKind::Fifo => (NodeKind::Pipe, 0),
        EntryKind::Socket => (NodeKind::Socket, 0),
        EntryKind::Device { block, number } => match block {
            true => (NodeKind::BlockDevice, *number),
            false => (NodeKind::CharacterDevice, *number),
        },
    }
}

/// Makes the lists of all folders in one array, and tells each folder where its own is.
fn list_children(nodes: &mut [Node]) -> Vec<u32> {
    let mut counts = vec![0_u32; nodes.len()];
    for node in &nodes[1..] {
        counts[node.parent as usize] += 1;
    }
    let mut start = 0_u64;
    for (node, count) in nodes.iter_mut().zip(&counts) {
        if node.kind == NodeKind::Folder {
            node.detail = start << 32 | u64::from(*count);
            start += u64::from(*count);
        }
    }
    let mut children = vec![0; start as usize];
    let mut filled = vec![0_u32; nodes.len()];
    for number in 1..nodes.len() {
        let parent = nodes[number].parent as usize;
        let first = (nodes[parent].detail >> 32) as usize;
        children[first + filled[parent] as usize] = number as u32;
        filled[parent] += 1;
    }
    children
}

impl NodeTable {
    /// Sorts each folder's list by name: path order is that of whole paths, and nothing but this
    /// table relies on names being in order.
    fn sort_children(&mut self) {
        let mut children = std::mem::take(&mut self.children);
        for node in &self.nodes {
            if node.kind == NodeKind::Folder {
                let (start, len) = list_of(node);
                children[start..start + len].sort_by_key(|child| self.name(*child));
            }
        }
        self.children = children;
    }

    /// Returns a node's number if there is one.
    pub(crate) fn check(&self, number: u32) -> Result<u32, MountError> {
        match (number as usize) < self.nodes.len() {
            true => Ok(number),
            false => Err(MountError::NotFound),
        }
    }

    pub(crate) fn name(&self, number: u32) -> &[u8] {
        let node = &self.nodes[number as usize];
        let start = node.name_start as usize;
        &self.names[start..start + usize::from(node.name_len)]
    }

    pub(crate) fn parent(&self, number: u32) -> u32 {
        self.nodes[number as usize].parent
    }

    /// Returns the nodes in a folder.
    pub(crate) fn children(&self, folder: u32) -> Result<&[u32], MountError> {
        let node = &self.nodes[folder as usize];
        if node.kind != NodeKind::Folder {
            return Err(MountError::NotAFolder);
        }
        let (start, len) = list_of(node);
        Ok(&self.children[start..start + len])
    }

    /// Finds a name in a folder; a hard link is the file it stands for.
    pub(crate) fn lookup(&self, folder: u32, name: &[u8]) -> Result<u32, MountError> {
        let children = self.children(folder)?;
        let found = children.binary_search_by(|child| self.name(*child).cmp(name));
        let place = found.map_err(|_| MountError::NotFound)?;
        Ok(self.meant(children[place]))
    }

    /// Returns the file that a hard link stands for; any other node itself.
    pub(crate) fn meant(&self, number: u32) -> u32 {
        let node = &self.nodes[number as usize];
        match node.kind {
            NodeKind::Hardlink => node.detail as u32,
            _ => number,
        }
    }

    fn resolve(&self, path: &EntryPath) -> Option<u32> {
        let mut parts = path.as_bytes().split(|byte| *byte == b'/');
        parts.try_fold(0, |folder, part| self.lookup(folder, part).ok())
    }

    /// Returns the place of a node's record; `None` for a folder that is only implied.
    pub(crate) fn place(&self, number: u32) -> Option<RecordPlace> {
        let place = self.nodes[number as usize].place;
        (place != NO_PLACE).then_some(RecordPlace(place))
    }

    pub(crate) fn attributes(&self, number: u32) -> Attributes {
        let node = &self.nodes[number as usize];
        let (size, device) = match node.kind {
            NodeKind::File | NodeKind::Symlink => (node.detail, 0),
            NodeKind::BlockDevice | NodeKind::CharacterDevice => (0, node.detail),
            _ => (0, 0),
        };
        let names = match node.kind {
            NodeKind::Folder => 2,
            _ => self.names_of.get(&number).copied().unwrap_or(1),
        };
        Attributes {
            kind: node.kind,
            size,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            mtime_ns: node.mtime_ns,
            names,
            device,
        }
    }
}

fn list_of(node: &Node) -> (usize, usize) {
    (
        (node.detail >> 32) as usize,
        (node.detail & 0xffff_ffff) as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stays_small() {
        assert!(size_of::<Node>() <= 48, "{}", size_of::<Node>());
    }
}

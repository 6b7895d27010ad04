//! Snapshots as a read-only file system.
//!
//! [`MountTree`] answers what a file system is asked: look a name up, list a folder, read a range,
//! follow a link. It knows nothing of FUSE and can be tested without it; `fuse` is a thin adapter
//! that puts it under a folder. This crate never writes, and never decides which snapshots are
//! meant or whether they may be looked at.
//!
//! What it keeps in memory: about 70 bytes and the name of each entry of the snapshots that are
//! looked into, of which a few are kept; and a bounded number of opened bytes.

mod error;
#[cfg(target_os = "linux")]
mod fuse;
mod nodes;
mod snapshot_tree;
mod tree;

pub use error::MountError;
#[cfg(target_os = "linux")]
pub use fuse::{Mounted, Unmounter, mount};
pub use nodes::{Attributes, NodeKind};
pub use tree::{Item, MountTree};

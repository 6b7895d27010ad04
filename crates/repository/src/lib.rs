//! The repository engine: chunks, packs, index, snapshots, keys, ledger, receipts and the stored
//! format.
//!
//! A repository is a set of objects in a store. Objects are written once and never changed; a
//! snapshot exists from the moment its commit record does, and everything it needs was durable
//! before. This crate never knows where the bytes came from: sources hand it entries and bytes.

mod chunk_index;
mod compress;
mod content;
mod crypto;
mod error;
mod fetch;
mod format;
mod keys;
pub mod layout;
mod ledger;
mod manifest;
mod receipt;
mod repository;
mod run_name;
mod snapshot;
mod verify;
mod writer;

pub use error::RepositoryError;
pub use fetch::{Destination, Piece, Pieces};
pub use keys::{KeyRing, KeySecret, Role, RootSecret};
pub use layout::{ObjectClass, SnapshotName};
pub use ledger::{Outcome, RunBegin, RunEnd, RunJob, RunKind, RunRecord};
pub use manifest::{Manifest, StoredEntry};
pub use receipt::Receipt;
pub use repository::{Credential, KeyInfo, NewKeys, RegionMarker, Repository, StoreIdentity};
pub use run_name::RunName;
pub use snapshot::{Snapshot, Totals};
pub use verify::{Damage, VerifyLevel, VerifyReport};
pub use writer::{Layout, SnapshotDraft, SnapshotWriter};

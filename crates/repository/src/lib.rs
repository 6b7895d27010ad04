//! The repository engine: chunks, packs, index, snapshots, keys, ledger, receipts and the stored
//! format.
//!
//! A repository is a set of objects in a store. Objects are written once and never changed; a
//! snapshot exists from the moment its commit record does, and everything it needs was durable
//! before. This crate never knows where the bytes came from: sources hand it entries and bytes.

mod browse;
mod chunk_index;
mod closure;
mod compress;
mod content;
mod crypto;
mod error;
mod fetch;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod id_hash;
mod index_catalog;
mod index_store;
mod key_object;
mod keys;
pub mod layout;
mod lease;
mod ledger;
mod listing;
mod manifest;
mod passphrase;
mod protect;
mod prune;
mod receipt;
mod repair;
mod replicate;
mod repository;
mod revocation;
mod revoked_keys;
mod role;
mod run_name;
mod snapshot;
mod snapshot_reader;
mod stored;
mod verify;
mod wal;
mod writer;

pub use browse::{
    Browser, ClassUsage, Comparison, ContentReader, EntryReader, IndexUsage, OpenFile, PackUsage,
    Pair, RecordPlace, RecordReader, SourceUsage, Usage, Waste,
};
pub use error::RepositoryError;
pub use fetch::{Destination, FetchError, Piece, Pieces};
pub use index_catalog::IndexCatalog;
pub use key_object::{KEY_NAME_CHARS_MAX, KeyInfo, ListedKey, NewKey, is_key_name};
pub use keys::{KeyRing, KeySecret, RootSecret};
pub use layout::{ObjectClass, SnapshotName};
pub use lease::Lease;
pub use ledger::{Outcome, RunBegin, RunEnd, RunJob, RunKind, RunRecord};
pub use listing::{DamagedSnapshot, Listing};
pub use manifest::{Manifest, StoredEntry};
pub use passphrase::{PASSPHRASE_CHARS_MIN, Stretching};
pub use protect::protect;
pub use prune::{PruneOptions, PruneReport};
pub use receipt::Receipt;
pub use repair::RepairReport;
pub use replicate::{CopyLimits, Replication, copy_basics, copy_checked};
pub use repository::{Credential, NewKeys, PassphraseFor, RegionMarker, Repository, StoreIdentity};
pub use revocation::{Commitment, Revocation, Revocations, Token};
pub use role::{Action, Role, UnknownRole};
pub use run_name::RunName;
pub use snapshot::{Snapshot, Totals};
pub use snapshot_reader::{
    ContentCheck, Differing, Entries, FileWindow, PageHashes, PageMaps, SnapshotReader,
};
pub use verify::{Damage, VerifyLevel, VerifyReport};
pub use wal::{
    AssembledSegment, SealedWal, WalConflict, WalCopied, WalDraft, WalListing, WalPlace, WalPut,
};
pub use writer::{Layout, SnapshotDraft, SnapshotWriter};

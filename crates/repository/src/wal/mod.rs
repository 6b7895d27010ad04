//! The write-ahead log of a cluster, as it is kept beside the packs.
//!
//! Each file that PostgreSQL hands over is one object, and so is each *piece* that a receiver made
//! durable of a segment that is not full yet. The name of an object says all that planning needs, so
//! a listing, without any key, answers what is there. Nothing is ever overwritten: another content of
//! the same file gets another name, and is a *conflict* that who puts it is told of.
//!
//! Who puts takes no lease. A put refers to nothing else that is stored, so no prune can take away
//! what it counts on: what a prune deletes is older than everything that a snapshot still needs, or
//! held by a whole segment beside it.

mod catalog;
mod copy;
mod fetch;
mod listing;
mod name;
mod put;

pub(crate) use catalog::{WalCatalog, first_lacking, place_of, wal_needed_by};
pub use copy::WalCopied;
pub use fetch::AssembledSegment;
pub use listing::{WalConflict, WalListing};
pub use name::WalPlace;
pub use put::{SealedWal, WalDraft, WalPut};

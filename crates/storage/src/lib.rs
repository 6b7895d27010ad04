//! The object store: what a region can do, and the local, memory and faulty forms of it.
//!
//! A store keeps objects under keys. Objects are written once: [`ObjectStore::put`] never replaces
//! one. This crate does not know what the bytes mean, and does not know S3.
//!
//! [`FaultyStore`], [`RecordedStore`] and [`conformance`] are for tests and simulations of this and
//! the crates above.

pub mod conformance;
mod error;
mod failover;
mod faulty;
mod key;
mod local;
mod memory;
mod op;
mod pace;
mod recorded;
mod store;

pub use error::StoreError;
pub use failover::{DamagedObject, FailoverStore, ListedBy, Member, NameCheck};
pub use faulty::{Calls, Fault, FaultPlan, FaultRates, FaultyStore};
pub use key::{InvalidKey, ObjectKey};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use op::Op;
pub use recorded::{Call, RecordedStore};
pub use store::{ObjectMeta, ObjectStore, Put};

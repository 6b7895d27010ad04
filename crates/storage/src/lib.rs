//! The object store: what a region can do, and the local, memory and faulty forms of it.
//!
//! A store keeps objects under keys. Objects are written once: [`ObjectStore::put`] never replaces
//! one. This crate does not know what the bytes mean, and does not know S3.

mod error;
mod key;
mod store;

pub use error::StoreError;
pub use key::{InvalidKey, ObjectKey};
pub use store::{ObjectMeta, ObjectStore, Put};

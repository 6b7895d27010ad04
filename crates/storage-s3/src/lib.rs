//! A region in an S3 bucket: [`ObjectStore`](lifeboat_storage::ObjectStore) on the AWS SDK.
//!
//! It owns what is particular to S3: credentials, conditional puts and the probe for stores that
//! ignore them, parts and ranges, Object Lock, retries, and what the errors mean. It does not know
//! what the bytes mean, and never prints a credential.

mod client;
mod failure;
mod probe;
mod read;
mod retry;
mod settings;
mod store;
mod task;
mod versions;
mod write;

pub use probe::ConditionalPut;
pub use settings::{
    AccessKeys, BadAccessKeys, CredentialSource, Encryption, LockRules, S3Settings,
};
pub use store::S3Store;

//! The trait every region's store implements.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::failover::FailoverStore;
use crate::key::ObjectKey;

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: ObjectKey,
    /// Its length, bytes.
    pub size: u64,
}

/// What came of a [`ObjectStore::put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is there now, durable, and this call put it there.
    Created,
    /// An object of that key was there before, durable too, and is unchanged.
    AlreadyExists,
}

/// Keeps objects under keys, written once.
///
/// The promises below are what `conformance::check` holds every implementation to.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Returns the store as people know it: a folder's path, a bucket's address.
    fn describe(&self) -> String;

    /// Writes an object unless one of that key exists.
    ///
    /// When it returns, the object is whole and survives a power cut. A reader sees all of it or
    /// nothing. After an error the object may be there or not, but never in part.
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError>;

    /// Reads a whole object. Fails with `NotFound` if there is none, as `get_range` does.
    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError>;

    /// Reads `range` of an object. Fails with `Corrupt` if the object is shorter than the range or
    /// the range ends before it begins.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Returns what a listing would say of one object, or `None` if there is none.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError>;

    /// Lists the objects whose key starts with `prefix`, sorted by key.
    ///
    /// `prefix` is empty or ends with `/`, else the call fails with `Usage`. Every object whose `put` had returned when the call began
    /// is listed, unless it was deleted.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Deletes an object; one that is not there is fine.
    ///
    /// When it returns, the deletion survives a power cut, so that deletions keep their order.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Asks the store itself where it lies, in its own words; `None` from one that cannot know.
    async fn location(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Locks objects anew for the store's full term, and returns how many needed it; stores without
    /// locks do nothing.
    async fn protect(&self, _keys: &[ObjectKey]) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Returns this store if it reads several as one: who finds out that bytes are damaged, which no
    /// store can tell of a range, may then ask each of them.
    fn as_failover(&self) -> Option<&FailoverStore> {
        None
    }
}

#[async_trait]
impl<S: ObjectStore + ?Sized> ObjectStore for Arc<S> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        (**self).put(key, body).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        (**self).get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        (**self).get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        (**self).head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        (**self).list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        (**self).delete(key).await
    }
    async fn location(&self) -> Result<Option<String>, StoreError> {
        (**self).location().await
    }

    async fn protect(&self, keys: &[ObjectKey]) -> Result<u64, StoreError> {
        (**self).protect(keys).await
    }

    fn as_failover(&self) -> Option<&FailoverStore> {
        (**self).as_failover()
    }
}

//! A store in memory, for tests and simulations. It keeps every promise but the power cut.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::ErrorKind;

use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::op::Op;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// An [`ObjectStore`] in memory.
///
/// As in S3, `a` and `a/b` may both be objects; a folder cannot do that.
#[derive(Debug)]
pub struct MemoryStore {
    name: String,
    objects: Mutex<BTreeMap<ObjectKey, Bytes>>,
}

impl MemoryStore {
    /// Makes an empty store that calls itself `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            objects: Mutex::default(),
        }
    }

    /// Replaces or makes an object, as no store may: this is how a test damages one.
    pub fn tamper(&self, key: &ObjectKey, body: Bytes) {
        self.objects().insert(key.clone(), body);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Bytes>> {
        self.objects.lock().expect("no holder panics")
    }

    fn fail(&self, op: Op, key: &str, kind: ErrorKind, why: &str) -> StoreError {
        StoreError::new(op.verb(), key, &self.name, kind, why)
    }

    fn read(&self, op: Op, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let found = self.objects().get(key).cloned();
        found.ok_or_else(|| self.fail(op, key.as_str(), ErrorKind::NotFound, "no such object"))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new("memory")
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn describe(&self) -> String {
        self.name.clone()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Put::AlreadyExists);
        }
        objects.insert(key.clone(), body);
        Ok(Put::Created)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.read(Op::Get, key)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let body = self.read(Op::GetRange, key)?;
        if range.start > range.end || range.end > body.len() as u64 {
            let why = format!(
                "it has {} bytes, and bytes {}..{} were asked for",
                body.len(),
                range.start,
                range.end
            );
            return Err(self.fail(Op::GetRange, key.as_str(), ErrorKind::Corrupt, &why));
        }
        let place = |offset| usize::try_from(offset).expect("it lies within a slice");
        Ok(body.slice(place(range.start)..place(range.end)))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        Ok(self.objects().get(key).map(|body| meta(key, body)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        if !ObjectKey::is_prefix(prefix) {
            return Err(StoreError::bad_prefix(prefix, self.describe()));
        }
        let objects = self.objects();
        let under = objects
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix));
        Ok(under.map(|(key, body)| meta(key, body)).collect())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }
}

fn meta(key: &ObjectKey, body: &Bytes) -> ObjectMeta {
    ObjectMeta {
        key: key.clone(),
        size: body.len() as u64,
    }
}
